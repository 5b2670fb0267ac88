// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title ICoverageMonitor
/// @notice Margin's own backtest, kept by whoever cares to: did the price stay within the range?
///
/// An *observation* of an underlying and a horizon opens at the price and the calibrated range of the moment. It closes with the first round of
/// the price feed at or after the horizon, and with no other. If the price has moved further than the range, scaled by √time to the
/// time between the two rounds, that is an exception. Of the last 250 outcomes the exceptions are counted, and the Basel traffic light
/// multiplies the tail of that horizon in RiskParameters. The next observation opens at once: they never overlap.
interface ICoverageMonitor {
    enum Horizon {
        INITIAL,
        MAINTENANCE
    }

    /// @notice One slot.
    /// @param price Of the round it starts from [wad dollars]; 0 where none is open.
    /// @param at When that round was reported.
    /// @param wait Seconds from then to the horizon: the horizon, and how old the round was when the observation opened.
    /// @param deviation z·σ of the horizon when it opened, a year, rounded up: tail as pushed, level in force [1e-9].
    /// @param source Fingerprint of the price feed and its phase.
    struct Observation {
        uint96 price;
        uint40 at;
        uint32 wait;
        uint56 deviation;
        uint32 source;
    }

    /// @notice One call of `update`.
    struct Update {
        uint16 underlying;
        Horizon horizon;
        uint80 roundId;
    }

    /// @param dueAt A round at or after it closes the observation.
    /// @param deviation z·σ [1e-9].
    event ObservationOpened(
        uint16 indexed underlying, Horizon indexed horizon, uint256 price, uint256 dueAt, uint256 deviation
    );
    /// @param roundId The round it closed with. @param price Its price [wad dollars]. @param range How far it might have moved [wad].
    /// @param exceptions Of the last 250, with this one. @param isException Whether it moved further.
    event ObservationClosed(
        uint16 indexed underlying,
        Horizon indexed horizon,
        uint80 indexed roundId,
        uint256 price,
        uint256 range,
        bool isException,
        uint256 exceptions
    );
    /// @notice The underlying has another feed, or its feed another aggregator: nothing to compare with.
    event ObservationDropped(uint16 indexed underlying, Horizon indexed horizon, uint256 dueAt);

    /// @notice The round is missing, refused by the price oracle, of an earlier phase, or reported before the observation is due.
    error CoverageMonitorWrongRound(uint16 underlying, uint80 roundId, uint256 updatedAt, uint256 dueAt);
    /// @notice There is an earlier round at or after the time due.
    error CoverageMonitorNotFirst(uint16 underlying, uint80 roundId, uint80 earlier);
    /// @notice Tail or horizon have not been set.
    error CoverageMonitorNotCalibrated(uint16 underlying);

    /// @notice Close the open observation with the first round at or after it is due, set the multiplier if it changes, and open the next.
    /// Anyone may call, at any time: which round closes is the feed's doing. Where none is open, or the feed is another than when
    /// it opened, the next is opened and `roundId` not looked at.
    ///
    ///   - Without a price (PriceOracle.price reverts) there is no range in force, and this reverts: the observation waits for the feed,
    ///     and the time that it was silent counts in the range. So does that of a round that comes late for any other reason.
    ///   - Rounds that the price oracle refuses are passed over, one read for each.
    ///   - Time between the round that closes and the call is not observed: a call in the same block leaves none out.
    function update(uint16 underlying, Horizon horizon, uint80 roundId) external;

    /// @notice Several at once, for less gas each: all of them or none.
    function updateMany(Update[] calldata updates) external;

    /// @notice The open observation; all 0 where there is none.
    function observationOf(uint16 underlying, Horizon horizon) external view returns (Observation memory);

    /// @notice The outcomes as TrafficLight keeps them: newest in the lowest bit, a bit above the oldest.
    function windowOf(uint16 underlying, Horizon horizon) external view returns (uint256);

    /// @notice How a horizon stands.
    /// @return observations Outcomes in the window, 250 at most.
    /// @return exceptions Of these.
    /// @return multiplier What the tail is multiplied by [millionths].
    /// @return dueAt The next update needs a round at or after it; 0 where the next opens an observation, which may be at once.
    function statusOf(uint16 underlying, Horizon horizon)
        external
        view
        returns (uint256 observations, uint256 exceptions, uint256 multiplier, uint256 dueAt);
}
