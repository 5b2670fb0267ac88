"""What changed since the last report, by how much, and which evidence moved with it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.calibration.page_fits import standard_errors
from plimsoll.calibration.page_text import (
    PARAMETERS,
    assets_of,
    change,
    day,
    hash_text,
    moment_of,
    paragraph,
    parameter,
    significant,
)
from plimsoll.calibration.tails import devolatilised_moves
from plimsoll.drawing import percent, table

if TYPE_CHECKING:
    from plimsoll.calibration.model import Calibration
    from plimsoll.calibration.report import Report

NOTICED = 0.001
"""A relative change of a parameter below this is not listed."""
MOST_EVENTS = 4
"""New tail events shown an asset."""
_RULE = {
    "fast": "Rule: power on what is new",
    "slow": "Rule: power on what lasts",
    "below": "Rule: share of the band below",
    "memory_days": "Rule: memory, days",
}


def changes(calibration: Calibration, previous: Report) -> str:
    """Old, new, change and why, for every parameter that moved."""
    report = calibration.report
    rows = []
    for name, own in report.assets.items():
        before = previous.assets.get(name)
        for field, (title, _) in PARAMETERS.items():
            new, old = getattr(own, field), None if before is None else getattr(before, field)
            if new is None and old is None:
                continue
            if new is not None and old is not None and abs(new - old) <= NOTICED * abs(old):
                continue
            moved = "new" if old is None else "gone" if new is None else _change(new, old)
            why = "the asset is new" if before is None else _why(report, previous, name, field)
            rows.append(
                (escape(name), title, parameter(field, old), parameter(field, new), moved,
                 _in_errors(report, name, field, new, old), escape(why))
            )  # fmt: skip
    for gone in sorted(set(previous.assets) - set(report.assets)):
        rows.append((escape(gone), "every parameter", "", "–", "gone", "", "the asset is no longer in the report"))
    head = ("Asset", "Parameter", "Before", "Now", "Change", "In standard errors", "Evidence that moved")
    body = table(head, rows, 2) if rows else paragraph("No parameter moved by more than 0.1%.")
    return _inputs(report, previous) + body + _correlations(report, previous) + _events(calibration, previous)


def _change(new: float, old: float) -> str:
    return change(new / old - 1.0) if old > 0.0 else significant(new - old)


def _in_errors(report: Report, name: str, field: str, new: float | None, old: float | None) -> str:
    error = standard_errors(assets_of(report)[name]).get(field)
    if error is None or not error or new is None or old is None:
        return "–"
    return f"{abs(new - old) / error:.1f}"


def _why(report: Report, previous: Report, name: str, field: str) -> str:
    """The evidence under one parameter, before and now."""
    old, new = assets_of(previous)[name], assets_of(report)[name]

    def moved(label: str, key: str, *, share: bool = False) -> str:
        a, b = old.get(key), new.get(key)
        if a is None or b is None or a == b:
            return ""
        form = percent if share else (lambda value: value if isinstance(value, str) else f"{value:,.6g}")
        return f"{label} {form(a)} → {form(b)}"

    if field.startswith("tail_"):
        facts = [
            moved("side", f"{field}_side"),
            moved("tail returns", f"{field}_count"),
            moved("episodes", f"{field}_episodes"),
            moved("returns", f"returns_{field.removeprefix('tail_')}"),
        ]
    elif field in ("volatility_stress", "volatility_floor", "volatility_cap"):
        facts = [
            moved("level", "volatility_level", share=True),
            moved("highest", "volatility_highest", share=True),
            moved("lowest now", "volatility_lowest", share=True),
        ]
    elif field in ("average_daily_volume", "half_spread", "impact"):
        a, b = _source(old, field), _source(new, field)
        facts = [f"from {a} → from {b}" if a != b else f"from {b}"]
    elif field.startswith("volatility_shock"):
        facts = ["the index's new prints"]
    else:
        before, now = old.get("surface"), new.get("surface")
        facts = ["option chains"]
        if before and now:
            facts = [f"days fitted to {day(before['last'])} → to {day(now['last'])}"]
    return "; ".join(fact for fact in facts if fact) or "nothing but rounding and order"


def _source(evidence: dict[str, Any], field: str) -> str:
    found = evidence.get("liquidity")
    if not found:
        return "nothing"
    key = "squared_spread" if field == "half_spread" else field
    return str(found[key]["source"]) if found[key] else "closes"


def _inputs(report: Report, previous: Report) -> str:
    """What went in: dates, versions, data, settings, the rule."""
    rows = [
        ("As of", moment_of(previous.as_of), moment_of(report.as_of)),
        ("Report", hash_text(previous.hash), hash_text(report.hash)),
        ("Data", hash_text(previous.data_hash), hash_text(report.data_hash)),
        ("Code and model version", *(f"{escape(r.code_version)}, {r.model_version}" for r in (previous, report))),
    ]
    for setting in sorted(set(report.configuration) | set(previous.configuration)):
        a, b = previous.configuration.get(setting), report.configuration.get(setting)
        if a != b:
            rows.append((f"Setting {escape(setting)}", escape(str(a)), escape(str(b))))
    old: dict[str, Any] = previous.evidence["rule"]  # type: ignore[assignment]
    new: dict[str, Any] = report.evidence["rule"]  # type: ignore[assignment]
    for name, title in _RULE.items():
        if old[name] != new[name]:
            rows.append((title, significant(old[name]), significant(new[name])))
    data_old: dict[str, Any] = previous.data["assets"]  # type: ignore[assignment]
    data_new: dict[str, Any] = report.data["assets"]  # type: ignore[assignment]
    for name in sorted(set(data_old) & set(data_new)):
        a, b = data_old[name], data_new[name]
        if a["hash"] != b["hash"]:
            rows.append((f"{escape(name)}: rows, to", *(f"{one['rows']:,}, {day(one['last'])}" for one in (a, b))))
    return table(("", "Before", "Now"), rows, 3)


def _correlations(report: Report, previous: Report) -> str:
    old = {c.pair: c for c in previous.correlation}
    rows = [
        (
            " – ".join(escape(name) for name in c.pair),
            f"{old[c.pair].low:.2f} to {old[c.pair].high:.2f}".replace("-", "−"),
            f"{c.low:.2f} to {c.high:.2f}".replace("-", "−"),
        )
        for c in report.correlation
        if c.pair in old and max(abs(c.low - old[c.pair].low), abs(c.high - old[c.pair].high)) >= 0.005
    ]
    return "<h3>Correlation</h3>" + table(("Pair", "Before", "Now"), rows, 1) if rows else ""


def _events(calibration: Calibration, previous: Report) -> str:
    """Moves since the last report that lie beyond the multiplier that was in force: why a tail may have grown."""
    report = calibration.report
    horizons: dict[str, int] = report.configuration["horizons"]  # type: ignore[assignment]
    data: dict[str, Any] = previous.data["assets"]  # type: ignore[assignment]
    rows = []
    for name in sorted(set(report.assets) & set(previous.assets)):
        series, level = calibration.series[name], calibration.levels[name]
        known = data[name]["last"]
        for which, horizon in horizons.items():
            was = getattr(previous.assets[name], f"tail_{which}")
            moves = devolatilised_moves(series, level, level > 0.0, horizon)
            fresh = np.flatnonzero((moves.end > known) & (np.abs(moves.standardised) > was))
            shown: list[int] = []
            for k in fresh[np.argsort(-np.abs(moves.standardised[fresh]), kind="stable")]:
                if all(abs(int(moves.start[k] - moves.start[j])) > horizon for j in shown):  # one an episode
                    shown.append(int(k))
                if len(shown) == MOST_EVENTS:
                    break
            rows += [
                (
                    escape(name), which, moment_of(int(moves.end[k])),
                    f"{moves.standardised[k]:+.2f}".replace("-", "−"), f"{was:.2f}",
                )
                for k in shown
            ]  # fmt: skip
    words = f"Moves since the last report beyond the z then in force, the largest {MOST_EVENTS} an asset and horizon."
    head = ("Asset", "Horizon", "Move to", "In units of the level", "z then")
    return "<h3>New tail events</h3>" + (
        paragraph(words) + table(head, rows, 3) if rows else paragraph("None beyond the z then in force.")
    )
