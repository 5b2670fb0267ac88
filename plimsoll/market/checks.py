"""`plimsoll data check`: every defect of a market data file, by the kind of data its columns show it to be.

A kind is a function from a table to a `Scan`: what the file holds, read as well as it can be, and all `Finding`s about
it. Loaders that repair (plimsoll.market.prices) use the same scan, so that a check and a load cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.clocks import read_times
from plimsoll.market.defects import (
    Finding,
    bad_cells,
    bar_order,
    commonest_step,
    counted,
    found,
    frozen,
    gaps,
    grid,
    jumps,
    no_volume,
    not_positive,
    sort_rows,
)
from plimsoll.market.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from plimsoll.market.defects import Floats, Integers

PRICES = ("open", "high", "low", "close")
PERCENT = 5.0
"""A volatility above this is in percent: 500% a year has been no index's value."""
FUNDING_LIMIT = 0.05
"""A funding rate above this an interval is in percent: venues cap it at 4% (BitMEX) or less."""
IRREGULAR_GAP = 10.0
"""Where rows have no step (rounds, snapshots), a gap is this many times the median distance."""


@dataclass(slots=True)
class Scan:
    """What a table holds. `rows`: 0-based rows kept, in order of time, shape (k,); `ts`: their unix seconds, rounded
    up; `columns`: their numbers, NaN where a finding says so. All empty where time cannot be read."""

    findings: list[Finding]
    ts: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    rows: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    columns: dict[str, Floats] = field(default_factory=dict)

    @property
    def refused(self) -> list[Finding]:
        """Findings for which no loader takes the file."""
        return [finding for finding in self.findings if finding.action == "refused"]


@dataclass(frozen=True, slots=True)
class Check:
    """The findings on one file; `start` and `end` in unix seconds, None where unknown; `step` in seconds, None where
    rows come when they come."""

    path: str
    kind: str
    rows: int
    start: int | None
    end: int | None
    step: int | None
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether a loader that repairs takes the file."""
        return all(finding.action != "refused" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "kind": self.kind,
            "rows": self.rows,
            "start": self.start,
            "end": self.end,
            "step_seconds": self.step,
            "passed": self.passed,
            "findings": [
                {
                    "kind": finding.kind,
                    "column": finding.column,
                    "first_row": finding.row,
                    "count": finding.count,
                    "message": finding.message,
                    "outcome": finding.outcome,
                }
                for finding in self.findings
            ],
        }


def check_file(path: Path, kind: str | None = None) -> Check:
    """Check a parquet or CSV file; `kind` defaults to what its columns say.

    Raises PlimsollError for a file that cannot be read at all: no table, no rows, no known columns.
    """
    frame = read_frame(path)
    kind = kind or kind_of(path, frame)
    if kind not in KINDS:
        raise PlimsollError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    if frame.height == 0:
        raise PlimsollError(f"{path}: has no rows; give a file with data")
    missing = [column for column in KINDS[kind].columns if column not in frame.columns]
    if kind == "volatility" and "close" in frame.columns:
        missing = [column for column in missing if column != "dvol_close"]
    if missing:
        raise PlimsollError(
            f"{path}: has no column {missing[0]}, which {kind} data need; rename it or give another kind"
        )
    scan = KINDS[kind].scan(frame)
    known = len(scan.ts) > 0
    return Check(
        path=str(path),
        kind=kind,
        rows=frame.height,
        start=int(scan.ts[0]) if known else None,
        end=int(scan.ts[-1]) if known else None,
        step=commonest_step(scan.ts) if known and KINDS[kind].regular else None,
        findings=tuple(scan.findings),
    )


def kind_of(path: Path, frame: pl.DataFrame) -> str:
    """The kind whose columns the table has; PlimsollError, with what each needs, if there is none."""
    for kind, reader in KINDS.items():
        if set(reader.columns) <= set(frame.columns):
            return kind
    known = "; ".join(f"{kind}: {', '.join(reader.columns)}" for kind, reader in KINDS.items())
    names = ascii(", ".join(frame.columns))[1:-1][:60]
    raise PlimsollError(f"{path}: its columns ({names}) are no known kind; rename them ({known})")


def refuse(path: Path, findings: Sequence[Finding]) -> None:
    """Raise PlimsollError for the first of these findings, if there is one, and say how many follow."""
    if findings:
        first, others = findings[0], len(findings) - 1
        more = f" ({others} more: plimsoll data check {path.name})" if others else ""
        raise PlimsollError(f"{path}: row {first.row}: {first.message}{more}")


# ─── What every kind does


def _scan_rows(
    frame: pl.DataFrame,
    time: str,
    columns: dict[str, tuple[Floats, list[Finding]]],
    keys: tuple[NDArray[Any], ...] = (),
    *,
    bars: bool = False,
) -> Scan:
    """Times, order and repetition. `columns`: each with its own findings; `keys` beside time name a row."""
    import polars as pl

    micros, findings = read_times(frame[time])
    if micros is None:
        return Scan(findings + [finding for _, faults in columns.values() for finding in faults])
    if bars:
        split = micros % 1_000_000 != 0
        message = f"{time} is not a whole second; round it to the bar's end"
        findings += found("fractions of a second", time, split, message)
    for _, faults in columns.values():
        findings += faults
    values = {name: numbers for name, (numbers, _) in columns.items()}
    content = pl.DataFrame({"": micros, **values}).hash_rows(0).to_numpy()
    ts = -(-micros // 1_000_000)
    step = commonest_step(ts) if bars else None
    rows, faults = sort_rows((micros, *keys), content, step)
    return Scan(findings + faults, ts[rows], rows, {name: numbers[rows] for name, numbers in values.items()})


def _regular(scan: Scan) -> None:
    """Gaps and the grid of bars."""
    moments, first = np.unique(scan.ts, return_index=True)
    step = commonest_step(moments)
    if step is not None:
        scan.findings += gaps(moments, scan.rows[first], longest_usual=step, step=step)
        scan.findings += grid(moments, scan.rows[first], step)


def _irregular(scan: Scan) -> None:
    """Gaps where rows come when they come."""
    moments, first = np.unique(scan.ts, return_index=True)
    if len(moments) > 2:
        usual = float(np.median(np.diff(moments)))
        scan.findings += gaps(moments, scan.rows[first], longest_usual=IRREGULAR_GAP * usual, step=usual)


def _positive(raw: pl.Series, *, optional: bool = False, zero_is_fine: bool = False) -> tuple[Floats, list[Finding]]:
    values, findings = bad_cells(raw, optional=optional)
    return values, findings + not_positive(raw.name, values, zero_is_fine=zero_is_fine)


# ─── Kinds


def scan_bars(frame: pl.DataFrame) -> Scan:
    """Price bars: ts, close and, optionally, open, high, low, volume."""
    columns = {name: _positive(frame[name]) for name in PRICES if name in frame.columns}
    if "volume" in frame.columns:
        columns["volume"] = _positive(frame["volume"], zero_is_fine=True)
    scan = _scan_rows(frame, "ts", columns, bars=True)
    scan.findings += bar_order({name: values for name, (values, _) in columns.items()})
    if len(scan.ts) < 2:
        return scan
    _regular(scan)
    prices = {name: scan.columns[name] for name in PRICES if name in scan.columns}
    scan.findings += jumps("close", prices["close"], scan.ts, scan.rows)
    scan.findings += frozen(prices, scan.ts, scan.rows)
    if "volume" in scan.columns:
        scan.findings += no_volume(scan.columns["volume"], scan.ts, scan.rows)
    return scan


def _scan_volatility(frame: pl.DataFrame) -> Scan:
    """A volatility index: ts and dvol_close (or close), in percent or decimal, and its open, high, low."""
    prefix = "dvol_" if "dvol_close" in frame.columns else ""
    columns = {name: _positive(frame[prefix + name]) for name in PRICES if prefix + name in frame.columns}
    scan = _scan_rows(frame, "ts", columns, bars=True)
    scan.findings += bar_order({name: values for name, (values, _) in columns.items()})
    scan.findings += _percent(prefix + "close", columns["close"][0])
    if len(scan.ts) >= 2:
        _regular(scan)
        scan.findings += jumps(prefix + "close", scan.columns["close"], scan.ts, scan.rows)
        scan.findings += frozen(scan.columns, scan.ts, scan.rows)
    return scan


def _percent(name: str, values: Floats) -> list[Finding]:
    """Percent and decimals in one column."""
    percent, decimal = values > PERCENT, values <= PERCENT
    if not (percent.any() and decimal.any()):
        return []
    message = (
        f"{name} is above {PERCENT:g} in {int(percent.sum())} rows, as percent are, and not in {int(decimal.sum())}, "
        "as decimals are; give one"
    )
    return found("mixed units", name, percent if percent.sum() <= decimal.sum() else decimal, message)


_DERIBIT_NAMES = {
    "timestamp": "ts",
    "expiration_timestamp": "expiry",
    "underlying_price": "fwd",
    "best_bid_price": "bid",
    "best_ask_price": "ask",
    "mark_iv": "iv",
}


def _scan_chain(frame: pl.DataFrame) -> Scan:
    """An option chain: a row an option and a moment, with the columns of plimsoll.market.chains."""
    import polars as pl

    columns = {name: _positive(frame[name]) for name in ("strike", "fwd", "iv")}
    if "index" in frame.columns:
        columns["index"] = _positive(frame["index"])
    for name in ("bid", "ask"):
        columns[name] = _positive(frame[name], optional=True, zero_is_fine=True)
    expiry, faults = read_times(frame["expiry"])
    names = tuple(frame[name].cast(pl.String).fill_null("").to_numpy().astype(str) for name in ("currency", "cp"))
    strike = columns["strike"][0]
    seconds = np.zeros(frame.height, dtype=np.int64) if expiry is None else expiry // 1_000_000
    scan = _scan_rows(
        frame, "ts", {"expiry": (seconds.astype(np.float64), faults), **columns}, (*names, seconds, strike)
    )
    scan.findings += found("bad cells", "cp", ~np.isin(names[1], ("C", "P")), "cp is neither C nor P; correct the rows")
    scan.findings += _percent("iv", columns["iv"][0])
    bid, ask = columns["bid"][0], columns["ask"][0]
    crossed = bid > ask
    scan.findings += found("crossed quotes", "bid", crossed, "bid is above ask: the quote could be arbitraged", "kept")
    none = np.isnan(bid) | np.isnan(ask)
    message = f"{none.mean():.1%} of options lack a bid or an ask: nobody quotes there"
    scan.findings += found("no quote", "bid", none, message, "kept")
    if len(scan.ts) and expiry is not None:
        dead = scan.columns["expiry"] <= scan.ts
        message = "the option has expired at its snapshot; it is left out"
        scan.findings += found("expired", "expiry", scan.rows[dead], message, "kept")
        _irregular(scan)
    return scan


def scan_deribit_book(frame: pl.DataFrame) -> Scan:
    """Deribit's books of options as its API gives them: times in milliseconds, volatility in percent."""
    import polars as pl

    kind = frame["option_type"].cast(pl.String).replace({"call": "C", "put": "P"})
    currency = frame["instrument_name"].cast(pl.String).str.extract(r"^(\w+)-")
    chain = frame.select(pl.col(old).alias(new) for old, new in _DERIBIT_NAMES.items())
    zero = {
        name: pl.when(pl.col(name).cast(pl.Float64, strict=False) != 0).then(pl.col(name)) for name in ("bid", "ask")
    }
    return _scan_chain(
        chain.with_columns(**zero, currency=currency, cp=kind, strike=frame["strike"])  # a price of 0 is no quote
    )


def scan_depth(frame: pl.DataFrame) -> Scan:
    """Snapshots of an order book: best quotes and the volume behind them."""
    time = "ts" if "ts" in frame.columns else "timestamp"
    columns = {name: _positive(frame[name]) for name in ("best_bid", "best_ask")}
    for name in ("bid_volume", "ask_volume"):
        columns[name] = _positive(frame[name], zero_is_fine=True)
    scan = _scan_rows(frame, time, columns)
    bid, ask = columns["best_bid"][0], columns["best_ask"][0]
    message = "best_bid is at or above best_ask: two moments in one row; drop the rows"
    scan.findings += found("crossed book", "best_bid", bid >= ask, message)
    if len(scan.ts) >= 2:
        _irregular(scan)
        scan.findings += jumps("best_bid", scan.columns["best_bid"], scan.ts, scan.rows)
        scan.findings += frozen(
            {"close": (scan.columns["best_bid"] + scan.columns["best_ask"]) / 2, **scan.columns}, scan.ts, scan.rows
        )
    return scan


def scan_funding(frame: pl.DataFrame) -> Scan:
    """Funding rates: ts and rate, a decimal an interval."""
    values, faults = bad_cells(frame["rate"])
    scan = _scan_rows(frame, "ts", {"rate": (values, faults)}, bars=True)
    large = np.abs(values) > FUNDING_LIMIT
    if large.any():
        message = f"rate is {values[np.argmax(large)]:g}, above {FUNDING_LIMIT:.0%} an interval: percent? give decimals"
        scan.findings += found("other unit" if large.all() else "mixed units", "rate", large, message)
    if len(scan.ts) >= 2:
        _regular(scan)
    return scan


def scan_rounds(frame: pl.DataFrame) -> Scan:
    """Chainlink rounds: roundId, answer, startedAt, updatedAt and, optionally, answeredInRound."""
    import polars as pl

    answers = _positive(frame["answer"])
    started, faults = read_times(frame["startedAt"])
    identity = frame["roundId"].cast(pl.String).str.strip_chars()
    bad = (~identity.str.contains(r"^\d{1,25}$").fill_null(False)).to_numpy()
    if bad.any():
        faults += found("bad cells", "roundId", bad, "roundId is not a whole number; correct the rows")
        return Scan(faults + answers[1])
    ids = np.array([int(one) for one in identity.to_list()], dtype=object)
    phase, number = (ids >> 64).astype(np.int64), (ids & (2**64 - 1)).astype(np.int64)
    opened = np.zeros(len(ids)) if started is None else started // 1_000_000
    columns = {
        "answer": answers,
        "startedAt": (opened.astype(float), faults),
        "phase": (phase.astype(float), []),
        "number": (number.astype(float), []),  # exact: a feed has fewer than 2^53 rounds
    }
    scan = _scan_rows(frame, "updatedAt", columns, (phase, number))
    if started is not None:
        updated, _ = read_times(frame["updatedAt"])
        if updated is not None:
            message = "startedAt is after updatedAt: no round ends before it starts; correct the rows"
            scan.findings += found("wrong order", "startedAt", started > updated, message)
            scan.findings += found(
                "incomplete rounds", "updatedAt", updated == 0, "updatedAt is 0: the round has no answer; drop it"
            )
    if "answeredInRound" in frame.columns:
        given = frame["answeredInRound"].cast(pl.String).str.strip_chars().to_list()
        old = np.array([not (one or "").isdigit() or int(one) < own for one, own in zip(given, ids, strict=True)])
        scan.findings += found(
            "stale answers", "answeredInRound", old, "the answer is an earlier round's; drop the rows"
        )
    _round_order(scan)
    if len(scan.ts) >= 2:
        _irregular(scan)
        scan.findings += jumps("answer", scan.columns["answer"], scan.ts, scan.rows)
    return scan


def _round_order(scan: Scan) -> None:
    """Rounds against time: ids that go back, are missing, or share their predecessor's second."""
    if len(scan.ts) < 2:
        return
    phase, number = scan.columns["phase"], scan.columns["number"]
    same = np.diff(phase) == 0
    step = np.diff(number)
    back = np.append(False, (np.diff(phase) < 0) | (same & (step < 0)))
    message = "a later round has an earlier updatedAt: a feed never goes back; correct the rows"
    scan.findings += found("wrong order", "roundId", scan.rows[back], message)
    twice = np.append(False, same & (step == 0))
    message = "the round is there twice with other times; drop one"
    scan.findings += found("conflicting duplicates", "roundId", scan.rows[twice], message)
    holes = np.append(False, same & (step > 1))
    if holes.any():
        message = f"{counted(int(np.sum(step[same & (step > 1)] - 1)), 'round')} missing between others of a phase"
        scan.findings += found("missing rounds", "roundId", scan.rows[holes], message, "kept")
    shared = np.append(False, np.diff(scan.ts) == 0) & ~twice
    message = f"{counted(int(shared.sum()), 'round')} with the updatedAt of the one before"
    scan.findings += found("shared updatedAt", "updatedAt", scan.rows[shared], message, "repaired", "last of second")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data: the columns that show it, and its scan."""

    columns: tuple[str, ...]
    scan: Callable[[pl.DataFrame], Scan]
    regular: bool = False
    """Whether rows have a step."""


KINDS = {
    "rounds": Kind(("roundId", "answer", "startedAt", "updatedAt"), scan_rounds),
    "option book": Kind((*_DERIBIT_NAMES, "instrument_name", "option_type", "strike"), scan_deribit_book),
    "chain": Kind(("ts", "currency", "expiry", "strike", "cp", "fwd", "bid", "ask", "iv"), _scan_chain),
    "depth": Kind(("best_bid", "best_ask", "bid_volume", "ask_volume"), scan_depth),
    "volatility": Kind(("ts", "dvol_close"), _scan_volatility, regular=True),
    "funding": Kind(("ts", "rate"), scan_funding, regular=True),
    "bars": Kind(("ts", "close"), scan_bars, regular=True),
}
"""In the order in which columns are tried."""
