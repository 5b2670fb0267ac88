"""What CoverageMonitor counts, in plain integers: outcomes of the range against every round of a feed.

An observation starts at the latest round when it opens and closes with the first round at or after its horizon; a move
beyond z·σ·√(time/year) is an exception; the last 250 outcomes are held against the Basel Committee's traffic light
(`plimsoll.validation.coverage`). The contract keeps two words; this keeps lists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from plimsoll.market.series import YEAR_SECONDS
from plimsoll.validation.coverage import BASEL_DAYS, basel_addition

MILLION = 10**6
DEVIATION_UNIT = 10**9
"""A deviation of one."""

FACTOR = 3
"""What the Committee's additions are added to."""


@dataclass(frozen=True, slots=True)
class Round:
    """A usable round of one phase. `price` in any unit, `at` unix seconds, never falling from a round to the next."""

    price: int
    at: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A closed observation: from which round to which (their places in the list), and whether it was an exception."""

    opened: int
    closed: int
    is_exception: bool


def deviation_up(level: int, tail: int) -> int:
    """z·σ a year, rounded up [1e-9]. `level`: σ [wad]. `tail`: z [millionths]."""
    return -(-level * tail // 10**15)


def is_exception(start: int, end: int, deviation: int, elapsed: int) -> bool:
    """|end / start − 1| > deviation · √(elapsed / year), in exact rationals.

    The contract rounds the range up at its eighteenth decimal: a move within 1e-18 beyond the range is none there.
    """
    move = Fraction(end, start) - 1
    return move**2 * YEAR_SECONDS > Fraction(deviation, DEVIATION_UNIT) ** 2 * elapsed


def multiplier_up(exceptions: int) -> int:
    """1 + addition / 3 [millionths], rounded up."""
    addition = Fraction(str(basel_addition(exceptions)))  # as published, in hundredths
    return MILLION + ceil(addition * MILLION / FACTOR)


@dataclass(slots=True)
class CoverageCount:
    """One underlying and one horizon. `rounds` may grow between updates; `horizon` in seconds."""

    rounds: Sequence[Round]
    horizon: int
    outcomes: list[Outcome] = field(default_factory=list)
    """Every one, from the first."""
    _window: deque[bool] = field(default_factory=lambda: deque(maxlen=BASEL_DAYS))
    _opened: int | None = None
    """The round that the open observation starts from."""
    _due_at: int = 0
    _deviation: int = 0

    @property
    def observations(self) -> int:
        """Outcomes in the window."""
        return len(self._window)

    @property
    def exceptions(self) -> int:
        """Exceptions in the window."""
        return sum(self._window)

    @property
    def multiplier(self) -> int:
        """What the tail is multiplied by [millionths]."""
        return multiplier_up(self.exceptions)

    def closing_round(self) -> int | None:
        """The place of the round that closes the open observation: the first at or after the time due.

        None where there is none yet, or no observation.
        """
        if self._opened is None:
            return None
        place = bisect_left(self.rounds, self._due_at, key=lambda one: one.at)
        return place if place < len(self.rounds) else None

    def can_update(self) -> bool:
        """Whether there is an observation to open or to close."""
        return self._opened is None or self.closing_round() is not None

    def update(self, now: int, deviation: int) -> Outcome | None:
        """Close the open observation, if there is one, and open the next at the latest round.

        `now`: unix seconds. `deviation`: z·σ now, as `deviation_up` gives it. ValueError where there is nothing to
        close yet.
        """
        outcome = None
        if self._opened is not None:
            closed = self.closing_round()
            if closed is None:
                raise ValueError(f"no round at or after {self._due_at}")
            start, end = self.rounds[self._opened], self.rounds[closed]
            moved = is_exception(start.price, end.price, self._deviation, end.at - start.at)
            outcome = Outcome(self._opened, closed, moved)
            self.outcomes.append(outcome)
            self._window.append(moved)
        self._opened, self._due_at, self._deviation = len(self.rounds) - 1, now + self.horizon, deviation
        return outcome
