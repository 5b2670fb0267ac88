"""What has been done to the parameters, told from the chain's events alone, oldest first.

The steward does not say whether a bundle was pushed or had waited: it had if it is the one announced before (its
report, its size, its numbers) and its time had come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from plimsoll.chain.fields import Field, Key
from plimsoll.governance.pending import SPAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from plimsoll.chain.abi import Event
    from plimsoll.chain.system import System


class Kind(StrEnum):
    """What was done."""

    PUSH = "push"
    SCHEDULE = "schedule"
    EXECUTE = "execute"
    VETO = "veto"
    GOVERNANCE = "governance"
    """Straight to RiskParameters, past the steward."""


@dataclass(frozen=True, slots=True)
class Change:
    """A number that was changed, in its on-chain integer; `previous` is None where it is only announced."""

    key: Key
    previous: int | None
    value: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history. Hashes 0x-hex; coverage a fraction; times in unix seconds."""

    kind: Kind
    block: int
    timestamp: int
    transaction: str
    sender: str
    report: str
    data: str
    market: str
    model_version: int
    coverage: float
    changes: tuple[Change, ...]
    ready_at: int | None = None
    """Of an announcement: from when it may be executed."""


def read_history(system: System) -> list[Entry]:
    """Every push, announcement, execution and veto, and what governance set itself, since the deployment."""
    events = list(_events(system))
    numbers = sorted({event.block for event in events})
    blocks = system.chain.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
    times = {number: int(block["result"]["timestamp"], 16) for number, block in zip(numbers, blocks, strict=True)}
    return tell(events, times, system.steward.address)


def _events(system: System) -> Iterator[Event]:
    """The events of steward and parameters, in order."""
    steward, parameters = system.steward, system.risk_parameters
    head = system.chain.block().number
    oldest = min(system.manifest.steps[step].block for step in ("steward", "risk_parameters"))
    for first in range(oldest, head + 1, SPAN):
        query: dict[str, Any] = {"address": [steward.address, parameters.address]}
        query |= {"fromBlock": hex(first), "toBlock": hex(min(head, first + SPAN - 1))}
        for log in system.chain.rpc("eth_getLogs", query):
            event = steward.read_event(log) or parameters.read_event(log)
            if event is not None:
                yield event


def tell(events: Iterable[Event], times: Mapping[int, int], steward: str) -> list[Entry]:
    """The history that events tell. `times`: {block: unix seconds}; `steward`: its address."""
    entries: list[Entry] = []
    waiting: Entry | None = None
    changes: list[Change] = []
    pusher, pushed = "", 0
    for event in events:
        said = event.arguments
        if event.name == "BundleScheduled":
            changes_ = tuple(Change(_key(one), None, one.value) for one in said["changes"])
            waiting = _entry(Kind.SCHEDULE, event, times, said["calibrator"], said["provenance"], changes_)
            waiting = replace(waiting, ready_at=said["readyAt"])
            entries.append(waiting)
        elif event.name == "BundleVetoed":
            if waiting is not None:
                veto = replace(waiting, kind=Kind.VETO, sender=said["guardian"], ready_at=None)
                entries.append(
                    replace(veto, block=event.block, timestamp=times[event.block], transaction=event.transaction)
                )
            waiting = None
        elif event.name == "ParametersPushed":
            pusher, pushed = said["sender"], said["changes"]
        elif event.name == "ParameterChanged":
            key = Key(Field(said["field"]), said["underlying"], said["other"])
            changes.append(Change(key, said["previous"], said["value"]))
        elif event.name == "BundleApplied":
            by_steward = said["sender"].lower() == steward.lower()
            kind = Kind.PUSH if by_steward else Kind.GOVERNANCE
            source = (said["report"], said["data"], said["market"], said["modelVersion"], said["coverage"])
            entry = _entry(kind, event, times, pusher if by_steward else said["sender"], source, tuple(changes))
            if by_steward and waiting is not None and _had_waited(entry, pushed, waiting):
                entry, waiting = replace(entry, kind=Kind.EXECUTE), None
            entries.append(entry)
            changes = []
    return entries


def _had_waited(entry: Entry, size: int, waiting: Entry) -> bool:
    """Whether what was applied, `size` changes of which some may have moved nothing, is the bundle that waited."""
    announced = {(change.key, change.value) for change in waiting.changes}
    moved = {(change.key, change.value) for change in entry.changes}
    in_time = waiting.ready_at is not None and entry.timestamp >= waiting.ready_at
    return in_time and entry.report == waiting.report and size == len(waiting.changes) and moved <= announced


def _key(change: Any) -> Key:
    return Key(Field(change.field), change.underlying, change.other)


def _entry(
    kind: Kind,
    event: Event,
    times: Mapping[int, int],
    sender: str,
    source: Sequence[Any],
    changes: tuple[Change, ...],
) -> Entry:
    report, data, market, version, coverage = source
    return Entry(
        kind,
        event.block,
        times[event.block],
        event.transaction,
        sender,
        "0x" + report.hex(),
        "0x" + data.hex(),
        "0x" + market.hex(),
        version,
        coverage / 1e6,
        changes,
    )
