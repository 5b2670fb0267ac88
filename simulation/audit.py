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
    Roundings,
    Standing,
    cash_left,
    check_bounds,
    check_gate,
    check_leaving,
    check_liquidation,
    check_losses,
    check_protection,
    check_state,
    check_step,
    payoff_of,
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
        checks: Checks | None = None,
    ) -> None:
        self.system = system
        self.observer = observer or Observer(system)
        self.checks = checks or Checks()
        begin = read_state(system)
        self.losses = Losses(pending_before=begin.pending_loss, owed_before=begin.fund_owed)
        self.roundings = Roundings(before=max(0, cash_left(begin)))
        for account in begin.accounts.values():  # of an expiry that was paid out in part the other part is still held
            for position in account.positions.values():
                if payoff_of(begin, position.instrument) is not None:
                    sizes = self.roundings.payouts.sizes
                    sizes[position.instrument] = sizes.get(position.instrument, 0) - position.size
        self.seen: Counter[str] = Counter()
        self.bounds = self.observer.bounds()
        self.limits = self.observer.limits()
        self._block = begin.block
        self._name = name
        self._on_bid = on_bid
        self._scale = begin.assets[CASH].scale

    @property
    def payouts(self) -> Payouts:
        """What expired options have been paid so far."""
        return self.roundings.payouts

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
            self._note(event)
            self._check_event(event)
        check_losses(self.checks, self.losses, state)
        self.check_state(state)
        return state, events

    def check_state(self, state: State) -> None:
        """Everything that must be true of one block alone. Needs every event up to it examined but those that move no
        money."""
        check_state(self.checks, state, self.bounds, self.roundings)

    def _check_event(self, event: Event) -> None:
        values = event.arguments
        match event.name:
            case "Traded":
                self._check_gate("trade", event.block, values["buyer"], values["seller"])
            case "Withdrawn":
                self._check_gate("withdrawal", event.block, values["account"])
                self._check_leaving(event, from_fund=False)
            case "Withdraw":
                self._check_leaving(event, from_fund=True)
            case "Transferred":
                self._check_gate("transfer", event.block, values["from"])
            case "BidSettled":
                self._check_bid(event)
            case "ParameterChanged":
                key = Key(Field(values["field"]), values["underlying"], values["other"])
                check_bounds(self.checks, key, values["value"], self.bounds[key.field])
                check_step(self.checks, values["previous"], values["value"], self.limits[key.field], str(key))
            case "BoundsSet":
                self.bounds = self.observer.bounds()
            case "LimitsSet":
                self.limits = self.observer.limits()

    def _note(self, event: Event) -> None:
        """Add up what later checks go by."""
        values = event.arguments
        match event.name:
            case "LossPending":
                self.losses.announced += values["amount"]
                self.losses.absorbed += values["absorbed"]
            case "LossShared":
                self.losses.shared_by_index += values["amount"]
                self.roundings.losses_shared += 1
            case "LossCovered":
                self.losses.fund_paid += values["paid"]
                self.losses.fund_queued += values["queued"]
                self.losses.fund_payments += 1
            case "ClaimPaid":
                self.losses.claims_paid += values["amount"]
            case "InterestAccrued":
                self.roundings.accruals += 1
            case "ExpiredSettled":
                self.roundings.payouts.add(values["instrument"], values["size"])

    def _check_gate(self, what: str, block: int, *accounts: int) -> None:
        for account, (before, after) in zip(accounts, self.observer.standings(accounts, block), strict=True):
            check_gate(self.checks, before, after, f"{what} of {self._name(account)} in block {block}")

    def _check_leaving(self, event: Event, *, from_fund: bool) -> None:
        s = self.system
        pending, reserved, fund = s.chain.read_many(
            [
                s.clearing_house.pendingLoss(),
                s.liquidation_engine.reservedShortfall(),
                s.insurance_fund.totalAssets(),
            ],
            event.block,
        )
        left = 0 if from_fund else fund * self._scale
        check_leaving(self.checks, 0 if from_fund else pending, reserved, left, f"{event.name} in block {event.block}")

    def _check_bid(self, event: Event) -> None:
        values, bid = event.arguments, event.arguments["bid"]._asdict()
        account, bidder = values["account"], values["bidder"]
        (before, after), (bidder_before, bidder_after) = self.observer.standings([account, bidder], event.block)
        what = f"bid for {self._name(account)} in block {event.block}"
        auction = self.observer.auction_before(account, event.block)
        if auction.protective:
            check_protection(self.checks, bid, before, auction.maximum_discount, what)
        check_liquidation(self.checks, bid, before, after, what, protective=auction.protective)
        check_gate(self.checks, bidder_before, bidder_after, f"{what}, by {self._name(bidder)}")
        self.losses.requested += bid["cover"]
        self.losses.queued += values["queued"]
        self.losses.shared += values["shared"]
        if self._on_bid is not None:
            self._on_bid(event, before, after)
