"""`plimsoll margin`: an account's margin, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from plimsoll.commands.options import Place, with_place
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import margin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.margin.onchain import Margin, UnderlyingMargin


@click.command()
@click.argument("account", type=click.IntRange(1))
@with_place
@click.option("--block", type=click.IntRange(0), help="As of this block. Default: the latest.")
def command(account: int, place: Place, block: int | None) -> None:
    """Show the margin of ACCOUNT, component by component."""
    system = place.system()
    count = system.chain.read(system.clearing_house.accountCount())
    if account > count:
        which = f"accounts are numbered 1 to {count}" if count else "nobody has opened one yet"
        raise PlimsollError(f"there is no account {account}; {which}")
    margin = margin_of(system, account, "latest" if block is None else block)
    names = {number: name for name, number in system.underlyings.items()}
    console = Console()
    console.print(_summary(account, margin))
    console.print(_requirements(margin))
    if margin.underlyings:
        console.print(_parts(margin, names))
    console.print(_distance(margin, names))


def _dollars(amount: int) -> str:
    return f"{amount / WAD:,.2f}"


def _percent(part: int) -> str:
    return f"{part / WAD:.2%}"


def _summary(account: int, margin: Margin) -> Table:
    table = Table("", "dollars", title=f"Account {account}: {margin.status}")
    table.columns[1].justify = "right"
    table.add_row("cash", _dollars(margin.cash))
    table.add_row("unrealised profit", _dollars(margin.unrealised))
    table.add_row("other collateral at market", _dollars(margin.collateral))
    table.add_row("equity", _dollars(margin.equity), style="bold")
    table.add_row("initial margin", _dollars(margin.initial.total))
    table.add_row("maintenance margin", _dollars(margin.maintenance.total))
    return table


def _requirements(margin: Margin) -> Table:
    table = Table("component", "initial", "maintenance", title="Requirement, dollars")
    initial, maintenance = margin.initial, margin.maintenance
    for name, a, b in (
        ("each underlying at its worst, added up", initial.standalone, maintenance.standalone),
        ("all at the same node, the worst", initial.joint, maintenance.joint),
        ("grid: the two, weighted by the offset", initial.grid, maintenance.grid),
        ("expected shortfall by correlation", initial.expected_shortfall, maintenance.expected_shortfall),
        ("risk: the larger of grid and shortfall", initial.risk, maintenance.risk),
        ("liquidity: cost of closing", initial.liquidity, maintenance.liquidity),
        ("total", initial.total, maintenance.total),
    ):
        table.add_row(name, _dollars(a), _dollars(b), style="bold" if name == "total" else None)
    table.columns[1].justify = table.columns[2].justify = "right"
    table.caption = f"multiplier {margin.multiplier / WAD:.2f}"
    if not margin.fresh:
        table.caption += "; a volatility feed is out of date: no new risk may be taken on"
    return table


def _parts(margin: Margin, names: Mapping[int, str]) -> Table:
    table = Table(
        "", "price", "age", "units", "exposure", "volatility", "range", "liquidity",
        title="Underlyings: initial / maintenance",
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for part in margin.underlyings:
        table.add_row(
            names[part.underlying],
            _dollars(part.price),
            f"{part.age} s",
            f"{part.delta / WAD:,.6g}",
            _dollars(part.exposure),
            f"{_percent(part.volatility_initial)} / {_percent(part.volatility_maintenance)}",
            f"{_percent(part.range_initial)} / {_percent(part.range_maintenance)}",
            f"{_dollars(part.liquidity_initial)} / {_dollars(part.liquidity_maintenance)}",
        )
    return table


def _distance(margin: Margin, names: Mapping[int, str]) -> str:
    """How far prices are from a margin call and from liquidation, as money and as a move of the largest exposure."""
    call, liquidation = margin.headroom, margin.equity - margin.maintenance.total
    largest = max(margin.underlyings, key=lambda part: abs(part.exposure), default=None)
    return "\n".join(
        (
            f"equity above initial margin: {_dollars(call)} dollars{_move(call, largest, names)}",
            f"equity above maintenance margin: {_dollars(liquidation)} dollars{_move(liquidation, largest, names)}",
        )
    )


def _move(amount: int, largest: UnderlyingMargin | None, names: Mapping[int, str]) -> str:
    """The move that would use it up, margin held constant."""
    if largest is None or largest.exposure == 0 or amount <= 0:
        return ""
    direction = "fall" if largest.exposure > 0 else "rise"
    return f", a {direction} of {names[largest.underlying]} by about {amount / abs(largest.exposure):.1%}"
