// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { ModifiedShortfall } from "contracts/libraries/ModifiedShortfall.sol";
import { Test } from "forge-std/Test.sol";

/// @notice Shape, scale and rounding. tests/unit/test_option_math.py has the accuracy, against the definition integrated.
contract ModifiedShortfallTest is Test {
    uint256 private constant WAD = 1e18;

    function _exposure(int256 linear, int256 quadratic, int256 vega)
        private
        pure
        returns (ModifiedShortfall.Exposure memory)
    {
        return ModifiedShortfall.Exposure(linear, quadratic, vega);
    }

    function _one(int256 linear, int256 quadratic, int256 vega) private pure returns (uint256) {
        ModifiedShortfall.Exposure[] memory book = new ModifiedShortfall.Exposure[](1);
        book[0] = _exposure(linear, quadratic, vega);
        return ModifiedShortfall.shortfallUp(book, new int256[](0), new int256[](0));
    }

    function _two(
        ModifiedShortfall.Exposure memory first,
        ModifiedShortfall.Exposure memory second,
        int256 low,
        int256 high
    ) private pure returns (uint256) {
        ModifiedShortfall.Exposure[] memory book = new ModifiedShortfall.Exposure[](2);
        (book[0], book[1]) = (first, second);
        (int256[] memory lows, int256[] memory highs) = (new int256[](1), new int256[](1));
        (lows[0], highs[0]) = (low, high);
        return ModifiedShortfall.shortfallUp(book, lows, highs);
    }

    // ─── Deltas alone

    function test_shortfallUp_ofNothingIsNothing() public pure {
        assertEq(
            ModifiedShortfall.shortfallUp(new ModifiedShortfall.Exposure[](0), new int256[](0), new int256[](0)), 0
        );
        assertEq(_one(0, 0, 0), 0);
    }

    function testFuzz_shortfallUp_ofOneDeltaIsIt(int256 linear) public pure {
        linear = bound(linear, -1e39, 1e39);
        uint256 size = uint256(linear < 0 ? -linear : linear);
        uint256 found = _one(linear, 0, 0);
        assertGe(found, size);
        assertLe(found, size + 1e9);
    }

    /// @notice √(300² + 400² + 2ρ·300·400), the high correlation where deltas add up and the low where they offset.
    function test_shortfallUp_takesTheWorseCorrelation() public pure {
        ModifiedShortfall.Exposure memory longer = _exposure(400e18, 0, 0);
        assertEq(_two(_exposure(300e18, 0, 0), longer, 0, 1e6), 700e18);
        assertEq(_two(_exposure(-300e18, 0, 0), longer, 0, 1e6), 500e18);
        assertEq(_two(_exposure(-300e18, 0, 0), longer, -1e6, 1e6), 700e18);
        assertEq(_two(_exposure(-300e18, 0, 0), longer, 1e6, 1e6), 100e18);
    }

    function testFuzz_shortfallUp_isSubadditiveInDeltas(int256 first, int256 second, int256 low, int256 high)
        public
        pure
    {
        (first, second) = (bound(first, -1e39, 1e39), bound(second, -1e39, 1e39));
        low = bound(low, -1e6, 1e6);
        high = bound(high, low, 1e6);
        uint256 joint = _two(_exposure(first, 0, 0), _exposure(second, 0, 0), low, high);
        assertLe(joint, _one(first, 0, 0) + _one(second, 0, 0) + 2e9);
    }

    // ─── With gamma and vega

    /// @notice Shocks of price and volatility are independent, so delta and vega add in squares.
    function test_shortfallUp_addsVegaInSquares() public pure {
        assertApproxEqAbs(_one(300e18, 0, 400e18), 500e18, 1e10);
        assertApproxEqAbs(_one(300e18, 0, -400e18), 500e18, 1e10);
    }

    /// @notice Short gamma alone: q = −100: mean loss 100/c², deviation 100·√2/c², skewness clamped at −1.7998.
    function test_shortfallUp_ofShortGammaHasItsMeanAndTheClampedTail() public pure {
        uint256 multiplier = ModifiedShortfall.multiplierUp(-1.7998e18);
        // 100/c² = 14.0778…; ES = 14.0778·(1 + √2·c·m/c).
        uint256 expected = 14.0778312943366299e18 + uint256(53.061909679800688e18) * multiplier / WAD;
        assertApproxEqRel(_one(0, -100e18, 0), expected, 1e8);
        // Long gamma: the mean is not credited, the tail is thinner.
        multiplier = ModifiedShortfall.multiplierUp(0.3808e18);
        assertApproxEqRel(_one(0, 100e18, 0), uint256(53.061909679800688e18) * multiplier / WAD, 1e8);
    }

    function testFuzz_shortfallUp_standsAnySize(int256[6] memory x, int256 low, int256 high, uint256 size) public pure {
        size = 10 ** bound(size, 0, 40);
        for (uint256 i; i < 6; ++i) {
            x[i] = bound(x[i], -int256(size), int256(size));
        }
        low = bound(low, -1e6, 1e6);
        high = bound(high, low, 1e6);
        uint256 found = _two(_exposure(x[0], x[1], x[2]), _exposure(x[3], x[4], x[5]), low, high);
        // No exposure counts for more than m(−1.7998)/c = 2.4 of itself, apart from rounding.
        assertLe(found, 15 * size + 1e11);
    }

    function testFuzz_shortfallUp_scalesWithTheBook(int256[3] memory x, uint256 times) public pure {
        for (uint256 i; i < 3; ++i) {
            x[i] = bound(x[i], -1e24, 1e24);
        }
        times = bound(times, 1, 1e14);
        uint256 once = _one(x[0], x[1], x[2]);
        int256 factor = int256(times);
        // Each exposure is counted to a billionth of a dollar; skewness can magnify that where the deviation is small.
        assertApproxEqAbs(
            _one(x[0] * factor, x[1] * factor, x[2] * factor), once * times, once * times / 1e9 + 1e12 * times
        );
    }

    function testFuzz_shortfallUp_shortGammaNeverHelps(int256 linear, uint256 gamma) public pure {
        linear = bound(linear, -1e27, 1e27);
        int256 quadratic = -int256(bound(gamma, 0, 1e27));
        assertGe(_one(linear, quadratic, 0) + 1e10, _one(linear, 0, 0));
    }

    /// @notice Sixteen underlyings, all as large as they come: every sum fits.
    function test_shortfallUp_standsManyLargeExposures() public pure {
        ModifiedShortfall.Exposure[] memory book = new ModifiedShortfall.Exposure[](16);
        int256[] memory rho = new int256[](120);
        for (uint256 i; i < 120; ++i) {
            rho[i] = 1e6;
        }
        for (uint256 i; i < 16; ++i) {
            book[i] = _exposure(1e40, -1e40, 1e40);
        }
        // Sixteen times one of them, since they all move together.
        assertApproxEqRel(ModifiedShortfall.shortfallUp(book, rho, rho), 16 * _one(1e40, -1e40, 1e40), 1e6);
    }

    // ─── Multiplier

    function test_multiplierUp_isOneForANormal() public pure {
        assertEq(ModifiedShortfall.multiplierUp(0), WAD);
    }

    function testFuzz_multiplierUp_fallsWithSkewness(int256 skew, uint256 step) public pure {
        skew = bound(skew, -3e18, 3e18);
        uint256 multiplier = ModifiedShortfall.multiplierUp(skew);
        assertLe(ModifiedShortfall.multiplierUp(skew + int256(bound(step, 0, 3e18))), multiplier + 100);
        assertGe(multiplier, 0.85e18);
        assertLe(multiplier, 2.33e18);
    }

    function test_multiplierUp_standsAnyNumber() public pure {
        assertEq(ModifiedShortfall.multiplierUp(type(int256).min), ModifiedShortfall.multiplierUp(-1.7998e18));
        assertEq(ModifiedShortfall.multiplierUp(type(int256).max), ModifiedShortfall.multiplierUp(0.3808e18));
    }
}
