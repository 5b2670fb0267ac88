"""Snapshots of an order book: what it cost to cross it, and how much there was to trade against.

Two kinds of file. `load_depth`: one market over time, best quotes and the volume of the levels that were recorded.
`load_option_books`: Deribit's option books at one moment, every level of each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.checks import refuse, scan_depth, scan_deribit_book
from plimsoll.market.frames import numbers, read_frame, require_columns
from plimsoll.market.prices import Repair, repairs_of

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from plimsoll.market.series import Flags, Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """Snapshots of one book. Arrays of shape (n,), n ≥ 1, read-only.

    ts: unix seconds by which the snapshot was known, strictly rising. bid, ask: best quotes, quote currency, bid < ask.
    bid_volume, ask_volume: base units over all levels recorded, ≥ 0.
    """

    name: str
    ts: Integers
    bid: Floats
    ask: Floats
    bid_volume: Floats
    ask_volume: Floats

    def __post_init__(self) -> None:
        _freeze(self)

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def mid(self) -> Floats:
        """(bid + ask) / 2, quote currency, shape (n,)."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Floats:
        """(ask − bid) / mid, a part of the price, shape (n,). Crossing the book costs half of it."""
        return (self.ask - self.bid) / self.mid

    @property
    def value(self) -> Floats:
        """The thinner side's volume at mid, quote currency, shape (n,): what a seller or buyer in need can count on."""
        return np.minimum(self.bid_volume, self.ask_volume) * self.mid


@dataclass(frozen=True, slots=True, eq=False)
class OptionBooks:
    """Books of one underlying's options at about one moment. Arrays of shape (n,), n ≥ 1, read-only.

    ts, expiry: unix seconds. strike, forward: dollars, > 0. call: True for a call. bid, ask: best quotes in units of
    the underlying, NaN where nobody quotes. bid_volatility, ask_volatility: of those quotes, annualised, decimal, NaN
    without one. bid_amount, ask_amount: contracts over all levels, ≥ 0. levels: levels of both sides.
    """

    ts: Integers
    expiry: Integers
    strike: Floats
    call: Flags
    forward: Floats
    bid: Floats
    ask: Floats
    bid_volatility: Floats
    ask_volatility: Floats
    bid_amount: Floats
    ask_amount: Floats
    levels: Integers

    def __post_init__(self) -> None:
        _freeze(self)

    def __len__(self) -> int:
        return len(self.ts)


def load_depth(path: Path | str, name: str | None = None) -> tuple[Depth, tuple[Repair, ...]]:
    """Snapshots from parquet or CSV with columns ts or timestamp (dates without an offset are read as UTC), best_bid,
    best_ask, bid_volume and ask_volume, and the repairs made. Of snapshots within one second the last is kept.

    Raises PlimsollError for the first defect that no rule repairs.
    """
    path = Path(path)
    frame = read_frame(path)
    time = "ts" if "ts" in frame.columns else "timestamp"
    require_columns(path, frame, (time, "best_bid", "best_ask", "bid_volume", "ask_volume"))
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with snapshots")
    scan = scan_depth(frame)
    refuse(path, scan.refused)
    last = np.append(np.diff(scan.ts) > 0, True)
    columns = {column: values[last] for column, values in scan.columns.items()}
    depth = Depth(
        name=name or path.name.split(".")[0],
        ts=scan.ts[last],
        bid=columns["best_bid"],
        ask=columns["best_ask"],
        bid_volume=columns["bid_volume"],
        ask_volume=columns["ask_volume"],
    )
    return depth, repairs_of(scan)


def load_option_books(path: Path | str) -> tuple[OptionBooks, tuple[Repair, ...]]:
    """Option books as Deribit's API names their fields (times in milliseconds, volatility in percent, `bids` and `asks`
    as lists of [price, amount]), and the repairs made: times to seconds.

    Raises PlimsollError for the first defect that no rule repairs.
    """
    path = Path(path)
    frame = read_frame(path)
    names = ("timestamp", "expiration_timestamp", "strike", "option_type", "underlying_price", "instrument_name")
    require_columns(path, frame, (*names, "best_bid_price", "best_ask_price", "bid_iv", "ask_iv", "bids", "asks"))
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with option books")
    scan = scan_deribit_book(frame)
    refuse(path, scan.refused)
    rows, columns = scan.rows, scan.columns
    bids, asks = (_levels(path, frame[column]) for column in ("bids", "asks"))
    quoted = {column: numbers(path, frame, column, optional=True) for column in ("bid_iv", "ask_iv")}
    volatility = {column: np.where(values > 0, values, np.nan)[rows] / 100 for column, values in quoted.items()}
    books = OptionBooks(
        ts=scan.ts,
        expiry=columns["expiry"].astype(np.int64),
        strike=columns["strike"],
        call=(frame["option_type"].to_numpy() == "call")[rows],
        forward=columns["fwd"],
        bid=columns["bid"],
        ask=columns["ask"],
        bid_volatility=volatility["bid_iv"],
        ask_volatility=volatility["ask_iv"],
        bid_amount=bids[0][rows],
        ask_amount=asks[0][rows],
        levels=(bids[1] + asks[1])[rows],
    )
    return books, repairs_of(scan)


def _levels(path: Path, column: pl.Series) -> tuple[Floats, NDArray[np.int64]]:
    """Amount over all levels, and their number, of each book of a side; shapes (n,)."""
    amounts, counts = np.zeros(len(column)), np.zeros(len(column), dtype=np.int64)
    for row, text in enumerate(column.to_list()):
        try:
            levels = [(float(price), float(amount)) for price, amount in json.loads(text or "[]")]
        except (TypeError, ValueError):
            levels = [(-1.0, 0.0)]
        if not all(0 < price < np.inf and 0 < amount < np.inf for price, amount in levels):
            raise PlimsollError(
                f"{path}: row {row + 1}: {column.name} is {str(text)[:40]!r}, not a list of [price, amount] above "
                "zero; correct the row"
            )
        amounts[row], counts[row] = sum(amount for _, amount in levels), len(levels)
    return amounts, counts


def _freeze(snapshots: Depth | OptionBooks) -> None:
    for field in fields(snapshots):
        value = getattr(snapshots, field.name)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
