"""From a calibration report to a bundle of parameter changes the steward accepts.

Each number moves towards the report by at most one step of its limits, a number that was moved too recently waits, and
what is left over comes with the next push. What will happen is worked out first, as rows a person can read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field, Key, ParameterChange, Scope, fields_of
from plimsoll.chain.plan import market_hash
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.calibration.report import Report
    from plimsoll.chain.client import Receipt, Sender
    from plimsoll.chain.system import System

NOT_ALLOWED = "ParameterStewardNotAllowed"
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
    """What the steward allows of a number now: its range [minimum, maximum], from unix second `at` on."""

    minimum: int
    maximum: int
    at: int


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

    @property
    def change(self) -> Decimal | None:
        """(new − old) / old; None from zero, where there is no ratio."""
        return None if self.old == 0 else Decimal(self.new - self.old) / abs(self.old)

    @property
    def is_moving(self) -> bool:
        return self.new != self.old

    @property
    def is_limited(self) -> bool:
        """It goes one step of its limits, and not all the way."""
        return self.note.endswith(STEP_LIMIT)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a bundle comes from; hashes are 32 bytes, coverage in millionths."""

    report: bytes
    data: bytes
    market: bytes
    model_version: int
    coverage: int

    @classmethod
    def of(cls, report: Report) -> Provenance:
        """The record that goes on-chain with a report's bundle."""
        return cls(
            report=bytes.fromhex(report.hash[2:]),
            data=bytes.fromhex(report.data_hash[2:]),
            market=market_hash(report.market),
            model_version=report.model_version,
            coverage=math.floor(report.coverage * MILLION),
        )

    def as_tuple(self) -> tuple[bytes, bytes, bytes, int, int]:
        """As the ABI wants it."""
        return (self.report, self.data, self.market, self.model_version, self.coverage)


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What a push would do."""

    rows: tuple[Row, ...]
    provenance: Provenance

    @property
    def changes(self) -> tuple[ParameterChange, ...]:
        """The bundle: the numbers that move."""
        return tuple(
            ParameterChange(row.key.field, row.key.underlying, row.key.other, row.new)
            for row in self.rows
            if row.is_moving
        )


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did; `receipt` is None where there was nothing to change."""

    plan: PushPlan
    receipt: Receipt | None


def targets(report: Report, underlyings: Mapping[str, int]) -> dict[Key, int]:
    """What a report says of the numbers on-chain, rounded against accounts. PlimsollError if it is of other assets."""
    if set(report.assets) != set(underlyings):
        raise PlimsollError(
            f"the report is of {', '.join(sorted(report.assets))}; this house trades {', '.join(sorted(underlyings))}"
        )
    values: dict[Key, int] = {}
    for name, parameters in report.assets.items():
        for field in fields_of(Scope.UNDERLYING):
            value = getattr(parameters, field.key, None)  # a report holds what its model has fitted
            if value is not None:
                values[Key(field, underlyings[name])] = field.encode(value)
    for entry in report.correlation:
        a, b = (underlyings[name] for name in entry.pair)
        values[Key.pair(Field.CORRELATION_LOW, a, b)] = Field.CORRELATION_LOW.encode(entry.low)
        values[Key.pair(Field.CORRELATION_HIGH, a, b)] = Field.CORRELATION_HIGH.encode(entry.high)
    return dict(sorted(values.items()))


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
        rows[key] = Row(key, label(key, names), old, target, new, minimum, maximum, note)
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


def plan_push(system: System, report: Report) -> PushPlan:
    """Compare a report with the chain. PlimsollError if it is of another market, other assets or other horizons."""
    chain, steward, parameters = system.chain, system.steward, system.risk_parameters
    _require_market(system, report)
    wanted = targets(report, system.underlyings)
    head = chain.block()
    keys = list(wanted)
    fields = sorted({key.field for key in keys})
    read = chain.read_many(
        [parameters.get(int(key.field), key.underlying, key.other) for key in keys]
        + [parameters.boundsOf(int(field)) for field in fields]
        + [parameters.get(int(field), 0, 0) for field in (Field.HORIZON_INITIAL, Field.HORIZON_MAINTENANCE)],
        head.number,
    )
    current = dict(zip(keys, read, strict=False))
    bounds = {f: (b.minimum, b.maximum) for f, b in zip(fields, read[len(keys) :], strict=False)}
    _require_horizons(report, read[-2], read[-1])
    limits = chain.try_read_many(
        [steward.allowed(int(key.field), key.underlying, key.other) for key in keys], head.number
    )
    names = {number: name for name, number in system.underlyings.items()}
    allowed = {key: _allowed(limit) for key, limit in zip(keys, limits, strict=True)}
    rows = plan_rows(wanted, current, allowed, bounds, head.timestamp, names)
    return PushPlan(rows, Provenance.of(report))


def _allowed(limit: Any) -> Allowed | None:
    if isinstance(limit, Reverted):
        if limit.error == NOT_ALLOWED:
            return None
        raise limit
    return Allowed(*limit)


def _require_market(system: System, report: Report) -> None:
    accepted = system.chain.read(system.steward.market())
    if accepted != market_hash(report.market):
        mine = system.manifest.market
        what = mine if accepted == market_hash(mine) else "0x" + accepted.hex()
        raise PlimsollError(
            f"the report is for market {report.market}; this house accepts reports for {what}: calibrate for that, "
            "or have governance accept the other (ParameterSteward.setMarket)"
        )


def _require_horizons(report: Report, initial: int, maintenance: int) -> None:
    horizons = report.configuration["horizons"]
    if horizons != {"initial": initial, "maintenance": maintenance}:
        raise PlimsollError(
            f"the report is fitted to horizons {horizons}; this house margins over "
            f"{initial} s (initial) and {maintenance} s (maintenance): calibrate for those"
        )


def send_push(system: System, plan: PushPlan, sender: Sender) -> PushResult:
    """Send a planned push, all of it or nothing; without changes nothing is sent."""
    if not plan.changes:
        return PushResult(plan, None)
    call = system.steward.push(tuple(change.as_tuple() for change in plan.changes), plan.provenance.as_tuple())
    return PushResult(plan, system.chain.send(call, sender))


def push(system: System, report: Report, sender: Sender) -> PushResult:
    """Plan and send. Reverted if the steward refuses, PlimsollError if the report does not belong to this house."""
    return send_push(system, plan_push(system, report), sender)
