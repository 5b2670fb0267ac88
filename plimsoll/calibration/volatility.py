"""Forecasts of the volatility of the next step, walked forward over a `History`.

Every path has shape (n,): row i is the forecast, from rows ≤ i alone, of the standard deviation of the simple return
from ts[i] to ts[i + 1], as a fraction of the price, not annualised. It is NaN where the model has not seen enough. A
step counts as one step however long it took: a weekend moves prices about as far as a day does (French & Roll 1986),
so variances here are per row, not per second.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from plimsoll.calibration.garch import fit_gjr
from plimsoll.calibration.history import History
from plimsoll.market.series import YEAR_SECONDS, Floats

WARM_UP = 60
"""Rows seen before any model forecasts."""
RISKMETRICS_DECAY = 0.94
"""J.P. Morgan (1996), for daily returns."""
REALISED_DECAY = 0.85
"""Realised variance is measured many times more precisely than a squared return, so less of it need be averaged."""
HAR_WINDOWS = (1, 5, 22)
"""Corsi (2009): a day, a working week, a month, in rows."""
QUIET = 0.02
"""Least variance of a step, as a share of its running average: keeps logarithms of silent steps finite."""
LARGEST_RATIO = 20.0
"""Of seen to forecast variance that a correction takes in: one day of 2021 had 150 and would rule for a year."""
CORRECTION_DECAY = 0.995
"""Of the ratios of seen to forecast variance that correct a model's level: a half-life of 139 rows."""
CORRECTION_PRIOR = 10.0
"""Rows' worth of belief that a model's level is right as it is."""

GARCH_REFIT = 30
GARCH_WINDOW = 4 * 365
GARCH_WARM_UP = 120
"""Rows between refits, rows at most in one, rows at least."""
DAY = 86_400

MEASURED_STEPS = 4
"""Prices in a step from which its realised variance says more than its squared return."""
SHARPNESS = 20.0
"""Weights are exp(−SHARPNESS·difference in mean QLIKE): a model worse by 0.05, the usual distance, counts a third."""
LOSS_DECAY = 0.995
"""Of the losses that set the weights."""
EXCITEMENT = 0.5
EXCITEMENT_DECAY = 0.9
EXCITEMENT_FROM = 2.0
EXCITEMENT_LIMIT = 1.0
"""After a return of x > 2 σ, log σ is raised by ½·log(x/2), fading by a tenth a row; by 1 in all at most."""
SHRINKAGE = 0.2
"""Share by which log σ is drawn to its own mean so far."""


def step_variance(history: History) -> Floats:
    """Realised variance of each step as a fraction of price squared, shape (n,); NaN in row 0, which has no step, and
    not zero once a price has moved."""
    realised = history.realised_variance * history.elapsed / YEAR_SECONDS
    realised[0] = np.nan
    return np.asarray(np.fmax(realised, QUIET * ewma(realised, 0.99)))


@njit(cache=True)
def ewma(x: Floats, decay: float) -> Floats:
    """v_i = Σ decay^k·x_{i−k} / Σ decay^k over k < i, shape (n,): row 0 has no return and is left out."""
    out = np.full(len(x), np.nan)
    total = weight = 0.0
    for i in range(1, len(x)):
        total = decay * total + (1.0 - decay) * x[i]
        weight = decay * weight + (1.0 - decay)
        out[i] = total / weight
    return out


def ewma_sigma(history: History, decay: float = RISKMETRICS_DECAY) -> Floats:
    """RiskMetrics: EWMA of squared returns."""
    return _warm(np.sqrt(ewma(history.change**2, decay)))


def ewma_realised_sigma(history: History, decay: float = REALISED_DECAY) -> Floats:
    """EWMA of realised variance."""
    return _warm(np.sqrt(ewma(step_variance(history), decay)))


def gjr_paths(history: History) -> tuple[Floats, Floats]:
    """(σ, ν) of GJR-GARCH-t: refitted every GARCH_REFIT rows on the last GARCH_WINDOW, filtered in between."""
    change, n = history.change, len(history)
    sigma, nu = np.full(n, np.nan), np.full(n, np.nan)
    fit = None
    for i in range(GARCH_WARM_UP, n, GARCH_REFIT):
        first, end = max(1, i + 1 - GARCH_WINDOW), min(i + GARCH_REFIT, n)
        if not np.any(change[first : i + 1]):
            continue
        fit = fit_gjr(change[first : i + 1], fit)
        sigma[i:end] = np.sqrt(fit.variance(change[first:end])[i - end :])
        nu[i:end] = fit.nu
    return sigma, nu


def least_squares_forecasts(X: Floats, y: Floats, ridge: float, least: int) -> Floats:
    """Walk-forward regression: row i is X_i·b with b fitted to (X_j, y_{j+1}), j < i. NaN before `least` pairs.

    X: shape (n, k), y: shape (n,); rows that are not finite are left out. `ridge` is added to the diagonal of XᵀX.
    """
    n, k = X.shape
    finite = np.isfinite(X).all(axis=1)
    paired = np.append(False, finite[:-1] & np.isfinite(y[1:]))  # row i: (X_{i−1}, y_i) is known and can be used
    before = np.where(paired[:, None], np.roll(X, 1, axis=0), 0.0)
    gram = np.cumsum(before[:, :, None] * before[:, None, :], axis=0) + ridge * np.eye(k)
    moment = np.cumsum(before * np.where(paired, y, 0.0)[:, None], axis=0)
    ready = finite & (np.cumsum(paired) >= least)
    out = np.full(n, np.nan)
    slopes = np.linalg.solve(gram[ready], moment[ready][:, :, None])[:, :, 0]
    out[ready] = np.sum(X[ready] * slopes, axis=1)
    return out


def har_features(history: History) -> Floats:
    """Regressors of log-HAR, shape (n, 6): 1; the log of the mean of the last 1, 5, 22 realised variances; the fall of
    the last step and of the last five in units of monthly volatility, 0 where it rose (Corsi 2009, Corsi & Renò 2012).
    """
    realised, n = step_variance(history), len(history)
    total = np.cumsum(np.where(np.isfinite(realised), realised, 0.0))
    columns = np.full((n, 6), np.nan)
    columns[:, 0] = 1.0
    for at, window in enumerate(HAR_WINDOWS, start=1):
        with np.errstate(divide="ignore"):  # −inf before a price ever moved: such rows are left out
            columns[window:, at] = np.log((total[window:] - total[:-window]) / window)
    for at, window in ((4, 1), (5, 5)):
        fall = np.minimum(history.price[window:] / history.price[:-window] - 1.0, 0.0)
        with np.errstate(invalid="ignore"):
            columns[window:, at] = fall / np.exp(columns[window:, 3] / 2.0)
    return columns


def har_sigma(history: History, implied: bool = False) -> Floats:
    """log-HAR by walk-forward least squares, its level corrected by past ratios of realised to forecast variance (the
    mean of an exponential, with no assumption of normality). `implied` adds the log of the index as a regressor, and
    gives NaN where the index is silent."""
    realised, features = step_variance(history), har_features(history)
    if implied and history.implied is not None:
        features = np.column_stack([features, 2.0 * np.log(history.implied)])
    with np.errstate(divide="ignore"):
        target = np.log(realised)
    logs = least_squares_forecasts(features, target, 1e-6, WARM_UP - max(HAR_WINDOWS) - 1)
    return _warm(np.sqrt(corrected(np.exp(logs), realised)))


@njit(cache=True)
def corrected(variance: Floats, seen: Floats) -> Floats:
    """Forecasts (n,) times the weighted mean of past seen[j + 1] / variance[j], which starts from 1."""
    out = np.full(len(variance), np.nan)
    total = weight = CORRECTION_PRIOR
    for i in range(len(variance)):
        if i > 0 and variance[i - 1] > 0.0:
            total = CORRECTION_DECAY * total + min(seen[i] / variance[i - 1], LARGEST_RATIO)
            weight = CORRECTION_DECAY * weight + 1.0
        out[i] = variance[i] * total / weight
    return out


@njit(cache=True)
def combine(variances: Floats, seen: Floats) -> Floats:
    """Log-average of m models' variances, shape (m, n) → (n,), with weights exp(−SHARPNESS·mean past QLIKE).

    seen: a measure of each step's variance, shape (n,). QLIKE: x/v − log(x/v) − 1, which ranks forecasts rightly though
    x is noisy (Patton 2011). Bring the models to one level first (`corrected`), or a change of weights is a change of
    level. A model that is NaN or zero waits.
    """
    m, n = variances.shape
    out = np.full(n, np.nan)
    loss, count = np.zeros(m), np.zeros(m)
    for i in range(n):
        best = np.inf
        for j in range(m):
            if i > 0 and variances[j, i - 1] > 0.0:
                ratio = min(seen[i] / variances[j, i - 1], LARGEST_RATIO)
                loss[j] = LOSS_DECAY * loss[j] + ratio - np.log(max(ratio, 1e-8)) - 1.0
                count[j] = LOSS_DECAY * count[j] + 1.0
            if variances[j, i] > 0.0:
                best = min(best, loss[j] / max(count[j], 1.0))
        total = weights = 0.0
        for j in range(m):
            if variances[j, i] > 0.0:
                weight = np.exp(-SHARPNESS * (loss[j] / max(count[j], 1.0) - best))
                total += weight * np.log(variances[j, i])
                weights += weight
        if weights > 0.0:
            out[i] = np.exp(total / weights)
    return out


@njit(cache=True)
def tempered(sigma: Floats, change: Floats) -> Floats:
    """σ for tails, shape (n,): excited by large returns and shrunk to its mean, both in logarithms.

    Jumps come in clusters that squared returns see too late and too little (Aït-Sahalia, Cacho-Diaz & Laeven 2015), so
    a return far outside its forecast raises σ at once. And jumps are not rare in calm: the 99% loss grows less than in
    proportion to σ, so log σ is drawn to its mean so far.
    """
    out = np.full(len(sigma), np.nan)
    excitement = total = 0.0
    count = 0
    for i in range(len(sigma)):
        if not sigma[i] > 0.0:  # NaN too
            continue
        excitement *= EXCITEMENT_DECAY
        if i > 0 and sigma[i - 1] > 0.0:
            size = abs(change[i]) / sigma[i - 1]
            if size > EXCITEMENT_FROM:
                excitement += EXCITEMENT * np.log(size / EXCITEMENT_FROM)
        level = np.log(sigma[i]) + min(excitement, EXCITEMENT_LIMIT)
        total += level
        count += 1
        out[i] = np.exp((1.0 - SHRINKAGE) * level + SHRINKAGE * total / count)
    return out


@lru_cache(maxsize=64)
def sigma_paths(history: History) -> dict[str, Floats]:
    """σ by model, computed once for each History: ewma, ewma-rv, har; gjr from a day up (with `gjr-nu`, its degrees of
    freedom); har-implied where there is an index. Read-only."""
    paths = {"ewma": ewma_sigma(history), "ewma-rv": ewma_realised_sigma(history), "har": har_sigma(history)}
    if history.horizon >= DAY:
        paths["gjr"], paths["gjr-nu"] = gjr_paths(history)
    if history.implied is not None:
        paths["har-implied"] = har_sigma(history, implied=True)
    for path in paths.values():
        path.flags.writeable = False
    return paths


@lru_cache(maxsize=64)
def combination_sigma(history: History) -> Floats:
    """σ of the next step: all models of `sigma_paths`, combined and tempered. Read-only, NaN for WARM_UP rows."""
    seen = step_variance(history)
    models = [path for name, path in sigma_paths(history).items() if name != "gjr-nu"]
    sigma = tempered(np.sqrt(combine(np.stack([corrected(path**2, seen) for path in models]), seen)), history.change)
    sigma.flags.writeable = False
    return sigma


def rule_sigma(history: History) -> Floats:
    """σ of the next step that the margin rule follows. Read-only, NaN for WARM_UP rows.

    log-HAR where most steps hold enough prices to measure their variance: on six coins it set margin with less
    shortfall and fewer exceedances than the combination did, though its own forecasts of the tail are the worse ones.
    Where they don't, a squared return is too noisy for it: then with implied volatility beside it, or else the EWMA.
    """
    if np.median(history.steps) >= MEASURED_STEPS:
        path = har_sigma(history)
    elif history.implied is not None:  # row by row: whether the index is silent today says nothing of yesterday's σ
        path = har_sigma(history, implied=True)
        path = np.where(np.isfinite(path), path, ewma_sigma(history))
    else:
        path = ewma_sigma(history)
    path.flags.writeable = False
    return path


def _warm(sigma: Floats) -> Floats:
    sigma[:WARM_UP] = np.nan
    return sigma
