// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { VolatilitySurface } from "../libraries/VolatilitySurface.sol";
import { Field, FieldLibrary as Fields } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";

/// @title RiskParameters
/// @notice The calibrated numbers, eight to a word, each within absolute bounds (BOUNDS).
contract RiskParameters is IRiskParameters, AccessManaged {
    uint256 private constant LEVEL_SLOT = 0;
    uint256 private constant OPEN_INTEREST_SLOT = 1;
    uint256 private constant BRACKET_SLOT = 2;
    uint256 private constant SURFACE_SLOT = 3;
    int256 private constant ONE = 1e6;

    mapping(Field => Bounds) private _bounds;
    /// @dev Key: underlying · 2^24 + other · 2^8 + slot.
    mapping(uint256 key => uint256) private _words;
    /// @dev Same key; bit n says that lane n has been set.
    mapping(uint256 key => uint256) private _setLanes;

    Provenance private _provenance;
    uint64 private _appliedAt;
    uint64 private _count;
    /// @inheritdoc IRiskParameters
    uint64 public changedAt;

    constructor(address authority) AccessManaged(authority) { }

    /// @inheritdoc IRiskParameters
    function applyBundle(ParameterChange[] calldata changes, Provenance calldata provenance) external restricted {
        bool changed;
        for (uint256 i; i < changes.length; ++i) {
            if (_set(changes[i])) changed = true;
        }
        // Only after the whole bundle: a bundle may move both sides of an order at once.
        for (uint256 i; i < changes.length; ++i) {
            _requireConsistent(changes[i].field.slot(), changes[i].underlying, changes[i].other);
        }
        _requireArbitrageFree(changes);
        _provenance = provenance;
        _appliedAt = uint64(block.timestamp);
        if (changed) changedAt = uint64(block.timestamp);
        ++_count;
        emit BundleApplied(
            provenance.report,
            provenance.data,
            provenance.market,
            provenance.modelVersion,
            provenance.coverage,
            msg.sender,
            changes.length
        );
    }

    /// @inheritdoc IRiskParameters
    function setBounds(Field field, Bounds calldata bounds) external restricted {
        if (bounds.minimum > bounds.maximum) revert RiskParametersBadBounds(field, bounds.minimum, bounds.maximum);
        _bounds[field] = bounds;
        emit BoundsSet(field, bounds.minimum, bounds.maximum);
    }

    /// @inheritdoc IRiskParameters
    function get(Field field, uint16 underlying, uint16 other) external view returns (int256) {
        return field.read(_words[_key(field.slot(), underlying, other)]);
    }

    /// @inheritdoc IRiskParameters
    function isSet(Field field, uint16 underlying, uint16 other) external view returns (bool) {
        return _setLanes[_key(field.slot(), underlying, other)] & field.laneBit() != 0;
    }

    /// @inheritdoc IRiskParameters
    function boundsOf(Field field) external view returns (Bounds memory) {
        return _bounds[field];
    }

    /// @inheritdoc IRiskParameters
    function wordsOf(uint16 underlying) external view returns (uint256 word, uint256 word1) {
        return (_words[_key(0, underlying, 0)], _words[_key(1, underlying, 0)]);
    }

    /// @inheritdoc IRiskParameters
    function snapshot(uint16[] calldata underlyings, bool options)
        external
        view
        returns (uint256 common, uint256[] memory words, uint256[] memory pairs)
    {
        uint256 n = underlyings.length;
        common = _words[_key(Fields.COMMON_SLOT, 0, 0)];
        words = new uint256[](n * Fields.SLOTS_PER_UNDERLYING);
        pairs = new uint256[](n == 0 ? 0 : n * (n - 1) / 2);
        uint256 pair;
        for (uint256 i; i < n; ++i) {
            uint16 underlying = underlyings[i];
            // A pair in the wrong order has no word, and its correlation would silently be zero.
            if (i > 0 && underlying <= underlyings[i - 1]) {
                revert RiskParametersWrongScope(Fields.CORRELATION_LOW, underlyings[i - 1], underlying);
            }
            _readWords(underlying, options ? Fields.SLOTS_PER_UNDERLYING : SURFACE_SLOT, words, i);
            for (uint256 j = i + 1; j < n; ++j) {
                pairs[pair++] = _words[_key(Fields.PAIR_SLOT, underlying, underlyings[j])];
            }
        }
    }

    /// @inheritdoc IRiskParameters
    function latest() external view returns (Provenance memory provenance, uint64 at, uint64 count) {
        return (_provenance, _appliedAt, _count);
    }

    /// @return Whether it is another number than before.
    function _set(ParameterChange calldata change) private returns (bool) {
        (Field field, uint16 underlying, uint16 other) = (change.field, change.underlying, change.other);
        Bounds memory bounds = _bounds[field];
        if (bounds.minimum == 0 && bounds.maximum == 0) revert RiskParametersUnknownField(field);
        if (change.value < bounds.minimum || change.value > bounds.maximum) {
            revert RiskParametersOutOfBounds(field, change.value, bounds.minimum, bounds.maximum);
        }
        uint256 slot = field.slot();
        bool fits = slot < Fields.COMMON_SLOT
            ? underlying != 0 && other == 0
            : slot == Fields.COMMON_SLOT ? underlying == 0 && other == 0 : underlying != 0 && underlying < other;
        if (!fits) revert RiskParametersWrongScope(field, underlying, other);

        uint256 key = _key(slot, underlying, other);
        uint256 word = _words[key];
        int256 previous = field.read(word);
        _setLanes[key] |= field.laneBit();
        if (previous == change.value) return false;
        _words[key] = field.write(word, change.value);
        emit ParameterChanged(field, underlying, other, previous, change.value);
        return true;
    }

    /// @dev The first `slots` words of the underlying that stands at `place` in a snapshot.
    function _readWords(uint16 underlying, uint256 slots, uint256[] memory words, uint256 place) private view {
        for (uint256 slot; slot < slots; ++slot) {
            words[place * Fields.SLOTS_PER_UNDERLYING + slot] = _words[_key(slot, underlying, 0)];
        }
    }

    /// @dev What the numbers of a scope must satisfy together.
    function _requireConsistent(uint256 slot, uint16 underlying, uint16 other) private view {
        uint256 word = _words[_key(slot, underlying, other)];
        if (slot == LEVEL_SLOT) {
            _requireOrdered(Fields.VOLATILITY_FLOOR, Fields.VOLATILITY_STRESS, word, underlying, other);
            _requireOrdered(Fields.VOLATILITY_STRESS, Fields.VOLATILITY_CAP, word, underlying, other);
        } else if (slot == OPEN_INTEREST_SLOT) {
            _requireOrdered(Fields.OPEN_INTEREST_LOWER, Fields.OPEN_INTEREST_UPPER, word, underlying, other);
            int256 scale = Fields.OPEN_INTEREST_SCALE.read(word);
            if (scale < ONE && Fields.OPEN_INTEREST_UPPER.read(word) != 0) {
                int256 maximum = _bounds[Fields.OPEN_INTEREST_SCALE].maximum;
                revert RiskParametersOutOfBounds(Fields.OPEN_INTEREST_SCALE, scale, ONE, maximum);
            }
        } else if (slot == BRACKET_SLOT) {
            _requireOrdered(Fields.TIER_RATE_1, Fields.TIER_RATE_2, word, underlying, other);
            _requireOrdered(Fields.TIER_RATE_2, Fields.TIER_RATE_3, word, underlying, other);
            _requireOrdered(Fields.TIER_RATE_3, Fields.TIER_RATE_4, word, underlying, other);
            _requireOrdered(Fields.TIER_NOTIONAL_1, Fields.TIER_NOTIONAL_2, word, underlying, other);
            _requireOrdered(Fields.TIER_NOTIONAL_2, Fields.TIER_NOTIONAL_3, word, underlying, other);
        } else if (slot == Fields.COMMON_SLOT) {
            _requireOrdered(Fields.HORIZON_MAINTENANCE, Fields.HORIZON_INITIAL, word, underlying, other);
        } else if (slot == Fields.PAIR_SLOT) {
            _requireOrdered(Fields.CORRELATION_LOW, Fields.CORRELATION_HIGH, word, underlying, other);
        }
    }

    /// @dev Every surface that the bundle touched, by its shape or by the range of its level, once: the check is dear.
    function _requireArbitrageFree(ParameterChange[] calldata changes) private view {
        uint256[256] memory checked; // one bit an underlying
        for (uint256 i; i < changes.length; ++i) {
            uint16 underlying = changes[i].underlying;
            uint8 id = changes[i].field.id();
            // Of the levels, only between which the surface must be free of arbitrage.
            bool matters = id == Fields.VOLATILITY_FLOOR.id() || id == Fields.VOLATILITY_CAP.id();
            if (!matters && changes[i].field.slot() != SURFACE_SLOT) continue;
            if (checked[underlying >> 8] >> (underlying & 0xff) & 1 != 0) continue;
            checked[underlying >> 8] |= 1 << (underlying & 0xff);
            VolatilitySurface.requireArbitrageFree(
                underlying, _words[_key(LEVEL_SLOT, underlying, 0)], _words[_key(SURFACE_SLOT, underlying, 0)]
            );
        }
    }

    function _requireOrdered(Field smaller, Field larger, uint256 word, uint16 underlying, uint16 other) private pure {
        if (smaller.read(word) > larger.read(word)) {
            revert RiskParametersInconsistent(smaller, larger, underlying, other);
        }
    }

    function _key(uint256 slot, uint16 underlying, uint16 other) private pure returns (uint256) {
        return uint256(underlying) << 24 | uint256(other) << 8 | slot;
    }
}
