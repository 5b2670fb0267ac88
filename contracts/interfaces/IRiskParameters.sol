// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";

/// @title IRiskParameters
/// @notice The shape of margin: the calibrated numbers, each within absolute bounds (BOUNDS). Who may move them, how far
/// and how fast, is the ParameterSteward's business.
interface IRiskParameters {
    /// @notice Absolute limits of a field, in its own unit, both included; both 0 for a field that may not be set.
    struct Bounds {
        int32 minimum;
        int32 maximum;
    }

    event BoundsSet(Field indexed field, int32 minimum, int32 maximum);
    event ParameterChanged(
        Field indexed field, uint16 indexed underlying, uint16 indexed other, int256 previous, int256 value
    );
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

    /// @notice Apply a bundle, all of it or nothing. Restricted to the steward and to governance. After it the numbers must
    /// agree: floor ≤ stress ≤ cap of volatility, maintenance ≤ initial horizon, low ≤ high correlation, bracket rates and
    /// notionals rising, lower ≤ upper open interest and its scale at least one where there is an upper, and no arbitrage on
    /// the volatility surface, at the floor or at the cap, shocked or not (VolatilitySurface.requireArbitrageFree, whose
    /// errors are passed on). An underlying whose surface was never set has no options, and no surface to check.
    function applyBundle(ParameterChange[] calldata changes, Provenance calldata provenance) external;

    /// @notice Set a field's absolute bounds; both 0 to take the field away. Restricted to governance. Bounds hold for the
    /// field in every scope, so narrowing them does not move a value that is already outside: it binds the next change.
    function setBounds(Field field, Bounds calldata bounds) external;

    /// @notice A field's value, in its own unit; 0 if never set.
    function get(Field field, uint16 underlying, uint16 other) external view returns (int256);

    /// @notice Whether a number has ever been set, be it to 0.
    function isSet(Field field, uint16 underlying, uint16 other) external view returns (bool);

    /// @notice A field's absolute bounds.
    function boundsOf(Field field) external view returns (Bounds memory);

    /// @notice One underlying's words. @return word Slot 0. @return word1 Slot 1.
    function wordsOf(uint16 underlying) external view returns (uint256 word, uint256 word1);

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

    /// @notice When a bundle last changed a number, unix seconds. One that changes none does not count: it would cost nothing,
    /// and nobody is flagged in the block of a change.
    function changedAt() external view returns (uint64);

    /// @notice The last bundle's provenance, when it was applied and how many there have been.
    function latest() external view returns (Provenance memory provenance, uint64 at, uint64 count);
}
