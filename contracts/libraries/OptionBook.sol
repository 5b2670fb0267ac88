// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { FieldLibrary as Fields } from "../types/Field.sol";
import { Black76 } from "./Black76.sol";
import { NormalDistribution } from "./NormalDistribution.sol";
import { RevaluationGrid as Grid } from "./RevaluationGrid.sol";
import { VolatilitySurface } from "./VolatilitySurface.sol";
import { FixedPointMathLib as FixedPoint } from "solady/src/utils/FixedPointMathLib.sol";

/// @title OptionBook
/// @notice The options of one account on one underlying: value, Greeks and losses at the nodes.
///
/// A put is a call less a forward plus its strike, so calls and puts of one strike are netted before anything is computed, and
/// a box spread costs no risk at all. What is net short at a strike keeps its time to expiry; what is net long is aged by
/// the horizon: each is worth what it is worth at the worse end of the horizon. A loss so computed is convex and
/// homogeneous in the net size, which keeps the grid subadditive (COHERENCE).
///
/// Everything is kept twice: for all options, and for the rest that is left when the long ones are taken away, because long
/// options may not make a requirement exceed what can be lost.
///
/// Arithmetic is unchecked: by the limits of the clearing house and the price oracle a size is below 2^94, a net size below
/// 2^100, a price or strike below 2^104, and of either no more than 64 are added up.
library OptionBook {
    uint256 private constant WAD = 1e18;
    int256 private constant ONE = 1e18;
    uint256 private constant MILLION = 1e6;
    uint256 private constant YEAR = 365 days;

    /// @notice One horizon of one underlying.
    /// @param time Its length [seconds]. @param rise Rise of 30-day volatility at the upper nodes [wad].
    /// @param range [wad]
    /// @param nodes The price nodes, their forwards those of the expiry at hand.
    /// @param risen 1 + rise of volatility at the tenor at hand [wad]. @param fallen 1 + fall [wad]. @param aged √((τ − time) / τ) [wad].
    /// @param common What strikes that both sides of the book hold alike lose, less their worth now [wad²].
    /// @param all Of those only all options hold. @param rest Of those only the rest holds.
    struct Horizon {
        uint256 time;
        uint256 rise;
        uint256 range;
        uint256[33] nodes;
        uint256 risen;
        uint256 fallen;
        uint256 aged;
        int256[33] common;
        int256[33] all;
        int256[33] rest;
    }

    /// @notice Sums over strikes, for all options or for the rest.
    /// @param linear Delta [wad dollars]. @param forwards Of it, what the forwards of the puts are [wad dollars].
    /// @param worth Σ net size · call [wad²].
    /// @param quadraticInitial Γ·S² [wad dollars], with the gamma an option has over the range and not at a point.
    /// @param vegaInitial Dollars for the up shock [wad]. @param closing Cost of closing, in volatility [wad dollars].
    /// @param netShort Units net short at their strike [wad].
    /// @param uncertainInitial Σ |size| · (highest forward + strike), what the error of the kernel is relative to [wad dollars].
    struct Sums {
        int256 linear;
        int256 forwards;
        int256 worth;
        int256 quadraticInitial;
        int256 quadraticMaintenance;
        int256 vegaInitial;
        int256 vegaMaintenance;
        uint256 closing;
        uint256 netShort;
        uint256 uncertainInitial;
        uint256 uncertainMaintenance;
        // of the expiry at hand
        int256 delta;
        int256 relative;
    }

    /// @notice The book, and what the strikes of an underlying share.
    /// @param value Mark value [wad²]. @param longValue Of what is held long [wad²].
    /// @param shortSize Units of all short options [wad]. @param gammaDollars Γ·S² at a point [wad dollars].
    /// @param vega Dollars for one whole unit of volatility [wad]. @param theta Dollars a year at a constant forward [wad].
    /// @param both Whether the maintenance horizon is wanted too.
    /// @param fall Fall of volatility at the lower nodes, part of the rise [millionths].
    /// @param level Volatility the options are marked at [wad]. @param word1 Slot 1 of RiskParameters; the others likewise.
    struct Book {
        Sums all;
        Sums rest;
        int256 value;
        uint256 longValue;
        uint256 shortSize;
        int256 gammaDollars;
        int256 vega;
        int256 theta;
        bool both;
        Horizon initial;
        Horizon maintenance;
        Grid.Kernel kernel;
        uint256 fall;
        int256 logPrice;
        uint256 price;
        uint256 level;
        uint256 word1;
        uint256 word2;
        uint256 word3;
        Expiry expiry;
    }

    /// @notice The expiry at hand.
    /// @param time Seconds left; 0 once expired. @param density Σ net size · F·φ(d1) [wad dollars].
    struct Expiry {
        uint256 time;
        uint256 forward;
        int256 logForward;
        int256 density;
        VolatilitySurface.Slice slice;
    }

    /// @notice Make ready for the strikes of an expiry.
    /// @param time Seconds left; 0 once expired and not settled: the payoff at the index price.
    function open(Book memory book, uint256 time) internal pure {
        unchecked {
            Expiry memory expiry = book.expiry;
            expiry.time = time;
            expiry.density = 0;
            int256 carry = Fields.CARRY.read(book.word1) * int256(1e12 * time / YEAR);
            expiry.logForward = book.logPrice + carry;
            expiry.forward = carry == 0 ? book.price : book.price * uint256(FixedPoint.expWad(carry)) / WAD;
            uint256 scale = WAD;
            if (time != 0) {
                expiry.slice = VolatilitySurface.slice(book.level, time, book.word3);
                scale = VolatilitySurface.shock(WAD, uint256(Fields.VOLATILITY_SHOCK_EXPONENT.read(book.word3)), time);
            }
            _openHorizon(book.initial, expiry, scale, book.fall);
            if (book.both) _openHorizon(book.maintenance, expiry, scale, book.fall);
        }
    }

    function _openHorizon(Horizon memory horizon, Expiry memory expiry, uint256 scale, uint256 fall) private pure {
        unchecked {
            Grid.setForward(horizon.nodes, expiry.forward);
            uint256 rise = horizon.rise * scale / WAD + 1;
            horizon.risen = WAD + rise;
            horizon.fallen = WAD + rise * fall / MILLION;
            uint256 time = expiry.time;
            horizon.aged = time <= horizon.time ? 0 : FixedPoint.sqrt((time - horizon.time) * (WAD * WAD) / time);
        }
    }

    /// @notice Add one strike. @param strike [wad] @param calls Units of calls [wad], signed. @param puts Likewise.
    function add(Book memory book, uint256 strike, int256 calls, int256 puts) internal pure {
        unchecked {
            Expiry memory expiry = book.expiry;
            int256 logMoneyness = expiry.logForward - FixedPoint.lnWad(int256(strike));
            uint256 deviation = expiry.time == 0 ? 0 : VolatilitySurface.deviation(expiry.slice, -logMoneyness);
            book.kernel.strike = strike;
            book.kernel.logMoneyness = Grid.toQ57(logMoneyness);
            (uint256 call, uint256 delta, uint256 density) = Black76.evaluate(
                NormalDistribution.Table.wrap(book.kernel.table), expiry.forward, strike, logMoneyness, deviation
            );
            _addValue(book, int256(call), int256(strike) - int256(expiry.forward), calls, puts);

            int256 restPuts = FixedPoint.min(puts, 0);
            int256 netRest = FixedPoint.min(calls, 0) + restPuts;
            book.shortSize += uint256(-netRest);
            _addSums(book, book.all, calls + puts, puts, int256(delta), density, deviation);
            // Most strikes are held on one side only, and nothing is long there for the rest to lack.
            if (netRest != 0) _addSums(book, book.rest, netRest, restPuts, int256(delta), density, deviation);

            int256 net = calls + puts;
            expiry.density += net * int256(density) / ONE;
            if (deviation != 0) book.gammaDollars += net * int256(density) / int256(deviation);
            book.all.worth += net * int256(call);
            book.rest.worth += netRest * int256(call);
            if (net == netRest) {
                _revalue(book, net, deviation, 0);
            } else {
                if (net != 0) _revalue(book, net, deviation, 1);
                if (netRest != 0) _revalue(book, netRest, deviation, 2);
            }
        }
    }

    function _addValue(Book memory book, int256 call, int256 strikeOverForward, int256 calls, int256 puts)
        private
        pure
    {
        unchecked {
            // Never below zero, since a call is never below its intrinsic value.
            int256 put = call + strikeOverForward;
            book.value += calls * call + puts * put;
            if (calls > 0) book.longValue += uint256(calls * call);
            if (puts > 0) book.longValue += uint256(puts * put);
        }
    }

    /// @param size Net units. @param puts Of them, puts.
    function _addSums(
        Book memory book,
        Sums memory sums,
        int256 size,
        int256 puts,
        int256 delta,
        uint256 density,
        uint256 deviation
    ) private pure {
        unchecked {
            sums.delta += size * delta / ONE - puts;
            sums.forwards -= puts * int256(book.expiry.forward) / ONE;
            if (size == 0) return;
            uint256 units = FixedPoint.abs(size);
            if (size < 0) sums.netShort += units;
            sums.uncertainInitial += _uncertain(book.initial, book.kernel.strike, units);
            if (book.both) sums.uncertainMaintenance += _uncertain(book.maintenance, book.kernel.strike, units);
            size = size * int256(density) / ONE;
            int256 relative = size * int256(deviation) / ONE;
            sums.relative += relative;
            sums.closing += FixedPoint.abs(relative) * uint256(Fields.OPTION_HALF_SPREAD.read(book.word2)) / MILLION + 1;
            // A delta moves by one at most, however large the gamma of a moment: over a range, gamma is that of an option
            // whose deviation is at least the step between two nodes.
            sums.quadraticInitial += size * ONE / int256(FixedPoint.max(deviation, book.initial.range / 4) + 1);
            if (book.both) {
                sums.quadraticMaintenance += size * ONE
                    / int256(FixedPoint.max(deviation, book.maintenance.range / 4) + 1);
            }
        }
    }

    function _uncertain(Horizon memory horizon, uint256 strike, uint256 units) private pure returns (uint256) {
        unchecked {
            return units * (horizon.nodes[31] + strike) / WAD + 1;
        }
    }

    /// @param which 0 for the common losses, 1 for all options, 2 for the rest.
    function _revalue(Book memory book, int256 size, uint256 deviation, uint256 which) private pure {
        book.kernel.size = size;
        _revalueOver(book.kernel, book.initial, deviation, which);
        if (book.both) _revalueOver(book.kernel, book.maintenance, deviation, which);
    }

    function _revalueOver(Grid.Kernel memory kernel, Horizon memory horizon, uint256 deviation, uint256 which)
        private
        pure
    {
        unchecked {
            if (kernel.size > 0) deviation = deviation * horizon.aged / WAD;
            int256[33] memory losses = which == 0 ? horizon.common : which == 1 ? horizon.all : horizon.rest;
            Grid.aim(kernel, horizon.nodes, losses);
            Grid.subtract(kernel, deviation, horizon.risen, horizon.fallen);
        }
    }

    /// @notice The expiry at hand has no more strikes.
    function close(Book memory book) internal pure {
        unchecked {
            Expiry memory expiry = book.expiry;
            uint256 time = expiry.time;
            if (time != 0) {
                book.vega += expiry.density * int256(FixedPoint.sqrt(time * (WAD * WAD) / YEAR)) / ONE;
                book.theta -= book.all.relative * int256(YEAR) / int256(2 * time);
            }
            _close(book, book.all);
            _close(book, book.rest);
        }
    }

    function _close(Book memory book, Sums memory sums) private pure {
        unchecked {
            sums.linear += sums.delta * int256(book.expiry.forward) / ONE;
            sums.vegaInitial += sums.relative * int256(book.initial.risen - WAD) / ONE;
            if (book.both) sums.vegaMaintenance += sums.relative * int256(book.maintenance.risen - WAD) / ONE;
            (sums.delta, sums.relative) = (0, 0);
        }
    }

    /// @notice Implied volatility of the strike last added, annualised [wad]; 0 where there is none.
    function volatilityOf(Book memory book) internal pure returns (uint256) {
        uint256 time = book.expiry.time;
        if (time == 0) return 0;
        int256 logMoneyness = book.expiry.logForward - FixedPoint.lnWad(int256(book.kernel.strike));
        uint256 deviation = VolatilitySurface.deviation(book.expiry.slice, -logMoneyness);
        return FixedPoint.fullMulDiv(deviation, WAD, FixedPoint.sqrt(time * (WAD * WAD) / YEAR));
    }
}
