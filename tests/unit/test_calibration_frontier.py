"""Standard tools against the solved rule: each tool is its definition, and the comparison is fair and complete."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plimsoll.calibration.frontier import (
    BENCHMARK,
    SOLVED,
    compare,
    expanding_worse_side,
    outcome,
    standard_tools,
)
from plimsoll.calibration.history import make_history
from plimsoll.calibration.rule import DAY, Limits
from plimsoll.calibration.solve import RiskPath, risk_path, solve, worse_side
from plimsoll.calibration.volatility import ewma_sigma, har_sigma
from plimsoll.errors import PlimsollError
from plimsoll.market.series import load_series

T0 = 1_600_000_000 - 1_600_000_000 % DAY


def asset(seed: int, n: int = 800) -> RiskPath:
    rng = np.random.default_rng(seed)
    sigma = 0.03 * np.exp(0.5 * np.sin(np.arange(n) / 25.0 + seed) + 0.2 * rng.normal(size=n))
    ts = T0 + DAY * np.arange(n)
    return RiskPath(f"A{seed}", ts, ts + DAY, sigma, np.clip(sigma * rng.standard_t(3, n), -0.9, 3.0))


@pytest.fixture(scope="module")
def paths() -> list[RiskPath]:
    return [asset(1), asset(2)]


@pytest.fixture(scope="module")
def frontier(paths):
    return compare(paths, solve(paths))


@pytest.mark.parametrize("confidence", [0.99, 0.975, 0.9])
def test_expandingWorseSide_againstTheWholeSample(confidence):
    """`tails.expected_shortfall` sorts each prefix whole; this keeps sorted tails."""
    returns = np.random.default_rng(0).standard_t(3, 700)
    path = expanding_worse_side(returns, confidence)
    for i in (1, 2, 10, 99, 100, 101, 250, 699, 700):
        assert path[i] == pytest.approx(max(worse_side(returns[:i], confidence), 0.0), rel=1e-12)


def test_standardTools_areTheirDefinitions(paths):
    """From the past alone, in plain words of EMIR, in calm, in between and in stress."""
    path = paths[0]
    tools = standard_tools(path, Limits())
    seen = set()
    for row in range(400, 800, 13):
        at = row - int(np.argmax(path.judged))
        z = worse_side(path.realised[:row] / path.forecast[:row], 0.99)
        sigma = path.forecast[: row + 1]
        raw, calm = z * sigma[-1], z * np.mean(sigma)
        floor = z * np.sqrt(np.mean(sigma**2))
        stressed = z * max(np.mean(sigma[max(0, i - 364) : i + 1]) for i in range(row + 1))
        state = "calm" if raw < calm else "spending" if raw < 1.25 * calm else "stress"
        seen.add(state)
        buffered = {"calm": 1.25 * raw, "spending": 1.25 * calm, "stress": raw}[state]
        expected = {
            BENCHMARK: worse_side(path.realised[:row], 0.99),
            "raw": raw,
            "buffer": buffered,
            "stress weight": 0.75 * raw + 0.25 * stressed,
            "floor": max(raw, floor),
            "buffer, stress weight, floor": max(0.75 * buffered + 0.25 * stressed, floor),
        }
        for name, value in expected.items():
            assert tools[name][at] == pytest.approx(value, rel=1e-12), name
        assert {f"{name}, limited" for name in expected} == tools.keys() - expected.keys()
    assert len(seen) == 3


def test_standardTools_doNotLookAhead(paths):
    path = paths[0]
    later = np.arange(len(path.ts)) > 600
    other = replace(
        path,
        forecast=np.where(later, 4.0 * path.forecast, path.forecast),
        realised=np.where(np.arange(len(path.ts)) >= 600, -2.0 * path.realised, path.realised),
    )
    known = path.ts[path.judged] <= path.ts[600]
    before, after = standard_tools(path, Limits()), standard_tools(other, Limits())
    for name in before:
        np.testing.assert_array_equal(before[name][known], after[name][known], err_msg=name)
        assert np.any(before[name][~known] != after[name][~known])


def test_outcome_byHand():
    ts = T0 + DAY * np.arange(4)
    realised, margin = np.array([-0.3, 0.1, 0.25, -0.05]), np.array([0.2, 0.2, 0.22, 0.11])
    one = outcome("t", "A", ts, realised, margin, np.full(4, 0.25), Limits(peak_to_trough=1.9, rise_1_day=0.09))
    assert (one.exceedances_long, one.exceedances_short, one.rows) == (1, 1, 4)
    assert one.average == pytest.approx(0.1825)
    assert one.shortfall == pytest.approx((0.1 + 0.03) / 4)
    assert one.relative == pytest.approx(0.1825 / 0.25)
    # the constant of 0.25 falls short by 0.05 on the first day; so does this margin times 1.25
    assert one.equal == pytest.approx(1.25 * 0.1825 / 0.25)
    assert one.peak_to_trough == pytest.approx(2.0)
    assert one.failed == ("coverage", "peak to trough", "1-day rise")
    free = outcome("t", "A", ts, realised, margin, np.full(4, 0.4), Limits())
    assert free.equal is None, "nothing to equal where the benchmark never fell short"
    assert free.frontier is not None


@pytest.mark.parametrize(("long", "short", "fails"), [(6, 6, False), (7, 0, True), (0, 7, True)])
def test_outcome_coverageIsJudgedPerSide(long, short, fails):
    """Kupiec's one-sided test takes six in 300 days of either side, whatever the other had."""
    realised = np.zeros(300)
    realised[:long], realised[50 : 50 + short] = -0.3, 0.3
    margin = np.full(300, 0.2)
    one = outcome("t", "A", T0 + DAY * np.arange(300), realised, margin, margin, Limits())
    assert one.most == 6
    assert one.failed == (("coverage",) if fails else ())


def test_compare_isCompleteAndPlain(paths, frontier):
    assert len(frontier.outcomes) == 2 * len(frontier.summaries) == 26
    assert json.loads(json.dumps(frontier.to_json(), allow_nan=False))["summaries"][-1]["tool"] == SOLVED
    benchmark = frontier.summaries[0]
    assert benchmark.tool == BENCHMARK
    assert (benchmark.relative, benchmark.equal, benchmark.frontier) == pytest.approx((1.0, 1.0, 1.0))
    for one in frontier.outcomes:
        limited = one.tool == SOLVED or one.tool.endswith("limited")
        assert not limited or not {"peak to trough", "1-day rise", "5-day rise"} & set(one.failed)
    raw = [one for one in frontier.outcomes if one.tool == "raw"]
    assert all("1-day rise" in one.failed for one in raw)
    solved = frontier.summaries[-1]
    ratios = [one.relative for one in frontier.outcomes if one.tool == SOLVED]
    assert solved.relative == pytest.approx(np.sqrt(np.prod(ratios)))
    assert solved.passed == sum(not one.failed for one in frontier.outcomes if one.tool == SOLVED)


def test_compare_judgesEveryToolOnTheSameRows(paths):
    longer = {path.name: path for path in paths}
    late = [RiskPath(p.name, p.ts[50:], p.end[50:], p.forecast[50:], p.realised[50:]) for p in paths]
    frontier = compare(late, solve(late), longer)
    assert {one.rows for one in frontier.outcomes} == {int(np.count_nonzero(late[0].judged))}
    with pytest.raises(PlimsollError, match="start later"):
        compare(paths, solve(paths), {path.name: path for path in late})


@pytest.mark.data
@pytest.mark.slow
def test_solvedRule_onRealPrices_meetsItsLimits_andNeedsLessThanAnyStandardToolThatDoes():
    """Daily steps of the five hourly files, at the shortfall of the expanding static expected shortfall."""
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "spot"
    histories = [
        make_history(load_series(folder / f"{name}-USDT_1h.parquet", name, stamp="open"), DAY)
        for name in ("BTC", "ETH", "LINK", "DOGE", "AVAX")
    ]
    paths = [risk_path(history, har_sigma(history)) for history in histories]
    ewma = {history.name: risk_path(history, ewma_sigma(history)) for history in histories}
    frontier = compare(paths, solve(paths), ewma)
    solved = frontier.summaries[-1]
    assert solved.passed == solved.assets == 5
    assert solved.equal is not None
    assert solved.equal < 0.9
    for one in frontier.summaries[:-1]:
        assert one.equal is not None
        assert one.passed < one.assets or one.equal > solved.equal + 0.03, one.tool
