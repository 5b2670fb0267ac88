"""The unattended loop: calibrate on time, execute what has waited, push within limits, keep the chain's own backtest.

`decide` says what to do, from what was read and nothing else; `Watch` reads, does it, and goes on. Whatever it
remembers saves work and no more: all that matters is on-chain, so it may be killed at any instant and started anew.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plimsoll.chain.client import Reverted, RpcError
from plimsoll.errors import PlimsollError
from plimsoll.governance.pending import execute
from plimsoll.governance.push import plan_push, ready, send_push
from plimsoll.governance.rehearsal import rehearse
from plimsoll.governance.status import HORIZONS
from plimsoll.keeper.expiry import PHASE_SHIFT, rounds_around

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.calibration.report import Report
    from plimsoll.chain.client import Sender
    from plimsoll.chain.system import System
    from plimsoll.governance.pending import Waiting
    from plimsoll.governance.push import PushPlan

LONGEST_PAUSE = 300.0
"""Seconds between attempts while the endpoint does not answer, at most."""
RETRY = 3_600
"""Seconds before what was refused, a push or the data of a calibration, is tried again."""
STEPS = 3
"""A cycle calibrates, executes and pushes, each on the state that the one before has left."""
STEWARD_ERRORS = "ParameterSteward"

log = logging.getLogger(__name__)


# ─── What to do


@dataclass(frozen=True, slots=True)
class Calibrate:
    """Fit the parameters anew."""

    def __str__(self) -> str:
        return "calibrate"


@dataclass(frozen=True, slots=True)
class Execute:
    """Apply what has waited."""

    waiting: Waiting

    def __str__(self) -> str:
        return f"execute {len(self.waiting.changes)} changes"


@dataclass(frozen=True, slots=True)
class Push:
    """Send what the report moves; `alive`: also where that is nothing, to say that the calibration lives."""

    plan: PushPlan
    alive: bool

    def __str__(self) -> str:
        return f"push {len(self.plan.tightening)} changes, announce {len(self.plan.loosening)}"


@dataclass(frozen=True, slots=True)
class Observe:
    """Close observations, each with the feed's round, or open them: (underlying, horizon as ICoverageMonitor counts,
    round), in one transaction."""

    updates: tuple[tuple[int, int, int], ...]

    def __str__(self) -> str:
        return f"observe {', '.join(f'{HORIZONS[horizon]} coverage of {one}' for one, horizon, _ in self.updates)}"


Action = Calibrate | Execute | Push | Observe


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision rests on. Times in unix seconds."""

    observations: tuple[Observe, ...]
    """What can be closed or opened now, none or one."""
    calibrated_at: int | None
    """When the report at hand was made, or last tried; None where there is none."""
    plan: PushPlan | None
    """None without a report."""
    ready: Waiting | None
    """What waits, its time has come, and the report does not want tighter."""
    is_new_data: bool
    """The report rests on other data than the last bundle on-chain."""
    pushed_at: int
    """When the last bundle came."""
    held_until: int
    """A push was refused: not before then."""


def decide(now: int, facts: Facts, every: int) -> tuple[Action, ...]:
    """What to do at unix second `now`, in order; calibrations are `every` so many seconds.

    What follows from another report or from an execution is decided when they are done.
    """
    actions: tuple[Action, ...] = facts.observations
    if facts.calibrated_at is None or now >= facts.calibrated_at + every:
        return (*actions, Calibrate())
    if facts.ready is not None:
        return (*actions, Execute(facts.ready))
    if facts.plan is None or now < facts.held_until:
        return actions
    # stale data must not pass for a living calibration, however often it is fitted
    alive = facts.is_new_data and now >= facts.pushed_at + every
    if not facts.plan.is_empty or alive:
        return (*actions, Push(facts.plan, alive))
    return actions


# ─── Doing it


@dataclass(frozen=True, slots=True)
class Cycle:
    """What a cycle did, in words, and what was refused."""

    block: int
    timestamp: int
    done: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.timestamp, UTC)
        said = [*self.done, *(f"refused: {why}" for why in self.refused)]
        return f"{at:%Y-%m-%d %H:%M:%S} block {self.block}: {'; '.join(said) or 'nothing to do'}"


@dataclass
class Watch:
    """One house, one calibrator. `calibrate` fits a report as of a unix second."""

    system: System
    sender: Sender
    calibrate: Callable[[int], Report]
    every: int
    """Seconds between calibrations."""
    rehearses: bool = True
    """Each push on a fork first."""
    _report: Report | None = None
    _tried_at: int | None = None
    _held_until: int = 0
    _stuck: bytes = b""
    """The bundle that waits and was refused."""
    _stopping: bool = field(default=False, repr=False)

    def require_permission(self) -> None:
        """PlimsollError unless the sender may push."""
        steward = self.system.steward
        selector = steward.function("push").selector
        manager = self.system.access_manager
        answer = self.system.chain.read(manager.canCall(self.sender.address, steward.address, selector))
        if not answer[0]:
            raise PlimsollError(f"{self.sender.address} is no calibrator: have governance grant it the role")

    def step(self) -> Cycle:
        """One cycle. A refusal is part of it; RpcError if the endpoint fails, and what was sent stays sent."""
        done: list[str] = []
        refused: list[str] = []
        updates = tuple(self._updates())
        observations = (Observe(updates),) if updates else ()
        for _ in range(STEPS):
            now = self.system.chain.block().timestamp
            actions = decide(now, self._facts(observations), self.every)
            for action in actions:
                if self._stopping:
                    break
                try:
                    done += self._act(action, now)
                except RpcError:
                    raise
                except PlimsollError as refusal:
                    if isinstance(action, Calibrate) and self._report is None:
                        raise  # there is nothing to go on with
                    refused.append(f"{action}: {refusal}")
                    self._refused(action, refusal, now)
            observations = ()
            if self._stopping or not any(isinstance(action, Calibrate | Execute) for action in actions):
                break
        head = self.system.chain.block()
        return Cycle(head.number, head.timestamp, tuple(done), tuple(refused))

    def run(self, interval: float, on_cycle: Callable[[Cycle], None]) -> None:
        """Cycles until `stop`, `interval` seconds apart, further apart while the endpoint does not answer.

        PlimsollError before the first cycle is done, unless it is the endpoint's: then the command is wrong.
        """
        pause, is_first = interval, True
        while not self._stopping:
            try:
                cycle = self.step()
            except PlimsollError as fault:
                if self._stopping:
                    break
                if is_first and not isinstance(fault, RpcError):
                    raise
                log.warning("%s; trying again in %.0f s", fault, pause)
                self._sleep(pause)
                pause = min(max(pause, 1.0) * 2, max(LONGEST_PAUSE, interval))
                continue
            pause, is_first = interval, False
            on_cycle(cycle)
            self._sleep(interval)

    def stop(self) -> None:
        """End after the transaction in flight. Safe in a signal handler."""
        self._stopping = True

    # ─── Reading

    def _facts(self, observations: tuple[Observe, ...]) -> Facts:
        system, parameters = self.system, self.system.risk_parameters
        latest, schedule = system.chain.read_many([parameters.latest(), parameters.status()])
        plan = waiting = None
        if self._report is not None:
            plan = plan_push(system, self._report)
            if plan.waiting is not None and plan.waiting.bundle == self._stuck:
                plan = replace(plan, is_overtaken=True)  # as good as none: another takes its place
            waiting = ready(system, plan)
        return Facts(
            observations=observations,
            calibrated_at=self._tried_at,
            plan=plan,
            ready=waiting,
            is_new_data=self._report is not None and "0x" + latest.provenance.data.hex() != self._report.data_hash,
            pushed_at=schedule.calibratedAt,
            held_until=self._held_until,
        )

    def _updates(self) -> Iterator[tuple[int, int, int]]:
        """Each underlying and horizon whose observation can be closed or opened now, with the round for it."""
        chain, monitor = self.system.chain, self.system.coverage_monitor
        pairs = [(one, horizon) for one in sorted(self.system.names) for horizon in range(len(HORIZONS))]
        found = chain.read_many([monitor.statusOf(*pair) for pair in pairs])
        now = chain.block().timestamp
        for (underlying, horizon), state in zip(pairs, found, strict=True):
            if state.dueAt <= now:
                latest: int = chain.read(self.system.price_oracle.latestRound(underlying))
                phase = latest >> PHASE_SHIFT << PHASE_SHIFT
                # the latest does where none is open, or the feed is another than it was
                rounds = [latest]
                if state.dueAt:
                    rounds += rounds_around(self.system, underlying, state.dueAt - 1, phase, latest)
                # the contract alone says which it is, and whether there is a price
                tried = chain.try_read_many([monitor.update(underlying, horizon, one) for one in rounds])
                good = (one for one, answer in zip(rounds, tried, strict=True) if not isinstance(answer, Reverted))
                if (round_id := next(good, None)) is not None:
                    yield underlying, horizon, round_id

    # ─── Acting

    def _act(self, action: Action, now: int) -> list[str]:
        """Carry out an action; what was done, in words. PlimsollError where it is refused."""
        match action:
            case Calibrate():
                self._tried_at = now
                self._report = self.calibrate(now)
                self._held_until = 0
                return [f"calibrated {self._report.hash[:18]}…"]
            case Execute(waiting):
                execute(self.system, waiting, self.sender)
                return [f"executed {len(waiting.changes)} changes that waited"]
            case Push(plan, alive):
                return self._push(plan, alive, now)
            case Observe(updates):
                return self._observe(updates)

    def _push(self, plan: PushPlan, alive: bool, now: int) -> list[str]:
        system, report = self.system, self._report
        assert report is not None, "a plan comes from a report"  # noqa: S101 - for the type checker
        if self.rehearses:
            rehearsal = rehearse(system, plan, self.sender.address, alive=alive)
            rehearsal.require_harmless()
            if self._stopping:
                return []
            again = plan_push(system, report)
            if replace(again, is_overtaken=plan.is_overtaken) != plan:
                return ["the chain has moved meanwhile: the push is planned again in the next cycle"]
            plan = rehearsal.plan
        receipts = send_push(system, plan, self.sender, alive=alive).receipts
        if not receipts:
            self._held_until = now + RETRY
            return []
        said = []
        if plan.tightening or alive:
            said.append(f"pushed {len(plan.tightening)} changes")
        if plan.schedules:
            said.append(f"announced {len(plan.loosening)} changes")
        return said

    def _observe(self, updates: tuple[tuple[int, int, int], ...]) -> list[str]:
        monitor = self.system.coverage_monitor
        receipt = self.system.chain.send(monitor.updateMany(updates), self.sender)
        outcomes = {}
        for event in map(monitor.read_event, receipt.logs):
            if event is None:
                continue
            values = event.arguments
            horizon = values["underlying"], values["horizon"]
            if event.name == "ObservationClosed":
                outcome = "an exception" if values["isException"] else "inside"
                outcomes[horizon] = f"{outcome}, {values['exceptions']} exceptions"
            else:
                outcomes.setdefault(horizon, "opened")
        return [
            f"{self.system.names[underlying]} {HORIZONS[horizon]} coverage: {outcome}"
            for (underlying, horizon), outcome in outcomes.items()
        ]

    def _refused(self, action: Action, refusal: PlimsollError, now: int) -> None:
        """What a refusal means for the cycles to come."""
        if isinstance(action, Push):
            self._held_until = now + RETRY
        if isinstance(action, Calibrate):  # the data may be being written
            self._tried_at = now - self.every + min(self.every, RETRY)
        # a feed that is silent passes; what is beyond the steward's limits does not
        by_steward = isinstance(refusal, Reverted) and refusal.error.startswith(STEWARD_ERRORS)
        if isinstance(action, Execute) and by_steward:
            self._stuck = action.waiting.bundle

    def _sleep(self, seconds: float) -> None:
        """In short naps, so that a signal ends the wait at once."""
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
