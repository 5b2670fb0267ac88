// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { FeedReader } from "../libraries/FeedReader.sol";

/// @title PriceOracle
/// @notice Index prices from Chainlink-style feeds, made safe.
contract PriceOracle is IPriceOracle, AccessManaged {
    uint256 private constant WAD = 1e18;
    uint256 private constant MAXIMUM_HEARTBEAT = 7 days;
    uint256 private constant MAXIMUM_DEVIATION = 0.5e18;
    uint256 private constant MAXIMUM_GRACE = 1 days;
    /// @dev With the largest position, the most that a margin computation has room for.
    uint256 private constant HIGHEST_PRICE = 1e27;

    mapping(uint16 underlying => PriceFeed) private _feeds;
    address private _sequencerFeed;
    uint32 private _sequencerGrace;

    constructor(address authority) AccessManaged(authority) { }

    /// @inheritdoc IPriceOracle
    function price(uint16 underlying) external view returns (uint256, uint256) {
        PriceFeed memory feed = _feeds[underlying];
        if (feed.feed == address(0)) revert PriceOracleNoFeed(underlying);
        _requireSequencerUp();
        return _price(underlying, feed);
    }

    /// @inheritdoc IPriceOracle
    function round(uint16 underlying, uint80 roundId)
        external
        view
        returns (bool ok, uint256 roundPrice, uint256 updatedAt)
    {
        PriceFeed storage feed = _feeds[underlying];
        address source = feed.feed;
        if (source == address(0)) revert PriceOracleNoFeed(underlying);
        FeedReader.Round memory data;
        (ok, data) = FeedReader.roundOf(source, roundId);
        if (!ok || !FeedReader.isComplete(data) || data.updatedAt > block.timestamp || data.answer <= 0) {
            return (false, 0, 0);
        }
        roundPrice = FeedReader.scaleDown(uint256(data.answer), WAD, feed.decimals);
        if (roundPrice < feed.minimum || roundPrice > feed.maximum) return (false, 0, 0);
        updatedAt = data.updatedAt;
    }

    /// @inheritdoc IPriceOracle
    function latestRound(uint16 underlying) external view returns (uint80 roundId) {
        PriceFeed storage feed = _feeds[underlying];
        address source = feed.feed;
        if (source == address(0)) revert PriceOracleNoFeed(underlying);
        (bool ok, uint8 decimals) = FeedReader.decimalsOf(source);
        if (!ok || decimals != feed.decimals) return 0;
        (, FeedReader.Round memory data) = FeedReader.latest(source);
        return data.roundId;
    }

    /// @inheritdoc IPriceOracle
    function hasFeed(uint16 underlying) external view returns (bool) {
        return _feeds[underlying].feed != address(0);
    }

    /// @inheritdoc IPriceOracle
    function feedOf(uint16 underlying) external view returns (PriceFeed memory) {
        return _feeds[underlying];
    }

    /// @inheritdoc IPriceOracle
    function sequencer() external view returns (address feed, uint32 grace) {
        return (_sequencerFeed, _sequencerGrace);
    }

    /// @inheritdoc IPriceOracle
    function setPriceFeed(uint16 underlying, PriceFeed calldata configuration) external restricted {
        PriceFeed memory feed = configuration;
        if (feed.heartbeat == 0 || feed.heartbeat > MAXIMUM_HEARTBEAT) {
            revert PriceOracleBadConfiguration(underlying, "heartbeat must be 1 second to 7 days");
        }
        if (feed.minimum == 0 || feed.minimum >= feed.maximum) {
            revert PriceOracleBadConfiguration(underlying, "bounds must satisfy 0 < minimum < maximum");
        }
        if (feed.maximum > HIGHEST_PRICE) {
            revert PriceOracleBadConfiguration(underlying, "maximum must be at most a billion dollars");
        }
        feed.decimals = _decimals(underlying, feed.feed);
        if (feed.secondary == address(0)) {
            feed.secondaryHeartbeat = 0;
            feed.secondaryDecimals = 0;
            feed.maximumDeviation = 0;
        } else {
            if (feed.secondary == feed.feed) {
                revert PriceOracleBadConfiguration(underlying, "the second feed must be another feed");
            }
            if (feed.secondaryHeartbeat == 0 || feed.secondaryHeartbeat > MAXIMUM_HEARTBEAT) {
                revert PriceOracleBadConfiguration(underlying, "second heartbeat must be 1 second to 7 days");
            }
            if (feed.maximumDeviation == 0 || feed.maximumDeviation > MAXIMUM_DEVIATION) {
                revert PriceOracleBadConfiguration(underlying, "maximum deviation must be above 0 and at most 50%");
            }
            feed.secondaryDecimals = _decimals(underlying, feed.secondary);
        }
        _price(underlying, feed);

        _feeds[underlying] = feed;
        emit PriceFeedSet(underlying, feed);
    }

    /// @inheritdoc IPriceOracle
    function setSequencerFeed(address feed, uint32 grace) external restricted {
        if (grace > MAXIMUM_GRACE) revert PriceOracleBadConfiguration(0, "grace must be at most one day");
        if (feed == address(0)) {
            if (grace != 0) revert PriceOracleBadConfiguration(0, "grace needs a sequencer feed");
        } else {
            (bool ok,) = FeedReader.latest(feed);
            if (!ok) revert PriceOracleUnreachable(feed);
        }
        _sequencerFeed = feed;
        _sequencerGrace = grace;
        emit SequencerFeedSet(feed, grace);
    }

    /// @dev Price and age of the primary feed, both feeds checked.
    function _price(uint16 underlying, PriceFeed memory feed) private view returns (uint256 value, uint256 age) {
        (value, age) = _read(feed.feed, feed.heartbeat, feed.decimals, feed.minimum, feed.maximum);
        if (feed.secondary == address(0)) return (value, age);
        (uint256 other,) =
            _read(feed.secondary, feed.secondaryHeartbeat, feed.secondaryDecimals, feed.minimum, feed.maximum);
        uint256 difference = FixedPoint.dist(value, other);
        // Both lie within the bounds, so below 2^128.
        if (difference * WAD > feed.maximumDeviation * FixedPoint.min(value, other)) {
            revert PriceOracleDeviation(underlying, value, other, feed.maximumDeviation);
        }
    }

    /// @dev One feed's price and age, or the revert that says which check failed.
    function _read(address feed, uint256 heartbeat, uint8 decimals, uint256 minimum, uint256 maximum)
        private
        view
        returns (uint256 value, uint256 age)
    {
        (FeedReader.Fault fault, FeedReader.Round memory data, uint8 actualDecimals) =
            FeedReader.read(feed, heartbeat, decimals);
        if (fault != FeedReader.Fault.NONE) {
            if (fault == FeedReader.Fault.UNREACHABLE) revert PriceOracleUnreachable(feed);
            if (fault == FeedReader.Fault.DECIMALS_CHANGED) {
                revert PriceOracleDecimalsChanged(feed, decimals, actualDecimals);
            }
            if (fault == FeedReader.Fault.INCOMPLETE_ROUND) {
                revert PriceOracleIncompleteRound(feed, data.roundId, data.answeredInRound);
            }
            if (fault == FeedReader.Fault.FROM_THE_FUTURE) revert PriceOracleFromTheFuture(feed, data.updatedAt);
            if (fault == FeedReader.Fault.STALE) revert PriceOracleStale(feed, data.updatedAt, heartbeat);
            revert PriceOracleNotPositive(feed, data.answer);
        }
        value = FeedReader.scaleDown(uint256(data.answer), WAD, decimals);
        if (value < minimum || value > maximum) revert PriceOracleOutOfBounds(feed, value, minimum, maximum);
        age = block.timestamp - data.updatedAt;
    }

    /// @dev Chainlink's L2 sequencer uptime feed: answer 0 is up, 1 is down, startedAt is when that began, and is 0 before
    /// the first round. Its updatedAt does not move while nothing changes, so it has no heartbeat.
    function _requireSequencerUp() private view {
        address feed = _sequencerFeed;
        if (feed == address(0)) return;
        uint256 grace = _sequencerGrace;
        (bool ok, FeedReader.Round memory data) = FeedReader.latest(feed);
        if (!ok) revert PriceOracleUnreachable(feed);
        uint256 since = data.startedAt;
        if (data.answer != 0 || since == 0 || since > block.timestamp || block.timestamp - since <= grace) {
            revert PriceOracleSequencerDown(since, grace);
        }
    }

    function _decimals(uint16 underlying, address feed) private view returns (uint8 decimals) {
        bool ok;
        (ok, decimals) = FeedReader.decimalsOf(feed);
        if (!ok) revert PriceOracleUnreachable(feed);
        if (decimals > FeedReader.MAXIMUM_DECIMALS) {
            revert PriceOracleBadConfiguration(underlying, "feeds may have at most 36 decimals");
        }
    }
}
