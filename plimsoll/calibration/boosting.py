"""The challenger: what gradient-boosted trees see in the tails that a volatility forecast alone does not.

Standardised losses of both sides, loss/σ, are regressed on what was known when they were forecast, at several
quantiles (Friedman 2001, with the pinball loss of Koenker & Bassett 1978). Trees say how much longer than usual the
next tail is; they can't reach 99% themselves, where a thousand rows hold ten points, so their answer is one factor

    s_i = (mean over quantiles a of q̂_a(x_i) / Q_a)^½,     Q_a: the same quantile of all rows fitted on.

The root draws it half the way to 1 (in logs): trees fitted to a few hundred rows in the tail answer too loudly.

The level is then set by adaptive conformal inference (Gibbs & Candès 2021, eq. 2): the tail of past residuals
loss/(σ·s), each s from trees that had not seen its row, is read at an α_i that moves with what was exceeded,

    α_{i+1} = α_i + γ·(α − 1{loss_i > VaR_i}),

which brings the share of exceedances to α in the long run whatever the tail or the trees get wrong, short of α_i's
limits.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math

import numpy as np
from numba import njit

from plimsoll.calibration.filtered import (
    LEAST_RESIDUALS,
    TAIL_REFIT,
    known_residuals,
    pareto_tail_risk,
    residuals,
    to_forecasts,
)
from plimsoll.calibration.history import History
from plimsoll.calibration.volatility import combination_sigma, ewma_sigma, har_features
from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Floats
from plimsoll.validation.forecasts import SIDES, Forecasts, Side

QUANTILES = (0.9, 0.975)
FIRST_FIT = 250
"""Rows before the first trees; until then s = 1."""
REFIT = 90
"""Rows between fits: a quarter."""
RATE = 0.001
"""γ: an exceedance takes a tenth of α away, and a hundred steps without one give it back."""
LEVEL_LIMITS = (0.4, 2.0)
"""Of α_i, in units of α: beyond them it asks for a quantile that hundreds of residuals don't show, or for no margin."""
RELATIVE_LIMITS = (0.4, 4.0)
"""Of q̂/Q: beyond them trees have met noise."""
SEED = 20_210_607
_TREES = {
    "max_iter": 25,
    "learning_rate": 0.1,
    "max_leaf_nodes": 4,
    "min_samples_leaf": 60,
    "l2_regularization": 1.0,
    "max_bins": 32,
    "early_stopping": False,
    "random_state": SEED,
}


def features(history: History, sigma: Floats) -> Floats:
    """What is known at each row of the tail after it, but not of its side: shape (n, 9), NaN where not known.

    log σ; log of realised volatility over 1, 5 and 22 rows and of EWMA volatility, all over σ: how fresh the forecast's
    news is; the falls of 1 and 5 rows (leverage); log of implied volatility over σ; and the day of the week the step
    begins on.
    """
    har = har_features(history)
    log_sigma = np.log(sigma)
    implied = np.full(len(history), np.nan)
    if history.implied is not None:
        implied = np.log(history.implied * math.sqrt(history.horizon / YEAR_SECONDS)) - log_sigma
    weekday = (history.ts // 86_400 + 3) % 7
    realised = [har[:, column] / 2.0 - log_sigma for column in (1, 2, 3)]
    ewma = np.log(ewma_sigma(history)) - log_sigma
    columns = [log_sigma, *realised, ewma, har[:, 4], har[:, 5], implied, weekday.astype(np.float64)]
    table = np.column_stack(columns)
    return np.where(np.isfinite(table), table, np.nan)


def tail_factors(history: History, sigma: Floats) -> Floats:
    """s of each row and side, shape (2, n) in the order of SIDES: 1 before the first fit, refitted every quarter.

    One set of trees for both sides, with the side and the last move as it was for that side among the features. sigma:
    forecast deviation of the next step, fraction of price, (n,).
    """
    n = len(history)
    common = features(history, sigma)
    signs = (-1.0, 1.0)
    own = [np.column_stack([common, np.full(n, sign), sign * history.change / sigma]) for sign in signs]
    loss = [sign * residuals(history, sigma)[1:] for sign in signs]
    factors = np.ones((2, n))
    for start in range(FIRST_FIT, n, REFIT):
        rows = np.arange(start)  # the pair of row j ends at row j + 1 ≤ start
        rows = rows[np.isfinite(sigma[rows])]
        if len(rows) < LEAST_RESIDUALS:
            continue
        X = np.concatenate([side[rows] for side in own])
        y = np.concatenate([side[rows] for side in loss])
        ahead = slice(start, min(start + REFIT, n))
        predicted = _relative_quantiles(X, y, np.concatenate([side[ahead] for side in own]))
        factors[:, ahead] = np.sqrt(np.clip(predicted, *RELATIVE_LIMITS)).reshape(2, -1)
    return factors


def _relative_quantiles(X: Floats, y: Floats, ahead: Floats) -> Floats:
    """Mean over QUANTILES of the predicted quantile of `ahead` over that of the sample, shape (rows of ahead,)."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError as missing:
        raise PlimsollError("the boosted model needs scikit-learn; install plimsoll[calibration]") from missing
    seen = np.isfinite(X).any(axis=0)  # a column without a value has no bins: an index that has yet to begin
    X, ahead = X[:, seen], ahead[:, seen]
    total = np.zeros(len(ahead))
    with threadpool_limits(1, user_api="openmp"):  # gradients summed by several threads would differ in the last bit
        for quantile in QUANTILES:
            trees = HistGradientBoostingRegressor(loss="quantile", quantile=quantile, **_TREES).fit(X, y)
            total += trees.predict(ahead) / np.quantile(y, quantile)
    return total / len(QUANTILES)


@njit(cache=True)
def adaptive_tail(losses: Floats, alpha: float, rate: float) -> tuple[Floats, Floats]:
    """(VaR, ES) of the residual losses known by each row, at the level that exceedances have moved α to, shape (n,).

    losses: shape (n,), row j known at row j. The tail is that of `filtered.walk_tail`, at α_i. NaN before
    LEAST_RESIDUALS losses.
    """
    n = len(losses)
    risk, shortfall = np.full(n, np.nan), np.full(n, np.nan)
    level, seen, last = alpha, 0, -TAIL_REFIT
    for i in range(n):
        if not np.isfinite(losses[i]):
            continue
        seen += 1
        if i > 0 and np.isfinite(risk[i - 1]):
            level += rate * (alpha - (1.0 if losses[i] > risk[i - 1] else 0.0))
            level = min(max(level, LEVEL_LIMITS[0] * alpha), LEVEL_LIMITS[1] * alpha)
        if seen < LEAST_RESIDUALS:
            continue
        if i - last < TAIL_REFIT:
            risk[i], shortfall[i] = risk[i - 1], shortfall[i - 1]
            continue
        last = i
        both, weights = known_residuals(losses, i)
        risk[i], shortfall[i] = pareto_tail_risk(both, weights, level)
    return risk, shortfall


def boosted(history: History, confidence: float = 0.99) -> Forecasts:
    """Value at risk and expected shortfall of both sides by boosted trees and conformal correction.

    Raises PlimsollError where the history is too short for a forecast.
    """
    sigma = combination_sigma(history)
    value_at_risk: dict[Side, Floats] = {}
    expected_shortfall: dict[Side, Floats] = {}
    for side, sign, factor in zip(SIDES, (-1.0, 1.0), tail_factors(history, sigma), strict=True):
        scale = sigma * factor
        risk, shortfall = adaptive_tail(sign * residuals(history, scale), 1.0 - confidence, RATE)
        value_at_risk[side], expected_shortfall[side] = risk * scale, shortfall * scale
    return to_forecasts(history, "boosted", confidence, value_at_risk, expected_shortfall)
