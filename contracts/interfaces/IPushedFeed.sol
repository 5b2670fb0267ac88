// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AggregatorV3Interface } from "@chainlink/contracts/src/v0.8/shared/interfaces/AggregatorV3Interface.sol";

/// @title IPushedFeed
/// @notice A Chainlink-compatible feed with full round history that authorised reporters write: for test networks, and for
/// data that has no public feed.
interface IPushedFeed is AggregatorV3Interface {
    /// @dev Same event as Chainlink's aggregators.
    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    /// @notice There is no such round; 0 where there is none at all.
    error PushedFeedNoData(uint80 roundId);
    /// @notice Answers are reported in order of time and never ahead of it.
    error PushedFeedBadTime(uint256 updatedAt, uint256 previous, uint256 now_);

    /// @notice Report an answer observed now. Restricted to reporters.
    function push(int256 answer) external returns (uint80 roundId);

    /// @notice Report an answer observed at an earlier time, not before the last one. Restricted to reporters.
    function pushAt(int256 answer, uint256 updatedAt) external returns (uint80 roundId);
}
