"""Option chains: every quoted option of one underlying at one moment, checked.

`load_chains` reads parquet or CSV with a row an option and a moment, and refuses, with one line that names file, row
and remedy, whatever is not a chain. Columns are found by name:

    ts         unix seconds of the snapshot
    currency   underlying
    expiry     unix seconds
    strike     dollars
    cp         C or P
    fwd        forward of that expiry, dollars; the index drifts within a snapshot, the forward is the quote's own
    bid, ask   in units of the underlying (inverse options); empty where nobody quotes
    iv         the venue's mark volatility, annualised, decimal
    index      optional: spot index, dollars
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.frames import numbers, read_frame, require_columns, seconds
from plimsoll.market.series import YEAR_SECONDS, Flags, Floats, Integers

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ("ts", "currency", "expiry", "strike", "cp", "fwd", "bid", "ask", "iv")


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """One underlying's options at `ts` (unix seconds). Arrays of shape (n,), n ≥ 1, read-only, by expiry, strike, kind.

    expiry: unix seconds, after ts. strike, forward, index: dollars, > 0 (index NaN where the file has none).
    call: True for a call. bid, ask: price in units of the underlying, NaN where there is no quote, else ≥ 0.
    volatility: the venue's mark, annualised, decimal, > 0.
    """

    underlying: str
    ts: int
    expiry: Integers
    strike: Floats
    call: Flags
    forward: Floats
    bid: Floats
    ask: Floats
    volatility: Floats
    index: Floats

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __len__(self) -> int:
        return len(self.expiry)

    @property
    def tau(self) -> Floats:
        """Time to expiry, years of 365 days, shape (n,)."""
        return (self.expiry - self.ts) / YEAR_SECONDS

    @property
    def log_moneyness(self) -> Floats:
        """k = ln(strike / forward), shape (n,)."""
        return np.asarray(np.log(self.strike / self.forward))

    @property
    def carry(self) -> Floats:
        """Continuous carry of the forward over the index, a year, shape (n,); NaN without an index."""
        return np.asarray(np.log(self.forward / self.index) / self.tau)


def load_chains(
    path: Path | str, underlying: str, *, start: int | None = None, end: int | None = None
) -> tuple[Chain, ...]:
    """The underlying's chains with start ≤ ts < end (unix seconds; None is unbounded), in order of time.

    Options that have expired at the snapshot are left out. Raises PlimsollError for any fault of the file, whichever
    underlying its row belongs to, and where no chain remains.
    """
    import polars as pl

    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, _COLUMNS)
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with option quotes")
    names = frame["currency"].cast(pl.String).fill_null("").to_numpy()
    kinds = frame["cp"].cast(pl.String).fill_null("").to_numpy()
    ts, expiry = seconds(path, frame, "ts"), seconds(path, frame, "expiry")
    strike, forward, volatility = (numbers(path, frame, column) for column in ("strike", "fwd", "iv"))
    bid, ask = (numbers(path, frame, column, optional=True) for column in ("bid", "ask"))
    index = numbers(path, frame, "index") if "index" in frame.columns else np.full(len(ts), np.nan)

    _refuse(path, ~np.isin(kinds, ("C", "P")), kinds, "cp", "it must be C or P")
    for column, values in (("strike", strike), ("fwd", forward), ("iv", volatility)):
        _refuse(path, ~(np.isfinite(values) & (values > 0)), values, column, "it must be above zero")
    if "index" in frame.columns:
        _refuse(path, ~(np.isfinite(index) & (index > 0)), index, "index", "it must be above zero")
    for column, values in (("bid", bid), ("ask", ask)):
        _refuse(path, (values < 0) | np.isinf(values), values, column, "it must be zero or above, or empty")
    _refuse(path, volatility > 20, volatility, "iv", "that looks like percent, give decimals")

    chosen = (names == underlying) & (expiry > ts)
    if start is not None:
        chosen &= ts >= start
    if end is not None:
        chosen &= ts < end
    if not chosen.any():
        found = ", ".join(sorted(set(names.tolist()))[:8])
        raise PlimsollError(
            f"{path}: has no options of {underlying} from {start} to {end} (found: {found}, {ts.min()} to {ts.max()}); "
            "choose another underlying or window"
        )
    rows = np.flatnonzero(chosen)
    call = kinds == "C"
    rows = rows[np.lexsort((call[rows], strike[rows], expiry[rows], ts[rows]))]
    keys = np.column_stack((ts, expiry, strike, call))[rows]
    same = np.all(keys[1:] == keys[:-1], axis=1)
    if same.any():
        first, second = sorted(rows[np.argmax(same) :][:2].tolist())
        raise PlimsollError(
            f"{path}: row {second + 1}: repeats the option of row {first + 1} "
            f"({underlying} {expiry[first]} {strike[first]:g} {kinds[first]} at {ts[first]}); drop one"
        )
    return tuple(
        Chain(
            underlying=underlying,
            ts=int(ts[day[0]]),
            expiry=expiry[day],
            strike=strike[day],
            call=call[day],
            forward=forward[day],
            bid=bid[day],
            ask=ask[day],
            volatility=volatility[day],
            index=index[day],
        )
        for day in np.split(rows, np.flatnonzero(np.diff(ts[rows])) + 1)
    )


def _refuse(path: Path, bad: Flags, values: NDArray[Any], column: str, rule: str) -> None:
    """Raise PlimsollError naming the first bad row of a column, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        value = values[row]
        shown = repr(value) if isinstance(value, str) else f"{value:g}"
        raise PlimsollError(f"{path}: row {row + 1}: {column} is {shown}; {rule}")
