"""The compiled half of the mirror: one requirement an account, over the tables that `mirror` lays out.

An account is a run of (instrument, size). Calls and puts on one (underlying, expiry, strike), a *line*, are netted into
calls; puts leave forwards behind. What a line can lose at the nodes, its Greeks and its charges are then all linear in
the net size, with one row of coefficients for net longs and one for net shorts, so that a whole account is a weighted
sum of rows for each underlying. Accounts are independent of each other and each is summed in the order of its
positions, so results do not depend on the number of threads.
"""

# mypy: allow-untyped-defs, no-check-untyped-defs
# numba works out the types of what it compiles.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Places = NDArray[
        np.uint64
    ]  # unsigned: an index that can't be negative costs no test, and loops over it are vectorised

NODES = 29
PADDED_NODES = 32
"""Nodes with zeros behind them: vector registers hold four, and take two of them at a time."""
# Columns of a row after the losses at the nodes. All are dollars for one unit of a net call.
DELTA = 32
"""Δ·S."""
GAMMA = 33
"""Γ·S²."""
VEGA = 34
"""Gain at the upper volatility node, to first order."""
SPREAD = 35
"""Cost of closing in volatility."""
MINIMUM = 36
"""Short option minimum."""
COLUMNS = 40

# Columns of the results of one horizon, in the order of Requirement in contracts/types/Margin.sol.
STANDALONE, JOINT, WORST_NODE, GRID, SHORTFALL, RISK, LIQUIDITY, SHORT_MINIMUM, LEVERAGE, CAP, TOTAL = range(11)
RESULTS = 11
# Columns of the results common to both.
EQUITY, UNREALISED, COLLATERAL, SCALE = range(4)
VALUES = 4

# Kinds, with collateral beside what contracts/types/Instrument.sol numbers.
SPOT, PERPETUAL, CALL, PUT = range(4)

TAIL = 0.01
QUANTILE = -2.3263478740408408
"""Φ⁻¹(1%)."""
NORMAL_SHORTFALL = 2.665214220345808
"""c = φ(Φ⁻¹(1%)) / 1%: 99% expected shortfall of a standard normal variable."""
LEAST_SKEW = -1.7998
"""Between the two the multiplier of modified expected shortfall falls as skew rises; beyond them it turns back."""
GREATEST_SKEW = 0.3808

# Sums may be split over vector registers: the same way in every run on a machine, whatever the number of threads.
_FAST = {"nnan", "nsz", "reassoc", "contract"}
_CHUNK = 64


class House(NamedTuple):
    """What all accounts share. Instruments are in order of underlying, lines likewise; money in dollars."""

    underlying: Integers
    """(instruments,)"""
    line: Integers
    """(instruments,) −1 for what is no option, or settled."""
    worth: Floats
    """(6, instruments): of a unit: counted as profit; as collateral; the same if a long option; its forwards if it is
    no option; its forwards if it is one; whether it is one, not yet settled."""
    first: Places
    """(underlyings + 1,) where each underlying's instruments begin."""
    line_first: Places
    """(underlyings + 1,) where each underlying's lines begin."""
    call: Integers
    """(lines,) instrument that is the line's call; −1 where there is none."""
    put: Integers
    price: Floats
    """(underlyings,)"""
    scale: Floats
    """(underlyings,) of the initial requirement, by open interest."""
    tiers: Floats
    """(underlyings, 7): four rates, and the notionals at which the first three brackets end."""
    low: Floats
    """(underlyings, underlyings) correlations, as is the other."""
    high: Floats
    table: Floats
    """(2, 2 · lines, COLUMNS): horizon; net longs, then net shorts."""
    moves: Floats
    """(2, underlyings, PADDED_NODES): price moves at the nodes, weighted."""
    ranges: Floats
    """(2, underlyings)"""
    costs: Floats
    """(2, underlyings, 2): half spread, and impact rate for a notional of one dollar."""
    cash_price: float
    offset: float
    multiplier: float
    fall: float


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def modified_multiplier(skew: float) -> float:
    """Modified expected shortfall at 1% over the standard deviation (Boudt, Peterson & Croux 2008, "Estimation and
    decomposition of downside risk for portfolios with non-normal returns", eq. 20) with excess kurtosis 0 and the skew
    of gains clamped. With g the Cornish-Fisher quantile, their integrals I(q) collapse to
    m = φ(g)/1% · (1 + g³·skew/6 + (g⁶ − 9g⁴ + 9g² + 3)·skew²/72)."""
    skew = min(max(skew, LEAST_SKEW), GREATEST_SKEW)
    z = QUANTILE
    g = z + (z * z - 1) * skew / 6 - (2 * z**3 - 5 * z) * skew * skew / 36
    square = g * g
    series = 1 + square * g * skew / 6 + (((square - 9) * square + 9) * square + 3) * skew * skew / 72
    return math.exp(-0.5 * square) / math.sqrt(2 * math.pi) / TAIL * series


# The functions below take arrays one by one: compiled code counts references to every array of a tuple it is handed.
# Bounds of inner loops are read from shapes: loops of a length known ahead are unrolled rather than vectorised.
# Of arrays whose first axis is 2, [0] is of all holdings and [1] of the rest: all but the long options.


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _take_dense(
    sizes, start, worth, first, line_first, call, put, net, begin, active, forwards, spots, shorts
):  # fmt: skip
    """Take in sizes of all instruments. Returns (underlyings held, profit, collateral, value of long options).

    Fills net (2, lines) and begin (where in a flat table the line's row begins) of the underlyings held, and by their
    place in `active`: forwards (2, dollars in forwards, be they perpetuals, collateral or parts of puts), spots
    (dollars in perpetuals and collateral) and shorts (units of short options).
    """
    count = 0
    profit = 0.0
    collateral = 0.0
    long_value = 0.0
    lines = np.uint64(net.shape[1])
    for u in range(first.size - 1):
        gross = 0.0
        forward = 0.0
        forward_rest = 0.0
        spot = 0.0
        short = 0.0
        for i in range(first[u], first[u + 1]):
            size = sizes[start + i]
            below = min(size, 0.0)
            gross += abs(size)
            profit += size * worth[0, i]
            collateral += size * worth[1, i]
            long_value += (size - below) * worth[2, i]
            spot += size * worth[3, i]
            forward += size * worth[4, i]
            forward_rest += below * worth[4, i]
            short -= below * worth[5, i]
        if gross == 0:
            continue
        active[count] = u
        forwards[0, count] = spot + forward
        forwards[1, count] = spot + forward_rest
        spots[count] = spot
        shorts[count] = short
        for at in range(line_first[u], line_first[u + 1]):
            calls = sizes[start + np.uint64(call[at])] if call[at] >= 0 else 0.0
            puts = sizes[start + np.uint64(put[at])] if put[at] >= 0 else 0.0
            net[0, at] = calls + puts
            net[1, at] = min(calls, 0.0) + min(puts, 0.0)
            begin[0, at] = (at + np.uint64(net[0, at] < 0) * lines) * np.uint64(COLUMNS)
        count += 1
    return count, profit, collateral, long_value


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _take_sparse(
    sizes, columns, start, end, underlying, line, worth, seen, slot_of, net, lines, slots, held, active,
    forwards, spots, shorts
):  # fmt: skip
    """Take in entries of some instruments; as the dense one, and fills lines and slots (2, held): the lines held and
    the places of their underlyings in `active`. seen (lines) and slot_of (underlyings) are left as found: false, −1."""
    count = 0
    profit = 0.0
    collateral = 0.0
    long_value = 0.0
    held_all = 0
    for entry in range(start, end):
        size = sizes[entry]
        if size == 0:
            continue
        i = columns[entry]
        u = underlying[i]
        slot = slot_of[u]
        if slot < 0:
            slot = count
            slot_of[u] = count
            active[count] = u
            forwards[0, count] = 0.0
            forwards[1, count] = 0.0
            spots[count] = 0.0
            shorts[count] = 0.0
            count += 1
        below = min(size, 0.0)
        profit += size * worth[0, i]
        collateral += size * worth[1, i]
        long_value += (size - below) * worth[2, i]
        spots[slot] += size * worth[3, i]
        forwards[0, slot] += size * (worth[3, i] + worth[4, i])
        forwards[1, slot] += size * worth[3, i] + below * worth[4, i]
        shorts[slot] -= below * worth[5, i]
        at = line[i]
        if at >= 0:
            if not seen[at]:
                seen[at] = True
                net[0, at] = 0.0
                net[1, at] = 0.0
                lines[0, held_all] = at
                slots[0, held_all] = slot
                held_all += 1
            net[0, at] += size
            net[1, at] += below
    held_rest = 0
    for i in range(held_all):
        at = lines[0, i]
        seen[at] = False
        lines[1, held_rest] = at
        slots[1, held_rest] = slots[0, i]
        held_rest += net[1, at] != 0
    for i in range(count):
        slot_of[active[i]] = -1
    held[0] = held_all
    held[1] = held_rest
    return count, profit, collateral, long_value


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _add_rows_dense(rows, table, which, count, net, begin, active, line_first):
    """rows: Σ net size · row over all lines of each underlying held. table: one horizon's, flat; begin: where in it the
    row of each line begins."""
    for slot in range(count):
        target = rows[slot]
        target[:] = 0.0
        at = line_first[active[slot]]
        end = line_first[active[slot] + 1]
        # Six rows at a time, so that sums are loaded and stored a sixth as often.
        while at + np.uint64(6) <= end:
            w0, b0 = net[which, at], begin[which, at]
            w1, b1 = net[which, at + np.uint64(1)], begin[which, at + np.uint64(1)]
            w2, b2 = net[which, at + np.uint64(2)], begin[which, at + np.uint64(2)]
            w3, b3 = net[which, at + np.uint64(3)], begin[which, at + np.uint64(3)]
            w4, b4 = net[which, at + np.uint64(4)], begin[which, at + np.uint64(4)]
            w5, b5 = net[which, at + np.uint64(5)], begin[which, at + np.uint64(5)]
            for c in range(np.uint64(target.size)):
                near = w0 * table[b0 + c] + w1 * table[b1 + c] + w2 * table[b2 + c]
                target[c] += near + (w3 * table[b3 + c] + w4 * table[b4 + c] + w5 * table[b5 + c])
            at += np.uint64(6)
        while at < end:
            w0, b0 = net[which, at], begin[which, at]
            for c in range(np.uint64(target.size)):
                target[c] += w0 * table[b0 + c]
            at += np.uint64(1)


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _add_rows_sparse(rows, table, horizon, which, count, net, lines, slots, held):
    """The same over the lines held."""
    below = net.shape[1]
    for slot in range(count):
        for c in range(table.shape[2]):
            rows[slot, c] = 0.0
    for i in range(held):
        slot = slots[which, i]
        w = net[which, lines[which, i]]
        r = lines[which, i] if w > 0 else lines[which, i] + below
        for c in range(table.shape[2]):
            rows[slot, c] += w * table[horizon, r, c]


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _expected_shortfall(rows, deltas, active, count, horizon, ranges, low, high, work):
    """Greeks ES of the design, from the cumulants of d·x + ½·x·G·x + V·y; each pair's correlation is the worse for its
    deltas."""
    scale = 1 / (NORMAL_SHORTFALL * NORMAL_SHORTFALL)
    curved = False
    variance = 0.0
    mean = 0.0
    for i in range(count):
        u = active[i]
        curved = curved or rows[i, GAMMA] != 0
        for j in range(i + 1):
            v = active[j]
            correlation = 1.0
            if i != j:
                correlation = high[u, v] if deltas[i] * deltas[j] >= 0 else low[u, v]
            both = correlation * ranges[horizon, u] * ranges[horizon, v] * scale
            work[0, i, j] = both
            work[0, j, i] = both
            term = deltas[i] * deltas[j] * both + 0.5 * rows[i, GAMMA] * rows[j, GAMMA] * both * both
            term += rows[i, VEGA] * rows[j, VEGA] * correlation * scale
            variance += term if i == j else 2 * term
        mean += 0.5 * rows[i, GAMMA] * work[0, i, i]
    # Not a matrix of any variables, if this is negative; the grid then decides alone.
    if variance <= 0:
        return max(0.0, -mean)
    deviation = math.sqrt(variance)
    if not curved:
        return deviation * NORMAL_SHORTFALL
    linear = 0.0
    for i in range(count):
        own = 0.0
        for j in range(count):
            own += work[0, i, j] * deltas[j]
            work[1, i, j] = rows[i, GAMMA] * work[0, i, j]
        linear += own * own * rows[i, GAMMA]
    cubic = 0.0
    for i in range(count):
        for j in range(count):
            twice = 0.0
            for k in range(count):
                twice += work[1, i, k] * work[1, k, j]
            cubic += twice * work[1, j, i]
    skew = (3 * linear + cubic) / (variance * deviation)
    return max(0.0, -min(mean, 0.0) + deviation * modified_multiplier(skew))


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _add_losses(rows, forwards, deltas, joint, which, count, horizon, active, moves, costs, fall):
    """Grid and liquidity. Returns (standalone, joint, worst node, liquidity, short option minimum); fills deltas."""
    standalone = 0.0
    liquidity = 0.0
    minimum = 0.0
    for c in range(joint.size):
        joint[c] = 0.0
    for i in range(count):
        u = active[i]
        forward = forwards[which, i]
        worst = 0.0
        for c in range(joint.size):
            loss = rows[i, c] - forward * moves[horizon, u, c]
            joint[c] += loss
            worst = max(worst, loss)
        standalone += worst
        deltas[i] = rows[i, DELTA] + forward
        notional = abs(deltas[i])
        liquidity += notional * (costs[horizon, u, 0] + costs[horizon, u, 1] * math.sqrt(notional)) + rows[i, SPREAD]
        minimum += rows[i, MINIMUM]
        # Long vega loses where volatility falls, which it does by less than it rises.
        if rows[i, VEGA] > 0:
            rows[i, VEGA] *= fall
    worst = 0.0
    node = 0
    for c in range(joint.size):
        if joint[c] > worst:
            worst = joint[c]
            node = c
    # Volatility makes no difference to what is no option: then it is unchanged.
    if worst > 0 and node < NODES - 2 and joint[node + 1] == worst:
        node += 1
    return standalone, worst, node, liquidity, minimum


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _leverage_floor(notional, tiers, u):
    """Σ rate · notional in the bracket."""
    total = 0.0
    start = 0.0
    for bracket in range(4):
        end = tiers[u, 4 + bracket] if bracket < 3 else np.inf
        if notional > start:
            total += tiers[u, bracket] * (min(notional, end) - start)
        start = max(start, end)
    return total


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _run(house, sizes, columns, offsets, cash, quotes, horizons, first, last, values, results):  # noqa: PLR0915
    """`margins` of the accounts from first to last."""
    underlyings, count_lines = house.price.size, house.call.size
    worth, starts, line_starts = house.worth, house.first, house.line_first
    underlying, line, call, put = house.underlying, house.line, house.call, house.put
    table, moves, costs, ranges, low, high = house.table, house.moves, house.costs, house.ranges, house.low, house.high
    price, scales, tiers = house.price, house.scale, house.tiers
    offset, multiplier, fall, cash_price = house.offset, house.multiplier, house.fall, house.cash_price
    net = np.zeros((2, count_lines))
    begin = np.zeros((2, count_lines), dtype=np.uint64)
    for at in range(count_lines):
        # What is left without long options is short at every line.
        begin[1, at] = (count_lines + at) * COLUMNS
    flat = table.reshape(2, -1)
    # One longer than there are lines: a place is written before it is known whether it is kept.
    lines = np.zeros((2, count_lines + 1), dtype=np.int64)
    slots = np.zeros((2, count_lines + 1), dtype=np.int64)
    held = np.zeros(2, dtype=np.int64)
    seen = np.zeros(count_lines, dtype=np.bool_)
    slot_of = np.full(underlyings, -1, dtype=np.int64)
    active = np.zeros(underlyings, dtype=np.int64)
    forwards = np.zeros((2, underlyings))
    spots = np.zeros(underlyings)
    shorts = np.zeros(underlyings)
    rows = np.zeros((underlyings, COLUMNS))
    deltas = np.zeros(underlyings)
    joint = np.zeros(PADDED_NODES)
    work = np.zeros((2, underlyings, underlyings))
    for account in range(first, last):
        start = offsets[account]
        if columns.size:
            count, profit, collateral, long_value = _take_sparse(
                sizes, columns, start, offsets[account + 1], underlying, line, worth, seen, slot_of, net, lines,
                slots, held, active, forwards, spots, shorts,
            )  # fmt: skip
        else:
            count, profit, collateral, long_value = _take_dense(
                sizes, np.uint64(start), worth, starts, line_starts, call, put, net, begin, active, forwards, spots,
                shorts,
            )  # fmt: skip
        scale = 1.0
        floor = 0.0
        for i in range(count):
            scale = max(scale, scales[active[i]])
            floor += _leverage_floor(abs(spots[i]) + shorts[i] * price[active[i]], tiers, active[i])
        profit += quotes[account]
        claim = cash[account] + profit
        # A debt is owed in full even while cash trades below a dollar.
        values[account, EQUITY] = collateral + (claim * cash_price if claim > 0 else claim)
        values[account, UNREALISED] = profit
        values[account, COLLATERAL] = collateral
        values[account, SCALE] = scale
        for horizon in range(horizons):
            factor = multiplier if horizon else scale * multiplier
            least = 0.0 if horizon else floor
            whole = 0.0
            for which in range(2):
                # The cap is at least the value of the long options.
                if which == 1 and (long_value == 0 or whole <= long_value):
                    break
                if columns.size:
                    _add_rows_sparse(rows, table, horizon, which, count, net, lines, slots, held[which])
                else:
                    _add_rows_dense(rows, flat[horizon], which, count, net, begin, active, line_starts)
                standalone, worst, node, liquidity, minimum = _add_losses(
                    rows, forwards, deltas, joint, which, count, horizon, active, moves, costs, fall
                )
                grid = (1 - offset) * standalone + offset * worst
                shortfall = _expected_shortfall(rows, deltas, active, count, horizon, ranges, low, high, work)
                risk = max(grid, shortfall)
                total = max(factor * risk + liquidity + minimum, least)
                if which == 1:
                    results[account, horizon, CAP] = total + long_value
                    whole = min(whole, total + long_value)
                    break
                whole = total
                results[account, horizon, STANDALONE] = standalone
                results[account, horizon, JOINT] = worst
                results[account, horizon, WORST_NODE] = node
                results[account, horizon, GRID] = grid
                results[account, horizon, SHORTFALL] = shortfall
                results[account, horizon, RISK] = risk
                results[account, horizon, LIQUIDITY] = liquidity
                results[account, horizon, SHORT_MINIMUM] = minimum
                results[account, horizon, LEVERAGE] = least
                results[account, horizon, CAP] = np.inf
            # ORDER: maintenance is never above initial.
            results[account, horizon, TOTAL] = min(whole, results[account, 0, TOTAL]) if horizon else whole


@njit(cache=True, parallel=True, error_model="numpy", fastmath=_FAST)
def margins(house, sizes, columns, offsets, cash, quotes, horizons):
    """Margins of all accounts: (values (accounts, VALUES), results (accounts, 2, RESULTS)), horizon 0 the initial one.

    sizes: of all accounts, one after the other. offsets: (accounts + 1,) where each one's run begins. columns:
    instrument of each size, or empty where every run is all instruments in order. horizons: 1 for the initial one
    alone, 2 for both.
    """
    accounts = offsets.size - 1
    values = np.empty((accounts, VALUES))
    results = np.zeros((accounts, 2, RESULTS))
    for chunk in prange((accounts + _CHUNK - 1) // _CHUNK):
        last = min(accounts, (chunk + 1) * _CHUNK)
        _run(house, sizes, columns, offsets, cash, quotes, horizons, chunk * _CHUNK, last, values, results)
    return values, results
