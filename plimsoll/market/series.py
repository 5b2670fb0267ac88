"""A checked time series of prices: what every other part of Plimsoll may take for granted about its data.

`load_series` reads parquet or CSV and refuses, with one line that names file, row and remedy, whatever is not a
price series. `Series` holds the result; `resample`, `Series.between` and `data_hash` are all one does with it.

Time convention: `ts` is when the close became *known* (the end of its bar). Files that stamp a bar by its opening are
read with `stamp="open"` and shifted by one bar, so that "what was known at t" is always `ts <= t`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from eth_utils.crypto import keccak
from numpy.typing import NDArray

from plimsoll.errors import PlimsollError
from plimsoll.market.defects import jumps
from plimsoll.market.frames import numbers, read_frame, require_columns, seconds

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Stamp = Literal["open", "close"]

YEAR_SECONDS = 365 * 86_400
"""The year of every annualised number in the protocol: 365 calendar days."""

_LATEST_SECONDS = 100_000_000_000  # the year 5138: anything above is milliseconds or finer
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Prices of one asset. All arrays have shape (n,), n ≥ 2, and are read-only.

    ts: unix seconds UTC at which the close was known, strictly rising. open, high, low, close: quote currency, > 0,
    low ≤ open, close ≤ high. volume: base units, ≥ 0. bar_seconds: the commonest distance between two rows.
    """

    name: str
    ts: Integers
    close: Floats
    bar_seconds: int
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None

    def __post_init__(self) -> None:
        for column in ("ts", *_PRICES, "volume"):
            array = getattr(self, column)
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ts)

    def columns(self) -> dict[str, Floats]:
        """The columns that are present, by name, without ts."""
        found = {column: getattr(self, column) for column in (*_PRICES, "volume")}
        return {column: array for column, array in found.items() if array is not None}

    def between(self, start: int | None = None, end: int | None = None) -> Series:
        """Rows with start ≤ ts < end (unix seconds; None is unbounded). Raises PlimsollError if fewer than 2 remain."""
        first = 0 if start is None else int(np.searchsorted(self.ts, start, side="left"))
        last = len(self.ts) if end is None else int(np.searchsorted(self.ts, end, side="left"))
        if last - first < 2:
            span = f"{int(self.ts[0])} to {int(self.ts[-1])}"
            raise PlimsollError(
                f"{self.name}: fewer than 2 prices from {start} to {end} (data: {span}); widen the window"
            )
        return Series(
            name=self.name,
            ts=self.ts[first:last],
            close=self.close[first:last],
            bar_seconds=self.bar_seconds,
            open=None if self.open is None else self.open[first:last],
            high=None if self.high is None else self.high[first:last],
            low=None if self.low is None else self.low[first:last],
            volume=None if self.volume is None else self.volume[first:last],
        )


def make_series(
    name: str,
    ts: Integers,
    close: Floats,
    *,
    open: Floats | None = None,  # noqa: A002 (the field's word)
    high: Floats | None = None,
    low: Floats | None = None,
    volume: Floats | None = None,
    source: str | None = None,
) -> Series:
    """Check raw arrays, each of shape (n,), and make a Series. The rows of error messages count from 1.

    `source` is what messages call the data (a file name); it defaults to `name`.
    Raises PlimsollError for the first fault found.
    """
    where = source or name
    if len(ts) < 2:
        raise PlimsollError(f"{where}: has {len(ts)} rows; a series needs at least 2")
    stamps = np.array(ts, dtype=np.int64)
    columns: dict[str, Floats] = {"close": np.array(close, dtype=np.float64)}
    for column, array in (("open", open), ("high", high), ("low", low), ("volume", volume)):
        if array is not None:
            columns[column] = np.array(array, dtype=np.float64)

    _check_stamps(where, stamps)
    for column, values in columns.items():
        if len(values) != len(stamps):
            raise PlimsollError(f"{where}: {column} has {len(values)} rows and ts has {len(stamps)}; they must agree")
        row = _first(~np.isfinite(values))
        if row is not None:
            raise PlimsollError(f"{where}: row {row + 1}: {column} is {values[row]}; fill or drop the row")
        row = _first(values < 0 if column == "volume" else values <= 0)
        if row is not None:
            least = "not be negative" if column == "volume" else "be above zero"
            raise PlimsollError(f"{where}: row {row + 1}: {column} is {values[row]:g}; it must {least}")
    _check_order(where, columns)

    steps, counts = np.unique(np.diff(stamps), return_counts=True)
    return Series(name=name, ts=stamps, bar_seconds=int(steps[np.argmax(counts)]), **columns)


def load_series(path: Path | str, name: str | None = None, *, stamp: Stamp = "close") -> Series:
    """Read a .parquet, .csv or .csv.gz file with columns ts and close and, optionally, open, high, low, volume.

    `name` defaults to the file's stem. `stamp` says which end of its bar a row's ts marks; "open" moves every row one
    bar later, to the moment its close was known. Raises PlimsollError for any fault, naming file, row and remedy; this
    is the strict reading, plimsoll.market.prices repairs by rules.
    """
    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, ("ts", "close"))
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with prices")
    ts = seconds(path, frame, "ts")
    prices = {column: numbers(path, frame, column) for column in (*_PRICES, "volume") if column in frame.columns}
    series = make_series(name or path.name.split(".")[0], ts, prices.pop("close"), source=str(path), **prices)
    for change in jumps("close", series.close, series.ts, np.arange(len(series))):
        if change.action == "refused":
            raise PlimsollError(f"{path}: row {change.row}: {change.message}")
    return replace(series, ts=series.ts + series.bar_seconds) if stamp == "open" else series


def resample(series: Series, seconds: int) -> Series:
    """Aggregate to a grid of `seconds` (multiples of it since the epoch).

    The row at grid time g has the last close with g − seconds < ts ≤ g, the first open, highest high, lowest low and
    summed volume of that bucket. A bucket without rows stays absent: a silent feed prints nothing.
    """
    if seconds < series.bar_seconds:
        raise PlimsollError(
            f"{series.name}: cannot resample {series.bar_seconds} s bars to {seconds} s; choose a longer step"
        )
    grid = -(-series.ts // seconds) * seconds
    first = np.flatnonzero(np.diff(grid, prepend=grid[0] - 1))
    last = np.append(first[1:], len(grid)) - 1
    if len(first) < 2:
        raise PlimsollError(f"{series.name}: one bucket of {seconds} s holds every row; choose a shorter step")
    return Series(
        name=series.name,
        ts=grid[first],
        close=series.close[last],
        bar_seconds=seconds,
        open=None if series.open is None else series.open[first],
        high=None if series.high is None else np.maximum.reduceat(series.high, first),
        low=None if series.low is None else np.minimum.reduceat(series.low, first),
        volume=None if series.volume is None else np.add.reduceat(series.volume, first),
    )


def data_hash(*series: Series) -> str:
    """keccak256 (0x-hex) of the series' content, whatever file format or argument order they came in.

    One series: its name, bar_seconds, and each column's name, then values, little-endian (ts int64, prices float64,
    volume float32: sources store volume so). Several: the hash of their names and hashes, sorted by name.
    """
    if len(series) == 1:
        return "0x" + keccak(_canonical(series[0])).hex()
    return combined_hash({one.name: data_hash(one) for one in series})


def combined_hash(hashes: dict[str, str]) -> str:
    """The hash (0x-hex) of a set of series from {name: data_hash}. A set of one has that one's hash."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return "0x" + keccak("\n".join(f"{name} {hashes[name]}" for name in sorted(hashes)).encode()).hex()


def _canonical(series: Series) -> bytes:
    parts = [f"{series.name}\n{series.bar_seconds}\n{len(series)}\nts\n".encode(), series.ts.astype("<i8").tobytes()]
    for column, values in series.columns().items():
        parts += [f"{column}\n".encode(), values.astype("<f4" if column == "volume" else "<f8").tobytes()]
    return b"".join(parts)


def _first(mask: Flags) -> int | None:
    """Index of the first True, or None."""
    return int(np.argmax(mask)) if mask.any() else None


def _check_stamps(where: str, ts: Integers) -> None:
    row = _first(ts > _LATEST_SECONDS)
    if row is not None:
        raise PlimsollError(
            f"{where}: row {row + 1}: ts {ts[row]} looks like milliseconds or finer; convert to seconds"
        )
    row = _first(ts < 0)
    if row is not None:
        raise PlimsollError(f"{where}: row {row + 1}: ts {ts[row]} is negative; give unix seconds")
    row = _first(np.diff(ts) <= 0)
    if row is not None:
        fault = "repeats" if ts[row + 1] == ts[row] else "is before"
        raise PlimsollError(
            f"{where}: row {row + 2}: ts {ts[row + 1]} {fault} row {row + 1}'s {ts[row]}; "
            "sort by ts and drop duplicates"
        )


def _check_order(where: str, columns: dict[str, Floats]) -> None:
    """low ≤ every other price ≤ high, for the columns present."""
    for column in ("open", "close", "high"):
        if "low" in columns and column in columns:
            row = _first(columns["low"] > columns[column])
            if row is not None:
                low, other = columns["low"][row], columns[column][row]
                raise PlimsollError(f"{where}: row {row + 1}: low {low:g} is above {column} {other:g}; correct the row")
        if "high" in columns and column in columns:
            row = _first(columns["high"] < columns[column])
            if row is not None:
                high, other = columns["high"][row], columns[column][row]
                raise PlimsollError(
                    f"{where}: row {row + 1}: high {high:g} is below {column} {other:g}; correct the row"
                )
