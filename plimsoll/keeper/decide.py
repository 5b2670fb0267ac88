"""What a keeper should do about a state: a pure function. Sending is plimsoll.keeper.run's.

The keeper earns the flag fee and the auction's discount. It bids for the fraction it can carry: what it takes on comes
with that fraction of the account's initial margin at most (netting against its own book only lowers it; where long
options cap a requirement two books may need a little more together, which `headroom_share` leaves room for). Expiries
it settles and pays out for nothing: an expired option that is not settled still moves with the index price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.chain.instruments import Instrument
from plimsoll.config import WAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.state import AccountState, State


@dataclass(frozen=True, slots=True)
class Policy:
    """account: the keeper's own. Dollars and fractions in wad, times in seconds."""

    account: int
    minimum_discount: int = WAD // 50
    """Bid from this discount on, in parts of maintenance margin."""
    minimum_reward: int = 5 * WAD
    """Bid where the discount on the fraction taken, with the flag fee where it is ours, is worth at least this."""
    headroom_share: int = 8 * WAD // 10
    """Part of its own equity above initial margin the keeper puts at stake."""
    settle_above: int = 10_000 * WAD
    """Settle variation where unrealised profit or loss on perpetuals is larger than this."""
    pay_from: int = 100 * WAD
    """Pay out an account's settled options where one is worth at least this to it, or costs it."""
    sweep_above: int = 100 * WAD
    """Send fees to the insurance fund from this amount on."""
    reserve_above: int = 100 * WAD
    """Bring a reserved shortfall up to date when it is off by more than this."""
    poke_interval: int = 3_600
    """Poke a volatility oracle at least this often; a new price round and a fall of 1% are always taken in."""


@dataclass(frozen=True, slots=True)
class Poke:
    """Take in price rounds and move the maintenance level of an underlying."""

    underlying: int


@dataclass(frozen=True, slots=True)
class SettleExpiry:
    """Prove the settlement price of an underlying's expiry."""

    underlying: int
    expiry: int


@dataclass(frozen=True, slots=True)
class SettleExpired:
    """Turn an account's settled options into cash."""

    account: int


@dataclass(frozen=True, slots=True)
class Flag:
    """Start an account's auction."""

    account: int


@dataclass(frozen=True, slots=True)
class Bid:
    """Take a fraction [wad] of an account's portfolio for at most limit_price [wad dollars] for the whole of it."""

    account: int
    maximum_fraction: int
    limit_price: int
    nonce: int


@dataclass(frozen=True, slots=True)
class End:
    """End the auction of an account that is above maintenance again."""

    account: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """Bring a flagged account's reserved shortfall up to date."""

    account: int


@dataclass(frozen=True, slots=True)
class SettleVariation:
    """Move an account's unrealised profit or loss on perpetuals into its cash."""

    account: int


@dataclass(frozen=True, slots=True)
class SweepFees:
    """Send collected fees to the insurance fund."""


Action = Poke | SettleExpiry | SettleExpired | Flag | Bid | End | Reserve | SettleVariation | SweepFees


def decide(state: State, policy: Policy) -> list[Action]:
    """Actions in the order to take them: oracles and settlement prices first, then auctions by the money at stake, then
    housekeeping.

    An account whose price fails a check is left alone: nothing can be known of it.
    """
    actions: list[Action] = [*_pokes(state, policy), *_expiries(state)]
    in_danger = sorted(
        (account for account in state.accounts.values() if account.margin is not None and account.id != policy.account),
        key=lambda account: (-account.margin.maintenance.total if account.margin else 0, account.id),
    )
    actions += _flags(in_danger)
    actions += _reserves(in_danger, policy)
    actions += _bids(state, in_danger, policy)
    actions += _ends(in_danger)
    actions += _payouts(state, policy)
    actions += _settlements(state, policy)
    if state.fees >= policy.sweep_above:
        actions.append(SweepFees())
    return actions


def _pokes(state: State, policy: Policy) -> Iterator[Action]:
    for oracle in state.oracles.values():
        new_round = oracle.latest_round > oracle.poked_round
        # a fall that nobody writes down could be undone at once, past the limit on how fast maintenance may rise
        fallen = oracle.maintenance is not None and oracle.maintenance * 100 < oracle.poked_maintenance * 99
        due = new_round or fallen or state.timestamp - oracle.poked_at >= policy.poke_interval
        if oracle.price is not None and due:
            yield Poke(oracle.id)


def _flags(accounts: list[AccountState]) -> Iterator[Action]:
    for account in accounts:
        if account.auction is None and account.margin is not None and account.margin.is_liquidatable:
            yield Flag(account.id)


def _reserves(accounts: list[AccountState], policy: Policy) -> Iterator[Action]:
    for account in accounts:
        if account.auction is not None and account.margin is not None and account.margin.is_liquidatable:
            shortfall = max(0, -account.margin.equity)
            if abs(shortfall - account.auction.shortfall) > policy.reserve_above:
                yield Reserve(account.id)


def _bids(state: State, accounts: list[AccountState], policy: Policy) -> Iterator[Action]:
    own = state.accounts.get(policy.account)
    if own is None or own.margin is None:
        return
    stake = max(0, own.margin.headroom) * policy.headroom_share // WAD
    for account in accounts:
        margin, auction = account.margin, account.auction
        if margin is None or auction is None or not margin.is_liquidatable:
            continue
        if auction.discount < policy.minimum_discount:
            continue
        fraction = min(WAD, stake * WAD // max(1, margin.initial.total))
        if margin.equity >= auction.discount * margin.maintenance.total // WAD:
            fund_share = state.auction_parameters.fund_share
        else:
            fund_share = 0  # nothing is taken from a discount the fund itself pays
        edge = auction.discount * margin.maintenance.total // WAD * (WAD - fund_share) // WAD
        # a debt without positions has no margin and so no discount: the flag fee alone pays for settling it
        fee = auction.fee if auction.keeper == policy.account else 0
        if fraction == 0 or edge * fraction // WAD + fee < policy.minimum_reward:
            continue
        # the price falls while the transaction waits; a thousandth covers equity that moves against us meanwhile
        limit = margin.equity - edge + margin.maintenance.total // 1000
        yield Bid(account.id, fraction, limit, account.nonce)
        stake -= margin.initial.total * fraction // WAD


def _ends(accounts: list[AccountState]) -> Iterator[Action]:
    for account in accounts:
        if account.auction is not None and account.margin is not None and not account.margin.is_liquidatable:
            yield End(account.id)


def _expiries(state: State) -> Iterator[Action]:
    """Of expiries somebody holds. Until it is settled an expired option follows the index price."""
    for (underlying, expiry), price in state.settlements.items():
        if price == 0 and state.timestamp > expiry:
            yield SettleExpiry(underlying, expiry)


def _payouts(state: State, policy: Policy) -> Iterator[Action]:
    for account in state.accounts.values():
        for position in account.positions.values():
            option = Instrument.of(position.instrument)
            mark = state.marks.get(position.instrument)
            if mark is None or not state.settlements.get((option.underlying, option.expiry), 0):
                continue
            if abs(position.size) * mark // WAD >= policy.pay_from:
                yield SettleExpired(account.id)
                break


def _settlements(state: State, policy: Policy) -> Iterator[Action]:
    """The premium of an option has been paid: only perpetuals have variation to settle."""
    prices = state.prices
    for account in state.accounts.values():
        unrealised = 0
        for position in account.positions.values():
            instrument = Instrument.of(position.instrument)
            price = prices[instrument.underlying]
            if price is None:
                break
            if not instrument.is_option:
                unrealised += position.size * price // WAD + position.quote
        else:
            if abs(unrealised) > policy.settle_above:
                yield SettleVariation(account.id)
