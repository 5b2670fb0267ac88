"""What the keeper decides, from states made by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.state import (
    AccountState,
    AssetState,
    AuctionParameters,
    AuctionState,
    OracleState,
    Position,
    Protection,
    State,
)
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
    SweepFees,
    decide,
)
from plimsoll.margin.onchain import NO_CAP, Margin, Requirement, UnderlyingMargin

WAD = 10**18
KEEPER, TRADER, OTHER = 1, 2, 9
OWNER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
POLICY = Policy(KEEPER)


def requirement(total: int) -> Requirement:
    return Requirement(0, 0, 0, 0, 0, total * WAD, 0, 0, 0, NO_CAP, total * WAD)


def margin(equity: int, initial: int, maintenance: int, unrealised: int = 0) -> Margin:
    """Dollars."""
    return Margin(
        equity * WAD, 0, unrealised * WAD, 0, WAD, WAD, True, requirement(initial), requirement(maintenance), ()
    )  # fmt: skip


def account(number: int, of: Margin | None, auction: AuctionState | None = None) -> AccountState:
    return AccountState(number, OWNER, 7, 0, 0, {}, {}, of, "" if of else "stale", auction)


def auction(discount: float, shortfall: int = 0, keeper: int = OTHER, *, protective: bool = False) -> AuctionState:
    fee = 0 if protective else 20 * WAD
    return AuctionState(900, keeper, fee, shortfall * WAD, int(discount * WAD), protective)


def state(*accounts: AccountState, fees: int = 0) -> State:
    oracle = OracleState(
        id=1,
        price=WAD,
        price_age=0,
        latest_round=5,
        live=WAD,
        maintenance=WAD,
        volatility_age=0,
        fresh=True,
        realised=0,
        variance=0,
        poked_at=1_000,
        poked_maintenance=WAD,
        poked_round=5,
        fault="",
        mark=WAD,
        open_interest=0,
        funding_index=0,
        premium=0,
        throughput_room=10**9 * WAD,
    )
    return State(
        block=1,
        timestamp=1_000,
        accounts={a.id: a for a in accounts},
        assets={0: AssetState(0, "USD", OWNER, 6, 0, 10**15, 10**12, 10**12)},
        oracles={"BTC": oracle},
        parameters={},
        bundles=1,
        fees=fees * WAD,
        positive_cash=0,
        loss_index=10**27,
        debts=0,
        borrow_index=10**27,
        pending_loss=0,
        loss_due_at=0,
        paused_until=0,
        reserved_shortfall=0,
        auction_parameters=AuctionParameters(
            duration=1800,
            maximum_discount=WAD // 2,
            target=WAD // 2,
            fund_share=WAD // 10,
            native_underlying=0,
            minimum_remainder=500 * WAD,
            minimum_fee=5 * WAD,
            throughput=WAD // 100,
            maximum_fee=20 * WAD,
            minimum_throughput=WAD,
            throughput_window=600,
        ),
        fund_assets=0,
        fund_shares=0,
        fund_owed=0,
        fund_allowance=0,
        marks={},
        settlements={},
    )


RICH = account(KEEPER, margin(1_000_000, 0, 0))
EXPOSED = UnderlyingMargin(1, WAD, 0, 0, 0, 0, 0, -40_000 * WAD, 0, WAD, WAD, WAD, WAD, WAD, 0, 0)
"""To 40,000 dollars, short."""


def test_decide_does_nothing_in_a_healthy_house() -> None:
    assert decide(state(RICH, account(TRADER, margin(1000, 500, 300))), POLICY) == []


@pytest.mark.parametrize(("equity", "expected"), [(299, [Flag(TRADER)]), (300, [])])
def test_decide_flags_below_maintenance_only(equity: int, expected: list[Action]) -> None:
    assert decide(state(RICH, account(TRADER, margin(equity, 500, 300))), POLICY) == expected


def test_decide_flags_no_account_of_its_own() -> None:
    assert decide(state(account(KEEPER, margin(1, 500, 300))), POLICY) == []


def test_decide_leaves_alone_what_it_cannot_value() -> None:
    assert decide(state(RICH, account(TRADER, None, auction(0.5))), POLICY) == []


def test_decide_bids_for_the_whole_with_room_enough() -> None:
    (bid,) = decide(state(RICH, account(TRADER, margin(2000, 5000, 3000), auction(0.1))), POLICY)
    assert isinstance(bid, Bid)
    assert (bid.account, bid.maximum_fraction, bid.nonce) == (TRADER, WAD, 7)
    # equity 2000 less the discount of 300, of which the fund takes a tenth, and a thousandth of maintenance for slack
    assert bid.limit_price == (2000 - 270 + 3) * WAD


def test_decide_bids_for_what_its_margin_carries() -> None:
    poor = account(KEEPER, margin(1_500, 500, 300))
    (bid,) = decide(state(poor, account(TRADER, margin(2000, 5000, 3000), auction(0.1))), POLICY)
    assert isinstance(bid, Bid)
    assert bid.maximum_fraction == WAD * 800 // 5000  # 80% of a headroom of 1000 dollars


def test_decide_does_not_promise_its_margin_twice() -> None:
    poor = account(KEEPER, margin(5_500, 500, 300))
    accounts = [account(number, margin(2000, 4000, 3000), auction(0.1)) for number in (2, 3)]
    bids = decide(state(poor, *accounts), POLICY)
    assert [bid.account for bid in bids if isinstance(bid, Bid)] == [2]


@pytest.mark.parametrize("discount", [0.0, 0.019])
def test_decide_waits_for_its_discount(discount: float) -> None:
    assert decide(state(RICH, account(TRADER, margin(2000, 5000, 3000), auction(discount))), POLICY) == []


def test_decide_wants_its_minimum_reward() -> None:
    assert decide(state(RICH, account(TRADER, margin(100, 150, 120), auction(0.03))), POLICY) == []


def test_decide_counts_its_own_flag_fee() -> None:
    """A debt without positions has no margin and no discount: whoever flagged it is paid for settling it."""
    debt = margin(-100, 0, 0)
    own, others = (account(TRADER, debt, auction(0.1, 100, keeper)) for keeper in (KEEPER, OTHER))
    assert [type(action) for action in decide(state(RICH, own), POLICY)] == [Bid]
    assert decide(state(RICH, others), POLICY) == []


def test_decide_bids_nothing_with_no_room() -> None:
    poor = account(KEEPER, margin(500, 500, 300))
    trader = account(TRADER, margin(2000, 5000, 3000), auction(0.1, keeper=KEEPER))
    assert decide(state(poor, trader), POLICY) == []


def test_decide_bids_below_zero_for_an_insolvent_account() -> None:
    actions = decide(state(RICH, account(TRADER, margin(-500, 5000, 3000), auction(0.1, 500))), POLICY)
    (bid,) = actions
    assert isinstance(bid, Bid)
    assert bid.limit_price == (-500 - 300 + 3) * WAD  # the fund pays, and takes no share


def test_decide_reserves_a_grown_shortfall_before_it_bids() -> None:
    actions = decide(state(RICH, account(TRADER, margin(-500, 5000, 3000), auction(0.1, 100))), POLICY)
    assert [type(action) for action in actions] == [Reserve, Bid]


def test_decide_ends_an_auction_that_is_over() -> None:
    assert decide(state(RICH, account(TRADER, margin(300, 500, 300), auction(0.1))), POLICY) == [End(TRADER)]


def test_decide_settles_large_unrealised_amounts() -> None:
    perpetual = Instrument.perpetual(1).id
    accounts = [
        replace(account(number, margin(90_000, 1, 1)), positions={perpetual: Position(perpetual, WAD, quote * WAD)})
        for number, quote in ((2, -10_002), (3, 9_999))  # at a price of one dollar
    ]
    assert decide(state(RICH, *accounts), POLICY) == [SettleVariation(2)]


PUT = Instrument(Kind.PUT, 1, 900, Decimal(50))


def with_put(number: int, size: int) -> AccountState:
    return replace(account(number, margin(90_000, 1, 1, 50_000)), positions={PUT.id: Position(PUT.id, size * WAD, 0)})


@pytest.mark.parametrize(
    ("now", "price", "expected"),
    [
        (900, 0, []),
        (901, 0, [SettleExpiry(1, 900)]),
        (901, 1, [SettleExpired(2), SettleExpired(4)]),
    ],
    ids=["not over", "to be settled", "to be paid out"],
)
def test_decide_settles_expiries_and_pays_out_what_is_worth_it(now: int, price: int, expected: list[Action]) -> None:
    """An option's value is not variation, however large; a payout is made for either side from 100 dollars on."""
    accounts = [with_put(2, 2), with_put(3, 1), with_put(4, -2)]
    held = replace(
        state(RICH, *accounts), marks={PUT.id: 50 * WAD + WAD // 2 - WAD}, settlements={(1, 900): price}, timestamp=now
    )
    assert decide(held, replace(POLICY, pay_from=99 * WAD)) == expected


def test_decide_sweeps_fees_worth_the_gas() -> None:
    assert decide(state(RICH, fees=100), POLICY) == [SweepFees()]
    assert decide(state(RICH, fees=99), POLICY) == []


def test_decide_pokes_first_on_a_new_round_and_when_time_is_up() -> None:
    calm = state(RICH, account(TRADER, margin(1, 500, 300)))
    oracle = calm.oracles["BTC"]
    new_round = replace(calm, oracles={"BTC": replace(oracle, latest_round=6)})
    late = replace(calm, oracles={"BTC": replace(oracle, poked_at=1_000 - POLICY.poke_interval)})
    broken = replace(calm, oracles={"BTC": replace(oracle, latest_round=6, price=None)})
    fallen = replace(calm, oracles={"BTC": replace(oracle, maintenance=WAD * 98 // 100)})
    assert decide(fallen, POLICY) == [Poke(1), Flag(TRADER)]
    assert decide(new_round, POLICY) == [Poke(1), Flag(TRADER)]
    assert decide(late, POLICY) == [Poke(1), Flag(TRADER)]
    assert decide(broken, POLICY) == [Flag(TRADER)]


def test_decide_takes_the_largest_danger_first() -> None:
    accounts = [account(2, margin(1, 500, 300)), account(3, margin(1, 5000, 3000))]
    assert decide(state(RICH, *accounts), POLICY) == [Flag(3), Flag(2)]


def test_decide_pokes_a_feed_that_counts_its_rounds_anew() -> None:
    """A feed that has been replaced: its latest round is below the one that was taken in last."""
    calm = state(RICH)
    replaced = replace(calm.oracles["BTC"], latest_round=2)
    assert decide(replace(calm, oracles={"BTC": replaced}), POLICY) == [Poke(1)]


# ─── An auction that has lapsed


def lapsed(*, protective: bool = False) -> AuctionState:
    """Flagged by the keeper itself, and a shortfall of it reserved."""
    return replace(auction(0, 500, KEEPER, protective=protective), lapsed=True)


@pytest.mark.parametrize("equity", [2_000, -1_000], ids=["solvent", "insolvent"])
@pytest.mark.parametrize("protective", [False, True])
def test_decide_flags_anew_what_has_lapsed_and_does_not_bid(equity: int, protective: bool) -> None:
    """Nor does it reserve what the flag reserves; with a keeper that would bid at no discount, too."""
    trader = account(TRADER, margin(equity, 5000, 3000), lapsed(protective=protective))
    eager = replace(POLICY, minimum_discount=0, minimum_reward=0)
    assert decide(state(RICH, trader), eager) == [Flag(TRADER)]


def test_decide_ends_what_has_lapsed_and_recovered() -> None:
    assert decide(state(RICH, account(TRADER, margin(3_000, 5000, 3000), lapsed())), POLICY) == [End(TRADER)]


# ─── What the fund and its claims allow


def test_decide_counts_only_what_a_bid_may_take() -> None:
    """What brings the account to its target of 4,000: 2,020 of 3,700 dollars, of an edge of 270 dollars 147."""
    small = account(TRADER, margin(2000, 5000, 3000), auction(0.1))
    assert decide(state(RICH, small), replace(POLICY, minimum_reward=147 * WAD)) != []
    assert decide(state(RICH, small), replace(POLICY, minimum_reward=148 * WAD)) == []


def insolvent(allowance: int, assets: int = 10_000, owed: int = 0) -> State:
    """A payout of 800 dollars at a discount of 300, initial margin of 5,000, a keeper with 4,000 to spare. The fund's
    figures in dollars."""
    poor = account(KEEPER, margin(5_500, 500, 300))
    house = state(poor, account(TRADER, margin(-500, 5000, 3000), auction(0.1, 500)))
    return replace(house, fund_allowance=allowance * 10**6, fund_assets=assets * 10**6, fund_owed=owed * 10**6)


@pytest.mark.parametrize(
    ("house", "fraction"),
    [
        (insolvent(800), WAD * 4_000 // 5_000),
        (insolvent(0), WAD * 4_000 // 5_800),  # all of the payout comes later
        (insolvent(800, owed=1), WAD * 4_000 // 5_800),  # others are queued already
        (insolvent(0, assets=100), WAD * 3_900 // 5_000),  # most of it is shared, which pays at once
    ],
)
def test_decide_carries_what_the_fund_pays_later(house: State, fraction: int) -> None:
    bids = [action for action in decide(house, POLICY) if isinstance(action, Bid)]
    assert [bid.maximum_fraction for bid in bids] == [fraction]


@pytest.mark.parametrize(
    ("owed", "allowance", "expected"),
    [
        (0, 5_000, []),
        (5_000, 0, []),
        (50_000, 999, []),
        (50_000, 1_000, [PayClaims(20)]),
        (100, 19, []),
        (100, 20, [PayClaims(20)]),  # a fifth
    ],
)
def test_decide_has_claims_paid(owed: int, allowance: int, expected: list[Action]) -> None:
    house = replace(state(RICH), fund_owed=owed * 10**6, fund_allowance=allowance * 10**6)
    assert decide(house, POLICY) == expected


# ─── A loss that is to be shared


@pytest.mark.parametrize(
    ("pending", "due", "cash", "expected"),
    [
        (0, 900, 1, []),
        (1, 1_001, 1, []),
        (1, 1_000, 1, [ShareLoss()]),
        (1, 1_000, 0, []),  # over nothing
    ],
)
def test_decide_shares_a_loss_when_it_is_due(pending: int, due: int, cash: int, expected: list[Action]) -> None:
    assert decide(replace(state(RICH), pending_loss=pending, loss_due_at=due, positive_cash=cash), POLICY) == expected


def test_decide_lets_no_profit_hide_from_a_loss() -> None:
    """Profits before the loss is shared, losses need not hurry."""
    perpetual = Instrument.perpetual(1).id
    accounts = [
        replace(account(number, margin(90_000, 1, 1)), positions={perpetual: Position(perpetual, WAD, quote * WAD)})
        for number, quote in ((2, 100), (3, 99), (4, -1_000))  # at a price of one dollar
    ]
    calm = state(RICH, *accounts)
    assert decide(calm, POLICY) == []
    loss = replace(calm, pending_loss=1, loss_due_at=2_000)
    assert decide(loss, POLICY) == [SettleVariation(2)]
    assert decide(replace(loss, loss_due_at=1, positive_cash=1), POLICY) == [SettleVariation(2), ShareLoss()]


# ─── Protection


def protected(equity: int, *, flagged: AuctionState | None = None, trigger: float = 1.2, most: float = 0.1) -> State:
    """An account of maintenance 3,000 and target 4,000, whose owner gives `most` from `trigger` · maintenance on."""
    one = account(TRADER, margin(equity, 5000, 3000), flagged)
    return state(RICH, replace(one, protection=Protection(int(trigger * WAD), int(most * WAD))))


@pytest.mark.parametrize(
    ("house", "expected"),
    [
        (protected(3_599), [Flag(TRADER)]),
        (protected(3_600), []),
        (protected(2_999), [Flag(TRADER)]),  # a liquidation
        (protected(3_900, trigger=2), [Flag(TRADER)]),
        (protected(4_000, trigger=2), []),  # at the target nothing is to be done
        (protected(3_500, most=0.01), []),  # less than the keeper wants
    ],
)
def test_decide_flags_a_protected_account_it_would_bid_for(house: State, expected: list[Action]) -> None:
    assert decide(house, POLICY) == expected


def test_decide_leaves_a_protected_account_that_would_not_pay() -> None:
    """400 of 3,700 dollars are to be taken, at 300 for the whole: 32 dollars, and no fee."""
    assert decide(protected(3_600, trigger=1.3), replace(POLICY, minimum_reward=32 * WAD)) == [Flag(TRADER)]
    assert decide(protected(3_600, trigger=1.3), replace(POLICY, minimum_reward=33 * WAD)) == []
    broke = replace(protected(3_500), accounts={TRADER: protected(3_500).accounts[TRADER]})
    assert decide(broke, POLICY) == []


def test_decide_bids_in_a_protective_auction() -> None:
    (bid,) = decide(protected(3_500, flagged=auction(0.1, protective=True)), POLICY)
    assert isinstance(bid, Bid)
    assert bid.limit_price == (3_500 - 300 + 3) * WAD  # the fund has no part in it


def test_decide_flags_a_protective_auction_anew_when_it_came_too_late() -> None:
    assert decide(protected(2_000, flagged=auction(0.1, protective=True)), POLICY) == [Flag(TRADER)]
    assert decide(protected(-200, flagged=auction(0.1, protective=True)), POLICY) == [Flag(TRADER)]


def test_decide_flags_a_protective_auction_anew_when_it_has_lapsed() -> None:
    assert decide(protected(3_500, flagged=lapsed(protective=True)), POLICY) == [Flag(TRADER)]
    assert decide(protected(3_500, flagged=lapsed(protective=True), most=0.01), POLICY) == []


def test_decide_ends_a_lapsed_liquidation_before_it_protects() -> None:
    """Else the flag fee that was promised then would seem to be still owed."""
    assert decide(protected(3_500, flagged=lapsed()), POLICY) == [End(TRADER)]


@pytest.mark.parametrize("flagged", [None, auction(0.1, protective=True)], ids=["to flag", "to bid"])
def test_decide_needs_no_throughput_for_protection(flagged: AuctionState | None) -> None:
    house = protected(3_500, flagged=flagged)
    trader = house.accounts[TRADER]
    assert trader.margin is not None
    trader = replace(trader, margin=replace(trader.margin, underlyings=(EXPOSED,)))
    full = replace(house.oracles["BTC"], throughput_room=0)
    house = replace(house, accounts={**house.accounts, TRADER: trader}, oracles={"BTC": full})
    assert [type(action) for action in decide(house, POLICY)] == [Flag if flagged is None else Bid]


@pytest.mark.parametrize(("reward", "expected"), [(3, [Flag(TRADER)]), (4, [])])
def test_decide_does_not_count_on_closing_a_protected_account(reward: int, expected: list[Action]) -> None:
    """40 of 370 dollars are to be taken, at 30 for the whole. What would remain, maintenance of 268, is below the 500
    that a liquidation leaves, and stays."""
    one = account(TRADER, margin(360, 500, 300))
    house = state(RICH, replace(one, protection=Protection(WAD * 13 // 10, WAD // 10)))
    assert decide(house, replace(POLICY, minimum_reward=reward * WAD)) == expected


def test_decide_ends_a_protective_auction_above_its_trigger() -> None:
    assert decide(protected(3_600, flagged=auction(0.1, protective=True)), POLICY) == [End(TRADER)]
    withdrawn = state(RICH, account(TRADER, margin(3_500, 5000, 3000), auction(0.1, protective=True)))
    assert decide(withdrawn, POLICY) == [End(TRADER)]


# ─── Throughput


def exposed(equity: int, room: int) -> State:
    """An account exposed to 40,000 dollars of the underlying."""
    held = replace(margin(equity, 5000, 3000), underlyings=(EXPOSED,))
    trader = account(TRADER, held, auction(0.1, max(0, -equity)))
    house = state(RICH, trader)
    return replace(house, oracles={"BTC": replace(house.oracles["BTC"], throughput_room=room * WAD)})


@pytest.mark.parametrize(
    ("equity", "room", "bids"),
    [
        (2_000, 40_000, 1),
        (2_000, 1_000, 1),  # a fortieth of 270 dollars
        (2_000, 700, 0),
        (2_000, 0, 0),
        (-500, 0, 1),  # exempt
    ],
)
def test_decide_waits_for_throughput(equity: int, room: int, bids: int) -> None:
    assert len(decide(exposed(equity, room), POLICY)) == bids
