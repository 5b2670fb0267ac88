// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field, FieldLibrary as Fields } from "contracts/types/Field.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title VolatilitySurface
/// @notice Implied volatility of every strike and expiry of an underlying from one level, σ30, and five numbers.
/// Term structure: θ(τ) = σ30²·τ·G(τ)/G(30 d), G(τ) = ℓ + (1 − ℓ)·(1 − e^(−κτ))/(κτ), the mean over τ of a variance that
/// goes from 1 to ℓ at speed κ: θ, the variance at the money over the life of an option, never falls in τ.
/// Smile: SSVI (Gatheral & Jacquier, Arbitrage-free SVI volatility surfaces, Quantitative Finance 14, 2014, §4) with
///   w(k) = θ/2·(1 + ρφk + √((φk + ρ)² + 1 − ρ²)), k = ln(K/F), φ(θ) = η/(θ^γ·(1 + θ)^(1−γ)).
/// ρ, η, γ, ℓ and κ are the SURFACE_ and TERM_ fields, in slot 3 of RiskParameters (types/Field.sol).
/// Domain: σ30 in [0.001, 20], τ from a second to 10 years, |k| ≤ 100, and fields that `requireArbitrageFree` accepts.
/// Nothing but that function reverts there. Relative error of s = √w below 1e-9 (for η from a thousandth up).
library VolatilitySurface {
    /// @notice The smile of one expiry.
    /// @param theta θ [1e36]: at a second to expiry 18 decimals would leave too few digits.
    /// @param phi φ(θ) [wad]. @param rho ρ [wad].
    struct Slice {
        uint256 theta;
        uint256 phi;
        int256 rho;
    }

    /// @dev What a check for arbitrage works with.
    /// @param tenor τ [seconds]. @param mean G(τ) [wad]. @param month G(30 d) [wad].
    /// @param word0 Slot 0 of RiskParameters. @param word3 Slot 3.
    struct Check {
        uint16 underlying;
        uint256 tenor;
        uint256 mean;
        uint256 month;
        uint256 word0;
        uint256 word3;
    }

    /// @notice A field lies where the formulas mean nothing, or where the conditions below are not sufficient.
    error SurfaceFieldOutOfDomain(uint16 underlying, Field field, int256 value);
    /// @notice Butterfly arbitrage in the wings: θφ(1 + |ρ|) [wad], at the upper volatility node, is not below the limit.
    error SurfaceWingTooSteep(uint16 underlying, uint256 tenor, uint256 value, uint256 limit);
    /// @notice Butterfly arbitrage near the money: θφ²(1 + |ρ|) [wad], at the upper volatility node, exceeds the limit.
    error SurfaceTooCurved(uint16 underlying, uint256 tenor, uint256 value, uint256 limit);
    /// @notice Calendar arbitrage: with tenor the volatility shock falls faster than the variance under it rises
    /// (dln/dlnτ of each [wad]), so the upper volatility node would price the longer option below the shorter.
    error SurfaceShockFallsTooFast(uint16 underlying, uint256 tenor, uint256 fall, uint256 rise);

    uint256 private constant WAD = 1e18;
    uint256 private constant MILLION = 1e6;
    /// @dev A millionth [wad].
    int256 private constant MILLIONTH = 1e12;
    uint256 private constant YEAR = 365 days;
    /// @dev ln(1e18) [wad]: what a 1e36 number read as a wad has too much of in its logarithm.
    int256 private constant LN_WAD = 41_446_531_673_892_822_312;
    /// @dev Both butterfly conditions of Gatheral & Jacquier, theorem 4.2 [wad].
    uint256 private constant BUTTERFLY_LIMIT = 4e18;
    int256 private constant HALF = 500_000;
    /// @dev ln 10 [wad]: calendar arbitrage is looked for between a tenth and ten times the forward.
    int256 private constant FARTHEST = 2_302_585_092_994_045_684;

    /// @notice The smile of the options that expire after a time.
    /// @param level σ30 [wad]. @param time τ, at least 1 [seconds]. @param word Slot 3 of RiskParameters.
    function slice(uint256 level, uint256 time, uint256 word) internal pure returns (Slice memory result) {
        return _slice(level, time, _meanVariance(time, word), _meanVariance(30 days, word), word);
    }

    /// @param mean G(τ) [wad]. @param month G(30 d) [wad].
    function _slice(uint256 level, uint256 time, uint256 mean, uint256 month, uint256 word)
        private
        pure
        returns (Slice memory result)
    {
        // level² < 1e39, times a time below 1e9 and a mean variance below 1e22.
        unchecked {
            result.theta = level * level * time / YEAR * mean / month;
            result.phi = _phi(result.theta, word);
            result.rho = Fields.SURFACE_RHO.read(word) * MILLIONTH;
        }
    }

    /// @notice s = √w(k), the standard deviation of the logarithm of the price at expiry that a strike is priced with.
    /// @param self The smile. @param k ln(K/F) [wad]. @return [wad]
    function deviation(Slice memory self, int256 k) internal pure returns (uint256) {
        // φ < 1e31 and |k| ≤ 1e20, so y < 1e33, its square < 1e66; θ < 1e42 times a factor below 1e34.
        // The factor is at least 1 − ρ².
        unchecked {
            int256 rho = self.rho;
            int256 y = int256(self.phi) * k / int256(WAD);
            int256 shifted = y + rho;
            uint256 root = FixedPoint.sqrt(uint256(shifted * shifted + int256(WAD * WAD) - rho * rho));
            uint256 factor = uint256(int256(WAD + root) + rho * y / int256(WAD));
            return FixedPoint.sqrt(self.theta * factor / (2 * WAD));
        }
    }

    /// @notice v·(30 d / max(τ, 1 d))^p: the relative rise of volatility at the upper nodes for a tenor.
    /// @param v The rise of 30-day volatility [wad]. @param exponent p [millionths]. @param time τ [seconds].
    /// @return [wad], rounded up
    function shock(uint256 v, uint256 exponent, uint256 time) internal pure returns (uint256) {
        if (time < 1 days) time = 1 days;
        // |ln(30 d/τ)| < 5e18 for τ up to a century, so with p ≤ 1 the power is below 31e18; expWad errs by less than 64.
        unchecked {
            int256 logarithm = FixedPoint.lnWad(int256(30 days * WAD / time)) * int256(exponent) / int256(MILLION);
            return FixedPoint.mulWadUp(v, uint256(FixedPoint.expWad(logarithm)) + 64);
        }
    }

    /// @notice Refuse numbers that would let a combination of options be bought for less than it must pay.
    /// Checked for ten tenors from a day to two years, for levels from VOLATILITY_FLOOR to VOLATILITY_CAP, at the upper
    /// volatility node of each horizon, which scales w by f², f = 1 + v(τ): SSVI again, with θ·f² and the same φ.
    ///   Butterfly (Gatheral & Jacquier, theorem 4.2): θφf²(1 + |ρ|) < 4 and θφ²f²(1 + |ρ|) ≤ 4. The first rises with θ;
    ///   the second is largest at θ = 1 − 2γ, or at the end of the range of θ nearest to it. f is largest at the upper node.
    ///   Calendar: w·f² must not fall in τ for strikes from a tenth to ten times the forward. dln(f²)/dlnτ = −2p(f − 1)/f,
    ///   so 2p(f − 1)/f ≤ dlnw/dlnθ·dlnθ/dlnτ. At the money dlnw/dlnθ = 1; it falls with |k| towards (1 − γ)/(1 + θ), which
    ///   at the cap no strike comes near: at 500% and two years θ is 50.
    /// A lower node divides by f, which keeps w positive and rises with τ: it can only help.
    /// @param underlying Named in the error. @param word0 Slot 0 of RiskParameters (the floor and the cap).
    /// @param word3 Slot 3; 0 where no options are calibrated, which passes.
    function requireArbitrageFree(uint16 underlying, uint256 word0, uint256 word3) internal pure {
        if (word3 == 0) return;
        _requireDomain(underlying, word3);
        Check memory check;
        (check.underlying, check.word0, check.word3) = (underlying, word0, word3);
        check.month = _meanVariance(30 days, word3);
        uint16[10] memory dayCounts = [1, 3, 7, 14, 30, 60, 90, 180, 365, 730];
        for (uint256 i; i < dayCounts.length; ++i) {
            check.tenor = uint256(dayCounts[i]) * 1 days;
            check.mean = _meanVariance(check.tenor, word3);
            _requireTenor(check);
        }
    }

    /// @dev What the conditions rest on, and what keeps every variance positive.
    function _requireDomain(uint16 underlying, uint256 word) private pure {
        _require(underlying, Fields.SURFACE_RHO, word, 1 - int256(MILLION), int256(MILLION) - 1);
        _require(underlying, Fields.SURFACE_ETA, word, 1, type(int256).max);
        _require(underlying, Fields.SURFACE_GAMMA, word, 1, HALF);
        _require(underlying, Fields.TERM_RATIO, word, 1, type(int256).max);
        _require(underlying, Fields.TERM_SPEED, word, 0, type(int256).max);
        _require(underlying, Fields.VOLATILITY_SHOCK_INITIAL, word, 0, type(int256).max);
        _require(underlying, Fields.VOLATILITY_SHOCK_MAINTENANCE, word, 0, type(int256).max);
        _require(underlying, Fields.VOLATILITY_SHOCK_EXPONENT, word, 0, HALF);
    }

    function _require(uint16 underlying, Field field, uint256 word, int256 least, int256 most) private pure {
        int256 value = field.read(word);
        if (value < least || value > most) revert SurfaceFieldOutOfDomain(underlying, field, value);
    }

    function _requireTenor(Check memory check) private pure {
        int256 initial = Fields.VOLATILITY_SHOCK_INITIAL.read(check.word3);
        int256 maintenance = Fields.VOLATILITY_SHOCK_MAINTENANCE.read(check.word3);
        // Every condition is harder to meet at the larger shock.
        uint256 v = uint256(initial > maintenance ? initial : maintenance);
        uint256 exponent = uint256(Fields.VOLATILITY_SHOCK_EXPONENT.read(check.word3));
        uint256 f = WAD + shock(v * uint256(MILLIONTH), exponent, check.tenor);
        Slice memory low = _sliceAt(check, uint256(Fields.VOLATILITY_FLOOR.read(check.word0) * MILLIONTH));
        Slice memory high = _sliceAt(check, uint256(Fields.VOLATILITY_CAP.read(check.word0) * MILLIONTH));

        _requireNoButterfly(check, low, high, f);
        uint256 fall = FixedPoint.fullMulDivUp(2 * exponent * (f - WAD), WAD, MILLION * f);
        uint256 growth = _growth(check);
        // Mostly the range as one step is enough, and a fifth of the gas.
        if (fall <= FixedPoint.mulWad(growth, WAD - _stepShare(low, high, check.word3))) return;
        uint256 rise = FixedPoint.mulWad(growth, _leastElasticity(check));
        if (fall > rise) revert SurfaceShockFallsTooFast(check.underlying, check.tenor, fall, rise);
    }

    function _sliceAt(Check memory check, uint256 level) private pure returns (Slice memory) {
        return _slice(level, check.tenor, check.mean, check.month, check.word3);
    }

    /// @param low Smile at the least θ. @param high Smile at the largest θ. @param f At the upper node [wad].
    function _requireNoButterfly(Check memory check, Slice memory low, Slice memory high, uint256 f) private pure {
        uint256 scale = FixedPoint.fullMulDivUp(f * f, WAD + FixedPoint.abs(high.rho), WAD * WAD);
        uint256 value = FixedPoint.fullMulDivUp(high.theta * high.phi / (WAD * WAD), scale, WAD);
        if (value >= BUTTERFLY_LIMIT) {
            revert SurfaceWingTooSteep(check.underlying, check.tenor, value, BUTTERFLY_LIMIT);
        }

        uint256 peak = uint256(int256(MILLION) - 2 * Fields.SURFACE_GAMMA.read(check.word3)) * 1e30;
        peak = FixedPoint.clamp(peak, low.theta, high.theta);
        uint256 phi = peak == high.theta ? high.phi : peak == low.theta ? low.phi : _phi(peak, check.word3);
        value = FixedPoint.fullMulDivUp(FixedPoint.fullMulDiv(peak, phi * phi, 1e54), scale, WAD);
        if (value > BUTTERFLY_LIMIT) revert SurfaceTooCurved(check.underlying, check.tenor, value, BUTTERFLY_LIMIT);
    }

    /// @dev dlnθ/dlnτ [wad] = (ℓ + (1 − ℓ)·e^(−κτ))/G(τ): variance then over its mean until then.
    function _growth(Check memory check) private pure returns (uint256) {
        int256 ratio = Fields.TERM_RATIO.read(check.word3) * MILLIONTH;
        int256 decay = FixedPoint.expWad(-int256(_speedTime(check.tenor, check.word3)));
        uint256 variance = uint256(ratio + (int256(WAD) - ratio) * decay / int256(WAD));
        return variance * WAD / check.mean;
    }

    /// @dev A lower bound of dlnw/dlnθ [wad] over every level and |k| ≤ FARTHEST: the least of steps in which the level doubles.
    function _leastElasticity(Check memory check) private pure returns (uint256 least) {
        uint256 level = uint256(Fields.VOLATILITY_FLOOR.read(check.word0) * MILLIONTH);
        uint256 cap = uint256(Fields.VOLATILITY_CAP.read(check.word0) * MILLIONTH);
        least = WAD;
        Slice memory lower = _sliceAt(check, level);
        do {
            level = FixedPoint.min(2 * level + 1, cap);
            Slice memory upper = _sliceAt(check, level);
            least = FixedPoint.min(least, WAD - _stepShare(lower, upper, check.word3));
            lower = upper;
        } while (level < cap);
    }

    /// @dev What dlnw/dlnθ lacks to one at most, between two levels [wad]. It is (γ + θ)/(1 + θ)·h(φk), where the fraction rises
    /// with θ and the largest h falls with θ: the worse end of both.
    function _stepShare(Slice memory lower, Slice memory upper, uint256 word) private pure returns (uint256) {
        uint256 gamma = uint256(Fields.SURFACE_GAMMA.read(word)) * 1e30;
        uint256 share = FixedPoint.max(_smileShare(lower, FARTHEST), _smileShare(lower, -FARTHEST));
        return FixedPoint.fullMulDivUp(share, gamma + upper.theta, WAD * WAD + upper.theta);
    }

    /// @dev h = dlnw/dlnφ = y·(ρ + (y + ρ)/R)/(1 + ρy + R), y = φk, R = √((y + ρ)² + 1 − ρ²): from 0 at the money to less
    /// than 1 far from it, where it is positive rising with |k| [wad]. Below 0, where w is less than θ, it counts as 0.
    function _smileShare(Slice memory self, int256 k) private pure returns (uint256) {
        int256 y = int256(self.phi) * k / int256(WAD);
        int256 shifted = y + self.rho;
        int256 root = int256(FixedPoint.sqrt(uint256(shifted * shifted + int256(WAD * WAD) - self.rho * self.rho)));
        int256 slope = self.rho + shifted * int256(WAD) / root;
        int256 share = y * slope / (int256(WAD) + self.rho * y / int256(WAD) + root);
        return share < 0 ? 0 : FixedPoint.min(uint256(share) + 1, WAD);
    }

    /// @dev φ(θ) [wad] = η·e^(−γ·lnθ − (1 − γ)·ln(1 + θ)). @param theta θ [1e36]; 0, which no θ in the domain is: φ = 0.
    function _phi(uint256 theta, uint256 word) private pure returns (uint256) {
        if (theta == 0) return 0;
        // Logarithms are below 1e20; e^48 · 1e18 times η < 2³¹ is far below 2²⁵⁶.
        unchecked {
            int256 gamma = Fields.SURFACE_GAMMA.read(word);
            int256 exponent = gamma * (FixedPoint.lnWad(int256(theta)) - LN_WAD) + (int256(MILLION) - gamma)
                * FixedPoint.lnWad(int256(WAD + theta / WAD));
            uint256 power = uint256(FixedPoint.expWad(-exponent / int256(MILLION)));
            return power * uint256(Fields.SURFACE_ETA.read(word)) / MILLION;
        }
    }

    /// @dev G(τ) [wad]. Below κτ = 1/1000 (1 − e^(−x))/x is its series, since the difference would lose its digits; the
    /// first term left out is below 1e-14.
    function _meanVariance(uint256 time, uint256 word) private pure returns (uint256) {
        unchecked {
            int256 x = int256(_speedTime(time, word));
            int256 mean;
            if (x < 1e15) {
                mean = int256(WAD) - x / 2 + x * x / 6e18 - x * x / 24e18 * x / int256(WAD);
            } else {
                mean = (int256(WAD) - FixedPoint.expWad(-x)) * int256(WAD) / x;
            }
            int256 ratio = Fields.TERM_RATIO.read(word);
            return uint256(ratio * MILLIONTH + (int256(MILLION) - ratio) * mean / int256(MILLION));
        }
    }

    /// @dev κτ [wad].
    function _speedTime(uint256 time, uint256 word) private pure returns (uint256) {
        unchecked {
            return uint256(Fields.TERM_SPEED.read(word)) * uint256(MILLIONTH) * time / YEAR;
        }
    }
}
