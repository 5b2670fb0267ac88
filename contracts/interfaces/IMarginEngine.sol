// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Margin } from "../types/Margin.sol";
import { Portfolio } from "../types/Portfolio.sol";

/// @title IMarginEngine
/// @notice What an account must hold. Views only: the engine has no state of its own and moves no money.
interface IMarginEngine {
    /// @param equity [wad dollars] @param requirement Initial margin [wad dollars].
    /// @param fresh Whether every volatility feed the account depends on is up to date.
    struct InitialMargin {
        int256 equity;
        uint256 requirement;
        bool fresh;
    }

    /// @notice No parameters have been set for the underlying (0: none common to all), so no requirement can be stated.
    error MarginEngineNotCalibrated(uint16 underlying);

    /// @notice Margin of an account as it stands. Reverts as the price oracle does where a price fails a check.
    function marginOf(uint64 account) external view returns (Margin memory);

    /// @notice Margin of any portfolio, held or imagined.
    function marginOfPortfolio(Portfolio calldata portfolio) external view returns (Margin memory);

    /// @notice Margin of an account with options by some nodes of the grid alone, for less gas: no requirement exceeds
    /// marginOf's, and each equals it where what decides it is among them. So it may prove that an account is liquidatable,
    /// never that it isn't.
    /// @param nodes A set: bit n for node n in the order of Requirement.worstNode, bit 29 for the shortfall from the Greeks.
    function marginAt(uint64 account, uint256 nodes) external view returns (Margin memory);

    /// @notice What the gate needs and no more: the same figures as in marginOf, for less gas.
    /// @return equity [wad dollars]
    /// @return requirement Initial margin [wad dollars]
    /// @return fresh Whether every volatility feed the account depends on is up to date.
    function initialMarginOf(uint64 account) external view returns (int256 equity, uint256 requirement, bool fresh);

    /// @notice The same for the two sides of a trade, for less gas where they hold the same underlyings.
    function initialMarginsOf(uint64 one, uint64 other)
        external
        view
        returns (InitialMargin memory first, InitialMargin memory second);

    /// @notice Whether an account needs no more initial and no more maintenance margin than it did as `before`, and is as
    /// healthy: equity / maintenance has not fallen, nor equity below zero; insolvent before, it has lost no more.
    function isReduction(uint64 account, Portfolio calldata before) external view returns (bool);
}
