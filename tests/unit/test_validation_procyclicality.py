"""Procyclicality against plain loops over all pairs of moments, and rules whose response is known in closed form."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.validation.procyclicality import peak_to_trough, procyclicality, step_response, worst_rise

DAY = 86_400

paths = st.lists(st.tuples(st.integers(1, 4 * DAY), st.floats(0.01, 1.0)), min_size=1, max_size=60).map(
    lambda rows: (np.cumsum([gap for gap, _ in rows]), np.array([level for _, level in rows]))
)


def in_force(ts: np.ndarray, row: int, seconds: int) -> list[int]:
    """Rows whose margin held at some moment of [ts[row] − seconds, ts[row]]: those that had not ended before it."""
    since = ts[row] - seconds
    return [j for j in range(row + 1) if j == row or ts[j + 1] > since]


@settings(deadline=None)
@given(path=paths, days=st.sampled_from([1, 2, 5, 30]))
def test_worstRise_isTheWorstOfAllPairs(path, days):
    ts, margin = path
    expected = max(margin[i] / margin[j] - 1 for i in range(len(ts)) for j in in_force(ts, i, days * DAY))
    assert worst_rise(ts, margin, days) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(path=paths, days=st.sampled_from([1, 5, 30, 365]))
def test_peakToTrough_isTheWidestOfAllWindows(path, days):
    ts, margin = path
    windows = [margin[in_force(ts, i, days * DAY)] for i in range(len(ts))]
    expected = max(window.max() / window.min() for window in windows)
    assert peak_to_trough(ts, margin, days) == pytest.approx(expected)


@settings(deadline=None)
@given(path=paths, factor=st.floats(0.1, 10), shift=st.integers(0, 10**9))
def test_procyclicality_knowsNeitherUnitNorEpoch(path, factor, shift):
    ts, margin = path
    one, other = procyclicality(ts, margin), procyclicality(ts + shift, factor * margin)
    assert other.average == pytest.approx(factor * one.average)
    assert other.standard_deviation == pytest.approx(factor * one.standard_deviation, abs=1e-7)
    assert other.peak_to_trough == pytest.approx(one.peak_to_trough)
    assert (other.worst_1_day_rise, other.worst_5_day_rise) == pytest.approx(
        (one.worst_1_day_rise, one.worst_5_day_rise), abs=1e-9
    )
    assert 0.0 <= one.worst_1_day_rise <= one.worst_5_day_rise + 1e-12 <= one.peak_to_trough - 1 + 1e-9


def test_worstRise_onADailyGridIsTheRiseFromTheDayBefore():
    ts = DAY * np.arange(6)
    assert worst_rise(ts, [0.10, 0.11, 0.10, 0.12, 0.09, 0.10], 1) == pytest.approx(0.2)
    assert worst_rise(ts, [0.10, 0.09, 0.08, 0.07, 0.06, 0.05], 5) == pytest.approx(0.0)
    # up by half over two days and back: 5 days apart nothing happened, within 5 days it did
    assert worst_rise(ts, [0.10, 0.12, 0.15, 0.12, 0.10, 0.10], 5) == pytest.approx(0.5)


def test_worstRise_countsTheLevelThatHeldOverSilence():
    """A weekend without a row: Friday's margin is in force until Monday's replaces it."""
    assert worst_rise([0, 3 * DAY], [0.10, 0.13], 1) == pytest.approx(0.3)
    # hourly rows: what happened 25 hours before is out of a day's window, 24 hours before is in it
    ts = 3_600 * np.arange(60)
    margin = np.full(60, 0.10)
    margin[10], margin[34] = 0.05, 0.20
    assert worst_rise(ts, margin, 1) == pytest.approx(3.0)
    margin[34], margin[35] = 0.10, 0.20
    assert worst_rise(ts, margin, 1) == pytest.approx(1.0)


def test_peakToTrough_forgetsAfterAYear():
    ts = DAY * np.arange(800)
    margin = np.full(800, 0.10)
    margin[0], margin[365] = 0.05, 0.15
    assert peak_to_trough(ts, margin) == pytest.approx(3.0)
    margin[365], margin[366] = 0.10, 0.15
    assert peak_to_trough(ts, margin) == pytest.approx(2.0)


def test_procyclicality_weighsLevelsByHowLongTheyHeld():
    result = procyclicality([0, DAY, 4 * DAY], [0.10, 0.20, 0.90])
    assert result.average == pytest.approx((0.10 + 3 * 0.20) / 4)
    assert result.standard_deviation == pytest.approx(math.sqrt((0.075**2 + 3 * 0.025**2) / 4))
    assert procyclicality([7], [0.2]).average == 0.2
    assert procyclicality([7], [0.2]).peak_to_trough == 1.0


def test_procyclicality_isFastOnHourlyYears():
    rng = np.random.default_rng(1)
    ts = 3_600 * np.arange(5 * 365 * 24)
    margin = 0.1 * np.exp(0.002 * np.cumsum(rng.standard_normal(len(ts))))
    begun = time.process_time()
    procyclicality(ts, margin)
    assert time.process_time() - begun < 0.5


# Response to a step


def ewma_margin(decay: float):
    def margin_of(volatility: np.ndarray) -> np.ndarray:
        variance, levels = volatility[0] ** 2, []
        for sigma in volatility:
            variance = decay * variance + (1 - decay) * sigma**2
            levels.append(3.0 * math.sqrt(variance))
        return np.array(levels)

    return margin_of


def test_stepResponse_ofAnEwmaIsItsClosedForm():
    """Variance after k steps is 4 − 3·λᵏ from 1 to 4; half of the way from σ = 1 to 2 is 1.5² = 2.25."""
    response = step_response(ewma_margin(0.94), 1.0, 2.0)
    assert (response.before, response.eventual) == pytest.approx((3.0, 6.0))
    for k in (1, 5, 20):
        assert response.reached[k] == pytest.approx(math.sqrt(4 - 3 * 0.94**k) / 2)
    assert response.half_time == math.ceil(math.log(1.75 / 3) / math.log(0.94))
    assert response.overshoot == pytest.approx(1.0)
    falling = step_response(ewma_margin(0.94), 2.0, 1.0)
    assert falling.half_time == math.ceil(math.log(1.25 / 3) / math.log(0.94))
    assert falling.reached[1] > 1.9


def test_stepResponse_ofAnImmediateAndOfAStaticRule():
    immediate = step_response(lambda sigma: sigma, 1.0, 2.0, steps=(1,))
    assert (immediate.reached, immediate.half_time) == ({1: 1.0}, 1)
    static = step_response(lambda sigma: np.full(len(sigma), 0.1), 1.0, 2.0)
    assert static.half_time is None
    assert static.reached == {1: 1.0, 5: 1.0, 20: 1.0}


def test_stepResponse_seesOvershoot():
    def margin_of(sigma: np.ndarray) -> np.ndarray:
        levels = sigma.copy()
        levels[500:510] = 3.0
        return levels

    assert step_response(margin_of, 1.0, 2.0).overshoot == pytest.approx(1.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: worst_rise([0, 1], [0.1], 1),
        lambda: worst_rise([1, 1], [0.1, 0.1], 1),
        lambda: worst_rise([0, 1], [0.1, 0.0], 1),
        lambda: worst_rise([0, 1], [0.1, np.nan], 1),
        lambda: worst_rise([0, 1], [0.1, 0.1], 0),
        lambda: peak_to_trough([], []),
        lambda: step_response(lambda sigma: sigma, 1.0, 2.0, run=10),
        lambda: step_response(lambda sigma: sigma[1:], 1.0, 2.0),
        lambda: step_response(lambda sigma: 0.0 * sigma, 1.0, 2.0),
    ],
)
def test_procyclicality_refusesWhatItCannotMeasure(call):
    with pytest.raises(PlimsollError):
        call()
