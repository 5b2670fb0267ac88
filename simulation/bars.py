"""What a book needs beside what its parts would need, drawn as bars over time: one SVG a book.

At each chosen time two bars stand side by side: the parts, each taken alone, on top of one another; and the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from plimsoll.drawing import dollars, moment, percent, ticks
from simulation.recording import PARTS, BookPoint

WIDTH, HEIGHT = 610, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 6, 26, 24
MOST = 13
"""Times at which a book is drawn."""


def choose(points: Sequence[tuple[int, BookPoint]]) -> list[tuple[int, BookPoint]]:
    """At most MOST of them, evenly spread, the first and the last among them."""
    count = min(len(points), MOST)
    if count < 2:
        return list(points)
    return [points[round(k * (len(points) - 1) / (count - 1))] for k in range(count)]


def draw(points: Sequence[tuple[int, BookPoint]], name: str) -> str:
    """The SVG for (unix seconds, book) pairs, rising in time, at least one; `name` is the account's."""
    chosen = choose(points)
    highest = 1.06 * max(max(point.apart, point.whole) for _, point in chosen) or 1.0
    slot = (WIDTH - LEFT - RIGHT) / len(chosen)
    bar = min(slot * 0.36, 26)

    def height(value: float) -> float:
        return (HEIGHT - TOP - BOTTOM) * value / highest

    base = HEIGHT - BOTTOM
    label = f"Initial margin of {name}: the whole and its parts"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for value in ticks(0.0, highest, 4):
        y = base - height(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{dollars(value)}</text>')
    previous = ""
    for k, (ts, point) in enumerate(chosen):
        middle = LEFT + slot * (k + 0.5)
        at = float(base)
        for part in PARTS:
            value = point.parts[part]
            if value > 0:
                at -= height(value)
                parts.append(_bar(part, middle - bar, at, bar, height(value), f"{part} alone: {dollars(value)}", ts))
        whole = height(point.whole)
        parts.append(_bar("whole", middle + 1, base - whole, bar, whole, f"the whole: {dollars(point.whole)}", ts))
        share = percent(point.whole / point.apart) if point.apart else "–"
        top = min(at, base - whole) - 5
        parts.append(f'<text class="share" text-anchor="middle" x="{middle:.1f}" y="{top:.1f}">{share}</text>')
        when = datetime.fromtimestamp(ts, UTC)
        day = f"{when.day} {when:%b}"
        label, previous = f"{when:%H:%M}" if day == previous else day, day
        parts.append(f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{base + 16}">{label}</text>')
    return "".join(parts) + "</svg>"


def key() -> str:
    """Which colour is what, as HTML."""
    entries = [*((part, f"{part} alone") for part in PARTS), ("whole", "the whole book, as margined")]
    return "".join(f'<span class="swatch bar-{css}"></span>{text}' for css, text in entries)


def _bar(css: str, x: float, y: float, width: float, height: float, text: str, ts: int) -> str:
    return (
        f'<rect class="bar-{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{moment(ts)}, {text}</title></rect>"
    )
