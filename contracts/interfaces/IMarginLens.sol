// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "../types/Instrument.sol";
import { Greeks, ScenarioLosses } from "../types/Margin.sol";

/// @title IMarginLens
/// @notice Margin explained: Greeks, scenarios, marks and haircuts, for people and programs off-chain.
interface IMarginLens {
    /// @notice An asset the clearing house does not list.
    error MarginLensUnknownAsset(uint16 asset);

    /// @notice Greeks by underlying, ids rising.
    function greeksOf(uint64 account) external view returns (Greeks[] memory);

    /// @notice Losses by underlying at every node of the grid, ids rising.
    function scenarioLosses(uint64 account) external view returns (ScenarioLosses[] memory);

    /// @notice Mark price of an instrument: the index price of a perpetual, Black-76 on the surface for an option, its payoff
    /// once expired (at the settlement price, until then at the index price).
    /// @return price Dollars a unit [wad]. @return volatility Implied volatility, annualised [wad]; 0 where there is none.
    function markOf(Instrument instrument) external view returns (uint256 price, uint256 volatility);

    /// @notice Haircut of an asset held alone: the initial requirement of that much of it, as part of its value.
    /// @param asset Collateral asset id. @param amount Token units.
    /// @return value Market value [wad dollars]. @return haircut Requirement over value [wad], rounded up.
    function haircutOf(uint16 asset, uint256 amount) external view returns (uint256 value, uint256 haircut);
}
