"""EWMA volatility against its definition and pandas, and the reporter against its formula."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.market import (
    YEAR_SECONDS,
    Ewma,
    Series,
    VolatilityIndex,
    VolatilityReporter,
    ewma_volatility,
    make_series,
)

HOUR = 3_600


def walk(seed: int, n: int = 400, sigma: float = 0.01, name: str = "X") -> Series:
    returns = np.random.default_rng(seed).normal(0.0, sigma, n)
    return make_series(name, HOUR * np.arange(1, n + 1), 100.0 * np.cumprod(1.0 + returns))


def test_ewma_volatility_equals_pandas_on_regular_times():
    series = walk(1)
    half_life = 24 * HOUR
    squares = (series.close[1:] / series.close[:-1] - 1.0) ** 2 * YEAR_SECONDS / HOUR
    expected = np.sqrt(pd.Series(squares).ewm(halflife=24, adjust=True).mean().to_numpy())
    volatility, weight = ewma_volatility(series, half_life)
    assert math.isnan(volatility[0])
    assert np.allclose(volatility[1:], expected, rtol=1e-12)
    assert np.allclose(weight, 1.0 - 2.0 ** (-np.arange(400) / 24), rtol=1e-12)


@given(gaps=st.lists(st.integers(1, 300_000), min_size=1, max_size=30), seed=st.integers(0, 2**32 - 1))
def test_ewma_volatility_equals_its_kernel_on_irregular_times(gaps, seed):
    """Each squared return is weighed by the mass of the exponential kernel over its own interval."""
    ts = np.cumsum([1, *gaps])
    close = np.exp(np.random.default_rng(seed).normal(0.0, 0.1, len(ts)))
    half_life = 50_000.0
    last = ts[-1]
    mass = 2.0 ** (-(last - ts[1:]) / half_life) - 2.0 ** (-(last - ts[:-1]) / half_life)
    rate = (close[1:] / close[:-1] - 1.0) ** 2 * YEAR_SECONDS / np.diff(ts)
    volatility, weight = ewma_volatility(make_series("X", ts, close), half_life)
    assert volatility[-1] == pytest.approx(math.sqrt(np.sum(mass * rate) / np.sum(mass)), rel=1e-9)
    assert weight[-1] == pytest.approx(np.sum(mass), rel=1e-9)


def test_ewma_volatility_recovers_a_constant_level():
    level = 0.8
    series = walk(2, n=40_000, sigma=level * math.sqrt(HOUR / YEAR_SECONDS))
    volatility, _ = ewma_volatility(series, 30 * 86_400)
    assert np.mean(volatility[5_000:]) == pytest.approx(level, rel=0.02)


def test_ewma_update_refuses_a_time_that_does_not_rise():
    ewma = Ewma(1_000.0)
    ewma.update(10, 1.0)
    with pytest.raises(PlimsollError, match="price at 10 is not after"):
        ewma.update(10, 1.1)


def test_reporter_without_index_reports_the_ewma():
    series = walk(3)
    expected, _ = ewma_volatility(series, 24 * HOUR)
    reporter = VolatilityReporter({"X": series.between(end=200 * HOUR)}, None, 24 * HOUR)
    for ts, price, level in zip(series.ts[199:], series.close[199:], expected[199:], strict=True):
        assert reporter.observe(int(ts), {"X": float(price)}) == {"X": level}


def test_reporter_with_index_carries_it_by_realised_volatility():
    one, other = walk(4, name="A"), walk(5, sigma=0.02, name="B")
    half_life = 24 * HOUR
    realised = {"A": ewma_volatility(one, half_life)[0], "B": ewma_volatility(other, half_life)[0]}
    # published between prints, at a print, and then never again
    index = make_series("VIX", np.array([150 * HOUR, 250 * HOUR + 1_800, 260 * HOUR]), np.array([0.5, 0.9, 0.7]))
    reporter = VolatilityReporter(
        {"A": one.between(end=200 * HOUR), "B": other.between(end=200 * HOUR)}, VolatilityIndex("A", index), half_life
    )
    for i in range(199, 400):
        got = reporter.observe((i + 1) * HOUR, {"A": float(one.close[i]), "B": float(other.close[i])})
        if i < 250:
            level, at = 0.5, 198  # the index was taken in with the history, which ends at row 198
        elif i < 259:
            level, at = 0.9, 249
        else:
            level, at = 0.7, 259
        scale = level / realised["A"][at]
        age_is_good = (i + 1) * HOUR - (260 * HOUR if i >= 259 else 0) <= 5 * 86_400
        for asset in ("A", "B"):
            expected = realised[asset][i] * (scale if i < 259 or age_is_good else 1.0)
            if 199 <= i < 250 and (i + 1) * HOUR - 150 * HOUR > 5 * 86_400:
                expected = realised[asset][i]
            assert got[asset] == pytest.approx(expected, rel=1e-12)
    assert got["A"] == pytest.approx(realised["A"][-1], rel=1e-12)  # 140 h of silence: the index is dropped


def test_reporter_does_not_look_ahead():
    series = walk(6)
    index = make_series("VIX", HOUR * np.arange(1, 401), np.linspace(0.3, 0.6, 400))
    changed = make_series("VIX", index.ts, np.where(index.ts > 300 * HOUR, 5.0, index.close))

    def reports(which: Series) -> list[dict[str, float]]:
        reporter = VolatilityReporter({"X": series.between(end=200 * HOUR)}, VolatilityIndex("X", which), 24 * HOUR)
        return [reporter.observe(int(series.ts[i]), {"X": float(series.close[i])}) for i in range(199, 301)]

    before, after = reports(index), reports(changed)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
