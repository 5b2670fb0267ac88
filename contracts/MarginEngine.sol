// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { IClearingHouse } from "./interfaces/IClearingHouse.sol";
import { IInstrumentRegistry } from "./interfaces/IInstrumentRegistry.sol";
import { IMarginEngine } from "./interfaces/IMarginEngine.sol";
import { IPriceOracle } from "./interfaces/IPriceOracle.sol";
import { IRiskParameters } from "./interfaces/IRiskParameters.sol";
import { IVolatilityOracle } from "./interfaces/IVolatilityOracle.sol";
import { ModifiedShortfall as Shortfall } from "./libraries/ModifiedShortfall.sol";
import { NormalDistribution } from "./libraries/NormalDistribution.sol";
import { OptionBook } from "./libraries/OptionBook.sol";
import { RevaluationGrid as Grid } from "./libraries/RevaluationGrid.sol";
import { RiskMath } from "./libraries/RiskMath.sol";
import { FieldLibrary as Fields } from "./types/Field.sol";
import { Instrument, InstrumentLibrary } from "./types/Instrument.sol";
import { Greeks, Margin, Requirement, ScenarioLosses, UnderlyingMargin } from "./types/Margin.sol";
import { Collateral, Portfolio, Position } from "./types/Portfolio.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";
import { LibSort } from "solady/src/utils/LibSort.sol";

/// @title MarginEngine
/// @notice Level by oracle, shape by calibration: price and volatility are read from the oracles at the moment of the
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
contract MarginEngine is IMarginEngine {
    uint256 private constant WAD = 1e18;
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
    /// @param options Whether an option is held whose value can still move.
    /// @param holdsLong Whether one of them is held long. @param longValue What those are worth [wad dollars, rounded up].
    /// @param keys Lines, sorted. @param ends Where each underlying's keys end.
    /// @param books Of each underlying, its book; a pointer to nothing where `booked` lacks its bit.
    struct Work {
        Portfolio portfolio;
        Margin margin;
        bool both;
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

    /// @inheritdoc IMarginEngine
    function marginOf(uint64 account) external view returns (Margin memory) {
        return _assess(clearingHouse.portfolioOf(account), true).margin;
    }

    /// @inheritdoc IMarginEngine
    /// @dev Decoded from memory, as what the clearing house returns is: a second decoder would not fit.
    function marginOfPortfolio(Portfolio calldata) external view returns (Margin memory) {
        bytes memory encoded = msg.data[4:];
        return _assess(abi.decode(encoded, (Portfolio)), true).margin;
    }

    /// @inheritdoc IMarginEngine
    function initialMarginOf(uint64 account) external view returns (int256, uint256, bool) {
        Margin memory margin = _assess(clearingHouse.portfolioOf(account), false).margin;
        return (margin.equity, margin.initial.total, margin.fresh);
    }

    /// @inheritdoc IMarginEngine
    function greeksOf(uint64 account) external view returns (Greeks[] memory greeks) {
        Work memory work = _assess(clearingHouse.portfolioOf(account), false);
        UnderlyingMargin[] memory parts = work.margin.underlyings;
        greeks = new Greeks[](parts.length);
        for (uint256 i; i < parts.length; ++i) {
            UnderlyingMargin memory part = parts[i];
            int256 theta = !_hasBook(work, i) ? int256(0) : work.books[i].theta;
            greeks[i] = Greeks(part.underlying, part.delta, part.gamma, part.vega, theta, part.optionValue);
        }
    }

    /// @inheritdoc IMarginEngine
    function scenarioLosses(uint64 account) external view returns (ScenarioLosses[] memory losses) {
        Work memory work = _assess(clearingHouse.portfolioOf(account), true);
        losses = new ScenarioLosses[](work.margin.underlyings.length);
        for (uint256 i; i < losses.length; ++i) {
            losses[i].underlying = work.margin.underlyings[i].underlying;
            _scenarios(work, i, true, losses[i].initial);
            _scenarios(work, i, false, losses[i].maintenance);
        }
    }

    /// @inheritdoc IMarginEngine
    function markOf(Instrument instrument) external view returns (uint256 price, uint256 volatility) {
        Portfolio memory portfolio;
        portfolio.positions = new Position[](1);
        portfolio.positions[0] = Position(instrument, int128(int256(WAD)), 0);
        Work memory work = _assess(portfolio, false);
        price = uint256(work.margin.unrealised);
        if (work.booked != 0) volatility = OptionBook.volatilityOf(work.books[0]);
    }

    /// @inheritdoc IMarginEngine
    function haircutOf(uint16 asset, uint256 amount) external view returns (uint256 value, uint256 haircut) {
        IClearingHouse.Asset memory listed = clearingHouse.assetOf(asset);
        if (listed.underlying == 0) revert MarginEngineUnknownAsset(asset);
        Portfolio memory portfolio;
        portfolio.collateral = new Collateral[](1);
        portfolio.collateral[0] = Collateral(asset, listed.underlying, amount * 10 ** (18 - listed.decimals));
        Margin memory margin = _assess(portfolio, false).margin;
        value = margin.collateral;
        haircut = value == 0 ? 0 : FixedPoint.fullMulDivUp(margin.initial.total, WAD, value);
    }

    function _assess(Portfolio memory portfolio, bool both) private view returns (Work memory work) {
        work.portfolio = portfolio;
        work.both = both;
        work.margin.fresh = true;
        work.margin.cash = portfolio.cash;
        work.margin.multiplier = WAD;
        work.margin.openInterestScale = WAD;
        _sort(work);
        _group(work);
        if (work.ends.length != 0) {
            _readParameters(work);
            for (uint256 i; i < work.ends.length; ++i) {
                _readMarket(work, i);
                _value(work, i);
            }
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
            revert MarginEngineNotCalibrated(0);
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
                revert MarginEngineNotCalibrated(part.underlying);
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
                    work.margin.unrealised += _valueDown(position.size, part.price) + position.quote;
                }
            }
            part.exposure = _valueDown(part.deltaOne, part.price);
            part.delta = part.deltaOne;
            if (at == end) return;

            OptionBook.Book memory book = _openBook(work, i);
            while (at < end) {
                at = _valueExpiry(work, book, at, end);
            }
            part.optionValue = _floorDiv(book.value);
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
            if (word == 0 || book.fall == 0) revert MarginEngineNotCalibrated(part.underlying);
            if (NormalDistribution.Table.unwrap(work.table) == 0) work.table = NormalDistribution.load(normalTable);
            book.price = part.price;
            book.logPrice = FixedPoint.lnWad(int256(part.price));
            book.level = part.volatilityMark;
            (book.word1, book.word2, book.word3) = (_word(work, i, 1), _word(work, i, 2), word);
            book.both = work.both;
            book.initial.time = uint256(Fields.HORIZON_INITIAL.read(work.common));
            book.initial.rise = uint256(Fields.VOLATILITY_SHOCK_INITIAL.read(word)) * MILLIONTH;
            book.initial.range = part.rangeInitial;
            book.initial.nodes = Grid.nodesOf(part.rangeInitial);
            if (work.both) {
                book.maintenance.time = uint256(Fields.HORIZON_MAINTENANCE.read(work.common));
                book.maintenance.rise = uint256(Fields.VOLATILITY_SHOCK_MAINTENANCE.read(word)) * MILLIONTH;
                book.maintenance.range = part.rangeMaintenance;
                book.maintenance.nodes = Grid.nodesOf(part.rangeMaintenance);
            }
            book.kernel.table = NormalDistribution.Table.unwrap(work.table);
            work.books[i] = book;
            work.booked |= 1 << i;
        }
    }

    function _hasBook(Work memory work, uint256 i) private pure returns (bool) {
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
            uint256 settled =
                block.timestamp < expiry ? 0 : registry.settlementPriceOf(uint16(key >> UNDERLYING_SHIFT), expiry);
            if (settled == 0) OptionBook.open(book, FixedPoint.zeroFloorSub(expiry, block.timestamp));
            uint256 series = key >> (KIND_BITS + 64);
            while (at < end && work.keys[at] >> (KIND_BITS + 64) == series) {
                uint256 strike = uint64(work.keys[at] >> KIND_BITS) * InstrumentLibrary.STRIKE_UNIT;
                (int256 calls, int256 puts) = (int256(0), int256(0));
                key = work.keys[at] >> KIND_BITS;
                for (; at < end && work.keys[at] >> KIND_BITS == key; ++at) {
                    int256 size = work.portfolio.positions[uint128(work.keys[at])].size;
                    if (uint8(work.keys[at] >> INDEX_BITS) == InstrumentLibrary.PUT) puts += size;
                    else calls += size;
                }
                if (settled == 0) {
                    OptionBook.add(book, strike, calls, puts);
                    if (calls > 0 || puts > 0) work.holdsLong = true;
                } else {
                    // Cash already in all but name: neither risk nor part of what long options may still lose.
                    book.value += calls * int256(FixedPoint.zeroFloorSub(settled, strike)) + puts
                        * int256(FixedPoint.zeroFloorSub(strike, settled));
                }
            }
            if (settled == 0) OptionBook.close(book);
            return at;
        }
    }

    /// @dev Equity: what could be claimed in cash, at no more than what cash is worth, and collateral at market.
    function _addCash(Margin memory margin) private view {
        int256 claim = margin.cash + margin.unrealised;
        // A debt is owed in full even while cash trades below a dollar.
        if (claim > 0 && priceOracle.hasFeed(0)) {
            (uint256 cashPrice,) = priceOracle.price(0);
            if (cashPrice < WAD) claim = int256(FixedPoint.fullMulDiv(uint256(claim), cashPrice, WAD));
        }
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
                requirement.standalone += _addNodes(work, i, initial, rest, joint);
                _expose(work, i, initial, rest, linear, exposures[i]);
                _addCharges(work, i, requirement, initial, rest, FixedPoint.abs(linear));
            }
            (requirement.joint, requirement.worstNode) = _worst(joint);
            requirement.grid =
                RiskMath.gridUp(requirement.standalone, requirement.joint, uint256(Fields.OFFSET.read(work.common)));
            requirement.expectedShortfall = Shortfall.shortfallUp(exposures, work.low, work.high);
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
    function _addNodes(Work memory work, uint256 i, bool initial, bool rest, int256[33] memory joint)
        private
        pure
        returns (uint256 standalone)
    {
        unchecked {
            int256[33] memory losses;
            if (work.options) {
                _losses(work, i, initial, rest, losses);
            } else {
                // Linear: the worst is at an end of the range, and the extremes never bind.
                UnderlyingMargin memory part = work.margin.underlyings[i];
                int256 range = int256(initial ? part.rangeInitial : part.rangeMaintenance);
                losses[1] = part.exposure * FixedPoint.min(range, int256(WAD));
                losses[25] = -part.exposure * range;
                joint[1] += losses[1];
                joint[25] += losses[25];
                return FixedPoint.divUp(uint256(FixedPoint.max(losses[1], losses[25])), WAD);
            }
            assembly ("memory-safe") {
                for { let o := 0 } lt(o, 0x420) { o := add(o, 0x20) } {
                    mstore(add(joint, o), add(mload(add(joint, o)), mload(add(losses, o))))
                }
            }
            (standalone,) = _worst(losses);
        }
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

    /// @dev One underlying's losses at the nodes [wad²], extremes weighted.
    function _losses(Work memory work, uint256 i, bool initial, bool rest, int256[33] memory losses) private pure {
        UnderlyingMargin memory part = work.margin.underlyings[i];
        int256 range = int256(initial ? part.rangeInitial : part.rangeMaintenance);
        int256 linear = _valueDown(part.deltaOne, part.price);
        int256 worth;
        unchecked {
            // Below 2^200 by the limits of the book.
            if (_hasBook(work, i)) {
                OptionBook.Book memory book = work.books[i];
                OptionBook.Horizon memory horizon = initial ? book.initial : book.maintenance;
                OptionBook.Sums memory sums = rest ? book.rest : book.all;
                linear += sums.forwards;
                _addBook(losses, horizon.common, rest ? horizon.rest : horizon.all);
                worth = sums.worth + int256(sums.uncertain * Grid.ERROR);
            }
            for (uint256 price; price < 11; ++price) {
                int256 move = Grid.stepOf(price) * range / 4;
                if (move < -int256(WAD)) move = -int256(WAD);
                int256 loss = worth - linear * move;
                assembly ("memory-safe") {
                    // the same at every volatility of a price; the extremes have one
                    let at := add(losses, mul(price, 0x60))
                    if lt(price, 9) {
                        mstore(at, add(mload(at), loss))
                        mstore(add(at, 0x40), add(mload(add(at, 0x40)), loss))
                    }
                    mstore(add(at, 0x20), add(mload(add(at, 0x20)), loss))
                }
            }
            int256 weight = Fields.EXTREME_WEIGHT.read(work.common);
            losses[Grid.EXTREME_DOWN] = losses[Grid.EXTREME_DOWN] * weight / int256(MILLION);
            losses[Grid.EXTREME_UP] = losses[Grid.EXTREME_UP] * weight / int256(MILLION);
        }
    }

    function _addBook(int256[33] memory losses, int256[33] memory common, int256[33] memory own) private pure {
        assembly ("memory-safe") {
            for { let o := 0 } lt(o, 0x420) { o := add(o, 0x20) } {
                mstore(add(losses, o), add(mload(add(common, o)), mload(add(own, o))))
            }
        }
    }

    function _scenarios(Work memory work, uint256 i, bool initial, int256[29] memory out) private pure {
        unchecked {
            int256[33] memory losses;
            _losses(work, i, initial, false, losses);
            for (uint256 node; node < 29; ++node) {
                uint256 at = node < 27 ? node : node == 27 ? Grid.EXTREME_DOWN : Grid.EXTREME_UP;
                out[node] = -_floorDiv(-losses[at]);
            }
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
            exposure.linear = _awayFromZero(linear, range);
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
            uint256 tiered = FixedPoint.abs(_valueDown(part.deltaOne, part.price));
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

    // ─── Small things

    /// @dev amount · range, the size rounded up.
    function _awayFromZero(int256 amount, uint256 range) private pure returns (int256) {
        unchecked {
            int256 size = int256(FixedPoint.fullMulDivUp(FixedPoint.abs(amount), range, WAD));
            return amount < 0 ? -size : size;
        }
    }

    /// @dev delta · price, rounded towards minus infinity.
    function _valueDown(int256 delta, uint256 price) private pure returns (int256) {
        unchecked {
            return delta >= 0
                ? int256(FixedPoint.fullMulDiv(uint256(delta), price, WAD))
                : -int256(FixedPoint.fullMulDivUp(FixedPoint.abs(delta), price, WAD));
        }
    }

    /// @dev wad² to wad, rounded towards minus infinity.
    function _floorDiv(int256 amount) private pure returns (int256) {
        unchecked {
            int256 quotient = amount / int256(WAD);
            return amount < 0 && quotient * int256(WAD) != amount ? quotient - 1 : quotient;
        }
    }
}
