// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title RiskMath
/// @notice The arithmetic that all requirements share. Every result rounds up: against the account.
/// Unchecked: parameters are below 2^31, volatilities below 2^72, times below 2^32 and amounts of dollars below 2^160.
library RiskMath {
    uint256 internal constant WAD = 1e18;
    uint256 internal constant MILLION = 1e6;
    uint256 internal constant YEAR = 365 days;

    /// @dev √365 · 1e18, rounded down: it divides.
    uint256 private constant SQRT_DAYS_A_YEAR = 19_104_973_174_542_800_179;

    /// @notice r = z · σ · √(t / year): the expected-shortfall move over t, relative to the price.
    /// @param volatility Annualised [wad]. @param tail z [millionths]. @param time Horizon plus age of the price [seconds].
    /// @return [wad]
    function rangeUp(uint256 volatility, uint256 tail, uint256 time) internal pure returns (uint256) {
        unchecked {
            uint256 root = sqrtUp((time * WAD * WAD + YEAR - 1) / YEAR);
            return FixedPoint.fullMulDivUp(volatility * tail, root, MILLION * WAD);
        }
    }

    /// @notice (1 − offset) · standalone + offset · joint.
    /// @param offset Part of the standalone sum that may be offset [millionths].
    function gridUp(uint256 standalone, uint256 joint, uint256 offset) internal pure returns (uint256) {
        unchecked {
            return (standalone * (MILLION - offset) + joint * offset + MILLION - 1) / MILLION;
        }
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
        unchecked {
            uint256 daily = FixedPoint.divUp(volatility * WAD, SQRT_DAYS_A_YEAR);
            uint256 root = sqrtUp(FixedPoint.fullMulDivUp(notional, WAD, dailyVolume * 1000));
            uint256 impactRate = FixedPoint.fullMulDivUp(2 * impact * daily, root, 3 * MILLION * WAD);
            uint256 rate = halfSpread * (WAD / MILLION) + impactRate;
            return FixedPoint.fullMulDivUp(notional, rate, WAD);
        }
    }

    function sqrtUp(uint256 x) internal pure returns (uint256 root) {
        root = FixedPoint.sqrt(x);
        // sqrt rounds down and root < 2^128, so neither line can overflow.
        unchecked {
            if (root * root < x) ++root;
        }
    }

    /// @notice Least initial margin by notional brackets, each with its own rate, so that leverage falls with size.
    /// @param notional Below 2^190 [wad dollars].
    /// @param word Slot 2 of RiskParameters: lanes 0–3 the rates of the brackets [millionths], lanes 4–6 where each but the
    /// last ends [thousand dollars], rising. @return [wad dollars]
    function leverageFloorUp(uint256 notional, uint256 word) internal pure returns (uint256) {
        uint256 sum;
        uint256 start;
        // A rate and an end are below 2^31, and start never passes notional.
        unchecked {
            for (uint256 i; i < 4; ++i) {
                uint256 end = i == 3 ? notional : FixedPoint.min(notional, uint32(word >> (128 + 32 * i)) * 1000 * WAD);
                sum += (end - start) * uint32(word >> (32 * i));
                start = end;
            }
            return (sum + MILLION - 1) / MILLION;
        }
    }

    /// @notice Scale of initial margin: one up to the lower open interest, `highest` from the upper on, a line between.
    /// @param interest [wad dollars]. @param lower [thousand dollars]. @param upper Likewise. @param highest [millionths].
    /// @return [wad]
    function openInterestScaleUp(uint256 interest, uint256 lower, uint256 upper, uint256 highest)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            (lower, upper) = (lower * 1000 * WAD, upper * 1000 * WAD);
            if (interest <= lower || highest <= MILLION) return WAD;
            uint256 extra = (highest - MILLION) * (WAD / MILLION);
            if (interest >= upper) return WAD + extra;
            return WAD + FixedPoint.fullMulDivUp(extra, interest - lower, upper - lower);
        }
    }

    /// @notice amount · range, its size rounded up. @param range [wad]
    function shareUp(int256 amount, uint256 range) internal pure returns (int256) {
        unchecked {
            int256 size = int256(FixedPoint.fullMulDivUp(FixedPoint.abs(amount), range, WAD));
            return amount < 0 ? -size : size;
        }
    }

    /// @notice wad² to wad, rounded towards minus infinity.
    function wadDown(int256 amount) internal pure returns (int256) {
        unchecked {
            int256 quotient = amount / int256(WAD);
            return amount < 0 && quotient * int256(WAD) != amount ? quotient - 1 : quotient;
        }
    }
}
