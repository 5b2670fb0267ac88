// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { VolatilityMath } from "contracts/libraries/VolatilityMath.sol";
import { Test } from "forge-std/Test.sol";

contract VolatilityMathTest is Test {
    uint256 private constant WAD = 1e18;
    uint256 private constant HALF_LIFE = 6 hours;

    /// @notice Ten rounds at irregular times, two of them in the same second. Reference in Python's mpmath at 60 digits,
    /// from v = 0.64, for (t, p) in turn: v + r²·ln 2/H·Y if Δt = 0 else v·d + (1 − d)·r²/Δt·Y, with r = ln(p/p₀),
    /// d = exp(−Δt·ln 2/H), H = 21 600, Y = 31 536 000; floor(v·10^18) after each.
    function test_updateVariance_followsTheReference() public pure {
        uint256[11] memory times = [uint256(0), 60, 187, 1800, 1800, 1812, 5400, 9000, 9001, 30_000, 116_400];
        uint256[11] memory prices = [
            uint256(40_000e18),
            40_120.5e18,
            39_875.25e18,
            40_210e18,
            40_050.75e18,
            38_900e18,
            36_120.125e18,
            37_400e18,
            37_399.99e18,
            35_000e18,
            42_000e18
        ];
        uint256[11] memory expected = [
            uint256(0.64e18),
            647_916_535_666_090_600,
            683_251_355_290_917_824,
            717_711_809_288_250_729,
            733_648_270_961_869_505,
            1_593_300_866_905_553_416,
            6_674_967_956_290_567_405,
            7_105_509_343_745_573_173,
            7_105_281_330_635_315_460,
            6_860_424_235_847_751_632,
            11_803_482_554_924_699_614
        ];
        uint256 variance = expected[0];
        for (uint256 i = 1; i < times.length; ++i) {
            variance =
                VolatilityMath.updateVariance(variance, prices[i - 1], prices[i], times[i] - times[i - 1], HALF_LIFE);
            assertApproxEqRel(variance, expected[i], 1e5);
        }
        assertApproxEqRel(VolatilityMath.volatilityUp(variance), 3_435_619_675_535_215_527, 1e5);
    }

    /// @notice One second is close to the limit that is used for none.
    function testFuzz_updateVariance_isContinuousInTime(uint256 price) public pure {
        price = bound(price, 30_000e18, 50_000e18);
        uint256 none = VolatilityMath.updateVariance(0.64e18, 40_000e18, price, 0, HALF_LIFE);
        uint256 one = VolatilityMath.updateVariance(0.64e18, 40_000e18, price, 1, HALF_LIFE);
        assertApproxEqRel(one, none, 1e14);
    }

    /// @notice A steady return of σ²·Δt is a fixed point, whatever the interval.
    function testFuzz_updateVariance_keepsTheVarianceItSees(uint256 elapsed) public pure {
        elapsed = bound(elapsed, 1, 7 days);
        // r = 1% over the interval, so the variance a year is 10⁻⁴ · year / Δt; ln(1.01)² = 9.900908…e-5.
        uint256 steady = uint256(99_009_084_087_508) * 365 days / elapsed;
        uint256 next = VolatilityMath.updateVariance(steady, 100e18, 101e18, elapsed, HALF_LIFE);
        assertApproxEqRel(next, steady, 1e9);
    }

    /// @notice No price, time or half-life makes it revert, and it never lies outside [decayed past, 2^128).
    function testFuzz_updateVariance_neverReverts(
        uint128 variance,
        uint128 previousPrice,
        uint128 price,
        uint48 elapsed,
        uint256 halfLife
    ) public pure {
        vm.assume(previousPrice > 0 && price > 0);
        halfLife = bound(halfLife, 1, uint256(uint32(type(int32).max)));
        uint256 next = VolatilityMath.updateVariance(variance, previousPrice, price, elapsed, halfLife);
        assertLe(next, type(uint128).max);
        uint256 still = VolatilityMath.updateVariance(variance, price, price, elapsed, halfLife);
        assertLe(still, variance);
        assertGe(next, still);
    }

    function test_updateVariance_halvesInAHalfLife() public pure {
        assertApproxEqAbs(VolatilityMath.updateVariance(WAD, 1e18, 1e18, HALF_LIFE, HALF_LIFE), WAD / 2, 2);
    }

    function testFuzz_volatilityUp_isTheRootRoundedUp(uint128 variance) public pure {
        uint256 root = VolatilityMath.volatilityUp(variance);
        assertGe(root * root, uint256(variance) * WAD);
        if (root > 0) assertLt((root - 1) * (root - 1), uint256(variance) * WAD);
    }

    function test_blendUp_weighsAndRoundsUp() public pure {
        // (1 − 0.25)·0.8 + 0.25·1.2 = 0.9
        assertEq(VolatilityMath.blendUp(0.8e18, 1.2e18, 250_000), 0.9e18);
        assertEq(VolatilityMath.blendUp(1, 0, 250_000), 1);
        assertEq(VolatilityMath.blendUp(0.8e18, 1.2e18, 0), 0.8e18);
        assertEq(VolatilityMath.blendUp(0.8e18, 1.2e18, 1_000_000), 1.2e18);
        assertEq(VolatilityMath.blendUp(0.8e18, 1.2e18, 2_000_000), 1.2e18);
    }

    function testFuzz_blendUp_liesBetween(uint64 reported, uint64 stress, uint32 weight) public pure {
        uint256 blend = VolatilityMath.blendUp(reported, stress, weight);
        assertGe(blend, reported < stress ? reported : stress);
        assertLe(blend, reported < stress ? stress : reported);
    }

    function test_weightUp_roundsUp() public pure {
        assertEq(VolatilityMath.weightUp(0.8e18, 700_000), 0.56e18);
        assertEq(VolatilityMath.weightUp(1, 700_000), 1);
    }

    /// @notice ceil(0.5·e^(0.3·t/1 h)·10^18) from mpmath, for half an hour and for an hour and beyond.
    function test_riseUp_followsTheReferenceForAnHourAtMost() public pure {
        assertApproxEqRel(VolatilityMath.riseUp(0.5e18, 300_000, 30 minutes), 580_917_121_364_141_562, 10);
        assertApproxEqRel(VolatilityMath.riseUp(0.5e18, 300_000, 1 hours), 674_929_403_788_001_552, 10);
        assertEq(VolatilityMath.riseUp(0.5e18, 300_000, 30 days), VolatilityMath.riseUp(0.5e18, 300_000, 1 hours));
        assertEq(VolatilityMath.riseUp(0.5e18, 300_000, 0), 0.5e18);
    }

    function testFuzz_riseUp_neverFallsOrReverts(uint80 level, uint32 rate, uint48 elapsed) public pure {
        vm.assume(rate <= uint32(type(int32).max));
        assertGe(VolatilityMath.riseUp(level, rate, elapsed), level);
    }

    /// @notice Following in many small steps comes to the same as one, so that frequent pokes earn nothing.
    function testFuzz_riseUp_composes(uint256 first, uint256 second) public pure {
        first = bound(first, 0, 30 minutes);
        second = bound(second, 0, 30 minutes);
        uint256 twice = VolatilityMath.riseUp(VolatilityMath.riseUp(0.8e18, 300_000, first), 300_000, second);
        assertApproxEqRel(twice, VolatilityMath.riseUp(0.8e18, 300_000, first + second), 100);
    }
}
