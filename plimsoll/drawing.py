"""What the project's pages have in common: how numbers are written, the style sheet, tables and small SVG parts.

A page is one file that needs no network and reads in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

# ─── Numbers


def dollars(value: float) -> str:
    """$1.23M, $45.2k, $40k, $310, with the sign before the currency."""
    size, sign = abs(value), "−" if value < -0.5 else ""
    if size >= 1e6:
        return f"{sign}${size / 1e6:,.2f}M"
    if size >= 1e4:
        return f"{sign}${size / 1e3:,.1f}k".replace(".0k", "k")
    return f"{sign}${size:,.0f}"


def percent(value: float) -> str:
    """A decimal as percent, one digit after the point."""
    return f"{100 * value:.1f}%"


def plain(value: float) -> str:
    """A price or an index level."""
    return f"{value:,.1f}" if abs(value) < 1e4 else f"{value:,.0f}"


def moment(ts: int) -> str:
    """Mon 5 Feb 2018, 21:00 UTC."""
    when = datetime.fromtimestamp(ts, UTC)
    return f"{when:%a} {when.day} {when:%b %Y, %H:%M} UTC"


# ─── SVG


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values in [low, high], at most `most`, at steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def path(points: Sequence[tuple[float, float]]) -> str:
    """Straight lines through points, as a path's `d`."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


# ─── HTML


def show_tiles(tiles: Iterable[tuple[str, str, str]]) -> str:
    """Key figures: (what it is, the figure, a note)."""
    return "".join(
        f'<div class="tile"><div class="what">{escape(what)}</div><div class="figure">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
        for what, value, note in tiles
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: int) -> str:
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


# Colours: Okabe and Ito's set, which those who see colours differently tell apart; lightness adapted to each ground.
STYLE = """
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
.line{fill:none;stroke-width:1.7;stroke-linejoin:round}.u0{stroke:var(--u0)}.u1{stroke:var(--u1)}
.muted{stroke:var(--muted);stroke-width:1.3}.equity{stroke:var(--equity)}
.initial{stroke:var(--amber);stroke-width:1.1}
.maintenance{stroke:var(--red);stroke-width:1.1}.dashed{stroke-dasharray:6 3}.dotted{stroke-dasharray:1.5 2.5}
table{border-collapse:collapse;width:100%;font-size:13px;display:block;overflow-x:auto}thead,tbody{width:100%}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.good{color:var(--good);font-weight:650}.bad{color:var(--red);font-weight:650}code{font-size:12px}
"""
