// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "../interfaces/IVolatilityOracle.sol";
import { FeedChange } from "../libraries/FeedChange.sol";
import { FeedReader } from "../libraries/FeedReader.sol";
import { VolatilityMath } from "../libraries/VolatilityMath.sol";
import { Field, FieldLibrary as Fields } from "../types/Field.sol";

/// @title VolatilityOracle
/// @notice The volatility level behind margin: feed, stress and realised volatility put together, at two speeds.
contract VolatilityOracle is IVolatilityOracle, AccessManaged {
    /// @dev Millionths to wad.
    uint256 private constant MILLIONTH = 1e12;
    /// @dev The lanes of the word that `_live` reads: 2 to 6.
    uint256 private constant LIVE_LANES = uint256(type(uint160).max) << 64;
    uint256 private constant MAXIMUM_HEARTBEAT = 7 days;
    /// @dev What an option index and realised volatility of one asset ordinarily differ by; another unit (a day's volatility
    /// for a year's, percent for a fraction) is off by a factor [wad].
    uint256 private constant MAXIMUM_CHANGE = 0.25e18;

    struct VolatilityFeedProposal {
        VolatilityFeed feed;
        uint48 proposedAt;
    }

    IPriceOracle public immutable priceOracle;
    IRiskParameters public immutable riskParameters;

    mapping(uint16 underlying => VolatilityFeed) private _feeds;
    mapping(uint16 underlying => VolatilityState) private _states;
    mapping(uint16 underlying => VolatilityFeedProposal) private _proposals;

    constructor(address authority, IPriceOracle priceOracle_, IRiskParameters riskParameters_)
        AccessManaged(authority)
    {
        priceOracle = priceOracle_;
        riskParameters = riskParameters_;
    }

    /// @inheritdoc IVolatilityOracle
    function levels(uint16 underlying)
        external
        view
        returns (uint256 live, uint256 maintenance, uint256 mark, uint256 age, bool fresh)
    {
        VolatilityFeed memory feed = _feedOf(underlying);
        uint256 volatility;
        (volatility, age, fresh) = _reported(feed);
        (uint256 word, uint256 ramped,) = riskParameters.levelWordsOf(underlying);
        VolatilityState storage stored = _states[underlying];
        // The slot of the rounds is not needed, and not read.
        VolatilityState memory state;
        (state.variance, state.maintenance, state.pokedAt) = (stored.variance, stored.maintenance, stored.pokedAt);
        (live, maintenance) = _levels(underlying, word, ramped, state, volatility, fresh);
        mark = _isWithin(feed, volatility) ? volatility : maintenance;
        // Beyond the cap nobody has checked the surface for arbitrage.
        mark = FixedPoint.min(mark, _value(Fields.VOLATILITY_CAP, ramped) * MILLIONTH);
    }

    /// @inheritdoc IVolatilityOracle
    function realised(uint16 underlying) external view returns (uint256) {
        return VolatilityMath.volatilityUp(_states[underlying].variance);
    }

    /// @inheritdoc IVolatilityOracle
    function reported(uint16 underlying) external view returns (uint256 volatility, uint256 age, bool ok) {
        return _reported(_feedOf(underlying));
    }

    /// @inheritdoc IVolatilityOracle
    function stateOf(uint16 underlying) external view returns (VolatilityState memory) {
        return _states[underlying];
    }

    /// @inheritdoc IVolatilityOracle
    function feedOf(uint16 underlying) external view returns (VolatilityFeed memory) {
        return _feeds[underlying];
    }

    /// @inheritdoc IVolatilityOracle
    function proposedVolatilityFeed(uint16 underlying) external view returns (VolatilityFeed memory, uint256) {
        VolatilityFeedProposal memory proposal = _proposals[underlying];
        return (proposal.feed, proposal.proposedAt);
    }

    /// @inheritdoc IVolatilityOracle
    function poke(uint16 underlying, uint256 maximumRounds) external returns (uint256 taken) {
        (uint256 volatility,, bool fresh) = _reported(_feedOf(underlying));
        (uint256 word, uint256 ramped, uint256 word1) = riskParameters.levelWordsOf(underlying);
        VolatilityState memory state = _states[underlying];

        address source = priceOracle.feedOf(underlying).feed;
        if (state.source == source) {
            taken = _takeRounds(underlying, state, maximumRounds, _value(Fields.REALISED_HALF_LIFE, word1));
        } else if (_takeFirst(underlying, state)) {
            taken = 1;
            if (state.source == address(0)) {
                // Nothing is known of the past but what the feed says: any other start would bias margin down (zero) or up
                // (the stressed level) for the first half-lives. Without a good feed, the level in force stands in.
                (uint256 level,) = fresh ? (volatility, 0) : _levels(underlying, word, ramped, state, volatility, fresh);
                state.variance = uint128(FixedPoint.mulWadUp(level, level));
            }
            // Else another price feed: its prices against the old one's would count the difference between them as a
            // move, and its round ids mean nothing in the other's order. What was realised stays.
            state.source = source;
        }
        _moveLevel(underlying, word, ramped, state, volatility, fresh);
    }

    // ─── Feeds: the first at once, another after a delay

    /// @inheritdoc IVolatilityOracle
    function setVolatilityFeed(uint16 underlying, VolatilityFeed calldata configuration) external restricted {
        address current = _feeds[underlying].feed;
        if (current != address(0)) revert VolatilityOracleFeedInUse(underlying, current);
        _setVolatilityFeed(underlying, _checked(underlying, configuration));
    }

    /// @inheritdoc IVolatilityOracle
    function proposeVolatilityFeed(uint16 underlying, VolatilityFeed calldata configuration) external restricted {
        _feedOf(underlying);
        VolatilityFeed memory feed = _checked(underlying, configuration);
        _proposals[underlying] = VolatilityFeedProposal(feed, uint48(block.timestamp));
        emit VolatilityFeedProposed(underlying, feed);
    }

    /// @inheritdoc IVolatilityOracle
    function applyVolatilityFeed(uint16 underlying) external {
        VolatilityFeedProposal memory proposal = _proposals[underlying];
        (uint256 current,, bool fresh) = _reported(_feedOf(underlying));
        FeedChange.requireDue(proposal.proposedAt, fresh ? FeedChange.DELAY : FeedChange.SILENT_DELAY);
        uint256 proposed = _requireFresh(underlying, proposal.feed);
        if (fresh) FeedChange.requireAgreement(current, proposed, MAXIMUM_CHANGE);

        // What maintenance stands at by the old feed: from here it rises at its rate, whatever the new one says.
        (uint256 word, uint256 ramped,) = riskParameters.levelWordsOf(underlying);
        _moveLevel(underlying, word, ramped, _states[underlying], current, fresh);
        delete _proposals[underlying];
        _setVolatilityFeed(underlying, proposal.feed);
    }

    /// @inheritdoc IVolatilityOracle
    function cancelVolatilityFeed(uint16 underlying) external restricted {
        VolatilityFeedProposal memory proposal = _proposals[underlying];
        if (proposal.proposedAt == 0) revert FeedChange.FeedChangeNothingProposed();
        delete _proposals[underlying];
        emit VolatilityFeedCancelled(underlying, proposal.feed);
    }

    function _setVolatilityFeed(uint16 underlying, VolatilityFeed memory feed) private {
        _feeds[underlying] = feed;
        emit VolatilityFeedSet(underlying, feed);
    }

    /// @dev The configuration with the decimals its feed has now, if it makes sense and the feed passes every check.
    function _checked(uint16 underlying, VolatilityFeed memory feed) private view returns (VolatilityFeed memory) {
        if (underlying == 0 || !priceOracle.hasFeed(underlying)) {
            revert VolatilityOracleBadConfiguration(underlying, "the underlying needs a price feed first");
        }
        if (feed.heartbeat == 0 || feed.heartbeat > MAXIMUM_HEARTBEAT) {
            revert VolatilityOracleBadConfiguration(underlying, "heartbeat must be 1 second to 7 days");
        }
        if (feed.minimum == 0 || feed.minimum >= feed.maximum) {
            revert VolatilityOracleBadConfiguration(underlying, "bounds must satisfy 0 < minimum < maximum");
        }
        if (feed.scale == 0) revert VolatilityOracleBadConfiguration(underlying, "scale must be above 0");
        bool ok;
        (ok, feed.decimals) = FeedReader.decimalsOf(feed.feed);
        if (!ok) revert VolatilityOracleBadConfiguration(underlying, "the feed does not answer");
        if (feed.decimals > FeedReader.MAXIMUM_DECIMALS) {
            revert VolatilityOracleBadConfiguration(underlying, "feeds may have at most 36 decimals");
        }
        _requireFresh(underlying, feed);
        return feed;
    }

    function _requireFresh(uint16 underlying, VolatilityFeed memory feed) private view returns (uint256 volatility) {
        bool ok;
        (volatility,, ok) = _reported(feed);
        if (!ok) revert VolatilityOracleBadConfiguration(underlying, "the feed fails a check now");
    }

    // ─── Rounds and levels

    /// @dev Start from the latest price round, where there is a good one.
    function _takeFirst(uint16 underlying, VolatilityState memory state) private view returns (bool) {
        uint80 latest = priceOracle.latestRound(underlying);
        if (latest == 0) return false;
        (bool ok, uint256 price, uint256 updatedAt) = priceOracle.round(underlying, latest);
        if (!ok) return false;
        (state.roundId, state.roundAt, state.roundPrice) = (latest, uint48(updatedAt), uint128(price));
        return true;
    }

    /// @dev Rounds after the last one taken, in order and each once, so that nobody can weight a move by repeating or leaving
    /// out rounds. A Chainlink proxy's round id is phase · 2^64 + the aggregator's round: ids of one phase are consecutive,
    /// and a new phase (or a feed that went back to lower ids) is entered at its latest round, with one return over
    /// the gap. A round that is missing, refused by the price oracle or older than the one before it is passed over.
    function _takeRounds(uint16 underlying, VolatilityState memory state, uint256 maximumRounds, uint256 halfLife)
        private
        view
        returns (uint256 taken)
    {
        if (halfLife == 0) revert VolatilityOracleNoParameters(underlying);
        uint80 latest = priceOracle.latestRound(underlying);
        if (latest == 0) return 0;
        for (; taken < maximumRounds && state.roundId != latest; ++taken) {
            bool consecutive = latest >> 64 == state.roundId >> 64 && latest > state.roundId;
            state.roundId = consecutive ? state.roundId + 1 : latest;
            (bool ok, uint256 price, uint256 updatedAt) = priceOracle.round(underlying, state.roundId);
            if (!ok || updatedAt < state.roundAt) continue;
            state.variance = uint128(
                VolatilityMath.updateVariance(
                    state.variance, state.roundPrice, price, updatedAt - state.roundAt, halfLife
                )
            );
            (state.roundAt, state.roundPrice) = (uint48(updatedAt), uint128(price));
        }
    }

    /// @dev Store the state with the maintenance level of now.
    function _moveLevel(
        uint16 underlying,
        uint256 word,
        uint256 ramped,
        VolatilityState memory state,
        uint256 volatility,
        bool fresh
    ) private {
        (uint256 live, uint256 maintenance) = _levels(underlying, word, ramped, state, volatility, fresh);
        // Capped by an int32 of millionths, so below 2^80.
        state.maintenance = uint80(maintenance);
        state.pokedAt = uint48(block.timestamp);

        _states[underlying] = state;
        emit VolatilityPoked(underlying, state.roundId, VolatilityMath.volatilityUp(state.variance), live, maintenance);
    }

    /// @dev The two levels for a state and the feed's volatility. Maintenance rests on the ramp alone, or a push onto a ramp that
    /// leads down would move it at once (PUSH); the live level on the higher of both, so that it is never below (ORDER).
    /// @param word Numbers as pushed. @param ramped Numbers along their ramps.
    function _levels(
        uint16 underlying,
        uint256 word,
        uint256 ramped,
        VolatilityState memory state,
        uint256 volatility,
        bool fresh
    ) private view returns (uint256 live, uint256 maintenance) {
        if (Fields.VOLATILITY_CAP.read(word) <= 0) revert VolatilityOracleNoParameters(underlying);
        live = maintenance = _live(ramped, state, volatility, fresh);
        if ((word ^ ramped) & LIVE_LANES != 0) {
            live = FixedPoint.max(maintenance, _live(word, state, volatility, fresh));
        }
        if (state.pokedAt == 0) return (live, maintenance);
        uint256 highest = state.maintenance;
        // Most of the time it has long arrived.
        if (fresh && maintenance > highest) {
            highest = VolatilityMath.riseUp(
                highest, _value(Fields.VOLATILITY_RISE_RATE, ramped), block.timestamp - state.pokedAt
            );
        }
        maintenance = FixedPoint.min(maintenance, highest);
    }

    /// @dev What the numbers of a word make of the feed, and of what was realised.
    function _live(uint256 word, VolatilityState memory state, uint256 volatility, bool fresh)
        private
        pure
        returns (uint256 live)
    {
        uint256 stress = _value(Fields.VOLATILITY_STRESS, word) * MILLIONTH;
        live = fresh
            ? VolatilityMath.blendUp(volatility, stress, _value(Fields.VOLATILITY_STRESS_WEIGHT, word))
            : FixedPoint.max(stress, state.maintenance);
        uint256 lowest = VolatilityMath.weightUp(
            VolatilityMath.volatilityUp(state.variance), _value(Fields.REALISED_WEIGHT, word)
        );
        lowest = FixedPoint.max(lowest, _value(Fields.VOLATILITY_FLOOR, word) * MILLIONTH);
        live = FixedPoint.min(FixedPoint.max(live, lowest), _value(Fields.VOLATILITY_CAP, word) * MILLIONTH);
    }

    function _reported(VolatilityFeed memory feed) private view returns (uint256 volatility, uint256 age, bool ok) {
        (FeedReader.Fault fault, FeedReader.Round memory data,) =
            FeedReader.read(feed.feed, feed.heartbeat, feed.decimals);
        age = data.updatedAt == 0 || data.updatedAt > block.timestamp
            ? type(uint256).max
            : block.timestamp - data.updatedAt;
        if (data.answer > 0 && fault != FeedReader.Fault.DECIMALS_CHANGED) {
            volatility = FeedReader.scaleUp(uint256(data.answer), feed.scale, feed.decimals);
        }
        ok = fault == FeedReader.Fault.NONE && _isWithin(feed, volatility);
    }

    function _isWithin(VolatilityFeed memory feed, uint256 volatility) private pure returns (bool) {
        return volatility >= feed.minimum && volatility <= feed.maximum;
    }

    function _feedOf(uint16 underlying) private view returns (VolatilityFeed memory feed) {
        feed = _feeds[underlying];
        if (feed.feed == address(0)) revert VolatilityOracleNoFeed(underlying);
    }

    /// @dev A field that makes no sense below zero.
    function _value(Field field, uint256 word) private pure returns (uint256) {
        int256 value = field.read(word);
        return value > 0 ? uint256(value) : 0;
    }
}
