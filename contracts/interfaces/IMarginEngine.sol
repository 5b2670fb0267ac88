// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Instrument } from "../types/Instrument.sol";
import { Greeks, Margin, ScenarioLosses } from "../types/Margin.sol";
import { Portfolio } from "../types/Portfolio.sol";

/// @title IMarginEngine
/// @notice What an account must hold. Views only: the engine has no state of its own and moves no money.
interface IMarginEngine {
    /// @notice An asset the clearing house does not list.
    error MarginEngineUnknownAsset(uint16 asset);
    /// @notice No parameters have been set for the underlying (0: none common to all), so no requirement can be stated.
    error MarginEngineNotCalibrated(uint16 underlying);

    /// @notice Margin of an account as it stands. Reverts as the price oracle does where a price fails a check.
    function marginOf(uint64 account) external view returns (Margin memory);

    /// @notice Margin of any portfolio, held or imagined.
    function marginOfPortfolio(Portfolio calldata portfolio) external view returns (Margin memory);

    /// @notice What the gate needs and no more: the same figures as in marginOf, for less gas.
    /// @return equity [wad dollars]
    /// @return requirement Initial margin [wad dollars]
    /// @return fresh Whether every volatility feed the account depends on is up to date.
    function initialMarginOf(uint64 account) external view returns (int256 equity, uint256 requirement, bool fresh);

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
