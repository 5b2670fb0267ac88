"""Comparison of models against statsmodels' HAC regression, arch, and simulation of size."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from arch.bootstrap import MCS, optimal_block_length
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plimsoll.errors import PlimsollError
from plimsoll.validation.comparison import (
    block_length,
    diebold_mariano,
    long_run_variance,
    model_confidence_set,
    newey_west_lags,
)


def autoregressive(rng: np.random.Generator, n: int, rho: float = 0.4) -> np.ndarray:
    values = rng.standard_normal(n)
    for i in range(1, n):
        values[i] += rho * values[i - 1]
    return values


# Diebold–Mariano


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 300), lags=st.integers(0, 12), mean=st.floats(-0.5, 0.5))
def test_dieboldMariano_isTheHacRegressionOfStatsmodels(seed, n, lags, mean):
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal(n), rng.standard_normal(n) - mean
    fit = sm.OLS(first - second, np.ones(n)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    result = diebold_mariano(first, second, lags=lags)
    # for one step ahead the small-sample factor √((n − 1)/n) is the one of statsmodels
    assert result.statistic == pytest.approx(fit.tvalues[0], rel=1e-9)
    assert result.p_value == pytest.approx(fit.pvalues[0], rel=1e-7)
    assert result.better_p_value == pytest.approx(stats.t.cdf(fit.tvalues[0], n - 1), rel=1e-7)
    assert result.mean_difference == pytest.approx(fit.params[0])


def test_dieboldMariano_correctsForLongerHorizons():
    """Harvey, Leybourne & Newbold (1997): with h = 4 and n = 60 the factor is √((60 + 1 − 8 + 12/60)/60)."""
    rng = np.random.default_rng(1)
    first, second = autoregressive(rng, 60), autoregressive(rng, 60)
    one, four = (diebold_mariano(first, second, horizon=h, lags=5) for h in (1, 4))
    assert four.statistic / one.statistic == pytest.approx(np.sqrt(53.2 / 60) / np.sqrt(59 / 60))
    assert diebold_mariano(first, second, horizon=9).lags == 8


def test_neweyWestLags_isTheRuleOfThumb():
    assert [newey_west_lags(n) for n in (2, 100, 250, 1_000, 1_500)] == [1, 4, 4, 6, 7]


@settings(deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60), data=st.data())
def test_longRunVariance_isNeverNegative(values, data):
    lags = data.draw(st.integers(0, len(values) - 1))
    assert long_run_variance(np.array(values), lags) >= -1e-6


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_dieboldMariano_isAntisymmetric(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((2, 50))
    forth, back = diebold_mariano(first, second), diebold_mariano(second, first)
    assert forth.statistic == pytest.approx(-back.statistic)
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.better_p_value == pytest.approx(1 - back.better_p_value)


def test_dieboldMariano_hasItsSizeOnDependentLosses():
    rng = np.random.default_rng(3)
    draws = [diebold_mariano(autoregressive(rng, 600, 0.2), autoregressive(rng, 600, 0.2)) for _ in range(1_000)]
    assert np.mean([d.p_value < 0.10 for d in draws]) == pytest.approx(0.10, abs=0.035)
    assert np.mean([d.better_p_value < 0.05 for d in draws]) == pytest.approx(0.05, abs=0.025)


def test_dieboldMariano_knowsEqualModels():
    losses = np.random.default_rng(4).standard_normal(100)
    result = diebold_mariano(losses, losses)
    assert (result.statistic, result.p_value, result.better_p_value) == (0.0, 1.0, 0.5)


# Model confidence set


def field(seed: int = 5, n: int = 400) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = autoregressive(rng, n)
    shift = {"worst": 0.5, "good": 0.0, "bad": 0.2, "alike": 0.005}
    return {name: common + more + 0.5 * rng.standard_normal(n) for name, more in shift.items()}


def test_modelConfidenceSet_isArchsWithItsNames():
    losses = field()
    result = model_confidence_set(losses, seed=9, block=8)
    # arch numbers models by column; here columns are in another order, which must not matter beyond the draws
    columns = np.column_stack(list(losses.values()))
    order = np.lexsort(columns[::-1])  # as np.unique sorts them: by the first row, then the next
    direct = MCS(columns[:, order], 0.10, reps=1_000, block_size=8, seed=9)
    direct.compute()
    names = [list(losses)[i] for i in order]
    assert result.p_values == {
        name: pytest.approx(float(direct.pvalues.loc[i, "Pvalue"])) for i, name in enumerate(names)
    }
    assert set(result.included) == {names[i] for i in direct.included} == {"good", "alike"}
    means = [losses[name].mean() for name in result.included]
    assert means == sorted(means)
    assert result.block_length == 8


def test_modelConfidenceSet_doesNotDependOnOrderAndIsDeterministic():
    losses = field()
    backwards = {name: losses[name] for name in reversed(losses)}
    first, second = (model_confidence_set(these, seed=2) for these in (losses, backwards))
    assert first.p_values == second.p_values
    assert first.included == second.included
    assert first.p_values != model_confidence_set(losses, seed=3).p_values


def test_modelConfidenceSet_holdsTheBestModelNineTimesInTen():
    kept = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        losses = {str(i): rng.standard_normal(150) + (0.0 if i else -0.1) for i in range(3)}
        kept += "0" in model_confidence_set(losses, seed=seed, replications=200, block=2).included
    assert kept >= 100  # 0.9·120 = 108, less 2.4 standard errors


def test_modelConfidenceSet_countsEqualModelsAsOne():
    losses = field()
    twin = model_confidence_set({**losses, "twin": losses["good"]}, seed=9, block=8)
    alone = model_confidence_set(losses, seed=9, block=8)
    assert twin.p_values["twin"] == twin.p_values["good"] == alone.p_values["good"]
    same = model_confidence_set({"a": losses["good"], "b": losses["good"]}, seed=1)
    assert same.p_values == {"a": 1.0, "b": 1.0}
    assert model_confidence_set({"a": losses["good"]}, seed=1).included == ("a",)


def test_blockLength_isPolitisAndWhitesWithinItsBounds():
    rng = np.random.default_rng(6)
    persistent = np.column_stack([autoregressive(rng, 900, 0.9), autoregressive(rng, 900, 0.9)])
    relative = persistent - persistent.mean(axis=1, keepdims=True)
    best = optimal_block_length(relative)["stationary"].max()
    assert block_length(persistent) == int(np.ceil(best)) > 10
    assert block_length(rng.standard_normal((1_000, 3))) == 10
    assert block_length(rng.standard_normal((24, 1))) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda: diebold_mariano(np.arange(9.0), np.zeros(9)),
        lambda: diebold_mariano(np.arange(20.0), np.arange(20.0) + 1.0),
        lambda: diebold_mariano(np.arange(20.0), np.zeros(20), lags=20),
        lambda: diebold_mariano(np.arange(20.0), np.zeros(20), horizon=11),
        lambda: diebold_mariano(np.arange(20.0), np.zeros(19)),
        lambda: model_confidence_set({}, seed=1),
        lambda: model_confidence_set({"a": np.zeros(10)}, seed=1),
        lambda: model_confidence_set({"a": np.zeros(30), "b": np.full(30, np.nan)}, seed=1),
        lambda: model_confidence_set({"a": np.zeros(30)}, seed=1, size=90),
    ],
)
def test_comparison_refusesWhatItCannotCompare(call):
    with pytest.raises(PlimsollError):
        call()
