"""A push on a fork before it is made: the chain's real accounts, the real transactions, nothing at stake.

Two futures of the same second are compared: with the push and without it. Each is looked at in the block of the push
and when its ramp has ended, all feeds having said again what they said last: what differs is the push's doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.chain.abi import Contract
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Reverted, Sender
from plimsoll.chain.plan import ZERO_ADDRESS
from plimsoll.chain.system import System
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.effect import read_accounts, read_references, read_requirements
from plimsoll.governance.push import HALVINGS, IMPACT, fitted, why_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.abi import Call
    from plimsoll.governance.effect import Reading, ReferencePortfolio, Requirements, Standing
    from plimsoll.governance.push import PushPlan

NAMED = 5
"""Accounts named in a refusal."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a push does to a reference portfolio, every ramp over: what tightens at once, then what loosens, when it is
    executed; None where nothing is announced."""

    portfolio: ReferencePortfolio
    before: Requirements
    after: Requirements
    loosened: Requirements | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one account: `before`, without the push, and `now`, with it, in its block; `target`, in that
    block, were the ramp over; `end`, when it is over, and then `without`. None where margin can't be computed."""

    account: int
    before: Standing | None
    now: Standing | None
    target: Standing | None
    end: Standing | None
    without: Standing | None

    @property
    def is_hurt(self) -> bool:
        """Not liquidatable without the push, liquidatable by it."""
        if self.before is None or self.before.is_liquidatable:
            return False
        if any(one is not None and one.is_liquidatable for one in (self.now, self.target)):
            return True
        at_end = self.end is not None and self.end.is_liquidatable
        return at_end and not (self.without is not None and self.without.is_liquidatable)

    @property
    def is_called(self) -> bool:
        """It gets a margin call by the push, or would be liquidatable."""
        if self.before is None or self.before.status != "healthy":
            return self.is_hurt
        fine_without = self.without is None or self.without.status == "healthy"
        at_end = self.end is not None and self.end.status != "healthy" and fine_without
        return at_end or any(one is not None and one.status != "healthy" for one in (self.now, self.target))


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How a push went on a fork. `plan` is what went through: less far where it did too much to a reference portfolio.
    Readings as in `Fate`, at blocks of the fork."""

    planned: PushPlan
    """What was to be rehearsed."""
    plan: PushPlan
    impacts: tuple[Impact, ...]
    before: Reading
    now: Reading
    target: Reading
    end: Reading
    without: Reading

    @property
    def fates(self) -> list[Fate]:
        """Of every account."""
        readings = (self.before, self.now, self.target, self.end, self.without)
        return [Fate(account, *(reading.standing(account) for reading in readings)) for account in self.now.accounts]

    def require_harmless(self) -> None:
        """PlimsollError, naming accounts, where the push would make anybody liquidatable who is not."""
        hurt = [fate for fate in self.fates if fate.is_hurt]
        if not hurt:
            return
        named = ", ".join(_shown(fate) for fate in hurt[:NAMED])
        more = f" and {len(hurt) - NAMED} more" if len(hurt) > NAMED else ""
        raise PlimsollError(
            f"the push would make {named}{more} liquidatable by the end of its ramp; nothing was sent: "
            "wait until they have more margin, or have governance move the numbers"
        )


def _shown(fate: Fate) -> str:
    standings = [one for one in (fate.now, fate.target, fate.end) if one is not None]
    worst = max(standings, key=lambda one: one.maintenance - one.equity)
    equity, needed = worst.equity / WAD, worst.maintenance / WAD
    return f"account {fate.account} (equity {equity:,.0f}, maintenance {needed:,.0f} dollars)"


def rehearse(system: System, plan: PushPlan, sender: str, *, at: int | None = None, alive: bool = False) -> Rehearsal:
    """Push on a fork as `sender`, in a block at unix second `at` (by default the one after the chain's last).

    Reverted, PlimsollError if the steward refuses for any other reason than the effect on its reference portfolios.
    """
    with Anvil(fork_url=system.chain.url) as node:
        chain = Chain.connect(node.url, fast=True)
        chain.rpc("anvil_autoImpersonateAccount", True)
        chain.rpc("anvil_setBalance", sender, hex(10**24))
        stage = _Stage(System.load(chain, system.manifest), Sender.unlocked(sender))
        return stage.rehearse(plan, at or chain.block().timestamp + 1, alive)


class _Stage:
    """The fork."""

    def __init__(self, system: System, sender: Sender) -> None:
        self.system = system
        self.sender = sender

    def rehearse(self, plan: PushPlan, at: int, alive: bool) -> Rehearsal:
        system, chain = self.system, self.system.chain
        portfolios = read_references(system, chain.block().number)
        ramp: int = chain.read(system.risk_parameters.status()).rampDuration
        with chain.snapshot():
            block = self._mine_at(at)
            before, requirements = read_accounts(system, block), read_requirements(system, block)
            without = read_accounts(system, self._go_to(at + ramp))
        planned = plan
        plan = fitted(system, plan, self.sender.address, at=at)
        pushes = plan.tightening or alive
        block = self._send_at(at, self._call("push", plan, loosening=False)) if pushes else self._mine_at(at)
        now = read_accounts(system, block)
        target = read_accounts(system, block, at_target=True)
        after = read_requirements(system, block)
        with chain.snapshot():
            end = read_accounts(system, self._go_to(at + ramp))
        plan, loosened = self._announce(plan)
        impacts = tuple(
            Impact(one, requirements[k], after[k], loosened[k] if loosened else None)
            for k, one in enumerate(portfolios)
        )
        return Rehearsal(planned, plan, impacts, before, now, target, end, without)

    def _announce(self, plan: PushPlan) -> tuple[PushPlan, list[Requirements]]:
        """What loosens: announced, and executed when its time has come, as far as the steward would let it.

        :return: what would go through, and the reference portfolios' requirements then, if anything is announced
        """
        chain = self.system.chain
        delay: int = chain.read(self.system.steward.looseningDelay())
        for _ in range(HALVINGS):
            if not plan.schedules or not plan.loosening:
                return plan, []
            with chain.snapshot():
                start = chain.block().timestamp + 1
                self._send_at(start, self._call("schedule", plan, loosening=True))
                self._go_to(start + delay)
                try:
                    block = self._send_at(start + delay + 1, self._call("execute", plan, loosening=True))
                except Reverted as refusal:
                    why = refusal
                else:
                    return plan, read_requirements(self.system, block)
            if why.error != IMPACT:
                return plan.without_loosening(f"refused: {why.reason}"), []
            plan = plan.halved(True, why_held(why))
        return plan.without_loosening("refused: it does too much to the reference portfolios"), []

    def _call(self, function: str, plan: PushPlan, *, loosening: bool) -> Call:
        changes = plan.loosening if loosening else plan.tightening
        return self.system.steward.call(
            function, tuple(change.as_tuple() for change in changes), plan.provenance.as_tuple()
        )

    def _send_at(self, at: int, call: Call) -> int:
        self.system.chain.set_time(at)
        return self.system.chain.send(call, self.sender).block

    def _mine_at(self, at: int) -> int:
        self.system.chain.set_time(at)
        self.system.chain.mine()
        return self.system.chain.block().number

    def _go_to(self, at: int) -> int:
        """The block at unix second `at`, in which every feed says again what it said last.

        A feed that others report to cannot be made to speak, so a stand-in takes its place, with one round.
        """
        chain, artifact = self.system.chain, load("FaultyFeed")
        for address in self._feeds():
            feed = Contract("feed", address, artifact.abi)
            round_id, answer, *_ = chain.read(feed.latestRoundData())
            decimals = chain.read(feed.decimals())
            chain.rpc("anvil_setCode", address, artifact.deployed_bytecode)
            # its storage may hold anything
            for call in (feed.setMode(0), feed.setDecimals(decimals), feed.setRound(round_id + 1, answer, at)):
                chain.send(call, self.sender)
        return self._mine_at(at)

    def _feeds(self) -> Iterator[str]:
        """Every feed that prices or volatilities come from, as the oracles have them now."""
        system, chain = self.system, self.system.chain
        found: dict[str, None] = {}
        for underlying in (0, *system.underlyings.values()):
            if chain.read(system.price_oracle.hasFeed(underlying)):
                feed = chain.read(system.price_oracle.feedOf(underlying))
                found |= dict.fromkeys((feed.feed, feed.secondary))
            if underlying:
                found[chain.read(system.volatility_oracle.feedOf(underlying)).feed] = None
        return (address for address in found if address != ZERO_ADDRESS)
