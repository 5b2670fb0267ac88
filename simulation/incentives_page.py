"""The keeper game's tables, for terminal and page, and the page: one file, no network, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.drawing import STYLE, dollars, path, percent, show_tiles, table, ticks

if TYPE_CHECKING:
    from simulation.incentives import Result
    from simulation.keeper_game import Row


class Section(NamedTuple):
    """A table of text: the first column says what the row is."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    caption: str


def seconds(value: float) -> str:
    """3 s, 12 min; never where infinite."""
    if math.isinf(value):
        return "never"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def cents(value: float) -> str:
    """Dollars to the cent, with the sign before the currency."""
    return f"{'−' if value < -0.005 else ''}${abs(value):,.2f}"


def tables(result: Result) -> list[Section]:
    """Every table of the study."""

    def flagged(row: Row, first: str) -> tuple[str, ...]:
        return (
            first,
            cents(row["reward"]),
            cents(row["rent"]),
            cents(row["margin"]),
            percent(row["first block"]),
            seconds(row["delay"]),
        )

    head = ("fee less gas", "rent a keeper", "flag over wait", "in first block", "delay")
    sybil = result.sybil
    return [
        Section(
            "1. When is it flagged?",
            ("keepers, premium, second costs", *head),
            [
                flagged(row, f"{row['keepers']:.0f}, {row['premium']:.2f}, {cents(row['revert'])}")
                for row in result.flag
            ],
            "premium: flag fee over measured gas at the base fee; fee less gas: expected, after tip and recovery;\n"
            "flag over wait: the least gain, whatever the rivals do: above 0, flagging at once is dominant",
        ),
        Section(
            "1b. Five keepers, premium 1.25, by the state of the account",
            ("account", *head),
            [flagged(row, f"falling {row['hourly']:.1f} M an hour") for row in result.drift]
            + [flagged(row, f"equity {row['health']:.2f} M") for row in result.health],
            "just below maintenance an account often recovers before a bid, and then nobody pays the fee",
        ),
        Section(
            "2. When is it bid for? Costs known",
            ("keepers", "d at bid", "theory", "block before", "that block", "block after", "after flag", "rent of all"),
            [
                (
                    f"{row['keepers']:.0f}",
                    *(percent(row[key]) for key in ("discount", "theory", "early", "same", "late")),
                    seconds(row["seconds"]),
                    dollars(row["rent"]),
                )
                for row in result.bid
            ],
            "that block: where the second-cheapest keeper first breaks even; theory: d at its expected cost and gas",
        ),
        Section(
            "2b. Costs private",
            ("keepers", "d at bid", "most to gain by another block", "theory apart", "1 min late", "5 min late"),
            [
                (
                    f"{row['keepers']:.0f}",
                    percent(row["discount"]),
                    f"{row['regret']:.2%}",
                    f"{row['apart']:.2%}",
                    f"{row['wait a minute'] - 1:+.0%}",
                    f"{row['wait five'] - 1:+.0%}",
                )
                for row in result.private
            ],
            "late: profit of a keeper that bids so much after its equilibrium block, against its rivals' equilibrium",
        ),
        Section(
            "3. Without rivals",
            ("", "after flag", "d at bid", "part taken", "keeper", "owner loses", "fund gets", "flag later"),
            [
                (
                    name,
                    seconds(row["seconds"]),
                    percent(row["discount"]),
                    percent(row["fraction"]),
                    *(dollars(row[key]) for key in ("bidder", "owner", "fund")),
                    cents(row["flag later"]) if "flag later" in row else "",
                )
                for name, row in result.alone.items()
            ],
            "maintenance $10k, equity $9k; flag later: the most that flagging a block later gains at any equity",
        ),
        Section(
            "4. A cartel among five",
            ("members", "d at bid", "member, loyal", "without cartel", "member, defecting", "patience needed"),
            [
                (
                    f"{row['k']:.0f}",
                    percent(row["discount"]),
                    *(cents(row[key]) for key in ("keep", "compete", "defect")),
                    f"{row['patience']:.2f}" if math.isfinite(row["patience"]) else "",
                )
                for row in result.cartels
            ],
            "expected dollars an auction; patience: weight of the next auction from which the end of the cartel deters",
        ),
        Section(
            "5. Owner, flagger and bidder are one",
            ("contract's integers", ""),
            [
                ("cases, of them sales", f"{sybil['cases']:,.0f}, {sybil['sells']:,.0f}"),
                ("most the three gain on a sale", cents(sybil["most on a sale"])),
                ("to the fund on a sale, of fund share · f·d·M", f"{sybil['least to the fund, part of f·d·M']:.6f}"),
                ("most from the fund where d·M > equity ≥ 0", dollars(sybil["most from the fund, solvent"])),
                ("most from the fund, insolvent", dollars(sybil["most from the fund, insolvent"])),
                ("gaps under two own sides, expected an attempt", cents(result.gap["gain"])),
                ("what an attempt costs for certain", cents(result.gap["cost"])),
            ],
            "maintenance $10k, fee up to $3,000; the last cases pay any bidder who is first, none the owner more",
        ),
        Section(
            "6. Gas",
            (
                "base fee",
                "flag gas",
                "flag fee",
                "bid gas",
                "bid pays from",
                "flag from: 1",
                "of 5",
                "d pays: 1k",
                "10k",
                "100k",
            ),
            [
                (
                    f"{row['base fee']:.0f} gwei",
                    *(dollars(row[key]) for key in ("flag gas", "flag fee", "bid gas", "bid from")),
                    *(dollars(row[key]) for key in ("flag from, alone", "flag from, five")),
                    *(seconds(row[f"seconds {size}"]) for size in (1_000, 10_000, 100_000)),
                )
                for row in result.gas
            ],
            "from: least maintenance margin; of 5: the cheapest of five, which knows it; d pays: time from the flag\n"
            "until the discount pays a middling keeper for gas and unwinding, by maintenance margin",
        ),
    ]


def limits(result: Result) -> list[str]:
    """Where the mechanism does not do what it is for."""
    compete, lone = result.alone["five compete"], result.alone["alone"]
    bare = next(row for row in result.flag if row["keepers"] == 5 and row["premium"] == 1 and row["revert"] == 0)
    near = next(row for row in result.health if row["health"] == 0.97)
    one_out, all_in = result.cartels[-2], result.cartels[-1]
    spike = result.gas[-1]
    return [
        "A keeper without any rival, or a cartel of all, does gain by bidding late: "
        f"{dollars(lone['bidder'])} instead of {dollars(compete['bidder'])}; the owner then loses "
        f"{dollars(lone['owner'])} instead of {dollars(compete['owner'])}. What bounds it is the highest discount. "
        f"An outsider takes d from {percent(all_in['discount'])} to {percent(one_out['discount'])}; all may enter.",
        f"A cartel that meets again is stable where the next auction weighs {one_out['patience']:.2f} or more: "
        "defecting pays once, so only the fear of competition holds it together. Entry is what ends it.",
        f"A flag fee of gas at the base fee and no more leaves the flagger {cents(bare['reward'])}: five equal keepers "
        f"then wait for each other, {seconds(bare['delay'])} in the symmetric equilibrium. The fee must also pay for "
        "the tip, the chance of recovery and the cost of coming second: 1.25 to 1.5 times the gas does.",
        f"An account at {near['health']:.2f} M is not worth flagging even at 1.25: {percent(1 - near['paid'])} of them "
        "recover before a bid. It is flagged once it is clearly below.",
        f"While the cap of the fee binds (base fee {spike['base fee']:.0f} gwei: gas {dollars(spike['flag gas'])}, fee "
        f"{dollars(spike['flag fee'])}) a lone keeper flags accounts of maintenance "
        f"{dollars(spike['flag from, alone'])} and more only, the cheapest of five those of "
        f"{dollars(spike['flag from, five'])} and more.",
        "Where the discount has passed the equity the fund pays it, to an owner's second account as to anybody: an "
        "owner alone for so long gains d·M less its equity. Rivals, who bid long before, are what prevents it.",
    ]


# ─── Page

LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 62, 26, 500, 220
COLOURS = ("u0", "u1", "maintenance", "muted", "equity")

Curve = tuple[str, Sequence[float], Sequence[float], bool]
"""Label, horizontal and vertical values, whether dashed."""


def chart(title: str, across: str, up: str, curves: Sequence[Curve]) -> str:
    """Lines on plain axes, as SVG text; a dashed line takes the colour of the one before it."""
    horizontal = [x for _, xs, _, _ in curves for x in xs]
    vertical = [y for _, _, ys, _ in curves for y in ys if math.isfinite(y)]
    left, right, low, high = min(horizontal), max(horizontal), min(0.0, *vertical), max(vertical) * 1.06
    bottom = TOP + PLOT_HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + PLOT_WIDTH * (x - left) / (right - left), bottom - PLOT_HEIGHT * (y - low) / (high - low)

    parts = [
        f'<text class="title" x="{LEFT}" y="15">{escape(title)}<tspan class="unit" dx="8">{escape(up)}</tspan></text>'
    ]
    for y in ticks(low, high, 6):
        at = place(left, y)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{at + 4:.1f}">{y:g}</text>')
    for x in ticks(left, right, 8):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{place(x, low)[0]:.1f}" y="{bottom + 16}">{x:g}</text>'
        )
    parts.append(f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}"/>')
    parts.append(
        f'<text class="tick" text-anchor="end" x="{LEFT + PLOT_WIDTH}" y="{bottom + 32}">{escape(across)}</text>'
    )
    solid = -1
    for row, (label, xs, ys, dashed) in enumerate(curves):
        solid += not dashed
        css = f"line {COLOURS[solid % len(COLOURS)]}{' dashed' if dashed else ''}"
        points = [place(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        at, side = TOP + 14 + 17 * row, LEFT + PLOT_WIDTH + 10
        parts.append(f'<path class="{css}" d="{path(points)}"/>')
        parts.append(f'<line class="{css}" x1="{side}" x2="{side + 22}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{side + 28}" y="{at + 4}">{escape(label)}</text>')
    width, height = LEFT + PLOT_WIDTH + 150, bottom + 40
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def charts(result: Result) -> str:
    """Four pictures: who bids when, at what discount, how long the flag takes, when the discount pays for gas."""
    curves = result.curves
    cost = [100 * x for x in curves["cost"]]
    keepers = [row["keepers"] for row in result.bid]

    def hundred(values: Sequence[float]) -> list[float]:
        return [100 * value for value in values]

    types: list[Curve] = []
    for found in result.private:
        n = f"{found['keepers']:.0f}"
        types.append((f"{n} keepers", cost, hundred(curves[n]), False))
        types.append(("theory", cost, hundred(curves[f"theory {n}"]), True))
    premiums: list[Curve] = []
    for count in sorted({row["keepers"] for row in result.flag}):
        rows = [row for row in result.flag if row["keepers"] == count and row["revert"] > 0]
        premiums.append(
            (f"{count:.0f} keepers", [row["premium"] for row in rows], [row["delay"] for row in rows], False)
        )
    spikes: list[Curve] = [
        (f"M = {dollars(size)}", [row["base fee"] for row in result.gas],
         [row[f"seconds {size}"] / 60 for row in result.gas], False)
        for size in (100_000, 10_000, 1_000)
    ]  # fmt: skip
    return (
        chart("Discount at which a keeper bids", "cost of unwinding, % of M", "d, %", types)
        + chart(
            "Discount when the account is taken", "keepers", "d, %",
            [("costs known", keepers, hundred([row["discount"] for row in result.bid]), False),
             ("second-cheapest", keepers, hundred([row["theory"] for row in result.bid]), True)],
        )
        + chart("Delay of the flag", "flag fee over gas at the base fee", "seconds", premiums)
        + chart("Until the discount pays for gas", "base fee, gwei", "minutes after the flag", spikes)
    )  # fmt: skip


def render(result: Result) -> str:
    """The page as HTML text."""
    five = next(row for row in result.bid if row["keepers"] == 5)
    paid = next(row for row in result.flag if row["keepers"] == 5 and row["premium"] == 1.25 and row["revert"] > 0)
    tiles = [
        (
            "Flagged in the first block",
            percent(paid["first block"]),
            "five keepers, fee 1.25 × gas, losers pay for gas",
        ),
        (
            "Taken at a discount of",
            percent(five["discount"]),
            f"five keepers, {seconds(five['seconds'])} after the flag",
        ),
        ("Bid within a block of theory", percent(five["early"] + five["same"] + five["late"]), "costs known"),
        ("Self-liquidation gains at most", cents(result.sybil["most on a sale"]), "on a sale, to the wei"),
    ]
    body = "".join(
        f"<h2>{escape(each.title)}</h2>{table(each.head, [tuple(map(escape, row)) for row in each.rows], 1)}"
        f'<p class="note">{escape(each.caption)}</p>'
        for each in tables(result)
    )
    items = "".join(f"<li>{escape(each)}</li>" for each in limits(result))
    return _PAGE.format(style=STYLE + _STYLE, tiles=show_tiles(tiles), charts=charts(result), limits=items, body=body)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plimsoll: the keeper game</title><style>{style}</style></head><body><main>
<h1>The keeper game</h1><p class="subtitle">What a rational keeper does with an account of maintenance margin
M = $10k and equity 0.9 M under the crypto profile, and what waiting or colluding would gain it.</p>
<section class="tiles">{tiles}</section><section class="charts">{charts}</section>
<h2>Where it does not hold</h2><ul>{limits}</ul>{body}
</main></body></html>
"""

_STYLE = ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:18px}li{margin:0 0 6px}"
