"""The bundle that waits at the steward: announced, not yet executed, and open to a guardian's veto.

The steward keeps its hash alone; what is in it stands in the event that announced it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.chain.fields import Field, ParameterChange
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.chain.abi import Event
    from plimsoll.chain.client import BlockId, Receipt, Sender
    from plimsoll.chain.fields import Key
    from plimsoll.chain.system import System

SPAN = 10_000
"""Blocks asked for events at once: few endpoints give more."""
TOLERANCE = 50
"""One part in so many by which what waits may be looser than wanted. Reports differ by less from one to the next, and
if each small difference began the wait anew, nothing would ever loosen."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A bundle that has been announced. Times in unix seconds; `provenance` as the ABI has it."""

    bundle: bytes
    ready_at: int
    expires_at: int
    changes: tuple[ParameterChange, ...]
    provenance: tuple[bytes, bytes, bytes, int, int]

    @property
    def report(self) -> str:
        """Hash of the report it comes from, 0x-hex."""
        return "0x" + self.provenance[0].hex()

    def is_ready(self, now: int) -> bool:
        """Whether anyone may execute it."""
        return self.ready_at <= now <= self.expires_at

    def is_expired(self, now: int) -> bool:
        """Whether it is too late, and it is as if there were none."""
        return now > self.expires_at

    def is_overtaken(self, wanted: Mapping[Key, int]) -> bool:
        """Whether it would make a number looser than what is wanted now, by more than the tolerance."""
        return any(
            (wanted[change.key] - change.value) * change.field.direction > abs(wanted[change.key]) // TOLERANCE
            for change in self.changes
            if change.key in wanted
        )


def read_waiting(system: System, block: BlockId = "latest") -> Waiting | None:
    """The bundle that waits, expired or not; None if none does. PlimsollError where the endpoint has no event of it."""
    head = system.chain.block(block)
    pending = system.chain.read(system.steward.pending(), head.number)
    if not any(pending.bundle):
        return None
    for event in _announcements(system, pending.bundle, head.number):
        changes = tuple(
            ParameterChange(Field(change.field), change.underlying, change.other, change.value)
            for change in event.arguments["changes"]
        )
        provenance = tuple(event.arguments["provenance"])
        return Waiting(pending.bundle, pending.readyAt, pending.expiresAt, changes, provenance)
    raise PlimsollError(
        f"the endpoint has no event of bundle 0x{pending.bundle.hex()}, which waits; use one that keeps logs"
    )


def _announcements(system: System, bundle: bytes, head: int) -> Iterator[Event]:
    """Events that announced a bundle, the last one first."""
    steward, oldest = system.steward, system.manifest.steps["steward"].block
    for last in range(head, oldest - 1, -SPAN):
        first = max(oldest, last - SPAN + 1)
        query: dict[str, Any] = {"address": steward.address, "topics": [None, "0x" + bundle.hex()]}
        query |= {"fromBlock": hex(first), "toBlock": hex(last)}
        for log in reversed(system.chain.rpc("eth_getLogs", query)):
            event = steward.read_event(log)
            if event is not None and event.name == "BundleScheduled":
                yield event


def execute(system: System, waiting: Waiting, sender: Sender) -> Receipt:
    """Apply what waits; anyone may. Reverted if the steward refuses: not ready, vetoed, or beyond its limits by now."""
    changes = tuple(change.as_tuple() for change in waiting.changes)
    return system.chain.send(system.steward.execute(changes, waiting.provenance), sender)
