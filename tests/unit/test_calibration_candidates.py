"""Every candidate: never looks ahead, is the same on every run, and on the way is what a validator would accept."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from plimsoll.calibration.candidates import BENCHMARK, CANDIDATES, candidates_for, gjr_t, implied
from plimsoll.calibration.filtered import FIRST_FORECAST, filtered_risk
from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.volatility import combination_sigma, sigma_paths
from plimsoll.errors import PlimsollError
from plimsoll.market.series import load_series, make_series
from plimsoll.validation.comparison import diebold_mariano, model_confidence_set
from plimsoll.validation.coverage import kupiec_band
from plimsoll.validation.forecasts import SIDES, Forecasts
from plimsoll.validation.shortfall import fissler_ziegel

HOUR, DAY = 3_600, 86_400
MODELS = [*CANDIDATES, "implied"]
ECONOMETRIC = [name for name in CANDIDATES if name not in {"hmm", "boosted"}]


@cache
def a_history(days: int = 420, horizon: int = DAY) -> History:
    """Hourly prices with clustered volatility and fat tails, and an index that follows volatility with noise."""
    rng = np.random.default_rng(12)
    log_volatility = np.zeros(days)
    for day in range(1, days):
        log_volatility[day] = 0.95 * log_volatility[day - 1] + 0.15 * rng.standard_normal()
    hourly = np.repeat(0.03 * np.exp(log_volatility), 24) / np.sqrt(24)
    moves = hourly * rng.standard_t(5, days * 24) / np.sqrt(5 / 3)
    ts = 18_000 * DAY + HOUR * np.arange(1, days * 24 + 1)
    index = make_series("I", ts[23::24], 0.03 * np.sqrt(365) * np.exp(log_volatility + 0.1 * rng.standard_normal(days)))
    return make_history(make_series("A", ts, 100 * np.cumprod(1 + moves)), horizon, index)


def cut(history: History, rows: int) -> History:
    """The first `rows` alone."""
    arrays = ("ts", "price", "change", "elapsed", "realised_variance", "steps", "implied")
    return replace(history, **{name: getattr(history, name)[:rows] for name in arrays})


def with_another_future(history: History, row: int) -> History:
    """Everything after `row` is something else: a crash, a boom, silence, another index."""
    rng = np.random.default_rng(99)
    later = np.arange(len(history)) > row
    change = np.where(later, rng.choice([-0.4, 0.9, 0.0, 0.01], len(history)), history.change)
    return replace(
        history,
        price=np.where(later, 1.0, history.price),
        change=change,
        realised_variance=np.where(later, 50 * change**2, history.realised_variance),
        implied=np.where(later, 3.0, history.implied),
    )


def forecast(model: str, history: History) -> Forecasts:
    return candidates_for(history)[model](history)


def assert_same(one: Forecasts, other: Forecasts, rows: int) -> None:
    """Bit for bit over the first `rows` forecasts."""
    for side in SIDES:
        np.testing.assert_array_equal(one.value_at_risk[side][:rows], other.value_at_risk[side][:rows])
        np.testing.assert_array_equal(one.expected_shortfall[side][:rows], other.expected_shortfall[side][:rows])


@pytest.mark.parametrize("row", [240, 333])
@pytest.mark.parametrize("model", MODELS)
def test_candidate_neverLooksAhead(model, row):
    history = a_history()
    here, elsewhere = forecast(model, history), forecast(model, with_another_future(history, row))
    known = row - FIRST_FORECAST + 1  # forecasts up to the one made on `row`
    assert_same(here, elsewhere, known)
    # and the test would see it: the forecast one row later knows another return
    assert here.value_at_risk["long"][known] != elsewhere.value_at_risk["long"][known]


@pytest.mark.parametrize("model", MODELS)
def test_candidate_saysTheSameOnAShorterHistory(model):
    history = a_history()
    short = forecast(model, cut(history, 300))
    assert len(short) == 300 - FIRST_FORECAST - 1
    assert_same(short, forecast(model, history), len(short))


@pytest.mark.parametrize("model", MODELS)
def test_candidate_isTheSameOnEveryRun(model):
    again = replace(a_history())  # another object, so that nothing is remembered
    assert again is not a_history()
    assert_same(forecast(model, a_history()), forecast(model, again), len(again))


@pytest.mark.parametrize("model", MODELS)
def test_candidate_forecastsEveryStepFromTheSameRow(model):
    history = a_history()
    forecasts = forecast(model, history)
    assert forecasts.model == model
    assert forecasts.confidence == 0.99
    np.testing.assert_array_equal(forecasts.ts, history.ts[FIRST_FORECAST:-1])
    for side in SIDES:
        assert np.all(forecasts.value_at_risk[side] > 0)
        assert np.all(forecasts.expected_shortfall[side] > forecasts.value_at_risk[side])


def test_combinationEvt_nowIsTheLastRowOfItsPath():
    """What a calibration takes for today is what the backtest would have said a row later."""
    history = a_history()
    risk, _ = filtered_risk(cut(history, 300), combination_sigma(cut(history, 300)), 0.99, "pareto")
    assert risk["long"][-1] == forecast("combination-evt", history).value_at_risk["long"][299 - FIRST_FORECAST]


def test_candidatesFor_finerGridHasNoGarch():
    history = make_history(
        make_series("A", HOUR * np.arange(1, 301), 100 + np.random.default_rng(1).standard_normal(300)), HOUR
    )
    models = candidates_for(history)
    assert set(models) == set(CANDIDATES) - {"gjr-t"}
    assert "gjr" not in sigma_paths(history)
    for model in models.values():
        assert len(model(history)) == 300 - FIRST_FORECAST - 1
    with pytest.raises(PlimsollError, match="gjr-t is for a horizon of a day or more, not 3600 s"):
        gjr_t(history)


def test_implied_revertsIfThereIsNoIndex():
    without = replace(a_history(), implied=None)
    assert "implied" not in candidates_for(without)
    with pytest.raises(PlimsollError, match="A: candidate implied needs an index"):
        implied(without)


def test_implied_goesOnWithoutWhereTheIndexIsSilent():
    silent = replace(a_history(), implied=np.full(len(a_history()), np.nan))
    assert_same(implied(silent), CANDIDATES["rule-evt"](a_history()), len(silent))


@pytest.mark.parametrize("model", [*ECONOMETRIC, "implied"])
def test_candidate_revertsIfThePriceStandsStill(model):
    n = len(a_history())
    still = replace(a_history(), price=np.ones(n), change=np.zeros(n), realised_variance=np.zeros(n))
    with pytest.raises(PlimsollError, match=f"A: {model} has no long value at risk above zero"):
        forecast(model, still)


# Real prices


def loss(forecasts: Forecasts) -> np.ndarray:
    sides = [
        fissler_ziegel(forecasts.losses(side), forecasts.value_at_risk[side], forecasts.expected_shortfall[side], 0.99)
        for side in SIDES
    ]
    return np.mean(sides, axis=0)


@cache
def real(asset: str) -> dict[str, Forecasts]:
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "spot"
    bars = "30m" if asset in {"BTC", "ETH", "SOL"} else "1h"
    history = make_history(load_series(folder / f"{asset}-USDT_{bars}.parquet", asset, stamp="open"), DAY)
    return {name: CANDIDATES[name](history) for name in ECONOMETRIC}


@pytest.mark.data
@pytest.mark.parametrize("asset", ["BTC", "ETH", "SOL", "LINK", "DOGE", "AVAX"])
def test_combinationEvt_hasTheExceedancesItPromises(asset):
    forecasts = real(asset)["combination-evt"]
    least, most = kupiec_band(len(forecasts), 0.99)
    for side in SIDES:
        assert least <= np.count_nonzero(forecasts.losses(side) > forecasts.value_at_risk[side]) <= most


@pytest.mark.data
@pytest.mark.parametrize("asset", ["BTC", "ETH", "SOL", "LINK", "DOGE", "AVAX"])
def test_combinationEvt_isInTheConfidenceSetOfEconometricModels(asset):
    losses = {name: loss(forecasts) for name, forecasts in real(asset).items()}
    assert "combination-evt" in model_confidence_set(losses, seed=1).included
    assert losses["combination-evt"].mean() < losses[BENCHMARK].mean()


@pytest.mark.data
def test_combinationEvt_isSignificantlyBetterThanTheBenchmarkOverAllAssets():
    """Day by day, the average over the assets that traded."""
    by_day: dict[str, dict[int, list[float]]] = {"combination-evt": {}, BENCHMARK: {}}
    for asset in ("BTC", "ETH", "SOL", "LINK", "DOGE", "AVAX"):
        for model, days in by_day.items():
            for ts, value in zip(real(asset)[model].ts.tolist(), loss(real(asset)[model]).tolist(), strict=True):
                days.setdefault(ts, []).append(value)
    mean = {model: np.array([np.mean(days[ts]) for ts in sorted(days)]) for model, days in by_day.items()}
    assert diebold_mariano(mean["combination-evt"], mean[BENCHMARK]).better_p_value < 0.01
