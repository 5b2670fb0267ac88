// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { MarginCalculator } from "./MarginCalculator.sol";
import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IReferenceMargin } from "./interfaces/IReferenceMargin.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { Requirements } from "./types/Margin.sol";
import { Portfolio } from "./types/Portfolio.sol";

/// @title ReferenceMargin
/// @notice Margins the steward's reference portfolios: by the same code as MarginEngine, and apart from it because the two together are
/// more than a contract may hold.
contract ReferenceMargin is MarginCalculator, IReferenceMargin {
    constructor(
        IClearingHouse clearingHouse_,
        IPriceOracle priceOracle_,
        IVolatilityOracle volatilityOracle_,
        IRiskParameters riskParameters_,
        IInstrumentRegistry registry_,
        address normalTable_
    ) MarginCalculator(clearingHouse_, priceOracle_, volatilityOracle_, riskParameters_, registry_, normalTable_) { }

    /// @inheritdoc IReferenceMargin
    function requirementsOf(Portfolio[] calldata portfolios)
        external
        view
        returns (Requirements[] memory requirements)
    {
        requirements = new Requirements[](portfolios.length);
        Work memory work;
        for (uint256 i; i < portfolios.length; ++i) {
            work = _requireBeside(portfolios[i], work);
            requirements[i] = Requirements(work.margin.initial.total, work.margin.maintenance.total);
        }
    }
}
