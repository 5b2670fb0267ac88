"""The invariants over a stretch of a chain: every event since the last look, then the state at one block.

Whatever acted in between (a test, a person, a keeper) needs to know nothing of it: all evidence is on the chain. Needs
one transaction a block, as a local chain mines them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from plimsoll.chain.abi import Event
from plimsoll.chain.fields import Field, Key
from plimsoll.chain.state import State, read_state
from plimsoll.chain.system import CASH, System
from simulation.invariants import (
    Checks,
    Losses,
    Payouts,
    Standing,
    check_bounds,
    check_gate,
    check_liquidation,
    check_losses,
    check_state,
    check_step,
)
from simulation.observe import Observer

OnBid = Callable[[Event, Standing, Standing], None]
"""Called with each BidSettled event and the liquidated account's standing before and after."""


class Audit:
    """Begins at the present block. `checks` counts what was compared, `seen` the events by name; `losses` adds up what
    they say of losses, `payouts` of expired options. `name` says how a message calls an account."""

    def __init__(
        self,
        system: System,
        observer: Observer | None = None,
        *,
        name: Callable[[int], str] = "account {}".format,
        on_bid: OnBid | None = None,
    ) -> None:
        self.system = system
        self.observer = observer or Observer(system)
        self.checks = Checks()
        self.losses = Losses()
        self.payouts = Payouts()
        self.seen: Counter[str] = Counter()
        self.bounds = self.observer.bounds()
        self.limits = self.observer.limits()
        self._block = system.chain.block().number
        self._name = name
        self._on_bid = on_bid

    def examine(self) -> tuple[State, list[Event]]:
        """The state now and the events since the last look. InvariantError if an invariant does not hold; PlimsollError
        where a price fails a check, since margin cannot be known then."""
        state = read_state(self.system)
        events = []
        if state.block > self._block:
            events = list(self.observer.events(self._block + 1, state.block))
        self._block = state.block
        self.seen.update(event.name for event in events)
        for event in events:
            self._check_event(event)
        check_losses(self.checks, self.losses, state.assets[CASH].scale)
        self.check_state(state)
        return state, events

    def check_state(self, state: State) -> None:
        """Everything that must be true of one block alone. Needs every event up to it examined but those that move no
        money."""
        check_state(self.checks, state, self.bounds, self.losses.shares, self.payouts)

    def _check_event(self, event: Event) -> None:
        values = event.arguments
        match event.name:
            case "Traded":
                self._check_gate("trade", event.block, values["buyer"], values["seller"])
            case "Withdrawn":
                self._check_gate("withdrawal", event.block, values["account"])
            case "Transferred":
                self._check_gate("transfer", event.block, values["from"])
            case "BidSettled":
                self._check_bid(event)
            case "LossShared":
                self.losses.shared_by_index += values["amount"]
                self.losses.shares += 1
            case "LossCovered":
                self.losses.fund_paid += values["paid"]
                self.losses.fund_payments += 1
            case "ExpiredSettled":
                self.payouts.add(values["instrument"], values["size"])
            case "ParameterChanged":
                key = Key(Field(values["field"]), values["underlying"], values["other"])
                check_bounds(self.checks, key, values["value"], self.bounds[key.field])
                check_step(self.checks, values["previous"], values["value"], self.limits[key.field], str(key))
            case "BoundsSet":
                self.bounds = self.observer.bounds()
            case "LimitsSet":
                self.limits = self.observer.limits()

    def _check_gate(self, what: str, block: int, *accounts: int) -> None:
        for account, (before, after) in zip(accounts, self.observer.standings(accounts, block), strict=True):
            check_gate(self.checks, before, after, f"{what} of {self._name(account)} in block {block}")

    def _check_bid(self, event: Event) -> None:
        values, bid = event.arguments, event.arguments["bid"]._asdict()
        account, bidder = values["account"], values["bidder"]
        (before, after), (bidder_before, bidder_after) = self.observer.standings([account, bidder], event.block)
        what = f"bid for {self._name(account)} in block {event.block}"
        check_liquidation(self.checks, bid, before, after, what)
        check_gate(self.checks, bidder_before, bidder_after, f"{what}, by {self._name(bidder)}")
        self.losses.requested += bid["cover"]
        self.losses.covered += values["covered"]
        self.losses.shared += values["shared"]
        if self._on_bid is not None:
            self._on_bid(event, before, after)
