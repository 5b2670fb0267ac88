"""Filtered historical simulation: the tail of a weighted sample, and how it is walked along a history."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from plimsoll.calibration.extremes import SHAPE_PRIOR, fit_pareto
from plimsoll.calibration.filtered import (
    FIRST_FORECAST,
    LEAST_RESIDUALS,
    OTHER_SIDE,
    PARETO_SHARE,
    RESIDUAL_DECAY,
    RESIDUAL_WINDOW,
    filtered_risk,
    normal_risk,
    pareto_tail_risk,
    residuals,
    sample_risk,
    student_risk,
    to_forecasts,
    walk_tail,
)
from plimsoll.calibration.history import History
from plimsoll.calibration.tails import expected_shortfall
from plimsoll.errors import PlimsollError

DAY = 86_400


def a_history(change: np.ndarray) -> History:
    """A history of these daily returns, of which the first is not used."""
    n = len(change)
    price = 100 * np.cumprod(1 + np.append(0.0, change[1:]))
    elapsed = np.full(n, float(DAY))
    return History("A", DAY, DAY * np.arange(1, n + 1), price, change, elapsed, change**2 * 365, np.full(n, 24))


def returns(n: int, seed: int = 1) -> np.ndarray:
    return 0.03 * np.random.default_rng(seed).standard_t(5, n)


# The tail of a sample


@settings(deadline=None)  # the first example compiles
@given(
    losses=st.lists(st.floats(-10, 10), min_size=2, max_size=200),
    tail=st.sampled_from([0.01, 0.05, 0.25]),
)
def test_sampleRisk_withEqualWeightsIsTheDiscreteSamples(losses, tail):
    x = np.array(losses)
    found = sample_risk(x, np.ones(len(x)), tail)
    assert found == pytest.approx(expected_shortfall(x, 1 - tail), abs=1e-9)


def test_sampleRisk_weightsCountAsRepetitions():
    x = np.random.default_rng(3).standard_normal(150)
    weight = np.random.default_rng(4).integers(1, 5, 150)
    expected = expected_shortfall(np.repeat(x, weight), 0.95)
    assert sample_risk(x, weight.astype(float), 0.05) == pytest.approx(expected)


def test_paretoTailRisk_withEqualWeightsIsTheFit():
    x = stats.t.rvs(4, size=500, random_state=6)
    fit = fit_pareto(x, PARETO_SHARE, SHAPE_PRIOR)
    found = pareto_tail_risk(x, np.ones(500), 0.01)
    assert found == pytest.approx((fit.value_at_risk(0.99), fit.expected_shortfall(0.99)), rel=1e-6)


def test_paretoTailRisk_ofEqualLossesIsThatLoss():
    assert pareto_tail_risk(np.full(200, 2.0), np.ones(200), 0.01) == pytest.approx((2.0, 2.0))


# Walking


@pytest.mark.parametrize("pareto", [False, True])
def test_walkTail_isTheTailOfWhatWasKnown(pareto):
    """Every fifth row from the first that has enough, against the sample put together by hand."""
    losses = np.append(np.full(61, np.nan), np.random.default_rng(2).standard_t(4, 300))
    risk, shortfall = walk_tail(losses, 0.01, pareto)
    start = 61 + LEAST_RESIDUALS - 1
    assert np.isnan(risk[:start]).all()
    assert np.isfinite(risk[start:]).all()
    row = start + 100
    known = losses[61 : row + 1]
    weight = RESIDUAL_DECAY ** np.arange(len(known) - 1, -1, -1)
    both, weights = np.concatenate([known, -known]), np.concatenate([weight, OTHER_SIDE * weight])
    expected = (pareto_tail_risk if pareto else sample_risk)(both, weights, 0.01)
    assert (risk[row], shortfall[row]) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(risk[row : row + 5], risk[row])
    assert shortfall[row + 5] != shortfall[row]


def test_walkTail_forgetsWhatIsOlderThanItsWindow():
    losses = np.random.default_rng(9).standard_normal(RESIDUAL_WINDOW + 300)
    other = losses.copy()
    other[:100] = 50.0
    last = len(losses) - 1
    assert walk_tail(losses, 0.01, True)[0][last] == walk_tail(other, 0.01, True)[0][last]
    assert walk_tail(losses, 0.01, True)[0][500] < walk_tail(other, 0.01, True)[0][500]


@pytest.mark.parametrize("tail", ["sample", "pareto"])
def test_filteredRisk_ofHomoskedasticReturnsIsTheirQuantile(tail):
    """σ is known here, so the forecasts of 4,000 rows average to the true 99% VaR and ES of the Student-t."""
    change = returns(4_000, 8)
    risk, shortfall = filtered_risk(a_history(change), np.full(4_000, 0.03), 0.99, tail)
    quantile = stats.t.ppf(0.99, 5)
    mean_beyond = stats.t.pdf(quantile, 5) / 0.01 * (5 + quantile**2) / 4
    for side in ("long", "short"):
        assert np.nanmean(risk[side]) == pytest.approx(0.03 * quantile, rel=0.08)
        assert np.nanmean(shortfall[side]) == pytest.approx(0.03 * mean_beyond, rel=0.12)
        assert np.isfinite(risk[side][-1])


def test_filteredRisk_longIsTheShortOfTheMirrorImage():
    change, sigma = returns(400, 4), np.full(400, 0.03)
    risk, shortfall = filtered_risk(a_history(change), sigma, 0.99, "pareto")
    mirrored, mirrored_shortfall = filtered_risk(a_history(-change), sigma, 0.99, "pareto")
    np.testing.assert_array_equal(risk["long"], mirrored["short"])
    np.testing.assert_array_equal(shortfall["short"], mirrored_shortfall["long"])
    assert not np.array_equal(risk["long"], risk["short"], equal_nan=True)


def test_residuals_divideByTheForecastOfTheRowBefore():
    history = a_history(returns(300))
    sigma = np.linspace(0.01, 0.02, 300)
    assert residuals(history, sigma)[7] == history.change[7] / sigma[6]
    assert np.isnan(residuals(history, sigma)[0])


# Parametric tails


def test_normalAndStudentRisk_areIntegralsOfTheirDensities():
    law = stats.t(5, scale=math.sqrt(3 / 5))
    for (risk, shortfall), inverse in (
        (normal_risk(np.ones(1), 0.99), stats.norm.isf),
        (student_risk(np.ones(1), np.array([5.0]), 0.99), law.isf),
    ):
        assert risk[0] == pytest.approx(inverse(0.01), rel=1e-9)
        assert shortfall[0] == pytest.approx(integrate.quad(inverse, 0.0, 0.01)[0] / 0.01, rel=1e-6)


# Forecasts


def test_toForecasts_pairsEachForecastWithTheNextReturn():
    history = a_history(returns(300))
    path = {"long": np.full(300, 0.1), "short": np.linspace(0.1, 0.2, 300)}
    forecasts = to_forecasts(history, "m", 0.99, path, {side: 2 * values for side, values in path.items()})
    assert len(forecasts) == 300 - FIRST_FORECAST - 1
    np.testing.assert_array_equal(forecasts.ts, history.ts[FIRST_FORECAST:-1])
    np.testing.assert_array_equal(forecasts.end, history.ts[FIRST_FORECAST + 1 :])
    np.testing.assert_array_equal(forecasts.realised, history.change[FIRST_FORECAST + 1 :])
    np.testing.assert_array_equal(forecasts.value_at_risk["short"], path["short"][FIRST_FORECAST:-1])
    np.testing.assert_array_equal(forecasts.losses("long"), -forecasts.realised)


def test_toForecasts_revertsIfTheHistoryIsTooShort():
    path = {"long": np.ones(181), "short": np.ones(181)}
    with pytest.raises(PlimsollError, match="181 steps of 86400 s, and 182 are needed to test a forecast"):
        to_forecasts(a_history(returns(181)), "m", 0.99, path, path)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_toForecasts_revertsIfThereIsNoRisk(bad):
    path = {"long": np.ones(200), "short": np.where(np.arange(200) == 190, bad, 1.0)}
    with pytest.raises(PlimsollError, match=f"A: m has no short value at risk above zero at {191 * DAY}"):
        to_forecasts(a_history(returns(200)), "m", 0.99, path, path)
