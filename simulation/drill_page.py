"""The page of a fault drill: one file, no network, light and dark.

Figures side by side; every drill's price, auctions and fund on one time axis, with bands where a fault was in force;
what came in and what went out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from plimsoll.drawing import STYLE, dollars, moment, plain, show_tiles, table
from plimsoll.figure import FIGURE_STYLE, SCRIPT, Figure, Lane, Line, Panel

if TYPE_CHECKING:
    from simulation.drill import Outcome, Report
    from simulation.watch import Case


def render(report: Report, rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The page as HTML text. `rows`: the table of figures, a column a drill. Drills need at least two points."""
    times = [point.ts for point in report.outcomes[0].points]
    figure = Figure(
        times,
        [_lane(outcome, times) for outcome in report.outcomes],
        [panel for outcome in report.outcomes for panel in _panels(outcome, times)],
    )
    data = {"x": figure.positions(), "when": [moment(ts) for ts in times], "lines": figure.readouts}
    verdict = "Every invariant held in every drill, and nothing went missing." if report.holds else "A drill failed."
    head = ("", *(escape(outcome.title) for outcome in report.outcomes))
    return _PAGE.format(
        title=escape(report.title),
        verdict=verdict,
        span=f"{moment(times[0])} to {moment(times[-1])}, worst bar {moment(report.worst)}",
        heartbeat=f"{report.heartbeat / 60:.1f}",
        style=STYLE + FIGURE_STYLE + _STYLE,
        tiles=_tiles(report),
        table=table(head, [(escape(label), *map(escape, cells)) for label, cells in rows], 1),
        svg=figure.svg,
        balances="".join(_balance(outcome) for outcome in report.outcomes),
        cases="".join(_cases(outcome) for outcome in report.outcomes),
        data=json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/"),
        script=SCRIPT,
    )


def _tiles(report: Report) -> str:
    outcomes = report.outcomes
    debt = max(outcomes, key=lambda one: one.bad_debt)
    slow = max(outcomes, key=lambda one: one.to_end)
    checks = sum(sum(one.invariants.values()) for one in outcomes)
    lines = sum(len(one.balance) for one in outcomes)
    beside = f"{debt.title}; {dollars(outcomes[0].bad_debt)}: {outcomes[0].title}"
    return show_tiles(
        [
            ("Largest bad debt", dollars(debt.bad_debt), beside),
            ("Longest from liquidatable to the end", f"{slow.to_end:.0f} min", f"{slow.title}: {slow.to_end_account}"),
            ("Invariants", "all true" if all(one.holds for one in outcomes) else "violated", f"{checks:,} checks"),
            ("Nothing lost", "yes" if all(one.nothing_lost for one in outcomes) else "no", f"{lines} balances closed"),
        ]
    )  # fmt: skip


def _at(times: Sequence[int], ts: int) -> int:
    """Index of the last point not after a time."""
    return max((k for k, at in enumerate(times) if at <= ts), default=0)


def _lane(outcome: Outcome, times: Sequence[int]) -> Lane:
    marks = tuple((_at(times, case.flagged), _words(case)) for case in outcome.cases)
    return Lane(f"flags: {outcome.name}", "liquidation", "✕", marks, guide=False)


def _words(case: Case) -> str:
    return (
        f"{case.account}: flagged {moment(case.flagged)}, {case.to_flag:.1f} min after it was liquidatable; "
        f"ended after {case.to_end:.1f} min, {case.bids} bids"
    )


def _panels(outcome: Outcome, times: Sequence[int]) -> list[Panel]:
    points, faults = outcome.points, outcome.faults
    spans = [
        (_at(times, span.first), _at(times, span.end), css)
        for span, css in ((faults.spike, "spike"), (faults.outage, "outage"))
        if span is not None
    ]
    spans += [(_at(times, since), len(times) - 1, "dead") for since in faults.dead.values()]
    symbols = list(points[0].market)
    first = {symbol: points[0].market[symbol] for symbol in symbols}
    lines = []
    for k, symbol in enumerate(symbols):
        printed = [point.market[symbol] for point in points]
        read = [point.prices[symbol] for point in points]
        market = [100 * p / first[symbol] for p in printed]
        lines.append(Line(f"{symbol}, market", market, "muted dotted", printed, plain))
        index = [None if p is None else 100 * p / first[symbol] for p in read]
        lines.append(Line(f"{symbol}, as the house reads it", index, f"u{k}", read, plain))
    busy = [
        float(sum(case.liquidatable < after and (case.ended or after) >= ts for case in outcome.cases))
        for ts, after in zip(times, [*times[1:], times[-1] + 1], strict=True)
    ]
    money = [
        Line("fund", [point.fund for point in points], "equity"),
        *(
            Line(label, amounts, css)
            for label, amounts, css in (
                ("claims open", [point.claims for point in points], "initial"),
                ("known losses", [point.reserved for point in points], "u1"),
                ("loss to be shared", [point.pending for point in points], "maintenance"),
            )
            if any(amounts)
        ),
    ]
    bands = tuple(spans)
    return [
        Panel(outcome.title, "price, first step = 100", tuple(lines), 96, lambda v: f"{v:.0f}", spans=bands),
        Panel(
            "Accounts liquidatable or in an auction", outcome.title,
            (Line("at some time in the bar", busy, "maintenance"),), 44, lambda v: f"{v:.0f}", zero=True, spans=bands,
        ),
        Panel("Insurance fund", outcome.title, tuple(money), 64, dollars, zero=True, spans=bands),
    ]  # fmt: skip


def _balance(outcome: Outcome) -> str:
    lines = [
        (
            escape(line.what),
            f"{line.came:,}",
            f"{line.went:,}",
            f"{line.open:,}",
            f'<span class="{"good" if line.holds else "bad"}">{"closed" if line.holds else "OPEN"}</span>',
        )
        for line in outcome.balance
    ]
    return f"<h3>{escape(outcome.title)}</h3>" + table(("", "came in", "went out", "left", ""), lines, 1)


def _cases(outcome: Outcome) -> str:
    lines = [
        (
            escape(case.account),
            moment(case.liquidatable),
            f"{case.to_flag:.1f}",
            f"{case.to_end:.1f}",
            str(case.bids),
            f"{case.fee:,.2f}",
        )
        for case in outcome.cases
    ]
    head = ("account", "seen liquidatable", "to the flag, min", "to the end, min", "bids", "flag fee, $")
    return f"<h3>{escape(outcome.title)}</h3>" + (table(head, lines, 2) if lines else "<p>None.</p>")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: fault drill, {title}</title><style>{style}</style></head><body><main>
<h1>Fault drill: {title}</h1><p class="subtitle">{verdict} {span}.</p>
<section class="tiles">{tiles}</section>
{table}
<p class="note">Three keepers with accounts of their own count their gas. A feed's answer is believed for {heartbeat}
minutes. "To the flag" and "to the end" count from the first block at which the account was seen below maintenance.
A friend is an account that the colluding keeper leaves alone until its discount is the highest there is.</p>
<h2>Bar by bar</h2>
<section>{svg}
<p class="note">Bands: red while feeds were silent, amber while gas was dear, grey after a keeper died. A gap in the
price: the house refused to read it. Move the pointer over the figure, or focus it and use the arrow keys.</p></section>
<h2>What came in and what went out</h2>
<p class="note">Counts; losses and fees in wei (1e-18) dollars; tokens in their smallest unit.</p>{balances}
<h2>Auctions</h2>{cases}
</main><script>const data={data};{script}</script></body></html>
"""

_STYLE = """
h3{font-size:14px;margin:20px 0 4px}
th.number{white-space:normal}td:first-child{white-space:nowrap}
.outage{fill:var(--red-fill)}.spike{fill:var(--amber-fill)}.dead{fill:var(--muted);opacity:.12}
"""
