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
    Roundings,
    Standing,
    as_healthy,
    cash_left,
    check_gate,
    check_leaving,
    check_liquidation,
    check_losses,
    check_protection,
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
        oracles={"SPX": OracleState(1, PRICE, 0, 1, WAD, WAD, 0, True, WAD, WAD, 0, WAD, 1, "", WAD, 2 * WAD, 0, 0, 0)},
        parameters={TAIL: 3_500_000},
        bundles=1,
        fees=3 * WAD,
        positive_cash=2_000 * WAD,
        loss_index=RAY,
        debts=0,
        borrow_index=RAY,
        pending_loss=0,
        loss_due_at=0,
        paused_until=0,
        reserved_shortfall=0,
        auction_parameters=AuctionParameters(
            1_800, WAD // 2, WAD // 2, WAD // 10, 0, 500 * WAD, 20 * WAD, WAD, 20 * WAD, WAD, 600
        ),
        fund_assets=10**12,
        fund_shares=10**18,
        fund_owed=0,
        fund_allowance=10**12,
        marks={},
        settlements={},
    )


def with_account(now: State, account: AccountState) -> State:
    return replace(now, accounts={**now.accounts, account.id: account})


def violated(now: State, losses_shared: int = 0, payouts: Payouts | None = None, accruals: int = 0) -> str | None:
    checks = Checks()
    try:
        check_state(checks, now, BOUNDS, Roundings(0, losses_shared, accruals, payouts or Payouts()))
    except InvariantError as violation:
        return violation.identifier if checks.violations == {violation.identifier: violation.message} else "unrecorded"
    return None


def test_check_state_sound_book_holds() -> None:
    checks = Checks()
    check_state(checks, book(), BOUNDS, Roundings())
    assert {one.id for one in checks.results() if one.holds} == {"CASH", "ZERO-SUM", "EQUITY", "ORDER", "BOUNDS"}
    assert [one.id for one in checks.results()] == list(STATEMENTS)


def test_check_state_one_wei_of_cash_too_much() -> None:
    now = book()
    assert violated(with_account(now, replace(now.accounts[1], cash=1_000 * WAD + 1))) == "CASH"


def test_check_state_little_cash_missing_is_rounding_only_where_something_rounds() -> None:
    """Funding rounds the quotes of the two perpetuals as they are read; a shared loss and interest round cash."""
    now = book()
    missing = [with_account(now, replace(now.accounts[1], cash=1_000 * WAD - wei)) for wei in range(12)]
    assert [violated(one) for one in missing[:4]] == [None, None, None, "CASH"]
    assert violated(missing[3], losses_shared=1) is None
    assert violated(missing[7], losses_shared=1) == "CASH"
    assert violated(missing[3], accruals=1) == "CASH"  # nobody owes anything
    owed = [replace(one, borrow_index=RAY + 1) for one in missing]
    assert violated(owed[10], accruals=1) is None
    assert violated(owed[11], accruals=1) == "CASH"


def test_check_state_counts_what_was_left_before() -> None:
    """A run that begins on a house with a history finds its roundings there."""
    now = book()
    assert cash_left(now) == 0
    old = with_account(now, replace(now.accounts[1], cash=1_000 * WAD - 80))
    assert cash_left(old) == 80
    checks = Checks()
    check_state(checks, old, BOUNDS, Roundings(before=cash_left(old)))
    with pytest.raises(InvariantError, match="80 wei, outside 0 to 79"):
        check_state(checks, old, BOUNDS, Roundings(before=77))


def test_check_state_counts_a_loss_that_is_to_be_shared() -> None:
    """What the house lacks is named: neither more nor less."""
    now = book()
    lacking = {**now.assets, 0: replace(now.assets[0], held=1_993 * 10**6, balance=1_993 * 10**6)}
    assert violated(replace(now, assets=lacking)) == "CASH"
    assert violated(replace(now, assets=lacking, pending_loss=10 * WAD)) is None
    assert violated(replace(now, pending_loss=10 * WAD)) == "CASH"


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
    """Beside one for each of the two perpetuals."""
    now, payouts = paid_out(expired(), 1)
    poorer = with_account(now, replace(now.accounts[1], cash=now.accounts[1].cash - 3))
    assert violated(poorer, payouts=payouts) is None
    poorest = with_account(now, replace(now.accounts[1], cash=now.accounts[1].cash - 4))
    assert violated(poorest, payouts=payouts) == "CASH"


@pytest.mark.parametrize("wei", [1, -6])
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


def test_check_liquidation_protective_auction_is_above_maintenance() -> None:
    dollars = 10**18
    bid = {"cover": 0, "discount": dollars // 10, "fraction": dollars // 2, "fee": 0, "fundFee": 0}
    before, after = (
        Standing(110 * dollars, 200 * dollars, 100 * dollars),
        Standing(105 * dollars, 100 * dollars, 50 * dollars),
    )
    check_liquidation(Checks(), bid, before, after, "as the owner wished", protective=True)
    check_protection(Checks(), bid, before, dollars // 10, "as the owner wished")
    with pytest.raises(InvariantError, match="it was liquidatable"):
        check_liquidation(
            Checks(),
            bid,
            Standing(99 * dollars, before.initial, before.maintenance),
            after,
            "too late",
            protective=True,
        )
    cheap = Standing(104 * dollars, 100 * dollars, 50 * dollars)
    with pytest.raises(InvariantError, match="were due"):
        check_liquidation(Checks(), bid, before, cheap, "below its price", protective=True)
    for change in ({"discount": dollars // 10 + 1}, {"fee": 1}, {"fundFee": 1}, {"cover": 1}):
        with pytest.raises(InvariantError, match="LIQUIDATE"):
            check_protection(Checks(), bid | change, before, dollars // 10, "beyond what the owner gives")


def lost() -> tuple[Losses, State]:
    """Bad debt of 10 dollars: the fund paid 4 and owed 3, of which it has paid 1; of 3 dollars left fees carried a
    half, one has been shared."""
    losses = Losses(
        requested=10 * WAD, queued=3 * 10**6, shared=3 * WAD, announced=3 * WAD, absorbed=WAD // 2, shared_by_index=WAD,
        fund_paid=4 * 10**6, fund_queued=3 * 10**6, fund_payments=1, claims_paid=10**6,
    )  # fmt: skip
    return losses, replace(book(), pending_loss=3 * WAD // 2, fund_owed=2 * 10**6)


def test_check_losses() -> None:
    sound, now = lost()
    check_losses(Checks(), sound, now)
    check_losses(Checks(), replace(sound, requested=sound.requested - WAD // 10**6), now)  # a whole token unit is paid
    begun = replace(sound, pending_before=WAD, owed_before=10**6)
    check_losses(Checks(), begun, replace(now, pending_loss=5 * WAD // 2, fund_owed=3 * 10**6))


@pytest.mark.parametrize(
    "change",
    [
        {"requested": 10 * WAD + 1},
        {"requested": 10 * WAD - WAD // 10**6 - 1},
        {"queued": 3 * 10**6 - 1},
        {"claims_paid": 10**6 + 1},
        {"announced": 3 * WAD - 1, "absorbed": WAD // 2 - 1},
        {"absorbed": WAD // 2 + 1},
        {"shared_by_index": WAD - 1},
        {"fund_paid": 4 * 10**6 - 1},
        {"pending_before": 1},
        {"owed_before": 1},
    ],
)
def test_check_losses_every_figure_counts(change: dict[str, int]) -> None:
    sound, now = lost()
    with pytest.raises(InvariantError, match="LOSS"):
        check_losses(Checks(), replace(sound, **change), now)


def test_check_leaving() -> None:
    check_leaving(Checks(), 0, 5, 5, "a withdrawal")
    for pending, reserved, fund in ((1, 0, 5), (0, 6, 5)):
        with pytest.raises(InvariantError, match="a withdrawal ahead of losses"):
            check_leaving(Checks(), pending, reserved, fund, "a withdrawal")


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
            Checks(), with_account(now, replace(now.accounts[1], margin=None, fault="stale")), BOUNDS, Roundings()
        )
