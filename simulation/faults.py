"""What fails in a drill, and when: feeds fall silent, gas costs many times as much, keepers die, collude or only flag.

A replay asks `Faults` what works at a moment. Keepers here count what a transaction costs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plimsoll.config import WAD
from plimsoll.keeper.decide import Bid, End, Flag, Policy, Reserve, decide
from plimsoll.keeper.run import Keeper
from simulation.agents import Unwinder
from simulation.keeper_game import FLAG_GAS, FLAG_PREMIUM

if TYPE_CHECKING:
    from plimsoll.chain.client import Sender
    from plimsoll.chain.state import State
    from plimsoll.chain.system import System
    from plimsoll.keeper.decide import Action
    from plimsoll.keeper.run import Outcome
    from simulation.house import House, Participant

GWEI = 10**9
NATIVE = "ETH"
NATIVE_PRICE = 3_000 * WAD
"""Of ether, where the market itself does not trade it [wad dollars]."""
BID_GAS, CARE_GAS = 600_000, 150_000
"""What keepers reckon with: to bid for an account of any kind, and for anything else but a flag."""
CARE = 50 * WAD
"""What it is worth to a keeper that the house is in order, a transaction [wad dollars]: it has money there."""
SETTLE_ABOVE = 25_000 * WAD
"""Keepers settle variation beyond this many dollars [wad]."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `first` up to `end`, not including it; unix seconds."""

    first: int
    end: int

    def __contains__(self, ts: int) -> bool:
        return self.first <= ts < self.end


@dataclass(frozen=True, slots=True)
class Faults:
    """Of one drill. Keepers and friends are names of participants, times are unix seconds."""

    outage: Span | None = None
    """No feed reports in it; what was due is not made up for."""
    base_fee: int | None = None
    """Of gas as usual, wei; None: nobody pays for gas."""
    spike: Span | None = None
    """When it is `spike_factor` times as much."""
    spike_factor: int = 1
    dead: Mapping[str, int] = field(default_factory=dict)
    """Keeper → from when on it does nothing at all."""
    colluder: str = ""
    """A keeper that leaves its friends' accounts alone until their discount is the highest there is, and then bids."""
    friends: tuple[str, ...] = ()
    flagger: str = ""
    """A keeper that flags whatever it may and never bids."""

    def reports(self, ts: int) -> bool:
        """Whether feeds report now."""
        return self.outage is None or ts not in self.outage

    def base_fee_at(self, ts: int) -> int | None:
        """What gas costs now, wei."""
        spiked = self.base_fee is not None and self.spike is not None and ts in self.spike
        return self.base_fee * self.spike_factor if spiked and self.base_fee is not None else self.base_fee

    def acts(self, name: str, ts: int) -> bool:
        """Whether somebody is there now."""
        return name not in self.dead or ts < self.dead[name]


NO_FAULTS = Faults()


class CountingKeeper(Keeper):
    """A keeper that takes no action which costs more than it brings, gas at the base fee of the moment."""

    def __init__(self, system: System, sender: Sender, policy: Policy) -> None:
        super().__init__(system, sender, policy)
        self.usual = policy
        self.spent = 0
        """On gas so far [wad dollars]."""
        self.refrained = 0
        """Actions so far that did not pay."""
        self._paid = 0

    def gas_price(self, state: State) -> int:
        """Dollars a unit of gas [wad]."""
        native = state.oracles.get(NATIVE)
        price = NATIVE_PRICE if native is None or native.price is None else native.price
        return (self.system.chain.base_fee or 0) * price // WAD

    def wanted(self, state: State) -> list[Action]:
        """What is worth its gas."""
        self._paid = gas_price = self.gas_price(state)
        self.policy = replace(self.usual, minimum_reward=self.usual.minimum_reward + BID_GAS * gas_price)
        actions = decide(state, self.policy)
        worth = [action for action in actions if self.pays(action, state, gas_price)]
        self.refrained += len(actions) - len(worth)
        return worth

    def step(self, state: State | None = None) -> list[Outcome]:
        """One round, paid for. What the contracts refuse costs nothing: keepers try before they send."""
        outcomes = super().step(state)
        self.spent += self._paid * sum(one.receipt.gas for one in outcomes if one.receipt is not None)
        return outcomes

    def pays(self, action: Action, state: State, gas_price: int) -> bool:
        """Whether an action brings more than its gas. A bid that does not is not even decided on. A flag brings the fee
        and, to whoever bids, at least the discount a bid is made at. The rest is care for the house."""
        match action:
            case Bid():
                return True
            case Flag(number):
                margin = state.accounts[number].margin
                maintenance = margin.maintenance.total if margin is not None else 0
                kept = WAD - state.auction_parameters.fund_share
                discount = self.policy.minimum_discount * maintenance // WAD * kept // WAD
                return flag_fee(state, gas_price) + discount >= FLAG_GAS * gas_price
            case _:
                return CARE_GAS * gas_price <= CARE


def flag_fee(state: State, gas_price: int) -> int:
    """What the liquidation engine pays for a flag [wad dollars]: FLAG_PREMIUM times its gas, within bounds; the least
    where the gas token has no price."""
    terms = state.auction_parameters
    if terms.native_underlying == 0:
        return terms.minimum_fee
    paid = int(FLAG_PREMIUM * FLAG_GAS) * gas_price
    return min(max(paid, terms.minimum_fee), terms.maximum_fee)


class Colluder(CountingKeeper):
    """Touches no friend's account before the discount is the highest there is."""

    friends: frozenset[int] = frozenset()

    def wanted(self, state: State) -> list[Action]:
        """Without what would hurry a friend."""
        return [action for action in super().wanted(state) if not self._hurries(action, state)]

    def _hurries(self, action: Action, state: State) -> bool:
        if not isinstance(action, Flag | Bid | Reserve | End) or action.account not in self.friends:
            return False
        auction = state.accounts[action.account].auction
        return auction is None or auction.discount < state.auction_parameters.maximum_discount


class Flagger(CountingKeeper):
    """Flags and leaves the bidding to others."""

    def wanted(self, state: State) -> list[Action]:
        """All but bids."""
        return [action for action in super().wanted(state) if not isinstance(action, Bid)]


def crew(house: House, faults: Faults) -> dict[str, CountingKeeper]:
    """The keepers of a house by name, each as the faults make it."""

    def keeper(one: Participant) -> CountingKeeper:
        policy = Policy(account=one.account, settle_above=SETTLE_ABOVE, pay_from=0)
        kind = {faults.colluder: Colluder, faults.flagger: Flagger}.get(one.name, CountingKeeper)
        made = kind(house.system, one.person.sender, policy)
        if isinstance(made, Colluder):
            made.friends = frozenset(house.by_name[name].account for name in faults.friends)
        return made

    return {one.name: keeper(one) for one in house.participants if isinstance(one.agent, Unwinder)}
