"""How far prices move, in units of forecast volatility: filtered historical simulation and expected shortfall.

The chain's range is r(h) = z·σ·√((h + τ)/year). z is fitted to exactly that: simple returns over h, measured at h
(not scaled up from shorter ones), each divided by the σ known at its start times √(elapsed/year). Where the feed is
silent at t + h (night, weekend, outage) the return runs to the first print after it, and elapsed is what passed: the
chain's range has by then grown by the same age τ.

Filtered historical simulation: Barone-Adesi, Giannopoulos & Vosper (1999). Expected shortfall of a discrete sample:
Rockafellar & Uryasev (2002), which splits the atom at the quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Flags, Floats, Integers, Series


@dataclass(frozen=True, slots=True)
class Moves:
    """Overlapping returns over one horizon, devolatilised. Arrays of shape (n,), in order of time.

    start, end: unix seconds of each return; standardised: return / (σ known at start · √(elapsed/year)), signed.
    """

    horizon: int
    start: Integers
    end: Integers
    standardised: Floats


@dataclass(frozen=True, slots=True)
class Tail:
    """Expected shortfall of one side. side: "long" loses when prices fall, "short" when they rise."""

    side: str
    expected_shortfall: float
    standard_error: float
    tail_count: int
    episodes: int


def devolatilised_moves(series: Series, volatility: Floats, usable: Flags, horizon: int) -> Moves:
    """Returns over `horizon` seconds from every usable row, in units of forecast volatility.

    volatility: annualised, known at each row, shape (n,); usable: boolean, shape (n,).
    Raises PlimsollError where the bars are longer than the horizon, or too few returns fit in the data.
    """
    if horizon < series.bar_seconds:
        raise PlimsollError(
            f"{series.name}: a horizon of {horizon} s cannot be measured on bars of {series.bar_seconds} s; "
            "give finer data or a longer horizon"
        )
    end = np.searchsorted(series.ts, series.ts + horizon, side="left")
    start = np.flatnonzero(usable & (end < len(series)) & (volatility > 0.0))
    end = end[start]
    if len(start) < 2:
        raise PlimsollError(f"{series.name}: the history is too short for a horizon of {horizon} s; give a longer one")
    elapsed = (series.ts[end] - series.ts[start]).astype(np.float64)
    change = series.close[end] / series.close[start] - 1.0
    standardised = change / (volatility[start] * np.sqrt(elapsed / YEAR_SECONDS))
    return Moves(horizon, series.ts[start], series.ts[end], standardised)


def expected_shortfall(losses: Floats, confidence: float) -> tuple[float, float]:
    """(value at risk, expected shortfall) of a sample, shape (n,): losses positive, confidence in (0, 1).

    With k = ⌊(1−α)n⌋ and X sorted downwards: ES = (X₁ + … + X_k + ((1−α)n − k)·X_{k+1}) / ((1−α)n), VaR = X_{k+1}.
    """
    mass = (1.0 - confidence) * len(losses)
    whole = math.floor(mass + 1e-9)  # (1 − 0.99)·100 is a hair below or above 1 in floating point
    rank = min(whole, len(losses) - 1)
    split = np.partition(losses, len(losses) - 1 - rank)  # the tail alone is sorted, so that its sum has one order
    quantile = float(split[len(losses) - 1 - rank])
    return quantile, (float(np.sum(np.sort(split[len(losses) - whole :]))) + max(mass - whole, 0.0) * quantile) / mass


def block_standard_error(influence: Floats, block: int) -> float:
    """Standard error of the mean of a serially dependent sample, shape (n,), by overlapping batch means.

    Meketon & Schmeiser (1984): the variance of a mean of `block` neighbours, times block/n.
    """
    n = len(influence)
    block = max(1, min(block, n // 2))
    sums = np.cumsum(np.concatenate([[0.0], influence]))
    batches = (sums[block:] - sums[:-block]) / block
    variance = float(np.mean((batches - np.mean(influence)) ** 2)) * block / n
    return math.sqrt(variance * n / (n - block))


def fit_tail(moves: Moves, confidence: float, side: str) -> Tail:
    """Expected shortfall of the standardised losses of one side, with its standard error and tail evidence.

    The error is that of the influence function VaR − ES + (X − VaR)⁺/(1−α), in blocks of several overlaps, since
    neighbouring returns share most of their path and tails cluster.
    """
    losses = -moves.standardised if side == "long" else moves.standardised
    quantile, shortfall = expected_shortfall(losses, confidence)
    excess = np.maximum(losses - quantile, 0.0) / (1.0 - confidence)
    overlap = int(np.max(np.searchsorted(moves.start, moves.end) - np.arange(len(losses))))
    block = max(4 * overlap, math.isqrt(len(losses)))
    tail = np.flatnonzero(losses > quantile)
    separate = moves.start[tail[1:]] >= moves.end[tail[:-1]]
    return Tail(
        side=side,
        expected_shortfall=shortfall,
        standard_error=block_standard_error(quantile - shortfall + excess, block),
        tail_count=len(tail),
        episodes=int(np.count_nonzero(separate)) + (len(tail) > 0),
    )


def worse_tail(moves: Moves, confidence: float) -> Tail:
    """The side with the larger expected shortfall: a margin rate serves longs and shorts alike."""
    return max((fit_tail(moves, confidence, side) for side in ("long", "short")), key=lambda t: t.expected_shortfall)


def out_of_sample(moves: Moves, confidence: float, fit_fraction: float) -> tuple[int, int]:
    """(exceedances, returns) on the last part of the sample, of the range fitted on the first part.

    Returns that reach into the first part's end are dropped, so the parts share no price move.
    """
    split = int(len(moves.standardised) * fit_fraction)
    fit = Moves(moves.horizon, moves.start[:split], moves.end[:split], moves.standardised[:split])
    multiplier = worse_tail(fit, confidence).expected_shortfall
    later = moves.start >= fit.end[-1]
    return int(np.count_nonzero(np.abs(moves.standardised[later]) > multiplier)), int(np.count_nonzero(later))
