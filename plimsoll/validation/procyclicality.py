"""Does margin rise when it hurts most? Measures on one path of margin, as a regulator would take them.

A path is `ts` (unix seconds, rising, on any grid) and `margin` (fraction of notional, > 0), both of shape (n,). Margin
set at ts[i] holds until ts[i + 1], so a window (t − w, t] also knows the margin in force at its beginning t − w.

The measures are those of Murphy, Vasios & Vause, "An investigation into the procyclicality of risk-based initial margin
models", Bank of England Financial Stability Paper 29 (2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers
from plimsoll.validation.checks import finite

DAY = 86_400
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Procyclicality:
    """average and standard_deviation in the unit of margin, weighed by how long each level held; peak_to_trough over
    any year (ratio ≥ 1); worst rises over 1 and 5 days (0.12 is 12%)."""

    average: float
    standard_deviation: float
    peak_to_trough: float
    worst_1_day_rise: float
    worst_5_day_rise: float


@dataclass(frozen=True, slots=True)
class StepResponse:
    """Margin before a step of volatility and eventually after it; `reached[k]`: margin k steps after, as a share of
    the eventual one; overshoot: highest margin after the step over the eventual one; half_time: steps until half of the
    change is done, None where margin does not answer to volatility."""

    before: float
    eventual: float
    reached: dict[int, float]
    overshoot: float
    half_time: int | None


def _path(ts: ArrayLike, margin: ArrayLike) -> tuple[Integers, Floats]:
    levels = finite("margin", margin)
    times = np.asarray(ts, dtype=np.int64)
    if times.shape != levels.shape or np.any(np.diff(times) <= 0):
        raise PlimsollError("margin path: give a time for every row, in unix seconds, strictly rising")
    if np.any(levels <= 0.0):
        raise PlimsollError(
            f"margin path: row {int(np.argmax(levels <= 0.0))} is not above zero; a ratio needs it to be"
        )
    return times, levels


def _window_starts(times: Integers, seconds: int) -> Integers:
    """For each row the row whose margin was in force `seconds` earlier, the first row where the path is shorter."""
    if seconds <= 0:
        raise PlimsollError(f"a window of {seconds} s has no rise; give a positive length")
    return np.maximum(np.searchsorted(times, times - seconds, side="right") - 1, 0)


def _window_highest(values: Floats, start: Integers) -> Floats:
    """max(values[start[i] … i]) for every row i, shape (n,), by maxima over powers of two: O(n log n), no loop on rows.

    The two blocks of length 2^k that begin at start[i] and end at i cover the window, 2^k ≤ its length < 2^(k+1).
    """
    row = np.arange(len(values))
    exponent = np.frexp((row - start + 1).astype(np.float64))[1] - 1
    result = np.empty(len(values))
    block, size = values.copy(), 1  # block[i]: highest of values[i … i + size − 1]
    for k in range(int(np.max(exponent)) + 1):
        at = np.flatnonzero(exponent == k)
        result[at] = np.maximum(block[start[at]], block[at - size + 1])
        block, size = np.maximum(block[:-size], block[size:]) if 2 * size <= len(values) else block, 2 * size
    return result


def peak_to_trough(ts: ArrayLike, margin: ArrayLike, days: float = YEAR_DAYS) -> float:
    """Largest ratio of the highest to the lowest margin in force within any `days` days; the whole path if shorter."""
    times, levels = _path(ts, margin)
    start = _window_starts(times, round(days * DAY))
    return float(np.max(_window_highest(levels, start) / -_window_highest(-levels, start)))


def worst_rise(ts: ArrayLike, margin: ArrayLike, days: float) -> float:
    """Largest rise of margin within `days` days, as a fraction of the lower level; 0 where margin never rises.

    Max over t of margin(t)/lowest margin in force on [t − days, t] − 1. It is at least the rise between two moments
    exactly `days` apart, so a jump that partly reverses in the meantime counts, on any grid, and more days never show
    less.
    """
    times, levels = _path(ts, margin)
    start = _window_starts(times, round(days * DAY))
    return float(np.max(levels / -_window_highest(-levels, start)) - 1.0)


def procyclicality(ts: ArrayLike, margin: ArrayLike) -> Procyclicality:
    """All measures of one path. The last level, which has no end, weighs nothing; a path of one row is that level."""
    times, levels = _path(ts, margin)
    weight = np.diff(times).astype(np.float64) if len(times) > 1 else np.ones(1)
    held = levels[: len(weight)]
    average = float(np.average(held, weights=weight))
    variance = float(np.average((held - average) ** 2, weights=weight))
    return Procyclicality(
        average=average,
        standard_deviation=variance**0.5,
        peak_to_trough=peak_to_trough(times, levels),
        worst_1_day_rise=worst_rise(times, levels, 1),
        worst_5_day_rise=worst_rise(times, levels, 5),
    )


def step_response(
    margin_of: Callable[[Floats], ArrayLike],
    low: float,
    high: float,
    *,
    settle: int = 500,
    run: int = 500,
    steps: Sequence[int] = (1, 5, 20),
) -> StepResponse:
    """What a rule makes of volatility that goes from `low` to `high` at once and stays there.

    margin_of: takes a path of volatility of shape (settle + run,), `low` for `settle` steps and then `high`, and
    returns the margin of each step, shape the same and > 0. The level at step settle − 1 is `before`, the last one
    `eventual`, so settle and run must outlast the rule's memory. Step 1 is the first with `high` volatility.
    """
    if settle < 1 or run < 1 or not all(1 <= k <= run for k in steps):
        raise PlimsollError(f"a step response of {settle} + {run} steps does not reach {max(steps)}; run it longer")
    volatility = np.concatenate([np.full(settle, low), np.full(run, high)])
    levels = finite("margin after a step of volatility", margin_of(volatility), settle + run)
    if np.any(levels <= 0.0):
        raise PlimsollError("margin after a step of volatility: a level is not above zero; a share needs it to be")
    before, after = float(levels[settle - 1]), levels[settle:]
    eventual = float(after[-1])
    change = eventual - before
    half_time = None
    if abs(change) > 1e-12 * eventual:
        half_time = int(np.argmax((after - before) / change >= 0.5)) + 1
    return StepResponse(
        before=before,
        eventual=eventual,
        reached={k: float(after[k - 1]) / eventual for k in steps},
        overshoot=float(np.max(after)) / eventual,
        half_time=half_time,
    )
