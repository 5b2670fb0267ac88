"""Prices from imperfect files: read with repairs by stated rules, and joined from several files of one asset.

`load_series` (plimsoll.market.series) refuses whatever is not in order. `read_prices` puts right what a rule of
plimsoll.market.defects.RULES puts right, says what it did, and refuses the rest: provenance lists its `Repair`s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.checks import refuse, scan_bars
from plimsoll.market.defects import duration, jumps, moment
from plimsoll.market.frames import read_frame, require_columns
from plimsoll.market.series import Series, make_series, resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.market.checks import Scan
    from plimsoll.market.series import Flags, Floats, Integers, Stamp

JOIN_TOLERANCE = 0.002
"""Largest difference of prices that two files of one asset may have at one time, as a part of the price."""
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Repair:
    """What a rule did to a file: the rule (of RULES), the column it is about, how many rows, and the first, from 1."""

    rule: str
    column: str
    rows: int
    first_row: int

    def as_dict(self) -> dict[str, Any]:
        """For provenance."""
        return {"rule": self.rule, "column": self.column, "rows": self.rows, "first_row": self.first_row}


def repairs_of(scan: Scan) -> tuple[Repair, ...]:
    """The repairs that a scan's findings stand for."""
    return tuple(
        Repair(finding.rule, finding.column, finding.count, finding.row)
        for finding in scan.findings
        if finding.action == "repaired"
    )


def read_prices(
    path: Path | str, name: str | None = None, *, stamp: Stamp = "close"
) -> tuple[Series, tuple[Repair, ...]]:
    """A series as `load_series` gives it, and the repairs that were made; none for a file in order.

    Raises PlimsollError for the first defect that no rule repairs, naming file, row and remedy. Gaps, spikes, frozen
    prices and bars without volume are kept as they are: they may be true.
    """
    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, ("ts", "close"))
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with prices")
    scan = scan_bars(frame)
    refuse(path, scan.refused)
    columns = dict(scan.columns)
    series = make_series(
        name or path.name.split(".")[0], scan.ts, columns.pop("close"), source=f"{path} (sorted)", **columns
    )
    if stamp == "open":
        series = replace(series, ts=series.ts + series.bar_seconds)
    return series, repairs_of(scan)


def join_series(first: Series, *others: Series, tolerance: float = JOIN_TOLERANCE) -> Series:
    """One series of several files of one asset, on the coarsest step of any of them.

    Finer bars are resampled; a bucket that a file leaves before its end is dropped, since its close is not the grid
    time's. Where several have a row, the earlier argument's is kept. Columns are those that all have. Raises
    PlimsollError where closes at one time differ by more than `tolerance` (a part of the price), where steps do not
    divide each other, and where files neither share a time nor follow each other within a day at a like price.
    """
    step = max(series.bar_seconds for series in (first, *others))
    joined = _on_grid(first, step)
    for other in others:
        joined = _join(joined, _on_grid(other, step), tolerance)
    return joined


def _on_grid(series: Series, step: int) -> Series:
    if step % series.bar_seconds:
        raise PlimsollError(
            f"{series.name}: bars of {duration(series.bar_seconds)} do not fit into {duration(step)}; resample one file"
        )
    if series.bar_seconds == step:
        return series
    coarse = resample(series, step)
    complete = np.isin(coarse.ts, series.ts)
    if np.count_nonzero(complete) < 2:
        raise PlimsollError(f"{series.name}: has fewer than 2 whole bars of {duration(step)}; give more data")
    return _rows(coarse, complete)


def _rows(series: Series, chosen: Flags | Integers) -> Series:
    columns = {column: values[chosen] for column, values in series.columns().items()}
    return Series(name=series.name, ts=series.ts[chosen], bar_seconds=series.bar_seconds, **columns)


def _join(a: Series, b: Series, tolerance: float) -> Series:
    _, of_a, of_b = np.intersect1d(a.ts, b.ts, return_indices=True)
    if len(of_a):
        apart = np.abs(np.log(a.close[of_a] / b.close[of_b])) > tolerance
        if apart.any():
            i = int(np.argmax(apart))
            raise PlimsollError(
                f"{a.name}: files to join differ at {moment(a.ts[of_a[i]])}: {a.close[of_a[i]]:g} and "
                f"{b.close[of_b[i]]:g}, and at {int(apart.sum())} of {len(of_a)} common times in all (tolerance "
                f"{tolerance:.2%}); are they of one asset, stamped alike?"
            )
    else:
        _require_sequel(*((a, b) if a.ts[0] < b.ts[0] else (b, a)))
    new = np.ones(len(b), dtype=bool)
    new[of_b] = False
    ts = np.concatenate([a.ts, b.ts[new]])
    order = np.argsort(ts, kind="stable")
    theirs = b.columns()
    columns: dict[str, Floats] = {
        column: np.concatenate([values, theirs[column][new]])[order]
        for column, values in a.columns().items()
        if column in theirs
    }
    return Series(name=a.name, ts=ts[order], bar_seconds=a.bar_seconds, **columns)


def _require_sequel(early: Series, late: Series) -> None:
    """Without a common time, the files must follow each other closely enough to show that they are one asset."""
    gap = int(late.ts[0] - early.ts[-1])
    if gap < 0:
        raise PlimsollError(f"{early.name}: files to join alternate without a common time; are they stamped alike?")
    if gap > _DAY:
        raise PlimsollError(
            f"{early.name}: files to join are {duration(gap)} apart, from {moment(early.ts[-1])}; give files that "
            "overlap or follow within a day"
        )
    close, ts = np.concatenate([early.close, late.close]), np.concatenate([early.ts, late.ts])
    seam = len(early)
    changes: Sequence[Any] = jumps("close", close, ts, np.arange(len(ts)))
    if any(change.action == "refused" and change.row == seam + 1 for change in changes):
        raise PlimsollError(
            f"{early.name}: files to join go from {early.close[-1]:g} to {late.close[0]:g} at {moment(late.ts[0])}; "
            "are they of one asset, in one unit?"
        )
