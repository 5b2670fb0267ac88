"""From a calibration report to bundles of parameter changes that the steward accepts.

Each number goes as far as its limits allow (plimsoll.governance.rows), and what is left over comes with the next push.
What tightens margin is pushed at once, what loosens it is announced and waits.

Nothing is remembered here: whoever is stopped between two transactions plans again from the chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field, Key, ParameterChange, Scope, fields_of
from plimsoll.chain.plan import market_hash
from plimsoll.errors import PlimsollError
from plimsoll.governance.pending import execute, read_waiting
from plimsoll.governance.rows import MILLION, Allowed, Row, budget_of, plan_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plimsoll.calibration.report import Report
    from plimsoll.chain.abi import Call
    from plimsoll.chain.client import Receipt, Sender
    from plimsoll.chain.system import System
    from plimsoll.governance.pending import Waiting

NOT_ALLOWED = "ParameterStewardNotAllowed"
IMPACT = "ParameterStewardImpact"
HALVINGS = 5
"""How often a bundle is halved that does too much to a reference portfolio."""


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
    """What a push would do. `waiting`: the bundle that waits already, if it has not expired."""

    rows: tuple[Row, ...]
    provenance: Provenance
    waiting: Waiting | None = None
    is_overtaken: bool = False
    """What waits would make a number looser than the report wants it, beyond the tolerance; another takes its place."""

    @property
    def tightening(self) -> tuple[ParameterChange, ...]:
        """What is pushed at once: numbers that raise margin, or that do neither or both."""
        return tuple(_change(row) for row in self.rows if row.is_moving and not row.is_loosening)

    @property
    def loosening(self) -> tuple[ParameterChange, ...]:
        """What has to wait."""
        return tuple(_change(row) for row in self.rows if row.is_loosening)

    @property
    def schedules(self) -> bool:
        """Whether a bundle is announced. One that waits keeps its place and its time unless it is overtaken."""
        return self.is_overtaken or (self.waiting is None and bool(self.loosening))

    @property
    def is_empty(self) -> bool:
        """Nothing would be sent."""
        return not self.tightening and not self.schedules

    def halved(self, loosening: bool, why: str) -> PushPlan:
        """The plan with all that tightens, or all that loosens, going half as far."""
        return self._with(loosening, lambda row: row.old + int((row.new - row.old) / 2), why)

    def without_loosening(self, why: str) -> PushPlan:
        """The plan with nothing to announce."""
        return self._with(True, lambda row: row.old, why)

    def _with(self, loosening: bool, value: Callable[[Row], int], why: str) -> PushPlan:
        # between old and new no two numbers come out of order
        rows = (
            replace(row, new=value(row), note=why) if row.is_moving and row.is_loosening is loosening else row
            for row in self.rows
        )
        return replace(self, rows=tuple(rows))

    def calls(self, system: System, *, alive: bool = False) -> tuple[Call, ...]:
        """The transactions, in order; `alive`: push even a bundle of nothing, which says that the calibration lives."""
        calls: list[Call] = []
        source = self.provenance.as_tuple()
        if self.tightening or alive:
            calls.append(system.steward.push(tuple(change.as_tuple() for change in self.tightening), source))
        if self.schedules:
            calls.append(system.steward.schedule(tuple(change.as_tuple() for change in self.loosening), source))
        return tuple(calls)


def _change(row: Row) -> ParameterChange:
    return ParameterChange(row.key.field, row.key.underlying, row.key.other, row.new)


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did: a receipt for each transaction, none where there was nothing to change."""

    plan: PushPlan
    receipts: tuple[Receipt, ...]
    executed: Receipt | None = None
    """Of the bundle that had waited."""


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


def plan_push(system: System, report: Report) -> PushPlan:
    """Compare a report with the chain. PlimsollError if it is of another market, other assets or other horizons."""
    chain, parameters = system.chain, system.risk_parameters
    require_market(system, report.market)
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
    names = {number: name for name, number in system.underlyings.items()}
    rows = plan_rows(wanted, current, read_allowed(system, keys, head.number), bounds, head.timestamp, names)
    waiting = read_waiting(system, head.number)
    if waiting is not None and waiting.is_expired(head.timestamp):
        waiting = None
    overtaken = waiting is not None and waiting.is_overtaken(wanted)
    return PushPlan(rows, Provenance.of(report), waiting, overtaken)


def read_allowed(system: System, keys: Sequence[Key], block: int) -> dict[Key, Allowed | None]:
    """What the steward allows of each number; None where only governance may move it."""
    chain, steward = system.chain, system.steward
    fields = sorted({key.field for key in keys})
    limits = dict(zip(fields, chain.read_many([steward.limitsOf(int(field)) for field in fields], block), strict=True))
    ids = [(int(key.field), key.underlying, key.other) for key in keys]
    ranges = chain.try_read_many([steward.allowed(*one) for one in ids], block)
    windows = chain.read_many([steward.windowOf(*one) for one in ids], block)
    allowed: dict[Key, Allowed | None] = {}
    for key, found, window in zip(keys, ranges, windows, strict=True):
        if isinstance(found, Reverted):
            if found.error != NOT_ALLOWED:
                raise found
            allowed[key] = None
            continue
        allowed[key] = Allowed(
            found.minimum, found.maximum, found.allowedAt, budget_of(limits[key.field], window.anchor)
        )
    return allowed


def require_market(system: System, market: str) -> None:
    """PlimsollError unless the steward takes reports for that market."""
    accepted = system.chain.read(system.steward.market())
    if accepted != market_hash(market):
        mine = system.manifest.market
        what = mine if accepted == market_hash(mine) else "0x" + accepted.hex()
        raise PlimsollError(
            f"the report is for market {market}; this house accepts reports for {what}: calibrate for that, "
            "or have governance accept the other (ParameterSteward.setMarket)"
        )


def _require_horizons(report: Report, initial: int, maintenance: int) -> None:
    horizons = report.configuration["horizons"]
    if horizons != {"initial": initial, "maintenance": maintenance}:
        raise PlimsollError(
            f"the report is fitted to horizons {horizons}; this house margins over "
            f"{initial} s (initial) and {maintenance} s (maintenance): calibrate for those"
        )


def send_push(system: System, plan: PushPlan, sender: Sender, *, alive: bool = False) -> PushResult:
    """Send a planned push: what tightens, all of it or nothing, then the announcement of what loosens."""
    return PushResult(plan, tuple(system.chain.send(call, sender) for call in plan.calls(system, alive=alive)))


def fitted(system: System, plan: PushPlan, sender: str, *, at: int | None = None) -> PushPlan:
    """The plan going no further than the reference portfolios let it: what tightens is halved until the steward would
    take it from `sender` (at unix second `at`, where the node can imagine that). Reverted if it refuses otherwise."""
    for _ in range(HALVINGS):
        if not plan.tightening:
            return plan
        call = system.steward.push(tuple(change.as_tuple() for change in plan.tightening), plan.provenance.as_tuple())
        (answer,) = system.chain.try_read_many([call], sender=sender, time=at)
        if not isinstance(answer, Reverted):
            return plan
        if answer.error != IMPACT:
            raise answer
        plan = plan.halved(False, why_held(answer))
    raise PlimsollError("what tightens does too much to the reference portfolios; have governance move the numbers")


def why_held(refusal: Reverted) -> str:
    """Which reference portfolio keeps a bundle from going further."""
    name = bytes.fromhex(str(refusal.arguments["name"])[2:]).rstrip(b"\0").decode(errors="replace")
    return f"held by what it does to {name}"


def ready(system: System, plan: PushPlan) -> Waiting | None:
    """The bundle whose time has come, once all its numbers may move again, unless the report wants them tighter by more
    than the tolerance."""
    waiting, now = plan.waiting, system.chain.block().timestamp
    if waiting is None or plan.is_overtaken or not waiting.is_ready(now):
        return None
    moved = {change.key for change in waiting.changes}
    resting = (row for row in plan.rows if row.key in moved and row.allowed is not None and now < row.allowed.at)
    return waiting if next(resting, None) is None else None


def push(system: System, report: Report, sender: Sender) -> PushResult:
    """Execute what has waited, plan, and send what the steward takes: all that is needed, again and again, unattended.

    Where no number tightens and the data are new, a bundle of nothing says that the calibration lives. Reverted if the
    steward refuses, PlimsollError if the report does not belong to this house.
    """
    plan, executed, stuck = plan_push(system, report), None, False
    if (waiting := ready(system, plan)) is not None:
        try:
            executed = execute(system, waiting, sender)
        except Reverted:
            stuck = True  # beyond its limits by now: another takes its place
        plan = plan_push(system, report)
    if stuck:
        plan = replace(plan, is_overtaken=True)
    is_new = system.chain.read(system.risk_parameters.latest()).provenance.data != plan.provenance.data
    result = send_push(system, fitted(system, plan, sender.address), sender, alive=is_new)
    return replace(result, executed=executed)
