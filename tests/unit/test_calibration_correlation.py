"""Correlation: the estimator against its definition and against what it must beat, and the matrices around it."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.calibration.correlation import (
    EIGENVALUE_FLOOR,
    HALF_LIFE,
    estimate_correlations,
    running_correlations,
    shrunk_correlation,
    toward,
)
from plimsoll.errors import PlimsollError
from plimsoll.market import YEAR_SECONDS, Series, ewma_volatility, load_series, make_series

DAY = 86_400
CONFIG = CalibrationConfig()


def as_correlation(covariance: Any) -> Any:
    deviation = np.sqrt(np.diag(covariance))
    return covariance / np.outer(deviation, deviation)


# ─── Estimator


@given(n=st.integers(5, 40), p=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_shrunk_correlation_isItsDefinition(n: int, p: int, seed: int):
    """Weighted correlations by numpy, variances and covariances of every pair by loops."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, (n, p)) @ rng.normal(size=(p, p))
    weights = rng.uniform(0.1, 1.0, n)
    w = weights / weights.sum()
    raw = as_correlation(sum(w[t] * np.outer(x[t], x[t]) for t in range(n)))
    unit = x / np.sqrt(sum(w[t] * x[t] ** 2 for t in range(n)))
    pairs = [(i, j) for i in range(p) for j in range(i + 1, p)]

    def error(i: int, j: int, t: int) -> float:
        return float(w[t] * (unit[t, i] * unit[t, j] - raw[i, j] * (unit[t, i] ** 2 + unit[t, j] ** 2) / 2))

    centre = np.mean([raw[pair] for pair in pairs])
    noise = spread = 0.0
    for pair in pairs:
        for t in range(n):
            noise += error(*pair, t) ** 2 - error(*pair, t) * np.mean([error(*other, t) for other in pairs])
        spread += (raw[pair] - centre) ** 2
    expected = min(max(noise / spread, 0.0), 1.0) if p > 2 else 0.0
    found, _, intensity = shrunk_correlation(x, weights)
    assert intensity == pytest.approx(expected, rel=1e-6, abs=1e-9)
    for pair in pairs:
        assert (
            found[pair] == found[pair[::-1]] == pytest.approx((1 - expected) * raw[pair] + expected * centre, abs=1e-9)
        )
    assert (np.diag(found) == 1.0).all()


def test_shrunk_correlation_takesTheBestPartOfBoth():
    """Its intensity is within a tenth of the one of least mean loss, found by trying all; its errors are the errors."""
    rng = np.random.default_rng(3)
    p, n = 8, 120
    truth = np.full((p, p), 0.6) + rng.normal(0, 0.08, (p, p))
    truth = (truth + truth.T) / 2
    np.fill_diagonal(truth, 1.0)
    weights = np.exp2(-np.arange(n)[::-1] / 60)
    root = np.linalg.cholesky(truth)
    upper = np.triu_indices(p, 1)
    grid = np.linspace(0, 1, 41)
    losses, intensities, raws, errors = np.zeros(41), [], [], []
    for _ in range(300):
        x = rng.normal(size=(n, p)) @ root.T
        found, error, intensity = shrunk_correlation(x, weights)
        raw = as_correlation(np.einsum("t,ti,tj->ij", weights, x, x))[upper]
        losses += [np.sum(((1 - d) * raw + d * raw.mean() - truth[upper]) ** 2) for d in grid]
        intensities.append(intensity)
        raws.append(raw)
        errors.append(error[upper])
        assert found[upper] == pytest.approx((1 - intensity) * raw + intensity * raw.mean())
    assert 0.2 < grid[np.argmin(losses)] < 0.8
    assert np.mean(intensities) == pytest.approx(grid[np.argmin(losses)], abs=0.1)
    assert np.mean(errors) == pytest.approx(np.mean(np.std(raws, axis=0)), rel=0.1)


def test_shrunk_correlation_ofTwoAssetsIsNotShrunk():
    x = np.random.default_rng(4).normal(size=(100, 2))
    found, _, intensity = shrunk_correlation(x, np.ones(100))
    assert intensity == 0.0
    assert found[0, 1] == pytest.approx(np.sum(x[:, 0] * x[:, 1]) / np.sqrt(np.prod(np.sum(x**2, axis=0))))


# ─── Repair


@given(p=st.integers(2, 7), seed=st.integers(0, 2**32 - 1))
def test_toward_isPositiveDefiniteAndBetween(p: int, seed: int):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(p, p + 2))
    central = as_correlation(factor @ factor.T + 0.1 * np.eye(p))
    if np.linalg.eigvalsh(central)[0] < EIGENVALUE_FLOOR:
        return
    upper = np.triu(rng.uniform(0.0, 1.0, (p, p)), 1)
    for target in (central + (0.99 - central) * (upper + upper.T), central - (0.99 + central) * (upper + upper.T)):
        np.fill_diagonal(target, 1.0)
        repaired = toward(central, target)
        assert np.linalg.eigvalsh(repaired)[0] >= EIGENVALUE_FLOOR * (1 - 1e-6)
        assert np.allclose(np.diag(repaired), 1.0)
        assert (np.minimum(central, target) - 1e-12 <= repaired).all()
        assert (repaired <= np.maximum(central, target) + 1e-12).all()
        if np.linalg.eigvalsh(target)[0] >= EIGENVALUE_FLOOR:
            assert (repaired == target).all()


def nearest_correlation(matrix: Any) -> Any:
    """Higham (2002), algorithm 3.3: alternating projections with Dykstra's correction."""
    y, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(2_000):
        r = y - correction
        values, vectors = np.linalg.eigh(r)
        x = (vectors * np.maximum(values, 0.0)) @ vectors.T
        correction = x - r
        y = x.copy()
        np.fill_diagonal(y, 1.0)
    return y


def test_toward_isAlmostAsNearAsTheNearestCorrelation():
    """Higham's own example (2002, section 1): 1 on the diagonal and beside it is no correlation matrix."""
    broken = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    nearest = nearest_correlation(broken)
    assert nearest[0, 1] == pytest.approx(0.7607, abs=1e-4)  # as published
    assert nearest[0, 2] == pytest.approx(0.1573, abs=1e-4)
    repaired = toward(np.eye(3), broken, 0.0)
    assert repaired[0, 1] == pytest.approx(math.sqrt(0.5), abs=1e-9)  # keeps the zero, which the nearest does not
    assert repaired[0, 2] == 0.0
    assert (
        np.linalg.norm(nearest - broken) < np.linalg.norm(repaired - broken) < 1.15 * np.linalg.norm(nearest - broken)
    )


def test_toward_refusesAssetsThatMoveAsOne():
    with pytest.raises(PlimsollError, match="two assets move as one"):
        toward(np.ones((2, 2)), np.ones((2, 2)))


# ─── Running correlation


def test_running_correlations_equalTheirSums():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 3))
    weights = 2.0 ** (-np.arange(300)[::-1] / 20)
    running = running_correlations(DAY * np.arange(1, 301), x, 20 * DAY, 0.74)
    assert running[-1] == pytest.approx(as_correlation((x * weights[:, None]).T @ x), rel=1e-12)
    assert len(running) == 300 - 38  # the weight is 0.74 after 38.9 days
    with pytest.raises(PlimsollError, match="shorter than two of its half-lives"):
        running_correlations(DAY * np.arange(1, 31), x[:30], 20 * DAY, 0.74)


# ─── All of it


def assets_of(returns: Any, step: int = DAY) -> dict[str, Series]:
    """A series for each column of daily returns."""
    prices = 100 * np.cumprod(1 + returns, axis=0)
    ts = 1_600_000_000 // DAY * DAY + step * np.arange(len(returns))
    return {f"A{i:02}": make_series(f"A{i:02}", ts, prices[:, i]) for i in range(returns.shape[1])}


def estimate(assets: dict[str, Series]) -> Any:
    known = {name: ewma_volatility(series, CONFIG.half_life) for name, series in assets.items()}
    volatility = {name: pair[0] for name, pair in known.items()}
    usable = {name: pair[1] >= CONFIG.warm_up_weight for name, pair in known.items()}
    return estimate_correlations(assets, volatility, usable, CONFIG)


def test_estimate_correlations_followsAChange():
    """Two years unrelated, then half a year at 0.8: today's correlation is near 0.8 and the low one near nothing."""
    rng = np.random.default_rng(5)
    common = rng.normal(size=(910, 1))
    rho = np.where(np.arange(910) < 730, 0.0, 0.8)[:, None]
    returns = 0.02 * (np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(size=(910, 4)))
    found = estimate(assets_of(returns))
    upper = np.triu_indices(4, 1)
    assert found.central[upper] == pytest.approx(0.7, abs=0.12)  # an eighth of the weight is from before
    assert (found.low[upper] < 0.2).all()
    assert (found.high[upper] > found.central[upper] + 2 * found.standard_error[upper]).all()
    assert (found.low <= found.central).all()
    assert (found.central <= found.high).all()
    assert 0 < found.shrinkage <= 1


@pytest.mark.parametrize("columns", [(0, 0), (0, 1, 2, 0)])
def test_estimate_correlations_repairsWhatIsNotDefinite(columns: tuple[int, ...]):
    """An asset and its copy: two are not shrunk, so only the repair keeps them apart."""
    returns = np.random.default_rng(6).normal(0, 0.02, (240, 3))[:, list(columns)]
    found = estimate(assets_of(returns))
    for matrix in (found.low, found.central, found.high):
        assert np.linalg.eigvalsh(matrix)[0] >= EIGENVALUE_FLOOR * (1 - 1e-6)
        assert np.isfinite(matrix).all()
    assert 0.9 < found.central[0, -1] < 1


def test_estimate_correlations_ofTwentyAssetsOverFiveYearsIsQuick():
    rng = np.random.default_rng(7)
    returns = 0.004 * (rng.normal(size=(43_800, 1)) + rng.normal(size=(43_800, 20)))
    assets = assets_of(returns, 3_600)
    volatility = {name: np.full(43_800, 0.5) for name in assets}
    usable = {name: np.ones(43_800, dtype=bool) for name in assets}
    begin = time.process_time()
    found = estimate_correlations(assets, volatility, usable, CONFIG)
    assert time.process_time() - begin < 1.0  # 0.2 s on an idle machine
    assert found.central[np.triu_indices(20, 1)] == pytest.approx(0.5, abs=0.2)
    assert found.observations > 1_800


# ─── Real assets, walked forward


def devolatilised(names: tuple[str, ...], step: str) -> Any:
    """Daily returns over yesterday's EWMA deviation, shape (days, p)."""
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "spot"
    columns = {}
    for name in names:
        series = load_series(folder / f"{name}-USDT_{step}.parquet", name, stamp="open")
        volatility, weight = ewma_volatility(series, CONFIG.half_life)
        row = np.flatnonzero((series.ts % DAY == 0) & (weight >= CONFIG.warm_up_weight))
        change = series.close[row[1:]] / series.close[row[:-1]] - 1
        years = np.diff(series.ts[row]) / YEAR_SECONDS
        columns[name] = dict(
            zip(series.ts[row[1:]].tolist(), change / volatility[row[:-1]] / np.sqrt(years), strict=True)
        )
    common = sorted(set.intersection(*(set(column) for column in columns.values())))
    return np.array([[columns[name][ts] for name in names] for ts in common])


@pytest.mark.data
@pytest.mark.parametrize(
    ("names", "step"),
    [
        (("BTC", "ETH", "LINK", "DOGE", "AVAX"), "1h"),
        (("BTC", "ETH", "LINK", "DOGE"), "1h"),
        (("BTC", "ETH", "SOL"), "30m"),
    ],
)
def test_shrunkEwma_predictsNextMonthAtLeastAsWellAsEitherAlone(names: tuple[str, ...], step: str):
    """Root mean square error of the correlations of the next 30 days, every 30 days, from what was known before."""
    returns = devolatilised(names, step)
    upper = np.triu_indices(len(names), 1)
    errors: dict[str, list[float]] = {}
    for t in range(200, len(returns) - 30, 30):
        past = returns[:t] / np.sqrt(np.mean(returns[:t] ** 2, axis=0))
        realised = as_correlation(returns[t : t + 30].T @ returns[t : t + 30])
        weights = np.exp2(-np.arange(t)[::-1] * DAY / HALF_LIFE)
        shrunk = LedoitWolf(assume_centered=True)
        forecasts = {
            "both": shrunk_correlation(past, weights)[0],
            "EWMA": as_correlation(np.einsum("t,ti,tj->ij", weights, past, past)),
            "Ledoit–Wolf, all": as_correlation(shrunk.fit(past).covariance_),
            "Ledoit–Wolf, last year": as_correlation(shrunk.fit(past[-365:]).covariance_),
        }
        for model, forecast in forecasts.items():
            errors.setdefault(model, []).append(float(np.mean((forecast - realised)[upper] ** 2)))
    loss = {model: float(np.sqrt(np.mean(values))) for model, values in errors.items()}
    assert len(errors["both"]) >= 16
    assert loss["both"] <= loss["EWMA"]
    assert loss["both"] < 0.97 * loss["Ledoit–Wolf, last year"]
    assert loss["both"] < 0.97 * loss["Ledoit–Wolf, all"]
