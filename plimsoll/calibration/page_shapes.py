"""The page's shapes: correlation between assets, and the surface of implied volatility."""

from __future__ import annotations

import math
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.calibration.page_charts import Chart, fold, gallery
from plimsoll.calibration.page_text import assets_of, day, paragraph, significant, verdict
from plimsoll.drawing import percent, table
from plimsoll.margin.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.calibration.report import Report

SMILE_TENORS = {"7 d": 7 / 365, "30 d": 30 / 365, "90 d": 90 / 365}
WIDEST = 2.5
"""Standard deviations of the log price to either side, in a drawn smile."""

# ─── Correlation


def correlation(report: Report) -> str:
    """Low, central and high matrices, shaded by value; errors beside them."""
    if not report.correlation:
        return paragraph("One asset: there is nothing to correlate.")
    evidence: list[dict[str, Any]] = report.evidence["correlation"]  # type: ignore[assignment]
    pairs = {
        "Low stress": {c.pair: c.low for c in report.correlation},
        "Central": {(one["pair"][0], one["pair"][1]): one["central"] for one in evidence},
        "High stress": {c.pair: c.high for c in report.correlation},
    }
    names = list(report.assets)
    matrices = [f"<h3>{title}</h3>{_heat(names, values)}" for title, values in pairs.items()]
    rows = [
        (
            " – ".join(escape(name) for name in one["pair"]),
            significant(c.low, 3),
            f"{significant(one['central'], 3)} ± {significant(one['standard_error'], 2)}",
            significant(c.high, 3),
            f"{one['observations']:,}",
            significant(one["shrinkage"], 2),
        )
        for c, one in zip(report.correlation, evidence, strict=True)
    ]
    head = ("Pair", "Low", "Central", "High", "Observations", "Shrinkage")
    return (
        paragraph("Low and high bound what correlation may do in stress; both matrices are positive definite.")
        + gallery(matrices)
        + fold("Pairs with standard errors", table(head, rows, 1))
    )


def _heat(names: list[str], values: Mapping[tuple[str, str], float]) -> str:
    def cell(a: str, b: str) -> str:
        value = 1.0 if a == b else values[(min(a, b), max(a, b))]
        css = "warm" if value >= 0 else "cold"
        return f'<td class="number {css}" style="--share:{abs(value):.2f}">{value:.2f}</td>'.replace(">-", ">−")

    head = "".join(f'<th class="number">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr><th>{escape(a)}</th>{''.join(cell(a, b) for b in names)}</tr>" for a in names)
    return f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


# ─── Surface


def surface(report: Report) -> str:
    """The fitted smile of each asset that has one, how far it is from arbitrage, and its errors."""
    fitted = {name: one for name, one in assets_of(report).items() if one["surface"]}
    if not fitted:
        return paragraph("No option chains were given, so no surface was fitted.")
    rows, errors, figures = [], [], []
    for name, evidence in fitted.items():
        own, found = report.assets[name], evidence["surface"]
        figures.append(_smile(name, asdict(own), evidence["volatility_level"]))
        rows.append(
            (
                escape(name),
                f"{day(found['first'])} to {day(found['last'])}",
                f"{found['quotes']:,}",
                *(verdict(found[which] > 0, significant(found[which], 3)) for which in ("wings", "money", "calendar")),
            )
        )
        groups = {"fit, all quotes": found["inside"]["total"], "fit, at the money": found["inside"]["term"]}
        groups |= {"fit, smile alone": found["inside"]["smile"]}
        if found["ahead"] is not None:
            groups["out of sample, days after the fit"] = found["ahead"]
        groups |= {f"fit, {label}": one for label, one in sorted(found["inside"]["by_tenor"].items(), key=_tenor)}
        groups |= {f"fit, k/sd {label}": one for label, one in found["inside"]["by_moneyness"].items()}
        errors += [
            (
                escape(name),
                escape(label),
                f"{one['count']:,}",
                *(significant(one[which], 3) for which in ("rmse", "bias", "median", "quantile_95")),
            )
            for label, one in groups.items()
        ]
    head = ("Asset", "Days", "Quotes", "Butterfly, wings", "Butterfly, money", "Calendar")
    wide = ("Asset", "Quotes", "Count", "RMSE", "Bias", "Median |error|", "95% |error|")
    return (
        paragraph("Arbitrage margins where they are tightest, with volatility shocked; above 0 is free of arbitrage.")
        + table(head, rows, 2)
        + gallery(figures)
        + fold("Errors of the surface against quotes, in volatility points", table(wide, errors, 2))
    )


def _tenor(item: tuple[str, object]) -> float:
    """Days at which a group of expiries begins: "3–7 d", "over 120 d"."""
    digits = "".join(c if c.isdigit() else " " for c in item[0]).split()
    return float(digits[0]) if digits else math.inf


def _smile(name: str, own: Mapping[str, Any], level: float) -> str:
    shape = Surface(own["surface_rho"], own["surface_eta"], own["surface_gamma"], own["term_ratio"], own["term_speed"])
    curves = {}
    for label, tau in SMILE_TENORS.items():
        width = float(np.sqrt(shape.atm_variance(level, tau)))
        k = np.linspace(-WIDEST * width, WIDEST * width, 61)
        curves[label] = (k, shape.volatility(level, tau, k))
    values = np.concatenate([volatility for _, volatility in curves.values()])
    reach = max(float(k[-1]) for k, _ in curves.values())
    chart = Chart(
        f"{name}: fitted smile",
        f"implied volatility at a level of {percent(level)}, by k = ln(strike/forward)",
        (-reach, reach),
        (0.95 * float(values.min()), 1.03 * float(values.max())),
        form=lambda value: f"{100 * value:.0f}%",
        form_x=lambda value: f"{value:g}".replace("-", "−"),
    )
    for (label, (k, volatility)), css in zip(curves.items(), ("other dashed", "margin", "ink dotted"), strict=True):
        chart.line(k, volatility, css, label)
    return chart.svg()
