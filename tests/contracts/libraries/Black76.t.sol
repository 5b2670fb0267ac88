// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { NormalTable } from "contracts/NormalTable.sol";
import { Black76 } from "contracts/libraries/Black76.sol";
import { NormalDistribution } from "contracts/libraries/NormalDistribution.sol";
import { Test } from "forge-std/Test.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @notice Bounds and shape over the whole domain. tests/unit/test_option_math.py has the accuracy, against QuantLib.
contract Black76Test is Test {
    uint256 private constant WAD = 1e18;
    uint256 private constant LEAST_PRICE = 1e6;
    uint256 private constant MOST_PRICE = 1e29;
    uint256 private constant MOST_DEVIATION = 60e18;

    address private data;

    function setUp() public {
        data = address(new NormalTable());
    }

    function _evaluate(uint256 forward, uint256 strike, uint256 deviation)
        private
        view
        returns (uint256, uint256, uint256)
    {
        int256 logMoneyness = FixedPoint.lnWad(int256(forward)) - FixedPoint.lnWad(int256(strike));
        return Black76.evaluate(NormalDistribution.load(data), forward, strike, logMoneyness, deviation);
    }

    function _call(uint256 forward, uint256 strike, uint256 deviation) private view returns (uint256 call) {
        (call,,) = _evaluate(forward, strike, deviation);
    }

    /// @dev What a value may be off by.
    function _error(uint256 forward, uint256 strike) private pure returns (uint256) {
        return (forward + strike) / 1e13 + 2;
    }

    /// @notice Numbers by the formula in 40 digits.
    function test_evaluate_matchesReference() public view {
        (uint256 call, uint256 delta, uint256 density) = _evaluate(2000e18, 2100e18, 0.2e18);
        assertApproxEqAbs(call, 118_111_869_431_109_871_991, 1e9);
        assertApproxEqAbs(delta, 442_769_652_164_772_504, 1e6);
        assertApproxEqAbs(density, 789_660_421_561_553_925_101, 1e6);
    }

    function testFuzz_evaluate_staysWithinTheBoundsOfNoArbitrage(uint256 forward, uint256 strike, uint256 deviation)
        public
        view
    {
        (forward, strike) = (bound(forward, LEAST_PRICE, MOST_PRICE), bound(strike, LEAST_PRICE, MOST_PRICE));
        deviation = bound(deviation, 0, MOST_DEVIATION);
        (uint256 call, uint256 delta, uint256 density) = _evaluate(forward, strike, deviation);
        assertGe(call, forward > strike ? forward - strike : 0);
        assertLe(call, forward);
        assertLe(delta, WAD);
        assertLe(density, forward * 0.4e18 / WAD);
    }

    /// @notice No argument at all makes the smallest and largest deviations revert.
    function test_evaluate_standsTheCornersOfTheDomain() public view {
        uint256[2] memory prices = [LEAST_PRICE, MOST_PRICE];
        uint256[4] memory deviations = [uint256(0), 1, WAD, MOST_DEVIATION];
        for (uint256 i; i < 16; ++i) {
            uint256 forward = prices[i & 1];
            uint256 strike = prices[i >> 1 & 1];
            uint256 call = _call(forward, strike, deviations[i >> 2]);
            assertGe(call, forward > strike ? forward - strike : 0);
            assertLe(call, forward);
        }
    }

    function test_evaluate_isThePayoffWithoutDeviation() public view {
        (uint256 call, uint256 delta, uint256 density) = _evaluate(2000e18, 1500e18, 0);
        assertEq(call, 500e18);
        assertEq(delta, WAD);
        assertEq(density, 0);
        (call, delta, density) = _evaluate(2000e18, 2500e18, 0);
        assertEq(call, 0);
        assertEq(delta, 0);
        assertEq(density, 0);
    }

    function testFuzz_evaluate_callRisesWithForwardAndDeviationAndFallsWithStrike(
        uint256 forward,
        uint256 strike,
        uint256 deviation,
        uint256 more
    ) public view {
        forward = bound(forward, 1e12, 1e27);
        strike = bound(strike, forward / 50, forward * 50);
        deviation = bound(deviation, 0, 10e18);
        more = bound(more, 1, WAD);
        uint256 call = _call(forward, strike, deviation);
        uint256 slack = 2 * _error(2 * forward, 2 * strike);
        assertGe(_call(forward, strike, deviation + more) + slack, call);
        assertGe(_call(forward + forward * more / WAD, strike, deviation) + slack, call);
        assertLe(_call(forward, strike + strike * more / WAD, deviation), call + slack);
    }

    /// @notice Put-call symmetry: K·call(F) and F·put(K) change places, C(F, K) = P(K, F) in a market without drift.
    function testFuzz_evaluate_putIsTheCallWithForwardAndStrikeExchanged(
        uint256 forward,
        uint256 strike,
        uint256 deviation
    ) public view {
        forward = bound(forward, 1e12, 1e27);
        strike = bound(strike, forward / 50, forward * 50);
        deviation = bound(deviation, 0, 10e18);
        uint256 put = _call(forward, strike, deviation) + strike - forward;
        assertApproxEqAbs(put, _call(strike, forward, deviation), 2 * _error(forward, strike));
    }

    /// @notice F·φ(d1) = K·φ(d2): the density is the same from both sides, d2 = −d1 with the two exchanged.
    function testFuzz_evaluate_densityIsTheSameWithForwardAndStrikeExchanged(
        uint256 forward,
        uint256 strike,
        uint256 deviation
    ) public view {
        forward = bound(forward, 1e15, 1e27);
        strike = bound(strike, forward / 50, forward * 50);
        deviation = bound(deviation, 1e12, 10e18);
        (,, uint256 density) = _evaluate(forward, strike, deviation);
        (,, uint256 exchanged) = _evaluate(strike, forward, deviation);
        assertApproxEqAbs(density, exchanged, (forward + strike) / 1e11 + 2);
    }
}
