"""`plimsoll whatif`: an account's requirement before and after a trade that nobody has made yet."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import click
from rich.console import Console

from plimsoll.chain.client import RpcError
from plimsoll.chain.instruments import Instrument, expiry_symbol
from plimsoll.commands.margin import component_rows, money, numbers, require_account
from plimsoll.commands.options import Place, with_place
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.view import HORIZONS, node_in_words
from plimsoll.margin.whatif import MAXIMUM_PRICE, MAXIMUM_SIZE, Trade, what_if

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from plimsoll.chain.client import Block
    from plimsoll.chain.system import System
    from plimsoll.margin.whatif import WhatIf

_NUMBER = re.compile(r"([+-]?)(\d{1,30})(?:\.(\d{1,18}))?", re.ASCII)
NEAR = 4
"""Symbols suggested in the place of an unknown one."""


# a size such as -2 looks like an option: unknown options are left to be read as sizes
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("account", type=click.IntRange(1))
@click.argument("trades", nargs=-1, type=click.UNPROCESSED, metavar="SIZE SYMBOL [SIZE SYMBOL ...]")
@with_place
@click.option("--price", "prices", multiple=True, metavar="DOLLARS", help="Price of the trade, instead of the mark; "
              "once for each, in their order.")  # fmt: skip
@click.option("--block", type=click.IntRange(0), help="As of this block. Default: the latest.")
def command(account: int, trades: tuple[str, ...], place: Place, prices: tuple[str, ...], block: int | None) -> None:
    """Show what ACCOUNT would have to hold after trades, such as +2 ETH-27MAR26-3000-P -1 BTC-PERP."""
    orders = _orders(trades, prices)
    system = place.system()
    require_account(system, account)
    head = system.chain.block("latest" if block is None else block)
    instruments = [_instrument(system, symbol, head) for _, symbol, _ in orders]
    marks = system.chain.read_many([system.margin_lens.markOf(one.id) for one in instruments], head.number)
    made = [
        Trade(instrument, size, mark if price is None else price, mark, volatility)
        for (size, _, price), instrument, (mark, volatility) in zip(orders, instruments, marks, strict=True)
    ]
    result = what_if(system, account, made, head.number)
    console = Console()
    console.print(_trades(system, account, result))
    console.print(_comparison(result))
    for horizon in HORIZONS:
        console.print(_components(result, horizon, system))
    gate = result.gate
    console.print(f"[bold]{'accepted' if gate.accepts else 'refused'}[/bold]: {gate.reason}")


# ─── What was asked


def _orders(words: Sequence[str], prices: Sequence[str]) -> list[tuple[int, str, int | None]]:
    """(size [wad], symbol, price [wad] or None for the mark) of each trade."""
    if not words or len(words) % 2:
        raise PlimsollError("expected pairs of a size and a symbol, such as +2 ETH-27MAR26-3000-P -1 BTC-PERP")
    pairs = list(zip(words[::2], words[1::2], strict=True))
    if prices and len(prices) != len(pairs):
        raise PlimsollError(f"{len(prices)} --price for {len(pairs)} trades; give one for each, or none for the mark")
    shown: list[str | None] = list(prices) or [None] * len(pairs)
    return [
        (_size(size), symbol, None if price is None else _price(price))
        for (size, symbol), price in zip(pairs, shown, strict=True)
    ]


def _size(text: str) -> int:
    size = _wad(text, f"{text!r} is not a size; expected units such as +2 or -0.5")
    if size == 0:
        raise PlimsollError("a trade of size 0 changes nothing; give units to buy (+2) or to sell (-2)")
    if abs(size) > MAXIMUM_SIZE:
        raise PlimsollError(f"size {text}: {MAXIMUM_SIZE // WAD:,} units at most")
    return size


def _price(text: str) -> int:
    price = _wad(text, f"{text!r} is not a price; expected dollars such as 145.20")
    if not 0 <= price <= MAXIMUM_PRICE:
        raise PlimsollError(f"price {text}: expected 0 to {MAXIMUM_PRICE // WAD:,} dollars")
    return price


def _wad(text: str, fault: str) -> int:
    match = _NUMBER.fullmatch(text.replace("−", "-").replace(",", ""))
    if match is None:
        raise PlimsollError(fault)
    sign, whole, part = match.groups()
    return int(f"{sign}{whole}{part or '':0<18}")


def _instrument(system: System, symbol: str, head: Block) -> Instrument:
    """A listed instrument that has not expired; PlimsollError naming some that are alike otherwise."""
    try:
        instrument = system.instrument(symbol)
    except PlimsollError as fault:
        raise PlimsollError(f"{fault}{_alike(system, symbol, head)}") from None
    if not system.chain.read(system.registry.isListed(instrument.id), head.number):
        raise PlimsollError(f"{symbol} is not listed{_alike(system, symbol, head)}")
    if instrument.is_option and instrument.expiry <= head.timestamp:
        expiry = expiry_symbol(instrument.expiry)
        raise PlimsollError(f"{symbol} expired on {expiry}: it can be settled, but no longer traded")
    return instrument


def _alike(system: System, symbol: str, head: Block) -> str:
    """`; listed are …`: the nearest symbols of what may be traded."""
    query = {
        "address": system.registry.address,
        "fromBlock": hex(system.manifest.steps["registry"].block),
        "toBlock": hex(head.number),
    }
    try:
        logs = system.chain.rpc("eth_getLogs", query)
    except RpcError:
        return ""  # an endpoint that gives no logs: the fault itself is still worth telling
    events = [event for event in map(system.registry.read_event, logs) if event and event.name == "InstrumentListed"]
    listed = [Instrument.of(event.arguments["instrument"]) for event in events]
    symbols = [one.symbol(system.names) for one in listed if not one.is_option or one.expiry > head.timestamp]
    near = difflib.get_close_matches(symbol.upper(), symbols, NEAR, cutoff=0.4) or symbols[:NEAR]
    return f"; listed are {', '.join(near)}" + (" and others" if len(near) < len(symbols) else "")


# ─── What comes of it


def _trades(system: System, account: int, result: WhatIf) -> Table:
    columns = ("", "units", "price", "mark", "volatility", "paid", "fee as taker")
    table = numbers(*columns, title=f"What if account {account} traded")
    for trade, fee in zip(result.trades, result.fees, strict=True):
        table.add_row(
            trade.instrument.symbol(system.names),
            f"{trade.size / WAD:+,.6g}".replace("-", "−"),
            money(trade.price),
            money(trade.mark),
            f"{trade.volatility / WAD:.2%}" if trade.volatility else "",
            f"{money(trade.cost)} {'premium' if trade.instrument.is_option else 'on margin'}",
            "" if trade.instrument.is_option else money(fee),
        )
    return table


def _row(table: Table, label: str, before: int | None, after: int | None, style: str | None = None) -> None:
    change = "" if before is None or after is None else f"{(after - before) / WAD:+,.2f}".replace("-", "−")
    shown = ["none" if amount is None else money(amount) for amount in (before, after)]
    table.add_row(label, *shown, change, style=style)


def _comparison(result: WhatIf) -> Table:
    before, after = result.before, result.after
    table = numbers("dollars", "before", "after", "change", title=f"{before.status} → {after.status}")
    _row(table, "cash", before.cash, after.cash)
    _row(table, "equity", before.equity, after.equity)
    _row(table, "initial margin", before.initial.total, after.initial.total)
    _row(table, "maintenance margin", before.maintenance.total, after.maintenance.total)
    _row(table, "equity above initial margin", before.headroom, after.headroom, "bold")
    return table


def _components(result: WhatIf, horizon: str, system: System) -> Table:
    """What changes in each component, and the worst node after."""
    before, after = getattr(result.before, horizon), getattr(result.after, horizon)
    table = numbers(f"{horizon} margin", "before", "after", "change")
    for label, (first, second) in component_rows(before, after):
        _row(table, label, first, second, "bold" if label == "total" else None)
    if after.joint:
        table.caption = f"worst after: {node_in_words(result.after, system.names, after.worst_node, horizon)}"
    return table
