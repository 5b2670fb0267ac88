// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { InterestMath } from "contracts/libraries/InterestMath.sol";
import { Test } from "forge-std/Test.sol";

contract InterestMathTest is Test {
    uint256 private constant WAD = 1e18;

    // ─── 2% at no utilisation, 10% at 80%, 100% at all of it, straight between

    function test_rate_hasItsKinkAtFourFifths() public pure {
        assertEq(InterestMath.rate(0, 100e18), 0.02e18);
        assertEq(InterestMath.rate(20e18, 100e18), 0.04e18);
        assertEq(InterestMath.rate(40e18, 100e18), 0.06e18);
        assertEq(InterestMath.rate(80e18, 100e18), 0.1e18);
        assertEq(InterestMath.rate(85e18, 100e18), 0.325e18);
        assertEq(InterestMath.rate(90e18, 100e18), 0.55e18);
        assertEq(InterestMath.rate(99e18, 100e18), 0.955e18);
    }

    /// @notice More may be owed than is held, once losses have been shared: it is full utilisation and no more.
    function test_rate_stopsAtFullUtilisation() public pure {
        assertEq(InterestMath.rate(100e18, 100e18), 1e18);
        assertEq(InterestMath.rate(1e30, 100e18), 1e18);
        assertEq(InterestMath.rate(1, 0), 1e18);
    }

    function testFuzz_rate_risesWithDebtsAndFallsWithSupply(uint256 debts, uint256 supply, uint256 more) public pure {
        debts = bound(debts, 0, 1e36);
        supply = bound(supply, 1, 1e36);
        more = bound(more, 0, 1e36);
        uint256 rate = InterestMath.rate(debts, supply);
        assertGe(rate, 0.02e18);
        assertLe(rate, WAD);
        assertGe(InterestMath.rate(debts + more, supply), rate);
        assertLe(InterestMath.rate(debts, supply + more), rate);
    }

    // ─── growth = rate · elapsed / year

    function test_growth_isSimpleInterest() public pure {
        assertEq(InterestMath.growth(80e18, 100e18, 365 days), 0.1e18);
        assertEq(InterestMath.growth(80e18, 100e18, 36.5 days), 0.01e18);
        assertEq(InterestMath.growth(80e18, 100e18, 0), 0);
        assertEq(InterestMath.growth(0, 100e18, 12), 7_610_350_076); // 0.02 · 12 / 31,536,000, down
        assertEq(InterestMath.growth(100e18, 100e18, 730 days), 2e18);
    }

    function testFuzz_growth_neverFallsWithTime(uint256 debts, uint256 supply, uint256 elapsed) public pure {
        debts = bound(debts, 0, 1e36);
        supply = bound(supply, 0, 1e36);
        elapsed = bound(elapsed, 0, 100 * 365 days);
        assertGe(InterestMath.growth(debts, supply, elapsed + 1), InterestMath.growth(debts, supply, elapsed));
    }
}
