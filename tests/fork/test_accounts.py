"""Accounts from first deposit to last withdrawal, driven by wallets; every invariant after every step."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import ape
import pytest

from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.state import read_state

WAD = 10**18
USD, WBTC, WETH = 0, 1, 2


@dataclass(frozen=True)
class Cast:
    """Roles: (wallet, account)."""

    maker: tuple[Any, int]
    trader: tuple[Any, int]
    hedger: tuple[Any, int]
    keeper: tuple[Any, int]


@pytest.fixture
def people(house: Any, accounts: Any) -> Cast:
    maker, trader, hedger, keeper = accounts[1:5]
    return Cast(
        (maker, house.open(maker, USD=1_000_000)),
        (trader, house.open(trader, USD=20_000)),
        (hedger, house.open(hedger, USD=5_000, WBTC=1.25, WETH=10)),
        (keeper, house.open(keeper, USD=400_000)),
    )


def status(house: Any, account: int) -> tuple[int, int, int]:
    """(equity, initial, maintenance) through Ape's own decoding of the struct."""
    margin = house.margin.marginOf(account)
    return margin.equity, margin.initial.total, margin.maintenance.total


def test_deposit_countsTokensOfEveryDecimals(house: Any, people: Cast) -> None:
    account = people.hedger[1]
    assert house.clearing.cashOf(account) == 5_000 * WAD  # 6 decimals
    assert house.clearing.collateralOf(account, WBTC) == 125_000_000  # 8
    assert house.clearing.collateralOf(account, WETH) == 10 * WAD  # 18
    margin = house.margin.marginOf(account)
    assert margin.equity == (5_000 + 125 * 400 + 25_000) * WAD
    assert 0 < margin.maintenance.total < margin.initial.total < margin.equity
    house.check()


def test_life_fromDepositToWithdrawal(house: Any, people: Cast) -> None:
    """Trade, profit, margin call, liquidation, and home again with what is left."""
    trader, account = people.trader
    house.trade(people.trader, people.maker, "BTC", 2 * WAD, 40_000 * WAD)
    house.trade(people.hedger, people.maker, "BTC", -125 * WAD // 100, 40_000 * WAD)
    house.check()

    house.report("BTC", 41_000)  # profit, which may be taken out as cash
    assert status(house, account)[0] == 22_000 * WAD
    house.clearing.withdraw(account, USD, 1_000 * 10**6, trader, sender=trader)
    assert house.tokens["USD"].balanceOf(trader) == 1_000 * 10**6
    house.check()

    house.report("BTC", 33_500)  # margin call: less risk only
    equity, initial, maintenance = status(house, account)
    assert maintenance < equity < initial
    with ape.reverts(house.gateway.ClearingHouseInsufficientMargin):
        house.trade(people.trader, people.maker, "BTC", WAD // 10, 33_500 * WAD)
    with ape.reverts(house.clearing.ClearingHouseInsufficientMargin):
        house.clearing.withdraw(account, USD, 10**6, trader, sender=trader)
    house.trade(people.trader, people.maker, "BTC", -WAD // 10, 33_500 * WAD)
    house.check()

    house.report("BTC", 31_500)  # liquidation
    equity, _, maintenance = status(house, account)
    assert 0 < equity < maintenance
    keeper, bidder = people.keeper
    house.liquidation.flag(account, bidder, sender=keeper)
    with ape.reverts(house.liquidation.LiquidationAlreadyFlagged, error_inputs={"account": account}):
        house.liquidation.flag(account, bidder, sender=keeper)
    house.check()
    ape.chain.mine(timestamp=ape.chain.pending_timestamp + 300)
    preview = house.liquidation.previewBid(account, WAD)
    assert 0 < preview.fraction <= WAD
    nonce = house.clearing.nonceOf(account)
    receipt = house.liquidation.bid(account, bidder, WAD, preview.price * 2, nonce, sender=keeper)
    assert [log.event_name for log in receipt.events][-1] == "AuctionEnded"
    equity_after, _, maintenance_after = status(house, account)
    assert equity_after >= maintenance_after
    assert equity_after * maintenance >= equity * maintenance_after
    assert house.liquidation.auctionOf(account).startedAt == 0
    house.check()

    left, _ = house.clearing.positionOf(account, house.system.perpetual("BTC"))
    if left:
        house.trade(people.trader, people.maker, "BTC", -left, 31_500 * WAD)
    cash = house.cash_of(account) // 10**12
    house.clearing.withdraw(account, USD, cash, trader, sender=trader)
    assert house.tokens["USD"].balanceOf(trader) == cash + 1_000 * 10**6
    assert house.cash_of(account) < 10**12

    hedger, hedged = people.hedger  # lost nothing: short against its own collateral
    house.trade(people.hedger, people.maker, "BTC", 125 * WAD // 100, 31_500 * WAD)
    house.clearing.withdraw(hedged, WBTC, 125_000_000, hedger, sender=hedger)
    house.clearing.withdraw(hedged, WETH, 10 * WAD, hedger, sender=hedger)
    assert house.cash_of(hedged) == (5_000 + 125 * 85) * WAD
    state = house.check()
    counts = house.audit.checks.counts
    assert all(counts[name] for name in ("CASH", "ZERO-SUM", "EQUITY", "GATE", "ORDER", "LIQUIDATE", "LOSS", "BOUNDS"))
    assert not state.accounts[hedged].collateral


def test_option_fromPremiumToPayout(house: Any, people: Cast) -> None:
    """A covered call: premium in cash at the trade, less margin for the whole than for its parts, payoff in cash."""
    hedger, hedged = people.hedger
    expiry = ape.chain.pending_timestamp + 3_600
    call = Instrument(Kind.CALL, 1, expiry, Decimal(41_000))
    at = ape.chain.pending_timestamp + 1_800
    with ape.reverts(house.registry.RegistryUnknownInstrument, error_inputs={"instrument": call.id}):
        house.registry.requireTradable(call.id)
    house.registry.listOptions(1, expiry, [call.strike_units], sender=house.reporter)
    alone = status(house, hedged)[1]
    house.trade(people.hedger, people.trader, "BTC", -WAD, 200 * WAD, instrument=call.id, expiry=at)
    assert house.cash_of(hedged) == 5_200 * WAD
    assert house.cash_of(people.trader[1]) == 19_800 * WAD
    short = house.margin.marginOfPortfolio((0, [(call.id, -WAD, 0)], [])).initial.total
    assert status(house, hedged)[1] < alone + short
    value, volatility = house.lens.markOf(call.id)
    assert status(house, people.trader[1])[1] <= value  # a long option can lose what it is worth
    assert volatility > 0
    house.check()

    ape.chain.mine(timestamp=expiry - 60)
    house.report("BTC", 42_500)
    house.report("ETH", 2_500)
    in_force = house.prices.latestRound(1)
    ape.chain.mine(timestamp=expiry + 60)
    house.report("BTC", 44_000)
    with ape.reverts(house.registry.RegistryWrongRound):
        house.registry.settle(1, expiry, in_force + 1, sender=people.keeper[0])
    house.registry.settle(1, expiry, in_force, sender=people.keeper[0])
    assert house.registry.settlementPriceOf(1, expiry) == 42_500 * WAD
    house.check()
    house.clearing.settleExpired(people.trader[1], sender=people.keeper[0])
    assert house.cash_of(people.trader[1]) == 21_300 * WAD
    house.check()  # one side has been paid, the other not yet
    house.clearing.withdraw(hedged, USD, 10**6, hedger, sender=hedger)  # which pays it out first
    assert house.cash_of(hedged) == 3_699 * WAD
    state = house.check()
    assert not state.accounts[hedged].positions
    assert house.audit.payouts.count == 2


def test_insolvency_isPaidByTheFundAndThenShared(house: Any, people: Cast, accounts: Any) -> None:
    """LOSS: the fund first, a quarter of it at once and the rest as a claim; then everybody, an hour after it is known;
    until then nobody leaves."""
    underwriter = accounts[5]
    house.tokens["USD"].mint(underwriter, 5_000 * 10**6, sender=underwriter)
    house.tokens["USD"].approve(house.fund, 5_000 * 10**6, sender=underwriter)
    house.fund.deposit(5_000 * 10**6, underwriter, sender=underwriter)
    house.trade(people.trader, people.maker, "BTC", 25 * WAD // 10, 40_000 * WAD)
    house.report("BTC", 29_000)  # 27,500 lost on 20,000
    account, (keeper, bidder) = people.trader[1], people.keeper
    house.liquidation.flag(account, bidder, sender=keeper)
    assert house.liquidation.reservedShortfall() == 7_500 * WAD
    with ape.reverts(house.clearing.ClearingHouseWithdrawalsLocked):
        house.clearing.withdraw(people.maker[1], USD, 10**6, people.maker[0], sender=people.maker[0])
    house.check()
    ape.chain.mine(timestamp=ape.chain.pending_timestamp + 600)
    house.liquidation.bid(account, bidder, WAD, 0, 2**64 - 1, sender=keeper)
    assert house.liquidation.reservedShortfall() == 0
    assert house.fund.totalAssets() == 0
    assert house.fund.owed() == 3_750 * 10**6
    pending = house.clearing.pendingLoss()
    assert pending == house.check().pending_loss > 2_500 * WAD
    assert house.audit.losses.shared >= pending
    with ape.reverts(house.clearing.ClearingHouseNoLossDue):
        house.clearing.shareLoss(sender=keeper)
    with ape.reverts(house.clearing.ClearingHouseWithdrawalsLocked):
        house.clearing.withdraw(people.maker[1], USD, 10**6, people.maker[0], sender=people.maker[0])
    ape.chain.mine(timestamp=ape.chain.pending_timestamp + 3_600)
    for symbol, price in (("BTC", 29_000), ("ETH", 2_500)):
        house.report(symbol, price)
    house.clearing.shareLoss(sender=keeper)
    assert house.clearing.lossIndex() < 10**27
    assert house.fund.payClaims(10, sender=keeper).events[0].event_name == "ClaimPaid"
    assert house.check().pending_loss == 0
    house.clearing.withdraw(people.maker[1], USD, 10**6, people.maker[0], sender=people.maker[0])


def test_settleTrade_refusesBadOrders(house: Any, people: Cast, accounts: Any) -> None:
    """Forged, replayed, overfilled, cancelled and expired orders, each by its own error."""
    attacker, at = accounts[9], 40_000 * WAD
    made = house.order(*people.maker, "BTC", -WAD, at)
    taken = house.order(*people.trader, "BTC", WAD // 2, at)
    settle = house.gateway.settleTrade

    forged = (taken[0], house.order(attacker, people.trader[1], "BTC", WAD // 2, at)[1])
    with ape.reverts(house.gateway.OrderGatewayBadSignature):
        settle(*made, *forged, WAD // 2, sender=attacker)
    signed_by_a_stranger = house.order(attacker, people.trader[1], "BTC", WAD // 2, at)
    with ape.reverts(house.gateway.OrderGatewaySignerNotAuthorised):
        settle(*made, *signed_by_a_stranger, WAD // 2, sender=attacker)
    with ape.reverts(house.gateway.OrderGatewayOverfilled):
        settle(*made, *taken, WAD // 2 + 1, sender=attacker)
    settle(*made, *taken, WAD // 2, sender=attacker)  # anyone may settle what both have signed
    with ape.reverts(house.gateway.OrderGatewayOverfilled):
        settle(*made, *taken, 1, sender=attacker)
    again = house.order(*people.trader, "BTC", WAD // 4, at)
    with ape.chain.isolate():
        house.gateway.cancelAllOrders(people.maker[1], sender=people.maker[0])
        with ape.reverts(house.gateway.OrderGatewayCancelled):
            settle(*made, *again, WAD // 4, sender=attacker)
    with ape.chain.isolate():
        ape.chain.mine(timestamp=ape.chain.pending_timestamp + 86_401)
        with ape.reverts(house.gateway.OrderGatewayExpired):
            settle(*made, *again, WAD // 4, sender=attacker)
    settle(*made, *again, WAD // 4, sender=attacker)  # as if neither had happened


def test_snapshot_restoresTheHouse(house: Any, people: Cast) -> None:
    before, mark = house.check(), ape.chain.snapshot()
    house.trade(people.trader, people.maker, "ETH", WAD, 2_500 * WAD)
    house.report("ETH", 2_400)
    ape.chain.restore(mark)
    after = read_state(house.system)
    account = people.trader[1]
    assert (after.accounts[account].nonce, after.block) == (before.accounts[account].nonce, before.block)
    assert after.oracles["ETH"].price == before.oracles["ETH"].price


def test_time_widensMarginUntilThePriceIsTooOld(house: Any, people: Cast) -> None:
    """ORDER and ORACLE by time alone: margin rises with the price's age; after the heartbeat there is none."""
    house.trade(people.trader, people.maker, "BTC", WAD, 40_000 * WAD)
    house.report("BTC", 40_000)
    account, seen = people.trader[1], []
    for _ in range(4):
        seen.append(status(house, account)[1:])
        ape.chain.mine(timestamp=ape.chain.pending_timestamp + 1_500)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(seen)), seen
    with ape.chain.isolate():
        ape.chain.mine(timestamp=ape.chain.pending_timestamp + 1_500)
        with ape.reverts(house.prices.PriceOracleStale):
            house.clearing.withdraw(account, USD, 1, people.trader[0], sender=people.trader[0])
    house.report("BTC", 40_000)
    house.report("ETH", 2_500)


def test_cover_paysOnlyLiquidations(house: Any, people: Cast, accounts: Any) -> None:
    """The fund pays nobody else, whoever asks; the liquidation engine's losses it does, to the clearing house."""
    keeper = people.keeper[0]
    house.tokens["USD"].mint(house.fund, 10**6, sender=keeper)
    with ape.reverts(house.fund.InsuranceFundOnlyLiquidationEngine, error_inputs={"sender": keeper.address}):
        house.fund.cover(10**6, 0, people.keeper[1], sender=keeper)
    held = house.tokens["USD"].balanceOf(house.clearing)
    with ape.chain.isolate(), accounts.use_sender(accounts.impersonate_account(house.liquidation.address)) as engine:
        engine.balance = 10**18
        house.fund.cover(250_000, 750_000, people.keeper[1])
        assert house.fund.totalAssets() == 0
        assert house.fund.owed() == 750_000
        assert house.tokens["USD"].balanceOf(house.clearing) == held + 250_000


def test_withdraw_isTracedThroughTheMarginCheck(house: Any, people: Cast) -> None:
    """GATE in the trace: the margin engine is asked, and asks both oracles, before the token moves."""
    hedger, account = people.hedger
    receipt = house.clearing.withdraw(account, WBTC, 1, hedger, sender=hedger)
    frames = flatten(receipt.trace.get_raw_calltree())
    calls = [(frame["address"].lower(), str(frame["calldata"])[:10]) for frame in frames]
    targets = [to for to, _ in calls]
    margin, token = house.margin.address.lower(), house.tokens["WBTC"].address.lower()
    moves = [to for to, selector in calls if selector == "0xa9059cbb"]  # transfer(address,uint256)
    assert moves == [token]
    at = targets.index(margin)
    assert house.prices.address.lower() in targets[at:]
    assert house.volatilities.address.lower() in targets[at:]
    assert at < calls.index((token, "0xa9059cbb"))


def flatten(frame: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame, *(inner for call in frame.get("calls", []) for inner in flatten(call))]
