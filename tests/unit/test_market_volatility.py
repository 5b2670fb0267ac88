"""EWMA volatility against its definition and pandas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.market import YEAR_SECONDS, Ewma, Series, ewma_volatility, make_series

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
