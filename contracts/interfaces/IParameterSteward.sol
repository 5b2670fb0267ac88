// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";

/// @title IParameterSteward
/// @notice Lets a calibrator move parameters in small steps. What lies outside goes through governance.
interface IParameterSteward {
    /// @notice How far and how often a field may be moved.
    /// @param stepUp Largest rise: millionths of the present value's size, and never less than one unit, or the field's
    /// own unit when `absolute`; 0 for no rise.
    /// @param stepDown Largest fall, likewise.
    /// @param minimumInterval Seconds between two changes of the same number, at least 1.
    /// @param absolute Whether steps are in the field's unit (correlations) or relative to the value.
    struct Limits {
        uint32 stepUp;
        uint32 stepDown;
        uint32 minimumInterval;
        bool absolute;
    }

    event LimitsSet(Field indexed field, Limits limits);
    event MarketSet(bytes32 market);
    event ParametersPushed(bytes32 indexed report, address indexed calibrator, uint256 changes);

    /// @notice The bundle is empty.
    error ParameterStewardEmptyBundle();
    /// @notice The field has no limits, so the steward may not move it.
    error ParameterStewardNotAllowed(Field field);
    /// @notice The number was never set: its first value comes from governance.
    error ParameterStewardNotInitialised(Field field, uint16 underlying, uint16 other);
    /// @notice Steps without an interval would compound within a block.
    error ParameterStewardBadLimits(Field field);
    /// @notice The value is further from the present one than a step.
    error ParameterStewardStep(
        Field field, uint16 underlying, uint16 other, int256 previous, int256 value, uint256 step
    );
    /// @notice The number was moved less than the minimum interval ago.
    error ParameterStewardTooSoon(Field field, uint16 underlying, uint16 other, uint256 allowedAt);
    /// @notice The same number stands twice in the bundle.
    error ParameterStewardDuplicate(Field field, uint16 underlying, uint16 other);
    /// @notice The report was made from another market's data.
    error ParameterStewardWrongMarket(bytes32 expected, bytes32 actual);
    /// @notice A bundle must say what report and what data it comes from.
    error ParameterStewardNoProvenance();

    /// @notice Move parameters within the limits, all or nothing. Restricted to calibrators. A change to the value a number
    /// already has is no move: it is allowed at any time and does not start the interval again.
    function push(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Range a number may be moved to: steps and absolute bounds together. Reverts as a push of it would where the
    /// field has no limits or the number was never set. Empty (minimum above maximum) where the present value is further
    /// outside its bounds than a step.
    /// @return minimum Lowest value allowed.
    /// @return maximum Highest value allowed.
    /// @return allowedAt Earliest time it may be moved.
    function allowed(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 minimum, int256 maximum, uint256 allowedAt);

    /// @notice A field's limits.
    function limitsOf(Field field) external view returns (Limits memory);

    /// @notice Name (hashed) of the market whose reports are accepted.
    function market() external view returns (bytes32);

    /// @notice Set a field's limits; both steps 0 to take the field away from the steward. Restricted to governance.
    function setLimits(Field field, Limits calldata limits) external;

    /// @notice Set which market's reports are accepted. Restricted to governance.
    function setMarket(bytes32 market) external;
}
