"""The page a risk manager reads after a replay: one file, no network, light and dark.

Top to bottom: key figures; what books with options need beside their parts; every panel on one time axis; who was
liquidated and how; which expiries were settled; what was pushed; which invariants were checked and how often.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from plimsoll.chain.instruments import expiry_symbol
from plimsoll.drawing import STYLE, dollars, moment, percent, plain, show_tiles, table
from plimsoll.figure import FIGURE_STYLE, SCRIPT, Area, Figure, Lane, Line, Panel
from simulation import bars
from simulation.agents import SERVANTS
from simulation.recording import AccountSummary, Recording


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
        style=STYLE + FIGURE_STYLE + _STYLE,
        tiles=_tiles(recording),
        svg=figure.svg,
        books=_books(recording),
        accounts=_accounts(recording),
        settlements=_settlements(recording),
        liquidations=_liquidations(recording),
        pushes=_pushes(recording),
        invariants=_invariants(recording),
        data=json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/"),
        script=SCRIPT,
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
        Lane("expiry settled", "expiry", "◆", marks("expiry"), guide=False),
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
    panels += _option_panels(recording)
    # an account that never needed margin has nothing to show here, and those who serve others come last
    traders = [one for one in recording.accounts if any(step.accounts[one.name].initial for step in steps)]
    panels += [_account_panel(recording, one) for one in sorted(traders, key=lambda one: one.name in SERVANTS)]
    panels.append(
        Panel(
            "Insurance fund",
            "assets, less what it owes",
            (
                Line("assets", [step.fund for step in steps], "equity"),
                *(
                    Line(name, amounts, css)
                    for name, amounts, css in (
                        ("claims open", [step.claims for step in steps], "initial"),
                        ("loss to be shared", [step.pending for step in steps], "maintenance"),
                    )
                    if any(amounts)
                ),
            ),
            64,
            lambda value: f"${value:,.0f}",
        )
    )
    return panels


def _option_panels(recording: Recording) -> list[Panel]:
    """The options of the collar, whichever it holds at the time: how they are marked, and what they are worth."""
    names = [name for name in ("put", "call") if any(name in step.options for step in recording.steps)]
    if not names:
        return []

    def of(name: str, key: str) -> list[float | None]:
        return [getattr(step.options[name], key) if name in step.options else None for step in recording.steps]

    symbol = next(step.options[names[0]].symbol for step in recording.steps if names[0] in step.options).split("-")[0]
    colour = f"u{recording.symbols.index(symbol)}"
    css = {"put": colour, "call": f"{colour} dashed"}
    level = [step.underlyings[symbol].mark for step in recording.steps]
    return [
        Panel(
            f"Implied volatility of {symbol} options",
            "the collar's put below and call above the price; a new pair after every expiry",
            (
                *(Line(f"{name}, on the surface", of(name, "volatility"), css[name], form=percent) for name in names),
                Line("30 days, at the money", level, "muted", form=percent),
            ),
            110,
            lambda value: f"{100 * value:.0f}%",
            zero=True,
        ),
        Panel(
            f"Mark of {symbol} options",
            "dollars a unit, as margined and traded",
            tuple(Line(name, of(name, "price"), css[name], form=plain) for name in names),
            90,
            lambda value: f"${value:,.0f}",
            zero=True,
        ),
    ]


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
    for account in list(recording.books())[:1]:
        note = "of what its parts would need one by one, on average"
        tiles.append((f"{account}: margin of the whole", percent(recording.share(account)), note))
    held = sum(result.holds for result in recording.invariants)
    charges = recording.charges
    to_fund = charges.discounts + charges.premium_fees + charges.interest
    tiles += [
        ("Parameter pushes", str(len(recording.pushes)), "each within the steward's limits"),
        (
            "Liquidations",
            str(len(recording.liquidations)),
            f"bids, on {len({one.account for one in recording.liquidations})} of {len(recording.accounts)} accounts",
        ),
        (
            "Bad debt",
            dollars(recording.bad_debt),
            f"{dollars(recording.insurance_paid)} paid by the fund, {dollars(recording.claims_open)} owed, "
            f"{dollars(recording.shared_loss)} shared",
        ),
        (
            "Charges",
            dollars(to_fund),
            f"to the fund: discounts {dollars(charges.discounts)}, premium fees {dollars(charges.premium_fees)}, "
            f"interest {dollars(charges.interest)}. Flag fees {dollars(charges.flag_fees)}, funding "
            f"{dollars(charges.funding)}",
        ),
        (
            "Invariants",
            f"{held} of {len(recording.invariants)}",
            f"true, {sum(result.checks for result in recording.invariants):,} checks",
        ),
    ]
    return show_tiles(tiles)


def _books(recording: Recording) -> str:
    """Bars over time for every book that holds options."""
    cards = []
    strategies = {account.name: account.strategy for account in recording.accounts}
    for account, points in recording.books().items():
        share = percent(recording.share(account))
        timed = [(recording.steps[number].ts, point) for number, point in points]
        cards.append(
            f'<div class="tile"><div class="title"><b>{escape(account)}</b> pays {share} of its parts</div>'
            f'<div class="note">{escape(strategies.get(account, ""))}</div>{bars.draw(timed, escape(account))}</div>'
        )
    if not cards:
        return "<p>Nobody held options.</p>"
    return (
        '<p class="note">Initial margin. The left bar of each pair: every line of the book alone, as the contract '
        "margins it, on top of one another. The right bar: the book as a whole. Above: the whole as part of the sum."
        "</p>"
        f'<p class="key">{bars.key()}</p><div class="books">{"".join(cards)}</div>'
    )


def _settlements(recording: Recording) -> str:
    if not recording.settlements:
        return "<p>None.</p>"
    rows = [
        (
            f"{escape(one.underlying)} {expiry_symbol(one.expiry)}",
            moment(one.reported),
            moment(one.ts),
            f"{one.price:,.2f}",
            str(one.positions),
            dollars(one.received),
            dollars(one.paid),
            str(one.rounding),
        )
        for one in recording.settlements
    ]
    head = (
        "expiry", "round in force, reported", "settled", "price", "positions paid out", "the long received",
        "the short paid", "left over, wei",
    )  # fmt: skip
    return table(head, rows, 3)


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
    return table(head, rows, 2)


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
            dollars(one.fee),
            dollars(one.covered),
            dollars(one.queued),
            dollars(one.shared),
        )
        for one in recording.liquidations
    ]
    head = (
        "time", "account", "bidder", "part taken", "discount d", "maintenance", "equity before", "equity after",
        "price paid", "flag fee", "fund paid", "fund owes", "shared",
    )  # fmt: skip
    return table(head, rows, 3)


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
    return table(head, rows, 2) if rows else "<p>None.</p>"


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
    return table(("id", "always", "checks", "result"), rows, 2) + (
        f"<p>Attacks refused: {refused}.</p>" if refused else ""
    )


# ─── Page

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: {title}</title><style>{style}</style></head><body><main>
<h1>{title}</h1><p class="subtitle">{subtitle}</p>
<section class="tiles">{tiles}</section>
<h2>Books with options, and their parts</h2>{books}
<h2>Bar by bar</h2>
<section>{svg}
<p class="note">Account panels: the line is equity as each bar arrives, before anybody reacts; the amber strip lies
between maintenance and initial margin, the red one below maintenance. Shaded times: amber while in margin call (equity
below initial), red while equity is below maintenance. Move the pointer over the figure, or focus it and use the arrow
keys, to read every value at one time.</p></section>
<h2>Accounts</h2>{accounts}
<h2>Liquidations</h2>{liquidations}
<h2>Expiries</h2>{settlements}
<h2>Parameter pushes</h2>{pushes}
<h2>Invariants</h2>{invariants}
</main><script>const data={data};{script}</script></body></html>
"""

_STYLE = """
.initial-area,.call-span{fill:var(--amber-fill)}.maintenance-area,.liquidation-span{fill:var(--red-fill)}
.books{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:10px}
.books .title b{font-weight:650}svg .share{font-size:10px;font-weight:600;font-variant-numeric:tabular-nums}
.bar-collateral{fill:var(--u0);background:var(--u0)}.bar-perpetuals{fill:var(--muted);background:var(--muted)}
.bar-puts{fill:var(--u1);background:var(--u1)}.bar-calls{fill:var(--amber);background:var(--amber)}
.bar-whole{fill:var(--equity);background:var(--equity)}
.key{font-size:12.5px;margin:6px 0 10px}
.swatch{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 6px 0 16px}
.swatch:first-child{margin-left:0}
"""
