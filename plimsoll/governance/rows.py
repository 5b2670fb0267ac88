"""What a push makes of each number, worked out from values alone: rows a person can read.

A number moves towards its target by at most one step of its limits and no further than its budget; one that was moved
too recently waits; two that must stay in order hold each other back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from plimsoll.chain.fields import Field, Key, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

MILLION = 1_000_000
STEP_LIMIT = "(step limit)"

_ORDERED = (
    (Field.VOLATILITY_FLOOR, Field.VOLATILITY_STRESS),
    (Field.VOLATILITY_STRESS, Field.VOLATILITY_CAP),
    (Field.OPEN_INTEREST_LOWER, Field.OPEN_INTEREST_UPPER),
    (Field.TIER_RATE_1, Field.TIER_RATE_2),
    (Field.TIER_RATE_2, Field.TIER_RATE_3),
    (Field.TIER_RATE_3, Field.TIER_RATE_4),
    (Field.TIER_NOTIONAL_1, Field.TIER_NOTIONAL_2),
    (Field.TIER_NOTIONAL_2, Field.TIER_NOTIONAL_3),
    (Field.CORRELATION_LOW, Field.CORRELATION_HIGH),
)
"""Pairs (smaller, larger) that RiskParameters keeps in order."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the steward allows of a number now: its range [minimum, maximum], from unix second `at` on, empty where a
    guardian has frozen it. `budget` is the range that the window leaves."""

    minimum: int
    maximum: int
    at: int
    budget: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One number: what it is (`old`), what the report says (`target`), what is pushed (`new`), and why not more."""

    key: Key
    label: str
    old: int
    target: int
    new: int
    minimum: int
    """Absolute bounds."""
    maximum: int
    note: str
    allowed: Allowed | None = None
    """None where only governance may move it."""

    @property
    def change(self) -> Decimal | None:
        """(new − old) / old; None from zero, where there is no ratio."""
        return None if self.old == 0 else Decimal(self.new - self.old) / abs(self.old)

    @property
    def is_moving(self) -> bool:
        return self.new != self.old

    @property
    def is_loosening(self) -> bool:
        """It would lower margin, and so has to wait."""
        return (self.new - self.old) * self.key.field.direction < 0

    @property
    def is_limited(self) -> bool:
        """It goes one step of its limits, and not all the way."""
        return self.note.endswith(STEP_LIMIT)


def plan_rows(
    wanted: Mapping[Key, int],
    current: Mapping[Key, int],
    allowed: Mapping[Key, Allowed | None],
    bounds: Mapping[Field, tuple[int, int]],
    now: int,
    names: Mapping[int, str],
) -> tuple[Row, ...]:
    """What a push would do to each number. `allowed` is None where only governance may move it."""
    rows = {}
    for key, target in wanted.items():
        old, (minimum, maximum) = current[key], bounds[key.field]
        new, note = _next_value(key.field, old, target, allowed[key], now)
        rows[key] = Row(key, label(key, names), old, target, new, minimum, maximum, note, allowed[key])
    pairs = [
        (key, other)
        for smaller, larger in _ORDERED
        for key in rows
        if key.field is smaller and (other := replace(key, field=larger)) in rows
    ]
    # What holds one pair back may break the next of a chain. It ends: numbers only ever go back to where they were.
    while any(rows[key].new > rows[other].new for key, other in pairs):
        for key, other in pairs:
            rows[key], rows[other] = _in_order(rows[key], rows[other])
    return tuple(rows.values())


def _next_value(field: Field, old: int, target: int, allowed: Allowed | None, now: int) -> tuple[int, str]:
    if target == old:
        return old, "unchanged"
    if allowed is None:
        return old, "governance alone may move it"
    if now < allowed.at:
        return old, f"not before {datetime.fromtimestamp(allowed.at, UTC):%Y-%m-%d %H:%M} UTC"
    if allowed.minimum > allowed.maximum:
        return old, "frozen, or outside its bounds by more than a step"
    new = min(max(target, allowed.minimum), allowed.maximum)
    if new == target:
        return new, ""
    return new, f"target {shown(field, target)}, pushing {shown(field, new)} {STEP_LIMIT}"


def _in_order(smaller: Row, larger: Row) -> tuple[Row, Row]:
    """Two numbers that must stay in order; where one waits, the other goes no further than it allows."""
    if smaller.new <= larger.new:
        return smaller, larger
    # both results lie between old and new, so that no step grows
    low = min(smaller.new, max(larger.new, smaller.old))
    high = max(larger.new, low)
    return (
        replace(smaller, new=low, note=smaller.note if low == smaller.new else f"held by {larger.key.field.key}"),
        replace(larger, new=high, note=larger.note if high == larger.new else f"held by {smaller.key.field.key}"),
    )


def label(key: Key, names: Mapping[int, str]) -> str:
    """`BTC tail_initial`, `BTC/ETH correlation_low`."""
    if key.field.scope is Scope.COMMON:
        return key.field.key
    who = names[key.underlying] + (f"/{names[key.other]}" if key.other else "")
    return f"{who} {key.field.key}"


def shown(field: Field, value: int) -> str:
    """A number as a person reads it, to five digits; large ones in millions or billions."""
    human = float(field.decode(value))
    for unit, name in ((1e9, "bn"), (1e6, "m")):
        if abs(human) >= unit:
            return f"{human / unit:.5g}{name}"
    return f"{human:.5g}"


def budget_of(limits: Any, anchor: int) -> tuple[int, int]:
    """(lowest, highest) that a window leaves which began at `anchor`, as ParameterSteward works it out."""

    def sized(budget: int) -> int:
        if limits.absolute or budget == 0:
            return budget
        return max(abs(anchor) * budget // MILLION, 1)

    return anchor - sized(limits.budgetDown), anchor + sized(limits.budgetUp)
