"""The level: the annualised volatility that a reporter publishes and that tails are fitted to.

Three steps, each causal. A model forecasts the volatility of the next grid step (`volatility.rule_sigma`).
Between grid times that forecast is carried by how realised volatility has moved since,

    forecast(t) = σ(t_k) · EWMA(t) / EWMA(t_k),     t_k the last grid time at or before t,

so that news of the hour counts in the hour. And the margin rule (`rule.margins`, multiplier 1) turns forecasts into
a level that keeps to its limits on procyclicality. Margin over a horizon h is then z(h)·level·√(h/year), z the tail
that was fitted to this very level.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from plimsoll.calibration.rule import MarginRule, margins
from plimsoll.market.series import YEAR_SECONDS, Floats, Integers

if TYPE_CHECKING:
    from plimsoll.calibration.history import History
    from plimsoll.market.series import Series


def annualised(history: History, sigma: Floats) -> Floats:
    """σ of the next step, shape (n,), as annual volatility: times √(steps a year), counted over the past of each row.

    In a market that never closes that is a year over the horizon; with nights and weekends it is fewer.
    """
    rows = np.arange(len(history), dtype=np.float64)
    seconds = (history.ts - history.ts[0]).astype(np.float64)
    steps = YEAR_SECONDS * rows[1:] / seconds[1:]
    return np.asarray(sigma * np.sqrt(np.concatenate([[math.nan], steps])))


@njit(cache=True)
def running_volatility(ts: Integers, price: Floats, half_life: float) -> Floats:
    """Annualised EWMA volatility known at each ts, shape (n,), 0 at the first: `market.volatility.Ewma`, compiled."""
    out = np.zeros(len(ts))
    total = weight = 0.0
    for i in range(1, len(ts)):
        elapsed = float(ts[i] - ts[i - 1])
        change = price[i] / price[i - 1] - 1.0
        decay = 2.0 ** (-elapsed / half_life)
        total = decay * total + (1.0 - decay) * change * change * YEAR_SECONDS / elapsed
        weight = decay * weight + (1.0 - decay)
        out[i] = math.sqrt(total / weight)
    return out


def forecast_path(series: Series, history: History, sigma: Floats, half_life: float) -> Floats:
    """Annual volatility forecast at every row of `series`, shape (n,), NaN before the model's first.

    history, sigma: the series on its grid and σ of the next step, shape (m,). half_life: of the EWMA that carries,
    seconds.
    """
    ewma = running_volatility(series.ts, series.close, half_life)
    forecast = annualised(history, sigma)
    last = np.searchsorted(history.ts, series.ts, side="right") - 1
    known = np.flatnonzero((last >= 0) & np.isfinite(forecast[np.maximum(last, 0)]))
    step = last[known]
    row = np.searchsorted(series.ts, history.ts[step], side="right") - 1  # the price that the grid time shows
    carried = np.full(len(series), np.nan)
    usable = (ewma[row] > 0.0) & (ewma[known] > 0.0)
    carried[known[usable]] = forecast[step][usable] * ewma[known][usable] / ewma[row][usable]
    return carried


def level_path(series: Series, history: History, sigma: Floats, half_life: float, rule: MarginRule) -> Floats:
    """The level at every row of `series`, annualised, shape (n,), NaN before the first forecast."""
    forecast = forecast_path(series, history, sigma, half_life)
    rows = np.isfinite(forecast)
    level = np.full(len(series), np.nan)
    if rows.any():
        level[rows] = margins(replace(rule, multiplier=1.0), series.ts[rows], forecast[rows])
    return level
