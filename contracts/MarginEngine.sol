// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { MarginCalculator } from "./MarginCalculator.sol";
import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { Margin } from "./types/Margin.sol";
import { Portfolio } from "./types/Portfolio.sol";

/// @title MarginEngine
/// @notice What the clearing house and liquidation ask of margin. The arithmetic is in MarginCalculator.
contract MarginEngine is MarginCalculator, IMarginEngine {
    constructor(
        IClearingHouse clearingHouse_,
        IPriceOracle priceOracle_,
        IVolatilityOracle volatilityOracle_,
        IRiskParameters riskParameters_,
        IInstrumentRegistry registry_,
        address normalTable_
    ) MarginCalculator(clearingHouse_, priceOracle_, volatilityOracle_, riskParameters_, registry_, normalTable_) { }

    /// @inheritdoc IMarginEngine
    function marginOf(uint64 account) external view returns (Margin memory) {
        return _marginAt(account, ALL);
    }

    /// @inheritdoc IMarginEngine
    function marginAt(uint64 account, uint256 nodes) external view returns (Margin memory) {
        return _marginAt(account, nodes);
    }

    /// @inheritdoc IMarginEngine
    /// @dev Decoded from memory, as what the clearing house returns is: a second decoder would not fit.
    function marginOfPortfolio(Portfolio calldata) external view returns (Margin memory) {
        bytes memory encoded = msg.data[4:];
        return _assess(abi.decode(encoded, (Portfolio)), true, ALL).margin;
    }

    /// @inheritdoc IMarginEngine
    function initialMarginOf(uint64 account) external view returns (int256, uint256, bool) {
        Margin memory margin = _assess(clearingHouse.portfolioOf(account), false, ALL).margin;
        return (margin.equity, margin.initial.total, margin.fresh);
    }

    /// @inheritdoc IMarginEngine
    function initialMarginsOf(uint64 one, uint64 other)
        external
        view
        returns (InitialMargin memory first, InitialMargin memory second)
    {
        Work memory work = _assess(clearingHouse.portfolioOf(one), false, ALL);
        first = InitialMargin(work.margin.equity, work.margin.initial.total, work.margin.fresh);
        work = _assessBeside(clearingHouse.portfolioOf(other), work);
        second = InitialMargin(work.margin.equity, work.margin.initial.total, work.margin.fresh);
    }

    /// @inheritdoc IMarginEngine
    function isReduction(uint64, Portfolio calldata) external view returns (bool) {
        bytes memory encoded = msg.data[4:];
        (uint64 account, Portfolio memory before) = abi.decode(encoded, (uint64, Portfolio));
        Margin memory earlier = _assess(before, true, ALL).margin;
        Margin memory margin = _marginAt(account, ALL);
        return margin.initial.total <= earlier.initial.total && margin.maintenance.total <= earlier.maintenance.total
            && _isAsHealthy(earlier.equity, earlier.maintenance.total, margin.equity, margin.maintenance.total);
    }

    function _marginAt(uint64 account, uint256 nodes) private view returns (Margin memory) {
        return _assess(clearingHouse.portfolioOf(account), true, nodes).margin;
    }

    /// @dev Solvent: equity over maintenance may not fall, nor equity below zero. Insolvent: no more may be lost.
    function _isAsHealthy(int256 equityBefore, uint256 maintenanceBefore, int256 equity, uint256 maintenance)
        private
        pure
        returns (bool)
    {
        if (equityBefore < 0) return equity >= equityBefore;
        if (equity < 0) return false;
        // Margins are below 2^128 by the limits on size and price, so the products fit.
        return uint256(equity) * maintenanceBefore >= uint256(equityBefore) * maintenance;
    }
}
