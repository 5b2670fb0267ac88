// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Field } from "./Field.sol";

/// @notice One number to be set.
/// @param field Which.
/// @param underlying Whose: 0 for a common field, the smaller id for a pair.
/// @param other The larger id of a pair, otherwise 0.
/// @param value The new value, in the field's own unit.
struct ParameterChange {
    Field field;
    uint16 underlying;
    uint16 other;
    int32 value;
}

/// @notice Where a bundle of changes comes from, so that anybody can recompute it.
/// @param report keccak256 of the calibration report's bytes.
/// @param data Hash of the market data the report was computed from.
/// @param market keccak256 of the name of the market the report is for.
/// @param modelVersion Version of the calibration model.
/// @param coverage Share of out-of-sample moves inside the range, millionths.
struct Provenance {
    bytes32 report;
    bytes32 data;
    bytes32 market;
    uint32 modelVersion;
    uint32 coverage;
}
