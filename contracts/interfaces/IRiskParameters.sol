// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";
import { Ramp } from "../types/Ramp.sol";

/// @title IRiskParameters
/// @notice The shape of margin: the calibrated numbers, each within absolute bounds (BOUNDS). Who may move them, how far
/// and how fast, is the ParameterSteward's business.
interface IRiskParameters {
    /// @notice Absolute limits of a field, in its own unit, both included; both 0 for a field that may not be set.
    struct Bounds {
        int32 minimum;
        int32 maximum;
    }

    /// @notice What the chain's own backtest makes of the tails. Scales in millionths, at least one; tails as pushed.
    struct Coverage {
        uint32 initial;
        uint32 maintenance;
        int32 tailInitial;
        int32 tailMaintenance;
    }

    event BoundsSet(Field indexed field, int32 minimum, int32 maximum);
    event ParameterChanged(
        Field indexed field, uint16 indexed underlying, uint16 indexed other, int256 previous, int256 value
    );
    event CoverageSet(uint16 indexed underlying, uint32 initial, uint32 maintenance);
    event RampDurationSet(uint32 duration);
    event AgeScheduleSet(uint32 grace, uint32 rate, uint32 cap);
    event BundleApplied(
        bytes32 indexed report,
        bytes32 indexed data,
        bytes32 indexed market,
        uint32 modelVersion,
        uint32 coverage,
        address sender,
        uint256 changes
    );

    /// @notice The field has no bounds, so nothing may be set.
    error RiskParametersUnknownField(Field field);
    /// @notice The value is outside the field's absolute bounds, or outside what the other numbers leave of them.
    error RiskParametersOutOfBounds(Field field, int256 value, int256 minimum, int256 maximum);
    /// @notice The change names underlyings that do not fit the field's scope.
    error RiskParametersWrongScope(Field field, uint16 underlying, uint16 other);
    /// @notice Two fields contradict each other after the bundle: `smaller` must not exceed `larger`.
    error RiskParametersInconsistent(Field smaller, Field larger, uint16 underlying, uint16 other);
    /// @notice Bounds with minimum above maximum.
    error RiskParametersBadBounds(Field field, int256 minimum, int256 maximum);

    /// @notice After the bundle the matrix would not be positive definite, at that underlying.
    error RiskParametersNotPositiveDefinite(Field matrix, uint16 underlying);
    /// @notice Scales are from one to two.
    error RiskParametersBadCoverage(uint16 underlying, uint32 initial, uint32 maintenance);
    /// @notice A scaled tail does not fit its lane, or is negative.
    error RiskParametersTailTooLarge(int32 tail, uint32 scale);
    /// @notice A ramp takes 15 minutes to 7 days.
    error RiskParametersBadRamp(uint32 duration);
    /// @notice A grace of a day at least, and a cap from one to ten; and nothing that raises the multiplier of now.
    error RiskParametersBadAgeSchedule(uint32 grace, uint32 rate, uint32 cap);

    /// @notice Apply a bundle, all of it or nothing. Restricted to the steward and to governance. After it the numbers must
    /// agree: floor ≤ stress ≤ cap of volatility, maintenance ≤ initial horizon, low ≤ high correlation and both matrices positive
    /// definite over all underlyings, bracket rates and notionals rising, lower ≤ upper open interest and its scale at least one where there is an upper, and no arbitrage on
    /// the volatility surface, at the floor or at the cap, shocked or not (VolatilitySurface.requireArbitrageFree, whose
    /// errors are passed on). An underlying whose surface was never set has no options, and no surface to check.
    function applyBundle(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Set a field's absolute bounds; both 0 to take the field away. Restricted to governance. Bounds hold for the
    /// field in every scope, so narrowing them does not move a value that is already outside: it binds the next change.
    function setBounds(Field field, Bounds calldata bounds) external;

    /// @notice A field's value as it was pushed, in its own unit; 0 if never set.
    function get(Field field, uint16 underlying, uint16 other) external view returns (int256);

    /// @notice What margin works with now: with ramp, coverage and age. Of the levels of volatility (slot 0) it is what maintenance
    /// works with; initial margin works with what was pushed.
    function inForce(Field field, uint16 underlying, uint16 other) external view returns (int256);

    /// @notice Scale an underlying's tails, rounded up: the initial one at once, the maintenance one along a ramp. Restricted to the
    /// CoverageMonitor.
    function setCoverage(uint16 underlying, uint32 initial, uint32 maintenance) external;

    function coverageOf(uint16 underlying) external view returns (Coverage memory);

    /// @notice For the rest of the transaction, or until it is told otherwise, `snapshot` answers with what the ramps lead to, and as if
    /// the calibration were new. Restricted to the steward.
    function measureAtTarget(bool atTarget) external;

    /// @notice The way that the field's word is on, or was last.
    function rampOf(Field field, uint16 underlying, uint16 other) external view returns (Ramp memory);

    /// @notice Seconds a ramp takes that begins after this, 15 minutes to 7 days. Restricted to governance.
    function setRampDuration(uint32 duration) external;

    /// @notice From `grace` seconds after the last bundle with a report, the multiplier rises by `rate` millionths a day up to `cap`.
    /// Restricted to governance.
    function setAgeSchedule(uint32 grace, uint32 rate, uint32 cap) external;

    /// @notice What the coverage of a range is tested with: the tail as pushed, and the horizon in force.
    /// @return tail [millionths] @return horizon [seconds]
    function testedOf(uint16 underlying, bool initial) external view returns (int256 tail, int256 horizon);

    /// @notice By how much age has multiplied the multiplier, millionths.
    function ageMultiplier() external view returns (uint256);

    /// @notice When the calibration is from, and the schedules in force.
    function status()
        external
        view
        returns (uint256 calibratedAt, uint256 rampDuration, uint256 grace, uint256 ageRate, uint256 ageCap);

    /// @notice Every underlying that has numbers.
    function underlyings() external view returns (uint16[] memory);

    /// @notice Whether a number has ever been set, be it to 0.
    function isSet(Field field, uint16 underlying, uint16 other) external view returns (bool);

    /// @notice A field's absolute bounds.
    function boundsOf(Field field) external view returns (Bounds memory);

    /// @notice What levels and volumes rest on.
    /// @return live Slot 0 as pushed, for the live level and initial margin.
    /// @return maintenance Slot 0 along its ramp, for maintenance and marks.
    /// @return word1 Slot 1 along its ramp.
    function levelWordsOf(uint16 underlying) external view returns (uint256 live, uint256 maintenance, uint256 word1);

    /// @notice All that margin over these underlyings needs, in one call.
    /// @param underlyings Ids, strictly rising; anything else reverts with RiskParametersWrongScope.
    /// @param options Whether the volatility surfaces (slot 3) are needed; if not, their words are left 0 and not read.
    /// @return common The word common to all.
    /// @return words Four words an underlying (slots 0–3), in the same order.
    /// @return pairs One word a pair, in the order (0,1), (0,2), …, (1,2), …
    function snapshot(uint16[] calldata underlyings, bool options)
        external
        view
        returns (uint256 common, uint256[] memory words, uint256[] memory pairs);

    /// @notice The last bundle's provenance, when it was applied and how many there have been.
    function latest() external view returns (Provenance memory provenance, uint64 at, uint64 count);
}
