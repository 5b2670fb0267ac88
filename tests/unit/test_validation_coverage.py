"""Tests of coverage against published tables, MathWorks' example, statsmodels and counting by brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plimsoll.errors import PlimsollError
from plimsoll.validation.coverage import (
    BASEL_ADDITIONS,
    christoffersen,
    christoffersen_independence,
    dynamic_quantile,
    kupiec,
    kupiec_band,
    rare_events,
    traffic_light,
    transitions,
)


def hits_at(n: int, *rows: int) -> np.ndarray:
    hits = np.zeros(n, dtype=bool)
    hits[list(rows)] = True
    return hits


def mathworks_hits() -> np.ndarray:
    """57 hits in 1,043 days, four of them right after another: the counts of MathWorks' `varbacktest` example."""
    rows = list(range(10, 10 + 18 * 53, 18))
    return hits_at(1_043, *rows, *(row + 1 for row in rows[:4]))


# Kupiec


def test_kupiec_matchesMathworksExample():
    result = kupiec(mathworks_hits(), 0.95)
    assert result.statistic == pytest.approx(0.46147, abs=5e-6)
    assert result.p_value == pytest.approx(0.49694, abs=5e-6)


@pytest.mark.parametrize(
    ("n", "confidence", "band"),
    [
        # Kupiec (1995) and Jorion (2007), table 6.3: the non-rejection region of N is open on both sides
        (510, 0.99, (2, 10)),
        (1_000, 0.99, (5, 16)),
        (255, 0.975, (3, 11)),
        (510, 0.975, (7, 20)),
        (1_000, 0.975, (16, 35)),
        (255, 0.95, (7, 20)),
        (510, 0.95, (17, 35)),
        (1_000, 0.95, (38, 64)),
    ],
)
def test_kupiecBand_matchesPublishedTable(n, confidence, band):
    assert kupiec_band(n, confidence) == band


def test_kupiecBand_isWhatTheFormulaSaysAt255Days():
    """The table prints N < 7; no hit at all has a ratio of −2·255·ln 0.99 = 5.13 > 3.84."""
    assert kupiec_band(255, 0.99) == (1, 6)
    assert kupiec(hits_at(255), 0.99).statistic == pytest.approx(-510 * np.log(0.99))


def test_kupiecBand_isOneSidedWhereAsked():
    least, most = kupiec_band(1_000, 0.99, alternative="greater")
    assert least == 0
    assert kupiec(hits_at(1_000, *range(0, 2 * most, 2)), 0.99, "greater").p_value > 0.05
    assert kupiec(hits_at(1_000, *range(0, 2 * most + 2, 2)), 0.99, "greater").p_value < 0.05
    assert most < kupiec_band(1_000, 0.99)[1]


@settings(deadline=None)
@given(n=st.integers(2, 400), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.975, 0.99]))
def test_kupiec_agreesWithItsBandAndItsExactSize(n, share, confidence):
    count = round(share * n)
    result = kupiec(hits_at(n, *range(count)), confidence)
    try:
        least, most = kupiec_band(n, confidence)
    except PlimsollError:
        least, most = 1, 0
    assert (result.p_value > 0.05) == (least <= count <= most)
    likelihood = stats.binom.logpmf(count, n, count / n) - stats.binom.logpmf(count, n, 1 - confidence)
    assert result.statistic == pytest.approx(2 * likelihood, abs=1e-7)
    assert 0.0 <= result.exact_p_value <= 1.0


def test_kupiec_exactPValueIsTheOneSidedBinomialTail():
    for count in (0, 5, 12, 20):
        exact = kupiec(hits_at(1_000, *range(count)), 0.99, "greater").exact_p_value
        assert exact == pytest.approx(stats.binomtest(count, 1_000, 0.01, "greater").pvalue, rel=1e-9)


# Christoffersen


def test_christoffersen_matchesMathworksExample():
    hits = mathworks_hits()
    assert transitions(hits) == (932, 53, 53, 4)
    independence = christoffersen_independence(hits)
    assert independence.statistic == pytest.approx(0.25866, abs=5e-6)
    assert independence.p_value == pytest.approx(0.61104, abs=5e-6)
    both = christoffersen(hits, 0.95)
    assert both.statistic == pytest.approx(0.72013, abs=5e-6)
    assert both.p_value == pytest.approx(0.69763, abs=5e-6)


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_christoffersen_exactPValuesCountEverySequence(n):
    """Every one of the 2ⁿ sequences with its probability, against counting by runs."""
    sequences = [np.array(bits) for bits in product([False, True], repeat=n)]
    p = 0.2
    probability = np.array([p ** s.sum() * (1 - p) ** (n - s.sum()) for s in sequences])
    joint = np.array([christoffersen(s, 1 - p).statistic for s in sequences])
    independence = np.array([christoffersen_independence(s).statistic for s in sequences])
    counts = np.array([s.sum() for s in sequences])
    for i in range(0, len(sequences), 7 if n > 6 else 1):
        expected = probability[joint >= joint[i] - 1e-9].sum()
        assert christoffersen(sequences[i], 1 - p).exact_p_value == pytest.approx(expected, abs=1e-9)
        alike = independence[counts == counts[i]]
        expected = np.mean(alike >= independence[i] - 1e-9)
        assert christoffersen_independence(sequences[i]).exact_p_value == pytest.approx(expected, abs=1e-9)


def test_christoffersen_seesClusters():
    clustered = hits_at(1_500, 100, 101, 102, 103, 400, 401, 402, 900, 901, 902, 903, 1_200, 1_201, 1_300, 1_301)
    assert kupiec(clustered, 0.99).p_value > 0.9
    assert christoffersen_independence(clustered).p_value < 1e-6
    assert christoffersen_independence(clustered).exact_p_value < 1e-6
    assert christoffersen(clustered, 0.99).exact_p_value < 1e-4


def test_christoffersen_isDefinedWithoutHitsAndWithNothingElse():
    for hits in (np.zeros(300, dtype=bool), np.ones(300, dtype=bool)):
        result = christoffersen_independence(hits)
        assert (result.statistic, result.p_value) == (0.0, 1.0)
        assert result.exact_p_value == pytest.approx(1.0)
    assert christoffersen(np.zeros(300, dtype=bool), 0.99).p_value == pytest.approx(
        stats.chi2.sf(-600 * np.log(0.99), 2)
    )
    assert christoffersen_independence(hits_at(300, 299)).statistic >= 0.0  # a hit that nothing follows


# Dynamic quantile


def regression(hits: np.ndarray, risk: np.ndarray, p: float) -> float:
    """DQ as n·ŷᵀŷ of an ordinary regression, by statsmodels."""
    y = hits.astype(float) - p
    lagged = [y[4 - lag : len(y) - lag] for lag in range(1, 5)]
    fitted = sm.OLS(y[4:], np.column_stack([np.ones(len(y) - 4), *lagged, risk[4:]])).fit().fittedvalues
    return float(fitted @ fitted) / (p * (1 - p))


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(30, 400), p=st.sampled_from([0.05, 0.2, 0.4]))
def test_dynamicQuantile_isTheRegressionOfStatsmodels(seed, n, p):
    rng = np.random.default_rng(seed)
    hits, risk = rng.random(n) < p, 0.05 * np.exp(rng.standard_normal(n))
    result = dynamic_quantile(hits, risk, 1 - p, seed=1, simulations=1)
    assert result.statistic == pytest.approx(regression(hits, risk, p), rel=1e-6, abs=1e-8)


def test_dynamicQuantile_hasSixDegreesAndFewerWhereRegressorsRepeat():
    rng = np.random.default_rng(3)
    hits, risk = rng.random(800) < 0.05, rng.uniform(0.02, 0.1, 800)
    full = dynamic_quantile(hits, risk, 0.95, seed=1)
    assert full.p_value == pytest.approx(stats.chi2.sf(full.statistic, 6))
    constant = dynamic_quantile(hits, np.full(800, 0.05), 0.95, seed=1)
    assert constant.p_value == pytest.approx(stats.chi2.sf(constant.statistic, 5))
    none = dynamic_quantile(np.zeros(800, dtype=bool), risk, 0.95, seed=1)
    assert none.statistic == pytest.approx(796 * 0.05 / 0.95)  # (0 − p)² a row over p(1 − p)
    assert none.p_value == pytest.approx(stats.chi2.sf(none.statistic, 2))
    assert none.exact_p_value < 0.01


def test_dynamicQuantile_seesHitsThatTheForecastForetells():
    rng = np.random.default_rng(5)
    risk = rng.uniform(0.02, 0.1, 1_500)
    hits = rng.random(1_500) < 0.05 * 2 * (risk > 0.06)
    assert dynamic_quantile(hits, risk, 0.95, seed=1).exact_p_value < 0.005
    assert kupiec(hits, 0.95).p_value > 0.05
    assert christoffersen_independence(hits).p_value > 0.05
    clustered = hits_at(1_500, *(row + k for row in (100, 400, 900, 1_200) for k in (0, 2, 4)))
    assert dynamic_quantile(clustered, risk, 0.99, seed=1).exact_p_value < 0.005


def test_exactPValues_areUniformUnderTheNullWhereTheTextbookOnesAreNot():
    """400 histories of 500 days: 5% and 10% rejected up to sampling error, fewer where counts tie, just so for DQ."""
    rng = np.random.default_rng(11)
    risk = 0.05 * np.exp(0.3 * rng.standard_normal(500))
    runs = 400
    exact = {"dq": np.empty(runs), "cc": np.empty(runs), "ind": np.empty(runs), "uc": np.empty(runs)}
    textbook = np.empty(runs)
    for i in range(runs):
        hits = rng.random(500) < 0.02
        dq = dynamic_quantile(hits, risk, 0.98, seed=i, simulations=199)
        exact["dq"][i], textbook[i] = dq.exact_p_value, dq.p_value
        exact["cc"][i] = christoffersen(hits, 0.98).exact_p_value
        exact["ind"][i] = christoffersen_independence(hits).exact_p_value
        exact["uc"][i] = kupiec(hits, 0.98).exact_p_value
    for level in (0.05, 0.10):
        error = 3.0 * np.sqrt(level * (1 - level) / runs)
        for values in exact.values():
            assert np.mean(values <= level) <= level + error
        assert np.mean(exact["dq"] <= level) >= level - error
    assert stats.kstest(exact["dq"], "uniform").pvalue > 0.01
    assert stats.kstest(textbook, "uniform").pvalue < 1e-6


def test_dynamicQuantile_isDeterministic():
    rng = np.random.default_rng(2)
    hits, risk = rng.random(700) < 0.02, rng.uniform(0.02, 0.1, 700)
    assert dynamic_quantile(hits, risk, 0.99, seed=4) == dynamic_quantile(hits, risk, 0.99, seed=4)
    assert dynamic_quantile(hits, risk, 0.99, seed=4) != dynamic_quantile(hits, risk, 0.99, seed=5)


def test_rareEvents_areIndependentTrials():
    rng = np.random.default_rng(9)
    found = rare_events(2_000_000, 0.01, rng)
    assert len(found) == pytest.approx(20_000, abs=4 * np.sqrt(20_000))
    assert np.all(np.diff(found) > 0)
    assert found[0] >= 0
    assert found[-1] < 2_000_000
    assert stats.kstest(found / 2_000_000, "uniform").pvalue > 0.001
    assert np.mean(np.diff(found) == 1) == pytest.approx(0.01, abs=0.003)
    counts = [len(rare_events(3, 0.5, rng)) for _ in range(4_000)]
    assert np.allclose(np.bincount(counts, minlength=4) / 4_000, [0.125, 0.375, 0.375, 0.125], atol=0.03)


# Basel


def test_trafficLight_matchesBaselTable():
    """Basel Committee (1996), table 2: cumulative probability in percent by exceptions in 250 days."""
    published = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
    additions = [0, 0, 0, 0, 0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.00]
    zones = ["green"] * 5 + ["yellow"] * 5 + ["red"]
    for count, probability in enumerate(published):
        light = traffic_light(count, 250, 0.99)
        assert 100 * light.cumulative_probability == pytest.approx(probability, abs=0.0051)
        assert (light.zone, light.addition) == (zones[count], additions[count])
        assert (light.yellow_from, light.red_from) == (5, 10)
    assert traffic_light(30, 250, 0.99).addition == 1.0
    assert sorted(BASEL_ADDITIONS.values()) == list(BASEL_ADDITIONS.values())


def test_trafficLight_hasZonesForAnyLengthButAdditionsOnlyAsPublished():
    light = traffic_light(16, 1_000, 0.99)
    assert (light.yellow_from, light.red_from) == (
        int(stats.binom.ppf(0.95, 1_000, 0.01)),
        int(stats.binom.ppf(0.9999, 1_000, 0.01)),
    )
    assert light.zone == "yellow"
    assert light.addition is None


# What is refused


@pytest.mark.parametrize(
    "call",
    [
        lambda: kupiec(np.array([0, 1, 0]), 0.99),
        lambda: kupiec(np.array([True]), 0.99),
        lambda: kupiec(hits_at(100), 99),
        lambda: kupiec(hits_at(100), 0.01),
        lambda: kupiec_band(0, 0.99),
        lambda: dynamic_quantile(hits_at(11), np.ones(11), 0.99, seed=1),
        lambda: dynamic_quantile(hits_at(100), np.full(100, np.nan), 0.99, seed=1),
        lambda: dynamic_quantile(hits_at(100), np.ones(99), 0.99, seed=1),
        lambda: traffic_light(11, 10, 0.99),
    ],
)
def test_coverage_refusesWhatItCannotTest(call):
    with pytest.raises(PlimsollError):
        call()
