"""From a volatility path to value at risk and expected shortfall: filtered historical simulation, walked forward.

Each return is divided by the σ forecast for it. The tail of these residuals, known by row i, times σ_i is the forecast
of row i (Barone-Adesi, Giannopoulos & Vosper 1999; conditional extreme values: McNeil & Frey 2000). A residual's weight
fades with its age, and the other side's residuals count as well, at less: of the few in a tail, none is wasted.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numba import njit

from plimsoll.calibration.extremes import SHAPE_PRIOR, pareto_fit, pareto_risk
from plimsoll.calibration.history import History
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats
from plimsoll.validation.forecasts import SIDES, Forecasts, Side

Tail = Literal["sample", "pareto"]
Risk = dict[Side, Floats]

FIRST_FORECAST = 180
"""Row of every candidate's first forecast, so that all are judged over the same steps."""
LEAST_RESIDUALS = 100
RESIDUAL_DECAY = 0.997
"""Weight of a residual one row older: a half-life of 231 rows."""
RESIDUAL_WINDOW = 1500
"""Rows: older residuals would weigh 1% of the newest."""
OTHER_SIDE = 0.3
"""Weight of the other side's residuals."""
PARETO_SHARE = 0.06
"""Share of residuals beyond the threshold of the extreme value fit: six times the tail it is to measure."""
TAIL_REFIT = 5
"""Rows between looks at the tail of the residuals."""


def residuals(history: History, sigma: Floats) -> Floats:
    """change[i] / sigma[i − 1], shape (n,), NaN where there is no forecast."""
    out = np.full(len(history), np.nan)
    np.divide(history.change[1:], sigma[:-1], out=out[1:], where=sigma[:-1] > 0.0)
    return out


@njit(cache=True)
def _falling(losses: Floats, weights: Floats, share: float) -> tuple[Floats, Floats]:
    """The largest losses and their weights, in falling order: at least `share` of the weight, and one more loss where
    there is one. Sorting all of them would take most of the time of a walk."""
    needed = share * np.sum(weights) * (1.0 + 1e-9)
    for cut in (1.0, 0.5, -np.inf):  # residuals are of order one
        rows = np.flatnonzero(losses > cut)
        if np.sum(weights[rows]) > needed or cut == -np.inf:
            rows = rows[np.argsort(-losses[rows])]
            break
    return losses[rows], weights[rows]


@njit(cache=True)
def sample_risk(losses: Floats, weights: Floats, tail: float) -> tuple[float, float]:
    """(VaR, ES) of a weighted sample, shape (m,), beyond probability `tail`, splitting the atom at the quantile.

    With equal weights that of `tails.expected_shortfall`.
    """
    mass = tail * float(np.sum(weights))
    ordered, weight = _falling(losses, weights, tail)
    taken = total = 0.0
    for at in range(len(ordered)):
        if taken + weight[at] > mass * (1.0 + 1e-9):
            return float(ordered[at]), (total + (mass - taken) * ordered[at]) / mass
        taken += weight[at]
        total += weight[at] * ordered[at]
    return float(ordered[-1]), total / mass


@njit(cache=True)
def pareto_tail_risk(losses: Floats, weights: Floats, tail: float) -> tuple[float, float]:
    """(VaR, ES) beyond probability `tail` of the generalised Pareto fit to the worst PARETO_SHARE of a weighted sample.

    Where the worst losses are all the same there is nothing to fit, and it is the sample's own.
    """
    ordered, weight = _falling(losses, weights, PARETO_SHARE)
    whole = float(np.sum(weights))
    beyond = 0.0
    count = 0
    while count < len(ordered) - 1 and beyond < PARETO_SHARE * whole:
        beyond += weight[count]
        count += 1
    threshold = ordered[count]
    if ordered[0] <= threshold:
        return sample_risk(losses, weights, tail)
    shape, scale = pareto_fit(ordered[:count] - threshold, weight[:count], SHAPE_PRIOR[0], SHAPE_PRIOR[1])
    return pareto_risk(threshold, shape, scale, tail * whole / beyond)


@njit(cache=True)
def known_residuals(losses: Floats, row: int) -> tuple[Floats, Floats]:
    """(losses, weights) of the residuals known by a row, those of the other side behind, shape (2 × known,)."""
    first = max(0, row + 1 - RESIDUAL_WINDOW)
    rows = first + np.flatnonzero(np.isfinite(losses[first : row + 1]))
    weights = RESIDUAL_DECAY ** (row - rows).astype(np.float64)
    return np.concatenate((losses[rows], -losses[rows])), np.concatenate((weights, OTHER_SIDE * weights))


@njit(cache=True)
def walk_tail(losses: Floats, tail: float, pareto: bool) -> tuple[Floats, Floats]:
    """(VaR, ES) of the residual losses known by each row, shape (n,); NaN before LEAST_RESIDUALS of them."""
    n = len(losses)
    risk, shortfall = np.full(n, np.nan), np.full(n, np.nan)
    seen = 0
    last = -TAIL_REFIT
    for i in range(n):
        seen += np.isfinite(losses[i])
        if seen < LEAST_RESIDUALS:
            continue
        if i - last < TAIL_REFIT:
            risk[i], shortfall[i] = risk[i - 1], shortfall[i - 1]
            continue
        last = i
        both, weights = known_residuals(losses, i)
        if pareto:
            risk[i], shortfall[i] = pareto_tail_risk(both, weights, tail)
        else:
            risk[i], shortfall[i] = sample_risk(both, weights, tail)
    return risk, shortfall


def filtered_risk(history: History, sigma: Floats, confidence: float, tail: Tail) -> tuple[Risk, Risk]:
    """(VaR, ES) of both sides for every row, shape (n,) each, the last included: what is forecast now."""
    risk: Risk = {}
    shortfall: Risk = {}
    standardised = residuals(history, sigma)
    for side in SIDES:
        losses = -standardised if side == "long" else standardised
        one, other = walk_tail(losses, 1.0 - confidence, tail == "pareto")
        risk[side], shortfall[side] = sigma * one, sigma * other
    return risk, shortfall


def to_forecasts(history: History, model: str, confidence: float, risk: Risk, shortfall: Risk) -> Forecasts:
    """Paths (n,) as forecasts whose outcome is known, from row FIRST_FORECAST on.

    Raises PlimsollError where the history is too short, or its price stood still for so long that nothing can be said.
    """
    rows = slice(FIRST_FORECAST, len(history) - 1)
    if len(history) < FIRST_FORECAST + 2:
        raise PlimsollError(
            f"{history.name}: {len(history)} steps of {history.horizon} s, and {FIRST_FORECAST + 2} are needed to test "
            "a forecast; give a longer history"
        )
    for side in SIDES:
        bad = np.flatnonzero(~(risk[side][rows] > 0.0) | ~(shortfall[side][rows] >= risk[side][rows]))
        if len(bad):
            raise PlimsollError(
                f"{history.name}: {model} has no {side} value at risk above zero at {history.ts[rows][bad[0]]}: "
                "the price hardly moved before; check the data"
            )
    return Forecasts(
        asset=history.name,
        model=model,
        confidence=confidence,
        ts=history.ts[rows],
        end=history.ts[FIRST_FORECAST + 1 :],
        realised=history.change[FIRST_FORECAST + 1 :],
        value_at_risk={side: risk[side][rows] for side in SIDES},
        expected_shortfall={side: shortfall[side][rows] for side in SIDES},
    )


def normal_risk(sigma: Floats, confidence: float) -> tuple[Floats, Floats]:
    """(VaR, ES) of N(0, σ²): σ·Φ⁻¹(c) and σ·φ(Φ⁻¹(c))/(1 − c)."""
    from scipy.stats import norm

    quantile = float(norm.ppf(confidence))
    return sigma * quantile, sigma * math.exp(-(quantile**2) / 2.0) / math.sqrt(2.0 * math.pi) / (1.0 - confidence)


def student_risk(sigma: Floats, nu: Floats, confidence: float) -> tuple[Floats, Floats]:
    """(VaR, ES) of a Student-t(ν) of deviation σ, shape (n,). ES: McNeil, Frey & Embrechts (2015), example 2.15."""
    from scipy.stats import t

    quantile = t.ppf(confidence, nu)
    shortfall = t.pdf(quantile, nu) / (1.0 - confidence) * (nu + quantile**2) / (nu - 1.0)
    unit = sigma * np.sqrt((nu - 2.0) / nu)
    return unit * quantile, unit * shortfall
