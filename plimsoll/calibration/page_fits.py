"""The page's second half: what was fitted, with its errors, and to what data."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.calibration.page_charts import Chart, fold, gallery, thin
from plimsoll.calibration.page_text import (
    PARAMETERS,
    SIDE_WORDS,
    assets_of,
    day,
    hash_text,
    hours,
    money,
    paragraph,
    parameter,
    significant,
    verdict,
)
from plimsoll.drawing import moment, percent, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.calibration.report import Report
    from plimsoll.market.series import Floats, Series


def standard_errors(evidence: Mapping[str, Any]) -> dict[str, float]:
    """Of the parameters that have one, by the parameter's name and in its unit."""
    found = {f"tail_{which}": evidence[f"tail_{which}_standard_error"] for which in ("initial", "maintenance")}
    if liquidity := evidence["liquidity"]:
        found |= {name: liquidity[name]["standard_error"] for name in ("average_daily_volume", "impact")}
    return found


# ─── Parameters


def parameters(report: Report) -> str:
    """A row a parameter, a column an asset, with standard errors where the fit has them."""
    rows = []
    for name, (title, _) in PARAMETERS.items():
        values = {asset: getattr(one, name) for asset, one in report.assets.items()}
        if all(value is None for value in values.values()):
            continue
        cells = []
        for asset, value in values.items():
            error = standard_errors(assets_of(report)[asset]).get(name)
            cells.append(parameter(name, value) + ("" if error is None else f" ± {_error(name, error)}"))
        rows.append((title, *cells))
    silent = [title for name, (title, _) in PARAMETERS.items() if all(_none(report, name))]
    return paragraph(
        "After ±, one standard error. Stress, floor and cap are read off the level's own history and have none; "
        "half spread and impact are charged at the upper end of their errors (section Liquidity)."
        + (f" The data says nothing of: {', '.join(silent)}." if silent else "")
    ) + table(("Parameter", *(escape(name) for name in report.assets)), rows, 1)


def _none(report: Report, name: str) -> list[bool]:
    return [getattr(one, name) is None for one in report.assets.values()]


def _error(name: str, error: float) -> str:
    return money(error) if name == "average_daily_volume" else significant(error, 2)


def levels(report: Report, series: Mapping[str, Series], paths: Mapping[str, Floats]) -> str:
    """The level of every asset with its floor and stress."""
    figures = []
    for name, own in report.assets.items():
        rows = np.flatnonzero(paths[name] > 0.0)
        if len(rows) < 2:
            continue
        ts, level = thin(series[name].ts[rows], paths[name][rows])
        chart = Chart(
            f"{name}: level",
            f"annualised volatility; now {percent(assets_of(report)[name]['volatility_level'])}",
            (float(ts[0]), float(ts[-1])),
            (0.0, 1.08 * max(float(level.max()), own.volatility_stress)),
            height=110,
            form=lambda value: f"{100 * value:.0f}%",
            dates=True,
        )
        chart.line(ts, level, "margin", "level", steps=True)
        chart.level(own.volatility_stress, "limit dashed", f"stress {percent(own.volatility_stress)}")
        chart.level(own.volatility_floor, "ink dotted", f"floor {percent(own.volatility_floor)}")
        figures.append(chart.svg())
    return gallery(figures)


# ─── Tails


def tails(report: Report) -> str:
    """z by horizon and side with errors, and the extreme-value check of the pushed ones."""
    figures, measured, pushed = [], [], []
    horizons: dict[str, int] = report.configuration["horizons"]  # type: ignore[assignment]
    for name, evidence in assets_of(report).items():
        figures.append(_tail_chart(report, name, evidence["tails"], horizons))
        measured += [
            (
                escape(name),
                hours(one["horizon"]),
                *(
                    f"{significant(one[side]['expected_shortfall'])} ± {significant(one[side]['standard_error'], 2)}"
                    for side in SIDE_WORDS
                ),
            )
            for one in evidence["tails"]
        ]
        for which, horizon in horizons.items():
            value, error = getattr(report.assets[name], f"tail_{which}"), evidence[f"tail_{which}_standard_error"]
            check = evidence[f"extreme_value_{which}"]
            pushed.append(
                (
                    escape(name),
                    f"{which}, {hours(horizon)}",
                    str(evidence[f"tail_{which}_side"]),
                    f"{significant(value)} ± {significant(error, 2)}",
                    f"{evidence[f'tail_{which}_count']:,} in {evidence[f'tail_{which}_episodes']:,}",
                    "too few" if check is None else significant(check["expected_shortfall"]),
                    "–"
                    if check is None
                    else f"{significant(check['shape'], 2)} ± {significant(check['shape_error'], 2)}",
                    "–" if check is None else _agrees(check["expected_shortfall"], value, error),
                    f"{100 * evidence[f'coverage_{which}']:.2f}%",
                    f"{evidence[f'exceedances_{which}']:,} of {evidence[f'out_of_sample_{which}']:,}",
                )
            )
    head = ("Asset", "Pushed for", "Side", "z", "Returns in episodes", "Extreme-value ES", "Shape", "Within 2 errors")
    return (
        paragraph(
            "Moves over each horizon, measured at it and not scaled up, divided by the level known at their start. "
            "The coverage here fits on the first part of history and counts moves inside the range on the rest."
        )
        + table((*head, "Coverage", "Outside"), pushed, 3)
        + gallery(figures)
        + fold("Tails by horizon as a table", table(("Asset", "Horizon", *SIDE_WORDS.values()), measured, 2))
    )


def _agrees(check: float, value: float, error: float) -> str:
    return verdict(abs(check - value) <= 2.0 * error, "yes" if abs(check - value) <= 2.0 * error else "no")


def _tail_chart(report: Report, name: str, measured: list[dict[str, Any]], horizons: dict[str, int]) -> str:
    """z against horizon, both sides, with two standard errors; the pushed ones as squares."""
    own = report.assets[name]
    evidence = assets_of(report)[name]
    pushed = [
        (horizon, getattr(own, f"tail_{which}"), evidence[f"tail_{which}_standard_error"], which)
        for which, horizon in horizons.items()
    ]
    every = [(one["horizon"], one[side]["expected_shortfall"], one[side]["standard_error"]) for one in measured
             for side in SIDE_WORDS] + [(h, z, e) for h, z, e, _ in pushed]  # fmt: skip
    ends = [math.log2(h / 3_600) for h, _, _ in every]
    chart = Chart(
        f"{name}: tail multiplier by horizon",
        "99% ES in units of the level; bars of ± 2 standard errors; horizon in hours",
        (min(ends) - 0.6, max(ends) + 0.6),
        (max(0.0, min(z - 2.4 * e for _, z, e in every)), max(z + 2.4 * e for _, z, e in every)),
        height=120,
        form=lambda value: f"{value:g}",
        form_x=lambda value: f"{2**value:.3g}",
    )
    for one in measured:
        for side, symbol, css, shift in (("long", "down", "beyond", -0.08), ("short", "up", "second", 0.08)):
            x = math.log2(one["horizon"] / 3_600) + shift
            z, e = one[side]["expected_shortfall"], one[side]["standard_error"]
            chart.bar(x, z - 2 * e, z + 2 * e, "limit" if side == "long" else "other")
            chart.point(x, z, symbol, css, f"{hours(one['horizon'])}, {side}: {z:.3f} ± {e:.3f}")  # type: ignore[arg-type]
    for horizon, z, e, which in pushed:
        x = math.log2(horizon / 3_600)
        chart.bar(x, z - 2 * e, z + 2 * e, "margin")
        chart.point(x, z, "square", "", f"pushed for {which}: {z:.3f} ± {e:.3f}")
    chart.note("down beyond", "long")
    chart.note("up second", "short")
    chart.note("square", "pushed")
    return chart.svg()


# ─── The rest


def liquidity(report: Report) -> str:
    """Estimates with errors and where they come from."""
    rows = []
    for name, evidence in assets_of(report).items():
        found = evidence["liquidity"]
        if found is None:
            continue
        own = report.assets[name]
        half = found["half_spread"]
        spread = "no highs and lows" if half is None else f"{significant(1e4 * half, 3)} bp"
        rows.append(
            (
                escape(name),
                f"{spread} → {parameter('half_spread', own.half_spread)}",
                _source(found["squared_spread"]),
                f"{_estimate(found['impact'])} → {parameter('impact', own.impact)}",
                _source(found["impact"]),
                _estimate(found["average_daily_volume"], dollars=True),
                _estimate(found["stress_depth"], dollars=True),
                _source(found["stress_depth"]),
                significant(found["stress_ratio"], 3),
            )
        )
    if not rows:
        return paragraph("No series has volume, so spread, impact and depth were not estimated.")
    head = ("Asset", "Half spread → charged", "from", "Impact Y → charged", "from", "Daily volume", "Depth in stress")
    return paragraph("Estimates ± one standard error; charged is the upper end, and not below a floor.") + table(
        (*head, "from", "Stress / usual depth"), rows, 1
    )


def _source(estimate: Mapping[str, Any] | None) -> str:
    return "–" if estimate is None else f"{escape(str(estimate['source']))}, {estimate['observations']:,}"


def _estimate(estimate: Mapping[str, Any], *, dollars: bool = False) -> str:
    if dollars:
        return f"{money(estimate['value'])} ± {money(estimate['standard_error'])}"
    return f"{significant(estimate['value'], 3)} ± {significant(estimate['standard_error'], 2)}"


def regime(report: Report) -> str:
    """Which regime each asset is in."""
    rows = [
        (
            escape(name),
            escape(one["regime"]["label"]),
            *(
                f"{percent(now)} ({percent(share)})"
                for now, share in zip(one["regime"]["probability"], one["regime"]["share"], strict=True)
            ),
            f"{one['regime']['multiplier']:.2f}",
        )
        for name, one in assets_of(report).items()
        if one["regime"]
    ]
    if not rows:
        return paragraph("History is too short to tell regimes apart.")
    head = ("Asset", "Now", "Calm (share of history)", "Tense", "Stressed", "Multiplier it would ask")
    return paragraph("Hidden Markov model with hysteresis: evidence, not pushed.") + table(head, rows, 2)


def haircuts(report: Report) -> str:
    """Each asset as collateral."""
    rows = [
        (
            escape(name),
            percent(one["haircut"]["haircut"]),
            percent(one["haircut"]["volatility"]),
            percent(one["haircut"]["jump"]),
            escape(one["haircut"]["binding"]),
        )
        for name, one in assets_of(report).items()
    ]
    return paragraph("The larger of the two, were the asset collateral; evidence, not pushed.") + table(
        ("Asset", "Haircut", "By volatility", "Jump floor", "Decided by"), rows, 1
    )


def fund(report: Report) -> str:
    """What an insurance fund should hold."""
    found: dict[str, Any] | None = report.evidence["fund"]  # type: ignore[assignment]
    if found is None:
        return paragraph("The assets share too few steps of history to simulate a joint day.")
    simulated = found["simulated_day"]
    rows = [
        ("Open interest assumed", money(found["open_interest"]), ""),
        ("Cover-2, worst step of history", money(found["cover_2"]), f"step to {day(found['cover_2_step'])}"),
        (
            "Simulated 99.9% day",
            money(simulated["amount"]),
            f"{simulated['paths']:,} paths; error of the simulation {money(simulated['simulation_error'])}",
        ),
        ("Mean of the simulated days", money(simulated["mean"]), f"joint residuals of {found['steps']:,} steps"),
    ]
    return paragraph("For a book of a million dollars of open interest an asset; scale it to yours.") + table(
        ("", "Dollars", ""), rows, 1
    )


def provenance(report: Report) -> str:
    """Every input, and every number of the configuration."""
    assets: dict[str, dict[str, Any]] = report.data["assets"]  # type: ignore[assignment]
    sources: dict[str, dict[str, Any]] = report.data["sources"]  # type: ignore[assignment]
    rows = [
        (
            escape(name),
            f"{one['rows']:,}",
            hours(one["bar_seconds"]) if "bar_seconds" in one else "–",
            escape(moment(one["first"])),
            escape(moment(one["last"])),
            hash_text(one["hash"]),
        )
        for name, one in (assets | sources).items()
    ]
    numbers = [(escape(name), escape(_plain(value))) for name, value in sorted(report.configuration.items())]
    return table(("Input", "Rows", "Bars of", "First", "Last", "Hash"), rows, 1) + fold(
        "Configuration", table(("Setting", "Value"), numbers, 1)
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in sorted(value.items()))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
