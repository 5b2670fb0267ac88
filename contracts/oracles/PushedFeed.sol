// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AggregatorV3Interface } from "@chainlink/contracts/src/v0.8/shared/interfaces/AggregatorV3Interface.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { IPushedFeed } from "../interfaces/IPushedFeed.sol";

/// @title PushedFeed
/// @notice A Chainlink-compatible feed with full round history that authorised reporters write. It passes on what it is
/// given, zero and negative included: judging answers is the reader's business, as with Chainlink's own feeds.
contract PushedFeed is IPushedFeed, AccessManaged {
    /// @dev One slot; answers are as wide as in Chainlink's off-chain reporting aggregators.
    struct Round {
        int192 answer;
        uint64 updatedAt;
    }

    /// @inheritdoc AggregatorV3Interface
    uint8 public immutable decimals;
    /// @inheritdoc AggregatorV3Interface
    string public description;
    /// @inheritdoc AggregatorV3Interface
    uint256 public constant version = 1;

    uint80 private _latest;
    mapping(uint80 roundId => Round) private _rounds;

    constructor(address authority, uint8 decimals_, string memory description_) AccessManaged(authority) {
        decimals = decimals_;
        description = description_;
    }

    /// @inheritdoc IPushedFeed
    function push(int256 answer) external restricted returns (uint80 roundId) {
        return _push(answer, block.timestamp);
    }

    /// @inheritdoc IPushedFeed
    function pushAt(int256 answer, uint256 updatedAt) external restricted returns (uint80 roundId) {
        return _push(answer, updatedAt);
    }

    /// @inheritdoc AggregatorV3Interface
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return _roundData(_latest);
    }

    /// @inheritdoc AggregatorV3Interface
    function getRoundData(uint80 roundId) external view returns (uint80, int256, uint256, uint256, uint80) {
        return _roundData(roundId);
    }

    function _push(int256 answer, uint256 updatedAt) private returns (uint80 roundId) {
        uint256 previous = _rounds[_latest].updatedAt;
        if (updatedAt == 0 || updatedAt < previous || updatedAt > block.timestamp) {
            revert PushedFeedBadTime(updatedAt, previous, block.timestamp);
        }
        roundId = _latest + 1;
        _latest = roundId;
        _rounds[roundId] = Round(SafeCast.toInt192(answer), uint64(updatedAt));
        emit AnswerUpdated(answer, roundId, updatedAt);
    }

    function _roundData(uint80 roundId) private view returns (uint80, int256, uint256, uint256, uint80) {
        Round memory round = _rounds[roundId];
        // Times are positive, so this is also a round that does not exist.
        if (round.updatedAt == 0) revert PushedFeedNoData(roundId);
        return (roundId, round.answer, round.updatedAt, round.updatedAt, roundId);
    }
}
