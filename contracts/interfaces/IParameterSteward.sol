// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "../types/Field.sol";
import { Requirements } from "../types/Margin.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";
import { IReferenceMargin } from "./IReferenceMargin.sol";

/// @title IParameterSteward
/// @notice Lets a calibrator move parameters: in small steps, no further than a budget in a window of time, with no more effect on
/// reference portfolios than their limits, tightening at once, loosening after a delay in which a guardian may veto. What
/// lies outside goes through governance.
interface IParameterSteward {
    /// @notice How far and how often a field may be moved. Steps and budgets: millionths of a value's size, and never less than one
    /// unit, or the field's own unit when `absolute`; 0 for none.
    /// @param stepUp Largest rise, of the present value. @param stepDown Largest fall.
    /// @param minimumInterval Seconds between two changes of the same number, at least 1.
    /// @param absolute Whether they are in the field's unit (correlations) or relative to the value.
    /// @param budgetUp Furthest above the value that a window began with. @param budgetDown Furthest below it.
    /// @param window Seconds. A window begins with the first change after the one before has ended. In any time as long as a window
    /// a number rises by at most two budgets up and one down (from the foot of one window to the top of the next), and falls
    /// likewise; where only one way is pushed, by two.
    struct Limits {
        uint32 stepUp;
        uint32 stepDown;
        uint32 minimumInterval;
        bool absolute;
        uint32 budgetUp;
        uint32 budgetDown;
        uint32 window;
    }

    /// @notice One line of a reference portfolio, in parts of its notional of 100,000 dollars.
    /// @param kind 0 collateral, 1 perpetual, 2 call, 3 put.
    /// @param size Units of the underlying worth so many millionths of the notional at the index price; negative for short.
    /// @param strike Millionths of the index price; 0 but for options.
    /// @param tenor Seconds to expiry; 0 but for options.
    struct Leg {
        uint8 kind;
        int32 size;
        uint32 strike;
        uint32 tenor;
    }

    /// @param name Short text, left-aligned: what a refusal calls it.
    /// @param maximumRise Of either requirement by all that is pushed and executed in a window of half a day, millionths.
    /// @param maximumFall Likewise.
    struct Reference {
        bytes32 name;
        uint16 underlying;
        uint32 maximumRise;
        uint32 maximumFall;
        Leg[] legs;
    }

    /// @notice A bundle that waits.
    /// @param bundle Hash of its changes and provenance; 0 for none.
    /// @param readyAt From when it may be executed. @param expiresAt Until when.
    struct Pending {
        bytes32 bundle;
        uint40 readyAt;
        uint40 expiresAt;
    }

    event LimitsSet(Field indexed field, Limits limits);
    event MarketSet(bytes32 market);
    event ReferenceMarginSet(IReferenceMargin referenceMargin);
    event LooseningDelaySet(uint32 delay);
    event ReferenceSet(uint256 indexed index, Reference portfolio);
    event FieldFrozen(Field indexed field, bool frozen);
    event MarketFrozen(uint16 indexed underlying, bool frozen);
    event BundleScheduled(
        bytes32 indexed bundle,
        bytes32 indexed report,
        address indexed calibrator,
        uint40 readyAt,
        ParameterChange[] changes,
        Provenance provenance
    );
    event BundleVetoed(bytes32 indexed bundle, address indexed guardian);
    event ParametersPushed(bytes32 indexed report, address indexed sender, uint256 changes);

    /// @notice The field has no limits, so the steward may not move it.
    error ParameterStewardNotAllowed(Field field);
    /// @notice The number was never set: its first value comes from governance.
    error ParameterStewardNotInitialised(Field field, uint16 underlying, uint16 other);
    /// @notice Steps need an interval, a window and budgets, or they would compound without end.
    error ParameterStewardBadLimits(Field field);
    /// @notice The value is further from the present one than a step.
    error ParameterStewardStep(
        Field field, uint16 underlying, uint16 other, int256 previous, int256 value, uint256 step
    );
    /// @notice The value is outside what the window that ends at `endsAt` leaves.
    error ParameterStewardBudget(
        Field field, uint16 underlying, uint16 other, int256 value, int256 minimum, int256 maximum, uint256 endsAt
    );
    /// @notice The number was moved less than the minimum interval ago.
    error ParameterStewardTooSoon(Field field, uint16 underlying, uint16 other, uint256 allowedAt);
    /// @notice The change lowers margin: schedule it.
    error ParameterStewardLoosens(Field field, uint16 underlying, uint16 other, int256 previous, int256 value);
    /// @notice A guardian has frozen the field or the market.
    error ParameterStewardFrozen(Field field, uint16 underlying);
    /// @notice The same number stands twice in the bundle.
    error ParameterStewardDuplicate(Field field, uint16 underlying, uint16 other);
    /// @notice A reference portfolio would need that much more or less: together with what was pushed before in half a day, more
    /// than it may.
    error ParameterStewardImpact(bytes32 name, Requirements previous, Requirements next);
    /// @notice The report was made from another market's data.
    error ParameterStewardWrongMarket(bytes32 expected, bytes32 actual);
    /// @notice A bundle must say what report and what data it comes from.
    error ParameterStewardNoProvenance();
    /// @notice No such bundle waits.
    error ParameterStewardNotPending(bytes32 bundle);
    /// @notice It may be executed from `readyAt` to `expiresAt`.
    error ParameterStewardNotReady(uint256 readyAt, uint256 expiresAt);
    error ParameterStewardBadDelay(uint32 delay);
    error ParameterStewardBadReference(uint256 index, string reason);

    /// @notice Move parameters within the limits, all or nothing, none of them so that margin falls (ParameterStewardLoosens). Restricted
    /// to calibrators. A change to the value a number already has is no move: it is allowed at any time and does not start
    /// the interval again; a bundle of such changes, or of none, still says that the calibration is alive.
    function push(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Announce a bundle that lowers margin. Restricted to calibrators. Only one waits at a time: another takes its place.
    /// Limits are checked now, as they will be once the delay is over, and again when it is executed.
    function schedule(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Apply the bundle that waits, in its time. Anyone may.
    function execute(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Drop the bundle that waits. Restricted to guardians.
    function veto() external;

    /// @notice Let nobody but governance move the field, or a market's numbers. Restricted to guardians.
    function freezeField(Field field) external;

    function freezeMarket(uint16 underlying) external;

    /// @notice Restricted to governance.
    function unfreezeField(Field field) external;

    function unfreezeMarket(uint16 underlying) external;

    /// @notice Range a number may be moved to: step, budget and absolute bounds together. Reverts as a push of it would where the
    /// field has no limits or the number was never set. Empty (minimum above maximum) where the present value is further
    /// outside its bounds than a step, or frozen.
    /// @return minimum Lowest value allowed.
    /// @return maximum Highest value allowed.
    /// @return allowedAt Earliest time it may be moved.
    function allowed(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 minimum, int256 maximum, uint256 allowedAt);

    /// @notice What a window leaves of a number.
    /// @return anchor The value it began with.
    /// @return endsAt 0 where none runs.
    function windowOf(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 anchor, uint256 endsAt);

    function limitsOf(Field field) external view returns (Limits memory);

    function pending() external view returns (Pending memory);

    function isFrozen(Field field, uint16 underlying) external view returns (bool);

    function references() external view returns (Reference[] memory);

    /// @notice The reference portfolios' requirements now, in the order of `references`, with ramps and age as they are.
    function requirements() external view returns (Requirements[] memory);

    /// @notice By how much what was pushed in the running window of half a day has multiplied a reference portfolio's requirements.
    /// @return initial The initial one [wad].
    /// @return maintenance The maintenance one [wad].
    /// @return endsAt When the window ends; 0 where none runs.
    function effectOf(uint256 index) external view returns (uint256 initial, uint256 maintenance, uint256 endsAt);

    function looseningDelay() external view returns (uint32);

    /// @notice Name (hashed) of the market whose reports are accepted.
    function market() external view returns (bytes32);

    /// @notice Set a field's limits; both steps 0 to take the field away from the steward. Restricted to governance.
    function setLimits(Field field, Limits calldata limits) external;

    /// @notice Set which market's reports are accepted. Restricted to governance.
    function setMarket(bytes32 market) external;

    /// @notice Set what margins the reference portfolios. Restricted to governance.
    function setReferenceMargin(IReferenceMargin referenceMargin) external;

    /// @notice Seconds between the announcement and the earliest execution, an hour to 14 days. Restricted to governance.
    function setLooseningDelay(uint32 delay) external;

    /// @notice Set a reference portfolio, at the end of the list for a new one; without legs it is taken out, and the last one takes
    /// its place. Restricted to governance.
    function setReference(uint256 index, Reference calldata portfolio) external;
}
