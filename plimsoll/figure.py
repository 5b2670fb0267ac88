"""Panels of lines on one shared time axis, as SVG text.

A `Figure` stacks panels of one width; every panel has its own vertical scale, all share the horizontal one, and marks
(liquidations, pushes) cross all of them. The right-hand column is legend and read-out in one: each line's name, how it
is drawn, and its value, which a few lines of script in the page replace by the value under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from plimsoll.drawing import moment, path, ticks

DAY = 86_400

LEFT, PLOT, GAP, LEGEND = 74, 906, 16, 244
WIDTH = LEFT + PLOT + GAP + LEGEND
TITLE_HEIGHT, PANEL_GAP, LANE_HEIGHT = 22, 16, 18

Values = Sequence[float | None]
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: a CSS class says how it looks. `readout` replaces the plotted value in the legend (an index whose
    reader wants the price)."""

    label: str
    values: Values
    css: str
    readout: Values | None = None
    form: Format | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """A filled strip between two curves."""

    lower: Values
    upper: Values
    css: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves with one vertical scale. `zero` keeps zero in sight; `spans` are index ranges shaded top to bottom."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    height: int
    form: Format
    zero: bool = False
    areas: tuple[Area, ...] = ()
    spans: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of marks, one kind of event: (index of the step, text to show on hover)."""

    title: str
    css: str
    symbol: str
    marks: tuple[tuple[int, str], ...]
    guide: bool
    """Whether each mark also draws a thin line through every panel."""


def time_ticks(first: int, last: int, room: float = 1.0) -> list[tuple[int, str]]:
    """Midnights UTC with labels: every day up to 12 days, Mondays up to 120, firsts of months up to two years, of
    quarters up to eight, and of years beyond. room: width of the plot as a share of a `Figure`'s."""
    start = datetime.fromtimestamp(first, UTC).replace(hour=0, minute=0, second=0) + timedelta(days=1)
    days = [start + timedelta(days=k) for k in range((last - int(start.timestamp())) // DAY + 1)]
    span = last - first
    if span <= 12 * DAY * room:
        chosen, form = days, "{0:%a} {0.day} {0:%b}"
    elif span <= 120 * DAY * room:
        chosen, form = [day for day in days if day.weekday() == 0], "{0:%a} {0.day} {0:%b}"
    else:
        every, form = (
            (1, "{0:%b} {0:%Y}")
            if span <= 730 * DAY * room
            else (3, "{0:%b} {0:%Y}")
            if span <= 2_922 * DAY * room
            else (12, "{0:%Y}")
        )
        chosen = [day for day in days if day.day == 1 and (day.month - 1) % every == 0]
    return [(int(day.timestamp()), form.format(day)) for day in chosen]


class Figure:
    """Builds the SVG text and, beside it, the values the read-out shows."""

    def __init__(self, ts: Sequence[int], lanes: Sequence[Lane], panels: Sequence[Panel]) -> None:
        if len(ts) < 2:
            raise ValueError("a figure needs at least two steps")
        self._ts = list(ts)
        self.readouts: list[list[str]] = []
        """For every legend entry, the text at every step."""
        parts: list[str] = []
        y = 30.0
        top = y - 6
        for lane in lanes:
            parts.append(self._lane(lane, y))
            y += LANE_HEIGHT
        y += 10
        for panel in panels:
            parts.append(self._panel(panel, y))
            y += TITLE_HEIGHT + panel.height + PANEL_GAP
        bottom = y - PANEL_GAP + 4
        self.height = bottom + 30
        guides = "".join(
            f'<line class="guide {lane.css}" x1="{self.x(i):.1f}" x2="{self.x(i):.1f}"'
            f' y1="{top:.0f}" y2="{bottom:.0f}"/>'
            for lane in lanes
            if lane.guide
            for i in sorted({mark[0] for mark in lane.marks})
        )
        self.svg = (
            f'<svg id="figure" viewBox="0 0 {WIDTH} {self.height:.0f}" role="img" tabindex="0"'
            f' data-left="{LEFT}" data-plot="{PLOT}" data-width="{WIDTH}"'
            ' aria-label="Prices, volatility, margin rates and accounts on one time axis">'
            f"{self._axis(top, bottom)}{guides}{''.join(parts)}"
            f'<line id="cursor" x1="0" x2="0" y1="{top:.0f}" y2="{bottom:.0f}"/>'
            f'<text id="when" class="when" x="{LEFT + PLOT + GAP}" y="18">{escape(moment(self._ts[-1]))}</text></svg>'
        )

    def x(self, index: int) -> float:
        """Horizontal place of a step."""
        return self._at(self._ts[index])

    def positions(self) -> list[float]:
        """Horizontal place of every step, for the pointer."""
        return [round(self.x(i), 1) for i in range(len(self._ts))]

    def _at(self, ts: int) -> float:
        return LEFT + PLOT * (ts - self._ts[0]) / (self._ts[-1] - self._ts[0])

    def _axis(self, top: float, bottom: float) -> str:
        parts = []
        free = -math.inf
        for ts, label in time_ticks(self._ts[0], self._ts[-1]):
            x = self._at(ts)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}"/>')
            if x - free >= 66 and LEFT + 10 <= x <= LEFT + PLOT - 10:
                free = x
                for y in (16, bottom + 18):
                    parts.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{y:.0f}">{label}</text>')
        parts.append(
            f'<text class="tick" x="4" y="16">UTC</text><text class="tick" x="4" y="{bottom + 18:.0f}">UTC</text>'
        )
        return "".join(parts)

    def _lane(self, lane: Lane, y: float) -> str:
        middle = y + LANE_HEIGHT / 2
        marks = "".join(
            f'<text class="mark {lane.css}" text-anchor="middle" x="{self.x(i):.1f}" y="{middle + 4:.1f}">{lane.symbol}'
            f"<title>{escape(text)}</title></text>"
            for i, text in lane.marks
        )
        legend_x = LEFT + PLOT + GAP
        return (
            f'<line class="lane" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{middle:.1f}" y2="{middle:.1f}"/>{marks}'
            f'<text class="mark {lane.css}" x="{legend_x + 12}" text-anchor="middle" y="{middle + 4:.1f}">'
            f"{lane.symbol}</text>"
            f'<text class="legend" x="{legend_x + 32}" y="{middle + 4:.1f}">{escape(lane.title)}</text>'
            f'<text class="value" x="{WIDTH}" text-anchor="end" y="{middle + 4:.1f}">{len(lane.marks)}</text>'
        )

    def _panel(self, panel: Panel, y: float) -> str:
        top, bottom = y + TITLE_HEIGHT, y + TITLE_HEIGHT + panel.height
        low, high = _range(panel)

        def place(value: float) -> float:
            return bottom - panel.height * (value - low) / (high - low)

        parts = [
            f'<text class="title" x="{LEFT}" y="{y + 14:.1f}">{escape(panel.title)}'
            f'<tspan class="unit" dx="8">{escape(panel.unit)}</tspan></text>',
            f'<rect class="frame" x="{LEFT}" y="{top:.1f}" width="{PLOT}" height="{panel.height}"/>',
        ]
        for first, last, css in panel.spans:
            x = self.x(first)
            parts.append(
                f'<rect class="{css}" x="{x:.1f}" y="{top:.1f}" width="{max(self.x(last) - x, 2):.1f}"'
                f' height="{panel.height}"/>'
            )
        for value in ticks(low, high, max(2, panel.height // 26)):
            at = place(value)
            css = "zero" if value == 0 and low < 0 else "grid"
            parts.append(f'<line class="{css}" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(
                f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{at + 4:.1f}">'
                f"{escape(panel.form(value))}</text>"
            )
        for area in panel.areas:
            forth = [(self.x(i), place(v)) for i, v in enumerate(area.upper) if v is not None]
            back = [(self.x(i), place(v)) for i, v in enumerate(area.lower) if v is not None]
            parts.append(f'<path class="{area.css}" d="{path(forth + back[::-1])}Z"/>')
        legend_x = LEFT + PLOT + GAP
        spacing = min(18, max(15, panel.height / max(len(panel.lines), 1)))
        for k, line in enumerate(panel.lines):
            for run in _runs(line.values):
                points = path([(self.x(i), place(v)) for i, v in run])
                parts.append(f'<path class="line {line.css}" d="{points}"/>')
            at = top + 9 + k * spacing
            parts.append(
                f'<line class="line {line.css}" x1="{legend_x}" x2="{legend_x + 24}" y1="{at:.1f}" y2="{at:.1f}"/>'
            )
            parts.append(f'<text class="legend" x="{legend_x + 32}" y="{at + 4:.1f}">{escape(line.label)}</text>')
            form = line.form or panel.form
            shown = ["–" if v is None else form(v) for v in (line.readout or line.values)]
            parts.append(
                f'<text class="value" data-line="{len(self.readouts)}" text-anchor="end" x="{WIDTH}" y="{at + 4:.1f}">'
                f"{escape(shown[-1])}</text>"
            )
            self.readouts.append(shown)
        return "".join(parts)


def _range(panel: Panel) -> tuple[float, float]:
    """Lowest and highest value drawn, with a little room; zero inside where the panel wants it."""
    curves = [line.values for line in panel.lines] + [area.upper for area in panel.areas]
    values = [v for curve in curves for v in curve if v is not None]
    low, high = min(values), max(values)
    if panel.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or abs(high) * 0.01 or 1.0
    return (low if low == 0.0 and panel.zero else low - room), high + room


def _runs(values: Values) -> list[list[tuple[int, float]]]:
    """Stretches without holes."""
    runs: list[list[tuple[int, float]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((i, value))
    return [run for run in runs if run]


# ─── What a page with a figure needs beside it

FIGURE_STYLE = """
.lane{stroke:var(--rule)}
.mark{font-size:12px}svg .mark.push{fill:var(--push)}svg .mark.call{fill:var(--amber);font-size:9px}
svg .mark.liquidation{fill:var(--red)}svg .mark.expiry{fill:var(--u0);font-size:10px}
.guide{stroke-width:1}.guide.push{stroke:var(--push);stroke-dasharray:2 4;opacity:.55}
.guide.liquidation{stroke:var(--red);opacity:.28}
#cursor{stroke:var(--ink);stroke-width:1;opacity:0;pointer-events:none}
"""

SCRIPT = """
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
"""Shows the values under the pointer, or under the arrow keys; needs `data`: x and when of every step, lines' texts."""
