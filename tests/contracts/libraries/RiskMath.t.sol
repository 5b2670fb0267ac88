// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { RiskMath } from "contracts/libraries/RiskMath.sol";
import { FieldLibrary as Fields } from "contracts/types/Field.sol";
import { Test } from "forge-std/Test.sol";

/// @notice Reference numbers were computed with mpmath at 60 digits and cut to 18 decimals, from the formula each test
/// states. The library rounds up, so it may answer a little more and never less.
contract RiskMathTest is Test {
    uint256 private constant WAD = 1e18;

    // ─── range = z · σ · √(t / year)

    function test_rangeUp_matchesReference() public pure {
        _checkRange(0.7e18, 3_200_000, 86_400, 117_246_958_660_207_869);
        _checkRange(0.7e18, 3_600_000, 14_400, 53_849_104_239_506_716);
        _checkRange(0.3e18, 2_500_000, 3600, 8_013_259_559_450_404);
        _checkRange(4e18, 10_000_000, 7 days, 5_539_398_117_742_514_728);
        _checkRange(0.01e18, 1_000_000, 1, 1_780_724_346_544);
        _checkRange(1_234_567_890_123_456_789, 3_141_592, 12_345, 76_737_386_355_820_226);
    }

    /// @notice ORDER: rising in volatility, tail and time.
    function testFuzz_rangeUp_rises(uint256 volatility, uint256 tail, uint256 time, uint256 more) public pure {
        (volatility, tail) = (bound(volatility, 0, 10e18), bound(tail, 0, 50e6));
        (time, more) = (bound(time, 0, 30 days), bound(more, 1, 1e6));
        uint256 range = RiskMath.rangeUp(volatility, tail, time);
        assertGe(RiskMath.rangeUp(volatility + more, tail, time), range);
        assertGe(RiskMath.rangeUp(volatility, tail + more, time), range);
        assertGe(RiskMath.rangeUp(volatility, tail, time + more), range);
    }

    function test_rangeUp_isZeroOnlyForNothing() public pure {
        assertEq(RiskMath.rangeUp(0, 1e6, 1), 0);
        assertEq(RiskMath.rangeUp(1e18, 1e6, 0), 0);
        assertEq(RiskMath.rangeUp(1, 1, 1), 1);
    }

    // ─── grid = (1 − offset) · standalone + offset · joint

    function test_gridUp_weighs() public pure {
        assertEq(RiskMath.gridUp(1000e18, 400e18, 600_000), 640e18);
        assertEq(RiskMath.gridUp(1000e18, 400e18, 0), 1000e18);
        assertEq(RiskMath.gridUp(1000e18, 0, 800_000), 200e18);
        assertEq(RiskMath.gridUp(1, 0, 500_000), 1); // ROUND: up
    }

    function testFuzz_gridUp_liesBetweenItsParts(uint256 standalone, uint256 joint, uint256 offset) public pure {
        standalone = bound(standalone, 0, 1e40);
        joint = bound(joint, 0, standalone);
        offset = bound(offset, 0, 1e6);
        uint256 grid = RiskMath.gridUp(standalone, joint, offset);
        assertGe(grid, joint);
        assertLe(grid, standalone + 1);
    }

    // ─── liquidity = N · (½ spread + ⅔ · Y · σ / √365 · √(N / ADV))

    function test_liquidityUp_matchesReference() public pure {
        _checkLiquidity(75_000e18, 0.7e18, 300, 800_000, 2_000_000, 31_474_850_706_584_452_820);
        _checkLiquidity(1e18, 0.3e18, 0, 1_000_000, 1, 331_042_355_440_947);
        _checkLiquidity(1e27, 4e18, 10_000, 1_500_000, 500_000, 306_093_284_079_042_104_786_266_670);
        _checkLiquidity(1e12, 0.5e18, 300, 800_000, 2_000_000, 300_000_312);
        _checkLiquidity(123_456.789e18, 0.85e18, 150, 0, 1000, 18_518_518_349_999_999_999);
        _checkLiquidity(500e18, 0.6e18, 0, 800_000, 1000, 187_265_835_513_808_902);
        assertEq(RiskMath.liquidityUp(0, 1e18, 300, 800_000, 1), 0);
    }

    /// @notice COHERENCE: size costs more, never less: rising, and the rate rises with it.
    function testFuzz_liquidityUp_rateRisesWithSize(uint256 notional, uint256 factor, uint256 volatility) public pure {
        notional = bound(notional, 1, 1e37);
        factor = bound(factor, 1, 100);
        volatility = bound(volatility, 0, 10e18);
        uint256 one = RiskMath.liquidityUp(notional, volatility, 300, 800_000, 2_000_000);
        uint256 many = RiskMath.liquidityUp(notional * factor, volatility, 300, 800_000, 2_000_000);
        assertGe(many + factor * (notional / 1e15 + 10), one * factor);
        assertGe(many, one);
        assertGe(RiskMath.liquidityUp(notional, volatility + 1e15, 300, 800_000, 2_000_000), one);
    }

    // ─── √

    function testFuzz_sqrtUp_isTheSmallestRootNotBelow(uint256 x) public pure {
        uint256 root = RiskMath.sqrtUp(x);
        if (x == 0) assertEq(root, 0);
        else assertLt((root - 1) * (root - 1), x);
        assertTrue(root == 1 << 128 || root * root >= x);
    }

    // ─── Notional brackets

    /// @dev 0.5% up to a million dollars, 1% up to ten, 2% up to a hundred, 5% beyond.
    function _brackets() private pure returns (uint256 word) {
        word = Fields.TIER_RATE_1.write(word, 5000);
        word = Fields.TIER_RATE_2.write(word, 10_000);
        word = Fields.TIER_RATE_3.write(word, 20_000);
        word = Fields.TIER_RATE_4.write(word, 50_000);
        word = Fields.TIER_NOTIONAL_1.write(word, 1000);
        word = Fields.TIER_NOTIONAL_2.write(word, 10_000);
        word = Fields.TIER_NOTIONAL_3.write(word, 100_000);
        // The lane next to the last end is none of its business.
        word = Fields.OPTION_HALF_SPREAD.write(word, type(int32).max);
    }

    function test_leverageFloorUp_chargesEveryBracketItsOwnRate() public pure {
        uint256 word = _brackets();
        assertEq(RiskMath.leverageFloorUp(0, word), 0);
        assertEq(RiskMath.leverageFloorUp(1, word), 1); // ROUND: up
        assertEq(RiskMath.leverageFloorUp(400_000e18, word), 2000e18);
        assertEq(RiskMath.leverageFloorUp(1_000_000e18, word), 5000e18);
        assertEq(RiskMath.leverageFloorUp(3_000_000e18, word), 25_000e18);
        assertEq(RiskMath.leverageFloorUp(30_000_000e18, word), 5000e18 + 90_000e18 + 400_000e18);
        assertEq(RiskMath.leverageFloorUp(200_000_000e18, word), 5000e18 + 90_000e18 + 1_800_000e18 + 5_000_000e18);
        assertEq(RiskMath.leverageFloorUp(200_000_000e18, 0), 0);
    }

    /// @notice COHERENCE: the rate never falls with size.
    function testFuzz_leverageFloorUp_rateRisesWithSize(uint256 notional, uint256 times) public pure {
        notional = bound(notional, 1, 1e37);
        times = bound(times, 1, 100);
        uint256 one = RiskMath.leverageFloorUp(notional, _brackets());
        assertGe(RiskMath.leverageFloorUp(notional * times, _brackets()) + times, one * times);
        assertGe(one * 200 + 200, notional); // at least the lowest rate
        assertLe(one, notional / 20 + 1); // at most the highest
    }

    // ─── Open interest

    function test_openInterestScaleUp_risesInALine() public pure {
        assertEq(RiskMath.openInterestScaleUp(0, 1000, 5000, 2_000_000), WAD);
        assertEq(RiskMath.openInterestScaleUp(1_000_000e18, 1000, 5000, 2_000_000), WAD);
        assertEq(RiskMath.openInterestScaleUp(2_000_000e18, 1000, 5000, 2_000_000), 1.25e18);
        assertEq(RiskMath.openInterestScaleUp(2_000_000e18 + 1, 1000, 5000, 2_000_000), 1.25e18 + 1); // ROUND: up
        assertEq(RiskMath.openInterestScaleUp(5_000_000e18, 1000, 5000, 2_000_000), 2e18);
        assertEq(RiskMath.openInterestScaleUp(1e40, 1000, 5000, 2_000_000), 2e18);
        // No line between two ends that are the same.
        assertEq(RiskMath.openInterestScaleUp(1_000_000e18, 1000, 1000, 3_000_000), WAD);
        assertEq(RiskMath.openInterestScaleUp(1_000_000e18 + 1, 1000, 1000, 3_000_000), 3e18);
    }

    function testFuzz_openInterestScaleUp_risesFromOneToTheHighest(
        uint256 interest,
        uint256 more,
        uint256 lower,
        uint256 width,
        uint256 highest
    ) public pure {
        (interest, more) = (bound(interest, 0, 1e30), bound(more, 0, 1e30));
        (lower, width) = (bound(lower, 0, 1e9), bound(width, 1, 1e9));
        highest = bound(highest, 0, 10e6);
        uint256 scale = RiskMath.openInterestScaleUp(interest, lower, lower + width, highest);
        assertGe(scale, WAD);
        assertLe(scale, highest < 1e6 ? WAD : highest * 1e12);
        assertGe(RiskMath.openInterestScaleUp(interest + more, lower, lower + width, highest), scale);
    }

    // ─── Helpers

    function _checkRange(uint256 volatility, uint256 tail, uint256 time, uint256 expected) private pure {
        uint256 range = RiskMath.rangeUp(volatility, tail, time);
        assertGe(range, expected);
        assertLe(range, expected + 2 + volatility * tail / 1e24); // √ is off by a wei at most
    }

    function _checkLiquidity(
        uint256 notional,
        uint256 volatility,
        uint256 halfSpread,
        uint256 impact,
        uint256 dailyVolume,
        uint256 expected
    ) private pure {
        uint256 liquidity = RiskMath.liquidityUp(notional, volatility, halfSpread, impact, dailyVolume);
        assertGe(liquidity, expected);
        // Rates are off by a few wei.
        assertLe(liquidity, expected + 2 + 5 * notional / WAD);
    }
}
