"""Choosing the margin rule: no look-ahead, exact scaling, and a choice that pays where paying is possible."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from plimsoll.calibration.history import History
from plimsoll.calibration.rule import DAY, Limits, MarginRule, margins
from plimsoll.calibration.solve import (
    WARM_UP,
    RiskPath,
    average,
    candidates,
    relative_margin,
    risk_path,
    scales_to_shortfalls,
    solve,
    worse_side,
)
from plimsoll.errors import PlimsollError
from plimsoll.validation.procyclicality import procyclicality

T0 = 1_500_000_000 - 1_500_000_000 % DAY


def asset(seed: int, n: int = 1400, start: int = 0, name: str | None = None) -> RiskPath:
    """Student returns whose volatility is known, mean-reverts and jumps: forecasts as good as can be."""
    rng = np.random.default_rng(seed)
    x = np.zeros(n)
    for i in range(1, n):
        x[i] = 0.93 * x[i - 1] + 0.12 * rng.normal() + (1.0 if rng.random() < 0.01 else 0.0)
    sigma = 0.03 * np.exp(x)
    ts = T0 + DAY * (start + np.arange(n))
    realised = np.maximum(sigma * rng.standard_t(4, n) / np.sqrt(2.0), -0.9)
    return RiskPath(name or f"A{seed}", ts, ts + DAY, sigma, realised)


@pytest.fixture(scope="module")
def paths() -> list[RiskPath]:
    return [asset(1), asset(2), asset(3, 900, 500)]


@pytest.fixture(scope="module")
def solution(paths):
    return solve(paths)


def test_solve_keepsLimitsOutOfSample_throughEveryChange(paths, solution):
    for path in paths:
        margin = solution.margin[path.name]
        assert len(margin) == np.count_nonzero(path.judged)
        measured = procyclicality(path.ts[path.judged], margin)
        assert measured.peak_to_trough <= 1.7
        assert measured.worst_1_day_rise <= 0.12
        assert measured.worst_5_day_rise <= 0.60
    rules = {(choice.rule.fast, choice.rule.slow, choice.rule.below) for choice in solution.choices}
    assert len(rules) > 3, "the choice must have changed for this to test anything"


@pytest.mark.parametrize("row", [500, 365 + 30 * 6, 365 + 30 * 20, 1100])
def test_solve_doesNotLookAhead(paths, solution, row):
    """Whatever comes after a time, forecasts and returns alike, no margin nor choice until then changes; two of the
    times are those of a choice, when the return that starts there is not known yet."""
    now = int(paths[0].ts[row])
    changed = []
    for path in paths:
        future, unknown = path.ts > now, path.end > now
        changed.append(
            replace(
                path,
                forecast=np.where(future, 5.0 * path.forecast, path.forecast),
                realised=np.where(unknown, np.where(path.realised > 0.0, -0.9, 2.0), path.realised),
            )
        )
    other = solve(changed)
    for path in paths:
        known = path.ts[path.judged] <= now
        np.testing.assert_array_equal(other.margin[path.name][known], solution.margin[path.name][known])
        assert np.any(other.margin[path.name][~known] != solution.margin[path.name][~known])
    for before, after in zip(solution.choices, other.choices, strict=True):
        assert before.ts > now or before == after


def test_solve_theLastReturnBeforeAChoiceCounts(paths, solution):
    """The other side of no look-ahead: what was known at the choice moves it."""
    choice = solution.choices[len(solution.choices) // 2]
    row = int(np.searchsorted(paths[0].end, choice.ts, side="right")) - 1
    crash = paths[0].realised.copy()
    crash[row] = -0.8
    other = solve([replace(paths[0], realised=crash), *paths[1:]])
    assert other.choices[len(other.choices) // 2].multipliers["A1"] > choice.multipliers["A1"]


def test_solve_needsLessThanAConstant_whereVolatilityIsKnown(paths, solution):
    for path in paths:
        judged = path.judged
        margin = solution.margin[path.name]
        gain = relative_margin(np.abs(path.realised[judged]), margin, np.ones(len(margin)) * 0.2, (0.5, 1.0))
        assert np.all(gain < 0.95)


def test_solve_objective_isMarginAtEqualShortfall_byHand():
    """One choice with a root finder in place of the sort; two assets count by their rows."""
    rules = [MarginRule(), MarginRule(fast=3.0, slow=0.3)]
    both = [asset(1, 900), asset(2, 600, 300)]
    choice = solve(both, rules=rules).choices[-1]
    for rule, objective in zip(rules, choice.objectives, strict=True):
        expected = 0.0
        for path in both:
            losses, margin = np.abs(path.realised), margins(rule, path.ts, path.forecast)
            for share in (0.6, 0.7, 0.85, 1.0):
                constant = share * worse_side(path.realised, 0.99)
                wanted = np.mean(np.maximum(losses - constant, 0.0))
                scale = brentq(lambda k: np.mean(np.maximum(losses - k * margin, 0.0)) - wanted, 0.0, 99.0)  # noqa: B023
                expected += len(losses) / 1500 * np.log(scale * np.mean(margin) / constant) / 4
        assert objective == pytest.approx(expected, rel=1e-9)
    assert choice.rows == 1500


def test_solve_multiplierIsBetweenItsOwnTailAndTheOthers(paths):
    """The credibility estimate by hand, for the last choice among one rule."""
    rule = MarginRule(fast=1.5)
    choice = solve(paths, rules=[rule]).choices[-1]
    own = {path.name: worse_side(path.realised / margins(rule, path.ts, path.forecast), 0.99) for path in paths}
    middle = sorted(own.values())[1]  # 1400, 1400 and 900 rows: half of them is reached at the second
    assert choice.rule.multiplier == pytest.approx(middle)
    for path in paths:
        share = len(path.ts) / (len(path.ts) + 365)
        assert np.log(choice.multipliers[path.name]) == pytest.approx(
            share * np.log(own[path.name]) + (1 - share) * np.log(middle)
        )
    assert choice.of("unknown").multiplier == choice.rule.multiplier


def test_average_weighsByHowWellARuleDid():
    rules = [MarginRule(fast=1.0, below=0.2), MarginRule(fast=4.0, below=0.6)]
    even = average(rules, [-0.1, -0.1])
    assert (even.fast, even.below) == pytest.approx((2.0, 0.4))
    tilted = average(rules, [-0.1, -0.1 - np.log(3.0) / 100.0])  # three times the weight
    assert (tilted.fast, tilted.below) == pytest.approx((4.0**0.75, 0.5), abs=1e-4)


def test_scalesToShortfalls_againstARootFinder():
    rng = np.random.default_rng(4)
    losses, margin = np.abs(rng.standard_t(3, 700)), np.exp(0.5 * rng.normal(size=700))
    wanted = np.array([0.3, 0.05, 0.004])
    for scale, shortfall in zip(scales_to_shortfalls(losses, margin, wanted), wanted, strict=True):
        root = brentq(lambda k, s=shortfall: np.mean(np.maximum(losses - k * margin, 0.0)) - s, 0.0, 100.0, xtol=1e-13)
        assert scale == pytest.approx(root, rel=1e-9)


def test_relativeMargin_isOneForTheReference_andNaNWithoutAShortfall():
    losses = np.array([0.1, 0.4, 0.2, 0.05])
    reference = np.array([0.2, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(relative_margin(losses, 3.0 * reference, reference, (0.5, 1.0)), 1.0)
    assert np.isnan(relative_margin(losses, reference, 2.0 * reference, (1.0,)))[0]


def test_candidates_keepTheLimitsAsked():
    limits = Limits(peak_to_trough=1.3)
    assert {rule.limits for rule in candidates(limits)} == {limits}
    path = asset(5, 700)
    margin = solve([path], limits).margin["A5"]
    assert procyclicality(path.ts[path.judged], margin).peak_to_trough <= 1.3


def test_riskPath_pairsAForecastWithTheNextReturn():
    n = 5
    history = History(
        name="X",
        horizon=DAY,
        ts=T0 + DAY * np.arange(n),
        price=np.ones(n),
        change=np.array([0.0, 0.1, 0.2, 0.3, 0.4]),
        elapsed=np.full(n, float(DAY)),
        realised_variance=np.ones(n),
        steps=np.ones(n, dtype=np.int64),
    )
    path = risk_path(history, np.array([np.nan, np.nan, 0.5, 0.6, 0.7]))
    np.testing.assert_array_equal(path.realised, [0.3, 0.4])
    np.testing.assert_array_equal(path.forecast, [0.5, 0.6])
    np.testing.assert_array_equal(path.end, history.ts[3:])
    with pytest.raises(PlimsollError, match="longer history"):
        risk_path(history, np.full(n, np.nan))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (list, "at least one"),
        (lambda: [asset(1, 300)], "more than a year"),
        (lambda: [replace(asset(1, 500), realised=np.zeros(500))], "no price moved"),
    ],
)
def test_solve_revertsIfThereIsNothingToLearnFrom(given, message):
    with pytest.raises(PlimsollError, match=message):
        solve(given())


def test_riskPath_revertsIfAReturnIsNotANumber():
    path = asset(1, 500)
    with pytest.raises(PlimsollError, match="A1"):
        replace(path, realised=np.where(np.arange(500) == 7, np.nan, path.realised))


def test_solve_anAssetYoungerThanAYearIsNotJudged_andHasARule():
    young = asset(9, 200, 1200)
    solution = solve([asset(1), young])
    assert len(solution.margin["A9"]) == 0
    assert solution.rule("A9").multiplier == solution.choices[-1].rule.multiplier
    assert young.ts[-1] < young.ts[0] + WARM_UP


@pytest.mark.slow
def test_solve_twentyAssetsFiveYears_underThreeSeconds():
    many = [asset(seed, 1826) for seed in range(20)]
    solve(many[:1])
    start = time.process_time()
    solve(many)
    assert time.process_time() - start < 3.0
