"""Tests of shortfall against published critical values, the definitions by numerical integration, and simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from plimsoll.errors import PlimsollError
from plimsoll.validation.shortfall import (
    Sample,
    Student,
    acerbi_szekely,
    fissler_ziegel,
    sampled_predictive,
    student_predictive,
)


def var_es(distribution, confidence: float) -> tuple[float, float]:
    """VaR and ES of losses by integration of the tail."""
    quantile = distribution.ppf(confidence)
    return quantile, integrate.quad(lambda x: x * distribution.pdf(x), quantile, np.inf)[0] / (1 - confidence)


NORMAL = stats.norm()
T3 = stats.t(3)


# Statistics


@pytest.mark.parametrize(
    ("distribution", "n", "level", "critical"),
    [
        # Acerbi & Székely (2014): −0.70 at 5% in a year, for normal and any but the fattest tails
        (NORMAL, 250, 0.05, -0.70),
        (stats.t(10), 250, 0.05, -0.70),
        # MathWorks' tables behind unconditionalNormal and unconditionalT, at 1% over 1,966 days
        (NORMAL, 1_966, 0.01, -0.34639),
        (T3, 1_966, 0.01, -0.42986),
    ],
)
def test_acerbiSzekely_z2HasPublishedCriticalValues(distribution, n, level, critical):
    """The published critical value is the statistic of a p-value of `level`, here made by one large loss."""
    risk, shortfall = var_es(distribution, 0.975)
    losses = np.zeros(n)
    losses[0] = shortfall * (1.0 - critical) * n * 0.025  # the only hit: Z2 = critical
    result = acerbi_szekely(losses, np.full(n, risk), np.full(n, shortfall), 0.975, seed=3, simulations=40_000).z2
    assert result.statistic == pytest.approx(critical)
    assert result.p_value == pytest.approx(level, abs=0.15 * level)
    if level == 0.05:
        assert result.critical_value == pytest.approx(critical, abs=0.03)


def z3_by_definition(losses: np.ndarray, scales: np.ndarray, shapes: list, confidence: float) -> float:
    """Acerbi & Székely's third test as they define it, with P_t⁻¹ of profits and E_V by integration over the rank."""
    n = len(losses)
    k = int(n * (1 - confidence) + 1e-9)
    ranks = np.sort([d.sf(x / s) for x, s, d in zip(losses, scales, shapes, strict=True)])  # P_t(profit)

    def average(d) -> float:
        return integrate.quad(lambda u: n / k * special.betainc(n - k, k, 1 - u) * d.isf(u), 0.0, 1.0, limit=400)[0]

    averages = {d: average(d) for d in set(shapes)}
    return 1.0 - np.mean(
        [np.mean(s * d.isf(ranks[:k])) / (s * averages[d]) for s, d in zip(scales, shapes, strict=True)]
    )


@pytest.mark.parametrize("pair", [(NORMAL, NORMAL), (stats.t(4), stats.t(4)), (T3, stats.t(8))])
def test_acerbiSzekely_statisticsAreTheirDefinitions(pair):
    rng = np.random.default_rng(8)
    n, confidence = 60, 0.9
    scales, shapes = rng.uniform(0.01, 0.05, n), list(pair) * 30
    losses = np.array([s * d.rvs(random_state=rng) for s, d in zip(scales, shapes, strict=True)])
    known = {d: var_es(d, confidence) for d in pair}
    risk, shortfall = (np.array([s * known[d][i] for s, d in zip(scales, shapes, strict=True)]) for i in (0, 1))
    result = acerbi_szekely(losses, risk, shortfall, confidence, seed=1)
    severity = [x / e for x, v, e in zip(losses, risk, shortfall, strict=True) if x > v]
    assert 2 < len(severity) < 12
    assert result.z1.statistic == pytest.approx(1 - sum(severity) / len(severity))
    assert result.z2.statistic == pytest.approx(1 - sum(severity) / (n * 0.1))
    # 3 degrees are not on the grid of shapes, whose nearest is moved to the same VaR and ES
    assert result.z3.statistic == pytest.approx(z3_by_definition(losses, scales, shapes, confidence), abs=2e-3)


def test_acerbiSzekely_withSampledResidualsIsTheDefinitionWithTheirQuantiles():
    rng = np.random.default_rng(4)
    residuals, scale = rng.standard_t(5, 4_000), rng.uniform(0.01, 0.05, 200)
    losses = scale * rng.choice(residuals, 200)
    quantile = np.quantile(residuals, 0.95)
    risk, shortfall = scale * quantile, scale * residuals[residuals > quantile].mean()
    null = sampled_predictive(residuals, scale)
    result = acerbi_szekely(losses, risk, shortfall, 0.95, seed=1, predictive=null)
    observed = np.sort(losses / scale)[-10:]
    average = np.mean([np.mean(np.sort(rng.choice(residuals, 200))[-10:]) for _ in range(20_000)])
    assert result.z3.statistic == pytest.approx(1 - np.mean(observed) / average, abs=0.01)


def test_acerbiSzekely_drawsHitsAtTheChanceOfEachRow():
    """Forecasts too low on half of the rows and too high on others, against drawing every loss of the null."""
    rng = np.random.default_rng(14)
    n, residuals = 100, rng.standard_normal(20_000)
    risk = np.resize([0.5, 1.0, 1.5, 2.0], n) * np.quantile(residuals, 0.9)
    result = acerbi_szekely(
        np.zeros(n), risk, 1.3 * risk, 0.9, seed=1, predictive=sampled_predictive(residuals, np.ones(n))
    )
    drawn = rng.choice(residuals, (20_000, n))
    z2 = 1 - np.sum(np.where(drawn > risk, drawn / (1.3 * risk), 0.0), axis=1) / (0.1 * n)
    assert result.z2.critical_value == pytest.approx(np.quantile(z2, 0.05), abs=0.06)


@pytest.mark.parametrize("kind", ["student", "sampled"])
def test_acerbiSzekely_hasItsSizeUnderTheNull(kind):
    """600 histories from the null: p-values uniform, critical values exceeded downwards 5% of the time."""
    rng = np.random.default_rng(21)
    n, runs = 500, 600
    scale = 0.03 * np.exp(0.4 * rng.standard_normal(n))
    if kind == "student":
        quantile, beyond = var_es(stats.t(4), 0.975)
        null = None
        draw = lambda: rng.standard_t(4, n)  # noqa: E731
    else:
        residuals = rng.standard_t(4, 3_000)
        null = sampled_predictive(residuals, scale)
        u = np.sort(residuals)[::-1]
        quantile, beyond = Sample(u).inverse_survival(np.array(0.025)), u[: round(0.025 * len(u))].mean()
        draw = lambda: rng.choice(residuals, n)  # noqa: E731
    p_values = {name: np.empty(runs) for name in ("z1", "z2", "z3")}
    for i in range(runs):
        result = acerbi_szekely(
            scale * draw(), scale * quantile, scale * beyond, 0.975, seed=i, predictive=null, simulations=199
        )
        for name, values in p_values.items():
            values[i] = getattr(result, name).p_value
    for name, values in p_values.items():
        assert stats.kstest(values, "uniform").pvalue > 0.001, name
        assert np.mean(values <= 0.05) == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / runs)), name


def test_acerbiSzekely_rejectsShortfallForecastTooSmall():
    """Student-t(3) losses, forecast as normal ones of 80% of the VaR and as what they are."""
    rng = np.random.default_rng(6)
    n = 1_500
    losses = rng.standard_t(3, n)
    (thin, beyond), (quantile, right) = var_es(NORMAL, 0.99), var_es(T3, 0.99)
    small = 0.8 * quantile
    wrong = acerbi_szekely(losses, np.full(n, small), np.full(n, small * beyond / thin), 0.99, seed=1)
    good = acerbi_szekely(losses, np.full(n, quantile), np.full(n, right), 0.99, seed=1)
    for name in ("z1", "z2", "z3"):
        bad, fair = getattr(wrong, name), getattr(good, name)
        assert bad.statistic < bad.critical_value, name
        assert bad.p_value < 0.05, name
        assert fair.statistic > fair.critical_value, name
        assert fair.p_value > 0.05, name


def test_acerbiSzekely_isDefinedWithoutAHitAndOverFewRows():
    n = 30
    result = acerbi_szekely(np.full(n, -0.01), np.full(n, 0.1), np.full(n, 0.12), 0.99, seed=1)
    assert result.z1.statistic == 0.0
    assert result.z2.statistic == 1.0
    assert result.z2.p_value == 1.0
    assert result.z3.statistic > 0.0
    equal = acerbi_szekely(np.full(n, 0.11), np.full(n, 0.1), np.full(n, 0.1), 0.99, seed=1)
    assert all(np.isfinite([equal.z1.statistic, equal.z2.statistic, equal.z3.statistic, equal.z3.critical_value]))


def test_acerbiSzekely_isFastAndDeterministic():
    rng = np.random.default_rng(7)
    n = 1_500
    risk = rng.uniform(0.05, 0.15, n)
    shortfall = risk * rng.uniform(1.1, 1.8, n)  # every shape of the grid in use: the slowest case
    losses = 0.04 * rng.standard_t(4, n)
    first = acerbi_szekely(losses, risk, shortfall, 0.99, seed=5)
    begun = time.process_time()
    second = acerbi_szekely(losses, risk, shortfall, 0.99, seed=5)
    assert time.process_time() - begun < 1.0
    assert first == second
    assert first != acerbi_szekely(losses, risk, shortfall, 0.99, seed=6)


# The null


@settings(deadline=None, max_examples=40)
@given(
    ratio=st.floats(1.0, 6.0),
    risk=st.floats(1e-3, 0.5),
    confidence=st.sampled_from([0.95, 0.975, 0.99]),
)
def test_studentPredictive_hasTheVaRAndEsOfTheForecast(ratio, risk, confidence):
    null = student_predictive([risk], [risk * ratio], confidence)
    row = np.zeros(1, dtype=np.int64)
    assert null.inverse_survival(row, np.array([1 - confidence])) == pytest.approx(risk)
    assert null.survival(row, np.array([1.5 * risk])) < 1 - confidence
    degrees = null.shapes[null.shape[0]].degrees
    location, scale = null.location[0], null.scale[0]
    tail = stats.norm if np.isinf(degrees) else stats.t(degrees)
    if ratio > 1.001:
        standard = (risk - location) / scale
        beyond = integrate.quad(lambda w: tail.isf(np.exp(-w)) * np.exp(-w), -np.log(1 - confidence), 200)[0]
        assert (location + scale * beyond / (1 - confidence)) == pytest.approx(risk * ratio, rel=1e-4)
        assert standard == pytest.approx(tail.isf(1 - confidence))


@pytest.mark.parametrize("degrees", [2.5, 3.7, 6.0, 15.0])
def test_studentPredictive_findsTheDegreesOfAStudent(degrees):
    quantile, beyond = var_es(stats.t(degrees), 0.99)
    null = student_predictive([0.03 * quantile], [0.03 * beyond], 0.99)
    assert 1 / null.shapes[null.shape[0]].degrees == pytest.approx(1 / degrees, abs=1 / 256 + 1e-9)
    assert null.scale[0] == pytest.approx(0.03, rel=0.05)
    assert abs(null.location[0]) < 0.1 * 0.03 * quantile


def test_student_isScipys():
    x, u = np.linspace(-4, 9, 40), np.geomspace(1e-12, 0.9, 40)
    for degrees in (4 / 3, 3.0, 30.0):
        assert Student(degrees).survival(x) == pytest.approx(stats.t.sf(x, degrees), rel=1e-9)
        assert Student(degrees).inverse_survival(u) == pytest.approx(stats.t.isf(u, degrees), rel=1e-7)
    assert Student(np.inf).survival(x) == pytest.approx(stats.norm.sf(x), rel=1e-9)
    far = Student(4 / 3).inverse_survival(np.exp(-np.array([30.0, 60.0, 99.0])))
    assert np.log(far[1:] / far[:-1]) == pytest.approx(np.array([30.0, 39.0]) * 3 / 4, rel=1e-3)  # u^(−1/ν)


# FZ0


def test_fisslerZiegel_matchesAHandComputation():
    loss = fissler_ziegel([0.02, 0.15], [0.10, 0.10], [0.125, 0.125], 0.99)
    # V/E + ln E − 1 = 0.8 − 2.0794415 − 1; then + 0.05/(0.01·0.125) = 40
    assert loss == pytest.approx([-2.2794415, 37.7205585])


@pytest.mark.parametrize("distribution", [NORMAL, stats.t(5)])
def test_fisslerZiegel_isSmallestAtTheTrueForecast(distribution):
    u = (np.arange(400_000) + 0.5) / 400_000
    losses = distribution.ppf(u)

    def average(forecast):
        return float(np.mean(fissler_ziegel(losses, *(np.full(len(u), x) for x in forecast), 0.975)))

    truth = np.array(var_es(distribution, 0.975))
    best = optimize.minimize(lambda x: average((x[0], x[0] + abs(x[1]))), [1.5, 0.5], method="Nelder-Mead").x
    assert [best[0], best[0] + abs(best[1])] == pytest.approx(truth, rel=0.02)


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 1_000))
def test_fisslerZiegel_differencesDoNotDependOnTheUnit(factor, seed):
    rng = np.random.default_rng(seed)
    losses, risk = rng.standard_normal(50), rng.uniform(1, 3, 50)
    other = risk * rng.uniform(0.8, 1.3, 50)
    one = fissler_ziegel(losses, risk, 1.2 * risk, 0.99) - fissler_ziegel(losses, other, 1.4 * other, 0.99)
    scaled = [fissler_ziegel(factor * losses, factor * v, factor * m * v, 0.99) for v, m in ((risk, 1.2), (other, 1.4))]
    assert scaled[0] - scaled[1] == pytest.approx(one, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fissler_ziegel([0.1], [0.0], [0.1], 0.99),
        lambda: fissler_ziegel([0.1], [0.2], [0.1], 0.99),
        lambda: fissler_ziegel([np.nan], [0.2], [0.3], 0.99),
        lambda: fissler_ziegel([0.1, 0.2], [0.2], [0.3], 0.99),
        lambda: acerbi_szekely([], [], [], 0.99, seed=1),
        lambda: acerbi_szekely([0.1], [0.2], [0.3], 1.0, seed=1),
        lambda: sampled_predictive([0.1, np.inf], [1.0]),
        lambda: sampled_predictive([0.1], [0.0]),
        lambda: acerbi_szekely([0.1], [0.2], [0.3], 0.99, seed=1, predictive=sampled_predictive([1.0], [1.0, 2.0])),
    ],
)
def test_shortfall_refusesWhatItCannotTest(call):
    with pytest.raises(PlimsollError):
        call()
