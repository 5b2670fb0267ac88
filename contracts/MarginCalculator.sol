// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { CashValue } from "./libraries/CashValue.sol";
import { ModifiedShortfall as Shortfall } from "./libraries/ModifiedShortfall.sol";
import { NormalDistribution } from "./libraries/NormalDistribution.sol";
import { OptionBook } from "./libraries/OptionBook.sol";
import { RevaluationGrid as Grid } from "./libraries/RevaluationGrid.sol";
import { RiskMath } from "./libraries/RiskMath.sol";
import { SignedWad } from "./libraries/SignedWad.sol";
import { FieldLibrary as Fields } from "./types/Field.sol";
import { Instrument, InstrumentLibrary } from "./types/Instrument.sol";
import { Margin, Requirement, UnderlyingMargin } from "./types/Margin.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";
import { LibSort } from "solady/src/utils/LibSort.sol";

/// @title MarginCalculator
/// @notice How margin is worked out, for MarginEngine, on which money depends, and MarginLens, which explains it.
///
/// Level by oracle, shape by calibration: price and volatility are read from the oracles at the moment of the
/// check, tails, correlations, surface and impact from RiskParameters.
///
///     range_u(h)     = z_u(h) · σ_u · √((h + age_u) / year)
///     grid(h)        = (1 − offset) · Σ standalone + offset · joint        full revaluation at 29 nodes
///     risk(h)        = max(grid, expected shortfall from the Greeks)
///     requirement(h) = m · risk(h) + liquidity + short option minimum
///
/// Initial uses the long horizon and the live volatility, maintenance the short one and the rate-limited volatility; options
/// are valued at the reported volatility, the same for both sides of a trade.
///
/// How an account is worked through: its lines are sorted by underlying, expiry and strike; prices, levels and numbers are
/// read once an underlying; the options of each are put into an OptionBook; then the requirements are put together. An
/// account without options has linear losses, whose worst node is an end of the range, and takes a shorter way.
///
/// Arithmetic is unchecked wherever it says so because of the limits that the clearing house and the oracles keep: sizes up to
/// 1e28, amounts of collateral up to 1e30, prices up to 1e27, ranges up to a hundred. Every product then fits, so that no
/// price can make an account impossible to margin, and to liquidate.
abstract contract MarginCalculator {
    uint256 internal constant WAD = 1e18;
    /// @dev Every node, and the Greeks.
    uint256 internal constant ALL = (1 << 30) - 1;
    uint256 private constant MILLION = 1e6;
    uint256 private constant MILLIONTH = 1e12;

    /// @dev A key is underlying (16 bits) | expiry (40) | strike (64) | kind (8) | index (128).
    uint256 private constant INDEX_BITS = 128;
    uint256 private constant KIND_BITS = 136;
    uint256 private constant UNDERLYING_SHIFT = 240;

    IClearingHouse public immutable clearingHouse;
    IPriceOracle public immutable priceOracle;
    IVolatilityOracle public immutable volatilityOracle;
    IRiskParameters public immutable riskParameters;
    IInstrumentRegistry public immutable registry;
    /// @notice Where the table of the normal distribution is kept as code.
    address public immutable normalTable;

    /// @dev All that one assessment works with.
    /// @param both Whether maintenance is wanted too.
    /// @param wanted Losses that count, a set as RevaluationGrid has it. @param greeks Whether the Greeks count.
    /// @param options Whether an option is held whose value can still move.
    /// @param holdsLong Whether one of them is held long. @param longValue What those are worth [wad dollars, rounded up].
    /// @param keys Lines, sorted. @param ends Where each underlying's keys end.
    /// @param books Of each underlying, its book; a pointer to nothing where `booked` lacks its bit.
    struct Work {
        Portfolio portfolio;
        Margin margin;
        bool both;
        uint256 wanted;
        bool greeks;
        bool options;
        bool holdsLong;
        uint256[] keys;
        uint256[] ends;
        OptionBook.Book[] books;
        uint256 booked;
        uint256 common;
        uint256[] words;
        int256[] low;
        int256[] high;
        NormalDistribution.Table table;
        uint256 longValue;
    }

    constructor(
        IClearingHouse clearingHouse_,
        IPriceOracle priceOracle_,
        IVolatilityOracle volatilityOracle_,
        IRiskParameters riskParameters_,
        IInstrumentRegistry registry_,
        address normalTable_
    ) {
        clearingHouse = clearingHouse_;
        priceOracle = priceOracle_;
        volatilityOracle = volatilityOracle_;
        riskParameters = riskParameters_;
        registry = registry_;
        normalTable = normalTable_;
    }

    /// @param both Whether maintenance is wanted too. @param nodes What options are margined at, see IMarginEngine.marginAt.
    function _assess(Portfolio memory portfolio, bool both, uint256 nodes) internal view returns (Work memory work) {
        _begin(work, portfolio, both, nodes);
        _read(work);
        _finish(work);
    }

    /// @dev Initial margin beside another assessment made just now, whose market and numbers serve both where the underlyings
    /// are the same.
    function _assessBeside(Portfolio memory portfolio, Work memory other) internal view returns (Work memory work) {
        _begin(work, portfolio, false, ALL);
        if (!_share(work, other)) _read(work);
        _finish(work);
    }

    /// @dev Both requirements, and no equity, likewise beside another assessment.
    function _requireBeside(Portfolio memory portfolio, Work memory other) internal view returns (Work memory work) {
        _begin(work, portfolio, true, ALL);
        if (!_share(work, other)) _read(work);
        for (uint256 i; i < work.ends.length; ++i) {
            _value(work, i);
        }
        _require(work);
    }

    function _begin(Work memory work, Portfolio memory portfolio, bool both, uint256 nodes) private pure {
        work.portfolio = portfolio;
        work.both = both;
        work.wanted =
            (nodes & 0x7ffffff) | (nodes >> 27 & 1) << Grid.EXTREME_DOWN | (nodes >> 28 & 1) << Grid.EXTREME_UP;
        work.greeks = nodes >> 29 & 1 != 0;
        work.margin.fresh = true;
        work.margin.cash = portfolio.cash;
        work.margin.multiplier = WAD;
        work.margin.openInterestScale = WAD;
        _sort(work);
        _group(work);
    }

    function _read(Work memory work) private view {
        if (work.ends.length == 0) return;
        _readParameters(work);
        for (uint256 i; i < work.ends.length; ++i) {
            _readMarket(work, i);
        }
    }

    function _finish(Work memory work) private view {
        for (uint256 i; i < work.ends.length; ++i) {
            _value(work, i);
        }
        _addCash(work.margin);
        _require(work);
    }

    // ─── Lines

    function _sort(Work memory work) private pure {
        unchecked {
            Position[] memory positions = work.portfolio.positions;
            Collateral[] memory collateral = work.portfolio.collateral;
            uint256[] memory keys = new uint256[](positions.length + collateral.length);
            for (uint256 i; i < positions.length; ++i) {
                Instrument instrument = positions[i].instrument;
                uint256 kind = instrument.kind();
                keys[i] = (uint256(Instrument.unwrap(instrument)) << KIND_BITS) | (kind << INDEX_BITS) | i;
                if (kind > InstrumentLibrary.PERPETUAL) work.options = true;
            }
            for (uint256 i; i < collateral.length; ++i) {
                keys[positions.length + i] = (uint256(collateral[i].underlying) << UNDERLYING_SHIFT) | i;
            }
            LibSort.sort(keys);
            work.keys = keys;
        }
    }

    function _group(Work memory work) private pure {
        unchecked {
            uint256[] memory keys = work.keys;
            uint256 count;
            for (uint256 i; i < keys.length; ++i) {
                if (i == 0 || keys[i] >> UNDERLYING_SHIFT != keys[i - 1] >> UNDERLYING_SHIFT) ++count;
            }
            work.ends = new uint256[](count);
            // Pointers, to be set: new books would be laid out at once, hundreds of words each.
            uint256[] memory pointers = new uint256[](count);
            OptionBook.Book[] memory books;
            assembly ("memory-safe") {
                books := pointers
            }
            work.books = books;
            work.margin.underlyings = new UnderlyingMargin[](count);
            uint256 at;
            for (uint256 i = 1; i <= keys.length; ++i) {
                if (i != keys.length && keys[i] >> UNDERLYING_SHIFT == keys[i - 1] >> UNDERLYING_SHIFT) continue;
                work.margin.underlyings[at].underlying = uint16(keys[i - 1] >> UNDERLYING_SHIFT);
                work.ends[at++] = i;
            }
        }
    }

    // ─── Market and numbers

    /// @dev Takes over what has been read for `other`. @return Whether that is all that is needed.
    function _share(Work memory work, Work memory other) private pure returns (bool) {
        unchecked {
            uint256 count = work.ends.length;
            if (other.ends.length != count || (work.options && !other.options)) return false;
            for (uint256 i; i < count; ++i) {
                UnderlyingMargin memory part = work.margin.underlyings[i];
                UnderlyingMargin memory read = other.margin.underlyings[i];
                if (part.underlying != read.underlying) return false;
                (part.price, part.age) = (read.price, read.age);
                (part.volatilityInitial, part.volatilityMaintenance, part.volatilityMark) =
                (read.volatilityInitial, read.volatilityMaintenance, read.volatilityMark);
                (part.rangeInitial, part.rangeMaintenance) = (read.rangeInitial, read.rangeMaintenance);
            }
            (work.common, work.words, work.table) = (other.common, other.words, other.table);
            (work.low, work.high) = (other.low, other.high);
            work.margin.fresh = other.margin.fresh;
            work.margin.multiplier = other.margin.multiplier;
            work.margin.openInterestScale = other.margin.openInterestScale;
            return true;
        }
    }

    function _readParameters(Work memory work) private view {
        uint256 count = work.ends.length;
        uint16[] memory ids = new uint16[](count);
        for (uint256 i; i < count; ++i) {
            ids[i] = work.margin.underlyings[i].underlying;
        }
        uint256[] memory pairs;
        (work.common, work.words, pairs) = riskParameters.snapshot(ids, work.options);
        work.margin.multiplier = uint256(Fields.MULTIPLIER.read(work.common)) * MILLIONTH;
        if (Fields.HORIZON_MAINTENANCE.read(work.common) <= 0 || work.margin.multiplier < WAD) {
            revert IMarginEngine.MarginEngineNotCalibrated(0);
        }
        work.low = new int256[](pairs.length);
        work.high = new int256[](pairs.length);
        for (uint256 i; i < pairs.length; ++i) {
            work.low[i] = Fields.CORRELATION_LOW.read(pairs[i]);
            work.high[i] = Fields.CORRELATION_HIGH.read(pairs[i]);
        }
    }

    /// @dev Price, volatility and the ranges. Tails are fitted per horizon and need not be ordered when the price is old, so
    /// the initial range is held at or above the maintenance range.
    function _readMarket(Work memory work, uint256 i) private view {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            (part.price, part.age) = priceOracle.price(part.underlying);
            bool fresh;
            (part.volatilityInitial, part.volatilityMaintenance, part.volatilityMark,, fresh) =
                volatilityOracle.levels(part.underlying);
            if (!fresh) work.margin.fresh = false;
            uint256 word = _word(work, i, 0);
            if (Fields.TAIL_MAINTENANCE.read(word) == 0 || Fields.TAIL_INITIAL.read(word) == 0) {
                revert IMarginEngine.MarginEngineNotCalibrated(part.underlying);
            }
            part.rangeMaintenance = RiskMath.rangeUp(
                part.volatilityMaintenance,
                uint256(Fields.TAIL_MAINTENANCE.read(word)),
                uint256(Fields.HORIZON_MAINTENANCE.read(work.common)) + part.age
            );
            part.rangeInitial = FixedPoint.max(
                part.rangeMaintenance,
                RiskMath.rangeUp(
                    part.volatilityInitial,
                    uint256(Fields.TAIL_INITIAL.read(word)),
                    uint256(Fields.HORIZON_INITIAL.read(work.common)) + part.age
                )
            );
            word = _word(work, i, 1);
            uint256 upper = uint256(Fields.OPEN_INTEREST_UPPER.read(word));
            if (upper == 0) return;
            work.margin.openInterestScale = FixedPoint.max(
                work.margin.openInterestScale,
                RiskMath.openInterestScaleUp(
                    FixedPoint.fullMulDivUp(clearingHouse.openInterestOf(part.underlying), part.price, WAD),
                    uint256(Fields.OPEN_INTEREST_LOWER.read(word)),
                    upper,
                    uint256(Fields.OPEN_INTEREST_SCALE.read(word))
                )
            );
        }
    }

    function _word(Work memory work, uint256 i, uint256 slot) private pure returns (uint256) {
        unchecked {
            return work.words[Fields.SLOTS_PER_UNDERLYING * i + slot];
        }
    }

    // ─── Value

    /// @dev Adds up one underlying: delta-one lines at the index price, options in their book.
    function _value(Work memory work, uint256 i) private view {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            uint256 at = i == 0 ? 0 : work.ends[i - 1];
            uint256 end = work.ends[i];
            // Collateral and perpetuals have no expiry, so they come first.
            for (; at < end; ++at) {
                uint256 key = work.keys[at];
                uint256 kind = uint8(key >> INDEX_BITS);
                if (kind > InstrumentLibrary.PERPETUAL) break;
                if (kind == 0) {
                    uint256 amount = work.portfolio.collateral[uint128(key)].amount;
                    part.deltaOne += int256(amount);
                    work.margin.collateral += FixedPoint.fullMulDiv(amount, part.price, WAD);
                } else {
                    Position memory position = work.portfolio.positions[uint128(key)];
                    part.deltaOne += position.size;
                    work.margin.unrealised += SignedWad.mulDown(position.size, part.price) + position.quote;
                }
            }
            part.exposure = SignedWad.mulDown(part.deltaOne, part.price);
            part.delta = part.deltaOne;
            if (at == end) return;

            OptionBook.Book memory book = _openBook(work, i);
            while (at < end) {
                at = _valueExpiry(work, book, at, end);
            }
            part.optionValue = RiskMath.wadDown(book.value);
            part.exposure += book.all.linear;
            part.delta += book.all.linear * int256(WAD) / int256(part.price);
            part.gamma = book.gammaDollars * int256(WAD) / int256(part.price) * int256(WAD) / int256(part.price);
            part.vega = book.vega;
            work.margin.unrealised += part.optionValue;
            work.longValue += FixedPoint.divUp(book.longValue, WAD);
        }
    }

    function _openBook(Work memory work, uint256 i) private view returns (OptionBook.Book memory book) {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            uint256 word = _word(work, i, 3);
            book.fall = uint256(Fields.VOLATILITY_FALL.read(work.common));
            if (word == 0 || book.fall == 0) revert IMarginEngine.MarginEngineNotCalibrated(part.underlying);
            if (NormalDistribution.Table.unwrap(work.table) == 0) work.table = NormalDistribution.load(normalTable);
            book.price = part.price;
            book.logPrice = FixedPoint.lnWad(int256(part.price));
            book.level = part.volatilityMark;
            (book.word1, book.word2, book.word3) = (_word(work, i, 1), _word(work, i, 2), word);
            book.both = work.both;
            book.initial.time = uint256(Fields.HORIZON_INITIAL.read(work.common));
            book.initial.rise = uint256(Fields.VOLATILITY_SHOCK_INITIAL.read(word)) * MILLIONTH;
            book.initial.range = part.rangeInitial;
            book.initial.nodes = Grid.nodesOf(part.rangeInitial, work.wanted);
            if (work.both) {
                book.maintenance.time = uint256(Fields.HORIZON_MAINTENANCE.read(work.common));
                book.maintenance.rise = uint256(Fields.VOLATILITY_SHOCK_MAINTENANCE.read(word)) * MILLIONTH;
                book.maintenance.range = part.rangeMaintenance;
                book.maintenance.nodes = Grid.nodesOf(part.rangeMaintenance, work.wanted);
            }
            book.kernel.table = NormalDistribution.Table.unwrap(work.table);
            book.kernel.rows = Grid.rowsOf(work.wanted);
            work.books[i] = book;
            work.booked |= 1 << i;
        }
    }

    function _hasBook(Work memory work, uint256 i) internal pure returns (bool) {
        return work.booked >> i & 1 != 0;
    }

    /// @dev One expiry, from key `at`. @return The key after it.
    function _valueExpiry(Work memory work, OptionBook.Book memory book, uint256 at, uint256 end)
        private
        view
        returns (uint256)
    {
        unchecked {
            uint256 key = work.keys[at];
            uint40 expiry = uint40(key >> (KIND_BITS + 64));
            uint256 series = key >> (KIND_BITS + 64);
            if (block.timestamp >= expiry) {
                uint256 price = registry.settlementPriceOf(uint16(key >> UNDERLYING_SHIFT), expiry);
                if (price != 0) return _valueSettled(work, book, at, end, price);
            }
            OptionBook.open(book, FixedPoint.zeroFloorSub(expiry, block.timestamp));
            while (at < end && work.keys[at] >> (KIND_BITS + 64) == series) {
                (int256 calls, int256 puts) = (int256(0), int256(0));
                key = work.keys[at] >> KIND_BITS;
                for (; at < end && work.keys[at] >> KIND_BITS == key; ++at) {
                    int256 size = work.portfolio.positions[uint128(work.keys[at])].size;
                    if (uint8(work.keys[at] >> INDEX_BITS) == InstrumentLibrary.PUT) puts += size;
                    else calls += size;
                }
                OptionBook.add(book, uint64(key) * InstrumentLibrary.STRIKE_UNIT, calls, puts);
                if (calls > 0 || puts > 0) work.holdsLong = true;
            }
            OptionBook.close(book);
            return at;
        }
    }

    /// @dev One settled expiry, from key `at`: cash already in all but name, neither risk nor part of what long options may
    /// still lose. @param price It settled at [wad]. @return The key after it.
    function _valueSettled(Work memory work, OptionBook.Book memory book, uint256 at, uint256 end, uint256 price)
        private
        pure
        returns (uint256)
    {
        unchecked {
            for (uint256 series = work.keys[at] >> (KIND_BITS + 64); at < end; ++at) {
                if (work.keys[at] >> (KIND_BITS + 64) != series) break;
                Position memory position = work.portfolio.positions[uint128(work.keys[at])];
                book.value += int256(position.size) * int256(position.instrument.payoff(price));
            }
            return at;
        }
    }

    /// @dev Equity: what could be claimed in cash, at no more than what cash is worth, and collateral at market.
    function _addCash(Margin memory margin) private view {
        int256 claim = CashValue.valueDown(margin.cash + margin.unrealised, priceOracle);
        margin.equity = claim + int256(margin.collateral);
    }

    // ─── Requirements

    function _require(Work memory work) private pure {
        if (work.ends.length == 0) return;
        _requireOver(work, work.margin.initial, true);
        if (!work.both) return;
        _requireOver(work, work.margin.maintenance, false);
        // A hedge whose live volatility has jumped offsets more at the initial horizon than at the maintenance horizon, so
        // ordered ranges alone do not order the two (ORDER).
        work.margin.maintenance.total = FixedPoint.min(work.margin.maintenance.total, work.margin.initial.total);
    }

    /// @dev One horizon: all of the portfolio, and where long options are held what is left without them.
    function _requireOver(Work memory work, Requirement memory requirement, bool initial) private pure {
        requirement.total = _evaluate(work, requirement, initial, false);
        requirement.longOptionCap = type(uint256).max;
        // The cap is at least the value of the long options.
        if (!work.holdsLong || requirement.total <= work.longValue) return;
        Requirement memory rest;
        requirement.longOptionCap = _evaluate(work, rest, initial, true) + work.longValue;
        requirement.total = FixedPoint.min(requirement.total, requirement.longOptionCap);
    }

    /// @param rest Whether the long options are left out.
    function _evaluate(Work memory work, Requirement memory requirement, bool initial, bool rest)
        private
        pure
        returns (uint256 total)
    {
        unchecked {
            uint256 count = work.ends.length;
            Shortfall.Exposure[] memory exposures = new Shortfall.Exposure[](count);
            int256[33] memory joint;
            for (uint256 i; i < count; ++i) {
                int256 linear = _linear(work, i, rest);
                if (count == 1) _losses(work, i, initial, rest, joint);
                else requirement.standalone += _addLosses(work, i, initial, rest, joint);
                _expose(work, i, initial, rest, linear, exposures[i]);
                _addCharges(work, i, requirement, initial, rest, FixedPoint.abs(linear));
            }
            (requirement.joint, requirement.worstNode) = work.options ? _worst(joint) : _worse(joint[1], joint[25]);
            if (count == 1) requirement.standalone = requirement.joint;
            requirement.grid =
                RiskMath.gridUp(requirement.standalone, requirement.joint, uint256(Fields.OFFSET.read(work.common)));
            if (work.greeks || !work.options) {
                requirement.expectedShortfall = Shortfall.shortfallUp(exposures, work.low, work.high);
            }
            requirement.risk = FixedPoint.max(requirement.grid, requirement.expectedShortfall);
            uint256 multiplier = work.margin.multiplier;
            if (initial) multiplier = FixedPoint.mulWadUp(multiplier, work.margin.openInterestScale);
            total = FixedPoint.fullMulDivUp(requirement.risk, multiplier, WAD) + requirement.liquidity
                + requirement.shortOptionMinimum;
            total = FixedPoint.max(total, requirement.leverageFloor);
        }
    }

    /// @dev Delta in dollars.
    function _linear(Work memory work, uint256 i, bool rest) private pure returns (int256) {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            if (!rest || !_hasBook(work, i)) return part.exposure;
            return part.exposure - work.books[i].all.linear + work.books[i].rest.linear;
        }
    }

    /// @dev Adds one underlying's losses to `joint` [wad²]. @return standalone Its own worst [wad dollars].
    function _addLosses(Work memory work, uint256 i, bool initial, bool rest, int256[33] memory joint)
        private
        pure
        returns (uint256 standalone)
    {
        int256[33] memory losses;
        _losses(work, i, initial, rest, losses);
        if (!work.options) {
            unchecked {
                joint[1] += losses[1];
                joint[25] += losses[25];
            }
            (standalone,) = _worse(losses[1], losses[25]);
            return standalone;
        }
        assembly ("memory-safe") {
            for { let o := 0 } lt(o, 0x420) { o := add(o, 0x20) } {
                mstore(add(joint, o), add(mload(add(joint, o)), mload(add(losses, o))))
            }
        }
        (standalone,) = _worst(losses);
    }

    /// @dev The worse of the two ends of the range, which is all that linear losses have.
    function _worse(int256 down, int256 up) private pure returns (uint256 worst, uint256 node) {
        int256 loss = FixedPoint.max(down, up);
        if (loss <= 0) return (0, 0);
        return (FixedPoint.divUp(uint256(loss), WAD), down > 0 && down >= up ? 1 : 25);
    }

    /// @dev The largest loss, none below zero, and its number in the order of Requirement.worstNode.
    function _worst(int256[33] memory losses) private pure returns (uint256 worst, uint256 node) {
        assembly ("memory-safe") {
            for { let o := 0 } lt(o, 0x420) { o := add(o, 0x20) } {
                if sgt(mload(add(losses, o)), worst) {
                    worst := mload(add(losses, o))
                    node := shr(5, o)
                }
            }
        }
        worst = FixedPoint.divUp(worst, WAD);
        if (node > 26) node = node == Grid.EXTREME_DOWN ? 27 : 28;
    }

    /// @dev One underlying's losses at the nodes [wad²], extremes weighted. @param losses To be filled: all zero.
    function _losses(Work memory work, uint256 i, bool initial, bool rest, int256[33] memory losses) internal pure {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            int256 range = int256(initial ? part.rangeInitial : part.rangeMaintenance);
            if (!work.options) {
                // Linear: the worst is at an end of the range, and the extremes never bind.
                losses[1] = part.exposure * FixedPoint.min(range, int256(WAD));
                losses[25] = -part.exposure * range;
                return;
            }
            int256 linear = SignedWad.mulDown(part.deltaOne, part.price);
            int256 worth;
            // Zeros where there is no book: each is read before it is written.
            (int256[33] memory common, int256[33] memory own) = (losses, losses);
            if (_hasBook(work, i)) {
                // Below 2^200 by the limits of the book.
                OptionBook.Book memory book = work.books[i];
                OptionBook.Horizon memory horizon = initial ? book.initial : book.maintenance;
                OptionBook.Sums memory sums = rest ? book.rest : book.all;
                linear += sums.forwards;
                worth = sums.worth + int256((initial ? sums.uncertainInitial : sums.uncertainMaintenance) * Grid.ERROR);
                (common, own) = (horizon.common, rest ? horizon.rest : horizon.all);
            }
            uint256 wanted = work.wanted;
            for (uint256 price; price < Grid.PRICES; ++price) {
                uint256 bits = wanted >> 3 * price & 7;
                if (bits == 0) continue;
                int256 loss = worth - linear * FixedPoint.max(Grid.stepOf(price) * range / 4, -int256(WAD));
                assembly ("memory-safe") {
                    // the same at every volatility of a price; what is not wanted stays zero, in every underlying
                    let o := mul(price, 0x60)
                    mstore(add(losses, o), mul(and(bits, 1), add(add(mload(add(common, o)), mload(add(own, o))), loss)))
                    o := add(o, 0x20)
                    mstore(
                        add(losses, o),
                        mul(and(shr(1, bits), 1), add(add(mload(add(common, o)), mload(add(own, o))), loss))
                    )
                    o := add(o, 0x20)
                    mstore(add(losses, o), mul(shr(2, bits), add(add(mload(add(common, o)), mload(add(own, o))), loss)))
                }
            }
            int256 weight = Fields.EXTREME_WEIGHT.read(work.common);
            losses[Grid.EXTREME_DOWN] = losses[Grid.EXTREME_DOWN] * weight / int256(MILLION);
            losses[Grid.EXTREME_UP] = losses[Grid.EXTREME_UP] * weight / int256(MILLION);
        }
    }

    /// @dev What the shortfall of an underlying alone is made of, at its range.
    function _expose(
        Work memory work,
        uint256 i,
        bool initial,
        bool rest,
        int256 linear,
        Shortfall.Exposure memory exposure
    ) private pure {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            uint256 range = initial ? part.rangeInitial : part.rangeMaintenance;
            exposure.linear = RiskMath.shareUp(linear, range);
            if (!_hasBook(work, i)) return;
            OptionBook.Book memory book = work.books[i];
            OptionBook.Sums memory sums = rest ? book.rest : book.all;
            int256 quadratic = initial ? sums.quadraticInitial : sums.quadraticMaintenance;
            exposure.quadratic = quadratic * int256(range) / int256(WAD) * int256(range) / int256(2 * WAD);
            int256 vega = initial ? sums.vegaInitial : sums.vegaMaintenance;
            // Long vega loses where volatility falls, which it does by less than it rises.
            exposure.vega = vega > 0 ? vega * Fields.VOLATILITY_FALL.read(work.common) / int256(MILLION) : vega;
        }
    }

    function _addCharges(
        Work memory work,
        uint256 i,
        Requirement memory requirement,
        bool initial,
        bool rest,
        uint256 notional
    ) private pure {
        unchecked {
            UnderlyingMargin memory part = work.margin.underlyings[i];
            uint256 word = _word(work, i, 1);
            uint256 liquidity = RiskMath.liquidityUp(
                notional,
                initial ? part.volatilityInitial : part.volatilityMaintenance,
                uint256(Fields.HALF_SPREAD.read(word)),
                uint256(Fields.IMPACT.read(word)),
                uint256(FixedPoint.max(1, Fields.AVERAGE_DAILY_VOLUME.read(word)))
            );
            uint256 tiered = FixedPoint.abs(SignedWad.mulDown(part.deltaOne, part.price));
            if (_hasBook(work, i)) {
                OptionBook.Book memory book = work.books[i];
                OptionBook.Sums memory sums = rest ? book.rest : book.all;
                liquidity += sums.closing;
                requirement.shortOptionMinimum += FixedPoint.fullMulDivUp(
                    FixedPoint.mulWadUp(sums.netShort, part.price),
                    uint256(Fields.SHORT_OPTION_MINIMUM.read(work.common)),
                    MILLION
                );
                tiered += FixedPoint.mulWadUp(book.shortSize, part.price);
            }
            requirement.liquidity += liquidity;
            if (initial) requirement.leverageFloor += RiskMath.leverageFloorUp(tiered, _word(work, i, 2));
            if (rest) return;
            if (initial) part.liquidityInitial = liquidity;
            else part.liquidityMaintenance = liquidity;
        }
    }
}
