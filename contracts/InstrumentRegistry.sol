// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { Instrument, InstrumentLibrary } from "./types/Instrument.sol";
import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title InstrumentRegistry
/// @notice What may be traded, and at what price it expired.
///
/// Which round settles an expiry follows from the feed alone, so whoever settles has no choice:
///
///     the round in force (reported at or before the expiry, the next one after it), if the heartbeat held at the expiry;
///     else the first round after the expiry
///
/// Round ids are Chainlink's: phase (16 bits) | round of the phase's aggregator (64). A proxy that changes its aggregator
/// goes on in a new phase, whose rounds may reach back before the change: the latest phase that had begun by the expiry
/// counts. Rounds the price oracle refuses (missing, incomplete, not positive, out of bounds) are passed over.
contract InstrumentRegistry is IInstrumentRegistry, AccessManaged {
    uint256 private constant MAXIMUM_TENOR = 3 * 365 days;
    uint32 private constant MAXIMUM_WINDOW = 1 days;
    /// @dev Strikes lie within this factor of the price when listed, either way.
    uint256 private constant MAXIMUM_STRIKE_RATIO = 1000;
    /// @dev As of prices: with the largest position, the most that a payoff has room for [wad].
    uint256 private constant HIGHEST_STRIKE = 1e27;
    /// @dev Rounds an average looks at, and rounds without a usable price that are passed over to find a neighbour.
    uint256 private constant MAXIMUM_ROUNDS = 200;
    uint256 private constant MAXIMUM_GAP = 32;
    uint256 private constant PHASE_SHIFT = 64;

    /// @param price Settlement price [wad]; 0 until settled. @param window Averaging window when first listed, seconds.
    struct Expiry {
        uint128 price;
        uint32 window;
        bool listed;
    }

    IPriceOracle public immutable priceOracle;

    /// @inheritdoc IInstrumentRegistry
    mapping(Instrument => bool) public isListed;
    /// @inheritdoc IInstrumentRegistry
    mapping(uint16 underlying => uint32) public averagingWindowOf;

    mapping(uint16 underlying => mapping(uint40 expiry => Expiry)) private _expiries;

    constructor(address authority, IPriceOracle priceOracle_) AccessManaged(authority) {
        priceOracle = priceOracle_;
    }

    // ─── Listing

    /// @inheritdoc IInstrumentRegistry
    function listPerpetual(uint16 underlying) external restricted returns (Instrument instrument) {
        _requireFeed(underlying);
        instrument = InstrumentLibrary.perpetual(underlying);
        _list(instrument);
    }

    /// @inheritdoc IInstrumentRegistry
    function listOptions(uint16 underlying, uint40 expiry, uint64[] calldata strikes) external restricted {
        _requireFeed(underlying);
        if (expiry <= block.timestamp) revert RegistryBadSeries(underlying, expiry, "expiry must be in the future");
        if (expiry - block.timestamp > MAXIMUM_TENOR) {
            revert RegistryBadSeries(underlying, expiry, "expiry must be at most three years away");
        }
        if (strikes.length == 0) revert RegistryBadSeries(underlying, expiry, "at least one strike is needed");

        Expiry storage series = _expiries[underlying][expiry];
        if (!series.listed) (series.listed, series.window) = (true, averagingWindowOf[underlying]);
        (uint256 price,) = priceOracle.price(underlying);
        uint64 previous;
        for (uint256 i; i < strikes.length; ++i) {
            uint64 strike = strikes[i];
            // Strictly rising from zero, so that a strike of zero is refused as well.
            if (strike <= previous) {
                revert RegistryBadSeries(underlying, expiry, "strikes must be above zero and strictly rising");
            }
            previous = strike;
            uint256 dollars = strike * InstrumentLibrary.STRIKE_UNIT;
            if (dollars > HIGHEST_STRIKE) {
                revert RegistryBadSeries(underlying, expiry, "strikes must be at most a billion dollars");
            }
            if (dollars * MAXIMUM_STRIKE_RATIO < price || dollars > price * MAXIMUM_STRIKE_RATIO) {
                revert RegistryBadSeries(underlying, expiry, "strikes must be within a thousand times the price");
            }
            _list(InstrumentLibrary.option(false, underlying, expiry, strike));
            _list(InstrumentLibrary.option(true, underlying, expiry, strike));
        }
    }

    /// @inheritdoc IInstrumentRegistry
    function setAveragingWindow(uint16 underlying, uint32 window) external restricted {
        if (window > MAXIMUM_WINDOW) revert RegistryBadWindow(window, MAXIMUM_WINDOW);
        averagingWindowOf[underlying] = window;
        emit AveragingWindowSet(underlying, window);
    }

    // ─── Settlement

    /// @inheritdoc IInstrumentRegistry
    function settle(uint16 underlying, uint40 expiry, uint80 roundId) external returns (uint256 price) {
        Expiry memory series = _expiries[underlying][expiry];
        if (!series.listed) revert RegistryUnknownExpiry(underlying, expiry);
        // At the expiry itself a round in force may still come.
        if (block.timestamp <= expiry) revert RegistryNotExpired(underlying, expiry);
        if (series.price != 0) revert RegistryAlreadySettled(underlying, expiry, series.price);

        bool inForce;
        (price, inForce) = _prove(underlying, expiry, roundId);
        uint256 rounds = 1;
        // A feed that had fallen silent has no prices to average.
        if (inForce && series.window != 0) (price, rounds) = _average(underlying, expiry, series.window, roundId);
        // The oracle's prices are at most a billion dollars.
        _expiries[underlying][expiry].price = uint128(price);
        emit ExpirySettled(underlying, expiry, price, roundId, rounds, msg.sender);
    }

    /// @inheritdoc IInstrumentRegistry
    function settlementPriceOf(uint16 underlying, uint40 expiry) external view returns (uint256) {
        return _expiries[underlying][expiry].price;
    }

    /// @inheritdoc IInstrumentRegistry
    function windowOf(uint16 underlying, uint40 expiry) external view returns (uint32) {
        return _expiries[underlying][expiry].window;
    }

    /// @inheritdoc IInstrumentRegistry
    function requireTradable(Instrument instrument) external view {
        if (!isListed[instrument]) revert RegistryUnknownInstrument(instrument);
        uint256 expiry = instrument.expiry();
        if (expiry != 0 && block.timestamp >= expiry) revert RegistryExpired(instrument, expiry);
    }

    // ─── Proof of the round

    /// @dev The round's price, if it is the one that settles; a revert that says why not otherwise.
    /// @return price Dollars a unit [wad].
    /// @return inForce Whether it was reported at or before the expiry.
    function _prove(uint16 underlying, uint40 expiry, uint80 roundId)
        private
        view
        returns (uint256 price, bool inForce)
    {
        uint80 latest = priceOracle.latestRound(underlying);
        if (latest == 0) revert RegistryWrongRound(underlying, roundId, "the price feed does not answer");
        bool ok;
        uint256 updatedAt;
        (ok, price, updatedAt) = priceOracle.round(underlying, roundId);
        if (!ok) revert RegistryWrongRound(underlying, roundId, "no such round, or one the price oracle refuses");
        for (uint256 phase = (roundId >> PHASE_SHIFT) + 1; phase <= latest >> PHASE_SHIFT; ++phase) {
            if (_after(underlying, uint80(phase << PHASE_SHIFT), latest) <= expiry) {
                revert RegistryWrongRound(underlying, roundId, "a later phase of the feed had begun by the expiry");
            }
        }

        uint256 heartbeat = priceOracle.feedOf(underlying).heartbeat;
        inForce = updatedAt <= expiry;
        if (inForce) {
            if (_after(underlying, roundId, latest) <= expiry) {
                revert RegistryWrongRound(underlying, roundId, "a later round was in force at the expiry");
            }
            if (expiry - updatedAt > heartbeat) {
                revert RegistryWrongRound(
                    underlying, roundId, "stale at the expiry: bring the first round after the expiry"
                );
            }
        } else {
            (bool found, uint256 before) = _before(underlying, roundId);
            if (before > expiry) {
                revert RegistryWrongRound(underlying, roundId, "reported after the expiry, and not the first");
            }
            if (found && expiry - before <= heartbeat) {
                revert RegistryWrongRound(underlying, roundId, "reported after the expiry: bring the round before it");
            }
            // A phase's first round proves nothing of the phase before: leave time to bring that one's round in force.
            if (!found && block.timestamp <= expiry + heartbeat) {
                revert RegistryWrongRound(
                    underlying, roundId, "the first of its phase settles a heartbeat after the expiry"
                );
            }
        }
    }

    /// @dev When the next usable round of the phase was reported; the largest integer where there is none.
    function _after(uint16 underlying, uint80 roundId, uint80 latest) private view returns (uint256) {
        bool open = roundId >> PHASE_SHIFT == latest >> PHASE_SHIFT;
        for (uint80 next = roundId + 1; next <= roundId + MAXIMUM_GAP; ++next) {
            if (open && next > latest) return type(uint256).max;
            (bool ok,, uint256 updatedAt) = priceOracle.round(underlying, next);
            if (ok) return updatedAt;
        }
        // A phase that is over can only be seen to end by rounds that are missing.
        if (!open) return type(uint256).max;
        revert RegistryWrongRound(underlying, roundId, "too many rounds after it are refused by the price oracle");
    }

    /// @dev When the last usable round of the phase before this one was reported; not found where this is the first.
    function _before(uint16 underlying, uint80 roundId) private view returns (bool found, uint256 updatedAt) {
        uint80 earlier = roundId;
        for (uint256 i; i < MAXIMUM_GAP; ++i) {
            if (uint64(--earlier) == 0) return (false, 0);
            (found,, updatedAt) = priceOracle.round(underlying, earlier);
            if (found) return (true, updatedAt);
        }
        revert RegistryWrongRound(underlying, roundId, "too many rounds before it are refused by the price oracle");
    }

    /// @dev Time-weighted average of the prices in force from `window` seconds before the expiry to the expiry, rounded
    /// down. Where the phase or MAXIMUM_ROUNDS does not reach back so far, over as much of it as they do.
    /// @return price Dollars a unit [wad].
    /// @return rounds Rounds averaged over.
    function _average(uint16 underlying, uint256 expiry, uint256 window, uint80 roundId)
        private
        view
        returns (uint256 price, uint256 rounds)
    {
        uint256 end = expiry;
        uint256 weighted;
        for (uint256 i; i < MAXIMUM_ROUNDS && uint64(roundId) != 0; ++i) {
            (bool ok, uint256 roundPrice, uint256 updatedAt) = priceOracle.round(underlying, roundId--);
            // Reported in the same second as its successor, or out of order: it was never in force.
            if (!ok || (updatedAt >= end && rounds != 0)) continue;
            uint256 start = FixedPoint.max(updatedAt, expiry - window);
            // Reported at the very expiry: it counts only where there is nothing else.
            if (rounds == 0) price = roundPrice;
            weighted += roundPrice * (end - start);
            end = start;
            ++rounds;
            if (start == expiry - window) break;
        }
        if (end != expiry) price = weighted / (expiry - end);
    }

    function _list(Instrument instrument) private {
        if (isListed[instrument]) return;
        isListed[instrument] = true;
        emit InstrumentListed(instrument);
    }

    function _requireFeed(uint16 underlying) private view {
        if (underlying == 0 || !priceOracle.hasFeed(underlying)) revert RegistryUnderlyingHasNoFeed(underlying);
    }
}
