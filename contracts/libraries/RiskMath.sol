// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title RiskMath
/// @notice The arithmetic of a requirement on delta-one exposures. Every result rounds up: against the account.
library RiskMath {
    uint256 internal constant WAD = 1e18;
    uint256 internal constant MILLION = 1e6;
    uint256 internal constant YEAR = 365 days;

    /// @dev √365 · 1e18, rounded down: it divides.
    uint256 private constant SQRT_DAYS_A_YEAR = 19_104_973_174_542_800_179;

    /// @dev Exposures are squared in billionths of a dollar, so that 1e21 dollars still fit.
    uint256 private constant COVARIANCE_UNIT = 1e9;

    /// @notice r = z · σ · √(t / year): the expected-shortfall move over t, relative to the price.
    /// @param volatility Annualised [wad]. @param tail z [millionths]. @param time Horizon plus age of the price [seconds].
    /// @return [wad]
    function rangeUp(uint256 volatility, uint256 tail, uint256 time) internal pure returns (uint256) {
        uint256 root = sqrtUp((time * WAD * WAD + YEAR - 1) / YEAR);
        return FixedPoint.fullMulDivUp(volatility * tail, root, MILLION * WAD);
    }

    /// @notice Loss of an exposure at the worse end of its range. A long can't lose more than all of it.
    /// @param exposure Dollars [wad], positive long. @param range [wad] @return Dollars [wad]
    function standaloneLossUp(int256 exposure, uint256 range) internal pure returns (uint256) {
        if (exposure >= 0 && range > WAD) range = WAD;
        return FixedPoint.fullMulDivUp(FixedPoint.abs(exposure), range, WAD);
    }

    /// @notice Loss of an exposure at one end of its range, a gain being negative.
    /// @param up Whether the price is at the upper end. @return Dollars [wad], rounded up
    function nodeLossUp(int256 exposure, uint256 range, bool up) internal pure returns (int256) {
        if (!up && range > WAD) range = WAD;
        bool loses = (exposure < 0) == up;
        uint256 size = FixedPoint.abs(exposure);
        return
            loses ? int256(FixedPoint.fullMulDivUp(size, range, WAD)) : -int256(FixedPoint.fullMulDiv(size, range, WAD));
    }

    /// @notice (1 − offset) · standalone + offset · joint.
    /// @param offset Part of the standalone sum that may be offset [millionths].
    function gridUp(uint256 standalone, uint256 joint, uint256 offset) internal pure returns (uint256) {
        return FixedPoint.fullMulDivUp(standalone, MILLION - offset, MILLION)
            + FixedPoint.fullMulDivUp(joint, offset, MILLION);
    }

    /// @notice √(Σ_u Σ_v ρ_uv · a_u · a_v): expected shortfall of jointly elliptical moves, where a_u is the expected
    /// shortfall of u alone, signed like its exposure (McNeil, Frey & Embrechts, Quantitative Risk Management, 2015, §8.3).
    /// The worse of two correlation matrices is taken entry by entry, ρ_high where a_u · a_v > 0 and ρ_low where it is
    /// negative, which is never less than the worse of the two whole matrices.
    /// @param losses a_u [wad dollars]. @param low Upper triangle, row by row [millionths]. @param high Likewise.
    /// @return [wad dollars]
    function expectedShortfallUp(int256[] memory losses, int256[] memory low, int256[] memory high)
        internal
        pure
        returns (uint256)
    {
        uint256 count = losses.length;
        int256 sum;
        uint256 pair;
        for (uint256 i; i < count; ++i) {
            int256 a = _scaled(losses[i]);
            sum += a * a;
            for (uint256 j = i + 1; j < count; ++j) {
                int256 product = a * _scaled(losses[j]);
                int256 correlation = product > 0 ? high[pair] : low[pair];
                sum += _ceilDiv(2 * product * correlation, int256(MILLION));
                ++pair;
            }
        }
        // Not a matrix of any two variables, if this is negative; the grid then decides alone.
        if (sum <= 0) return 0;
        return sqrtUp(uint256(sum)) * COVARIANCE_UNIT;
    }

    /// @notice N · (½ spread + ⅔ · Y · σ_day · √(N / ADV)): what it costs to close, by the square-root law of market impact
    /// (Almgren, Thum, Hauptmann & Li 2005; Tóth et al. 2011), whose average over an order is two thirds of its end.
    /// @param notional N [wad dollars]. @param volatility Annualised [wad]. @param halfSpread [millionths].
    /// @param impact Y [millionths]. @param dailyVolume ADV [thousand dollars], at least 1.
    /// @return [wad dollars]
    function liquidityUp(uint256 notional, uint256 volatility, uint256 halfSpread, uint256 impact, uint256 dailyVolume)
        internal
        pure
        returns (uint256)
    {
        if (notional == 0) return 0;
        uint256 daily = FixedPoint.divUp(volatility * WAD, SQRT_DAYS_A_YEAR);
        uint256 root = sqrtUp(FixedPoint.fullMulDivUp(notional, WAD, dailyVolume * 1000));
        uint256 impactRate = FixedPoint.fullMulDivUp(2 * impact * daily, root, 3 * MILLION * WAD);
        uint256 rate = FixedPoint.divUp(halfSpread * WAD, MILLION) + impactRate;
        return FixedPoint.fullMulDivUp(notional, rate, WAD);
    }

    function sqrtUp(uint256 x) internal pure returns (uint256 root) {
        root = FixedPoint.sqrt(x);
        // sqrt rounds down and root < 2^128, so neither line can overflow.
        unchecked {
            if (root * root < x) ++root;
        }
    }

    /// @dev Away from zero, so that a loss is never scaled to a smaller one.
    function _scaled(int256 loss) private pure returns (int256) {
        uint256 size = FixedPoint.divUp(FixedPoint.abs(loss), COVARIANCE_UNIT);
        return loss < 0 ? -int256(size) : int256(size);
    }

    function _ceilDiv(int256 a, int256 b) private pure returns (int256) {
        int256 quotient = a / b;
        return a > 0 && quotient * b != a ? quotient + 1 : quotient;
    }
}
