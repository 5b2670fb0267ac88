"""The page beside a calibration report: one file, the report's own numbers, and what changed since the last one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.calibration.model import Calibration, run
from plimsoll.calibration.page import reasons, render
from plimsoll.calibration.page_charts import Chart, thin
from plimsoll.calibration.page_text import PARAMETERS, change, money, parameter, probability, significant
from plimsoll.calibration.page_validation import year_swing
from plimsoll.calibration.report import AssetParameters
from plimsoll.figure import time_ticks
from plimsoll.market import YEAR_SECONDS, Series, make_series
from plimsoll.validation import peak_to_trough

HOUR, DAY = 3_600, 86_400
HOSTILE = "<ETH&>"
"""To be escaped."""


def market(days: int) -> dict[str, Series]:
    """Two correlated assets on bars of four hours, Student-t with a volatility that comes and goes."""
    rng = np.random.default_rng(11)
    n, step = 6 * days, 4 * HOUR
    swing = 0.7 * np.exp(0.5 * np.sin(np.arange(n) / 400.0))
    shocks = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.6], [0.6, 1.0]], size=n)
    shocks *= np.sqrt(3.0 / rng.chisquare(5.0, n))[:, None] * (swing * math.sqrt(step / YEAR_SECONDS))[:, None]
    prices = 100.0 * np.exp(np.cumsum(shocks, axis=0))
    ts = 1_500_000_000 // step * step + step * np.arange(n)
    return {
        name: make_series(name, ts, prices[:, i], volume=np.full(n, 1e4)) for i, name in enumerate(("BTC", HOSTILE))
    }


CONFIG = CalibrationConfig(initial_horizon=8 * HOUR, maintenance_horizon=4 * HOUR, fund_paths=2_000)


@pytest.fixture(scope="module")
def judged() -> Calibration:
    return run("a<b", market(1_300), CONFIG)


@pytest.fixture(scope="module")
def before() -> Calibration:
    """The same market, half a year earlier."""
    assets = market(1_300)
    return run("a<b", assets, CONFIG, as_of=int(assets["BTC"].ts[-1]) - 180 * DAY)


@pytest.fixture(scope="module")
def short() -> Calibration:
    """Too short to judge forecasts on."""
    return run("short", market(170), replace(CONFIG, minimum_episodes=2))


def text(page: str) -> str:
    """What a reader sees, without the drawings."""
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)))


def test_render_isOneFileWithoutNetwork(
    judged: Calibration, before: Calibration, require_balanced: Callable[[str], None]
) -> None:
    page = render(judged, before.report)
    assert not re.search(r"https?://|src=|@import|url\(|<script", page)
    assert {link[0] for link in re.findall(r'href="([^"]*)"', page)} == {"#"}
    assert "prefers-color-scheme:dark" in page
    require_balanced(page)


def test_render_escapesNames(judged: Calibration, before: Calibration) -> None:
    page = render(judged, before.report)
    assert "&lt;ETH&amp;&gt;" in page
    assert HOSTILE not in page
    assert "<ETH" not in page
    assert "a&lt;b" in page
    assert "a<b" not in page


def test_render_isTheSameTwice(judged: Calibration, before: Calibration) -> None:
    assert render(judged, before.report) == render(judged, before.report)


def test_render_everyFigureIsWellFormedAndInside(judged: Calibration) -> None:
    figures = [ET.fromstring(one) for one in re.findall(r"<svg.*?</svg>", render(judged), re.DOTALL)]  # noqa: S314
    # per asset: level, margin, swing, tail; and exceedances, step response, frontier
    assert len(figures) == 2 * 4 + 3
    for figure in figures:
        _, _, width, height = map(float, figure.attrib["viewBox"].split())
        for path in figure.iter("path"):
            numbers = re.findall(r"[MLV]([^MLVZ]+)", path.attrib["d"])
            for one in numbers:
                place = [float(part) for part in one.split(",")]
                assert -1 <= place[-1] <= height
                assert all(math.isfinite(part) for part in place)
                assert len(place) == 1 or -1 <= place[0] <= width
    assert not re.search(r"\bnan\b|\binf\b", render(judged).lower())


def test_render_showsTheReportsNumbers(judged: Calibration) -> None:
    report = judged.report
    seen = text(render(judged))
    assert report.hash in seen
    assert report.data_hash in seen
    assert f"{100 * report.coverage:.2f}%" in seen
    for name, own in report.assets.items():
        for field in ("tail_initial", "volatility_stress", "volatility_floor", "volatility_cap", "impact"):
            assert parameter(field, getattr(own, field)) in seen
        evidence = report.evidence["assets"][name]  # type: ignore[index]
        assert f"± {significant(evidence['tail_initial_standard_error'], 2)}" in seen
        assert f"{evidence['exceedances_initial']:,} of {evidence['out_of_sample_initial']:,}" in seen
        assert report.data["assets"][name]["hash"] in seen  # type: ignore[index]
    for row in report.evidence["validation"]["rows"]:  # type: ignore[index]
        checks = {check["name"]: check for check in row["checks"]}
        for side in ("long", "short"):
            assert f"{checks[f'exceedances {side}']['value']:.0f}" in seen
            assert probability(checks[f"Kupiec p {side}"]["value"]) in seen
    for score in report.evidence["validation"]["models"]:  # type: ignore[index]
        assert f"{score['loss']:.4f}".replace("-", "−") in seen


def test_render_marksEveryExceedanceOfTheReport(judged: Calibration) -> None:
    """As many marks as the checks count."""
    page = render(judged)
    lanes = next(one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "Exceedances over time" in one)
    rows = judged.report.evidence["validation"]["rows"]  # type: ignore[index]
    names = ("exceedances long", "exceedances short")
    counted = sum(check["value"] for row in rows for check in row["checks"] if check["name"] in names)
    assert lanes.count("<title>") == counted > 0


def test_verdict_namesWhatFails(judged: Calibration) -> None:
    """Pass and fail say so in words, and each failed check with its limit."""
    evidence = judged.report.evidence
    validation = evidence["validation"]
    rows = [  # every check passes, then one doesn't
        {**row, "checks": [{**c, "passed": None if c["passed"] is None else True} for c in row["checks"]]}
        for row in validation["rows"]  # type: ignore[index]
    ]
    models = [{**one, "better_p_value": 0.01, "confidence_set_p_value": 1.0} for one in validation["models"]]  # type: ignore[index]

    def page_of(passed: bool) -> Calibration:
        changed = {**validation, "rows": rows, "models": models, "passed": passed}  # type: ignore[dict-item]
        return replace(judged, report=replace(judged.report, evidence={**evidence, "validation": changed}))

    good = page_of(passed=True)
    assert reasons(good.report) == []
    assert "✓ Passed." in render(good)
    failing = next(check for check in rows[0]["checks"] if check["name"] == "Kupiec p long")
    failing |= {"passed": False, "value": 0.0123}
    bad = page_of(passed=False)
    assert reasons(bad.report) == [f"{rows[0]['asset']}: Kupiec p long is 0.0123, and at least 0.05 passes."]
    assert "✗ Did not pass." in render(bad)
    assert "Kupiec p long is 0.0123" in render(bad)


def test_render_withoutBacktestSaysWhy(short: Calibration, require_balanced: Callable[[str], None]) -> None:
    assert short.backtest is None
    page = render(short)
    require_balanced(page)
    assert "Not judged." in page
    assert "give a longer history" in text(page)
    assert "Passed." not in page
    assert "Did not pass." not in page


def test_render_withoutAYearOfForecastsSaysThatNoMarginWasJudged(require_balanced: Callable[[str], None]) -> None:
    found = run("young", market(300), CONFIG)
    assert found.backtest is not None
    assert found.backtest.solution is None
    page = render(found)
    require_balanced(page)
    assert "no margin was walked forward" in page
    assert "tools could not be compared" in page


def test_changes_showOldNewAndEvidence(judged: Calibration, before: Calibration) -> None:
    new, old = judged.report, before.report
    page = render(judged, old)
    assert "What changed since the last report" in page
    assert "What changed since the last report" not in render(judged)
    seen = re.sub(r"\s+", " ", text(page))
    assert old.hash in seen
    was, now = old.assets["BTC"].tail_initial, new.assets["BTC"].tail_initial
    assert was != now
    expected = f"{parameter('tail_initial', was)} {parameter('tail_initial', now)} {change(now / was - 1)}"
    assert f"BTC Tail multiplier z, initial {expected}" in seen
    counts = [r.evidence["assets"]["BTC"]["returns_initial"] for r in (old, new)]  # type: ignore[index]
    assert f"returns {counts[0]:,} → {counts[1]:,}" in seen


def test_changes_nameSettingsAndAssets(judged: Calibration) -> None:
    """Where nothing but a setting differs, that is all; an asset that came is new."""
    report = judged.report
    same = render(judged, report)
    assert "No parameter moved" in same
    assert "None beyond the z then in force." in same
    other = replace(report, configuration={**report.configuration, "cap_multiple": 3.0})
    assert re.search(r"Setting cap_multiple\s+3.0\s+2.0", text(render(judged, other)))
    without = replace(
        report,
        assets={"BTC": report.assets["BTC"]},
        correlation=(),
        data={**report.data, "assets": {"BTC": report.data["assets"]["BTC"]}},  # type: ignore[index]
    )
    assert "the asset is new" in render(judged, without)


def test_changes_listNewTailEvents(judged: Calibration, before: Calibration) -> None:
    """Had z been small, moves of the last half year would lie beyond it, and none from before."""
    old = before.report
    tiny = replace(old, assets={n: replace(one, tail_initial=1.0) for n, one in old.assets.items()})
    page = render(judged, tiny)
    section = page[page.index("New tail events") : page.index('id="parameters"')]
    sizes = [float(one.replace("−", "-")) for one in re.findall(r"<td class=number>([+−][\d.]+)</td>", section)]
    assert len(sizes) >= 2
    assert all(abs(one) > 1.0 for one in sizes)


# ─── Parts


def test_parameters_nameEveryField() -> None:
    assert list(PARAMETERS) == list(AssetParameters.__dataclass_fields__)


def test_thin_keepsPeaksAndTheirTimes() -> None:
    values = np.random.default_rng(2).random(10_007)
    ts, kept = thin(np.arange(10_007), values)
    assert len(kept) == 1_500
    assert kept.max() == values.max()
    assert np.array_equal(values[ts], kept)
    assert np.all(np.diff(ts) > 0)


def test_yearSwing_agreesWithTheMeasure() -> None:
    rng = np.random.default_rng(4)
    ts = DAY * np.arange(900)
    margin = np.exp(np.cumsum(rng.normal(0, 0.03, 900)))
    assert year_swing(ts, margin).max() == pytest.approx(peak_to_trough(ts, margin), rel=1e-12)


def test_chart_placesValues() -> None:
    chart = Chart("t", "u", (0.0, 10.0), (0.0, 2.0), form=str)
    assert chart.y(2.0) < chart.y(1.0) < chart.y(0.0)
    assert chart.y(99.0) == chart.y(2.0)  # cut at the frame
    assert chart.x(5.0) == pytest.approx((chart.x(0.0) + chart.x(10.0)) / 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567.0, "1,234,567"), (0.00001234, "0.00001234"), (-0.5, "−0.5"), (0.0, "0"), (3.14159, "3.142")],
)
def test_significant_neverShowsPowersOfTen(value: float, expected: str) -> None:
    assert significant(value) == expected


def test_money_andProbability() -> None:
    amounts = [money(v) for v in (6_196_399_128.8, 999_700.0, 45_200.0, 7.2, -3e6)]
    assert amounts == ["$6.2B", "$1M", "$45.2k", "$7", "−$3M"]
    assert [probability(v) for v in (0.43, 0.0123, 0.0025, 0.00001)] == ["0.43", "0.01", "0.0025", "< 0.0001"]


def test_timeTicks_ofYearsInANarrowPlot() -> None:
    first = 1_514_764_800 - DAY  # 31 December 2017
    labels = [label for _, label in time_ticks(first, first + 1_900 * DAY, 0.4)]
    assert labels == ["2018", "2019", "2020", "2021", "2022", "2023"]
