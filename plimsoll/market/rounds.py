"""Chainlink rounds: a feed's whole history as an oracle's reader would have seen it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.checks import refuse, scan_rounds
from plimsoll.market.frames import read_frame, require_columns
from plimsoll.market.prices import Repair, repairs_of
from plimsoll.market.series import Series, make_series

if TYPE_CHECKING:
    from plimsoll.market.series import Floats, Integers

DECIMALS = 8
"""Of Chainlink's dollar feeds, where a file does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """One feed's rounds in order of id. Arrays of shape (n,), n ≥ 2, read-only.

    phase, number: the upper 16 and lower 64 bits of the round id (the aggregator's place behind its proxy, and its own
    count). answer: quote currency, > 0. started_at, updated_at: unix seconds, neither falls; updated_at is when the
    answer became known, and rounds may share it.
    """

    name: str
    phase: Integers
    number: Integers
    answer: Floats
    started_at: Integers
    updated_at: Integers

    def __post_init__(self) -> None:
        for array in (self.phase, self.number, self.answer, self.started_at, self.updated_at):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.phase)

    def round_id(self, index: int) -> int:
        """The id that `getRoundData` takes."""
        return int(self.phase[index]) << 64 | int(self.number[index])

    def series(self) -> Series:
        """Answers as prices known at updated_at. Of rounds that share a second the last counts: it is what the feed
        answered from then on."""
        last = np.append(np.diff(self.updated_at) > 0, True)
        return make_series(self.name, self.updated_at[last], self.answer[last])


def load_rounds(path: Path | str, name: str | None = None) -> tuple[Rounds, tuple[Repair, ...]]:
    """Rounds from parquet or CSV with columns roundId, answer (an integer), startedAt, updatedAt and, optionally,
    answeredInRound and decimals (DECIMALS where absent), and the repairs: order, repetition, unit of time; rounds that
    share a second are counted and kept (`Rounds.series` leaves them out).

    Raises PlimsollError for the first defect that no rule repairs.
    """
    path = Path(path)
    frame = read_frame(path)
    require_columns(path, frame, ("roundId", "answer", "startedAt", "updatedAt"))
    if frame.height < 2:
        raise PlimsollError(f"{path}: has {frame.height} rows; a feed's history needs at least 2")
    scan = scan_rounds(frame)
    refuse(path, scan.refused)
    decimals = _decimals(path, frame["decimals"].unique().to_list()) if "decimals" in frame.columns else DECIMALS
    number = scan.columns["number"].astype(np.int64)
    rounds = Rounds(
        name=name or path.name.split(".")[0],
        phase=scan.columns["phase"].astype(np.int64),
        number=number,
        answer=scan.columns["answer"] / 10.0**decimals,
        started_at=scan.columns["startedAt"].astype(np.int64),
        updated_at=scan.ts,
    )
    return rounds, repairs_of(scan)


def _decimals(path: Path, values: list[object]) -> int:
    if len(values) != 1 or not str(values[0]).isdigit() or int(str(values[0])) > 36:
        raise PlimsollError(f"{path}: decimals must be one whole number up to 36 throughout; give one feed a file")
    return int(str(values[0]))
