// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { IParameterSteward } from "../interfaces/IParameterSteward.sol";
import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { Field } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";

/// @title ParameterSteward
/// @notice Lets a calibrator move parameters in small steps (BOUNDS). Absolute bounds, scopes and the consistency of the
/// numbers with each other are checked by RiskParameters itself.
contract ParameterSteward is IParameterSteward, AccessManaged {
    /// @dev What is remembered of one number.
    /// @param movedAt When the steward last moved it; 0 for never.
    /// @param bundle The last bundle it stood in.
    struct Record {
        uint64 movedAt;
        uint64 bundle;
    }

    uint256 private constant MILLION = 1e6;

    IRiskParameters public immutable riskParameters;
    /// @inheritdoc IParameterSteward
    bytes32 public market;

    uint64 private _bundles;
    mapping(Field => Limits) private _limits;
    /// @dev Key: field · 2^32 + underlying · 2^16 + other.
    mapping(uint256 key => Record) private _records;

    constructor(address authority, IRiskParameters riskParameters_) AccessManaged(authority) {
        riskParameters = riskParameters_;
    }

    /// @inheritdoc IParameterSteward
    function push(ParameterChange[] calldata changes, Provenance calldata provenance) external restricted {
        if (changes.length == 0) revert ParameterStewardEmptyBundle();
        if (provenance.report == 0 || provenance.data == 0) revert ParameterStewardNoProvenance();
        // No market set is no market accepted.
        if (market == 0 || provenance.market != market) revert ParameterStewardWrongMarket(market, provenance.market);
        uint64 bundle = ++_bundles;
        for (uint256 i; i < changes.length; ++i) {
            _admit(changes[i], bundle);
        }
        emit ParametersPushed(provenance.report, msg.sender, changes.length);
        riskParameters.applyBundle(changes, provenance);
    }

    /// @inheritdoc IParameterSteward
    function allowed(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 minimum, int256 maximum, uint256 allowedAt)
    {
        (int256 previous, uint256 up, uint256 down) = _steps(field, underlying, other);
        IRiskParameters.Bounds memory bounds = riskParameters.boundsOf(field);
        minimum = FixedPoint.max(previous - int256(down), bounds.minimum);
        maximum = FixedPoint.min(previous + int256(up), bounds.maximum);
        allowedAt = _allowedAt(field, _records[_key(field, underlying, other)].movedAt);
    }

    /// @inheritdoc IParameterSteward
    function limitsOf(Field field) external view returns (Limits memory) {
        return _limits[field];
    }

    /// @inheritdoc IParameterSteward
    function setLimits(Field field, Limits calldata limits) external restricted {
        if (limits.minimumInterval == 0 && (limits.stepUp != 0 || limits.stepDown != 0)) {
            revert ParameterStewardBadLimits(field);
        }
        _limits[field] = limits;
        emit LimitsSet(field, limits);
    }

    /// @inheritdoc IParameterSteward
    function setMarket(bytes32 market_) external restricted {
        market = market_;
        emit MarketSet(market_);
    }

    /// @dev Check one change against the limits and remember it.
    function _admit(ParameterChange calldata change, uint64 bundle) private {
        (Field field, uint16 underlying, uint16 other) = (change.field, change.underlying, change.other);
        (int256 previous, uint256 up, uint256 down) = _steps(field, underlying, other);
        uint256 key = _key(field, underlying, other);
        Record memory record = _records[key];
        if (record.bundle == bundle) revert ParameterStewardDuplicate(field, underlying, other);
        record.bundle = bundle;
        int256 value = change.value;
        if (value != previous) {
            uint256 allowedAt = _allowedAt(field, record.movedAt);
            if (block.timestamp < allowedAt) revert ParameterStewardTooSoon(field, underlying, other, allowedAt);
            uint256 step = value > previous ? up : down;
            if (FixedPoint.dist(value, previous) > step) {
                revert ParameterStewardStep(field, underlying, other, previous, value, step);
            }
            record.movedAt = uint64(block.timestamp);
        }
        _records[key] = record;
    }

    /// @dev A number's present value, and how far it may be moved up and down from it.
    function _steps(Field field, uint16 underlying, uint16 other)
        private
        view
        returns (int256 previous, uint256 up, uint256 down)
    {
        Limits memory limits = _limits[field];
        if (limits.stepUp == 0 && limits.stepDown == 0) revert ParameterStewardNotAllowed(field);
        if (!riskParameters.isSet(field, underlying, other)) {
            revert ParameterStewardNotInitialised(field, underlying, other);
        }
        previous = riskParameters.get(field, underlying, other);
        (up, down) = (limits.stepUp, limits.stepDown);
        if (!limits.absolute) (up, down) = (_relative(previous, up), _relative(previous, down));
    }

    /// @dev A relative step in the field's unit, rounded down but never to nothing, or a small integer could not move at all.
    function _relative(int256 value, uint256 millionths) private pure returns (uint256) {
        if (millionths == 0) return 0;
        return FixedPoint.max(FixedPoint.abs(value) * millionths / MILLION, 1);
    }

    function _allowedAt(Field field, uint256 movedAt) private view returns (uint256) {
        return movedAt == 0 ? 0 : movedAt + _limits[field].minimumInterval;
    }

    function _key(Field field, uint16 underlying, uint16 other) private pure returns (uint256) {
        return uint256(field.id()) << 32 | uint256(underlying) << 16 | other;
    }
}
