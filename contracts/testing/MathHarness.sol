// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Black76 } from "contracts/libraries/Black76.sol";
import { ModifiedShortfall } from "contracts/libraries/ModifiedShortfall.sol";
import { NormalDistribution } from "contracts/libraries/NormalDistribution.sol";
import { VolatilitySurface } from "contracts/libraries/VolatilitySurface.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title MathHarness
/// @notice The mathematics of options on arrays, so that a test can ask for thousands of values in one call.
contract MathHarness {
    address private immutable NORMAL_TABLE;

    constructor(address normalTable) {
        NORMAL_TABLE = normalTable;
    }

    /// @param x [wad] @return values N(x) [wad]
    function cdf(int256[] calldata x) external view returns (uint256[] memory values) {
        NormalDistribution.Table table = NormalDistribution.load(NORMAL_TABLE);
        values = new uint256[](x.length);
        for (uint256 i; i < x.length; ++i) {
            values[i] = NormalDistribution.cdf(table, x[i]);
        }
    }

    /// @param x [wad] @return values φ(x) [wad]
    function pdf(int256[] calldata x) external pure returns (uint256[] memory values) {
        values = new uint256[](x.length);
        for (uint256 i; i < x.length; ++i) {
            values[i] = NormalDistribution.pdf(x[i]);
        }
    }

    /// @notice Black76.evaluate of calls; ln(F/K) is worked out here.
    /// @param forwards F [wad]. @param strikes K [wad]. @param deviations s [wad].
    function black76(uint256[] calldata forwards, uint256[] calldata strikes, uint256[] calldata deviations)
        external
        view
        returns (uint256[] memory calls, uint256[] memory deltas, uint256[] memory densities)
    {
        NormalDistribution.Table table = NormalDistribution.load(NORMAL_TABLE);
        calls = new uint256[](forwards.length);
        deltas = new uint256[](forwards.length);
        densities = new uint256[](forwards.length);
        for (uint256 i; i < forwards.length; ++i) {
            int256 logMoneyness = FixedPoint.lnWad(int256(forwards[i] * 1e18 / strikes[i]));
            (calls[i], deltas[i], densities[i]) =
                Black76.evaluate(table, forwards[i], strikes[i], logMoneyness, deviations[i]);
        }
    }

    /// @notice √w of each strike on each smile.
    /// @param levels σ30 [wad]. @param times τ [seconds]. @param words Slot 3 of RiskParameters. @param k ln(K/F) [wad].
    /// @return values s [wad]
    function deviation(
        uint256[] calldata levels,
        uint256[] calldata times,
        uint256[] calldata words,
        int256[] calldata k
    ) external pure returns (uint256[] memory values) {
        values = new uint256[](levels.length);
        for (uint256 i; i < levels.length; ++i) {
            values[i] = VolatilitySurface.deviation(VolatilitySurface.slice(levels[i], times[i], words[i]), k[i]);
        }
    }

    /// @param v Rise of 30-day volatility [wad]. @param exponents p [millionths]. @param times τ [seconds].
    /// @return values VolatilitySurface.shock [wad]
    function shock(uint256[] calldata v, uint256[] calldata exponents, uint256[] calldata times)
        external
        pure
        returns (uint256[] memory values)
    {
        values = new uint256[](v.length);
        for (uint256 i; i < v.length; ++i) {
            values[i] = VolatilitySurface.shock(v[i], exponents[i], times[i]);
        }
    }

    /// @notice Reverts where the parameters would allow arbitrage.
    function requireArbitrageFree(uint16 underlying, uint256 word0, uint256 word3) external pure {
        VolatilitySurface.requireArbitrageFree(underlying, word0, word3);
    }

    /// @param books Exposures of each account. @param low ρ of each, upper triangle [millionths]. @param high Likewise.
    /// @return values 99% expected shortfall of each [wad dollars]
    function modifiedShortfall(
        ModifiedShortfall.Exposure[][] calldata books,
        int256[][] calldata low,
        int256[][] calldata high
    ) external pure returns (uint256[] memory values) {
        values = new uint256[](books.length);
        for (uint256 i; i < books.length; ++i) {
            values[i] = ModifiedShortfall.shortfallUp(books[i], low[i], high[i]);
        }
    }

    /// @param skews [wad] @return values m(skew)/c [wad]
    function shortfallMultiplier(int256[] calldata skews) external pure returns (uint256[] memory values) {
        values = new uint256[](skews.length);
        for (uint256 i; i < skews.length; ++i) {
            values[i] = ModifiedShortfall.multiplierUp(skews[i]);
        }
    }
}
