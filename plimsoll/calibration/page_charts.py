"""Small charts of a calibration's page: one frame with axes, as wide as a phone, many side by side on a desk.

A `Chart` knows its two scales and collects SVG; the caller draws with `line`, `sticks`, `points` and `level`. Text is
sized for a figure that is shown at about its own width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Literal

import numpy as np

from plimsoll.drawing import path, ticks
from plimsoll.figure import time_ticks
from plimsoll.market.series import Floats, Integers

WIDTH, LEFT, RIGHT, TOP = 440, 48, 10, 44
PLOT = WIDTH - LEFT - RIGHT
MOST_POINTS = 1_500
"""Of one curve: a screen shows no more, and the file stays small."""

Format = Callable[[float], str]
Symbol = Literal["circle", "hollow", "square", "down", "up"]


def thin(ts: Integers, values: Floats, most: int = MOST_POINTS) -> tuple[Integers, Floats]:
    """At most `most` of the points of a curve, shape (n,): the largest value of each run of rows, at its own time."""
    n = len(ts)
    if n <= most:
        return ts, values
    edges = np.unique(np.linspace(0, n, most + 1).astype(np.int64))
    rows = np.array([a + int(np.argmax(values[a:b])) for a, b in pairwise(edges)])
    return ts[rows], values[rows]


class Chart:
    """One frame. x runs over `across`, y over `up` (lowest, highest); `dates` says that x is unix seconds."""

    def __init__(
        self,
        title: str,
        unit: str,
        across: tuple[float, float],
        up: tuple[float, float],
        *,
        height: int = 150,
        form: Format,
        form_x: Format | None = None,
        dates: bool = False,
    ) -> None:
        self.title, self.unit, self.height = title, unit, height
        self._across, self._up = across, (up[0], up[1] if up[1] > up[0] else up[0] + 1.0)
        self.bottom = TOP + height
        self._parts: list[str] = []
        self._legend: list[tuple[str, str]] = []
        self._axes(form, form_x, dates=dates)

    def x(self, value: float) -> float:
        """Horizontal place."""
        first, last = self._across
        return LEFT + PLOT * (value - first) / (last - first)

    def y(self, value: float) -> float:
        """Vertical place, kept inside the frame."""
        low, high = self._up
        return self.bottom - self.height * min(max((value - low) / (high - low), 0.0), 1.0)

    def line(self, xs: Iterable[float], ys: Iterable[float], css: str, label: str = "", *, steps: bool = False) -> None:
        """A curve; `steps` holds each value until the next, as a margin in force does."""
        points = [(self.x(float(a)), self.y(float(b))) for a, b in zip(xs, ys, strict=True)]
        if steps:
            points = [p for k, (a, b) in enumerate(points) for p in ((a, points[k - 1][1] if k else b), (a, b))]
        if points:
            self._parts.append(f'<path class="line {css}" d="{path(points)}"/>')
        self._note(css, label)

    def sticks(self, xs: Iterable[float], ys: Iterable[float], css: str, label: str = "") -> None:
        """A vertical line from the bottom for each value, all as one path."""
        marks = "".join(
            f"M{self.x(float(a)):.1f},{self.bottom:.0f}V{self.y(float(b)):.1f}" for a, b in zip(xs, ys, strict=True)
        )
        if marks:
            self._parts.append(f'<path class="line {css}" d="{marks}"/>')
        self._note(css, label)

    def level(self, value: float, css: str, label: str = "") -> None:
        """A horizontal line: a limit."""
        at = self.y(value)
        self._parts.append(f'<line class="line {css}" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        self._note(css, label)

    def point(self, x: float, y: float, symbol: Symbol, css: str, tip: str, label: str = "") -> None:
        """A mark with a text for the pointer, and a label beside it."""
        at, up = self.x(x), self.y(y)
        self._parts.append(f"<g><title>{escape(tip)}</title>{mark(at, up, symbol, css)}</g>")
        if label:
            right = at < LEFT + PLOT - 24
            self._parts.append(
                f'<text class="tick" text-anchor="{"start" if right else "end"}" x="{at + (7 if right else -7):.1f}"'
                f' y="{up + 4:.1f}">{escape(label)}</text>'
            )

    def bar(self, x: float, low: float, high: float, css: str) -> None:
        """An error bar."""
        at = self.x(x)
        self._parts.append(
            f'<line class="line {css}" x1="{at:.1f}" x2="{at:.1f}" y1="{self.y(low):.1f}" y2="{self.y(high):.1f}"/>'
        )

    def note(self, css: str, label: str) -> None:
        """A legend entry of its own; css "down", "up", "circle" or "hollow" first shows that mark."""
        self._note(css, label)

    def svg(self) -> str:
        """The figure as text."""
        entries, at, row = [], 4.0, 0
        for css, label in self._legend:
            width = 36 + 6.0 * len(label)
            if at + width > WIDTH and at > 4.0:
                at, row = 4.0, row + 1
            y = self.bottom + 34 + 15 * row
            symbol = css.split()[0]
            if symbol in ("circle", "hollow", "square", "down", "up"):
                entries.append(mark(at + 9, y - 4, symbol, css.removeprefix(symbol).strip()))  # type: ignore[arg-type]
            else:
                entries.append(f'<line class="line {css}" x1="{at:.0f}" x2="{at + 18:.0f}" y1="{y - 4}" y2="{y - 4}"/>')
            entries.append(f'<text class="legend" x="{at + 23:.0f}" y="{y}">{escape(label)}</text>')
            at += width
        height = self.bottom + (24 if not self._legend else 40 + 15 * row)
        return (
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(self.title, quote=True)}">'
            f'<text class="title" x="4" y="14">{escape(self.title)}</text>'
            f'<text class="unit" x="4" y="31">{escape(self.unit)}</text>'
            f"{''.join(self._parts)}{''.join(entries)}</svg>"
        )

    def _note(self, css: str, label: str) -> None:
        if label:
            self._legend.append((css, label))

    def _axes(self, form: Format, form_x: Format | None, *, dates: bool) -> None:
        (first, last), (low, high) = self._across, self._up
        for value in ticks(low, high, max(2, self.height // 30)):
            at = self.y(value)
            self._parts.append(
                f'<line class="{"zero" if value == 0 > low else "grid"}" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{at:.1f}"'
                f' y2="{at:.1f}"/><text class="tick" text-anchor="end" x="{LEFT - 6}" y="{at + 4:.1f}">'
                f"{escape(form(value))}</text>"
            )
        if dates:
            marks = [(float(ts), text) for ts, text in time_ticks(int(first), int(last), PLOT / 906)]
        else:
            marks = [] if form_x is None else [(value, form_x(value)) for value in ticks(first, last, 6)]
        free = -math.inf
        for value, text in marks:
            at, half = self.x(value), 3.1 * len(text)
            self._parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self.bottom}"/>')
            if at - half > free and at + half < WIDTH:
                free = at + half + 6
                self._parts.append(
                    f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{self.bottom + 15}">{escape(text)}</text>'
                )
        self._parts.append(f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{PLOT}" height="{self.height}"/>')


def mark(x: float, y: float, symbol: Symbol, css: str) -> str:
    """One mark of about 8 units: shapes differ, so that colour need not tell them apart."""
    if symbol in ("circle", "hollow"):
        return f'<circle class="{symbol} {css}" cx="{x:.1f}" cy="{y:.1f}" r="4"></circle>'
    if symbol == "square":
        return f'<rect class="square {css}" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
    way = 4.0 if symbol == "down" else -4.0
    points = [(x - 4, y - way), (x + 4, y - way), (x, y + way)]
    return f'<path class="{symbol} {css}" d="{path(points)}Z"/>'


def gallery(figures: Sequence[str]) -> str:
    """Figures side by side where there is room."""
    return f'<div class="gallery">{"".join(f"<div>{one}</div>" for one in figures)}</div>'


def fold(summary: str, body: str) -> str:
    """Something long that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


CHART_STYLE = """
.gallery{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:16px 22px;margin:8px 0}
.gallery>div{max-width:560px}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft)}
.loss{stroke:var(--muted);stroke-width:.8;opacity:.75}.margin{stroke:var(--u0)}
.limit{stroke:var(--red);stroke-width:1.2}
.other{stroke:var(--u1)}.ink{stroke:var(--ink);stroke-width:1.2}
svg .circle,svg .square,svg .down,svg .up{fill:var(--u0)}
svg .hollow{fill:var(--ground);stroke:var(--red);stroke-width:1.8}
svg .beyond{fill:var(--red)}svg .second{fill:var(--u1)}svg .chosen{fill:var(--good)}
"""
