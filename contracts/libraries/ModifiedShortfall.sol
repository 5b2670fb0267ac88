// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title ModifiedShortfall
/// @notice 99% expected shortfall of a portfolio from its Greeks: the delta-gamma-vega loss is given its mean, variance
/// and third cumulant, and the tail of the Edgeworth expansion with these (Boudt, Peterson & Croux, Estimation and
/// decomposition of downside risk for portfolios with non-normal returns, Journal of Risk 11, 2008, with no excess
/// kurtosis). z = N⁻¹(1%), c = φ(z)/1% = 2.665… is the expected shortfall of a standard normal in deviations; r_u, the
/// expected-shortfall move of u, is c deviations of its return.
///
/// Multiplier. With skewness s of the profit and g = z + (z² − 1)·s/6 − (2z³ − 5z)·s²/36,
///   m(s) = φ(g)/1%·(1 + s·g³/6 + s²·(g⁶ − 9g⁴ + 9g² + 3)/72),
/// which is the paper's formula with its integrals I^q worked out; m(0) = c. m falls from 6.1959 at s = −1.7998 to 2.2884
/// at s = 0.3808; outside it rises with skewness, so s is clamped to [−1.7998, 0.3808]. There m is also at
/// least the modified value at risk −g, as the paper asks.
library ModifiedShortfall {
    /// @notice What the account holds in one underlying, in dollars at the size of its own tail move [wad].
    /// @param linear a = δ·S·r: profit of its deltas on a rise by r.
    /// @param quadratic q = ½·Γ·S²·r²: profit of its gammas on a move by r either way.
    /// @param vega V: profit of its vegas on the upper volatility shock.
    struct Exposure {
        int256 linear;
        int256 quadratic;
        int256 vega;
    }

    int256 private constant WAD = 1e18;
    int256 private constant MILLION = 1e6;

    /// @dev Least unit in which exposures are counted: a billionth of a dollar.
    uint256 private constant UNIT = 1e9;
    /// @dev Exposures count to less than this, so that squares fit; with the least unit 1.2e21 dollars.
    uint256 private constant LARGEST_LINEAR = 1 << 100;
    /// @dev The same for third powers: 1.8e10 dollars. Larger exposures are counted in a larger unit.
    uint256 private constant LARGEST_CURVED = 1 << 64;

    /// @dev Where m falls, see above [wad].
    int256 private constant SKEW_LOWER = -1.7998e18;
    int256 private constant SKEW_UPPER = 0.3808e18;

    /// @dev z²/2; z; (z² − 1)/6; −(2z³ − 5z)/36 [wad].
    int256 private constant HALF_SQUARE = 2_705_947_215_527_170_546;
    int256 private constant QUANTILE = -2_326_347_874_040_841_101;
    int256 private constant QUANTILE_SKEW = 735_315_738_509_056_849;
    int256 private constant QUANTILE_SKEW_SQUARE = 376_337_745_506_368_386;

    /// @dev 1/c², rounded up; 2/c²; 6/c; 8/c³ [wad].
    uint256 private constant MEAN_WEIGHT = 140_778_312_943_366_299;
    int256 private constant SQUARE_WEIGHT = 281_556_625_886_732_598;
    uint256 private constant SKEW_LINEAR_WEIGHT = 2_251_226_169_437_710_397;
    uint256 private constant SKEW_CUBE_WEIGHT = 422_565_096_249_863_678;

    /// @notice max(0, −min(μ, 0) + √var·m(skew)), every moment in units of r:
    ///   μ = Σ q_u/c²; positive means are not credited
    ///   c²·var = Σ ρ_uv·(a_u·a_v + V_u·V_v) + 2/c²·Σ ρ_uv²·q_u·q_v
    ///   c³·κ3 = 6/c·Σ_v q_v·(Σ_u ρ_uv·a_u)² + 8/c³·Σ ρ_uv·ρ_vw·ρ_wu·q_u·q_v·q_w, skew = κ3/var^(3/2).
    /// The correlation ρ_uv is taken entry by entry, high where a_u·a_v ≥ 0 and low where the deltas offset: at least the
    /// worse of the two matrices for deltas. Without q and V: √(Σ ρ_uv·a_u·a_v).
    /// @param exposures One for each underlying, of any size up to 1e58. @param low ρ, upper triangle, row by row
    /// [millionths]. @param high Likewise.
    /// @return Dollars [wad]. Deltas are rounded away from zero and the root up; gamma and vega are counted to a billionth
    /// of a dollar, or to 2⁻⁵⁶ of the largest exposure where that is more.
    function shortfallUp(Exposure[] memory exposures, int256[] memory low, int256[] memory high)
        internal
        pure
        returns (uint256)
    {
        (Exposure[] memory x, uint256 unit, bool curved) = _scaled(exposures);
        int256 variance = _variance(x, low, high, curved);
        // Not a matrix of any two variables, if this is negative; the grid then decides alone.
        uint256 square = variance > 0 ? uint256(variance) : 0;
        uint256 deviation = FixedPoint.sqrt(square);
        uint256 shortfall = deviation * deviation < square ? deviation + 1 : deviation;
        if (!curved) return shortfall * unit;

        if (deviation > 0) {
            int256 skew = _skew(_thirdCumulant(x, low, high), square * deviation);
            shortfall = FixedPoint.mulWadUp(shortfall, multiplierUp(skew));
        }
        int256 mean;
        for (uint256 i; i < x.length; ++i) {
            mean += x[i].quadratic;
        }
        if (mean < 0) shortfall += FixedPoint.mulWadUp(uint256(-mean), MEAN_WEIGHT);
        return shortfall * unit;
    }

    /// @notice m(skew)/c, the tail of a distribution with this skewness over that of a normal.
    /// @param skew Of the profit, clamped to where m falls [wad]. @return [wad], rounded up
    function multiplierUp(int256 skew) internal pure returns (uint256) {
        if (skew == 0) return uint256(WAD);
        skew = FixedPoint.clamp(skew, SKEW_LOWER, SKEW_UPPER);
        // |g| < 3 and |skew| < 2, so every product is below 1e40.
        unchecked {
            int256 g = QUANTILE + (QUANTILE_SKEW + QUANTILE_SKEW_SQUARE * skew / WAD) * skew / WAD;
            int256 g2 = g * g / WAD;
            int256 g3 = g2 * g / WAD;
            int256 square = g3 * g3 / WAD - 9 * (g2 - WAD) * g2 / WAD + 3 * WAD;
            int256 factor = WAD + skew * g3 / (6 * WAD) + (skew * skew / WAD) * square / (72 * WAD);
            // φ(g)/φ(z); thirty-two units cover the rounding of everything above.
            return uint256(FixedPoint.expWad(HALF_SQUARE - g2 / 2) * factor / WAD + 32);
        }
    }

    /// @dev Exposures in one common unit, and whether any has gamma or vega.
    function _scaled(Exposure[] memory exposures)
        private
        pure
        returns (Exposure[] memory x, uint256 unit, bool curved)
    {
        uint256 count = exposures.length;
        uint256 largest;
        x = new Exposure[](count);
        // i < count; a unit shifted by eight until the largest is below 2⁶⁴ of it stays below 2²⁰⁰.
        unchecked {
            for (uint256 i; i < count; ++i) {
                Exposure memory exposure = exposures[i];
                if ((exposure.quadratic | exposure.vega) != 0) curved = true;
                largest |= FixedPoint.abs(exposure.linear) | FixedPoint.abs(exposure.quadratic)
                | FixedPoint.abs(exposure.vega);
            }
            unit = UNIT;
            uint256 limit = curved ? LARGEST_CURVED : LARGEST_LINEAR;
            while (largest / unit >= limit) unit <<= 8;
            for (uint256 i; i < count; ++i) {
                (Exposure memory from, Exposure memory to) = (exposures[i], x[i]);
                to.linear = _awayFromZero(from.linear, unit);
                if (!curved) continue;
                to.quadratic = _awayFromZero(from.quadratic, unit);
                to.vega = _awayFromZero(from.vega, unit);
            }
        }
    }

    function _awayFromZero(int256 value, uint256 unit) private pure returns (int256) {
        int256 size = int256(FixedPoint.divUp(FixedPoint.abs(value), unit));
        // size ≤ 2²²⁶
        unchecked {
            return value < 0 ? -size : size;
        }
    }

    /// @dev c²·var. Linear: products are below 2²⁰¹, times a correlation 2²², a thousand pairs fit twice over.
    function _variance(Exposure[] memory x, int256[] memory low, int256[] memory high, bool curved)
        private
        pure
        returns (int256 sum)
    {
        uint256 pair;
        int256 squares;
        unchecked {
            for (uint256 i; i < x.length; ++i) {
                Exposure memory self = x[i];
                sum += self.linear * self.linear + self.vega * self.vega;
                squares += self.quadratic * self.quadratic;
                for (uint256 j = i + 1; j < x.length; ++j) {
                    Exposure memory other = x[j];
                    int256 product = self.linear * other.linear;
                    int256 rho = product < 0 ? low[pair] : high[pair];
                    ++pair;
                    if (curved) {
                        product += self.vega * other.vega;
                        squares += 2 * self.quadratic * other.quadratic * rho * rho / (MILLION * MILLION);
                    }
                    sum += _ceilDiv(2 * product * rho, MILLION);
                }
            }
            if (curved) sum += squares * SQUARE_WEIGHT / WAD;
        }
    }

    /// @dev c³·κ3.
    function _thirdCumulant(Exposure[] memory x, int256[] memory low, int256[] memory high)
        private
        pure
        returns (int256)
    {
        int256[] memory rho = _matrix(x, low, high);
        return _weighted(_linearPart(x, rho), SKEW_LINEAR_WEIGHT) + _weighted(_cubicPart(x, rho), SKEW_CUBE_WEIGHT);
    }

    /// @dev Σ_v q_v·(Σ_u ρ_uv·a_u)². Below 2¹⁹² times the third power of the number of underlyings.
    function _linearPart(Exposure[] memory x, int256[] memory rho) private pure returns (int256 sum) {
        uint256 count = x.length;
        uint256 entry;
        unchecked {
            for (uint256 v; v < count; ++v) {
                int256 slope;
                for (uint256 u; u < count; ++u) {
                    slope += x[u].linear * rho[entry];
                    ++entry;
                }
                slope /= MILLION;
                sum += slope * slope * x[v].quadratic;
            }
        }
    }

    /// @dev Σ ρ_uv·ρ_vw·ρ_wu·q_u·q_v·q_w, every set of three once, times the number of its orders. Without the division at
    /// the end the sum is below 2²³² times the third power of the number of underlyings: 2²⁵³ for 128 of them.
    function _cubicPart(Exposure[] memory x, int256[] memory rho) private pure returns (int256 sum) {
        uint256 count = x.length;
        unchecked {
            for (uint256 u; u < count; ++u) {
                for (uint256 v = u; v < count; ++v) {
                    int256 product = x[u].quadratic * x[v].quadratic * rho[u * count + v] / MILLION;
                    if (product == 0) continue;
                    int256 others;
                    for (uint256 w = v + 1; w < count; ++w) {
                        others += x[w].quadratic * rho[u * count + w] * rho[v * count + w];
                    }
                    int256 last = x[v].quadratic * rho[u * count + v] * MILLION;
                    sum += product * (u == v ? last + 3 * others : 3 * last + 6 * others);
                }
            }
            return sum / (MILLION * MILLION);
        }
    }

    /// @dev The whole matrix of the correlations in use, row by row [millionths].
    function _matrix(Exposure[] memory x, int256[] memory low, int256[] memory high)
        private
        pure
        returns (int256[] memory rho)
    {
        uint256 count = x.length;
        rho = new int256[](count * count);
        uint256 pair;
        unchecked {
            for (uint256 u; u < count; ++u) {
                rho[u * count + u] = MILLION;
                for (uint256 v = u + 1; v < count; ++v) {
                    int256 value = x[u].linear * x[v].linear < 0 ? low[pair] : high[pair];
                    rho[u * count + v] = value;
                    rho[v * count + u] = value;
                    ++pair;
                }
            }
        }
    }

    /// @dev κ3/var^(3/2) [wad], no further out than ±2, so that no quotient overflows.
    function _skew(int256 cumulant, uint256 cubedDeviation) private pure returns (int256) {
        uint256 size = FixedPoint.abs(cumulant);
        uint256 skew =
            size / 2 >= cubedDeviation ? 2 * uint256(WAD) : FixedPoint.fullMulDiv(size, uint256(WAD), cubedDeviation);
        return cumulant < 0 ? -int256(skew) : int256(skew);
    }

    function _weighted(int256 value, uint256 weight) private pure returns (int256) {
        int256 size = int256(FixedPoint.fullMulDiv(FixedPoint.abs(value), weight, uint256(WAD)));
        return value < 0 ? -size : size;
    }

    function _ceilDiv(int256 a, int256 b) private pure returns (int256 quotient) {
        unchecked {
            quotient = a / b;
            if (a > 0 && quotient * b != a) ++quotient;
        }
    }
}
