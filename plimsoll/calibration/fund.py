"""The size of the insurance fund: what accounts may lose beyond their margin, in scenarios and on a simulated day.

Cover-2: the two participants whose default would cost most, in the worst extreme but plausible scenario (CPMI-IOSCO
2012, "Principles for financial market infrastructures", principle 4, key consideration 4). The simulated day is
filtered historical simulation of all assets at once (Barone-Adesi, Giannopoulos & Vosper 1999): rows of standardised
residuals are drawn whole, all assets of one date together, so that what falls together goes on falling together, and
volatility moves along the path. The fund that lasts through it with probability 99.9% is the quantile of Σ over
accounts of max(loss − margin, 0).

Arrays only. a accounts, k assets, s scenarios, m dates, p paths; money in dollars, positive losses; positions in
dollars of notional, negative when short; moves as simple returns.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers

DAY_CONFIDENCE = 0.999
PATHS = 100_000
REPLICATES = 20
DECAY = 0.94
"""Of variance along a path, a day (J.P. Morgan 1996)."""
LARGEST_FALL = -0.999
"""A price stays above zero."""

LEVERAGE = ((1.0, 0.4), (2.0, 0.3), (4.0, 0.2), (8.0, 0.1))
"""Of the default book: margin held over the margin required, and the share of open interest that holds so much."""
ACCOUNTS_PER_SIDE = 50
CROWDED = 0.5
"""Of the default book: share of open interest in accounts that hold every asset on one side."""


@dataclass(frozen=True, slots=True)
class Cover:
    """amount: dollars; scenario: row that needs it; participants: whose default it is, costliest first."""

    amount: float
    scenario: int
    participants: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SimulatedDay:
    """Dollars. amount: the quantile; simulation_error: its standard error from the number of paths; sampling_error:
    from the dates history happened to have (None where not asked for); mean: of all paths."""

    amount: float
    simulation_error: float
    sampling_error: float | None
    mean: float
    paths: int


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """positions: shape (a, k), dollars; margins: (a,), dollars."""

    positions: Floats
    margins: Floats


def uncovered_losses(positions: Floats, margins: Floats, moves: Floats) -> Floats:
    """max(loss − margin, 0) of each account in each scenario, shape (s, a); moves has shape (s, k).

    Raises PlimsollError where shapes disagree, a value is not finite, or a margin is negative.
    """
    _check(positions, margins, moves)
    # position by position, not BLAS: the order of summation, and so the last bit, does not depend on threads
    by_account = np.repeat(-margins[:, None], len(moves), axis=1)
    by_asset = np.ascontiguousarray(moves.T)
    for account, asset in zip(*np.nonzero(positions), strict=True):
        by_account[account] -= positions[account, asset] * by_asset[asset]
    return np.asarray(np.maximum(by_account, 0.0).T, dtype=np.float64)


def cover(
    positions: Floats, margins: Floats, moves: Floats, members: int = 2, participant: Integers | None = None
) -> Cover:
    """Largest sum, over scenarios, of the losses beyond margin of the `members` costliest participants.

    participant: whose each account is, shape (a,), numbered from 0: accounts with one owner fail together, each with
    its own margin. Without it every account is a participant. Raises as `uncovered_losses`.
    """
    losses = uncovered_losses(positions, margins, moves)
    if participant is not None:
        if participant.shape != margins.shape or np.any(participant < 0):
            raise PlimsollError("fund: every account needs the number of its participant, 0 or more")
        totals = np.zeros((len(losses), int(np.max(participant)) + 1))
        np.add.at(totals.T, participant, losses.T)
        losses = totals
    members = min(members, losses.shape[1])
    sums = np.sum(np.partition(losses.T, -members, axis=0)[-members:], axis=0)
    worst = int(np.argmax(sums))
    order = np.argsort(-losses[worst], kind="stable")[:members]
    costly = tuple(int(one) for one in order if losses[worst, one] > 0.0)
    return Cover(float(sums[worst]), worst, costly)


@njit(cache=True)
def _simulate(residuals: Floats, sigma: Floats, begin: Integers, block: int, decay: float) -> Floats:
    """Simple returns at the end of each path, (p, k). begin: (p, blocks), the rows that blocks begin at."""
    paths, blocks = begin.shape
    m, k = residuals.shape
    out = np.empty((paths, k))
    for path in range(paths):
        for asset in range(k):
            value, variance = 1.0, sigma[asset] ** 2
            for b in range(blocks):
                for step in range(block):
                    z = residuals[(begin[path, b] + step) % m, asset]
                    change = max(math.sqrt(variance) * z, LARGEST_FALL)
                    value *= 1.0 + change
                    variance = decay * variance + (1.0 - decay) * change * change
            out[path, asset] = value - 1.0
    return out


def simulate_moves(
    residuals: Floats, sigma: Floats, paths: int, seed: int, steps: int = 1, block: int = 1, decay: float = DECAY
) -> Floats:
    """Joint simple returns over `steps` steps, shape (paths, k).

    residuals: returns over their forecast deviation, (m, k), one row a date; sigma: forecast deviation of the next
    step, (k,), a fraction of the price. Steps are drawn in blocks of `block` neighbouring dates (circular: Politis &
    Romano 1992), and variance follows v ← λv + (1 − λ)r², λ = `decay` a step.
    """
    if residuals.ndim != 2 or residuals.shape[1:] != sigma.shape or not np.all(np.isfinite(residuals)):
        raise PlimsollError("fund: residuals need one finite number for every date and asset of sigma")
    if len(residuals) == 0 or not (np.all(np.isfinite(sigma)) and np.all(sigma > 0.0)):
        raise PlimsollError("fund: there must be dates to draw from and a sigma above zero for every asset")
    if paths < 1 or block < 1 or steps < 1 or steps % block != 0:
        raise PlimsollError(f"fund: {steps} steps in blocks of {block} on {paths} paths; blocks must fill the steps")
    begin = np.random.default_rng(seed).integers(0, len(residuals), (paths, steps // block))
    return np.asarray(_simulate(residuals, sigma, begin, block, decay))


def quantile_with_error(values: Floats, confidence: float) -> tuple[float, float]:
    """(quantile, its standard error) of independent values, shape (n,).

    The smallest value with at least `confidence` of the sample at or below it. The number of values below the true
    quantile is binomial, so the order statistics a deviation √(n·c·(1 − c)) up and down are a free 68% interval
    (David & Nagaraja 2003, §7.1): its half is the error.
    """
    ordered, n = np.sort(values), len(values)
    rank = math.ceil(confidence * n - 1e-9)
    spread = math.sqrt(n * confidence * (1.0 - confidence))
    low, high = (min(max(round(rank + sign * spread), 1), n) for sign in (-1.0, 1.0))
    return float(ordered[rank - 1]), float(ordered[high - 1] - ordered[low - 1]) / 2.0


def simulated_day(
    positions: Floats,
    margins: Floats,
    residuals: Floats,
    sigma: Floats,
    *,
    seed: int,
    steps: int = 1,
    block: int = 1,
    decay: float = DECAY,
    paths: int = PATHS,
    confidence: float = DAY_CONFIDENCE,
    replicates: int = REPLICATES,
) -> SimulatedDay:
    """The quantile over simulated days of Σ over accounts of max(loss − margin, 0), with both of its errors.

    Nobody closes on the way: a path's loss is that at its end. Arguments as `simulate_moves`. The sampling error is the
    deviation of the amount over `replicates` histories whose dates are drawn anew (0: not computed), less the part that
    is simulation's. With one step a day the outcomes are history's dates: the simulation error may then be nothing, and
    the sampling error is the one to look at. Raises as the functions it calls.
    """

    def totals(rows: Floats, path_seed: int) -> Floats:
        moves = simulate_moves(rows, sigma, paths, path_seed, steps, block, decay)
        _check(positions, margins, moves)
        # a day of one step has no more outcomes than history has dates: count each once
        _, one, which = np.unique(moves[:, 0], return_index=True, return_inverse=True)
        if not np.array_equal(moves[one][which], moves):  # two dates, or paths, with the first asset's move in common
            one = which = np.arange(len(moves))
        return np.asarray(_total_uncovered(positions, margins, moves[one])[which])

    losses = totals(residuals, seed)
    amount, error = quantile_with_error(losses, confidence)
    sampling = None
    if replicates > 1:
        rng = np.random.default_rng((seed, 1))
        m = len(residuals)
        length = max(block, round(m ** (1.0 / 3.0)))
        amounts = []
        for replicate in range(replicates):
            begin = rng.integers(0, m, -(-m // length))
            dates = ((begin[:, None] + np.arange(length)) % m).ravel()[:m]
            amounts.append(quantile_with_error(totals(residuals[dates], seed + 1 + replicate), confidence)[0])
        sampling = math.sqrt(max(float(np.var(amounts, ddof=1)) - error**2, 0.0))
    return SimulatedDay(amount, error, sampling, float(np.mean(losses)), paths)


def _total_uncovered(positions: Floats, margins: Floats, moves: Floats) -> Floats:
    """Σ over accounts of max(loss − margin, 0) for each scenario, (s,), without the table of every account in each.

    Most accounts of a book hold few of its assets: only those are looked at.
    """
    holders, assets = np.nonzero(positions)
    first = np.searchsorted(holders, np.arange(len(positions) + 1))
    return np.asarray(_sum_uncovered(first, assets, positions[holders, assets], margins, moves))


@njit(cache=True)
def _sum_uncovered(first: Integers, assets: Integers, held: Floats, margins: Floats, moves: Floats) -> Floats:
    """An account's positions are held[first[account] : first[account + 1]], in those assets."""
    out = np.zeros(len(moves))
    for s in range(len(moves)):
        for account in range(len(margins)):
            loss = -margins[account]
            for at in range(first[account], first[account + 1]):
                loss -= held[at] * moves[s, assets[at]]
            out[s] += max(loss, 0.0)
    return out


def default_book(open_interest: Floats, margin_rates: Floats, accounts: int = ACCOUNTS_PER_SIDE) -> Book:
    """A book to size the fund by where positions are not known: stated, not estimated, and on the severe side.

    open_interest: dollars of each asset, one side, shape (k,); margin_rates: initial margin over notional, (k,). Longs
    and shorts each hold all of it. Half is with `accounts` accounts a side that hold every asset in proportion, so that
    a fall of all hits them in all; half with as many a side and asset that hold nothing else. Within a group sizes
    follow Zipf's law, the r-th largest 1/r of the largest: the two largest of fifty hold a third. Margins are multiples
    of Σ rate·|position|, without relief between assets. Each holder is one account at every multiple of LEVERAGE, with
    its share: so the largest too is, in part, at the limit.
    """
    if open_interest.shape != margin_rates.shape or not np.all(np.isfinite(open_interest) & (open_interest >= 0.0)):
        raise PlimsollError("fund: open interest needs a finite amount, 0 or more, for every margin rate")
    if not np.all((margin_rates > 0.0) & np.isfinite(margin_rates)) or accounts < 2:
        raise PlimsollError("fund: margin rates must be above zero, and two accounts a side the least")
    k = len(open_interest)
    sizes = 1.0 / np.arange(1, accounts + 1)
    sizes /= np.sum(sizes)
    holdings = [CROWDED * np.outer(sizes, open_interest)]
    holdings += [(1.0 - CROWDED) * np.outer(sizes, open_interest * (np.arange(k) == asset)) for asset in range(k)]
    one_side = np.concatenate(holdings)
    held = np.concatenate([share * one_side for _, share in LEVERAGE])
    multiple = np.repeat([multiple for multiple, _ in LEVERAGE], len(one_side))
    margins = multiple * np.sum(held * margin_rates, axis=1)
    return Book(np.concatenate([held, -held]), np.concatenate([margins, margins]))


def _check(positions: Floats, margins: Floats, moves: Floats) -> None:
    if positions.ndim != 2 or margins.shape != positions.shape[:1] or moves.ndim != 2 or len(moves) == 0:
        raise PlimsollError("fund: positions are accounts × assets, margins one an account, moves scenarios × assets")
    if moves.shape[1] != positions.shape[1]:
        raise PlimsollError(f"fund: moves of {moves.shape[1]} assets and positions in {positions.shape[1]}; match them")
    if not all(np.all(np.isfinite(array)) for array in (positions, margins, moves)):
        raise PlimsollError("fund: a position, margin or move is not a finite number; correct it")
    if np.any(margins < 0.0):
        raise PlimsollError("fund: a margin is negative; give what the account holds, 0 or more")
