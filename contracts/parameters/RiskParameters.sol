// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { PositiveDefinite } from "../libraries/PositiveDefinite.sol";
import { VolatilitySurface } from "../libraries/VolatilitySurface.sol";
import { Field, FieldLibrary as Fields } from "../types/Field.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";
import { Ramp } from "../types/Ramp.sol";

/// @title RiskParameters
/// @notice The calibrated numbers, eight to a word, each within absolute bounds (BOUNDS).
///
/// A number is *pushed*, then goes to what was pushed along a ramp, and is multiplied by what the chain's own backtest says of it
/// (coverage) and by what the age of the calibration says (age). What that comes to is *in force*. Numbers of initial margin
/// alone know no ramp: they call for margin and liquidate nobody. So in the block of a push no maintenance requirement
/// rises and no option is worth anything else (PUSH). Two things are outside of it: the first value that a number ever gets, which
/// governance sets before there is anybody to liquidate; and a maintenance requirement that only the initial one holds down
/// (MarginCalculator), which moves with it.
contract RiskParameters is IRiskParameters, AccessManaged {
    uint256 private constant LEVEL_SLOT = 0;
    uint256 private constant OPEN_INTEREST_SLOT = 1;
    uint256 private constant BRACKET_SLOT = 2;
    uint256 private constant SURFACE_SLOT = 3;
    int256 private constant ONE = 1e6;
    uint256 private constant MILLION = 1e6;
    int256 private constant MILLIONTH = 1e12;
    uint256 private constant DAY = 1 days;
    uint256 private constant MAXIMUM_COVERAGE = 2e6;

    /// @dev All that a margin check needs beside the words, in one slot.
    /// @param calibratedAt When the last bundle with a report was applied; 0 for never.
    /// @param rampsEndAt When the last ramp ends.
    /// @param rampingSlots One bit a slot: those of which a word of any scope is on its way until then.
    /// @param rampDuration Seconds a ramp takes that begins now.
    /// @param grace Age up to which the numbers are as good as new, seconds.
    /// @param ageRate What is added to the multiplier for every day beyond, millionths.
    /// @param ageCap Most the multiplier of age comes to, millionths.
    struct Status {
        uint40 calibratedAt;
        uint40 rampsEndAt;
        uint16 rampingSlots;
        uint32 rampDuration;
        uint32 grace;
        uint32 ageRate;
        uint32 ageCap;
    }

    mapping(Field => Bounds) private _bounds;
    /// @dev What the ramps lead to. Key: underlying · 2^24 + other · 2^8 + slot.
    mapping(uint256 key => uint256) private _words;
    /// @dev Same key.
    mapping(uint256 key => Ramp) private _ramps;
    /// @dev Same key; bit n says that lane n has been set.
    mapping(uint256 key => uint256) private _setLanes;
    mapping(uint16 underlying => Coverage) private _coverages;
    /// @dev Every underlying that has numbers, in the order in which they came.
    uint16[] private _underlyings;

    Status private _status;
    Provenance private _provenance;
    uint64 private _appliedAt;
    uint64 private _count;
    /// @dev Whether what is asked for is what the ramps lead to: for the impact of a push, within the push.
    bool private transient _atTarget;

    constructor(address authority) AccessManaged(authority) {
        _setRampDuration(6 hours);
        _setAgeSchedule(14 days, 50_000, 1_500_000);
    }

    // ─── Pushing

    /// @inheritdoc IRiskParameters
    function applyBundle(ParameterChange[] calldata changes, Provenance calldata provenance) external restricted {
        bool pairs;
        for (uint256 i; i < changes.length; ++i) {
            if (!pairs && changes[i].field.slot() == Fields.PAIR_SLOT) {
                pairs = true;
                _restartPairs();
            }
            _set(changes[i]);
        }
        // Only after the whole bundle: a bundle may move both sides of an order at once.
        for (uint256 i; i < changes.length; ++i) {
            _requireConsistent(changes[i].field.slot(), changes[i].underlying, changes[i].other);
        }
        _requireArbitrageFree(changes);
        if (pairs) _requirePositiveDefinite();
        _provenance = provenance;
        _appliedAt = uint64(block.timestamp);
        if (provenance.report != 0 || _status.calibratedAt == 0) _status.calibratedAt = uint40(block.timestamp);
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
    function setCoverage(uint16 underlying, uint32 initial, uint32 maintenance) external restricted {
        if (initial < MILLION || initial > MAXIMUM_COVERAGE || maintenance < MILLION || maintenance > MAXIMUM_COVERAGE)
        {
            revert RiskParametersBadCoverage(underlying, initial, maintenance);
        }
        uint256 key = _key(LEVEL_SLOT, underlying, 0);
        uint256 word = _words[key];
        Coverage memory coverage = _coverageOf(underlying, word);
        (coverage.initial, coverage.maintenance) = (initial, maintenance);
        _coverages[underlying] = coverage;
        int32 tail = _scaled(coverage.tailMaintenance, maintenance);
        // The other numbers of the word may be on their way: only what has to begin a way of its own may begin theirs anew.
        if (Fields.TAIL_MAINTENANCE.read(word) != tail) _startRamp(key, word);
        word = Fields.TAIL_INITIAL.write(word, _scaled(coverage.tailInitial, initial));
        _words[key] = Fields.TAIL_MAINTENANCE.write(word, tail);
        emit CoverageSet(underlying, initial, maintenance);
    }

    /// @inheritdoc IRiskParameters
    function measureAtTarget(bool atTarget) external restricted {
        _atTarget = atTarget;
    }

    // ─── Governance

    /// @inheritdoc IRiskParameters
    function setBounds(Field field, Bounds calldata bounds) external restricted {
        if (bounds.minimum > bounds.maximum) revert RiskParametersBadBounds(field, bounds.minimum, bounds.maximum);
        _bounds[field] = bounds;
        emit BoundsSet(field, bounds.minimum, bounds.maximum);
    }

    /// @inheritdoc IRiskParameters
    function setRampDuration(uint32 duration) external restricted {
        _setRampDuration(duration);
    }

    /// @inheritdoc IRiskParameters
    function setAgeSchedule(uint32 grace, uint32 rate, uint32 cap) external restricted {
        uint256 age = _ageMultiplier(_status);
        _setAgeSchedule(grace, rate, cap);
        // Maintenance would rise at once (PUSH).
        if (_ageMultiplier(_status) > age) revert RiskParametersBadAgeSchedule(grace, rate, cap);
    }

    // ─── Reading

    /// @inheritdoc IRiskParameters
    function get(Field field, uint16 underlying, uint16 other) external view returns (int256) {
        uint256 word = _words[_key(field.slot(), underlying, other)];
        if (field.id() == Fields.TAIL_INITIAL.id()) return _coverageOf(underlying, word).tailInitial;
        if (field.id() == Fields.TAIL_MAINTENANCE.id()) return _coverageOf(underlying, word).tailMaintenance;
        return field.read(word);
    }

    /// @inheritdoc IRiskParameters
    function inForce(Field field, uint16 underlying, uint16 other) external view returns (int256) {
        uint256 slot = field.slot();
        uint256 word = _wordNow(_key(slot, underlying, other), slot, _rampingSlots());
        return field.read(slot == Fields.COMMON_SLOT ? _aged(word) : word);
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
    function coverageOf(uint16 underlying) external view returns (Coverage memory) {
        return _coverageOf(underlying, _words[_key(LEVEL_SLOT, underlying, 0)]);
    }

    /// @inheritdoc IRiskParameters
    function rampOf(Field field, uint16 underlying, uint16 other) external view returns (Ramp memory) {
        return _ramps[_key(field.slot(), underlying, other)];
    }

    /// @inheritdoc IRiskParameters
    function testedOf(uint16 underlying, bool initial) external view returns (int256 tail, int256 horizon) {
        Coverage memory coverage = _coverageOf(underlying, _words[_key(LEVEL_SLOT, underlying, 0)]);
        tail = initial ? coverage.tailInitial : coverage.tailMaintenance;
        uint256 word = _wordNow(_key(Fields.COMMON_SLOT, 0, 0), Fields.COMMON_SLOT, _rampingSlots());
        horizon = (initial ? Fields.HORIZON_INITIAL : Fields.HORIZON_MAINTENANCE).read(word);
    }

    /// @inheritdoc IRiskParameters
    function ageMultiplier() external view returns (uint256) {
        return _ageMultiplier(_status);
    }

    /// @inheritdoc IRiskParameters
    function status()
        external
        view
        returns (uint256 calibratedAt, uint256 rampDuration, uint256 grace, uint256 ageRate, uint256 ageCap)
    {
        Status memory now_ = _status;
        return (now_.calibratedAt, now_.rampDuration, now_.grace, now_.ageRate, now_.ageCap);
    }

    /// @inheritdoc IRiskParameters
    function underlyings() external view returns (uint16[] memory) {
        return _underlyings;
    }

    /// @inheritdoc IRiskParameters
    function latest() external view returns (Provenance memory provenance, uint64 at, uint64 count) {
        return (_provenance, _appliedAt, _count);
    }

    /// @inheritdoc IRiskParameters
    function levelWordsOf(uint16 underlying) external view returns (uint256 live, uint256 maintenance, uint256 word1) {
        uint256 ramping = _rampingSlots();
        uint256 key = _key(LEVEL_SLOT, underlying, 0);
        live = _words[key];
        maintenance = _wordNow(key, LEVEL_SLOT, ramping);
        word1 = _wordNow(_key(OPEN_INTEREST_SLOT, underlying, 0), OPEN_INTEREST_SLOT, ramping);
    }

    /// @inheritdoc IRiskParameters
    function snapshot(uint16[] calldata ids, bool options)
        external
        view
        returns (uint256 common, uint256[] memory words, uint256[] memory pairs)
    {
        uint256 ramping = _rampingSlots();
        uint256 n = ids.length;
        common = _aged(_wordNow(_key(Fields.COMMON_SLOT, 0, 0), Fields.COMMON_SLOT, ramping));
        unchecked {
            words = new uint256[](n * Fields.SLOTS_PER_UNDERLYING);
            pairs = new uint256[](n == 0 ? 0 : n * (n - 1) / 2);
            uint256 pair;
            for (uint256 i; i < n; ++i) {
                uint16 underlying = ids[i];
                // A pair in the wrong order has no word, and its correlation would silently be zero.
                if (i > 0 && underlying <= ids[i - 1]) {
                    revert RiskParametersWrongScope(Fields.CORRELATION_LOW, ids[i - 1], underlying);
                }
                _readWords(underlying, options ? Fields.SLOTS_PER_UNDERLYING : SURFACE_SLOT, words, i, ramping);
                for (uint256 j = i + 1; j < n; ++j) {
                    pairs[pair++] = _wordNow(_key(Fields.PAIR_SLOT, underlying, ids[j]), Fields.PAIR_SLOT, ramping);
                }
            }
        }
    }

    /// @dev The first `slots` words of the underlying that stands at `place` in a snapshot.
    function _readWords(uint16 underlying, uint256 slots, uint256[] memory words, uint256 place, uint256 ramping)
        private
        view
    {
        unchecked {
            for (uint256 slot; slot < slots; ++slot) {
                words[place * Fields.SLOTS_PER_UNDERLYING + slot] = _wordNow(_key(slot, underlying, 0), slot, ramping);
            }
        }
    }

    /// @return One bit a slot: where a word may be on its way. No ramp of another slot need be read.
    function _rampingSlots() private view returns (uint256) {
        return block.timestamp < _status.rampsEndAt && !_atTarget ? _status.rampingSlots : 0;
    }

    /// @param ramping As `_rampingSlots` has it.
    function _wordNow(uint256 key, uint256 slot, uint256 ramping) private view returns (uint256 word) {
        word = _words[key];
        if (ramping >> slot & 1 != 0 && _isOnItsWay(key)) {
            word = _ramps[key].wordAt(word, Fields.initialOnlyLanes(slot));
        }
    }

    function _isOnItsWay(uint256 key) private view returns (bool) {
        Ramp storage ramp = _ramps[key];
        return block.timestamp < uint256(ramp.startedAt) + ramp.duration;
    }

    /// @dev The common word with the multiplier of age in it, rounded up. Not where the impact of a push is measured: that a push
    /// ends the age of the one before is not its own doing.
    function _aged(uint256 word) private view returns (uint256) {
        // Most of the time, and cheaply.
        if (block.timestamp <= uint256(_status.calibratedAt) + _status.grace || _atTarget) return word;
        uint256 age = _ageMultiplier(_status);
        uint256 multiplier = uint256(FixedPoint.max(0, Fields.MULTIPLIER.read(word)));
        // Bounds are far below 2^31 millionths; the cap of age is at most ten.
        return Fields.MULTIPLIER
            .write(
                word,
                int32(
                    int256(
                        FixedPoint.min(FixedPoint.mulDivUp(multiplier, age, MILLION), uint256(uint32(type(int32).max)))
                    )
                )
            );
    }

    function _ageMultiplier(Status memory now_) private view returns (uint256) {
        uint256 old = FixedPoint.zeroFloorSub(block.timestamp - now_.calibratedAt, now_.grace);
        if (now_.calibratedAt == 0 || old == 0) return MILLION;
        return FixedPoint.min(MILLION + FixedPoint.mulDivUp(old, now_.ageRate, DAY), now_.ageCap);
    }

    // ─── Setting

    function _set(ParameterChange calldata change) private {
        Field field = change.field;
        uint256 slot = field.slot();
        _requireSettable(change, slot);
        uint256 key = _key(slot, change.underlying, change.other);
        bool first = _isFirst(key, change, slot);
        uint256 word = _words[key];
        (int256 previous, int32 value) = slot == LEVEL_SLOT ? _setTail(change, word) : (field.read(word), change.value);
        if (previous == change.value) return;
        if (first) {
            // There is nowhere to come from.
            Ramp storage ramp = _ramps[key];
            if (ramp.startedAt != 0) ramp.from = field.write(ramp.from, value);
        } else if (!field.isInitialOnly()) {
            _startRamp(key, word);
        }
        _words[key] = field.write(word, value);
        emit ParameterChanged(field, change.underlying, change.other, previous, change.value);
    }

    function _requireSettable(ParameterChange calldata change, uint256 slot) private view {
        (Field field, uint16 underlying, uint16 other) = (change.field, change.underlying, change.other);
        Bounds memory bounds = _bounds[field];
        if (bounds.minimum == 0 && bounds.maximum == 0) revert RiskParametersUnknownField(field);
        if (change.value < bounds.minimum || change.value > bounds.maximum) {
            revert RiskParametersOutOfBounds(field, change.value, bounds.minimum, bounds.maximum);
        }
        bool fits = slot < Fields.COMMON_SLOT
            ? underlying != 0 && other == 0
            : slot == Fields.COMMON_SLOT ? underlying == 0 && other == 0 : underlying != 0 && underlying < other;
        if (!fits) revert RiskParametersWrongScope(field, underlying, other);
    }

    /// @dev Remembers that the number has been set. @return Whether it never was before.
    function _isFirst(uint256 key, ParameterChange calldata change, uint256 slot) private returns (bool) {
        uint256 lanes = _setLanes[key];
        uint256 bit = change.field.laneBit();
        if (lanes & bit != 0) return false;
        if (slot == LEVEL_SLOT && lanes == 0) _underlyings.push(change.underlying);
        _setLanes[key] = lanes | bit;
        return true;
    }

    /// @dev A number of slot 0; of a tail, what was pushed is kept apart from what coverage makes of it.
    /// @return previous As pushed before. @return value For the word.
    function _setTail(ParameterChange calldata change, uint256 word) private returns (int256 previous, int32 value) {
        value = change.value;
        if (change.field.id() > Fields.TAIL_MAINTENANCE.id()) return (change.field.read(word), value);
        Coverage memory coverage = _coverageOf(change.underlying, word);
        if (change.field.id() == Fields.TAIL_INITIAL.id()) {
            (previous, coverage.tailInitial) = (coverage.tailInitial, value);
            value = _scaled(value, coverage.initial);
        } else {
            (previous, coverage.tailMaintenance) = (coverage.tailMaintenance, value);
            value = _scaled(value, coverage.maintenance);
        }
        // Without a scale there is nothing to remember: the word holds what was pushed.
        if (_coverages[change.underlying].initial != 0) _coverages[change.underlying] = coverage;
    }

    /// @dev From what is in force now. Within one block nothing moves, so a second start changes nothing.
    function _startRamp(uint256 key, uint256 word) private {
        Status storage now_ = _status;
        uint32 duration = now_.rampDuration;
        _ramps[key] = Ramp(_ramps[key].wordAt(word, 0), uint40(block.timestamp), duration);
        uint256 ramping = block.timestamp < now_.rampsEndAt ? now_.rampingSlots : 0;
        now_.rampingSlots = uint16(ramping | 1 << (key & 0xff));
        if (now_.rampsEndAt < block.timestamp + duration) now_.rampsEndAt = uint40(block.timestamp + duration);
    }

    /// @dev All pairs that are on their way begin anew from where they are, so that the matrices go in a straight line from positive
    /// definite ones to positive definite ones: all between them are. Each along a way of its own, they might not be.
    function _restartPairs() private {
        uint256 n = _underlyings.length;
        for (uint256 i; i < n; ++i) {
            for (uint256 j; j < i; ++j) {
                uint256 key = _pairKey(_underlyings[i], _underlyings[j]);
                if (_isOnItsWay(key)) _startRamp(key, _words[key]);
            }
        }
    }

    /// @dev As kept; where none is, both scales are one and the word holds what was pushed.
    function _coverageOf(uint16 underlying, uint256 word) private view returns (Coverage memory coverage) {
        coverage = _coverages[underlying];
        if (coverage.initial != 0) return coverage;
        return Coverage(
            uint32(MILLION),
            uint32(MILLION),
            int32(Fields.TAIL_INITIAL.read(word)),
            int32(Fields.TAIL_MAINTENANCE.read(word))
        );
    }

    /// @dev Rounded up. A tail is above zero and at most 2^31 / 2 by its bounds, or this reverts.
    function _scaled(int32 tail, uint32 scale) private pure returns (int32) {
        int256 scaled = int256(FixedPoint.mulDivUp(uint256(uint32(tail)), scale, MILLION));
        if (tail < 0 || scaled > type(int32).max) revert RiskParametersTailTooLarge(tail, scale);
        return int32(scaled);
    }

    function _setRampDuration(uint32 duration) private {
        if (duration < 15 minutes || duration > 7 days) revert RiskParametersBadRamp(duration);
        _status.rampDuration = duration;
        emit RampDurationSet(duration);
    }

    function _setAgeSchedule(uint32 grace, uint32 rate, uint32 cap) private {
        if (grace < DAY || cap < MILLION || cap > 10 * MILLION) revert RiskParametersBadAgeSchedule(grace, rate, cap);
        (_status.grace, _status.ageRate, _status.ageCap) = (grace, rate, cap);
        emit AgeScheduleSet(grace, rate, cap);
    }

    // ─── What the numbers must satisfy together

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

    /// @dev Both matrices, over every underlying. A pair without numbers is uncorrelated.
    function _requirePositiveDefinite() private view {
        uint256 n = _underlyings.length;
        int256[] memory low = new int256[](n * n);
        int256[] memory high = new int256[](n * n);
        for (uint256 i; i < n; ++i) {
            low[i * n + i] = high[i * n + i] = ONE * MILLIONTH;
            for (uint256 j; j < i; ++j) {
                uint256 word = _words[_pairKey(_underlyings[i], _underlyings[j])];
                low[i * n + j] = Fields.CORRELATION_LOW.read(word) * MILLIONTH;
                high[i * n + j] = Fields.CORRELATION_HIGH.read(word) * MILLIONTH;
            }
        }
        uint256 bad = PositiveDefinite.firstBadPivot(low, n);
        if (bad != n) revert RiskParametersNotPositiveDefinite(Fields.CORRELATION_LOW, _underlyings[bad]);
        bad = PositiveDefinite.firstBadPivot(high, n);
        if (bad != n) revert RiskParametersNotPositiveDefinite(Fields.CORRELATION_HIGH, _underlyings[bad]);
    }

    function _requireOrdered(Field smaller, Field larger, uint256 word, uint16 underlying, uint16 other) private pure {
        if (smaller.read(word) > larger.read(word)) {
            revert RiskParametersInconsistent(smaller, larger, underlying, other);
        }
    }

    function _pairKey(uint16 a, uint16 b) private pure returns (uint256) {
        return a < b ? _key(Fields.PAIR_SLOT, a, b) : _key(Fields.PAIR_SLOT, b, a);
    }

    function _key(uint256 slot, uint16 underlying, uint16 other) private pure returns (uint256) {
        return uint256(underlying) << 24 | uint256(other) << 8 | slot;
    }
}
