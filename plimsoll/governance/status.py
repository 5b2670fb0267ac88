"""How governance stands at one block: numbers in force and as pushed, age, coverage, limits, what waits, freezes.

Read in a handful of batches; nothing is worked out here that a contract says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field, Key, Scope, fields_of
from plimsoll.config import WAD
from plimsoll.governance.effect import read_references
from plimsoll.governance.pending import read_waiting
from plimsoll.governance.push import read_allowed
from plimsoll.governance.rows import MILLION, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.chain.system import System
    from plimsoll.governance.effect import ReferencePortfolio
    from plimsoll.governance.pending import Waiting
    from plimsoll.governance.rows import Allowed

HORIZONS = ("initial", "maintenance")
"""In the order of ICoverageMonitor.Horizon."""
NOBODY = 2**16 - 1
"""An id that no underlying has: what is frozen there is the field, and not a market."""
COMMON = "common"
"""The numbers of no market, which can be frozen as one."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number in its on-chain integer. In force it differs from what was pushed while its ramp runs, and where
    coverage or age multiply it."""

    key: Key
    pushed: int
    in_force: int
    ramp_ends: int | None
    """Unix seconds; None where it is not on its way."""
    allowed: Allowed | None
    """None where only governance may move it."""
    window_ends: int | None
    """Unix seconds; None where no window runs."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The last one, when it was pushed (unix seconds), and what its age does; times in seconds, multiples as such."""

    report: str
    at: int
    bundles: int
    age: int
    multiplier: float
    grace: int
    rate: float
    """A day."""
    cap: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """The chain's backtest of one horizon. `multiplier` is what RiskParameters works with; `due_at` is None where no
    observation is open."""

    underlying: int
    horizon: str
    observations: int
    exceptions: int
    multiplier: float
    due_at: int | None


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A reference portfolio: what it needs now [dollars], None where a price is not good, and by what its requirements
    were multiplied in the window that runs."""

    portfolio: ReferencePortfolio
    initial: float | None
    maintenance: float | None
    initial_effect: float
    maintenance_effect: float
    window_ends: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything, at one block."""

    chain_id: int
    block: int
    timestamp: int
    ramp: int
    """Seconds a ramp takes that begins now."""
    loosening_delay: int
    """Seconds."""
    calibration: Calibration
    numbers: tuple[Number, ...]
    coverage: tuple[Coverage, ...]
    portfolios: tuple[Portfolio, ...]
    waiting: Waiting | None
    frozen_fields: tuple[Field, ...]
    frozen_markets: tuple[str, ...]
    names: dict[int, str]

    def to_json(self) -> dict[str, Any]:
        """As plain values; numbers of parameters in the units a person would write."""
        return {
            "chain_id": self.chain_id,
            "block": self.block,
            "timestamp": self.timestamp,
            "ramp_seconds": self.ramp,
            "loosening_delay_seconds": self.loosening_delay,
            "calibration": asdict(self.calibration),
            "parameters": [self._number(number) for number in self.numbers],
            "coverage": [{**asdict(one), "underlying": self.names[one.underlying]} for one in self.coverage],
            "references": [self._portfolio(one) for one in self.portfolios],
            "pending": self._waiting(),
            "frozen": {"fields": [field.key for field in self.frozen_fields], "markets": list(self.frozen_markets)},
        }

    def _number(self, number: Number) -> dict[str, Any]:
        def plain(value: int) -> float:
            return float(number.key.field.decode(value))

        limits: dict[str, Any] | None = None
        if number.allowed is not None:
            may = number.allowed
            limits = {"minimum": plain(may.minimum), "maximum": plain(may.maximum), "allowed_at": may.at}
            limits["budget"] = [plain(end) for end in may.budget] if may.budget else None
            limits["window_ends"] = number.window_ends
        return {
            "name": label(number.key, self.names),
            "pushed": plain(number.pushed),
            "in_force": plain(number.in_force),
            "ramp_ends": number.ramp_ends,
            "limits": limits,
        }

    def _portfolio(self, one: Portfolio) -> dict[str, Any]:
        values = asdict(one)
        return {**values.pop("portfolio"), **values, "underlying": self.names.get(one.portfolio.underlying)}

    def _waiting(self) -> dict[str, Any] | None:
        if self.waiting is None:
            return None
        return {
            "bundle": "0x" + self.waiting.bundle.hex(),
            "report": self.waiting.report,
            "ready_at": self.waiting.ready_at,
            "expires_at": self.waiting.expires_at,
            "is_expired": self.waiting.is_expired(self.timestamp),
            "changes": {
                label(change.key, self.names): float(change.field.decode(change.value))
                for change in self.waiting.changes
            },
        }


def read_status(system: System) -> Status:
    """How governance stands at the latest block. PlimsollError where the endpoint lacks the event of what waits."""
    head = system.chain.block()
    at, now = head.number, head.timestamp
    parameters, steward = system.risk_parameters, system.steward
    schedule, age, latest, delay = system.chain.read_many(
        [parameters.status(), parameters.ageMultiplier(), parameters.latest(), steward.looseningDelay()], at
    )
    names = system.names
    numbers = _read_numbers(system, at, now)
    fields, markets = _read_frozen(system, at)
    return Status(
        chain_id=system.chain.chain_id,
        block=at,
        timestamp=now,
        ramp=schedule.rampDuration,
        loosening_delay=delay,
        calibration=Calibration(
            report="0x" + latest.provenance.report.hex(),
            at=schedule.calibratedAt,
            bundles=latest.count,
            age=now - schedule.calibratedAt,
            multiplier=age / MILLION,
            grace=schedule.grace,
            rate=schedule.ageRate / MILLION,
            cap=schedule.ageCap / MILLION,
        ),
        numbers=numbers,
        coverage=_read_coverage(system, at),
        portfolios=_read_portfolios(system, at),
        waiting=read_waiting(system, at),
        frozen_fields=fields,
        frozen_markets=markets,
        names=names,
    )


def keys_of(underlyings: Sequence[int]) -> list[Key]:
    """Every number that a house of these underlyings may have."""
    keys = [Key(field) for field in fields_of(Scope.COMMON)]
    keys += [Key(field, one) for one in sorted(underlyings) for field in fields_of(Scope.UNDERLYING)]
    keys += [Key(field, a, b) for a, b in combinations(sorted(underlyings), 2) for field in fields_of(Scope.PAIR)]
    return keys


def _read_numbers(system: System, block: int, now: int) -> tuple[Number, ...]:
    chain, parameters, steward = system.chain, system.risk_parameters, system.steward

    def read(keys: Sequence[Key], call: Any) -> dict[Key, Any]:
        calls = [call(int(key.field), key.underlying, key.other) for key in keys]
        return dict(zip(keys, chain.read_many(calls, block), strict=True))

    known = keys_of(list(system.names))
    is_set = read(known, parameters.isSet)
    keys = [key for key in known if is_set[key]]
    pushed, in_force, ramps = (read(keys, call) for call in (parameters.get, parameters.inForce, parameters.rampOf))
    allowed, windows = read_allowed(system, keys, block), read(keys, steward.windowOf)
    numbers = []
    for key in keys:
        ends = ramps[key].startedAt + ramps[key].duration
        is_moving = now < ends and in_force[key] != pushed[key]
        window = windows[key].endsAt or None
        numbers.append(Number(key, pushed[key], in_force[key], ends if is_moving else None, allowed[key], window))
    return tuple(numbers)


def _read_coverage(system: System, block: int) -> tuple[Coverage, ...]:
    names, monitor = sorted(system.names), system.coverage_monitor
    scales = system.chain.read_many([system.risk_parameters.coverageOf(one) for one in names], block)
    pairs = [(one, place) for one in names for place in range(len(HORIZONS))]
    found = system.chain.read_many([monitor.statusOf(*pair) for pair in pairs], block)
    in_force = dict(zip(names, scales, strict=True))
    return tuple(
        Coverage(
            one,
            HORIZONS[place],
            state.observations,
            state.exceptions,
            getattr(in_force[one], HORIZONS[place]) / MILLION,
            state.dueAt or None,
        )
        for (one, place), state in zip(pairs, found, strict=True)
    )


def _read_portfolios(system: System, block: int) -> tuple[Portfolio, ...]:
    steward = system.steward
    portfolios = read_references(system, block)
    (needed,) = system.chain.try_read_many([steward.requirements()], block)
    effects = system.chain.read_many([steward.effectOf(index) for index in range(len(portfolios))], block)
    result = []
    for index, (one, effect) in enumerate(zip(portfolios, effects, strict=True)):
        money: tuple[float | None, float | None] = (None, None)
        if not isinstance(needed, Reverted):
            money = (needed[index].initial / WAD, needed[index].maintenance / WAD)
        result.append(Portfolio(one, *money, effect.initial / WAD, effect.maintenance / WAD, effect.endsAt or None))
    return tuple(result)


def _read_frozen(system: System, block: int) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Fields and markets; a frozen market freezes all of its fields, a frozen field is so in every market."""
    fields, names = list(Field), {0: COMMON, **system.names}
    found = system.chain.read_many([system.steward.isFrozen(int(field), NOBODY) for field in fields], block)
    frozen = tuple(field for field, is_frozen in zip(fields, found, strict=True) if is_frozen)
    free = next((field for field in fields if field not in frozen), None)
    if free is None:
        return frozen, ()
    found = system.chain.read_many([system.steward.isFrozen(int(free), one) for one in names], block)
    return frozen, tuple(name for name, is_frozen in zip(names.values(), found, strict=True) if is_frozen)
