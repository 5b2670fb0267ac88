// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FadingSum } from "contracts/types/FadingSum.sol";
import { Test } from "forge-std/Test.sol";

contract FadingSumTest is Test {
    FadingSum private sum;

    function test_current_fadesInAStraightLine() public {
        assertEq(sum.current(600), 0);
        sum.add(1000, 600);
        assertEq(sum.current(600), 1000);
        vm.warp(block.timestamp + 150);
        assertEq(sum.current(600), 750);
        vm.warp(block.timestamp + 1);
        assertEq(sum.current(600), 748); // of 748⅓
        vm.warp(block.timestamp + 449);
        assertEq(sum.current(600), 0);
        vm.warp(block.timestamp + 365 days);
        assertEq(sum.current(600), 0);
    }

    /// @notice What is left and what is new fade together, from now on.
    function test_add_beginsAnew() public {
        sum.add(1000, 600);
        vm.warp(block.timestamp + 300);
        sum.add(100, 600);
        assertEq(sum.current(600), 600);
        vm.warp(block.timestamp + 300);
        assertEq(sum.current(600), 300);
    }

    function test_current_followsAWindowThatChanges() public {
        sum.add(1000, 600);
        vm.warp(block.timestamp + 300);
        assertEq(sum.current(1200), 750);
        assertEq(sum.current(300), 0);
    }

    /// @notice Kept below a limit, it lets no window have more than twice that.
    function testFuzz_add_noWindowHasMoreThanTwiceTheLimit(uint256[8] memory gaps, uint256[8] memory amounts) public {
        uint256[8] memory times;
        for (uint256 i; i < 8; ++i) {
            vm.warp(vm.getBlockTimestamp() + bound(gaps[i], 0, 300));
            times[i] = vm.getBlockTimestamp();
            amounts[i] = bound(amounts[i], 0, 1e18 - sum.current(600));
            sum.add(amounts[i], 600);
            uint256 added;
            for (uint256 j; j <= i; ++j) {
                if (times[j] + 600 > times[i]) added += amounts[j];
            }
            // Less than a unit is lost to each rounding.
            assertLe(added, 2e18 + 8);
        }
    }

    /// forge-config: default.allow_internal_expect_revert = true
    function test_add_revertsWhereItDoesNotFit() public {
        sum.add(type(uint128).max, 600);
        vm.expectRevert();
        sum.add(1, 600);
    }
}
