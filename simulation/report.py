"""The page a risk manager reads after a replay: one file, no network, light and dark.

Top to bottom: key figures; every panel on one time axis; who was liquidated and how; what was pushed; which invariants
were checked and how often.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from simulation.agents import KEEPER, MARKET_MAKER
from simulation.recording import AccountSummary, Recording
from simulation.svg import Area, Figure, Lane, Line, Panel, dollars, moment, percent, plain

SERVANTS = (MARKET_MAKER, KEEPER)


def render(recording: Recording) -> str:
    """The report as HTML text. The recording needs at least two steps."""
    figure = Figure([step.ts for step in recording.steps], _lanes(recording), _panels(recording))
    data = {
        "x": figure.positions(),
        "when": [moment(step.ts) for step in recording.steps],
        "lines": figure.readouts,
    }
    first, last = recording.steps[0].ts, recording.steps[-1].ts
    verdict = "every invariant held" if recording.holds else "an invariant was violated"
    return _PAGE.format(
        title=escape(recording.title),
        subtitle=escape(
            f"Replayed bar by bar on a live chain, {moment(first)} to {moment(last)}: "
            f"{len(recording.steps)} steps, {verdict}."
        ),
        style=_STYLE,
        tiles=_tiles(recording),
        svg=figure.svg,
        accounts=_accounts(recording),
        liquidations=_liquidations(recording),
        pushes=_pushes(recording),
        invariants=_invariants(recording),
        data=json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/"),
        script=_SCRIPT,
    )


# ─── Figure


def _lanes(recording: Recording) -> list[Lane]:
    steps = [step.ts for step in recording.steps]

    def marks(kind: str) -> tuple[tuple[int, str], ...]:
        """At the first step not before the event."""
        return tuple(
            (
                next((i for i, ts in enumerate(steps) if ts >= event.ts), len(steps) - 1),
                f"{moment(event.ts)}: {event.text}",
            )
            for event in recording.events
            if event.kind == kind
        )

    return [
        Lane("parameter push", "push", "▲", marks("push"), guide=True),
        Lane("margin call", "call", "●", marks("margin call"), guide=False),
        Lane("liquidation", "liquidation", "✕", marks("liquidation"), guide=True),
    ]


def _panels(recording: Recording) -> list[Panel]:
    steps, symbols = recording.steps, recording.symbols

    def of(symbol: str, key: str) -> list[float]:
        return [getattr(step.underlyings[symbol], key) for step in steps]

    prices = {symbol: of(symbol, "price") for symbol in symbols}
    panels = [
        Panel(
            "Price",
            "first step = 100; the read-out shows the price itself",
            tuple(
                Line(symbol, [100 * p / prices[symbol][0] for p in prices[symbol]], f"u{k}", prices[symbol], plain)
                for k, symbol in enumerate(symbols)
            ),
            150,
            lambda value: f"{value:.0f}",
        )
    ]
    panels += [
        Panel(
            f"Volatility of {symbol}",
            "annualised",
            (
                Line("live level (initial margin)", of(symbol, "live"), f"u{k}"),
                Line("level for maintenance", of(symbol, "maintenance"), f"u{k} dashed"),
                Line("reported by the feed", of(symbol, "reported"), "muted"),
                Line("realised, kept on-chain", of(symbol, "realised"), "muted dotted"),
            ),
            120,
            lambda value: f"{100 * value:.0f}%",
            zero=True,
        )
        for k, symbol in enumerate(symbols)
    ]
    panels.append(
        Panel(
            "Margin rate",
            "requirement of a $10,000 long position, part of its notional; it rises with the age of the price",
            tuple(
                Line(f"{symbol} {what}", of(symbol, f"{what}_rate"), f"u{k}{css}", form=percent)
                for k, symbol in enumerate(symbols)
                for what, css in (("initial", ""), ("maintenance", " dashed"))
            ),
            150,
            lambda value: f"{100 * value:.0f}%",
            zero=True,
        )
    )
    # an account that never needed margin has nothing to show here, and those who serve others come last
    traders = [one for one in recording.accounts if any(step.accounts[one.name].initial for step in steps)]
    panels += [_account_panel(recording, one) for one in sorted(traders, key=lambda one: one.name in SERVANTS)]
    panels.append(
        Panel(
            "Insurance fund",
            "assets",
            (Line("assets", [step.fund for step in steps], "equity"),),
            64,
            lambda value: f"${value:,.0f}",
        )
    )
    return panels


def _account_panel(recording: Recording, account: AccountSummary) -> Panel:
    points = [step.accounts[account.name] for step in recording.steps]
    equity, initial, maintenance = (
        [point.equity for point in points],
        [point.initial for point in points],
        [point.maintenance for point in points],
    )
    zero = [0.0] * len(points)
    calls = [e < i for e, i in zip(equity, initial, strict=True)]
    under = [e < m for e, m in zip(equity, maintenance, strict=True)]
    outcome = f", liquidated {account.liquidations}×" if account.liquidations else ""
    return Panel(
        account.name,
        f"{account.strategy}{outcome}",
        (
            Line("equity", equity, "equity"),
            Line("initial margin", initial, "initial"),
            Line("maintenance margin", maintenance, "maintenance"),
        ),
        64,
        dollars,
        zero=True,
        areas=(Area(maintenance, initial, "initial-area"), Area(zero, maintenance, "maintenance-area")),
        spans=(*_spans(calls, "call-span"), *_spans(under, "liquidation-span")),
    )


def _spans(flags: Sequence[bool], css: str) -> Iterable[tuple[int, int, str]]:
    """Index ranges over which the flag is up, to the step at which it is down again."""
    start: int | None = None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            yield start, min(i, len(flags) - 1), css
            start = None


# ─── Figures and tables


def _tiles(recording: Recording) -> str:
    tiles: list[tuple[str, str, str]] = []
    for symbol in recording.symbols:
        prices = [step.underlyings[symbol].price for step in recording.steps]
        peak, fall = prices[0], 0.0
        for price in prices:
            peak = max(peak, price)
            fall = min(fall, price / peak - 1)
        tiles.append((f"{symbol} peak to trough", f"−{percent(-fall)}", f"{plain(prices[0])} → {plain(prices[-1])}"))
    for symbol in recording.symbols:
        rate = recording.rate(symbol)
        growth = rate["max"] / rate["first"] if rate["first"] else 0.0
        tiles.append(
            (
                f"{symbol} initial margin",
                f"{percent(rate['first'])} → {percent(rate['max'])}",
                f"first to highest, ×{growth:.1f}",
            )
        )
    held = sum(result.holds for result in recording.invariants)
    tiles += [
        ("Parameter pushes", str(len(recording.pushes)), "each within the steward's limits"),
        (
            "Liquidations",
            str(len(recording.liquidations)),
            f"bids, on {len({one.account for one in recording.liquidations})} of {len(recording.accounts)} accounts",
        ),
        ("Bad debt", dollars(recording.bad_debt), f"{dollars(recording.insurance_paid)} paid by the fund"),
        (
            "Invariants",
            f"{held} of {len(recording.invariants)}",
            f"true, {sum(result.checks for result in recording.invariants):,} checks",
        ),
    ]
    return "".join(
        f'<div class="tile"><div class="what">{escape(what)}</div><div class="figure">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
        for what, value, note in tiles
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: int) -> str:
    """A table whose columns from `numeric` on are numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(f"<{tag}{' class=number' if k >= numeric else ''}>{cell}</{tag}>" for k, cell in enumerate(cells))
            + "</tr>"
        )

    return (
        f"<table><thead>{row(head, 'th')}</thead><tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"
    )


def _accounts(recording: Recording) -> str:
    rows = [
        (
            escape(account.name),
            escape(account.strategy),
            dollars(account.equity_start),
            dollars(account.flow),
            dollars(account.equity_end),
            dollars(account.equity_end - account.equity_start - account.flow),
            str(account.margin_calls),
            str(account.liquidations),
        )
        for account in recording.accounts
    ]
    head = (
        "account",
        "strategy",
        "equity, start",
        "paid in, net",
        "equity, end",
        "profit",
        "margin calls",
        "liquidations",
    )
    return _table(head, rows, 2)


def _liquidations(recording: Recording) -> str:
    if not recording.liquidations:
        return "<p>None.</p>"
    rows = [
        (
            moment(one.ts),
            escape(one.account),
            escape(one.bidder),
            percent(one.fraction),
            percent(one.discount),
            dollars(one.maintenance),
            dollars(one.equity_before),
            dollars(one.equity_after),
            dollars(one.price),
            dollars(one.covered),
            dollars(one.shared),
        )
        for one in recording.liquidations
    ]
    head = (
        "time", "account", "bidder", "part taken", "discount d", "maintenance", "equity before", "equity after",
        "price paid", "fund paid", "shared",
    )  # fmt: skip
    return _table(head, rows, 3)


def _pushes(recording: Recording) -> str:
    rows = [
        (
            moment(push.ts),
            f"<code>{escape(push.report[:18])}…</code>",
            str(push.changes),
            str(push.limited),
            f"{push.multiplier:.2f}",
        )
        for push in recording.pushes
    ]
    head = ("time", "calibration report (keccak256)", "numbers changed", "held back by a limit", "multiplier m")
    return _table(head, rows, 2) if rows else "<p>None.</p>"


def _invariants(recording: Recording) -> str:
    rows = [
        (
            f"<b>{escape(result.id)}</b>",
            escape(result.statement)
            + (f'<div class="bad">{escape(result.violation)}</div>' if result.violation else ""),
            f"{result.checks:,}",
            '<span class="good">true</span>' if result.holds else '<span class="bad">false</span>',
        )
        for result in recording.invariants
    ]
    refused = ", ".join(f"{count} × {escape(name)}" for name, count in sorted(recording.refused.items()))
    return _table(("id", "always", "checks", "result"), rows, 2) + (
        f"<p>Attacks refused: {refused}.</p>" if refused else ""
    )


# ─── Page

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: {title}</title><style>{style}</style></head><body><main>
<h1>{title}</h1><p class="subtitle">{subtitle}</p>
<section class="tiles">{tiles}</section>
<section>{svg}
<p class="note">Account panels: the line is equity as each bar arrives, before anybody reacts; the amber strip lies
between maintenance and initial margin, the red one below maintenance. Shaded times: amber while in margin call (equity
below initial), red while equity is below maintenance. Move the pointer over the figure, or focus it and use the arrow
keys, to read every value at one time.</p></section>
<h2>Accounts</h2>{accounts}
<h2>Liquidations</h2>{liquidations}
<h2>Parameter pushes</h2>{pushes}
<h2>Invariants</h2>{invariants}
</main><script>const data={data};{script}</script></body></html>
"""

# Colours: Okabe and Ito's set, which those who see colours differently tell apart; lightness adapted to each ground.
_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--panel:#fafbfc;--ink:#1b2430;--soft:#5a6675;--rule:#e3e7ec;--u0:#0063a6;
--u1:#c04f00;--muted:#7d8896;--equity:#1b2430;--amber:#b87800;--red:#c2203a;--push:#00795a;--amber-fill:#f0b42933;
--red-fill:#d6274433;--good:#00795a}
@media (prefers-color-scheme:dark){:root{--ground:#11161d;--panel:#161d26;--ink:#e8edf3;--soft:#9aa7b6;--rule:#2a3441;
--u0:#56b4e9;--u1:#f39c4a;--muted:#8693a3;--equity:#e8edf3;--amber:#f0c04a;--red:#ff6b7f;--push:#35c99a;
--amber-fill:#f0c04a30;--red-fill:#ff6b7f30;--good:#35c99a}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1288px;margin:0 auto;padding:22px 20px 60px}h1{font-size:25px;margin:0}
h2{font-size:17px;margin:34px 0 8px}
.subtitle{margin:4px 0 16px;color:var(--soft)}.note{color:var(--soft);font-size:12.5px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(270px,1fr));gap:10px;margin:0 0 16px}
.tile{background:var(--panel);border:1px solid var(--rule);border-radius:7px;padding:9px 11px}
.what{color:var(--soft);font-size:12.5px}
.figure{font-size:18px;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{width:100%;height:auto;display:block;outline-offset:4px}svg text{font-size:11.5px;fill:var(--ink)}
svg .tick{fill:var(--soft);font-size:11px}svg .title{font-size:13px;font-weight:650}
svg .unit{font-weight:400;fill:var(--soft);font-size:11.5px}
svg .value{font-variant-numeric:tabular-nums;font-weight:600}svg .when{font-weight:650}
.frame{fill:none;stroke:var(--rule)}.grid{stroke:var(--rule);stroke-width:1}.zero{stroke:var(--soft);stroke-width:1}
.lane{stroke:var(--rule)}.line{fill:none;stroke-width:1.7;stroke-linejoin:round}.u0{stroke:var(--u0)}
.u1{stroke:var(--u1)}
.muted{stroke:var(--muted);stroke-width:1.3}.equity{stroke:var(--equity)}
.initial{stroke:var(--amber);stroke-width:1.1}
.maintenance{stroke:var(--red);stroke-width:1.1}.dashed{stroke-dasharray:6 3}.dotted{stroke-dasharray:1.5 2.5}
.initial-area,.call-span{fill:var(--amber-fill)}.maintenance-area,.liquidation-span{fill:var(--red-fill)}
.mark{font-size:12px}svg .mark.push{fill:var(--push)}svg .mark.call{fill:var(--amber);font-size:9px}
svg .mark.liquidation{fill:var(--red)}
.guide{stroke-width:1}.guide.push{stroke:var(--push);stroke-dasharray:2 4;opacity:.55}
.guide.liquidation{stroke:var(--red);opacity:.28}
#cursor{stroke:var(--ink);stroke-width:1;opacity:0;pointer-events:none}
table{border-collapse:collapse;width:100%;font-size:13px;display:block;overflow-x:auto}thead,tbody{width:100%}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.good{color:var(--good);font-weight:650}.bad{color:var(--red);font-weight:650}code{font-size:12px}
"""

_SCRIPT = """
const figure=document.getElementById('figure'),
cursor=document.getElementById('cursor'),
when=document.getElementById('when');
const values=[...figure.querySelectorAll('[data-line]')];let at=data.x.length-1;
function show(i,visible){at=Math.max(0,Math.min(data.x.length-1,i));cursor.setAttribute('x1',data.x[at]);
cursor.setAttribute('x2',data.x[at]);cursor.style.opacity=visible?0.6:0;when.textContent=data.when[at];
for(const text of values)text.textContent=data.lines[+text.dataset.line][at]}
figure.addEventListener('pointermove',event=>{const box=figure.getBoundingClientRect();
const x=(event.clientX-box.left)/box.width*figure.dataset.width;let best=0;
data.x.forEach((place,i)=>{if(Math.abs(place-x)<Math.abs(data.x[best]-x))best=i});show(best,true)});
figure.addEventListener('pointerleave',()=>show(data.x.length-1,false));
figure.addEventListener('keydown',event=>{if(event.key==='ArrowLeft')show(at-1,true);
else if(event.key==='ArrowRight')show(at+1,true);
else return;event.preventDefault()});
"""
