"""Volatility paths against arch, statsmodels and pandas; the combination by what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch import arch_model
from scipy.optimize import approx_fprime

from plimsoll.calibration import garch
from plimsoll.calibration.garch import fit_gjr, gjr_variance
from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.volatility import (
    GARCH_WARM_UP,
    GARCH_WINDOW,
    WARM_UP,
    combination_sigma,
    combine,
    corrected,
    ewma,
    ewma_realised_sigma,
    ewma_sigma,
    gjr_paths,
    har_features,
    har_sigma,
    least_squares_forecasts,
    sigma_paths,
    step_variance,
    tempered,
)
from plimsoll.market.series import YEAR_SECONDS, make_series

HOUR, DAY = 3_600, 86_400


def garch_returns(n: int, seed: int, nu: float = 5.0) -> np.ndarray:
    """GJR-GARCH-t of known parameters (0.05, 0.06, 0.08, 0.85) and variance near one."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(nu, n) * np.sqrt((nu - 2) / nu)
    returns, variance = np.empty(n), 1.0
    for t in range(n):
        returns[t] = np.sqrt(variance) * noise[t]
        variance = 0.05 + (0.06 + 0.08 * (returns[t] < 0)) * returns[t] ** 2 + 0.85 * variance
    return returns


def a_history(days: int = 400, seed: int = 5, horizon: int = DAY) -> History:
    """Hourly prices whose daily volatility wanders as GARCH does."""
    rng = np.random.default_rng(seed)
    daily = np.repeat(np.sqrt(gjr_variance(garch_returns(days, seed), np.array([0.05, 0.06, 0.08, 0.85]), 1.0)[1:]), 24)
    moves = 0.03 * daily * rng.standard_t(5, days * 24) / np.sqrt(24 * 5 / 3)
    ts = 18_000 * DAY + HOUR * np.arange(1, days * 24 + 1)
    return make_history(make_series("A", ts, 100 * np.cumprod(1 + moves)), horizon)


# EWMA


def test_ewma_isPandasAdjustedMean():
    history = a_history()
    squares = pd.Series(history.change[1:] ** 2)
    reference = np.sqrt(squares.ewm(alpha=0.06, adjust=True).mean())
    np.testing.assert_allclose(ewma_sigma(history)[WARM_UP:], reference[WARM_UP - 1 :], rtol=1e-12)
    realised = pd.Series(history.realised_variance[1:] * DAY / YEAR_SECONDS)
    reference = np.sqrt(realised.ewm(alpha=0.15, adjust=True).mean())
    np.testing.assert_allclose(ewma_realised_sigma(history)[WARM_UP:], reference[WARM_UP - 1 :], rtol=1e-9)


def test_stepVariance_isNeverZeroOnceAPriceMoved():
    history = a_history()
    still = replace(history, realised_variance=np.where(np.arange(len(history)) == 100, 0, history.realised_variance))
    variance = step_variance(still)
    assert np.isnan(variance[0])
    assert np.all(variance[1:] > 0)
    assert variance[100] == pytest.approx(0.02 * ewma(still.realised_variance, 0.99)[100] * DAY / YEAR_SECONDS)


# GJR-GARCH-t


@pytest.mark.parametrize(("n", "seed"), [(900, 1), (1400, 2), (500, 3)])
def test_fitGjr_isAsLikelyAsArchs(n, seed):
    returns = 0.04 * garch_returns(n, seed)
    mine = fit_gjr(returns)
    scale = np.sqrt(np.mean(returns**2))
    model = arch_model(returns / scale, mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    theirs = model.fit(disp="off")
    likelihood = theirs.loglikelihood - n * np.log(scale)
    assert mine.log_likelihood == pytest.approx(likelihood, abs=0.05)
    # and on the parameters found, arch sees the likelihood and the variances that we report
    at = model.fix([mine.omega / scale**2, mine.alpha, mine.gamma, mine.beta, mine.nu])
    assert at.loglikelihood - n * np.log(scale) == pytest.approx(mine.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(mine.variance(returns)[:-1], (at.conditional_volatility * scale) ** 2, rtol=1e-9)
    ahead = at.forecast(horizon=1).variance.iloc[-1, 0] * scale**2
    assert mine.variance(returns)[-1] == pytest.approx(ahead, rel=1e-9)


def test_fitGjr_fromAnEarlierFitReachesTheSameMaximum():
    returns = garch_returns(1_000, 7)
    warm = fit_gjr(returns, fit_gjr(returns[:-30]))
    assert warm.log_likelihood == pytest.approx(fit_gjr(returns).log_likelihood, abs=0.1)


@pytest.mark.parametrize(
    "at", [[-3.0, 0.97, 0.08, 0.02, 1.6], [-1.5, 0.6, 0.3, 0.2, 1.0], [-4.0, 0.9999, 0.1, 0.0, 3.0]]
)
def test_objective_gradientIsThatOfFiniteDifferences(at):
    returns = garch_returns(300, 4)
    gradient = garch._objective(np.array(at), returns, 1.0)[1]
    numerical = approx_fprime(at, lambda p: garch._objective(p, returns, 1.0)[0], 1e-7)
    np.testing.assert_allclose(gradient, numerical, rtol=1e-3, atol=1e-4)


def test_fitGjr_ofPersistentReturnsIsFoundFromAnyStart():
    """At the limit of persistence, where fits of crypto-assets often end."""
    returns, variance = np.empty(1_200), 1.0
    noise = np.random.default_rng(3).standard_t(4, 1_200) / np.sqrt(2)
    for t in range(1_200):
        returns[t] = np.sqrt(variance) * noise[t]
        variance = 0.02 + 0.1 * returns[t] ** 2 + 0.9 * variance
    cold = fit_gjr(returns)
    warm = fit_gjr(returns, garch.Gjr(1.0, 0.3, 0.3, 0.3, 20.0, 1.0, 0.0))
    assert cold.alpha + cold.gamma / 2 + cold.beta > 0.98
    assert warm.log_likelihood == pytest.approx(cold.log_likelihood, abs=0.05)


def test_gjrPaths_isTheForecastOfAFitToThePastAlone():
    """Right after a refit: the window's own fit; between refits: that fit, filtered on."""
    history = a_history(300)
    sigma, nu = gjr_paths(history)
    assert np.all(np.isnan(sigma[:GARCH_WARM_UP]))
    fit = fit_gjr(history.change[1 : GARCH_WARM_UP + 1])
    for ahead in (0, 29):
        seen = history.change[1 : GARCH_WARM_UP + 1 + ahead]
        assert sigma[GARCH_WARM_UP + ahead] == pytest.approx(np.sqrt(fit.variance(seen)[-1]), rel=1e-12)
        assert nu[GARCH_WARM_UP + ahead] == fit.nu
    refit = fit_gjr(history.change[1 : GARCH_WARM_UP + 31], fit)
    later = history.change[1 : GARCH_WARM_UP + 31]
    assert sigma[GARCH_WARM_UP + 30] == pytest.approx(np.sqrt(refit.variance(later)[-1]), rel=1e-12)
    assert refit.beta != fit.beta
    assert GARCH_WINDOW == 1_460


# log-HAR


def test_leastSquaresForecasts_isStatsmodelsOls():
    rng = np.random.default_rng(2)
    X = np.column_stack([np.ones(120), rng.standard_normal((120, 3))])
    y = X @ [0.3, 1.0, -0.5, 0.2] + 0.1 * rng.standard_normal(120)
    X[10, 2] = np.nan
    forecasts = least_squares_forecasts(X, y, 1e-12, 20)
    for i in (40, 119):
        rows = [j for j in range(i) if j != 10]
        fit = sm.OLS(y[np.array(rows) + 1], X[rows]).fit()
        assert forecasts[i] == pytest.approx(fit.predict(X[i : i + 1])[0], rel=1e-8)
    assert np.isnan(forecasts[10])
    assert np.isnan(forecasts[:20]).all()
    assert np.isfinite(forecasts[22:]).all()


def test_harFeatures_areMeansOfRealisedVarianceAndFalls():
    history = a_history(100)
    features, realised, i = har_features(history), step_variance(history), 77
    for column, window in ((1, 1), (2, 5), (3, 22)):
        assert features[i, column] == pytest.approx(np.log(np.mean(realised[i - window + 1 : i + 1])), rel=1e-9)
    month = np.sqrt(np.mean(realised[i - 21 : i + 1]))
    assert features[i, 4] == pytest.approx(min(history.change[i], 0.0) / month)
    assert features[i, 5] == pytest.approx(min(history.price[i] / history.price[i - 5] - 1, 0.0) / month)
    assert np.all(features[23:, 4:] <= 0)


def test_harSigma_usesTheIndexWhereThereIsOne():
    history = a_history(300)
    following = np.append(step_variance(history)[1:], 1e-3)  # an index that knows the next step
    index = np.sqrt(following * 365)
    index[200] = np.nan
    knowing = har_sigma(replace(history, implied=index), implied=True)
    assert np.isnan(knowing[200])
    actual = np.log(following[100:-1])
    error = np.nanstd(2 * np.log(knowing[100:-1]) - actual)
    assert error < 0.2 * np.std(2 * np.log(har_sigma(history)[100:-1]) - actual)


# Combination


def test_corrected_removesAConstantBias():
    rng = np.random.default_rng(1)
    seen = rng.chisquare(10, 3_000) / 10
    assert corrected(np.full(3_000, 0.25), seen)[-500:].mean() == pytest.approx(1.0, rel=0.05)


def test_combine_isTheGeometricMeanOfEquallyGoodModels():
    seen = np.full(50, 2.0)
    out = combine(np.stack([np.full(50, 1.0), np.full(50, 1.0), np.full(50, 1.0)]), seen)
    np.testing.assert_allclose(out, 1.0)
    first = combine(np.array([[1.0], [4.0]]), seen[:1])  # nobody has a past
    assert first[0] == pytest.approx(2.0)


def test_combine_weighsByPastQlikeAlone():
    """One row of past: the weights are exp(−20·QLIKE) of what each had said."""
    said, seen = np.array([[1.0, 1.0], [1.2, 3.0]]), np.array([np.nan, 1.0])
    ratio = seen[1] / said[:, 0]
    weight = np.exp(-20.0 * (ratio - np.log(ratio) - 1))
    expected = np.exp(weight @ np.log(said[:, 1]) / weight.sum())
    assert combine(said, seen)[1] == pytest.approx(expected)


def test_combine_letsAModelWaitAndFollowsTheBetter():
    rng = np.random.default_rng(6)
    truth = np.exp(np.cumsum(0.1 * rng.standard_normal(600)))
    seen = np.append(np.nan, truth[:-1] * rng.chisquare(20, 599) / 20)
    late = np.where(np.arange(600) < 100, np.nan, truth)
    poor = np.full(600, truth.mean())
    out = combine(np.stack([late, poor]), seen)
    np.testing.assert_allclose(out[:100], poor[:100])
    astray = np.abs(np.log(out[400:] / truth[400:])).mean()
    assert astray < 0.1 * np.abs(np.log(poor[400:] / truth[400:])).mean()


def test_tempered_risesAfterALargeReturnAndFades():
    sigma, change = np.full(40, 0.02), np.zeros(40)
    change[10] = -0.08  # four σ
    out = tempered(sigma, change)
    assert out[9] == pytest.approx(0.02)
    raised = np.log(out[10:] / 0.02)
    mean_so_far = np.cumsum(0.5 * np.log(2) * 0.9 ** np.arange(30)) / np.arange(11, 41)
    np.testing.assert_allclose(raised, 0.8 * 0.5 * np.log(2) * 0.9 ** np.arange(30) + 0.2 * mean_so_far, rtol=1e-9)
    np.testing.assert_allclose(tempered(sigma, np.where(change < 0, 0.039, 0)), 0.02)  # within two σ: nothing


def test_tempered_isLimitedAfterACrash():
    change = np.zeros(5)
    change[2] = 5.0
    assert tempered(np.full(5, 0.02), change)[2] < 0.02 * np.e


def test_tempered_drawsToTheMeanOfTheLogarithm():
    out = tempered(np.array([np.nan, 0.01, 0.04]), np.zeros(3))
    np.testing.assert_allclose(out[1:], [0.01, 0.04**0.8 * 0.02**0.2])


def test_sigmaPaths_areSharedAndReadOnly():
    history = a_history(200)
    assert sigma_paths(history) is sigma_paths(history)
    assert set(sigma_paths(history)) == {"ewma", "ewma-rv", "har", "gjr", "gjr-nu"}
    assert set(sigma_paths(a_history(20, horizon=HOUR))) == {"ewma", "ewma-rv", "har"}
    with pytest.raises(ValueError, match="read-only"):
        sigma_paths(history)["ewma"][0] = 1.0


def test_combinationSigma_forecastsBetterThanRiskMetrics():
    """QLIKE on the realised variance of the next day, on data whose volatility wanders."""
    history = a_history(900)
    seen = step_variance(history)[201:]

    def qlike(sigma: np.ndarray) -> float:
        ratio = seen / sigma[200:-1] ** 2
        return float(np.mean(ratio - np.log(ratio)))

    plain = corrected(ewma_sigma(history) ** 2, step_variance(history)) ** 0.5
    assert np.isfinite(combination_sigma(history)[WARM_UP:]).all()
    assert qlike(combination_sigma(history)) < qlike(plain)
