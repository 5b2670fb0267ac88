// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AuctionMath } from "contracts/libraries/AuctionMath.sol";
import { Test } from "forge-std/Test.sol";

contract AuctionMathTest is Test {
    uint256 private constant WAD = 1e18;

    // ─── discount = maximum · elapsed / duration, then maximum

    function test_discountDown_risesInAStraightLineAndStays() public pure {
        assertEq(AuctionMath.discountDown(0, 1200, 0.5e18), 0);
        assertEq(AuctionMath.discountDown(300, 1200, 0.5e18), 0.125e18);
        assertEq(AuctionMath.discountDown(1199, 1200, 0.5e18), 0.499583333333333333e18); // down
        assertEq(AuctionMath.discountDown(1200, 1200, 0.5e18), 0.5e18);
        assertEq(AuctionMath.discountDown(365 days, 1200, 0.5e18), 0.5e18);
    }

    function testFuzz_discountDown_neverFallsNorPassesTheMaximum(uint256 elapsed, uint32 duration, uint64 maximum)
        public
        pure
    {
        elapsed = bound(elapsed, 0, 1e10);
        uint256 discount = AuctionMath.discountDown(elapsed, duration, maximum);
        assertLe(discount, maximum);
        assertGe(AuctionMath.discountDown(elapsed + 1, duration, maximum), discount);
    }

    // ─── fraction = (target − equity + fee) / (target − discount), at most 1

    /// @notice Reference numbers from mpmath, cut to 18 decimals.
    function test_fractionDown_matchesReference() public pure {
        assertEq(AuctionMath.fractionDown(1450e18, 250e18, 10e18, 2100e18), 356_756_756_756_756_756);
        assertEq(AuctionMath.fractionDown(1e18, 0, 0, 3e18), 666_666_666_666_666_666);
        assertEq(AuctionMath.fractionDown(900.5e18, 100.25e18, 10e18, 1234.567e18), 303_325_260_927_941_660);
        assertEq(AuctionMath.fractionDown(1000e18, 1000e18, 10e18, 2000e18), WAD);
        assertEq(AuctionMath.fractionDown(0, 0, 0, 5e18), WAD);
    }

    /// @notice LIQUIDATE: what is left stands on the target, and no more than that was sold.
    function testFuzz_fractionDown_bringsTheRestToTheTarget(
        uint256 equity,
        uint256 discount,
        uint256 fee,
        uint256 target
    ) public pure {
        target = bound(target, 1e6, 1e36);
        equity = bound(equity, 0, target - 1);
        discount = bound(discount, 0, equity);
        fee = bound(fee, 0, target);
        uint256 fraction = AuctionMath.fractionDown(equity, discount, fee, target);
        assertLe(fraction, WAD);
        if (fraction == WAD) return;
        // equity − f · discount − fee against (1 − f) · target, scaled by one wad
        int256 left = int256((equity * WAD) - fraction * discount - fee * WAD);
        int256 wanted = int256((WAD - fraction) * target);
        assertLe(left, wanted, "sold too much");
        assertGe(left + int256(target), wanted, "off by more than rounding");
    }

    // ─── debt in full, the rest at the price of cash

    function test_inCashUp_paysADebtInFullAndTheRestAtItsPrice() public pure {
        assertEq(AuctionMath.inCashUp(100e18, 50e18, 1e18), 100e18);
        assertEq(AuctionMath.inCashUp(100e18, 50e18, 0.8e18), 125e18);
        assertEq(AuctionMath.inCashUp(100e18, -20e18, 0.8e18), 120e18);
        assertEq(AuctionMath.inCashUp(100e18, -100e18, 0.8e18), 100e18);
        assertEq(AuctionMath.inCashUp(100e18, type(int256).min, 0.8e18), 100e18);
        assertEq(AuctionMath.inCashUp(1, 0, 0.9e18), 2); // up
        assertEq(AuctionMath.inCashUp(0, -5, 0.5e18), 0);
    }

    /// @notice The holder gains so many dollars and, but for a unit of rounding, no more.
    function testFuzz_inCashUp_isWorthTheDollars(uint256 dollars, int256 held, uint256 cashPrice) public pure {
        dollars = bound(dollars, 0, 1e36);
        held = bound(held, -1e36, 1e36);
        cashPrice = bound(cashPrice, 0.01e18, WAD);
        uint256 paid = AuctionMath.inCashUp(dollars, held, cashPrice);
        assertGe(paid, dollars);
        int256 gain = _value(held + int256(paid), cashPrice) - _value(held, cashPrice);
        assertGe(gain, int256(dollars) - 1);
        assertLe(gain, int256(dollars) + 2);
    }

    function _value(int256 cash, uint256 cashPrice) private pure returns (int256) {
        return cash <= 0 ? cash : cash * int256(cashPrice) / int256(WAD);
    }

    // ─── amount · fraction

    function test_shareTowardsZero_roundsAsItsNameSays() public pure {
        assertEq(AuctionMath.shareTowardsZero(3, 0.5e18), 1);
        assertEq(AuctionMath.shareTowardsZero(-3, 0.5e18), -1);
        assertEq(AuctionMath.shareTowardsZero(-7e18, WAD), -7e18);
    }

    /// @notice ROUND: a part is never more than the whole, whichever way it is signed.
    function testFuzz_shareTowardsZero_isNeverMoreThanTheWhole(int128 amount, uint256 fraction) public pure {
        fraction = bound(fraction, 0, WAD);
        int256 part = AuctionMath.shareTowardsZero(amount, fraction);
        int256 whole = amount;
        assertTrue(whole >= 0 ? part >= 0 && part <= whole : part <= 0 && part >= whole);
        // Solidity's own division is towards zero.
        assertEq(part, whole * int256(fraction) / int256(WAD));
    }
}
