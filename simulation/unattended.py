"""`plimsoll watch` in a replay: its own loop keeps the parameters, on the simulated clock; and what is seen of that.

`Unattended` is the calibrator that a replay is given. It can be killed for a span of time: its Watch is dropped then,
and another made afterwards that remembers nothing. `Witness` is shown every event and checks, on the chain's own
integers, what a push does to every account in its own block (PUSH); and, of every account that is flagged, whether it
would have been liquidatable had no push of the last ramp been made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.status import HORIZONS
from plimsoll.governance.watch import Watch
from simulation.invariants import InvariantError, Standing

if TYPE_CHECKING:
    from plimsoll.calibration import Report
    from plimsoll.chain.abi import Event
    from plimsoll.chain.client import Chain, Sender
    from plimsoll.chain.state import State
    from plimsoll.chain.system import System
    from simulation.faults import Span
    from simulation.observe import Observer

MILLION = 1_000_000
PUSH = "PUSH"
"""The invariant: in the block of a push no healthy account becomes liquidatable by it."""
MOVING = ("BundleApplied", "CoverageSet")
"""Events of the blocks in which parameters move: a bundle, and a multiplier of coverage."""


# ─── The loop


@dataclass(frozen=True, slots=True)
class Point:
    """How governance stood at a bar, before the loop's cycle there."""

    ts: int
    is_alive: bool
    age: float
    """Days since the last bundle."""
    age_multiplier: float
    exceptions: dict[str, int]
    """By "BTC initial" and so on, of the last 250 observations; the next two likewise."""
    observations: dict[str, int]
    coverage: dict[str, float]
    """Multiplier of the tail."""


@dataclass
class Unattended:
    """A replay's calibrator: `plimsoll.governance.watch.Watch`, a cycle a bar, but for the time that it is dead."""

    system: System
    sender: Sender
    calibrate: Callable[[int], Report]
    every: int
    """Seconds between calibrations."""
    dead: Span | None = None
    points: list[Point] = field(default_factory=list)
    done: list[tuple[int, str]] = field(default_factory=list)
    """(bar, what a cycle did)."""
    refused: list[tuple[int, str]] = field(default_factory=list)
    """(bar, what was refused, and why)."""
    started: list[int] = field(default_factory=list)
    """When a Watch was made, unix seconds."""
    _watch: Watch | None = None

    def __call__(self, ts: int, state: State) -> None:  # noqa: ARG002 - the common signature
        """One cycle, unless it is dead. PlimsollError where the endpoint fails or the sender is no calibrator."""
        is_alive = self.dead is None or ts not in self.dead
        self.points.append(read_point(self.system, ts, is_alive=is_alive))
        if not is_alive:
            self._watch = None
            return
        if self._watch is None:
            self._watch = Watch(self.system, self.sender, self.calibrate, self.every)
            self._watch.require_permission()
            self.started.append(ts)
        cycle = self._watch.step()
        self.done += [(ts, one) for one in cycle.done]
        self.refused += [(ts, one) for one in cycle.refused]


def read_point(system: System, ts: int, *, is_alive: bool) -> Point:
    """How governance stands at the latest block."""
    chain, parameters, monitor = system.chain, system.risk_parameters, system.coverage_monitor
    pairs = [(name, number, k) for name, number in system.underlyings.items() for k in range(len(HORIZONS))]
    calls = [parameters.status(), parameters.ageMultiplier()]
    status, multiplier, *found = chain.read_many(calls + [monitor.statusOf(number, k) for _, number, k in pairs])
    keys = [f"{name} {HORIZONS[k]}" for name, _, k in pairs]
    return Point(
        ts=ts,
        is_alive=is_alive,
        age=(chain.block().timestamp - status.calibratedAt) / 86_400,
        age_multiplier=multiplier / MILLION,
        exceptions={key: one.exceptions for key, one in zip(keys, found, strict=True)},
        observations={key: one.observations for key, one in zip(keys, found, strict=True)},
        coverage={key: one.multiplier / MILLION for key, one in zip(keys, found, strict=True)},
    )


def reason_of(refusal: str) -> str:
    """Why the loop refused something, without the figures of the case: what refusals are counted by."""
    if "liquidatable by the end of its ramp" in refusal:
        return "a healthy account would be liquidatable by the end of the ramp"
    named = re.search(r": (\w+)\(", refusal)  # a contract's error, after the action and the call
    if named:
        return named.group(1)
    return re.sub(r"[\d.,]*\d", "#", refusal.partition(": ")[2] or refusal).partition(";")[0]


# ─── What it does to accounts


@dataclass(frozen=True, slots=True)
class Around:
    """All accounts immediately before and after parameters moved, both at the time of that block. Rises are the largest
    of any account, parts of what was required; `equity` is the largest change of any account's equity [dollars]."""

    block: int
    ts: int
    event: str
    accounts: int
    healthy: int
    """That were not liquidatable before."""
    hurt: tuple[str, ...]
    """Of them, those that are after."""
    initial_rise: float
    maintenance_rise: float
    equity: float


def compare(
    names: Sequence[str],
    standings: Sequence[tuple[Standing, Standing]],
    *,
    block: int = 0,
    ts: int = 0,
    event: str = "",
) -> Around:
    """What moved between two standings of each account."""
    healthy = [(name, after) for name, (before, after) in zip(names, standings, strict=True) if _is_healthy(before)]

    def rise(of: Callable[[Standing], int]) -> float:
        rises = [of(after) / of(before) - 1 for before, after in standings if of(before) > 0]
        rises += [float(of(after) > 0) for before, after in standings if of(before) == 0]
        return max(rises, default=0.0)

    return Around(
        block,
        ts,
        event,
        accounts=len(standings),
        healthy=len(healthy),
        hurt=tuple(name for name, after in healthy if not _is_healthy(after)),
        initial_rise=rise(lambda one: one.initial),
        maintenance_rise=rise(lambda one: one.maintenance),
        equity=max((abs(after.equity - before.equity) for before, after in standings), default=0) / WAD,
    )


def _is_healthy(standing: Standing) -> bool:
    return standing.equity >= standing.maintenance


@dataclass(frozen=True, slots=True)
class Flagged:
    """An account that was flagged for liquidation, and how it would have stood had no push of the last ramp been made.
    Dollars."""

    ts: int
    account: str
    equity: float
    maintenance: float
    pushes: int
    """In the last ramp."""
    equity_without: float
    maintenance_without: float

    @property
    def by_push(self) -> bool:
        """It was liquidatable, and would not have been."""
        return self.equity < self.maintenance and self.equity_without >= self.maintenance_without


@dataclass
class Witness:
    """Sees every event of a replay. Needs a transaction a block, and a node that traces the storage it changed."""

    system: System
    observer: Observer
    names: Mapping[int, str]
    """Of accounts."""
    around: list[Around] = field(default_factory=list)
    flagged: list[Flagged] = field(default_factory=list)
    _moves: list[tuple[int, str]] = field(default_factory=list)
    """(unix seconds, transaction) of every block in which parameters moved."""

    def note(self, events: Sequence[Event]) -> None:
        """Look at what happened since the last time. InvariantError where a push made somebody healthy liquidatable."""
        numbers = list(self.names)
        seen = {one.block for one in self.around}
        for event in events:
            if event.name in MOVING and event.block not in seen:
                seen.add(event.block)
                ts = self.system.chain.block(event.block).timestamp
                self._moves.append((ts, event.transaction))
                standings = self.observer.standings(numbers, event.block)
                one = compare(list(self.names.values()), standings, block=event.block, ts=ts, event=event.name)
                self.around.append(one)
                if one.hurt:
                    raise InvariantError(PUSH, f"block {one.block} made {', '.join(one.hurt)} liquidatable")
            if event.name == "AccountFlagged" and not event.arguments["protective"]:
                self.flagged.append(self._flagged(event))

    def _flagged(self, event: Event) -> Flagged:
        chain, values = self.system.chain, event.arguments
        ts = chain.block(event.block).timestamp
        ramp = chain.read(self.system.risk_parameters.status(), event.block).rampDuration
        moves = [transaction for at, transaction in self._moves if ts - ramp < at <= ts]
        imagined = without(self.system, moves, values["account"], event.block)
        return Flagged(
            ts,
            self.names[values["account"]],
            values["equity"] / WAD,
            values["maintenance"] / WAD,
            len(moves),
            imagined.equity / WAD,
            imagined.maintenance / WAD,
        )


def without(system: System, transactions: Sequence[str], account: int, block: int) -> Standing:
    """An account's standing at a block, had these transactions, oldest first, not changed the parameters' storage."""
    address = system.risk_parameters.address
    slots: dict[str, str] = {}
    for transaction in reversed(transactions):  # of a slot that several changed, what the first found there
        slots |= storage_before(system.chain, transaction, address)
    call = system.margin_engine.marginOf(account)
    imagined = {address: {"stateDiff": slots}} if slots else {}
    answer = system.chain.rpc("eth_call", {"to": call.to, "data": "0x" + call.data.hex()}, hex(block), imagined)
    margin = call.decode(bytes.fromhex(answer[2:]))
    return Standing(margin.equity, margin.initial.total, margin.maintenance.total)


def storage_before(chain: Chain, transaction: str, address: str) -> dict[str, str]:
    """{slot: word} of what a transaction changed in a contract's storage, as it was before."""
    tracer = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
    trace: Any = chain.rpc("debug_traceTransaction", transaction, tracer)
    before, after = (trace[side].get(address.lower(), {}).get("storage", {}) for side in ("pre", "post"))
    if not before and not after:
        raise PlimsollError(f"the trace of {transaction} changes no parameter; use a node that traces storage")
    slots = dict.fromkeys(after, "0x" + "0" * 64)  # what was zero is told only as what it became
    slots.update(before)
    return slots
