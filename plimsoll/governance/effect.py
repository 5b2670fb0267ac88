"""What numbers do: to the reference portfolios that bound a push, and to every account there is.

`Reading` is how things stand at one block, either as the chain has it or as it would have it once every ramp had ended,
everything else as at that block. The second needs no transaction: an eth_call imagines TargetReader in the place of the
steward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from plimsoll.chain.abi import Contract, read_revert
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Reverted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.chain.abi import Call
    from plimsoll.chain.system import System

TOGETHER = 20
"""Accounts read in one call at the target: far below what nodes let a call burn."""
_ELSEWHERE: str = to_checksum_address(keccak(text="plimsoll: the steward's own code")[:20])


@dataclass(frozen=True, slots=True)
class Standing:
    """An account [wad dollars]."""

    equity: int
    initial: int
    maintenance: int

    @property
    def is_liquidatable(self) -> bool:
        """equity < maintenance."""
        return self.equity < self.maintenance

    @property
    def status(self) -> str:
        """healthy, margin call or liquidatable."""
        if self.is_liquidatable:
            return "liquidatable"
        return "margin call" if self.equity < self.initial else "healthy"


@dataclass(frozen=True, slots=True)
class ReferencePortfolio:
    """One of the steward's, with its limits, fractions of a requirement."""

    name: str
    underlying: int
    maximum_rise: float
    maximum_fall: float


@dataclass(frozen=True, slots=True)
class Requirements:
    """Of a reference portfolio [wad dollars]."""

    initial: int
    maintenance: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How things stand at a block. An account whose margin cannot be computed has the reason for it in its place."""

    block: int
    timestamp: int
    accounts: Mapping[int, Standing | str]

    def standing(self, account: int) -> Standing | None:
        """None where its margin cannot be computed, or it did not exist."""
        found = self.accounts.get(account)
        return found if isinstance(found, Standing) else None


def read_accounts(system: System, block: int, *, at_target: bool = False) -> Reading:
    """Every account's margin at a block; `at_target`: as if every ramp had ended."""
    head = system.chain.block(block)
    count = system.chain.read(system.clearing_house.accountCount(), block)
    calls = [system.margin_engine.marginOf(account) for account in range(1, count + 1)]
    results = read_at_target(system, calls, block) if at_target else system.chain.try_read_many(calls, block)
    accounts = {account: _standing(result) for account, result in enumerate(results, 1)}
    return Reading(block, head.timestamp, accounts)


def _standing(result: Any) -> Standing | str:
    if isinstance(result, Reverted):
        return result.reason
    return Standing(result.equity, result.initial.total, result.maintenance.total)


def read_references(system: System, block: int) -> list[ReferencePortfolio]:
    """The steward's reference portfolios."""
    found = system.chain.read(system.steward.references(), block)
    return [
        ReferencePortfolio(_text(one.name), one.underlying, one.maximumRise / 1e6, one.maximumFall / 1e6)
        for one in found
    ]


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode(errors="replace")


def read_requirements(system: System, block: int) -> list[Requirements]:
    """What the reference portfolios need once every ramp has ended, in the order of `read_references`: what the steward
    compares when it is pushed to. Reverted where a price they need is not good."""
    (found,) = read_at_target(system, [system.steward.requirements()], block)
    if isinstance(found, Reverted):
        raise found
    return [Requirements(one.initial, one.maintenance) for one in found]


def read_at_target(system: System, calls: Sequence[Call], block: int) -> list[Any]:
    """Results of calls as if every ramp had ended; a `Reverted` in the place of each that a contract refused."""
    steward = system.steward.address
    reader = Contract.at("TargetReader", steward)
    code: dict[str, bytes] = {
        steward: bytes.fromhex(load("TargetReader").deployed_bytecode[2:]),
        _ELSEWHERE: system.chain.code(steward),
    }
    parts = [calls[start : start + TOGETHER] for start in range(0, len(calls), TOGETHER)]
    queries = [
        reader.read(system.risk_parameters.address, _ELSEWHERE, tuple((call.to, call.data) for call in part))
        for part in parts
    ]
    answers = system.chain.try_read_many(queries, block, codes=[code] * len(queries))
    results: list[Any] = []
    for part, answer in zip(parts, answers, strict=True):
        if isinstance(answer, Reverted):
            raise answer  # the reader itself: the steward has lost its role
        results += [
            call.decode(one.data) if one.ok else Reverted(str(call), read_revert(one.data))
            for call, one in zip(part, answer, strict=True)
        ]
    return results
