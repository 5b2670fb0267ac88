// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title VolatilityMath
/// @notice Formulas of VolatilityOracle. Volatilities are annualised [wad], variances a year [wad], weights in millionths.
library VolatilityMath {
    uint256 internal constant YEAR = 365 days;
    uint256 internal constant HOUR = 1 hours;

    uint256 private constant WAD = 1e18;
    uint256 private constant MILLION = 1e6;
    uint256 private constant LN_2 = 693_147_180_559_945_309;
    /// @dev e^40 is beyond any rise a level can need, and keeps the products below 2^256.
    uint256 private constant MAXIMUM_EXPONENT = 40e18;

    /// @notice (1 − w)·reported + w·stress, rounded up.
    /// @param weight w, millionths; more than a million counts as a million.
    function blendUp(uint256 reported, uint256 stress, uint256 weight) internal pure returns (uint256) {
        weight = FixedPoint.min(weight, MILLION);
        return FixedPoint.divUp((MILLION - weight) * reported + weight * stress, MILLION);
    }

    /// @notice κ·volatility, rounded up. @param weight κ, millionths.
    function weightUp(uint256 volatility, uint256 weight) internal pure returns (uint256) {
        return FixedPoint.divUp(volatility * weight, MILLION);
    }

    /// @notice level · exp(rate · elapsed), rounded up, with the elapsed time counted to one hour at most: an oracle that
    /// nobody has poked for a day would otherwise hold a day's rise in store and let the level jump at once, which is what
    /// the rate is there to prevent.
    /// @param rate Natural logarithm per hour, millionths. @param elapsed Seconds since the level was set.
    function riseUp(uint256 level, uint256 rate, uint256 elapsed) internal pure returns (uint256) {
        uint256 exponent = rate * (WAD / MILLION) * FixedPoint.min(elapsed, HOUR) / HOUR;
        exponent = FixedPoint.min(exponent, MAXIMUM_EXPONENT);
        return FixedPoint.mulWadUp(level, uint256(FixedPoint.expWad(int256(exponent))));
    }

    /// @notice √variance, rounded up.
    function volatilityUp(uint256 variance) internal pure returns (uint256 volatility) {
        uint256 square = variance * WAD;
        volatility = FixedPoint.sqrt(square);
        if (volatility * volatility < square) ++volatility;
    }

    /// @notice One step of the exponentially weighted variance over observations at irregular times:
    /// v ← v·d + (1 − d)·r²/Δt·year with r = ln(price / previousPrice) and d = 2^(−Δt / half-life)
    /// (Eckner 2019, "Algorithms for unevenly spaced time series", EMA of the step r²/Δt). As Δt → 0 the second term tends to
    /// r²·ln 2/half-life·year, which is used where two rounds share a second.
    /// @param previousPrice Positive, below 2^128. @param price Likewise.
    /// @param elapsed Δt, seconds. @param halfLife Seconds, positive.
    /// @return A year [wad], at most 2^128 − 1; rounding is to the nearest few parts in 10^18.
    function updateVariance(uint256 variance, uint256 previousPrice, uint256 price, uint256 elapsed, uint256 halfLife)
        internal
        pure
        returns (uint256)
    {
        // A ratio below 1e-18 would be 0, which has no logarithm.
        uint256 ratio = FixedPoint.max(price * WAD / previousPrice, 1);
        int256 logReturn = FixedPoint.lnWad(int256(ratio));
        // |r| ≤ 89 wad, so r² < 2^133 [1e36], and all products below stay under 2^256.
        uint256 square = uint256(logReturn * logReturn);
        uint256 term;
        if (elapsed == 0) {
            term = square * YEAR * LN_2 / halfLife / WAD / WAD;
        } else {
            // Beyond 60 half-lives nothing is left of the past.
            uint256 exponent = FixedPoint.min(elapsed, 60 * halfLife) * LN_2 / halfLife;
            uint256 decay = uint256(FixedPoint.expWad(-int256(exponent)));
            variance = variance * decay / WAD;
            term = square * YEAR / elapsed * (WAD - decay) / WAD / WAD;
        }
        return FixedPoint.min(variance + term, type(uint128).max);
    }
}
