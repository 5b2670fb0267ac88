"""The keeper at work: read the state, decide, send, wait; through faults of the endpoint, until it is told to stop."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from plimsoll.chain.client import Reverted
from plimsoll.chain.state import read_state
from plimsoll.chain.system import CASH
from plimsoll.errors import PlimsollError
from plimsoll.keeper.decide import (
    Action,
    Bid,
    End,
    Flag,
    PayClaims,
    Poke,
    Policy,
    Reserve,
    SettleExpired,
    SettleExpiry,
    SettleVariation,
    ShareLoss,
    decide,
)
from plimsoll.keeper.expiry import find_round

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.abi import Call
    from plimsoll.chain.client import Receipt, Sender
    from plimsoll.chain.state import State
    from plimsoll.chain.system import System

PERMISSION_TRADE = 1
ROUNDS_A_POKE = 50
NO_ROUND = "no round of the price feed settles this expiry yet"
LONGEST_PAUSE = 60.0
"""Seconds between attempts while the endpoint does not answer."""

log = logging.getLogger(__name__)


def open_account(system: System, sender: Sender, dollars: Decimal, *, mint: bool = False) -> int:
    """A new account of the sender's holding so much cash, minted first where cash is a test token; returns its id.

    PlimsollError, before anything is sent, if the sender has not got the cash or `dollars` is finer than the token.
    """
    chain, house, cash = system.chain, system.clearing_house, system.cash
    name, entry = next((name, entry) for name, entry in system.manifest.assets.items() if entry.id == CASH)
    units = dollars * 10**entry.decimals
    if dollars < 0 or units != int(units):
        raise PlimsollError(f"{dollars} is no amount of {name}, which has {entry.decimals} decimals")
    if mint and not entry.is_test_token:
        raise PlimsollError(f"{name} is no test token, so it can't be minted: leave out --mint")
    held = chain.read(cash.balanceOf(sender.address))
    if held < units and not mint:
        raise PlimsollError(f"{sender.address} has {Decimal(held) / 10**entry.decimals:,f} {name}, not {dollars:,f}")
    events = [house.read_event(log) for log in chain.send(house.createAccount(), sender).logs]
    account = next(int(event.arguments["account"]) for event in events if event and event.name == "AccountCreated")
    if units:
        if mint:
            chain.send(cash.mint(sender.address, int(units)), sender)
        chain.send(cash.approve(house.address, int(units)), sender)
        chain.send(house.deposit(account, CASH, int(units)), sender)
    return account


@dataclass(frozen=True, slots=True)
class Outcome:
    """An action and its receipt, or why the contract refused: somebody else may have been faster."""

    action: Action
    receipt: Receipt | None
    refusal: str


class Keeper:
    """Acts for one account through one sender."""

    def __init__(self, system: System, sender: Sender, policy: Policy) -> None:
        self.system = system
        self.sender = sender
        self.policy = policy
        self._stopping = False

    def require_permission(self) -> None:
        """PlimsollError unless the sender may trade for the keeper's account."""
        house = self.system.clearing_house
        permissions = self.system.chain.read(house.permissionsOf(self.policy.account, self.sender.address))
        if not permissions & PERMISSION_TRADE:
            raise PlimsollError(f"{self.sender.address} may not trade for account {self.policy.account}")

    def wanted(self, state: State) -> list[Action]:
        """What it would do about a state, in order."""
        return decide(state, self.policy)

    def step(self, state: State | None = None) -> list[Outcome]:
        """One round, on the state as it is or as it was just read. A refusal is an outcome; RpcError if the endpoint
        fails, and what was sent stays sent."""
        outcomes = []
        for action in self.wanted(state or read_state(self.system)):
            if self._stopping:
                break
            outcomes.append(self._act(action))
        return outcomes

    def run(self, interval: float, on_round: Callable[[list[Outcome]], None] | None = None) -> None:
        """Rounds until `stop`, `interval` seconds apart, further apart while the endpoint does not answer."""
        pause = interval
        while not self._stopping:
            try:
                outcomes = self.step()
            except PlimsollError as fault:
                log.warning("%s; trying again in %.0f s", fault, pause)
                self._sleep(pause)
                pause = min(max(pause, 1.0) * 2, LONGEST_PAUSE)
                continue
            pause = interval
            if on_round is not None:
                on_round(outcomes)
            self._sleep(interval)

    def stop(self) -> None:
        """End after the transaction in flight. Safe in a signal handler."""
        self._stopping = True

    def _act(self, action: Action) -> Outcome:
        call = self._call(action)
        if call is None:
            return Outcome(action, None, NO_ROUND)
        try:
            receipt = self.system.chain.send(call, self.sender)
        except Reverted as refused:
            log.info("%s: refused: %s", action, refused.reason)
            return Outcome(action, None, refused.reason)
        log.info("%s: block %d, gas %d", action, receipt.block, receipt.gas)
        return Outcome(action, receipt, "")

    def _call(self, action: Action) -> Call | None:
        """The call that carries out an action; None where the chain does not have what it takes yet."""
        engine, house, oracle = (
            self.system.liquidation_engine,
            self.system.clearing_house,
            self.system.volatility_oracle,
        )
        own = self.policy.account
        call: Call
        match action:
            case Poke(underlying):
                call = oracle.poke(underlying, ROUNDS_A_POKE)
            case SettleExpiry(underlying, expiry):
                number = find_round(self.system, underlying, expiry)
                if number is None:
                    return None
                call = self.system.registry.settle(underlying, expiry, number)
            case SettleExpired(account):
                call = house.settleExpired(account)
            case Flag(account):
                call = engine.flag(account, own)
            case Bid(account, fraction, limit, nonce):
                call = engine.bid(account, own, fraction, limit, nonce)
            case End(account):
                call = engine.end(account)
            case Reserve(account):
                call = engine.reserve(account)
            case SettleVariation(account):
                call = house.settleVariation(account)
            case ShareLoss():
                call = house.shareLoss()
            case PayClaims(maximum):
                call = self.system.insurance_fund.payClaims(maximum)
            case _:
                call = house.sweepFees()
        return call

    def _sleep(self, seconds: float) -> None:
        """In short naps, so that a signal ends the wait at once."""
        deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < deadline:
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
