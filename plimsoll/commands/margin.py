"""`plimsoll margin`: an account's margin, taken apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from plimsoll.commands.options import Place, with_place
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import NO_CAP
from plimsoll.margin.page import render
from plimsoll.margin.view import HORIZONS, as_json, distances, greek_rows, node_in_words, read_view, signed_percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.system import System
    from plimsoll.margin.onchain import Requirement, ScenarioLosses
    from plimsoll.margin.view import AccountView


@click.command()
@click.argument("account", type=click.IntRange(1))
@with_place
@click.option("--block", type=click.IntRange(0), help="As of this block. Default: the latest.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: write a page here.")
@click.option("--json", "as_data", is_flag=True, help="Print it as JSON; amounts are wad integers as text.")
def command(account: int, place: Place, block: int | None, page: Path | None, as_data: bool) -> None:
    """Show the margin of ACCOUNT: every component, Greeks, worst node, distance to a margin call."""
    system = place.system()
    require_account(system, account)
    view = read_view(system, account, "latest" if block is None else block)
    if page is not None:
        try:
            page.write_text(render(view), encoding="utf-8")
        except OSError as fault:
            raise PlimsollError(f"{page}: cannot be written ({fault.strerror})") from None
    if as_data:
        click.echo(json.dumps(as_json(view), indent=2, ensure_ascii=False))
        return
    console = Console()
    for table in (_summary(view), _requirements(view), _worst(view), _holdings(view), _parts(view), _greeks(view)):
        if table is not None:
            console.print(table)
    console.print(_distances(view))
    if page is not None:
        console.print(f"drawn in {page}")


def require_account(system: System, account: int) -> None:
    """PlimsollError if there is no such account."""
    count = system.chain.read(system.clearing_house.accountCount())
    if account > count:
        which = f"accounts are numbered 1 to {count}" if count else "nobody has opened one yet"
        raise PlimsollError(f"there is no account {account}; {which}")


def money(amount: int) -> str:
    """Dollars and cents of a wad amount."""
    return f"{amount / WAD:,.2f}".replace("-", "−")


def numbers(*head: str, title: str | None = None) -> Table:
    """A table whose columns are numbers, all but the first."""
    table = Table(*head, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _percent(part: int) -> str:
    return f"{part / WAD:.2%}"


def _summary(view: AccountView) -> Table:
    margin = view.margin
    table = numbers("", "dollars", title=f"Account {view.account}: {margin.status}")
    table.add_row("cash", money(margin.cash))
    table.add_row("positions: unsettled profit, options at mark", money(margin.unrealised))
    table.add_row("other collateral at market", money(margin.collateral))
    table.add_row("equity", money(margin.equity), style="bold")
    table.add_row("initial margin", money(margin.initial.total))
    table.add_row("maintenance margin", money(margin.maintenance.total))
    return table


COMPONENTS = (
    ("each underlying at its worst node, added up", "standalone"),
    ("all underlyings at the same node, the worst", "joint"),
    ("grid: the two, weighted by the offset", "grid"),
    ("Greeks: expected shortfall by correlation", "expected_shortfall"),
    ("risk: the larger of grid and Greeks", "risk"),
    ("liquidity: cost of closing", "liquidity"),
    ("short option minimum", "short_option_minimum"),
    ("leverage floor: least by the notional brackets", "leverage_floor"),
    ("long option cap: without them, plus their value", "long_option_cap"),
    ("total", "total"),
)
"""Rows of a requirement: label, and the member of Requirement."""


def component_rows(*requirements: Requirement) -> Iterator[tuple[str, list[int | None]]]:
    """(label, amounts) of what matters to any of the requirements; None for a cap that nothing sets."""
    for label, member in COMPONENTS:
        amounts = [getattr(requirement, member) for requirement in requirements]
        limited = [None if amount == NO_CAP else amount for amount in amounts]
        if member == "total" or any(limited):
            yield label, limited


def _requirements(view: AccountView) -> Table:
    table = numbers("component", *HORIZONS, title="Requirement, dollars")
    for name, amounts in component_rows(view.margin.initial, view.margin.maintenance):
        shown = ["none" if amount is None else money(amount) for amount in amounts]
        table.add_row(name, *shown, style="bold" if name == "total" else None)
    table.caption = f"risk × multiplier {view.margin.multiplier / WAD:.2f}"
    if view.margin.open_interest_scale > WAD:
        table.caption += f" × open-interest scale {view.margin.open_interest_scale / WAD:.2f} (initial)"
    if not view.margin.fresh:
        table.caption += "; a volatility feed is out of date: no new risk may be taken on"
    return table


def _worst(view: AccountView) -> Table | None:
    """The node behind the joint loss, and each underlying's own worst where they differ."""
    if not view.losses:
        return None
    table = Table("worst node", *HORIZONS, title="Scenarios")
    rows: list[tuple[str, ScenarioLosses | None]] = [("all at the same node", None)] if len(view.losses) > 1 else []
    rows += [(view.names[one.underlying], one) for one in view.losses]
    for name, one in rows:
        cells = []
        for horizon in HORIZONS:
            losses = view.joint[horizon] if one is None else getattr(one, horizon)
            node = max(range(len(losses)), key=losses.__getitem__)
            where = node_in_words(view.margin, view.names, node, horizon, None if one is None else [one.underlying])
            cells.append(f"{where}: loses {money(losses[node])}" if losses[node] > 0 else "no node loses")
        table.add_row(name, *cells)
    return table


def _holdings(view: AccountView) -> Table | None:
    if not view.holdings:
        return None
    table = numbers("position", "units", "mark", "volatility", "value", title="Positions")
    for one in view.holdings:
        table.add_row(
            one.symbol,
            f"{one.size / WAD:+,.6g}".replace("-", "−"),
            "?" if one.mark is None else money(one.mark),
            _percent(one.volatility) if one.volatility else "",
            "?" if one.value is None else money(one.value),
        )
    return table


def _parts(view: AccountView) -> Table | None:
    if not view.margin.underlyings:
        return None
    table = numbers(
        "", "price", "age", "marked at", "volatility", "range", "liquidity",
        title="Underlyings: initial / maintenance",
    )  # fmt: skip
    for part in view.margin.underlyings:
        table.add_row(
            view.names[part.underlying],
            money(part.price),
            f"{part.age} s",
            _percent(part.volatility_mark),
            f"{_percent(part.volatility_initial)} / {_percent(part.volatility_maintenance)}",
            f"{_percent(part.range_initial)} / {_percent(part.range_maintenance)}",
            f"{money(part.liquidity_initial)} / {money(part.liquidity_maintenance)}",
        )
    return table


def _greeks(view: AccountView) -> Table | None:
    if not view.greeks:
        return None
    table = numbers(
        "", "delta", "delta, dollars", "gamma, dollars for 1%", "vega, a point", "theta, a day", "options at mark",
        title="Greeks, in units and dollars",
    )  # fmt: skip
    for row in greek_rows(view):
        amounts = (row.delta_dollars, row.gamma, row.vega, row.theta, row.value)
        shown = (f"{row.delta:,.6g}", *(f"{amount:,.2f}" for amount in amounts))
        table.add_row(row.name, *(text.replace("-", "−") for text in shown))
    return table


def _distances(view: AccountView) -> str:
    """How far prices are from a margin call and from liquidation, as money and as moves."""
    margin = view.margin
    lines = []
    for what, against, headroom, moves in (
        ("initial", "margin call", margin.headroom, distances(view, lambda curve: curve.call)),
        (
            "maintenance",
            "liquidation",
            margin.equity - margin.maintenance.total,
            distances(view, lambda curve: curve.liquidation),
        ),
    ):
        lines.append(f"equity above {what} margin: {money(headroom)} dollars")
        if headroom >= 0 and view.curves:
            points = view.curves[0].points
            nowhere = f"no move of prices from {signed_percent(points[0].move)} to {signed_percent(points[-1].move)}"
            lines += [f"  {against} at {move}" for move in moves] or [f"  {against} at {nowhere}"]
    if view.fault:
        lines.append(f"how far prices are from it is not known: {view.fault}")
    elif view.curves:
        lines.append("moves are exact: the contract's margin at the moved price, volatility and all else as they are")
    return "\n".join(lines)
