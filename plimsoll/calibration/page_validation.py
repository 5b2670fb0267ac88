"""The page's first half: how forecasts and margin did on steps that they had not seen."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.calibration.backtest import hits
from plimsoll.calibration.frontier import expanding_worse_side
from plimsoll.calibration.page_charts import LEFT, MOST_POINTS, PLOT, WIDTH, Chart, fold, gallery, mark, thin
from plimsoll.calibration.page_text import SIDE_WORDS, day, paragraph, probability, significant, verdict
from plimsoll.calibration.rule import DAY, MarginRule, margins
from plimsoll.drawing import percent, table
from plimsoll.figure import time_ticks
from plimsoll.validation import SIDES

if TYPE_CHECKING:
    from plimsoll.calibration.backtest import Backtest
    from plimsoll.calibration.report import Report
    from plimsoll.calibration.rule import Limits
    from plimsoll.calibration.solve import RiskPath
    from plimsoll.market.series import Floats

RESPONSE_DAYS = 60
"""Shown after a step of volatility."""


# ─── Coverage


def coverage(report: Report) -> str:
    """One row an asset and side: what was promised, what came, every test with its limit."""
    validation: dict[str, Any] = report.evidence["validation"]  # type: ignore[assignment]
    first = ("Asset", "Side", "Steps", "Expected", "Exceedances", "Band", "Kupiec p", "Christoffersen p")
    head = (*first, "Dynamic quantile p", "Z2 (least)", "Verdict")
    rows, folded = [], []
    share = 1.0 - float(report.configuration["confidence"])  # type: ignore[arg-type]
    for row in validation["rows"]:
        checks = {check["name"]: check for check in row["checks"]}
        for side in SIDES:
            own = {name: checks[f"{name} {side}"] for name in ("exceedances", *_TESTS)}
            count, z2 = own["exceedances"], own["Z2"]
            rows.append(
                (
                    escape(row["asset"]),
                    SIDE_WORDS[side],
                    f"{row['days']:,}",
                    significant(share * row["days"], 3),
                    verdict(count["passed"], f"{count['value']:.0f}"),
                    f"{count['least']:.0f} to {count['most']:.0f}",
                    *(verdict(own[name]["passed"], probability(own[name]["value"])) for name in _TESTS[:3]),
                    verdict(z2["passed"], significant(z2["value"], 2)) + f" ({significant(z2['least'], 2)})",
                    verdict(all(one["passed"] is not False for one in own.values())),
                )
            )
        folded += [
            (
                escape(row["asset"]),
                escape(check["name"]),
                significant(check["value"]),
                "" if check["least"] is None else significant(check["least"]),
                "" if check["most"] is None else significant(check["most"]),
                verdict(check["passed"]) if check["passed"] is not None else "no limit",
            )
            for check in row["checks"]
        ]
    return (
        paragraph(
            f"Forecasts of model {validation['model']}, each made before the step it is about. A test is failed at a "
            "p-value below 0.05; even a perfect model fails one test in twenty."
        )
        + table(head, rows, 2)
        + fold("Every check with its limits", table(("Asset", "Check", "Value", "Least", "Most", ""), folded, 2))
    )


_TESTS = ("Kupiec p", "Christoffersen p", "dynamic quantile p", "Z2")


# ─── Exceedances over time


def exceedances(judged: Backtest) -> str:
    """A lane an asset with a mark for each exceedance, and their number by year."""
    forecasts = {name: one.forecasts[judged.model] for name, one in judged.studies.items()}
    first = min(int(one.ts[0]) for one in forecasts.values())
    last = max(int(one.end[-1]) for one in forecasts.values())
    top, height = 40, 34
    bottom = top + height * len(forecasts)
    left, plot = LEFT + 22, PLOT - 22

    def x(ts: float) -> float:
        return left + plot * (ts - first) / max(last - first, 1)

    parts = []
    free = 0.0
    for ts, text in time_ticks(first, last, plot / 906):
        parts.append(f'<line class="grid" x1="{x(ts):.1f}" x2="{x(ts):.1f}" y1="{top}" y2="{bottom}"/>')
        if x(ts) > free and x(ts) + 3.1 * len(text) < WIDTH:
            free = x(ts) + 6.2 * len(text) + 6
            parts.append(f'<text class="tick" text-anchor="middle" x="{x(ts):.1f}" y="{bottom + 15}">{text}</text>')
    counts: dict[int, dict[str, int]] = {}
    steps: dict[int, int] = {}
    for k, (name, one) in enumerate(forecasts.items()):
        middle = top + height * (k + 0.5)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{left + plot}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
            f'<text class="legend" text-anchor="end" x="{left - 6}" y="{middle + 4:.1f}">{escape(name[:10])}</text>'
        )
        years = [datetime.fromtimestamp(int(ts), UTC).year for ts in one.end]
        for year in years:
            steps[year] = steps.get(year, 0) + 1
        for side, symbol, css in (("long", "down", "beyond"), ("short", "up", "second")):
            for row in np.flatnonzero(hits(one, side)):
                at = middle + (7 if side == "long" else -7)
                own = counts.setdefault(years[row], {})
                own[f"{name} {side}"] = own.get(f"{name} {side}", 0) + 1
                tip = f"{name}, {day(int(one.end[row]))}: {100 * one.realised[row]:+.1f}%"
                parts.append(
                    f"<g><title>{escape(tip.replace('-', '−'))}</title>"
                    f"{mark(x(int(one.end[row])), at, symbol, css)}</g>"  # type: ignore[arg-type]
                )
    figure = (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 42}" role="img" aria-label="Exceedances over time">'
        '<text class="title" x="4" y="14">Exceedances over time</text>'
        '<text class="unit" x="4" y="31">steps whose loss was above the value at risk</text>'
        f"{''.join(parts)}{mark(14, bottom + 32, 'down', 'beyond')}"
        f'<text class="legend" x="24" y="{bottom + 36}">long side: price fell</text>'
        f"{mark(174, bottom + 32, 'up', 'second')}"
        f'<text class="legend" x="184" y="{bottom + 36}">short side: price rose</text></svg>'
    )
    confidence = next(iter(forecasts.values())).confidence
    rows = [
        (
            str(year),
            *(
                f"{counts.get(year, {}).get(f'{name} long', 0)} / {counts.get(year, {}).get(f'{name} short', 0)}"
                for name in forecasts
            ),
            str(sum(counts.get(year, {}).values())),
            f"{2.0 * (1.0 - confidence) * steps[year]:.1f}",
        )
        for year in sorted(steps)
    ]
    head = ("Year", *(escape(name) for name in forecasts), "All", "Expected")
    return gallery([figure]) + fold("Exceedances by year, long / short", table(head, rows, 1))


# ─── Margin against loss


def static_margin(path: RiskPath, confidence: float) -> Floats:
    """The expanding static expected shortfall on the judged rows of `path`: as the frontier has it."""
    known = np.searchsorted(path.end, path.ts, side="right")
    return np.asarray(expanding_worse_side(path.realised, confidence)[known][path.judged])


def margin_against_loss(judged: Backtest, limits: Limits) -> str:
    """Per asset, every step's |return| under the margin that was in force."""
    solution = judged.solution
    if solution is None:
        return paragraph("No asset has more than a year of forecasts, so no margin was walked forward.")
    figures, rows = [], []
    for name, path in judged.paths.items():
        margin = solution.margin[name]
        if np.count_nonzero(path.judged) < 2:
            continue
        ts, realised = path.end[path.judged], path.realised[path.judged]
        losses, static = np.abs(realised), static_margin(path, limits.confidence)
        over = np.flatnonzero(losses > margin)
        top = 1.35 * max(float(margin.max()), float(static.max()))
        top = min(top, 1.05 * max(float(losses.max()), float(margin.max()), float(static.max())))
        chart = Chart(
            name,
            "share of price; marks: loss above margin" + ("; taller sticks are cut" if losses.max() > top else ""),
            (float(ts[0]), float(ts[-1])),
            (0.0, top),
            form=lambda value: f"{100 * value:g}%",
            dates=True,
        )
        chart.sticks(*thin(ts, losses, MOST_POINTS), "loss", "|return|")
        chart.line(*thin(ts, static), "other dashed", "static ES", steps=True)
        chart.line(*thin(ts, margin), "margin", "margin (the rule)", steps=True)
        for row in over:
            fell = realised[row] < 0
            tip = f"{day(int(ts[row]))}: {100 * realised[row]:+.1f}% against margin of {100 * margin[row]:.1f}%"
            chart.point(
                float(ts[row]), float(losses[row]), "down" if fell else "up", "beyond" if fell else "second",
                tip.replace("-", "−"),
            )  # fmt: skip
        chart.note("down beyond", "fell beyond")
        chart.note("up second", "rose beyond")
        figures.append(chart.svg())
        for row in sorted(over, key=lambda k: -(losses[k] - margin[k]))[:3]:
            rows.append(
                (
                    escape(name),
                    day(int(ts[row])),
                    f"{100 * realised[row]:+.1f}%".replace("-", "−"),
                    percent(float(margin[row])),
                    percent(float(static[row])),
                    percent(float(losses[row] - margin[row])),
                )
            )
    head = ("Asset", "Step to", "Return", "Margin", "Static ES", "Uncovered")
    return (
        paragraph(
            "What the rule would have asked for, chosen again and again from the past alone, over steps of "
            f"{judged.horizon / DAY:g} d. Dashed: an expanding 99% expected shortfall of past returns, which hardly "
            "moves and is expensive in calm times."
        )
        + gallery(figures)
        + fold("Largest losses beyond margin, three an asset", table(head, rows, 2))
    )


# ─── Procyclicality


def year_swing(ts: np.ndarray[Any, Any], margin: Floats) -> Floats:
    """Highest over lowest margin in force within the 365 days up to each row, shape (n,)."""
    start = np.maximum(np.searchsorted(ts, ts - 365 * DAY, side="right") - 1, 0)
    return np.array([margin[a : k + 1].max() / margin[a : k + 1].min() for k, a in enumerate(start)])


def procyclicality(report: Report, judged: Backtest | None, limits: Limits) -> str:
    """How far and how fast margin moves, against its limits; and what a doubling of volatility does."""
    rule: dict[str, Any] = report.evidence["rule"]  # type: ignore[assignment]
    figures = []
    if judged is not None and judged.solution is not None:
        for name, path in judged.paths.items():
            if np.count_nonzero(path.judged) < 2:
                continue
            ts, margin = path.ts[path.judged], judged.solution.margin[name]
            chart = Chart(
                f"{name}: swing of margin",
                "highest over lowest margin of the past year",
                (float(ts[0]), float(ts[-1])),
                (1.0, 1.0 + 1.15 * (limits.peak_to_trough - 1.0)),
                height=96,
                form=lambda value: f"{value:g}×",
                dates=True,
            )
            chart.line(*thin(ts, year_swing(ts, margin)), "margin", "peak to trough", steps=True)
            chart.level(limits.peak_to_trough, "limit dashed", f"limit {limits.peak_to_trough:g}")
            figures.append(chart.svg())
    figures.append(_response(rule, limits))
    answer = rule["step_response"]
    reached = ", ".join(f"{percent(share)} after {k}" for k, share in _by_number(answer["reached"]))
    half = answer["half_time"]
    words = (
        f"When volatility doubles at once, margin goes to {answer['eventual'] / answer['before']:.2f} times what it was"
        f" in the end; of that it has reached (in steps of the grid) {reached}"
        + ("" if half is None else f"; half of the change is done after {half}")
        + f". Overshoot: {answer['overshoot']:.2f} of the eventual level."
    )
    return _swings(report, limits) + gallery(figures) + paragraph(words)


def _by_number(reached: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(reached.items(), key=lambda item: int(item[0]))


def _response(rule: dict[str, Any], limits: Limits) -> str:
    own = MarginRule(1.0, rule["memory_days"], rule["fast"], rule["slow"], rule["below"], limits)
    settle = 500
    volatility = np.concatenate([np.ones(settle), np.full(RESPONSE_DAYS + 1, 2.0)])
    margin = margins(own, DAY * np.arange(1, len(volatility) + 1, dtype=np.int64), volatility)
    days = np.arange(-5, RESPONSE_DAYS + 1)
    level = margin[settle - 1 + days] / margin[settle - 1]
    chart = Chart(
        "A step of volatility to the double",
        "margin over margin before; days after, volatility doubles on day 1",
        (-5.0, float(RESPONSE_DAYS)),
        (0.9, 2.1),
        height=96,
        form=lambda value: f"{value:g}×",
        form_x=lambda value: f"{value:g}".replace("-", "−"),
    )
    chart.line((-5, 1, RESPONSE_DAYS), (1.0, 2.0, 2.0), "other dashed", "volatility", steps=True)
    chart.line(days, level, "margin", "margin", steps=True)
    return chart.svg()


def _swings(report: Report, limits: Limits) -> str:
    validation: dict[str, Any] | None = report.evidence["validation"]  # type: ignore[assignment]
    if not validation or not validation["solved"]:
        return paragraph("The rule keeps to its limits by construction; no path was walked forward to show it.")
    bounds = (
        ("peak_to_trough", limits.peak_to_trough, "1-year peak to trough", lambda value: f"{value:.2f}"),
        ("worst_1_day_rise", limits.rise_1_day, "Worst 1-day rise", percent),
        ("worst_5_day_rise", limits.rise_5_days, "Worst 5-day rise", percent),
    )
    rows = [
        (
            escape(one["asset"]),
            f"{one['rows']:,}",
            percent(one["average"]),
            verdict(one["exceedances_long"] <= one["most"], str(one["exceedances_long"])),
            verdict(one["exceedances_short"] <= one["most"], str(one["exceedances_short"])),
            f"{one['most']:.0f}",
            *(verdict(one[name] <= most, form(one[name])) for name, most, _, form in bounds),
        )
        for one in validation["solved"]
    ]
    first = ("Asset", "Steps", "Average margin", "Beyond margin, long", "short", "at most")
    head = (*first, *(f"{title} (≤ {form(most)})" for _, most, title, form in bounds))
    return table(head, rows, 1)
