// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { ICoverageMonitor } from "../interfaces/ICoverageMonitor.sol";
import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "../interfaces/IVolatilityOracle.sol";
import { RiskMath } from "../libraries/RiskMath.sol";
import { TrafficLight } from "../libraries/TrafficLight.sol";

/// @title CoverageMonitor
/// @notice Margin that fails its own test tightens itself.
///
/// What is tested is z·σ·√(time/year) with the tail as pushed and the level in force for that horizon. What coverage adds to the tail is
/// left out, as the Basel Committee tests the bare model: if it counted, too low a tail would stop at a few exceptions, with half of
/// the multiplier that it needs. (Where the maintenance range passes the initial one, margin holds the initial range up to it; the test
/// does not, and counts rather more.) A feed is expected to report in order within a phase, as Chainlink's aggregators do.
contract CoverageMonitor is ICoverageMonitor {
    uint256 private constant WAD = 1e18;
    uint256 private constant MILLION = 1e6;
    /// @dev σ [wad] · z [millionths] to 1e-9.
    uint256 private constant DEVIATION_UNIT = 1e15;
    uint256 private constant NANO = 1e9;
    uint256 private constant PHASE_SHIFT = 64;

    /// @dev An underlying's market now, which serves both its horizons.
    /// @param underlying 0 where nothing has been read. @param price Of round `latest` [wad dollars]. @param at When it was reported.
    /// @param source Fingerprint of the feed and its phase. @param live @param maintenance Levels in force [wad].
    struct Reading {
        uint16 underlying;
        uint256 price;
        uint256 at;
        uint80 latest;
        uint32 source;
        uint256 live;
        uint256 maintenance;
    }

    struct State {
        Observation open;
        uint256 window;
    }

    IPriceOracle public immutable priceOracle;
    IVolatilityOracle public immutable volatilityOracle;
    IRiskParameters public immutable riskParameters;

    mapping(uint16 underlying => State[2]) private _states;

    constructor(IPriceOracle priceOracle_, IVolatilityOracle volatilityOracle_, IRiskParameters riskParameters_) {
        (priceOracle, volatilityOracle, riskParameters) = (priceOracle_, volatilityOracle_, riskParameters_);
    }

    /// @inheritdoc ICoverageMonitor
    function update(uint16 underlying, Horizon horizon, uint80 roundId) external {
        _update(_read(underlying), horizon, roundId);
    }

    /// @inheritdoc ICoverageMonitor
    function updateMany(Update[] calldata updates) external {
        Reading memory reading;
        for (uint256 i; i < updates.length; ++i) {
            if (updates[i].underlying != reading.underlying) reading = _read(updates[i].underlying);
            _update(reading, updates[i].horizon, updates[i].roundId);
        }
    }

    /// @inheritdoc ICoverageMonitor
    function observationOf(uint16 underlying, Horizon horizon) external view returns (Observation memory) {
        return _states[underlying][uint256(horizon)].open;
    }

    /// @inheritdoc ICoverageMonitor
    function windowOf(uint16 underlying, Horizon horizon) external view returns (uint256) {
        return _states[underlying][uint256(horizon)].window;
    }

    /// @inheritdoc ICoverageMonitor
    function statusOf(uint16 underlying, Horizon horizon)
        external
        view
        returns (uint256 observations, uint256 exceptions, uint256 multiplier, uint256 dueAt)
    {
        State storage state = _states[underlying][uint256(horizon)];
        uint256 window = state.window;
        return (
            TrafficLight.observations(window),
            TrafficLight.exceptions(window),
            TrafficLight.multiplierUp(window),
            _dueAt(state.open)
        );
    }

    // ─── One observation

    function _read(uint16 underlying) private view returns (Reading memory reading) {
        reading.underlying = underlying;
        address feed;
        uint256 age;
        (reading.price, age, reading.latest, feed) = priceOracle.latest(underlying);
        reading.at = block.timestamp - age;
        reading.source = uint32(uint256(keccak256(abi.encode(feed, reading.latest >> PHASE_SHIFT))));
        (reading.live, reading.maintenance,,,) = volatilityOracle.levels(underlying);
    }

    function _update(Reading memory reading, Horizon horizon, uint80 roundId) private {
        State storage state = _states[reading.underlying][uint256(horizon)];
        Observation memory open = state.open;
        if (open.price != 0) {
            if (open.source == reading.source) _close(state, open, reading, horizon, roundId);
            else emit ObservationDropped(reading.underlying, horizon, _dueAt(open));
        }

        (uint256 deviation, uint256 time) = _tested(reading, horizon);
        // A price is at most a billion dollars, its age at most seven days, tail and level each below 2148: all of them fit.
        open = Observation(
            uint96(reading.price),
            uint40(reading.at),
            uint32(time + block.timestamp - reading.at),
            uint56(deviation),
            reading.source
        );
        state.open = open;
        emit ObservationOpened(reading.underlying, horizon, reading.price, _dueAt(open), deviation);
    }

    /// @dev Compares, counts, and sets the multiplier if it is another.
    function _close(
        State storage state,
        Observation memory open,
        Reading memory reading,
        Horizon horizon,
        uint80 roundId
    ) private {
        uint16 underlying = reading.underlying;
        (uint256 price, uint256 updatedAt) = _prove(reading, _dueAt(open), roundId);
        uint256 range = RiskMath.rangeUp(open.deviation * NANO, MILLION, updatedAt - open.at);
        // |p / p₀ − 1| > range; a price has 90 bits, a range 2^23 wad over a year and 2^33 at the very most.
        bool isException = FixedPoint.dist(price, open.price) * WAD > range * open.price;

        uint256 window = state.window;
        uint256 multiplier = TrafficLight.multiplierUp(window);
        window = TrafficLight.record(window, isException);
        state.window = window;
        emit ObservationClosed(underlying, horizon, roundId, price, range, isException, TrafficLight.exceptions(window));
        if (TrafficLight.multiplierUp(window) != multiplier) {
            State[2] storage states = _states[underlying];
            riskParameters.setCoverage(
                underlying,
                uint32(TrafficLight.multiplierUp(states[uint256(Horizon.INITIAL)].window)),
                uint32(TrafficLight.multiplierUp(states[uint256(Horizon.MAINTENANCE)].window))
            );
        }
    }

    /// @dev The round's price and time, if it is the first usable one of the latest phase at or after the time due. The observation
    /// opened in that phase.
    function _prove(Reading memory reading, uint256 dueAt, uint80 roundId)
        private
        view
        returns (uint256 price, uint256 updatedAt)
    {
        uint16 underlying = reading.underlying;
        // Prompt callers close with the latest round, which has been read, and has passed more checks than `round` makes.
        bool ok = roundId == reading.latest;
        if (ok) (price, updatedAt) = (reading.price, reading.at);
        else (ok, price, updatedAt) = priceOracle.round(underlying, roundId);
        if (!ok || updatedAt < dueAt || roundId >> PHASE_SHIFT != reading.latest >> PHASE_SHIFT) {
            revert CoverageMonitorWrongRound(underlying, roundId, updatedAt, dueAt);
        }
        // To the last usable round before it, as a rule the very next, or to the start of the phase.
        for (uint80 earlier = roundId - 1; uint64(earlier) != 0; --earlier) {
            (bool usable,, uint256 before) = priceOracle.round(underlying, earlier);
            if (!usable) continue;
            if (before >= dueAt) revert CoverageMonitorNotFirst(underlying, roundId, earlier);
            break;
        }
    }

    /// @return deviation z·σ of the horizon now, rounded up [1e-9]. @return time The horizon, seconds.
    function _tested(Reading memory reading, Horizon horizon) private view returns (uint256 deviation, uint256 time) {
        bool initial = horizon == Horizon.INITIAL;
        (int256 tail, int256 seconds_) = riskParameters.testedOf(reading.underlying, initial);
        if (tail <= 0 || seconds_ <= 0) revert CoverageMonitorNotCalibrated(reading.underlying);
        deviation = FixedPoint.divUp((initial ? reading.live : reading.maintenance) * uint256(tail), DEVIATION_UNIT);
        time = uint256(seconds_);
    }

    /// @dev 0 where none is open.
    function _dueAt(Observation memory open) private pure returns (uint256) {
        return uint256(open.at) + open.wait;
    }
}
