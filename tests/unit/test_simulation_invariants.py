"""Each invariant's arithmetic: true of a sound book, false as soon as one figure of it is wrong."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from plimsoll.chain.fields import Field, Key
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.state import AccountState, AssetState, AuctionParameters, OracleState, Position, State
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import NO_CAP, Margin, Requirement
from simulation.invariants import (
    RAY,
    STATEMENTS,
    WAD,
    Checks,
    InvariantError,
    Losses,
    Payouts,
    Standing,
    as_healthy,
    check_gate,
    check_liquidation,
    check_losses,
    check_rising,
    check_state,
    check_step,
    payoff_of,
)

PERPETUAL = Instrument.perpetual(1).id
PRICE = 2_700 * WAD
TAIL = Key(Field.TAIL_INITIAL, 1)
BOUNDS = {Field.TAIL_INITIAL: (1_500_000, 15_000_000)}


def margin(equity: int, initial: int, maintenance: int) -> Margin:
    """Only the figures that decide."""
    parts = (0, 0, 0, 0, 0, 0, 0, 0, 0, NO_CAP)
    return Margin(equity, 0, 0, 0, WAD, WAD, True, Requirement(*parts, initial), Requirement(*parts, maintenance), ())


def account(number: int, size: int, quote: int, collateral: dict[int, int], standing: Margin) -> AccountState:
    position = Position(PERPETUAL, size, quote)
    return AccountState(number, "0x", 1, 0, 1_000 * WAD, {PERPETUAL: position}, collateral, standing, "", None)


def book() -> State:
    """A long and a short of two units, traded at 2,690, now at 2,700; half a token of collateral; 3 dollars of fees."""
    size, quote = 2 * WAD, -2 * 2_690 * WAD
    return State(
        block=10,
        timestamp=1_517_800_000,
        accounts={
            1: account(1, size, quote, {}, margin(1_020 * WAD, 300 * WAD, 200 * WAD)),
            2: account(2, -size, -quote, {1: WAD // 2}, margin(2_330 * WAD, 300 * WAD, 200 * WAD)),
        },
        assets={
            0: AssetState(0, "USD", "0x", 6, 0, 10**15, 2_003 * 10**6, 2_003 * 10**6),
            1: AssetState(1, "SPXF", "0x", 18, 1, 10**24, WAD // 2, WAD // 2),
        },
        oracles={"SPX": OracleState(1, PRICE, 0, 1, WAD, WAD, 0, True, WAD, WAD, 0, WAD, 1, "", WAD, 2 * WAD)},
        parameters={TAIL: 3_500_000},
        bundles=1,
        fees=3 * WAD,
        positive_cash=2_000 * WAD,
        loss_index=RAY,
        reserved_shortfall=0,
        auction_parameters=AuctionParameters(1_800, WAD // 2, WAD // 2, WAD // 10, 20 * WAD, 500 * WAD),
        fund_assets=10**12,
        fund_shares=10**18,
        marks={},
        settlements={},
    )


def with_account(now: State, account: AccountState) -> State:
    return replace(now, accounts={**now.accounts, account.id: account})


def violated(now: State, losses_shared: int = 0, payouts: Payouts | None = None) -> str | None:
    checks = Checks()
    try:
        check_state(checks, now, BOUNDS, losses_shared, payouts or Payouts())
    except InvariantError as violation:
        return violation.identifier if checks.violations == {violation.identifier: violation.message} else "unrecorded"
    return None


def test_check_state_sound_book_holds() -> None:
    checks = Checks()
    check_state(checks, book(), BOUNDS, 0, Payouts())
    assert {one.id for one in checks.results() if one.holds} == {"CASH", "ZERO-SUM", "EQUITY", "ORDER", "BOUNDS"}
    assert [one.id for one in checks.results()] == list(STATEMENTS)


def test_check_state_one_wei_of_cash_too_much() -> None:
    now = book()
    assert violated(with_account(now, replace(now.accounts[1], cash=1_000 * WAD + 1))) == "CASH"


def test_check_state_one_wei_of_cash_too_little_is_rounding_only_after_shared_loss() -> None:
    now = book()
    short_of_one = with_account(now, replace(now.accounts[1], cash=1_000 * WAD - 1))
    assert violated(short_of_one) == "CASH"
    assert violated(short_of_one, losses_shared=1) is None


def test_check_state_token_balance_below_ledger() -> None:
    now = book()
    assets = {**now.assets, 0: replace(now.assets[0], balance=now.assets[0].held - 1)}
    assert violated(replace(now, assets=assets)) == "CASH"


def test_check_state_collateral_not_in_the_ledger() -> None:
    now = book()
    assert violated(with_account(now, replace(now.accounts[1], collateral={1: 1}))) == "CASH"


def test_check_state_sizes_do_not_add_up() -> None:
    now = book()
    position = replace(now.accounts[1].positions[PERPETUAL], size=2 * WAD + 1)
    assert violated(with_account(now, replace(now.accounts[1], positions={PERPETUAL: position}))) == "ZERO-SUM"


PUT = Instrument(Kind.PUT, 1, 1_517_000_000, Decimal(2_750))
ODD = WAD // 3
"""Units of the put: its payoff is 50 dollars, so a side's payout is no whole number of wei."""


def expired(*, settled: bool = True) -> State:
    """The book with a put that account 1 is long and account 2 short, expired at 2,700."""
    now = book()
    positions = {
        number: {**account.positions, PUT.id: Position(PUT.id, ODD if number == 1 else -ODD, 0)}
        for number, account in now.accounts.items()
    }
    accounts = {number: replace(account, positions=positions[number]) for number, account in now.accounts.items()}
    price = PRICE if settled else 0
    return replace(now, accounts=accounts, settlements={(PUT.underlying, PUT.expiry): price})


def paid_out(now: State, number: int) -> tuple[State, Payouts]:
    """With one side's payoff turned into cash, rounded down."""
    account = now.accounts[number]
    size = account.positions[PUT.id].size
    positions = {key: position for key, position in account.positions.items() if key != PUT.id}
    paid = replace(account, cash=account.cash + size * 50 * WAD // WAD, positions=positions)
    payouts = Payouts()
    payouts.add(PUT.id, size)
    return with_account(now, paid), payouts


def test_payoff_of() -> None:
    now = expired()
    assert payoff_of(now, PUT.id) == 50 * WAD
    call = replace(PUT, kind=Kind.CALL)
    assert payoff_of(now, call.id) == 0
    assert payoff_of(now, replace(call, strike=Decimal("2699.5")).id) == WAD // 2
    assert payoff_of(now, PERPETUAL) is None
    assert payoff_of(expired(settled=False), PUT.id) is None


@pytest.mark.parametrize("side", [1, 2])
def test_check_state_one_side_of_an_expiry_is_paid_first(side: int) -> None:
    """CASH and ZERO-SUM count in what was paid and what is still to be paid, whichever side comes first."""
    now, payouts = paid_out(expired(), side)
    assert violated(expired()) is None
    assert violated(now, payouts=payouts) is None
    assert violated(now) == "ZERO-SUM"  # as if the position had vanished
    richer = with_account(now, replace(now.accounts[side], cash=now.accounts[side].cash + 2))
    assert violated(richer, payouts=payouts) == "CASH"
    unsettled = replace(now, settlements={(PUT.underlying, PUT.expiry): 0})
    assert violated(unsettled, payouts=payouts) == "CASH"


def test_check_state_a_payout_may_leave_one_wei() -> None:
    now, payouts = paid_out(expired(), 1)
    poorer = with_account(now, replace(now.accounts[1], cash=now.accounts[1].cash - 1))
    assert violated(poorer, payouts=payouts) is None
    poorest = with_account(now, replace(now.accounts[1], cash=now.accounts[1].cash - 2))
    assert violated(poorest, payouts=payouts) == "CASH"


@pytest.mark.parametrize("wei", [1, -4])
def test_check_state_equity_off_by_more_than_rounding(wei: int) -> None:
    now = book()
    changed = replace(now.accounts[1], margin=margin(1_020 * WAD + wei, 300 * WAD, 200 * WAD))
    assert violated(with_account(now, changed)) == "EQUITY"


@pytest.mark.parametrize("standing", [margin(1_020 * WAD, 199 * WAD, 200 * WAD), margin(1_020 * WAD, 1, -1)])
def test_check_state_requirements_out_of_order(standing: Margin) -> None:
    now = book()
    assert violated(with_account(now, replace(now.accounts[1], margin=standing))) == "ORDER"


@pytest.mark.parametrize("value", [1_499_999, 15_000_001])
def test_check_state_parameter_out_of_bounds(value: int) -> None:
    assert violated(replace(book(), parameters={TAIL: value})) == "BOUNDS"


def test_check_rising_requirement_falls_with_size() -> None:
    checks = Checks()
    check_rising(checks, Standing(0, 10, 5), Standing(0, 10, 5), "same")
    with pytest.raises(InvariantError, match="ORDER"):
        check_rising(checks, Standing(0, 10, 5), Standing(0, 20, 4), "twice the size")


def test_check_gate() -> None:
    checks = Checks()
    check_gate(checks, Standing(100, 50, 30), Standing(100, 100, 60), "more risk, above initial")
    check_gate(checks, Standing(40, 50, 30), Standing(39, 40, 20), "less risk, healthier")
    for before, after in (
        (Standing(100, 50, 30), Standing(100, 101, 60)),  # more risk than equity
        (Standing(40, 50, 30), Standing(20, 40, 20)),  # less risk, but equity given away
        (Standing(10, 50, 30), Standing(-1, 0, 0)),  # made insolvent
    ):
        with pytest.raises(InvariantError, match="GATE"):
            check_gate(checks, before, after, "trade")


def test_as_healthy_insolvent_may_lose_no_more() -> None:
    assert as_healthy(Standing(-5, 10, 5), Standing(-5, 0, 0))
    assert not as_healthy(Standing(-5, 10, 5), Standing(-6, 0, 0))
    assert as_healthy(Standing(-5, 10, 5), Standing(-6, 0, 0), rounding=1)


def test_check_liquidation() -> None:
    checks = Checks()
    dollars = 10**18
    bid = {"cover": 0, "discount": 4 * dollars // 10, "fraction": dollars // 2, "fee": 0}
    before = Standing(80 * dollars, 200 * dollars, 100 * dollars)
    check_liquidation(checks, bid, before, Standing(60 * dollars, 100 * dollars, 50 * dollars), "half sold near par")
    for after in (Standing(39 * dollars, 100 * dollars, 50 * dollars), Standing(-dollars, 0, 0)):
        with pytest.raises(InvariantError, match="LIQUIDATE"):
            check_liquidation(checks, bid, before, after, "sold too cheaply")
    with pytest.raises(InvariantError, match="not liquidatable"):
        check_liquidation(checks, bid, Standing(100, 200, 100), Standing(100, 100, 50), "healthy account")


def test_check_liquidation_looks_at_the_price_when_all_is_sold() -> None:
    dollars = 10**18
    bid = {"cover": 0, "discount": dollars // 10, "fraction": dollars, "fee": 5 * dollars}
    before = Standing(80 * dollars, 200 * dollars, 100 * dollars)
    check_liquidation(Checks(), bid, before, Standing(65 * dollars, 0, 0), "sold at its price")
    with pytest.raises(InvariantError, match="were due"):
        check_liquidation(Checks(), bid, before, Standing(64 * dollars, 0, 0), "sold below its price")


def test_check_losses() -> None:
    sound = Losses(requested=10 * WAD, covered=7 * WAD, shared=3 * WAD, shared_by_index=3 * WAD, fund_paid=7 * 10**6,
                   fund_payments=1, shares=1)  # fmt: skip
    checks = Checks()
    check_losses(checks, sound, 10**12)
    for wrong in (
        replace(sound, requested=10 * WAD + 1),
        replace(sound, shared_by_index=3 * WAD - 1),
        replace(sound, fund_paid=7 * 10**6 - 1),
        replace(sound, fund_paid=7 * 10**6 + 2),
    ):
        with pytest.raises(InvariantError, match="LOSS"):
            check_losses(checks, wrong, 10**12)


def test_check_step() -> None:
    checks = Checks()
    check_step(checks, 4_000_000, 5_000_000, (250_000, 100_000, 43_200, False), "up a quarter")
    check_step(checks, 900_000, 800_000, (100_000, 100_000, 43_200, True), "down a tenth, absolute")
    for previous, value, limits in (
        (4_000_000, 5_000_001, (250_000, 100_000, 43_200, False)),
        (4_000_000, 3_599_999, (250_000, 100_000, 43_200, False)),
        (900_000, 799_999, (100_000, 100_000, 43_200, True)),
    ):
        with pytest.raises(InvariantError, match="BOUNDS"):
            check_step(checks, previous, value, limits, "too far")


def test_results_unchecked_invariant_is_not_claimed() -> None:
    assert not any(result.holds for result in Checks().results())


def test_check_state_margin_that_cannot_be_read_is_said() -> None:
    now = book()
    with pytest.raises(PlimsollError, match="account 1 cannot be read: stale"):
        check_state(
            Checks(), with_account(now, replace(now.accounts[1], margin=None, fault="stale")), BOUNDS, 0, Payouts()
        )
