"""The level: against the online rule and the online EWMA, and causal."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.level import annualised, forecast_path, level_path, running_volatility
from plimsoll.calibration.rule import Limits, MarginRule, RuleState
from plimsoll.market import Series, ewma_volatility, make_series

HOUR, DAY = 3_600, 86_400
HALF_LIFE = 5 * DAY


def prices(n: int = 24 * 90, seed: int = 1) -> Series:
    """Hourly, with a hole of a day and volatility that doubles halfway."""
    rng = np.random.default_rng(seed)
    ts = HOUR * np.arange(1, n + 1)
    keep = (ts < 20 * DAY) | (ts > 21 * DAY)
    scale = np.where(ts < 45 * DAY, 0.005, 0.01)
    return make_series("X", ts[keep], 100.0 * np.exp(np.cumsum(scale * rng.standard_t(4, n)))[keep])


def sigma_of(history: History) -> np.ndarray:
    """Any positive forecast, none for ten rows."""
    sigma = 0.02 * np.exp(np.random.default_rng(3).normal(0.0, 0.4, len(history)))
    sigma[:10] = np.nan
    return sigma


def test_runningVolatility_isTheOnlineEwma():
    series = prices()
    expected, _ = ewma_volatility(series, HALF_LIFE)
    found = running_volatility(series.ts, series.close, HALF_LIFE)
    assert found[1:] == pytest.approx(expected[1:], rel=1e-12)
    assert found[0] == 0.0


def test_annualised_countsTheStepsThatThereWere():
    """A market that never closes has 365 daily steps a year; one open five days in seven, 5/7 of them."""
    ts = DAY * np.arange(1, 400, dtype=np.int64)
    never_closes = make_history(make_series("X", ts, 100.0 + np.sin(np.arange(399.0))), DAY)
    assert annualised(never_closes, np.full(399, 0.01))[1:] == pytest.approx(0.01 * math.sqrt(365.0))
    week = ts[(ts // DAY) % 7 < 5]
    closes = make_history(make_series("X", week, 100.0 + np.sin(np.arange(float(len(week))))), DAY)
    assert annualised(closes, np.full(len(week), 0.01))[-1] == pytest.approx(0.01 * math.sqrt(365.0 * 5 / 7), rel=0.01)


def test_forecastPath_isTheDefinitionAtEveryRow():
    series = prices()
    history = make_history(series, DAY)
    sigma = sigma_of(history)
    found = forecast_path(series, history, sigma, HALF_LIFE)
    ewma, _ = ewma_volatility(series, HALF_LIFE)
    at, value = series.ts.tolist(), annualised(history, sigma)
    for i in range(0, len(series), 7):
        known = [k for k in range(len(history)) if history.ts[k] <= at[i]]
        if not known or not math.isfinite(sigma[known[-1]]):
            assert math.isnan(found[i])
            continue
        row = max(j for j in range(len(at)) if at[j] <= history.ts[known[-1]])
        assert found[i] == pytest.approx(value[known[-1]] * ewma[i] / ewma[row], rel=1e-9)


def test_levelPath_isTheRuleOnline():
    series = prices()
    history = make_history(series, DAY)
    rule = MarginRule(multiplier=3.0, fast=2.0, slow=0.5, below=0.4)
    level = level_path(series, history, sigma_of(history), HALF_LIFE, rule)
    forecast = forecast_path(series, history, sigma_of(history), HALF_LIFE)
    state = RuleState(replace(rule, multiplier=1.0))
    online = [
        state.update(ts, one) if math.isfinite(one) else math.nan
        for ts, one in zip(series.ts.tolist(), forecast.tolist(), strict=True)
    ]
    assert level == pytest.approx(np.array(online), rel=1e-9, nan_ok=True)
    assert np.isfinite(level).sum() > 1_500


def test_levelPath_doesNotLookAhead():
    series = prices()
    cut = int(series.ts[1_500])
    later = make_series("X", series.ts, np.where(series.ts > cut, 5.0 * series.close, series.close))
    wide = MarginRule(limits=Limits(100.0, 10.0, 10.0))
    paths = []
    for one in (series, later):
        history = make_history(one, DAY)
        sigma = np.where(history.ts <= cut, sigma_of(history), 1.0)
        paths.append(level_path(one, history, sigma, HALF_LIFE, wide))
    before = series.ts <= cut
    assert np.array_equal(paths[0][before], paths[1][before], equal_nan=True)
    assert not np.allclose(paths[0][~before], paths[1][~before])


def test_levelPath_ofAModelWithoutForecastsHasNone():
    series = prices(n=24 * 70)
    history = make_history(series, DAY)
    nothing = np.full(len(history), np.nan)
    assert np.isnan(level_path(series, history, nothing, HALF_LIFE, MarginRule())).all()
