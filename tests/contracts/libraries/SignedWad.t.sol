// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { SignedWad } from "contracts/libraries/SignedWad.sol";
import { Test } from "forge-std/Test.sol";

contract SignedWadTest is Test {
    int256 private constant WAD = 1e18;

    function test_mulDown_roundsTowardsMinusInfinity() public pure {
        assertEq(SignedWad.mulDown(3, 0.5e18), 1);
        assertEq(SignedWad.mulDown(-3, 0.5e18), -2);
        assertEq(SignedWad.mulDown(-7e18, 1e18), -7e18);
        assertEq(SignedWad.mulDown(-1, 0), 0);
        assertEq(SignedWad.mulDown(-1, 1), -1);
        assertEq(SignedWad.mulDown(1.5e18, 50_000e18), 75_000e18);
    }

    /// @notice A limit price that means "at any" must not stop a bid, on either side.
    function test_mulDown_takesTheWholeRange() public pure {
        assertEq(SignedWad.mulDown(type(int256).max, 1e18), type(int256).max);
        assertEq(SignedWad.mulDown(type(int256).min, 1e18), type(int256).min);
    }

    /// @notice ROUND: floor, by its definition: down · WAD ≤ amount · factor < (down + 1) · WAD.
    function testFuzz_mulDown_isTheFloor(int128 amount, uint120 factor) public pure {
        int256 exact = int256(amount) * int256(uint256(factor));
        int256 down = SignedWad.mulDown(amount, factor);
        assertLe(down * WAD, exact);
        assertGt((down + 1) * WAD, exact);
    }
}
