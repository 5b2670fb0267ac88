// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { ICoverageMonitor } from "../interfaces/ICoverageMonitor.sol";
import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "../interfaces/IVolatilityOracle.sol";
import { RiskMath } from "../libraries/RiskMath.sol";
import { TrafficLight } from "../libraries/TrafficLight.sol";
import { FieldLibrary as Fields } from "../types/Field.sol";

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
        (uint256 price, uint256 age) = priceOracle.price(underlying);
        uint80 latest = priceOracle.latestRound(underlying);
        uint32 source = _sourceOf(underlying, latest);
        State storage state = _states[underlying][uint256(horizon)];
        Observation memory open = state.open;
        if (open.price != 0) {
            if (open.source == source) _close(state, open, underlying, horizon, roundId, latest);
            else emit ObservationDropped(underlying, horizon, _dueAt(open));
        }

        (uint256 deviation, uint256 time) = _tested(underlying, horizon);
        // A price is at most a billion dollars, its age at most seven days, tail and level each below 2148: all of them fit.
        open = Observation(uint96(price), uint40(block.timestamp - age), uint32(time + age), uint56(deviation), source);
        state.open = open;
        emit ObservationOpened(underlying, horizon, price, _dueAt(open), deviation);
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

    /// @dev Compares, counts, and sets the multiplier if it is another.
    function _close(
        State storage state,
        Observation memory open,
        uint16 underlying,
        Horizon horizon,
        uint80 roundId,
        uint80 latest
    ) private {
        (uint256 price, uint256 updatedAt) = _prove(underlying, _dueAt(open), roundId, latest);
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
    function _prove(uint16 underlying, uint256 dueAt, uint80 roundId, uint80 latest)
        private
        view
        returns (uint256 price, uint256 updatedAt)
    {
        bool ok;
        (ok, price, updatedAt) = priceOracle.round(underlying, roundId);
        if (!ok || updatedAt < dueAt || roundId >> PHASE_SHIFT != latest >> PHASE_SHIFT) {
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
    function _tested(uint16 underlying, Horizon horizon) private view returns (uint256 deviation, uint256 time) {
        bool initial = horizon == Horizon.INITIAL;
        (uint256 live, uint256 maintenance,,,) = volatilityOracle.levels(underlying);
        int256 tail = riskParameters.get(initial ? Fields.TAIL_INITIAL : Fields.TAIL_MAINTENANCE, underlying, 0);
        int256 seconds_ = riskParameters.inForce(initial ? Fields.HORIZON_INITIAL : Fields.HORIZON_MAINTENANCE, 0, 0);
        if (tail <= 0 || seconds_ <= 0) revert CoverageMonitorNotCalibrated(underlying);
        deviation = FixedPoint.divUp((initial ? live : maintenance) * uint256(tail), DEVIATION_UNIT);
        time = uint256(seconds_);
    }

    /// @dev Tells feeds and their phases apart. Round ids and prices of one mean nothing in the other.
    function _sourceOf(uint16 underlying, uint80 latest) private view returns (uint32) {
        address feed = priceOracle.feedOf(underlying).feed;
        return uint32(uint256(keccak256(abi.encode(feed, latest >> PHASE_SHIFT))));
    }

    /// @dev 0 where none is open.
    function _dueAt(Observation memory open) private pure returns (uint256) {
        return uint256(open.at) + open.wait;
    }
}
