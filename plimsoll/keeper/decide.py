"""What a keeper should do about a state: a pure function. Sending is plimsoll.keeper.run's.

The keeper earns the flag fee and the auction's discount. It bids for the fraction it can carry: what it takes on comes
with that fraction of the account's initial margin at most (netting against its own book only lowers it; where long
options cap a requirement two books may need a little more together, which `headroom_share` leaves room for), and what
the insurance fund owes it for later it has to carry until then. A protective auction pays no fee: the keeper flags one
where it would bid itself. Expiries it settles and pays out for nothing: an expired option that is not settled still
moves with the index price. The same goes for claims on the fund and losses to be shared: they lock everybody's money,
the keeper's too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.chain.instruments import Instrument
from plimsoll.chain.system import CASH
from plimsoll.config import WAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.state import AccountState, State
    from plimsoll.margin.onchain import Margin


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
    collect_above: int = 100 * WAD
    """While a loss waits to be shared, settle any unrealised profit larger than this, so that it bears its share."""
    claims_from: int = 1_000 * WAD
    """Have the fund pay its claims once it may pay this much, or a fifth of what it owes: it may never pay more than a
    quarter of what it has at a time."""
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
    """Start an account's auction, begin one anew that has lapsed, or turn a protective one into a liquidation."""

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
    """End the auction of an account that is above maintenance again, or a protective one above its trigger."""

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


@dataclass(frozen=True, slots=True)
class PayClaims:
    """Have the insurance fund pay open claims, the oldest first."""

    maximum: int


@dataclass(frozen=True, slots=True)
class ShareLoss:
    """Share the pending loss over positive cash."""


Action = (
    Poke
    | SettleExpiry
    | SettleExpired
    | Flag
    | Bid
    | End
    | Reserve
    | SettleVariation
    | SweepFees
    | PayClaims
    | ShareLoss
)

CLAIMS_A_CALL = 20
"""Most claims paid in one transaction."""


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
    actions += _flags(state, in_danger, policy)
    actions += _reserves(in_danger, policy)
    actions += _bids(state, in_danger, policy)
    actions += _ends(state, in_danger)
    actions += _payouts(state, policy)
    actions += _settlements(state, policy)
    actions += _losses(state)
    actions += _claims(state, policy)
    if state.fees >= policy.sweep_above:
        actions.append(SweepFees())
    return actions


def _pokes(state: State, policy: Policy) -> Iterator[Action]:
    for oracle in state.oracles.values():
        new_round = oracle.latest_round != oracle.poked_round  # a feed that has been replaced counts its rounds anew
        # a fall that nobody writes down could be undone at once, past the limit on how fast maintenance may rise
        fallen = oracle.maintenance is not None and oracle.maintenance * 100 < oracle.poked_maintenance * 99
        due = new_round or fallen or state.timestamp - oracle.poked_at >= policy.poke_interval
        if oracle.price is not None and due:
            yield Poke(oracle.id)


def _flags(state: State, accounts: list[AccountState], policy: Policy) -> Iterator[Action]:
    for account in accounts:
        if account.margin is None:
            continue
        auction = account.auction
        if account.margin.is_liquidatable:
            if auction is None or auction.lapsed or auction.protective:
                yield Flag(account.id)
            continue
        free = auction is None or (auction.lapsed and auction.protective)  # any other has to be ended first
        if free and account.protection is not None and _is_protectable(state, account):
            stake = _stake(state, policy)
            if _is_worth_it(state, account, account.protection.maximum_discount, stake, policy, protective=True):
                yield Flag(account.id)


def _is_protectable(state: State, account: AccountState) -> bool:
    """Above maintenance, and below the owner's trigger and the target a bid would bring it to."""
    margin, wish = account.margin, account.protection
    if margin is None or wish is None or margin.is_liquidatable:
        return False
    return margin.equity < min(margin.maintenance.total * wish.trigger // WAD, _target(state, margin))


def _target(state: State, margin: Margin) -> int:
    """Where a bid may bring an account [wad dollars]."""
    buffer = margin.initial.total - margin.maintenance.total
    return margin.maintenance.total + buffer * state.auction_parameters.target // WAD


def _reserves(accounts: list[AccountState], policy: Policy) -> Iterator[Action]:
    for account in accounts:
        auction = account.auction  # one that has to be flagged anew is reserved for then
        if auction is None or auction.lapsed or auction.protective:
            continue
        if account.margin is not None and account.margin.is_liquidatable:
            shortfall = max(0, -account.margin.equity)
            if abs(shortfall - auction.shortfall) > policy.reserve_above:
                yield Reserve(account.id)


def _bids(state: State, accounts: list[AccountState], policy: Policy) -> Iterator[Action]:
    stake = _stake(state, policy)
    for account in accounts:
        margin, auction = account.margin, account.auction
        if margin is None or auction is None or auction.lapsed or auction.discount < policy.minimum_discount:
            continue
        if not (_is_protectable(state, account) if auction.protective else margin.is_liquidatable):
            continue
        if not _is_worth_it(state, account, auction.discount, stake, policy, protective=auction.protective):
            continue
        fraction = _carried(state, margin, auction.discount, stake)
        edge = _edge(state, margin, auction.discount, protective=auction.protective)
        # the price falls while the transaction waits; a thousandth covers equity that moves against us meanwhile
        limit = margin.equity - edge + margin.maintenance.total // 1000
        yield Bid(account.id, fraction, limit, account.nonce)
        stake -= margin.initial.total * fraction // WAD


def _stake(state: State, policy: Policy) -> int:
    """What the keeper may take on, initial margin [wad dollars]."""
    own = state.accounts.get(policy.account)
    if own is None or own.margin is None:
        return 0
    return max(0, own.margin.headroom) * policy.headroom_share // WAD


def _is_worth_it(
    state: State, account: AccountState, discount: int, stake: int, policy: Policy, *, protective: bool
) -> bool:
    """Whether a bid at that discount would earn the least the keeper wants; how much of the account it could have is as
    in LiquidationEngine. A debt without positions has no margin and so no discount: the flag fee alone pays for
    settling it."""
    margin, auction = account.margin, account.auction
    if margin is None or discount < policy.minimum_discount:
        return False
    owed = auction.fee if auction is not None else 0
    fraction = min(
        _carried(state, margin, discount, stake),
        WAD if protective else _room(state, margin),
        _on_offer(state, margin, discount, owed, protective=protective),
    )
    fee = owed if auction is not None and auction.keeper == policy.account else 0
    reward = _edge(state, margin, discount, protective=protective) * fraction // WAD + fee
    return fraction > 0 and reward >= policy.minimum_reward


def _edge(state: State, margin: Margin, discount: int, *, protective: bool) -> int:
    """What the whole of the portfolio is sold below its equity, after the fund's part [wad dollars]. Nothing is taken
    from a discount the owner wished for, nor from one the fund itself pays."""
    edge = discount * margin.maintenance.total // WAD
    fund_share = 0 if protective or margin.equity < edge else state.auction_parameters.fund_share
    return edge * (WAD - fund_share) // WAD


def _carried(state: State, margin: Margin, discount: int, stake: int) -> int:
    """A fraction [wad] whose initial margin, and what the fund would owe for it, the stake covers.

    A payout p for the whole of the account is paid up to the fund's allowance a and owed up to its assets c. For a
    fraction f no more is owed than f · (p − a) where p is above a, and never more than c − a: the better of the two.
    """
    initial, payout = margin.initial.total, discount * margin.maintenance.total // WAD - margin.equity
    scale = state.assets[CASH].scale
    allowance = 0 if state.fund_owed else state.fund_allowance * scale
    in_parts = stake * WAD // max(1, initial + max(0, payout - allowance))
    at_most = (stake - max(0, min(payout, state.fund_assets * scale) - allowance)) * WAD // max(1, initial)
    return max(0, min(WAD, max(in_parts, at_most)))


def _on_offer(state: State, margin: Margin, discount: int, fee: int, *, protective: bool) -> int:
    """The fraction [wad] that brings an account to its target; all where no fraction does, or little would stay: an
    owner's wish to be reduced never closes it for that."""
    below, target = discount * margin.maintenance.total // WAD, _target(state, margin)
    if margin.equity < below:
        return WAD
    missing, gained = target - margin.equity + fee, target - below
    fraction = WAD if missing >= gained else missing * WAD // gained
    small = margin.maintenance.total * (WAD - fraction) // WAD < state.auction_parameters.minimum_remainder
    return WAD if small and not protective else fraction


def _room(state: State, margin: Margin) -> int:
    """The fraction [wad] that the throughput of every underlying has room for; insolvent accounts are exempt."""
    if margin.equity < 0:
        return WAD
    rooms = {oracle.id: oracle.throughput_room for oracle in state.oracles.values()}
    return min(
        (WAD * rooms[part.underlying] // abs(part.exposure) for part in margin.underlyings if part.exposure),
        default=WAD,
    )


def _ends(state: State, accounts: list[AccountState]) -> Iterator[Action]:
    for account in accounts:
        margin, auction = account.margin, account.auction
        if margin is None or auction is None or margin.is_liquidatable:
            continue
        if not auction.protective or not _is_protectable(state, account):
            yield End(account.id)


def _losses(state: State) -> Iterator[Action]:
    if state.pending_loss and state.timestamp >= state.loss_due_at and state.positive_cash:
        yield ShareLoss()


def _claims(state: State, policy: Policy) -> Iterator[Action]:
    payable = min(state.fund_owed, state.fund_allowance)
    if payable and (5 * payable >= state.fund_owed or payable * state.assets[CASH].scale >= policy.claims_from):
        yield PayClaims(CLAIMS_A_CALL)


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
    """The premium of an option has been paid: only perpetuals have variation to settle. While a loss waits, so that
    nobody hides from it, every profit worth the gas."""
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
            if abs(unrealised) > policy.settle_above or (state.pending_loss and unrealised > policy.collect_above):
                yield SettleVariation(account.id)
