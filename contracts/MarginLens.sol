// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { MarginCalculator } from "./MarginCalculator.sol";
import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IMarginLens } from "./interfaces/IMarginLens.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { OptionBook } from "./libraries/OptionBook.sol";
import { RevaluationGrid as Grid } from "./libraries/RevaluationGrid.sol";
import { RiskMath } from "./libraries/RiskMath.sol";
import { Instrument } from "./types/Instrument.sol";
import { Greeks, Margin, ScenarioLosses, UnderlyingMargin } from "./types/Margin.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title MarginLens
/// @notice What people ask of margin and no contract does: worked out by the same code as MarginEngine's figures, from the
/// same sources, and deployed apart because the two together are more than a contract may hold.
contract MarginLens is MarginCalculator, IMarginLens {
    constructor(
        IClearingHouse clearingHouse_,
        IPriceOracle priceOracle_,
        IVolatilityOracle volatilityOracle_,
        IRiskParameters riskParameters_,
        IInstrumentRegistry registry_,
        address normalTable_
    ) MarginCalculator(clearingHouse_, priceOracle_, volatilityOracle_, riskParameters_, registry_, normalTable_) { }

    /// @inheritdoc IMarginLens
    function greeksOf(uint64 account) external view returns (Greeks[] memory greeks) {
        Work memory work = _assess(clearingHouse.portfolioOf(account), false, ALL);
        UnderlyingMargin[] memory parts = work.margin.underlyings;
        greeks = new Greeks[](parts.length);
        for (uint256 i; i < parts.length; ++i) {
            UnderlyingMargin memory part = parts[i];
            int256 theta = _hasBook(work, i) ? work.books[i].theta : int256(0);
            greeks[i] = Greeks(part.underlying, part.delta, part.gamma, part.vega, theta, part.optionValue);
        }
    }

    /// @inheritdoc IMarginLens
    function scenarioLosses(uint64 account) external view returns (ScenarioLosses[] memory losses) {
        Work memory work = _assess(clearingHouse.portfolioOf(account), true, ALL);
        losses = new ScenarioLosses[](work.margin.underlyings.length);
        for (uint256 i; i < losses.length; ++i) {
            losses[i].underlying = work.margin.underlyings[i].underlying;
            _scenarios(work, i, true, losses[i].initial);
            _scenarios(work, i, false, losses[i].maintenance);
        }
    }

    /// @inheritdoc IMarginLens
    function markOf(Instrument instrument) external view returns (uint256 price, uint256 volatility) {
        Portfolio memory portfolio;
        portfolio.positions = new Position[](1);
        portfolio.positions[0] = Position(instrument, int128(int256(WAD)), 0);
        // No node: a mark needs none.
        Work memory work = _assess(portfolio, false, 0);
        price = uint256(work.margin.unrealised);
        if (work.booked != 0) volatility = OptionBook.volatilityOf(work.books[0]);
    }

    /// @inheritdoc IMarginLens
    function haircutOf(uint16 asset, uint256 amount) external view returns (uint256 value, uint256 haircut) {
        IClearingHouse.Asset memory listed = clearingHouse.assetOf(asset);
        if (listed.underlying == 0) revert MarginLensUnknownAsset(asset);
        Portfolio memory portfolio;
        portfolio.collateral = new Collateral[](1);
        portfolio.collateral[0] = Collateral(asset, listed.underlying, amount * 10 ** (18 - listed.decimals));
        Margin memory margin = _assess(portfolio, false, ALL).margin;
        value = margin.collateral;
        haircut = value == 0 ? 0 : FixedPoint.fullMulDivUp(margin.initial.total, WAD, value);
    }

    function _scenarios(Work memory work, uint256 i, bool initial, int256[29] memory out) private pure {
        unchecked {
            int256[33] memory losses;
            _losses(work, i, initial, false, losses);
            for (uint256 node; node < 29; ++node) {
                uint256 at = node < 27 ? node : node == 27 ? Grid.EXTREME_DOWN : Grid.EXTREME_UP;
                out[node] = -RiskMath.wadDown(-losses[at]);
            }
        }
    }
}
