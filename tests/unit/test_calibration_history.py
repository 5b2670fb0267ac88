"""A series put on the grid of a horizon: which price, which return, and how much it moved on the way."""

from __future__ import annotations

import numpy as np
import pytest

from plimsoll.calibration.history import make_history
from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Series, make_series

HOUR = 3_600
DAY = 86_400
START = 18_000 * DAY


def hourly(n: int = 80 * 24, seed: int = 3) -> Series:
    """The first price is known an hour into a day."""
    rng = np.random.default_rng(seed)
    return make_series("A", START + HOUR * np.arange(1, n + 1), 100 * np.cumprod(1 + 0.01 * rng.standard_normal(n)))


def without(series: Series, rows: slice) -> Series:
    return make_series("A", np.delete(series.ts, rows), np.delete(series.close, rows))


def test_makeHistory_takesTheLastPriceOfEachDay():
    series = hourly()
    history = make_history(series, DAY)
    assert len(history) == 80
    np.testing.assert_array_equal(history.ts, START + DAY * np.arange(1, 81))
    np.testing.assert_array_equal(history.price, series.close[23::24])
    np.testing.assert_allclose(history.change[1:], series.close[47::24] / series.close[23:-24:24] - 1, rtol=1e-12)
    assert set(history.elapsed) == {DAY}
    assert set(history.steps) == {24}


def test_makeHistory_sumsSquaredReturnsBetweenGridPrices():
    series = hourly()
    history = make_history(series, DAY)
    inside = np.diff(np.log(series.close[23 : 24 * 2])) ** 2  # 24 returns, from the first grid price to the second
    assert len(inside) == 24
    assert history.realised_variance[1] == pytest.approx(np.sum(inside) * YEAR_SECONDS / DAY, rel=1e-9)
    assert history.realised_variance[0] == history.change[0] == 0.0


def test_makeHistory_onePriceAStepIsTheSquaredReturn():
    series = hourly(200)
    history = make_history(series, HOUR)
    assert set(history.steps) == {1}
    np.testing.assert_allclose(history.realised_variance, np.log1p(history.change) ** 2 * 365 * 24, atol=1e-9)
    np.testing.assert_allclose(history.variance, history.change**2 * 365 * 24)


def test_makeHistory_leavesSilentDaysOutAndSaysHowLongItWas():
    series = without(hourly(), slice(30 * 24, 33 * 24))
    history = make_history(series, DAY)
    assert len(history) == 77
    assert sorted(set(history.elapsed)) == [DAY, 4 * DAY]
    after = int(np.argmax(history.elapsed))
    assert history.ts[after] - history.ts[after - 1] == 4 * DAY
    assert history.change[after] == pytest.approx(history.price[after] / history.price[after - 1] - 1)


def test_makeHistory_dropsTheDayThatIsNotOver():
    whole, cut = hourly(), hourly().between(end=START + 79 * DAY + 12 * HOUR)
    history = make_history(cut, DAY)
    assert history.ts[-1] == START + 79 * DAY
    np.testing.assert_array_equal(history.price, make_history(whole, DAY).price[:79])


def test_makeHistory_usesAnIndexForADayAndNeverFromTheFuture():
    index = make_series("I", START + np.array([10 * DAY + HOUR, 20 * DAY]), np.array([0.5, 0.7]))
    implied = make_history(hourly(), DAY, index).implied
    known = np.flatnonzero(np.isfinite(implied))
    # printed an hour into day 11 it is known at the end of that day, and too old a day later
    np.testing.assert_array_equal(known + 1, [11, 20, 21])
    np.testing.assert_array_equal(implied[known], [0.5, 0.7, 0.7])
    assert make_history(hourly(), DAY).implied is None


def test_makeHistory_revertsIfBarsAreLongerThanTheHorizon():
    with pytest.raises(PlimsollError, match="cannot be measured on bars of 3600 s"):
        make_history(hourly(), 60)


def test_makeHistory_revertsIfThereAreTooFewSteps():
    with pytest.raises(PlimsollError, match=r"A: 59 steps of 86400 s, and 60 are needed; give a longer history"):
        make_history(hourly(59 * 24), DAY)
