"""What can be wrong with columns of market data: each defect is found, named, and given its consequence.

Every function looks at arrays and returns `Finding`s. A finding is *refused* (no loader takes the file), *repaired* (a
rule of `RULES` puts it right, in loaders that are asked to repair; strict loaders refuse it too), or *kept* (unusual,
but it may be true: a crash is not an error). Rows count from 1, without a header.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

Action = Literal["kept", "repaired", "refused"]

RULES = {
    "seconds": "a column that is milliseconds, microseconds or nanoseconds throughout is divided into seconds",
    "utc": "a date with an offset from UTC is moved to UTC by it; dates that all lack one are read as UTC",
    "sort": "rows are sorted by time",
    "identical": "of rows that repeat each other in every column the first is kept",
    "last of second": "of rounds that share one updatedAt the last is kept: it is what the feed answered from then on",
}

SPIKE_SIGMAS = 20.0
SPIKE_REVERSION = 0.75
JUMP_FACTOR = 5.0
FROZEN_ROWS = 12
_BLOCK = 100
_HOUR = 3_600
_MAX_OFFSET_HOURS = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect: where it is first, how many rows have it, what it is, and what comes of it."""

    kind: str
    column: str
    row: int
    """First row that has it, from 1."""
    count: int
    message: str
    action: Action
    rule: str = ""
    """Of RULES, if repaired."""

    @property
    def outcome(self) -> str:
        """What is done about it, in words."""
        return f"repaired by rule {self.rule}" if self.action == "repaired" else self.action


def found(
    kind: str, column: str, rows: Integers | Flags, message: str, action: Action = "refused", rule: str = ""
) -> list[Finding]:
    """A finding for the rows (0-based indices, or a mask); an empty list if there are none."""
    index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if len(index) == 0:
        return []
    return [Finding(kind, column, int(index.min()) + 1, len(index), message, action, rule)]


def moment(seconds: float) -> str:
    """Unix seconds for people."""
    return f"{datetime.fromtimestamp(float(seconds), UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """A length of time for people."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def counted(count: int, noun: str) -> str:
    """1 row, 2 rows."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


# ─── One column


def bad_cells(raw: pl.Series, *, optional: bool = False) -> tuple[Floats, list[Finding]]:
    """A column as numbers, shape (n,), with NaN for what is not a finite number, and what is wrong with it.

    Where `optional`, a missing cell is no fault.
    """
    import polars as pl

    name = raw.name
    if not (raw.dtype.is_numeric() or raw.dtype == pl.String):
        everything = np.ones(len(raw), dtype=bool)
        message = f"{name} holds {raw.dtype}, not numbers; convert the column"
        return np.full(len(raw), np.nan), found("bad column type", name, everything, message)
    empty = raw.is_null() | ((raw.str.strip_chars() == "") if raw.dtype == pl.String else False)
    values = raw.cast(pl.Float64, strict=False)
    text = (values.is_null() & ~empty).to_numpy()
    missing = empty.to_numpy()
    numbers = values.to_numpy().astype(np.float64)
    findings = []
    if text.any():
        example = str(raw[int(np.argmax(text))])[:40]
        findings += found("bad cells", name, text, f"{name} is {example!r}, not a number; correct the rows")
    if not optional:
        findings += found("missing", name, missing, f"{name} is missing; fill or drop the rows")
    infinite = ~np.isfinite(numbers) & ~missing & ~text
    if infinite.any():
        value = numbers[int(np.argmax(infinite))]
        findings += found("not finite", name, infinite, f"{name} is {value:g}; fill or drop the rows")
    return np.where(np.isfinite(numbers), numbers, np.nan), findings


def not_positive(name: str, values: Floats, *, zero_is_fine: bool = False) -> list[Finding]:
    """Zero and negative values, apart."""
    remedy = "correct or drop the rows"
    findings = found("negative", name, values < 0, f"{name} is below zero; {remedy}")
    if not zero_is_fine:
        findings += found("zero", name, values == 0, f"{name} is zero; {remedy}")
    return findings


def bar_order(columns: dict[str, Floats]) -> list[Finding]:
    """low ≤ open, close ≤ high, for the columns present. NaN is some other finding's business."""
    findings = []
    for lower, upper in (("low", "high"), ("low", "open"), ("low", "close"), ("open", "high"), ("close", "high")):
        if lower in columns and upper in columns:
            wrong = columns[lower] > columns[upper]
            if wrong.any():
                row = int(np.argmax(wrong))
                message = f"{lower} {columns[lower][row]:g} is above {upper} {columns[upper][row]:g}; correct the rows"
                findings += found("bar out of order", lower, wrong, message)
    return findings


# ─── Rows in time


def sort_rows(
    keys: Sequence[NDArray[Any]], content: NDArray[np.uint64], step: int | None = None
) -> tuple[Integers, list[Finding]]:
    """Rows in order without repetition (0-based indices), and what was wrong.

    `keys`: what makes a row one of a kind, time in microseconds first. `content`: a hash of the whole row. `step`: the
    bars' step in seconds, if they are bars.
    """
    ts = -(-keys[0] // 1_000_000)
    order = np.lexsort((content, *reversed(keys)))
    same = np.ones(len(order) - 1, dtype=bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    equal = content[order][1:] == content[order][:-1]
    identical, conflicting = order[1:][same & equal], order[1:][same & ~equal]
    kept = order[~np.append(False, same & equal)]

    late = np.flatnonzero(np.diff(keys[0]) < 0) + 1
    findings: list[Finding] = []
    if len(identical):
        message = (
            f"{counted(len(identical), 'repetition')} of an earlier row in every column, the first at "
            f"{moment(ts[min(identical)])}"
        )
        findings += found("duplicates", "ts", identical, message, "repaired", "identical")
    if len(conflicting):
        row = int(conflicting.min())
        message = (
            f"{counted(len(conflicting), 'row')} with the time of another row and other values, the first at "
            f"{moment(ts[row])}; nobody can say which is right: drop one of each"
        )
        findings += found("conflicting duplicates", "ts", conflicting, message)
    if len(late):
        row = int(late[0])
        back = float(keys[0][row - 1] - keys[0][row]) / 1e6
        if len(conflicting) and _clock_went_back(ts[late] - ts[late - 1], step):
            message = (
                f"the clock goes back from {moment(ts[row - 1])} to {moment(ts[row])} and the hours that follow are "
                "there twice, as where local times of two zones, or of summer and winter, were joined; convert to UTC"
            )
            findings += found("mixed time zones", "ts", late, message)
        else:
            message = f"time goes back {counted(len(late), 'time')}, first by {duration(back)} at {moment(ts[row])}"
            if len(conflicting):
                findings += found("wrong order", "ts", late, message + "; sort by ts")
            else:
                findings += found("wrong order", "ts", late, message, "repaired", "sort")
    return kept, findings


def _clock_went_back(backward: Integers, step: int | None) -> bool:
    """Whether every backward change is one step forward less a whole number of hours."""
    if step is None:
        return False
    moved = step - backward
    return bool(np.all((moved % _HOUR == 0) & (moved <= _MAX_OFFSET_HOURS * _HOUR)))


def commonest_step(ts: Integers) -> int | None:
    """The commonest positive distance between rows, seconds; None where there is none."""
    steps = np.diff(np.sort(ts))
    values, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) else None


def gaps(ts: Integers, rows: Integers, *, longest_usual: float, step: float) -> list[Finding]:
    """Distances above `longest_usual` seconds where rows are `step` apart. `ts` rises; `rows` are its row numbers."""
    change = np.diff(ts)
    wide = change > longest_usual
    if not wide.any():
        return []
    longest = int(np.argmax(change))
    missing = float(np.sum(np.round(change[wide] / step) - 1))
    share = missing / (missing + len(ts))
    message = (
        f"{counted(int(wide.sum()), 'gap')} where rows are usually {duration(step)} apart; the longest, "
        f"{duration(change[longest])}, begins at {moment(ts[longest])}; {share:.2%} of all rows are missing"
    )
    return found("gaps", "ts", rows[1:][wide], message, "kept")


def grid(ts: Integers, rows: Integers, step: int) -> list[Finding]:
    """Bars off the grid of their step, and a grid that moves by whole hours. `ts` rises; `rows` are its row numbers."""
    phase = ts % step
    values, counts = np.unique(phase, return_counts=True)
    usual = int(values[np.argmax(counts)])
    off = phase != usual
    if not off.any() or counts.max() < len(ts) / 3:  # without a grid nothing is off it
        return []
    moved = np.flatnonzero(np.diff(phase)) + 1
    whole_hours = step > _HOUR and bool(np.all((values - usual) % _HOUR == 0))
    if whole_hours and len(moved) <= len(ts) / 20:
        row = int(moved[0])
        hours = (int(phase[row]) - int(phase[row - 1])) // _HOUR
        local_clock = len(values) == 2 and abs(hours) in {1, step // _HOUR - 1} and len(moved) >= 2
        message = f"bars of {duration(step)} move by {hours:+d} h at {moment(ts[row])}"
        if local_clock:
            message += f" and back ({len(moved)} times), as sessions do that follow a local clock"
            return found("local clock", "ts", rows[moved], message, "kept")
        message += ", as where files of two time zones were joined; convert to UTC"
        return found("mixed time zones", "ts", rows[moved], message)
    first = int(np.argmax(off))
    message = f"{counted(int(off.sum()), 'row')} off the grid of {duration(step)}, the first at {moment(ts[first])}"
    return found("off the grid", "ts", rows[off], message, "kept")


# ─── Values in time


def local_sigma(returns: Floats) -> Floats:
    """Robust standard deviation of the returns around each, shape (n,): 1.4826 · median |r| of its block of 100 and
    that block's neighbours (Rousseeuw and Croux 1993 on the MAD), at least half of that of all moves that are not zero:
    where a price stands still every tick would be a spike."""
    size = np.abs(returns)
    moves = size[size > 0]
    if len(moves) == 0:
        return np.ones_like(size)
    floor = float(np.median(moves)) / 2
    blocks = -(-len(size) // _BLOCK)
    medians = [np.median(size[max(0, (i - 1) * _BLOCK) : (i + 2) * _BLOCK]) for i in range(blocks)]
    return np.asarray(1.4826 * np.maximum(np.repeat(medians, _BLOCK)[: len(size)], floor))


def jumps(name: str, values: Floats, ts: Integers, rows: Integers) -> list[Finding]:
    """Changes of unit (refused) and spikes (kept) in positive values; ts rises; `rows` are the row numbers.

    A change is extreme above SPIKE_SIGMAS local robust standard deviations. It is a change of unit if it is by a factor
    of at least JUMP_FACTOR and the factor is a power of ten (within 10%), or the new value is one over the old (within
    10%), or values stay at the new level. It is a spike if the next change takes back SPIKE_REVERSION of it or more.
    """
    usable = np.isfinite(values) & (values > 0)
    values, ts, rows = values[usable], ts[usable], rows[usable]
    if len(values) < 3:
        return []
    log = np.log(values)
    change = np.diff(log)
    extreme = np.abs(change) > SPIKE_SIGMAS * local_sigma(change)
    large = extreme & (np.abs(change) >= np.log(JUMP_FACTOR))
    power = change / np.log(10)
    by_ten = large & (np.abs(power - np.round(power)) < np.log10(1.1))
    inverse = large & ~by_ten & (np.abs(log[1:] + log[:-1]) < np.log(1.1))
    after = np.append(change[1:], 0.0)
    reverts = np.abs(change + after) <= (1 - SPIKE_REVERSION) * np.abs(change)
    level = large & ~by_ten & ~inverse & ~reverts
    level &= ~np.append(False, reverts[:-1] & large[:-1])  # the way back from a spike
    findings: list[Finding] = []
    for kind, mask, reading in (
        ("mixed units", by_ten, "a power of ten: the column changes its unit; give one unit"),
        ("mixed units", inverse, "to one over the price: the quotation is turned round; give one side"),
        ("mixed units", level, "and stays: another currency, unit or asset; give one"),
    ):
        if mask.any():
            i = int(np.argmax(mask))
            message = (
                f"{name} goes from {values[i]:g} to {values[i + 1]:g} at {moment(ts[i + 1])}, by a factor of "
                f"{float(np.exp(change[i])):.3g}, {reading}"
            )
            findings += found(kind, name, rows[1:][mask], message)
    spike = extreme & reverts & ~by_ten & ~inverse
    if spike.any():
        i = int(np.argmax(np.where(spike, np.abs(change), 0)))
        message = (
            f"{counted(int(spike.sum()), 'move')} of more than {SPIKE_SIGMAS:g} local standard deviations (median of "
            f"absolute returns) that the next row takes back by {SPIKE_REVERSION:.0%} or more; the largest, "
            f"{change[i]:+.1%}, is row {int(rows[i + 1]) + 1} at {moment(ts[i + 1])}; they may be real, "
            "compare another source"
        )
        findings += found("spikes", name, rows[1:][spike], message, "kept")
    return findings


def runs(mask: Flags) -> list[tuple[int, int]]:
    """(start, length) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(start), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def frozen(columns: dict[str, Floats], ts: Integers, rows: Integers) -> list[Finding]:
    """Prices that do not move for FROZEN_ROWS rows or more (kept), or ever (refused)."""
    close = columns["close"]
    if len(close) >= FROZEN_ROWS and bool(np.all(close == close[0])):
        everything = np.ones(len(close), dtype=bool)
        return found("frozen", "close", everything, f"close is {close[0]:g} in every row: it says nothing about risk")
    still = np.ones(len(close) - 1, dtype=bool)
    for values in columns.values():
        still &= values[1:] == values[:-1]
    long = [(start, length + 1) for start, length in runs(still) if length + 1 >= FROZEN_ROWS]
    if not long:
        return []
    start, length = max(long, key=lambda run: run[1])
    message = (
        f"{counted(len(long), 'time')} the price stands still for {FROZEN_ROWS} rows or more; longest {length} rows "
        f"from {moment(ts[start])}; the feed may have been down"
    )
    return found("frozen", "close", np.concatenate([rows[s : s + n] for s, n in long]), message, "kept")


def no_volume(volume: Floats, ts: Integers, rows: Integers) -> list[Finding]:
    """Rows in which nothing traded."""
    zero = volume == 0
    if not zero.any():
        return []
    start, length = max(runs(zero), key=lambda run: run[1])
    message = (
        f"{counted(int(zero.sum()), 'row')} without volume ({zero.mean():.2%}); longest {length} in a row from "
        f"{moment(ts[start])}; their prices are old ones"
    )
    return found("zero volume", "volume", rows[zero], message, "kept")
