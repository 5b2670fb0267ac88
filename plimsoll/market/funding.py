"""Funding rates of a perpetual: what longs paid shorts at the end of each interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.errors import PlimsollError
from plimsoll.market.checks import refuse, scan_funding
from plimsoll.market.defects import commonest_step
from plimsoll.market.frames import read_frame, require_columns
from plimsoll.market.prices import Repair, repairs_of
from plimsoll.market.series import YEAR_SECONDS

if TYPE_CHECKING:
    from plimsoll.market.series import Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """Funding of one perpetual. Arrays of shape (n,), n ≥ 2, read-only.

    ts: unix seconds of the payment, strictly rising. rate: part of the position's value that a long pays for the
    interval before ts, decimal, of either sign. interval_seconds: the commonest distance between payments.
    """

    name: str
    ts: Integers
    rate: Floats
    interval_seconds: int

    def __post_init__(self) -> None:
        self.ts.flags.writeable = False
        self.rate.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def annualised(self) -> Floats:
        """rate · year / interval, simple, a year of 365 days, shape (n,)."""
        return self.rate * (YEAR_SECONDS / self.interval_seconds)


def load_funding(path: Path | str, name: str | None = None) -> tuple[Funding, tuple[Repair, ...]]:
    """Funding from parquet or CSV with columns ts (of payment) and rate, and the repairs made.

    Raises PlimsollError for the first defect that no rule repairs.
    """
    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, ("ts", "rate"))
    if frame.height < 2:
        raise PlimsollError(f"{path}: has {frame.height} rows; funding needs at least 2")
    scan = scan_funding(frame)
    refuse(path, scan.refused)
    interval = commonest_step(scan.ts)
    if interval is None:
        raise PlimsollError(f"{path}: has one payment only; funding needs at least 2")
    return Funding(name or path.name.split(".")[0], scan.ts, scan.columns["rate"], interval), repairs_of(scan)
