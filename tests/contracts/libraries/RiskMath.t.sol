// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { RiskMath } from "contracts/libraries/RiskMath.sol";
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

    // ─── Node losses

    function test_standaloneLossUp_stopsAtAllOfALongAndNotOfAShort() public pure {
        assertEq(RiskMath.standaloneLossUp(1000e18, 0.2e18), 200e18);
        assertEq(RiskMath.standaloneLossUp(-1000e18, 0.2e18), 200e18);
        assertEq(RiskMath.standaloneLossUp(1000e18, 1.5e18), 1000e18);
        assertEq(RiskMath.standaloneLossUp(-1000e18, 1.5e18), 1500e18);
        assertEq(RiskMath.standaloneLossUp(1, 1), 1); // ROUND: up
        assertEq(RiskMath.standaloneLossUp(0, 1e18), 0);
    }

    function testFuzz_nodeLossUp_worstNodeIsTheStandaloneLoss(int256 exposure, uint256 range) public pure {
        exposure = bound(exposure, -1e37, 1e37);
        range = bound(range, 0, 3e18);
        int256 up = RiskMath.nodeLossUp(exposure, range, true);
        int256 down = RiskMath.nodeLossUp(exposure, range, false);
        assertEq(uint256(up > down ? up : down), RiskMath.standaloneLossUp(exposure, range));
        // Gains round down: two ends never sum to a profit beyond the part a fall below zero can't take.
        if (range <= WAD) assertGe(up + down, 0);
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

    // ─── √(Σ ρ a a)

    function test_expectedShortfallUp_matchesReference() public pure {
        _checkShortfall(_dollars(8793, -5694), _one(600_000), _one(950_000), 7_046_820_176_505_144_791_972);
        _checkShortfall(_dollars(8793, 5694), _one(600_000), _one(950_000), 14_313_156_004_180_210_150_106);
        _checkShortfall(
            _dollars(100, -200, 300),
            _three(500_000, -200_000, 100_000),
            _three(900_000, 300_000, 400_000),
            354_964_786_985_976_962_554
        );
        int256[] memory losses = new int256[](4);
        (losses[0], losses[1], losses[2], losses[3]) = (1000e18, 1000e18, -1000e18, -500e18);
        int256[] memory low = new int256[](6);
        int256[] memory high = new int256[](6);
        for (uint256 i; i < 6; ++i) {
            low[i] = int256(100_000 * (i + 1));
            high[i] = int256(100_000 * (i + 2));
        }
        _checkShortfall(losses, low, high, 1_532_970_971_675_589_165_655);
    }

    function test_expectedShortfallUp_ofOneIsItsLossAndOfNoneIsNothing() public pure {
        int256[] memory none = new int256[](0);
        assertEq(RiskMath.expectedShortfallUp(none, none, none), 0);
        int256[] memory one = new int256[](1);
        one[0] = -123e18;
        assertEq(RiskMath.expectedShortfallUp(one, none, none), 123e18);
    }

    function test_expectedShortfallUp_ofAPerfectHedgeIsNothing() public pure {
        assertEq(RiskMath.expectedShortfallUp(_dollars(500, -500), _one(1_000_000), _one(1_000_000)), 0);
        // A matrix no two variables can have makes the sum negative: the grid decides alone then.
        int256[] memory impossible = _three(-1_000_000, -1_000_000, -1_000_000);
        assertEq(RiskMath.expectedShortfallUp(_dollars(100, 100, 100), impossible, impossible), 0);
    }

    function testFuzz_expectedShortfallUp_liesBetweenDifferenceAndSum(int256 a, int256 b, int256 low, int256 high)
        public
        pure
    {
        (a, b) = (bound(a, -1e36, 1e36), bound(b, -1e36, 1e36));
        low = bound(low, -1e6, 1e6);
        high = bound(high, low, 1e6);
        int256[] memory losses = new int256[](2);
        (losses[0], losses[1]) = (a, b);
        uint256 shortfall = RiskMath.expectedShortfallUp(losses, _one(low), _one(high));
        (uint256 sizeA, uint256 sizeB) = (_absolute(a), _absolute(b));
        assertLe(shortfall, sizeA + sizeB + 3e9);
        assertGe(shortfall + 3e9, sizeA > sizeB ? sizeA - sizeB : sizeB - sizeA);
        // The worse matrix: neither alone asks for more.
        assertGe(shortfall, RiskMath.expectedShortfallUp(losses, _one(low), _one(low)));
        assertGe(shortfall, RiskMath.expectedShortfallUp(losses, _one(high), _one(high)));
    }

    /// @notice COHERENCE: the shortfall of two portfolios together is at most the sum of theirs.
    function testFuzz_expectedShortfallUp_isSubadditive(int256[4] memory x, int256 low, int256 high) public pure {
        int256[] memory first = new int256[](2);
        int256[] memory second = new int256[](2);
        int256[] memory both = new int256[](2);
        for (uint256 i; i < 2; ++i) {
            first[i] = bound(x[i], -1e30, 1e30);
            second[i] = bound(x[i + 2], -1e30, 1e30);
            both[i] = first[i] + second[i];
        }
        low = bound(low, -1e6, 1e6);
        high = bound(high, low, 1e6);
        uint256 sum = RiskMath.expectedShortfallUp(first, _one(low), _one(high))
            + RiskMath.expectedShortfallUp(second, _one(low), _one(high));
        assertLe(RiskMath.expectedShortfallUp(both, _one(low), _one(high)), sum + 4e9);
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

    function _checkShortfall(int256[] memory losses, int256[] memory low, int256[] memory high, uint256 expected)
        private
        pure
    {
        uint256 shortfall = RiskMath.expectedShortfallUp(losses, low, high);
        assertGe(shortfall, expected);
        assertLe(shortfall, expected + 2e9); // it counts in billionths of a dollar
    }

    function _dollars(int256 a, int256 b) private pure returns (int256[] memory list) {
        list = new int256[](2);
        (list[0], list[1]) = (a * 1e18, b * 1e18);
    }

    function _dollars(int256 a, int256 b, int256 c) private pure returns (int256[] memory list) {
        list = new int256[](3);
        (list[0], list[1], list[2]) = (a * 1e18, b * 1e18, c * 1e18);
    }

    function _three(int256 a, int256 b, int256 c) private pure returns (int256[] memory list) {
        list = new int256[](3);
        (list[0], list[1], list[2]) = (a, b, c);
    }

    function _one(int256 a) private pure returns (int256[] memory list) {
        list = new int256[](1);
        list[0] = a;
    }

    function _absolute(int256 x) private pure returns (uint256) {
        return x < 0 ? uint256(-x) : uint256(x);
    }
}
