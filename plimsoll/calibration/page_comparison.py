"""The page's comparisons: models by their loss, and the margin rule beside the standard tools."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.calibration import candidates
from plimsoll.calibration.frontier import BENCHMARK, SOLVED
from plimsoll.calibration.page_charts import Chart, gallery
from plimsoll.calibration.page_text import paragraph, probability, verdict
from plimsoll.drawing import percent, table

if TYPE_CHECKING:
    from plimsoll.calibration.backtest import Backtest
    from plimsoll.calibration.report import Report


def models(report: Report) -> str:
    """Scores, the best first."""
    validation: dict[str, Any] = report.evidence["validation"]  # type: ignore[assignment]
    scores = validation["models"]
    best = scores[0]
    chosen = next(one for one in scores if one["model"] == validation["model"])
    low, high = best["loss"], max(one["loss"] for one in scores)
    room = 0.08 * (high - low) or 0.1

    def bar(loss: float) -> str:
        width = 100.0 * (high + room - loss) / (high - low + 2 * room)
        return f'<span class="rod" style="width:{width:.0f}px"></span>'

    rows = [
        (
            f"<strong>{escape(one['model'])}</strong>" if one is chosen else escape(one["model"]),
            bar(one["loss"]),
            f"{one['loss']:.4f}".replace("-", "−"),
            "benchmark" if one["model"] == candidates.BENCHMARK else probability(one["better_p_value"]),
            verdict(
                one["confidence_set_p_value"] >= 0.1,
                probability(one["confidence_set_p_value"])
                + (", in" if one["confidence_set_p_value"] >= 0.1 else ", out"),
            )
            if len(scores) > 2
            else "–",
        )
        for one in scores
    ]
    words = f"In bold the model whose forecasts this report tests, {chosen['model']}. "
    if best is chosen:
        words += "It has the lowest loss of all."
    else:
        words += f"The lowest loss is that of {best['model']}, by {chosen['loss'] - best['loss']:.4f}."
    if len(scores) <= 2:
        words += " Only it and the benchmark were run; a comparison of all models needs one more option."
    head = ("Model", "Better →", "FZ0 loss", "p: better than benchmark", "p in the confidence set")
    return paragraph(words) + table(head, rows, 2)


def frontier(report: Report, judged: Backtest | None) -> str:
    """Average margin against shortfall for every tool, and the table at equal shortfall."""
    validation: dict[str, Any] = report.evidence["validation"]  # type: ignore[assignment]
    summaries = validation["frontier"]
    if not summaries:
        return paragraph("No asset has more than a year of forecasts, so tools could not be compared.")
    number = {one["tool"]: k + 1 for k, one in enumerate(summaries)}
    figure = "" if judged is None or judged.frontier is None else _scatter(judged, number)

    def ratio(value: float | None) -> str:
        return "–" if value is None else percent(value)

    rows = [
        (
            str(number[one["tool"]]),
            f"<strong>{escape(one['tool'])}</strong>" if one["tool"] == SOLVED else escape(one["tool"]),
            ratio(one["relative"]),
            ratio(one["equal"]),
            ratio(one["frontier"]),
            verdict(one["passed"] == one["assets"], f"{one['passed']} of {one['assets']}"),
        )
        for one in summaries
    ]
    head = ("", "Tool", "Own multiplier", "At equal shortfall", "Along the frontier", "Assets within limits")
    return (
        paragraph(
            "Every tool walked forward on the same steps; average margin as a share of the expanding static ES's. "
            "“At equal shortfall” is the fair comparison; “along the frontier” is its mean at four levels of margin. "
            "“Limited” tools are held to the limits as the rule is; what breaks a limit is no choice."
        )
        + (gallery([figure]) if figure else "")
        + table(head, rows, 2)
    )


def _scatter(judged: Backtest, number: dict[str, int]) -> str:
    frontier = judged.frontier
    if frontier is None:
        return ""
    base = {one.asset: one for one in frontier.outcomes if one.tool == BENCHMARK and one.shortfall > 0.0}
    places = {}
    for tool in number:
        own = [one for one in frontier.outcomes if one.tool == tool and one.asset in base]
        if own:
            shortfall = float(np.mean([one.shortfall / base[one.asset].shortfall for one in own]))
            places[tool] = (shortfall, float(np.mean([one.relative for one in own])), all(not o.failed for o in own))
    if not places:
        return ""
    xs, ys = [p[0] for p in places.values()], [p[1] for p in places.values()]
    room_x, room_y = 0.08 * (max(xs) - min(xs)) or 0.1, 0.08 * (max(ys) - min(ys)) or 0.1
    chart = Chart(
        "Average margin against shortfall",
        "both over the static ES's, means of assets; nearer to the lower left is better",
        (min(xs) - room_x, max(xs) + room_x),
        (min(ys) - room_y, max(ys) + room_y),
        height=230,
        form=lambda value: f"{value:.2f}",
        form_x=lambda value: f"{value:.2f}",
    )
    for tool, (x, y, passed) in places.items():
        chart.point(
            x, y, "square" if tool == SOLVED else "circle" if passed else "hollow", "chosen" if tool == SOLVED else "",
            f"{tool}: margin {y:.3f}, shortfall {x:.3f}", str(number[tool]),
        )  # fmt: skip
    chart.note("square chosen", "solved")
    chart.note("circle", "within limits on every asset")
    chart.note("hollow", "breaks a limit")
    return chart.svg()
