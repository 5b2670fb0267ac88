// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { AccessManaged } from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

import { IParameterSteward } from "../interfaces/IParameterSteward.sol";
import { IPriceOracle } from "../interfaces/IPriceOracle.sol";
import { IReferenceMargin } from "../interfaces/IReferenceMargin.sol";
import { IRiskParameters } from "../interfaces/IRiskParameters.sol";
import { Field, FieldLibrary as Fields } from "../types/Field.sol";
import { Instrument, InstrumentLibrary as Instruments } from "../types/Instrument.sol";
import { Requirements } from "../types/Margin.sol";
import { ParameterChange, Provenance } from "../types/ParameterChange.sol";
import { Collateral, Portfolio, Position } from "../types/Portfolio.sol";

/// @title ParameterSteward
/// @notice Bounds what a calibrator can do (BOUNDS, PUSH). Absolute bounds, scopes and the consistency of the numbers with each other are
/// checked by RiskParameters itself; here are steps, intervals, budgets, direction and effect.
contract ParameterSteward is IParameterSteward, AccessManaged {
    /// @dev What is remembered of one number.
    /// @param movedAt When the steward last moved it; 0 for never.
    /// @param windowAt When its window began. @param anchor What it was then.
    /// @param bundle The last bundle it stood in.
    struct Record {
        uint40 movedAt;
        uint40 windowAt;
        int32 anchor;
        uint64 bundle;
    }

    /// @dev By how much the pushes of a window, compounded, have multiplied a reference portfolio's requirements [wad].
    /// @param windowAt When the window began.
    struct Effect {
        uint40 windowAt;
        uint104 initial;
        uint104 maintenance;
    }

    uint256 private constant WAD = 1e18;
    uint256 private constant MILLION = 1e6;
    uint256 private constant EFFECT_WINDOW = 12 hours;
    /// @dev Of a reference portfolio [wad dollars].
    uint256 private constant NOTIONAL = 100_000e18;
    uint40 private constant EXECUTION_TIME = 3 days;
    uint8 private constant COLLATERAL = 0;
    uint256 private constant MAXIMUM_REFERENCES = 112;
    uint256 private constant MAXIMUM_LEGS = 8;

    IRiskParameters public immutable riskParameters;
    IReferenceMargin public referenceMargin;
    IPriceOracle public immutable priceOracle;
    /// @inheritdoc IParameterSteward
    bytes32 public market;
    /// @inheritdoc IParameterSteward
    uint32 public looseningDelay;

    uint64 private _bundles;
    Pending private _pending;
    mapping(Field => Limits) private _limits;
    mapping(Field => bool) private _frozenFields;
    mapping(uint16 underlying => bool) private _frozenMarkets;
    /// @dev Key: field · 2^32 + underlying · 2^16 + other.
    mapping(uint256 key => Record) private _records;
    Reference[] private _references;
    mapping(uint256 index => Effect) private _effects;

    constructor(address authority, IRiskParameters riskParameters_, IPriceOracle priceOracle_)
        AccessManaged(authority)
    {
        riskParameters = riskParameters_;
        priceOracle = priceOracle_;
        _setLooseningDelay(1 days);
    }

    // ─── The calibrator

    /// @inheritdoc IParameterSteward
    function push(ParameterChange[] calldata changes, Provenance calldata provenance) external restricted {
        _requireProvenance(provenance);
        _admit(changes, false);
        _apply(changes, provenance);
    }

    /// @inheritdoc IParameterSteward
    function schedule(ParameterChange[] calldata changes, Provenance calldata provenance) external restricted {
        _requireProvenance(provenance);
        uint40 readyAt = uint40(block.timestamp) + looseningDelay;
        for (uint256 i; i < changes.length; ++i) {
            _check(changes[i], true, readyAt);
        }
        bytes32 bundle = keccak256(abi.encode(changes, provenance));
        _pending = Pending(bundle, readyAt, readyAt + EXECUTION_TIME);
        emit BundleScheduled(bundle, provenance.report, msg.sender, readyAt, changes, provenance);
    }

    /// @inheritdoc IParameterSteward
    function execute(ParameterChange[] calldata changes, Provenance calldata provenance) external {
        bytes32 bundle = keccak256(abi.encode(changes, provenance));
        Pending memory waiting = _pending;
        if (waiting.bundle != bundle) revert ParameterStewardNotPending(bundle);
        if (block.timestamp < waiting.readyAt || block.timestamp > waiting.expiresAt) {
            revert ParameterStewardNotReady(waiting.readyAt, waiting.expiresAt);
        }
        delete _pending;
        _requireProvenance(provenance);
        _admit(changes, true);
        _apply(changes, provenance);
    }

    // ─── The guardian

    /// @inheritdoc IParameterSteward
    function veto() external restricted {
        bytes32 bundle = _pending.bundle;
        if (bundle == 0) revert ParameterStewardNotPending(bundle);
        delete _pending;
        emit BundleVetoed(bundle, msg.sender);
    }

    /// @inheritdoc IParameterSteward
    function freezeField(Field field) external restricted {
        _frozenFields[field] = true;
        emit FieldFrozen(field, true);
    }

    /// @inheritdoc IParameterSteward
    function freezeMarket(uint16 underlying) external restricted {
        _frozenMarkets[underlying] = true;
        emit MarketFrozen(underlying, true);
    }

    // ─── Governance

    /// @inheritdoc IParameterSteward
    function unfreezeField(Field field) external restricted {
        _frozenFields[field] = false;
        emit FieldFrozen(field, false);
    }

    /// @inheritdoc IParameterSteward
    function unfreezeMarket(uint16 underlying) external restricted {
        _frozenMarkets[underlying] = false;
        emit MarketFrozen(underlying, false);
    }

    /// @inheritdoc IParameterSteward
    function setLimits(Field field, Limits calldata limits) external restricted {
        if (limits.stepUp != 0 || limits.stepDown != 0) {
            bool bounded = limits.minimumInterval != 0 && limits.window >= limits.minimumInterval
                && (limits.stepUp == 0) == (limits.budgetUp == 0) && (limits.stepDown == 0) == (limits.budgetDown == 0);
            if (!bounded) revert ParameterStewardBadLimits(field);
        }
        _limits[field] = limits;
        emit LimitsSet(field, limits);
    }

    /// @inheritdoc IParameterSteward
    function setMarket(bytes32 market_) external restricted {
        market = market_;
        emit MarketSet(market_);
    }

    /// @inheritdoc IParameterSteward
    function setReferenceMargin(IReferenceMargin referenceMargin_) external restricted {
        referenceMargin = referenceMargin_;
        emit ReferenceMarginSet(referenceMargin_);
    }

    /// @inheritdoc IParameterSteward
    function setLooseningDelay(uint32 delay) external restricted {
        _setLooseningDelay(delay);
    }

    /// @inheritdoc IParameterSteward
    function setReference(uint256 index, Reference calldata portfolio) external restricted {
        uint256 count = _references.length;
        if (index > count || index >= MAXIMUM_REFERENCES) revert ParameterStewardBadReference(index, "no such place");
        if (portfolio.legs.length > MAXIMUM_LEGS) revert ParameterStewardBadReference(index, "at most 8 legs");
        if (portfolio.legs.length == 0) {
            if (index == count) revert ParameterStewardBadReference(index, "no such place");
            if (index + 1 != count) {
                _references[index] = _references[count - 1];
                _effects[index] = _effects[count - 1];
            }
            _references.pop();
            delete _effects[count - 1];
        } else {
            Reference storage place = index == count ? _references.push() : _references[index];
            (place.name, place.underlying) = (portfolio.name, portfolio.underlying);
            (place.maximumRise, place.maximumFall) = (portfolio.maximumRise, portfolio.maximumFall);
            delete place.legs;
            delete _effects[index];
            for (uint256 i; i < portfolio.legs.length; ++i) {
                _requireSound(index, portfolio.legs[i]);
                place.legs.push(portfolio.legs[i]);
            }
        }
        emit ReferenceSet(index, portfolio);
    }

    // ─── Reading

    /// @inheritdoc IParameterSteward
    function allowed(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 minimum, int256 maximum, uint256 allowedAt)
    {
        (int256 previous, uint256 up, uint256 down) = _steps(field, underlying, other);
        Record memory record = _records[_key(field, underlying, other)];
        allowedAt = _allowedAt(field, record.movedAt);
        if (_isFrozen(field, underlying, other)) return (previous + 1, previous, allowedAt);
        IRiskParameters.Bounds memory bounds = riskParameters.boundsOf(field);
        (int256 lowest, int256 highest,) = _budget(field, record, previous, block.timestamp);
        minimum = FixedPoint.max(FixedPoint.max(previous - int256(down), lowest), bounds.minimum);
        maximum = FixedPoint.min(FixedPoint.min(previous + int256(up), highest), bounds.maximum);
    }

    /// @inheritdoc IParameterSteward
    function windowOf(Field field, uint16 underlying, uint16 other)
        external
        view
        returns (int256 anchor, uint256 endsAt)
    {
        Record memory record = _records[_key(field, underlying, other)];
        if (!_isOpen(field, record, block.timestamp)) return (riskParameters.get(field, underlying, other), 0);
        return (record.anchor, record.windowAt + _limits[field].window);
    }

    /// @inheritdoc IParameterSteward
    function limitsOf(Field field) external view returns (Limits memory) {
        return _limits[field];
    }

    /// @inheritdoc IParameterSteward
    function pending() external view returns (Pending memory) {
        return _pending;
    }

    /// @inheritdoc IParameterSteward
    function isFrozen(Field field, uint16 underlying) external view returns (bool) {
        return _isFrozen(field, underlying, 0);
    }

    /// @inheritdoc IParameterSteward
    function references() external view returns (Reference[] memory) {
        return _references;
    }

    /// @inheritdoc IParameterSteward
    function requirements() external view returns (Requirements[] memory) {
        uint256[] memory places = new uint256[](_references.length);
        for (uint256 i; i < places.length; ++i) {
            places[i] = i;
        }
        return referenceMargin.requirementsOf(_portfolios(places));
    }

    /// @inheritdoc IParameterSteward
    function effectOf(uint256 index) external view returns (uint256 initial, uint256 maintenance, uint256 endsAt) {
        uint256 windowAt = _effects[index].windowAt;
        bool open = block.timestamp < windowAt + EFFECT_WINDOW;
        Effect memory effect = _effectNow(index);
        return (effect.initial, effect.maintenance, open ? windowAt + EFFECT_WINDOW : 0);
    }

    // ─── What a change may be

    function _requireProvenance(Provenance calldata provenance) private view {
        if (provenance.report == 0 || provenance.data == 0) revert ParameterStewardNoProvenance();
        // No market set is no market accepted.
        if (market == 0 || provenance.market != market) revert ParameterStewardWrongMarket(market, provenance.market);
    }

    /// @dev Check a bundle against the limits and remember it.
    function _admit(ParameterChange[] calldata changes, bool loosening) private {
        uint64 bundle = ++_bundles;
        for (uint256 i; i < changes.length; ++i) {
            ParameterChange calldata change = changes[i];
            (uint256 key, Record memory record, bool moves) = _check(change, loosening, block.timestamp);
            if (record.bundle == bundle) {
                revert ParameterStewardDuplicate(change.field, change.underlying, change.other);
            }
            record.bundle = bundle;
            if (moves) record.movedAt = uint40(block.timestamp);
            _records[key] = record;
        }
    }

    /// @param at When it is to move. @return key Of the number. @return record With the window that the change falls into. @return moves Whether it is a change.
    function _check(ParameterChange calldata change, bool loosening, uint256 at)
        private
        view
        returns (uint256 key, Record memory record, bool moves)
    {
        key = _key(change.field, change.underlying, change.other);
        record = _records[key];
        int256 previous = _requireStep(change, loosening);
        if (change.value == previous) return (key, record, false);
        _requireTime(change, record.movedAt, at);
        (int256 lowest, int256 highest, uint256 endsAt) = _budget(change.field, record, previous, at);
        if (change.value < lowest || change.value > highest) {
            revert ParameterStewardBudget(
                change.field, change.underlying, change.other, change.value, lowest, highest, endsAt
            );
        }
        if (!_isOpen(change.field, record, at)) {
            (record.windowAt, record.anchor) = (uint40(block.timestamp), int32(previous));
        }
        return (key, record, true);
    }

    function _requireStep(ParameterChange calldata change, bool loosening) private view returns (int256 previous) {
        (Field field, uint16 underlying, uint16 other) = (change.field, change.underlying, change.other);
        uint256 up;
        uint256 down;
        (previous, up, down) = _steps(field, underlying, other);
        int256 value = change.value;
        int256 direction = field.direction();
        if (!loosening && (value > previous ? direction < 0 : value < previous && direction > 0)) {
            revert ParameterStewardLoosens(field, underlying, other, previous, value);
        }
        uint256 step = value > previous ? up : down;
        if (FixedPoint.dist(value, previous) > step) {
            revert ParameterStewardStep(field, underlying, other, previous, value, step);
        }
    }

    function _requireTime(ParameterChange calldata change, uint256 movedAt, uint256 at) private view {
        (Field field, uint16 underlying, uint16 other) = (change.field, change.underlying, change.other);
        if (_isFrozen(field, underlying, other)) revert ParameterStewardFrozen(field, underlying);
        uint256 allowedAt = _allowedAt(field, movedAt);
        if (at < allowedAt) revert ParameterStewardTooSoon(field, underlying, other, allowedAt);
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
        (up, down) = _sized(limits, previous, limits.stepUp, limits.stepDown);
        if (field.id() != Fields.OPEN_INTEREST_UPPER.id()) return (previous, up, down);
        // Zero says that margin is never scaled, and is the loosest of all: governance alone turns scaling on or off.
        return previous == 0 ? (previous, 0, 0) : (previous, up, FixedPoint.min(down, uint256(previous) - 1));
    }

    /// @dev What the window that runs then, or would begin then, leaves.
    function _budget(Field field, Record memory record, int256 previous, uint256 at)
        private
        view
        returns (int256 lowest, int256 highest, uint256 endsAt)
    {
        Limits memory limits = _limits[field];
        bool open = _isOpen(field, record, at);
        int256 anchor = open ? int256(record.anchor) : previous;
        (uint256 up, uint256 down) = _sized(limits, anchor, limits.budgetUp, limits.budgetDown);
        return (anchor - int256(down), anchor + int256(up), (open ? record.windowAt : at) + limits.window);
    }

    function _isOpen(Field field, Record memory record, uint256 at) private view returns (bool) {
        return record.windowAt != 0 && at < record.windowAt + _limits[field].window;
    }

    function _sized(Limits memory limits, int256 value, uint256 up, uint256 down)
        private
        pure
        returns (uint256, uint256)
    {
        return limits.absolute ? (up, down) : (_relative(value, up), _relative(value, down));
    }

    /// @dev In the field's unit, rounded down but never to nothing, or a small integer could not move at all.
    function _relative(int256 value, uint256 millionths) private pure returns (uint256) {
        if (millionths == 0) return 0;
        return FixedPoint.max(FixedPoint.abs(value) * millionths / MILLION, 1);
    }

    function _allowedAt(Field field, uint256 movedAt) private view returns (uint256) {
        return movedAt == 0 ? 0 : movedAt + _limits[field].minimumInterval;
    }

    function _isFrozen(Field field, uint16 underlying, uint16 other) private view returns (bool) {
        return _frozenFields[field] || _frozenMarkets[underlying] || (other != 0 && _frozenMarkets[other]);
    }

    function _key(Field field, uint16 underlying, uint16 other) private pure returns (uint256) {
        return uint256(field.id()) << 32 | uint256(underlying) << 16 | other;
    }

    // ─── What a bundle does

    /// @dev Both times as at the end of every ramp, so that nothing is left for later. The prices are the same both times, and so are
    /// the portfolios.
    function _apply(ParameterChange[] calldata changes, Provenance calldata provenance) private {
        emit ParametersPushed(provenance.report, msg.sender, changes.length);
        uint256[] memory places = _touched(changes);
        if (places.length == 0) return riskParameters.applyBundle(changes, provenance);
        Portfolio[] memory portfolios = _portfolios(places);
        riskParameters.measureAtTarget(true);
        Requirements[] memory previous = referenceMargin.requirementsOf(portfolios);
        riskParameters.applyBundle(changes, provenance);
        Requirements[] memory next = referenceMargin.requirementsOf(portfolios);
        riskParameters.measureAtTarget(false);
        for (uint256 i; i < places.length; ++i) {
            _bound(places[i], previous[i], next[i]);
        }
    }

    /// @dev Which reference portfolios a bundle may do something to: those on an underlying of which it moves a number, all where it moves
    /// one common to all. One underlying has no correlation, so a pair's number does nothing to any. Underlyings are told apart by
    /// their lowest byte: at worst too many are measured.
    function _touched(ParameterChange[] calldata changes) private view returns (uint256[] memory places) {
        uint256 underlyings;
        for (uint256 i; i < changes.length; ++i) {
            uint256 slot = changes[i].field.slot();
            if (slot == Fields.COMMON_SLOT) underlyings = type(uint256).max;
            else if (slot < Fields.COMMON_SLOT) underlyings |= 1 << (changes[i].underlying & 0xff);
        }
        uint256 count = underlyings == 0 ? 0 : _references.length;
        places = new uint256[](count);
        uint256 found;
        for (uint256 i; i < count; ++i) {
            if (underlyings >> (_references[i].underlying & 0xff) & 1 != 0) places[found++] = i;
        }
        assembly ("memory-safe") {
            mstore(places, found)
        }
    }

    /// @dev What a bundle does to a reference portfolio counts together with what the others of its window did, or whoever divides a
    /// bundle would get past the limit.
    function _bound(uint256 index, Requirements memory previous, Requirements memory next) private {
        Reference storage chosen = _references[index];
        (uint256 rise, uint256 fall) = (chosen.maximumRise, chosen.maximumFall);
        Effect memory effect = _effectNow(index);
        uint256 initial = _compound(effect.initial, previous.initial, next.initial);
        uint256 maintenance = _compound(effect.maintenance, previous.maintenance, next.maintenance);
        if (!_isWithin(initial, rise, fall) || !_isWithin(maintenance, rise, fall)) {
            revert ParameterStewardImpact(chosen.name, previous, next);
        }
        _effects[index] = Effect(effect.windowAt, uint104(initial), uint104(maintenance));
    }

    /// @dev Of the window that runs, or of one that begins now.
    function _effectNow(uint256 index) private view returns (Effect memory effect) {
        effect = _effects[index];
        if (block.timestamp >= effect.windowAt + EFFECT_WINDOW) {
            return Effect(uint40(block.timestamp), uint104(WAD), uint104(WAD));
        }
    }

    /// @dev From nothing to something is further than any limit.
    function _compound(uint256 effect, uint256 previous, uint256 next) private pure returns (uint256) {
        if (previous == next) return effect;
        return previous == 0 ? type(uint256).max : FixedPoint.fullMulDiv(effect, next, previous);
    }

    /// @dev A limit is below 4295 times, so what is within it fits an Effect.
    function _isWithin(uint256 effect, uint256 rise, uint256 fall) private pure returns (bool) {
        return
            effect <= WAD * (MILLION + rise) / MILLION
                && effect >= WAD * FixedPoint.zeroFloorSub(MILLION, fall) / MILLION;
    }

    /// @dev Reference portfolios at the prices of now; those of an underlying as a rule stand together, and its price is read once.
    function _portfolios(uint256[] memory places) private view returns (Portfolio[] memory portfolios) {
        portfolios = new Portfolio[](places.length);
        (uint256 underlying, uint256 price) = (0, 0);
        for (uint256 i; i < places.length; ++i) {
            Reference memory chosen = _references[places[i]];
            if (chosen.underlying != underlying) {
                underlying = chosen.underlying;
                (price,) = priceOracle.price(chosen.underlying);
            }
            portfolios[i] = _portfolio(chosen, price);
        }
    }

    function _portfolio(Reference memory chosen, uint256 price) private view returns (Portfolio memory portfolio) {
        uint256 deposits;
        for (uint256 i; i < chosen.legs.length; ++i) {
            if (chosen.legs[i].kind == COLLATERAL) ++deposits;
        }
        portfolio.positions = new Position[](chosen.legs.length - deposits);
        portfolio.collateral = new Collateral[](deposits);
        (uint256 position, uint256 deposit) = (0, 0);
        for (uint256 i; i < chosen.legs.length; ++i) {
            Leg memory leg = chosen.legs[i];
            int256 size = int256(NOTIONAL) * leg.size / int256(MILLION) * 1e18 / int256(price);
            if (leg.kind == COLLATERAL) {
                portfolio.collateral[deposit++] = Collateral(0, chosen.underlying, uint256(size));
                continue;
            }
            portfolio.positions[position++] = Position(_instrument(leg, chosen.underlying, price), int128(size), 0);
        }
    }

    function _instrument(Leg memory leg, uint16 underlying, uint256 price) private view returns (Instrument) {
        if (leg.kind == Instruments.PERPETUAL) return Instruments.perpetual(underlying);
        uint64 strike = uint64(price * leg.strike / MILLION / Instruments.STRIKE_UNIT);
        return Instruments.option(leg.kind == Instruments.PUT, underlying, uint40(block.timestamp + leg.tenor), strike);
    }

    function _requireSound(uint256 index, Leg calldata leg) private pure {
        bool option = leg.kind == Instruments.CALL || leg.kind == Instruments.PUT;
        if (!option && leg.kind != Instruments.PERPETUAL && leg.kind != COLLATERAL) {
            revert ParameterStewardBadReference(index, "kind must be 0 to 3");
        }
        if (leg.size == 0 || (leg.kind == COLLATERAL && leg.size < 0)) {
            revert ParameterStewardBadReference(index, "a leg needs a size, and collateral is not borrowed");
        }
        if (option != (leg.strike != 0) || option != (leg.tenor != 0)) {
            revert ParameterStewardBadReference(index, "options, and they alone, have a strike and a tenor");
        }
    }

    function _setLooseningDelay(uint32 delay) private {
        if (delay < 1 hours || delay > 14 days) revert ParameterStewardBadDelay(delay);
        looseningDelay = delay;
        emit LooseningDelaySet(delay);
    }
}
