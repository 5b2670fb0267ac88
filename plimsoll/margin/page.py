"""The page of one account's margin: one file, no network, light and dark.

Top to bottom: key figures; how the requirement is made up; for each underlying, and for all of them together, the loss
at every node of the grid, profit and loss along the price, and equity against margin as the price moves; Greeks;
positions.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from plimsoll.config import WAD
from plimsoll.drawing import STYLE, dollars, moment, path, percent, show_tiles, table, ticks
from plimsoll.margin.view import (
    DOWN,
    HORIZONS,
    NODES,
    PRICE_NODES,
    SAME,
    UP,
    VOLATILITY_NODES,
    curve_name,
    distances,
    greek_rows,
    node_in_words,
    node_move,
    range_of,
    signed_percent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plimsoll.margin.moved import Curve
    from plimsoll.margin.onchain import Requirement
    from plimsoll.margin.view import AccountView

WIDTH = 620
"""Of one figure; two stand side by side where there is room."""
LEFT, RIGHT = 66, 26
PLOT = WIDTH - LEFT - RIGHT


def render(view: AccountView) -> str:
    """The page as HTML text."""
    margin = view.margin
    sections = [_underlying(view, k) for k in range(len(view.losses))]
    if len(view.losses) > 1:
        sections.append(_together(view))
    return _PAGE.format(
        title=f"Account {view.account}: {escape(margin.status)}",
        subtitle=escape(f"Margin at block {view.block:,} of chain {view.chain_id}, {moment(view.timestamp)}."),
        style=STYLE + _STYLE,
        tiles=_tiles(view),
        requirement=_pair(*(_waterfall(view, horizon) for horizon in HORIZONS)),
        weight=f"{view.extreme_weight:.0%}",
        sections="".join(sections),
        greeks=_greeks(view),
        holdings=_holdings(view),
    )


def _pair(*figures: str) -> str:
    return f'<div class="pair">{"".join(f"<div>{figure}</div>" for figure in figures)}</div>'


def _figure(title: str, unit: str, height: float, body: str) -> str:
    """One figure with its title above."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f'<text class="title" x="4" y="14">{escape(title)}<tspan class="unit" dx="8">{escape(unit)}</tspan></text>'
        f"{body}</svg>"
    )


# ─── Key figures


def _tiles(view: AccountView) -> str:
    margin = view.margin
    calls = distances(view, lambda curve: curve.call)
    return show_tiles(
        (
            ("Equity", dollars(margin.equity / WAD), f"cash {dollars(margin.cash / WAD)}"),
            ("Initial margin", dollars(margin.initial.total / WAD), _share(margin.initial.total, margin.equity)),
            (
                "Maintenance margin",
                dollars(margin.maintenance.total / WAD),
                _share(margin.maintenance.total, margin.equity),
            ),
            (
                "Equity above initial margin",
                dollars(margin.headroom / WAD),
                f"margin call at {'; '.join(calls)}" if calls else "",
            ),
        )
    )


def _share(requirement: int, equity: int) -> str:
    return f"{percent(requirement / equity)} of equity" if equity > 0 else "no equity"


# ─── The requirement


def _steps(view: AccountView, requirement: Requirement, scale: float) -> list[tuple[str, float, float, str]]:
    """(label, from, to, look) of every bar, top to bottom, dollars; what changes nothing is left out."""
    standalone, joint, grid, greeks, risk, liquidity, minimum, floor, total = (
        amount / WAD
        for amount in (
            requirement.standalone,
            requirement.joint,
            requirement.grid,
            requirement.expected_shortfall,
            requirement.risk,
            requirement.liquidity,
            requirement.short_option_minimum,
            requirement.leverage_floor,
            requirement.total,
        )
    )
    bars = [("grid, each at its worst", 0.0, standalone, "soft"), ("grid, same node", 0.0, joint, "soft")]
    bars += [("grid", 0.0, grid, "soft"), ("Greeks", 0.0, greeks, "soft"), ("risk: the larger", 0.0, risk, "step")]
    at = risk
    factor = scale * view.margin.multiplier / WAD
    changes = [(f"× {factor:.2f}", risk * (factor - 1)), ("liquidity", liquidity), ("short option minimum", minimum)]
    for label, change in changes:
        if change > 0:
            bars.append((label, at, at + change, "step"))
            at += change
    if floor > at:
        bars.append(("leverage floor", at, floor, "step"))
        at = floor
    if at - total > max(1e-6 * at, 0.005):
        bars.append(("can't lose more", total, at, "relief"))
    return [*bars, ("total", 0.0, total, "total")]


def _waterfall(view: AccountView, horizon: str) -> str:
    """Bars: what the risk is taken from (pale), then how it grows into the requirement; equity as a line."""
    requirement: Requirement = getattr(view.margin, horizon)
    scale = view.margin.open_interest_scale / WAD if horizon == "initial" else 1.0
    bars = _steps(view, requirement, scale)
    left, right, row = 148, 70, 21
    longest = max(*(end for _, _, end, _ in bars), 1e-9)
    equity = view.margin.equity / WAD
    shows_equity = 0 < equity <= 1.6 * longest
    top, width = 24, WIDTH - left - right
    reach = max(longest, equity) if shows_equity else longest

    def x(amount: float) -> float:
        return left + width * amount / reach

    parts = []
    for k, (label, start, end, look) in enumerate(bars):
        y = top + k * row
        change = end - start if start and look != "relief" else end
        shown = f"−{dollars(end - start)}" if look == "relief" else f"{'+' if start else ''}{dollars(change)}"
        parts.append(
            f'<text class="{"value" if look == "total" else "legend"}" text-anchor="end" x="{left - 8}" y="{y + 14}">'
            f"{escape(label)}</text>"
            f'<rect class="bar {look}" x="{x(start):.1f}" y="{y + 3}" width="{max(x(end) - x(start), 1):.1f}"'
            f' height="15"/>'
            f'<text class="value" x="{x(end) + 6:.1f}" y="{y + 14}">{shown}</text>'
        )
    bottom = top + len(bars) * row
    if shows_equity:
        parts.append(f'<line class="mark-line" x1="{x(equity):.1f}" x2="{x(equity):.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" text-anchor="{"end" if x(equity) > WIDTH - 120 else "start"}" x="{x(equity):.1f}"'
            f' y="{bottom + 14}">equity {dollars(equity)}</text>'
        )
    hours = view.horizons[horizon] / 3_600
    unit = f"{hours:g} hours to close" + ("" if shows_equity else f"; equity {dollars(equity)}")
    return _figure(f"{horizon.capitalize()} requirement", unit, bottom + 20, "".join(parts))


# ─── Grid


def _underlying(view: AccountView, k: int) -> str:
    """The section of one underlying."""
    losses = view.losses[k]
    name = view.names[losses.underlying]
    price = next(part.price for part in view.margin.underlyings if part.underlying == losses.underlying) / WAD
    figures = [
        _heat(
            view,
            horizon,
            getattr(losses, horizon),
            [losses.underlying],
            "volatility {} or {} at 30 days".format(*map(signed_percent, view.shocks[horizon][losses.underlying])),
        )
        for horizon in HORIZONS
    ]
    figures.append(_profit(view, losses.underlying, losses.initial, price))
    figures += [_equity(view, curve) for curve in view.curves if curve.underlyings == (losses.underlying,)]
    return f"<h2>{escape(name)} at {_exact(price)}</h2>{_pair(*figures)}"


def _together(view: AccountView) -> str:
    ids = [one.underlying for one in view.losses]
    figures = [_heat(view, horizon, view.joint[horizon], ids, "each by its own range") for horizon in HORIZONS]
    figures += [_equity(view, curve) for curve in view.curves if len(curve.underlyings) > 1]
    return f"<h2>All underlyings at the same node</h2>{_pair(*figures)}"


def _heat(view: AccountView, horizon: str, losses: Sequence[int], underlyings: Sequence[int], unit: str) -> str:
    """Loss over price × volatility: nine columns of three, an extreme at either end, the worst outlined."""
    worst = max(range(len(losses)), key=losses.__getitem__)
    most = max(*(abs(loss) for loss in losses), 1)
    columns, gap = PRICE_NODES + 2, 5
    left, top, height = 58, 40, 34
    width = (WIDTH - left - 4 - 2 * gap) / columns
    parts = []

    def place(column: int) -> float:
        return left + column * width + (gap if column > 0 else 0) + (gap if column == columns - 1 else 0)

    def cell(node: int, x: float, y: float) -> str:
        loss = losses[node]
        outcome = f"loses {dollars(loss / WAD)}" if loss >= 0 else f"gains {dollars(-loss / WAD)}"
        return (
            f"<g><title>{escape(node_in_words(view.margin, view.names, node, horizon, underlyings))}: {outcome}</title>"
            f'<rect class="{"loss" if loss > 0 else "gain"}{" worst" if node == worst and loss > 0 else ""}"'
            f' x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{height - 2}" rx="2"'
            f' fill-opacity="{0.06 + 0.54 * abs(loss) / most:.3f}"/>'
            f'<text class="cell" text-anchor="middle" x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}">'
            f"{_short(-loss / WAD)}</text></g>"
        )

    for column in range(columns):
        node = NODES if column == 0 else NODES + 1 if column == columns - 1 else (column - 1) * VOLATILITY_NODES
        if len(underlyings) == 1:
            label = signed_percent(node_move(node, range_of(view.margin, underlyings[0], horizon)))
        else:
            quarters = round(4 * node_move(node, 0.01) / 0.01)  # the same for every underlying, a small range never cut
            label = "0" if quarters == 0 else f"{'−' if quarters < 0 else '+'}{abs(quarters) / 4:g} r"
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{place(column) + width / 2:.1f}" y="{top - 5}">{label}</text>'
        )
        if node >= NODES:
            parts.append(cell(node, place(column), top + height))
            parts.append(
                f'<text class="tick" text-anchor="middle" x="{place(column) + width / 2:.1f}"'
                f' y="{top + 2 * height + 14}">at {view.extreme_weight:.0%}</text>'
            )
        else:
            for line, volatility in enumerate((UP, SAME, DOWN)):
                parts.append(cell(node + volatility, place(column), top + line * height))
    for line, label in enumerate(("vol. up", "same", "down")):
        y = top + (line + 0.5) * height + 4
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{y:.1f}">{label}</text>')
    return _figure(f"Profit and loss at the nodes, {horizon}", unit, top + 3 * height + 6, "".join(parts))


def _level(price: float) -> str:
    """A price to four digits or the dollar."""
    return f"{price:,.0f}" if abs(price) >= 1_000 else f"{price:.4g}"


def _short(amount: float) -> str:
    """A signed amount in at most six characters: −1.2k, 340, −12k, 3.4M."""
    size, sign = abs(amount), "−" if amount <= -0.5 else ""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * unit:
            return f"{sign}{size / unit:.1f}{letter}" if size < 9.95 * unit else f"{sign}{size / unit:.0f}{letter}"
    return f"{sign}{size:.0f}"


# ─── Curves


def _axes(
    low: float, high: float, bottom_value: float, top_value: float, height: float, mark: Callable[[float], str]
) -> tuple[Callable[[float], float], Callable[[float], float], str]:
    """(place of x, place of y, SVG of a frame with ticks) for moves from low to high and the dollars drawn."""
    top = 26.0
    room = 0.06 * (top_value - bottom_value) or 1.0
    bottom_value, top_value = bottom_value - room, top_value + room

    def x(move: float) -> float:
        return LEFT + PLOT * (move - low) / (high - low)

    def y(amount: float) -> float:
        return top + height * (top_value - amount) / (top_value - bottom_value)

    parts = [f'<rect class="frame" x="{LEFT}" y="{top}" width="{PLOT}" height="{height}"/>']
    for value in ticks(bottom_value, top_value, 6):
        css = "zero" if value == 0 else "grid"
        parts.append(
            f'<line class="{css}" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
            f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y(value) + 4:.1f}">{dollars(value)}</text>'
        )
    for value in ticks(low, high, 9):
        css = "zero" if value == 0 else "grid"
        parts.append(
            f'<line class="{css}" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top}" y2="{top + height}"/>'
            f'<text class="tick" text-anchor="middle" x="{x(value):.1f}" y="{top + height + 15:.0f}">'
            f"{signed_percent(value)}</text>"
            f'<text class="tick" text-anchor="middle" x="{x(value):.1f}" y="{top + height + 28:.0f}">'
            f"{mark(value)}</text>"
        )
    return x, y, "".join(parts)


def _legend(entries: Sequence[tuple[str, str]], y: float) -> str:
    """(css, label) in a row below a figure."""
    parts, at = [], float(LEFT)
    for css, label in entries:
        parts.append(f'<line class="line {css}" x1="{at:.0f}" x2="{at + 20:.0f}" y1="{y - 4:.0f}" y2="{y - 4:.0f}"/>')
        parts.append(f'<text class="legend" x="{at + 26:.0f}" y="{y:.0f}">{escape(label)}</text>')
        at += 44 + 6.1 * len(label)
    return "".join(parts)


def _profit(view: AccountView, underlying: int, losses: Sequence[int], price: float) -> str:
    """Profit and loss along the price, a line a volatility; beyond the range the extremes, before they are weighted."""
    reach = range_of(view.margin, underlying, "initial")
    lines = {
        volatility: [
            (node_move(node, reach), -losses[node] / WAD)
            for node in (k * VOLATILITY_NODES + volatility for k in range(PRICE_NODES))
        ]
        for volatility in (DOWN, SAME, UP)
    }
    ends = [
        (node_move(node, reach), -losses[node] / WAD / view.extreme_weight) if view.extreme_weight else None
        for node in (NODES, NODES + 1)
    ]
    wings = [
        (ends[0], lines[SAME][0]) if ends[0] else None,
        (lines[SAME][-1], ends[1]) if ends[1] else None,
    ]
    points = [point for line in lines.values() for point in line] + [end for end in ends if end]
    height = 220
    x, y, frame = _axes(
        min(at for at, _ in points),
        max(at for at, _ in points),
        min(0.0, *(amount for _, amount in points)),
        max(0.0, *(amount for _, amount in points)),
        height,
        lambda move: _level(price * (1 + move)),
    )
    parts = [frame]
    parts += [f'<path class="line same dotted" d="{path([(x(a), y(b)) for a, b in wing])}"/>' for wing in wings if wing]
    for volatility, css in ((DOWN, "down"), (UP, "up"), (SAME, "same")):
        parts.append(f'<path class="line {css}" d="{path([(x(a), y(b)) for a, b in lines[volatility]])}"/>')
    legend = (("up", "volatility up"), ("same", "same"), ("down", "down"), ("same dotted", "extremes, unweighted"))
    return _figure(
        "Profit and loss along the price",
        f"over the initial horizon; range ±{reach:.1%}",
        26 + height + 54,
        "".join(parts) + _legend(legend, 26 + height + 48),
    )


def _equity(view: AccountView, curve: Curve) -> str:
    """Equity and both margins as prices move, up to a little beyond what is called or ranged; crossings marked."""
    ends = [end for end in (*curve.call, *curve.liquidation) if end is not None]
    ranges = [range_of(view.margin, u, "initial") for u in curve.underlyings]
    reach = max(0.05, *(2.3 * one for one in ranges), *(1.3 * abs(end) for end in ends))
    points = [point for point in curve.points if abs(point.move) <= reach]
    height = 220
    amounts = [amount / WAD for p in points for amount in (p.equity, p.initial, p.maintenance)]
    prices = {part.underlying: part.price / WAD for part in view.margin.underlyings}
    single = curve.underlyings[0] if len(curve.underlyings) == 1 else None
    x, y, frame = _axes(
        points[0].move,
        points[-1].move,
        min(0.0, *amounts),
        max(amounts),
        height,
        lambda move: "" if single is None else _level(prices[single] * (1 + move)),
    )
    parts = [frame]
    for css, amount in (("maintenance", "maintenance"), ("initial", "initial"), ("equity", "equity")):
        line = [(x(point.move), y(getattr(point, amount) / WAD)) for point in points]
        parts.append(f'<path class="line {css}" d="{path(line)}"/>')
    for css, crossings in (("initial", curve.call), ("maintenance", curve.liquidation)):
        for is_rise, end in enumerate(crossings):
            if end is not None:
                # beside its line, on the far side from zero unless the frame ends there
                right = (is_rise and x(end) < LEFT + PLOT - 50) or x(end) < LEFT + 50
                parts.append(
                    f'<line class="crossing {css}" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="26" y2="{26 + height}"/>'
                    f'<text class="tick {css}-ink" text-anchor="{"start" if right else "end"}"'
                    f' x="{x(end) + (4 if right else -4):.1f}" y="{38 if css == "initial" else 52}">'
                    f"{signed_percent(end)}</text>"
                )
    legend = (("equity", "equity"), ("initial", "initial margin"), ("maintenance", "maintenance margin"))
    return _figure(
        f"Equity and margin as {'all prices move alike' if single is None else curve_name(view, curve) + ' moves'}",
        "margined again by the contract at each price",
        26 + height + 54,
        "".join(parts) + _legend(legend, 26 + height + 48),
    )


# ─── Tables


def _greeks(view: AccountView) -> str:
    head = ("", "delta, units", "delta", "gamma, for 1%", "vega, a point", "theta, a day", "options at mark")
    rows = [
        (
            escape(row.name),
            f"{row.delta:,.6g}".replace("-", "−"),
            *(_exact(amount) for amount in (row.delta_dollars, row.gamma, row.vega, row.theta, row.value)),
        )
        for row in greek_rows(view)
    ]
    return table(head, rows, 1)


def _holdings(view: AccountView) -> str:
    head = ("", "units", "mark", "implied volatility", "value")
    rows = [
        (
            escape(one.symbol),
            f"{one.size / WAD:+,.6g}".replace("-", "−"),
            "?" if one.mark is None else _exact(one.mark / WAD),
            percent(one.volatility / WAD) if one.volatility else "",
            "?" if one.value is None else _exact(one.value / WAD),
        )
        for one in view.holdings
    ]
    cash = ("cash", "", "", "", _exact(view.margin.cash / WAD))
    return table(head, [cash, *rows], 1)


def _exact(amount: float) -> str:
    """Dollars and cents."""
    return f"{'−' if round(amount, 2) < 0 else ''}${abs(amount):,.2f}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: {title}</title><style>{style}</style></head><body><main>
<h1>{title}</h1><p class="subtitle">{subtitle}</p>
<section class="tiles">{tiles}</section>
<h2>How the requirement is made up</h2>{requirement}
<p class="note">Pale: what the risk is taken from. The grid lies between each underlying at its own worst node and all
at the same one; the Greeks' expected shortfall stands beside it, and the larger of the two counts. At a node the whole
book is valued again at the moved price and volatility; what is net long at a strike is also aged by the horizon. The
extremes, at twice the range, count at {weight}. Red loses, blue gains, the outline is the worst.</p>
{sections}
<h2>Greeks</h2>{greeks}
<h2>Positions</h2>{holdings}
</main></body></html>
"""

_STYLE = """
:root{--blue:#0063a6}@media (prefers-color-scheme:dark){:root{--blue:#56b4e9}}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:18px 26px}
.bar{fill:var(--u0)}.bar.soft{fill:var(--muted);fill-opacity:.38}.bar.relief{fill:var(--good)}
.bar.total{fill:var(--amber)}.mark-line{stroke:var(--ink);stroke-width:1.5}
.loss{fill:var(--red)}.gain{fill:var(--blue)}.worst{stroke:var(--red);stroke-width:2}
svg .cell{font-size:11px;font-variant-numeric:tabular-nums}
.up{stroke:var(--u1)}.down{stroke:var(--u0)}.same{stroke:var(--ink)}
svg .initial-ink{fill:var(--amber)}svg .maintenance-ink{fill:var(--red)}
.crossing{stroke-dasharray:3 3}.line.initial,.line.maintenance{stroke-width:1.7}
"""
