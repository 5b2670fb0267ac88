// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { FeedChange } from "../libraries/FeedChange.sol";
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
    /// @dev Feeds of one price report moves of half a percent to two, so two of them are never further apart for long; another
    /// asset, currency or scale is. It is also the most that a change may move a price at once [wad].
    uint256 private constant MAXIMUM_CHANGE = 0.05e18;

    struct PriceFeedProposal {
        PriceFeed feed;
        uint48 proposedAt;
    }

    struct SequencerFeedProposal {
        address feed;
        uint32 grace;
        uint48 proposedAt;
    }

    mapping(uint16 underlying => PriceFeed) private _feeds;
    address private _sequencerFeed;
    uint32 private _sequencerGrace;
    mapping(uint16 underlying => PriceFeedProposal) private _proposals;
    SequencerFeedProposal private _sequencerProposal;

    constructor(address authority) AccessManaged(authority) { }

    /// @inheritdoc IPriceOracle
    function price(uint16 underlying) external view returns (uint256, uint256) {
        PriceFeed memory feed = _feeds[underlying];
        if (feed.feed == address(0)) revert PriceOracleNoFeed(underlying);
        _requireSequencerUp(_sequencerFeed, _sequencerGrace);
        return _price(underlying, feed);
    }

    /// @inheritdoc IPriceOracle
    function latest(uint16 underlying)
        external
        view
        returns (uint256 value, uint256 age, uint80 roundId, address source)
    {
        PriceFeed memory feed = _feeds[underlying];
        source = feed.feed;
        if (source == address(0)) revert PriceOracleNoFeed(underlying);
        _requireSequencerUp(_sequencerFeed, _sequencerGrace);
        (value, age) = _price(underlying, feed);
        (, FeedReader.Round memory data) = FeedReader.latest(source);
        roundId = data.roundId;
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
    function proposedPriceFeed(uint16 underlying) external view returns (PriceFeed memory, uint256) {
        PriceFeedProposal memory proposal = _proposals[underlying];
        return (proposal.feed, proposal.proposedAt);
    }

    /// @inheritdoc IPriceOracle
    function proposedSequencerFeed() external view returns (address, uint32, uint256) {
        SequencerFeedProposal memory proposal = _sequencerProposal;
        return (proposal.feed, proposal.grace, proposal.proposedAt);
    }

    // ─── Feeds: the first at once, another after a delay

    /// @inheritdoc IPriceOracle
    function setPriceFeed(uint16 underlying, PriceFeed calldata configuration) external restricted {
        address current = _feeds[underlying].feed;
        if (current != address(0)) revert PriceOracleFeedInUse(underlying, current);
        _setPriceFeed(underlying, _checked(underlying, configuration));
    }

    /// @inheritdoc IPriceOracle
    function proposePriceFeed(uint16 underlying, PriceFeed calldata configuration) external restricted {
        if (_feeds[underlying].feed == address(0)) revert PriceOracleNoFeed(underlying);
        PriceFeed memory feed = _checked(underlying, configuration);
        _proposals[underlying] = PriceFeedProposal(feed, uint48(block.timestamp));
        emit PriceFeedProposed(underlying, feed);
    }

    /// @inheritdoc IPriceOracle
    function applyPriceFeed(uint16 underlying) external {
        PriceFeedProposal memory proposal = _proposals[underlying];
        (bool answers, uint256 current) = _tryPrice(_feeds[underlying]);
        bool comparable = answers || proposal.feed.secondary != address(0);
        FeedChange.requireDue(proposal.proposedAt, comparable ? FeedChange.DELAY : FeedChange.SILENT_DELAY);
        // What feeds say while the sequencer is down or just back is no measure of the other.
        _requireSequencerUp(_sequencerFeed, _sequencerGrace);
        (uint256 proposed,) = _price(underlying, proposal.feed);
        if (answers) FeedChange.requireAgreement(current, proposed, MAXIMUM_CHANGE);

        delete _proposals[underlying];
        _setPriceFeed(underlying, proposal.feed);
    }

    /// @inheritdoc IPriceOracle
    function cancelPriceFeed(uint16 underlying) external restricted {
        PriceFeedProposal memory proposal = _proposals[underlying];
        if (proposal.proposedAt == 0) revert FeedChange.FeedChangeNothingProposed();
        delete _proposals[underlying];
        emit PriceFeedCancelled(underlying, proposal.feed);
    }

    /// @inheritdoc IPriceOracle
    function setSequencerFeed(address feed, uint32 grace) external restricted {
        if (_sequencerFeed != address(0)) revert PriceOracleSequencerFeedInUse(_sequencerFeed);
        _checkSequencer(feed, grace);
        _setSequencerFeed(feed, grace);
    }

    /// @inheritdoc IPriceOracle
    function proposeSequencerFeed(address feed, uint32 grace) external restricted {
        if (_sequencerFeed == address(0)) revert PriceOracleNoSequencerFeed();
        _checkSequencer(feed, grace);
        _sequencerProposal = SequencerFeedProposal(feed, grace, uint48(block.timestamp));
        emit SequencerFeedProposed(feed, grace);
    }

    /// @inheritdoc IPriceOracle
    function applySequencerFeed() external {
        SequencerFeedProposal memory proposal = _sequencerProposal;
        FeedChange.requireDue(proposal.proposedAt, _isSequencerFeedDead() ? FeedChange.SILENT_DELAY : FeedChange.DELAY);
        _requireSequencerUp(proposal.feed, proposal.grace);

        delete _sequencerProposal;
        _setSequencerFeed(proposal.feed, proposal.grace);
    }

    /// @inheritdoc IPriceOracle
    function cancelSequencerFeed() external restricted {
        SequencerFeedProposal memory proposal = _sequencerProposal;
        if (proposal.proposedAt == 0) revert FeedChange.FeedChangeNothingProposed();
        delete _sequencerProposal;
        emit SequencerFeedCancelled(proposal.feed, proposal.grace);
    }

    function _setPriceFeed(uint16 underlying, PriceFeed memory feed) private {
        _feeds[underlying] = feed;
        emit PriceFeedSet(underlying, feed);
    }

    function _setSequencerFeed(address feed, uint32 grace) private {
        _sequencerFeed = feed;
        _sequencerGrace = grace;
        emit SequencerFeedSet(feed, grace);
    }

    /// @dev The configuration with the decimals its feeds have now, if it makes sense and gives a price.
    function _checked(uint16 underlying, PriceFeed memory feed) private view returns (PriceFeed memory) {
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
        return feed;
    }

    function _checkSequencer(address feed, uint32 grace) private view {
        if (grace > MAXIMUM_GRACE) revert PriceOracleBadConfiguration(0, "grace must be at most one day");
        if (feed == address(0)) {
            if (grace != 0) revert PriceOracleBadConfiguration(0, "grace needs a sequencer feed");
        } else {
            (bool ok,) = FeedReader.latest(feed);
            if (!ok) revert PriceOracleUnreachable(feed);
        }
    }

    /// @dev Price and age of the primary feed, both feeds checked.
    function _price(uint16 underlying, PriceFeed memory feed) private view returns (uint256 value, uint256 age) {
        (value, age) = _read(feed.feed, feed.heartbeat, feed.decimals, feed.minimum, feed.maximum);
        if (feed.secondary == address(0)) return (value, age);
        (uint256 other,) =
            _read(feed.secondary, feed.secondaryHeartbeat, feed.secondaryDecimals, feed.minimum, feed.maximum);
        if (FeedReader.deviates(value, other, feed.maximumDeviation)) {
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

    /// @dev The same price where every check passes, and no revert where one fails. FeedReader still reverts on a call with too
    /// little gas to tell a bad feed from a starved one: nobody can make the feed in use look silent.
    function _tryPrice(PriceFeed memory feed) private view returns (bool ok, uint256 value) {
        (ok, value) = _tryRead(feed.feed, feed.heartbeat, feed.decimals, feed.minimum, feed.maximum);
        if (!ok || feed.secondary == address(0)) return (ok, value);
        uint256 other;
        (ok, other) =
            _tryRead(feed.secondary, feed.secondaryHeartbeat, feed.secondaryDecimals, feed.minimum, feed.maximum);
        ok = ok && !FeedReader.deviates(value, other, feed.maximumDeviation);
    }

    function _tryRead(address feed, uint256 heartbeat, uint8 decimals, uint256 minimum, uint256 maximum)
        private
        view
        returns (bool ok, uint256 value)
    {
        (FeedReader.Fault fault, FeedReader.Round memory data,) = FeedReader.read(feed, heartbeat, decimals);
        if (fault != FeedReader.Fault.NONE) return (false, 0);
        value = FeedReader.scaleDown(uint256(data.answer), WAD, decimals);
        ok = value >= minimum && value <= maximum;
    }

    /// @dev Chainlink's L2 sequencer uptime feed: answer 0 is up, 1 is down, startedAt is when that began, and is 0 before
    /// the first round. Its updatedAt does not move while nothing changes, so it has no heartbeat.
    function _requireSequencerUp(address feed, uint256 grace) private view {
        if (feed == address(0)) return;
        (bool ok, FeedReader.Round memory data) = FeedReader.latest(feed);
        if (!ok) revert PriceOracleUnreachable(feed);
        if (!_isUp(data, grace)) revert PriceOracleSequencerDown(data.startedAt, grace);
    }

    /// @dev Whether the sequencer feed in use has failed: it cannot be read, or has said "down" for longer than any outage.
    /// Reverts in an outage and in the grace after it, which is the time it is there for.
    function _isSequencerFeedDead() private view returns (bool) {
        (bool ok, FeedReader.Round memory data) = FeedReader.latest(_sequencerFeed);
        uint256 since = data.startedAt;
        // 0, before the first round, is longer ago than any outage.
        if (!ok || since > block.timestamp) return true;
        if (_isUp(data, _sequencerGrace)) return false;
        if (block.timestamp - since <= FeedChange.SILENT_DELAY) {
            revert PriceOracleSequencerDown(since, _sequencerGrace);
        }
        return true;
    }

    function _isUp(FeedReader.Round memory data, uint256 grace) private view returns (bool) {
        uint256 since = data.startedAt;
        return data.answer == 0 && since != 0 && since <= block.timestamp && block.timestamp - since > grace;
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
