"""The backtest: its rows against counts made here, its verdicts, and that it sees no future."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from plimsoll.calibration.backtest import Backtest, Check, backtest, judge
from plimsoll.calibration.candidates import BENCHMARK
from plimsoll.calibration.solve import WARM_UP
from plimsoll.errors import PlimsollError
from plimsoll.market import YEAR_SECONDS, Series, make_series

HOUR, DAY = 3_600, 86_400
MODELS = ("rule-evt",)


def coins(n: int = 24 * 640, seed: int = 4) -> dict[str, Series]:
    """Two assets whose common volatility wanders, with fat tails."""
    rng = np.random.default_rng(seed)
    wander = np.zeros(n)
    for i, shock in enumerate(rng.normal(0.0, 0.5 * math.sqrt(2 * HOUR / (20 * DAY)), n - 1)):
        wander[i + 1] = math.exp(-HOUR / (20 * DAY)) * wander[i] + shock
    common = rng.standard_t(4, n)
    out = {}
    for name in ("AAA", "BBB"):
        moves = (common + rng.standard_t(4, n)) / 2.0 * 0.7 * np.exp(wander) * math.sqrt(HOUR / YEAR_SECONDS)
        out[name] = make_series(name, 1_577_836_800 + HOUR * np.arange(1, n + 1), 100.0 * np.exp(np.cumsum(moves)))
    return out


@pytest.fixture(scope="module")
def assets() -> dict[str, Series]:
    return coins()


@pytest.fixture(scope="module")
def found(assets: dict[str, Series]) -> Backtest:
    return backtest(assets, models=MODELS)


def test_backtest_rowsAreWhatACountGives(assets, found):
    assert found.model == "rule-evt"
    for row in found.rows:
        forecasts = found.studies[row.asset].forecasts["rule-evt"]
        daily = assets[row.asset].close[assets[row.asset].ts % DAY == 0]
        realised = (daily[1:] / daily[:-1] - 1.0)[-len(forecasts) :]
        long = int(np.sum(-realised > forecasts.value_at_risk["long"]))
        short = int(np.sum(realised > forecasts.value_at_risk["short"]))
        assert (row.value("exceedances long"), row.value("exceedances short")) == (long, short)
        assert row.days == len(forecasts)
        n = row.days
        ratio = 2 * (
            stats.binom.logpmf(long, n, max(long, 1e-9) / n) - stats.binom.logpmf(long, n, 0.01)
        )  # Kupiec's likelihood ratio: the binomial coefficients cancel
        assert row.value("Kupiec p long") == pytest.approx(stats.chi2.sf(ratio, 1), rel=0.05, abs=1e-3)
        margin = found.solution.margin[row.asset]
        path = found.paths[row.asset]
        assert row.value("average margin") == pytest.approx(float(np.mean(margin)))
        assert row.value("margin days") == len(margin) == int(np.sum(path.ts >= path.ts[0] + WARM_UP))
        assert row.value("1-year peak to trough") <= 1.7
        assert margin.max() / margin.min() == pytest.approx(row.value("1-year peak to trough"))  # under a year of them


def test_backtest_doesNotLookAhead(assets, found):
    """Prices after a day are trebled: every forecast and margin up to it stays as it was, to the last bit."""
    cut = int(found.paths["AAA"].ts[-40])
    later = {
        name: make_series(name, one.ts, np.where(one.ts > cut, 3.0 * one.close, one.close))
        for name, one in assets.items()
    }
    other = backtest(later, models=MODELS)
    for name in assets:
        for model in found.studies[name].forecasts:
            one, two = (each.studies[name].forecasts[model] for each in (found, other))
            known = one.ts <= cut
            for side in ("long", "short"):
                assert np.array_equal(one.value_at_risk[side][known], two.value_at_risk[side][known])
                assert np.array_equal(one.expected_shortfall[side][known], two.expected_shortfall[side][known])
        path = found.paths[name]
        known = path.ts[path.judged] <= cut
        assert 20 < np.sum(known) < len(known)
        assert np.array_equal(found.solution.margin[name][known], other.solution.margin[name][known])
        assert not np.array_equal(found.solution.margin[name], other.solution.margin[name])


def test_backtest_isTheSameInTwoProcesses(assets, found):
    assert backtest(assets, models=MODELS, jobs=2).to_json() == found.to_json()


def test_backtest_failsAModelThatForecastsTooLittle(found):
    studies = []
    for one in found.studies.values():
        low = one.forecasts["rule-evt"]
        halved = replace(
            low,
            value_at_risk={side: 0.5 * values for side, values in low.value_at_risk.items()},
            expected_shortfall={side: 0.5 * values for side, values in low.expected_shortfall.items()},
        )
        studies.append(replace(one, forecasts=one.forecasts | {"rule-evt": halved}))
    judged = judge(studies, "rule-evt")
    assert judged.failed
    for row in judged.rows:
        assert {"exceedances", "Kupiec p", "Z2 long", "Z2 short"} <= set(row.failed)
    assert judged.model_faults == (f"rule-evt is not significantly better than {BENCHMARK}",)


def test_check_passesOnItsLimits():
    assert Check("x", 1.0).passed is None
    assert Check("x", 1.0, least=1.0).passed is True
    assert Check("x", 1.0, most=1.0).passed is True
    assert Check("x", 0.9, least=1.0).passed is False
    assert Check("x", 1.1, least=0.0, most=1.0).passed is False


def test_backtest_ofAYearHasNoMargin(assets):
    short = {"AAA": assets["AAA"].between(end=int(assets["AAA"].ts[24 * 300]))}
    judged = backtest(short, models=MODELS)
    assert judged.solution is None
    assert judged.frontier is None
    assert not any("margin" in check.name for check in judged.rows[0].checks)


def test_backtest_withOneDayOfMarginHasNoneYet(assets):
    """One step after the warm-up is no path to measure swings on."""
    everything = assets["AAA"]
    path = backtest({"AAA": everything}, models=MODELS).paths["AAA"]
    first = int(path.ts[path.judged][0])
    judged = backtest({"AAA": everything.between(end=first + DAY + 1)}, models=MODELS)
    assert np.sum(judged.paths["AAA"].judged) == 1
    assert judged.frontier is None


def test_backtest_ofDailyBars(assets):
    """Without prices inside the day, models still forecast."""
    one = assets["AAA"]
    daily = one.ts % DAY == 0
    judged = backtest({"AAA": make_series("AAA", one.ts[daily], one.close[daily])}, models=("ewma-fhs",))
    assert judged.rows[0].days > 400


@pytest.mark.parametrize(
    ("days", "options", "message"),
    [
        (100, {}, "AAA: 100 steps of 86400 s, and 182 are needed to test a forecast; give a longer history"),
        (40, {}, "AAA: 40 steps of 86400 s, and 60 are needed"),
        (300, {"model": "astrology"}, "no model 'astrology' for this history; known are ewma-normal, "),
        (300, {"horizon": 60}, "a horizon of 60 s cannot be measured on bars of 3600 s"),
        (300, {"jobs": -1}, "jobs is -1"),
    ],
)
def test_backtest_refuses(assets, days, options, message):
    start = int(assets["AAA"].ts[0])
    short = {"AAA": assets["AAA"].between(end=start + days * DAY)}
    with pytest.raises(PlimsollError, match=message):
        backtest(short, models=MODELS, **options)


def test_backtest_refusesNothing():
    with pytest.raises(PlimsollError, match="no series; give at least one"):
        backtest({})
