"""The page of a month with nobody at the controls: one file, no network, light and dark.

Both runs on one time axis, the loop alive and killed for a week: prices, margin of sample positions, what age and
coverage multiply it by, pushes and liquidations. Drawn from the result file's own figures.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from plimsoll.drawing import STYLE, dollars, moment, percent, plain, show_tiles, table
from plimsoll.figure import FIGURE_STYLE, SCRIPT, Figure, Lane, Line, Panel

LOOKS = ("", " dashed")
"""Of the first run's lines, and of the second's."""
REFUSALS = 40
"""Shown one by one, of each run."""


def render(month: Mapping[str, Any]) -> str:
    """The page as HTML text of what `simulation.month_report.Report.result` gives: one run or two, of two bars or
    more."""
    runs: dict[str, Any] = month["runs"]
    times: list[int] = next(iter(runs.values()))["history"]["ts"]
    dead = next((run["dead"] for run in runs.values() if run["dead"]), None)
    spans = () if dead is None else ((_at(times, dead["first"]), _at(times, dead["end"]), "dead"),)
    figure = Figure(times, _lanes(runs, times), _panels(runs, times, spans))
    data = {"x": figure.positions(), "when": [moment(ts) for ts in times], "lines": figure.readouts}
    verdict = "Every invariant held, and no push made a healthy account liquidatable." if month["holds"] else "FAILED."
    rows = [(escape(label), *map(escape, cells)) for label, cells in month["rows"]]
    return _PAGE.format(
        title=escape(month["title"]),
        verdict=verdict,
        span=f"{moment(times[0])} to {moment(times[-1])}",
        killed="" if dead is None else f"Killed from {moment(dead['first'])} to {moment(dead['end'])}.",
        grace=f"{month['age_grace'] / 86_400:g}",
        style=STYLE + FIGURE_STYLE + _STYLE,
        tiles=_tiles(runs),
        table=table(("", *map(escape, runs)), rows, 1),
        svg=figure.svg,
        fields=_fields(runs),
        refusals="".join(_refusals(name, run) for name, run in runs.items()),
        flags="".join(_flags(name, run) for name, run in runs.items()),
        data=json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/"),
        script=SCRIPT,
    )


def _at(times: Sequence[int], ts: int) -> int:
    """Index of the last bar not after a time; the first one's where there is none."""
    return max(bisect_right(times, ts) - 1, 0)


def _tiles(runs: Mapping[str, Any]) -> str:
    around = [run["around_pushes"] for run in runs.values()]
    read = sum(each["healthy"] for each in around)
    hurt = sum(each["made_liquidatable"] for each in around)

    def both(form: Callable[[Any], str]) -> str:
        return " · ".join(form(run) for run in runs.values())

    names = " · ".join(runs)
    blocks = sum(each["blocks"] for each in around)
    return show_tiles(
        [
            ("Healthy accounts made liquidatable by a push", str(hurt), f"of {read:,} read around {blocks:,} moves"),
            ("Pushes", both(lambda run: str(run["pushes"])), names),
            ("Largest multiplier of age", both(lambda run: f"{run['age']['most_multiplier']:.3f}"), names),
            ("Bad debt", both(lambda run: dollars(run["bad_debt"])), f"{names}; carried by the insurance fund"),
        ]
    )


def _lanes(runs: Mapping[str, Any], times: Sequence[int]) -> list[Lane]:
    lanes = []
    for name, run in runs.items():
        pushes = [one for one in run["bundles"] if one["kind"] == "push"]
        executed = [one for one in run["bundles"] if one["kind"] == "execute"]
        lanes += [
            Lane(f"pushed: {name}", "push", "▲", _marks(pushes, times), guide=False),
            Lane(f"loosened: {name}", "expiry", "▼", _marks(executed, times), guide=False),
            Lane(
                f"refused: {name}",
                "call",
                "●",
                tuple((_at(times, one["ts"]), f"{moment(one['ts'])}: {one['what']}") for one in run["refused_log"]),
                guide=False,
            ),
            Lane(
                f"flagged: {name}",
                "liquidation",
                "✕",
                tuple((_at(times, one["ts"]), f"{moment(one['ts'])}: {one['account']}") for one in run["flag_log"]),
                guide=False,
            ),
        ]
    return lanes


def _marks(bundles: Sequence[Any], times: Sequence[int]) -> tuple[tuple[int, str], ...]:
    return tuple(
        (_at(times, one["ts"]), f"{moment(one['ts'])}: {', '.join(c['number'] for c in one['changes']) or 'no change'}")
        for one in bundles
    )


def _panels(runs: Mapping[str, Any], times: Sequence[int], spans: tuple[tuple[int, int, str], ...]) -> list[Panel]:
    first = next(iter(runs.values()))["history"]
    symbols = list(first["price"])

    def lines(label: str, css: str, pick: Callable[[Any], Sequence[float]]) -> list[Line]:
        return [
            Line(f"{label}, {name.partition(' ')[0]}", _on(times, run["history"], pick), css + look)
            for (name, run), look in zip(runs.items(), LOOKS, strict=False)
        ]

    prices = tuple(
        Line(
            symbol,
            [100 * price / first["price"][symbol][0] for price in first["price"][symbol]],
            f"u{k}",
            first["price"][symbol],
            plain,
        )
        for k, symbol in enumerate(symbols)
    )
    panels = [Panel("Prices", "first bar = 100", prices, 100, lambda v: f"{v:.0f}", spans=spans)]
    panels += [
        Panel(
            f"Margin of a small long position in {symbol}",
            "part of the notional",
            tuple(
                lines("initial", "initial", lambda one, s=symbol: one["initial_rate"][s])  # type: ignore[misc]
                + lines("maintenance", "maintenance", lambda one, s=symbol: one["maintenance_rate"][s])  # type: ignore[misc]
            ),
            110,
            percent,
            zero=True,
            spans=spans,
        )
        for symbol in symbols
    ]
    age = lines("age", "equity", lambda one: one["age_multiplier"])
    panels.append(Panel("Multiplier of age", "of all margin", tuple(age), 64, _multiple, spans=spans))
    for k, key in enumerate(first["exceptions"]):
        panels.append(
            Panel(
                f"Exceptions, {key}",
                "of the last 250; from 5 on the tail is multiplied",
                tuple(lines("exceptions", f"u{k // 2}", lambda one, key=key: one["exceptions"][key])),  # type: ignore[misc]
                40,
                lambda v: f"{v:.0f}",
                zero=True,
                spans=spans,
            )
        )
    coverage = lines("largest of all", "maintenance", _largest)
    panels.append(Panel("Multiplier of coverage", "of a tail", tuple(coverage), 56, _multiple, spans=spans))
    fund = lines("fund", "equity", lambda one: one["fund"])
    panels.append(Panel("Insurance fund", "dollars", tuple(fund), 56, dollars, spans=spans))
    return panels


def _largest(history: Any) -> list[float]:
    return [max(values) for values in zip(*history["coverage"].values(), strict=True)]


def _on(times: Sequence[int], history: Any, pick: Callable[[Any], Sequence[float]]) -> list[float | None]:
    """A run's values on the axis, holes where it has no bar."""
    known: dict[int, float] = dict(zip(history["ts"], pick(history), strict=True))
    return [known.get(ts) for ts in times]


def _multiple(value: float) -> str:
    return f"{value:.2f}"


def _fields(runs: Mapping[str, Any]) -> str:
    names = sorted({name for run in runs.values() for name in run["fields_moved"]})
    lines = [(escape(name), *(str(run["fields_moved"].get(name, 0)) for run in runs.values())) for name in names]
    return table(("number", *map(escape, runs)), lines, 1)


def _refusals(name: str, run: Any) -> str:
    if not run["refused_log"]:
        return f"<h3>{escape(name)}</h3><p>None.</p>"
    lines = [(moment(one["ts"]), escape(one["what"])) for one in run["refused_log"][:REFUSALS]]
    left = len(run["refused_log"]) - len(lines)
    more = f'<p class="note">And {left} more.</p>' if left else ""
    return f"<h3>{escape(name)}</h3>" + table(("when", "what, and why"), lines, 2) + more


def _flags(name: str, run: Any) -> str:
    lines = [
        (
            escape(one["account"]),
            moment(one["ts"]),
            f"{one['equity']:,.0f}",
            f"{one['maintenance']:,.0f}",
            str(one["pushes"]),
            f"{one['maintenance_without']:,.0f}",
            f'<span class="{"bad" if one["by_push"] else "good"}">{"yes" if one["by_push"] else "no"}</span>',
        )
        for one in run["flag_log"]
    ]
    head = ("account", "flagged", "equity, $", "maintenance, $", "pushes of the ramp", "without them, $", "by them")
    return f"<h3>{escape(name)}</h3>" + (table(head, lines, 2) if lines else "<p>None.</p>")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: a month unattended, {title}</title><style>{style}</style></head><body><main>
<h1>A month unattended: {title}</h1><p class="subtitle">{verdict} {span}. {killed}</p>
<section class="tiles">{tiles}</section>
{table}
<p class="note">The loop is the one of plimsoll watch: a cycle a bar, a calibration every eight hours, each push
rehearsed on a fork. Killed means that nothing of it is left; what is started afterwards knows the chain alone. Here
margin ages from a bundle's day {grace} on; the configured house waits for 14 days.</p>
<h2>Bar by bar</h2>
<section>{svg}
<p class="note">Grey: the week in which the loop was dead in the second run (broken lines). Margin is read before the
bar's cycle. Move the pointer over the figure, or focus it and use the arrow keys.</p></section>
<h2>Numbers that were moved</h2>
<p class="note">How often, by pushes and executions.</p>{fields}
<h2>What was refused</h2>{refusals}
<h2>Accounts flagged for liquidation</h2>
<p class="note">Beside maintenance as it was, what it would have been in the same block had the parameters' storage been
as before the pushes of the last ramp. "By them": it was liquidatable, and would not have been.</p>{flags}
</main><script>const data={data};{script}</script></body></html>
"""

_STYLE = """
h3{font-size:14px;margin:20px 0 4px}
th.number{white-space:normal}td:first-child{white-space:nowrap}
.dead{fill:var(--muted);opacity:.14}
"""
