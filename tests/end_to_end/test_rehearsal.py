"""What a rehearsal foretells happens, account by account and to the last digit; and what it must not let happen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.instruments import Instrument, Kind, expiry_after
from plimsoll.chain.orders import make_order, settle_trade, worst_price
from plimsoll.chain.system import CASH, System
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.effect import Standing, read_accounts, read_requirements
from plimsoll.governance.push import plan_push, send_push
from plimsoll.governance.rehearsal import rehearse
from plimsoll.margin.onchain import mark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plimsoll.calibration import Report
    from plimsoll.chain.abi import Call
    from plimsoll.config import Profile

DEPLOYER, BUYER, WRITER, STRANGER = Sender.dev(0), Sender.dev(2), Sender.dev(3), Sender.dev(4)
PAIRS = 100
MINUTE = 60


def send_all(chain: Chain, calls: Sequence[Call], sender: Sender) -> None:
    """Many transactions in few requests and blocks; every one must succeed."""
    nonce = chain.nonce(sender.address)
    fields = {"from": sender.address, "gas": hex(2_000_000)}
    requests = [
        ("eth_sendTransaction", [{**fields, "to": call.to, "data": "0x" + call.data.hex(), "nonce": hex(nonce + k)}])
        for k, call in enumerate(calls)
    ]
    chain.rpc("evm_setAutomine", False)
    try:
        hashes = [answer["result"] for answer in chain.batch(requests)]
        for _ in calls:
            chain.mine()
            if chain.nonce(sender.address) == nonce + len(calls):
                break
    finally:
        chain.rpc("evm_setAutomine", True)
    for hash_ in hashes:
        chain.wait(hash_, "one of many transactions")


def populate(system: System, profile: Profile) -> None:
    """Accounts 1 to PAIRS of the buyer's, the next PAIRS of the writer's: each pair with a perpetual and an option
    between them, of many sizes, and some with hardly more than their initial margin."""
    chain, house, cash, random = system.chain, system.clearing_house, system.cash, np.random.default_rng(6)
    for k, owner in enumerate((BUYER, WRITER)):
        send_all(chain, [house.createAccount()] * PAIRS, owner)
        send_all(chain, [cash.mint(owner.address, 10**15), cash.approve(house.address, 10**15)], owner)
        accounts = range(1 + k * PAIRS, 1 + (k + 1) * PAIRS)
        amounts = random.integers(60_000, 200_000, PAIRS)
        send_all(chain, [house.deposit(a, CASH, int(v) * 10**6) for a, v in zip(accounts, amounts, strict=True)], owner)
    trades = []
    names = tuple(system.underlyings)
    prices = {name: chain.read(system.price_oracle.price(system.underlyings[name]))[0] for name in names}
    marks: dict[int, int] = {}
    for pair in range(1, PAIRS + 1):
        name = names[pair % 2]
        listed = profile.underlying(name)
        strike = list(listed.strikes())[pair % 5]
        expiry = expiry_after(system.manifest.begun, (7, 30)[pair // 2 % 2])
        option = Instrument(Kind(2 + pair // 4 % 2), listed.id, expiry, strike)
        perpetual = system.instrument(f"{name}-PERP")
        mark = marks.setdefault(option.id, mark_of(system, option.id)[0])
        for instrument, price in ((perpetual, prices[name]), (option, mark // 10**6 * 10**6)):
            dollars = float(np.exp(random.uniform(np.log(20_000), np.log(200_000)))) * random.choice((-1, 1))
            size = int(dollars / (prices[name] / WAD) * WAD)
            worst = price if instrument.is_option else worst_price(price, size)
            symbol = instrument.symbol(system.names)
            maker = make_order(system, WRITER, PAIRS + pair, symbol, -size, price, expiry=2**40)
            taker = make_order(system, BUYER, pair, symbol, size, worst, expiry=2**40)
            trades.append(settle_trade(system, maker, taker, abs(size)))
    send_all(chain, trades, DEPLOYER)
    standings = read_accounts(system, chain.block().number).accounts
    for k, owner in enumerate((BUYER, WRITER)):
        withdrawals = []
        for account in range(1 + k * PAIRS, 1 + (k + 1) * PAIRS, 4):
            one = standings[account]
            assert isinstance(one, Standing)
            free = min((one.equity - one.initial) * 97 // 100, chain.read(house.cashOf(account)))
            withdrawals.append(house.withdraw(account, CASH, free // 10**12, owner.address))
        send_all(chain, withdrawals, owner)


@pytest.fixture(scope="module")
def crowd(house: Any, profile: Profile) -> System:
    """The house with its two hundred accounts."""
    populate(house.system, profile)
    return house.system


@pytest.fixture(scope="module")
def stricter(make_report: Callable[..., Report]) -> Report:
    """A report that asks for far more margin."""
    report = make_report()
    assets = {
        name: replace(one, tail_initial=6.0, tail_maintenance=7.0, volatility_stress=2.0, volatility_floor=0.8)
        for name, one in report.assets.items()
    }
    correlation = tuple(replace(pair, low=-0.2, high=0.99) for pair in report.correlation)
    return replace(report, assets=assets, correlation=correlation)


def report_again(system: System, at: int) -> None:
    """Every feed says at unix second `at`, in one block, what it said last."""
    chain, feeds = system.chain, (*system.price_feeds.values(), *system.volatility_feeds.values())
    answers = [chain.read(feed.latestRoundData())[1] for feed in feeds]
    chain.set_time(at)
    send_all(chain, [feed.push(answer) for feed, answer in zip(feeds, answers, strict=True)], DEPLOYER)


def test_rehearsal_foretells_every_account_exactly(crowd: System, stricter: Report, undo: None) -> None:
    chain = crowd.chain
    at, ramp = chain.block().timestamp + MINUTE, chain.read(crowd.risk_parameters.status()).rampDuration
    told = rehearse(crowd, plan_push(crowd, stricter), DEPLOYER.address, at=at)
    chain.set_time(at)
    receipt, *_ = send_push(crowd, told.plan, DEPLOYER).receipts
    now = read_accounts(crowd, receipt.block)
    assert now.timestamp == at
    assert len(now.accounts) == 2 * PAIRS == 200
    assert all(isinstance(one, Standing) for one in now.accounts.values())
    assert now.accounts == told.now.accounts
    assert read_accounts(crowd, receipt.block, at_target=True).accounts == told.target.accounts
    assert read_requirements(crowd, receipt.block) == [impact.after for impact in told.impacts]
    report_again(crowd, at + ramp)
    end = read_accounts(crowd, chain.block().number)
    assert end.timestamp == at + ramp
    assert end.accounts == told.end.accounts
    # and it is no small thing that was foretold
    risen = [account for account, one in end.accounts.items() if one.maintenance > now.accounts[account].maintenance]
    assert len(risen) > 150
    assert sum(fate.is_called for fate in told.fates) > 5
    assert end.accounts != told.without.accounts


def test_push_raises_no_maintenance_requirement_in_its_block(crowd: System, stricter: Report) -> None:
    told = rehearse(crowd, plan_push(crowd, stricter), DEPLOYER.address)
    for fate in told.fates:
        assert fate.before is not None
        assert fate.now is not None
        assert fate.now.equity == fate.before.equity
        assert fate.now.maintenance == fate.before.maintenance
        assert fate.now.status == fate.before.status or not fate.now.is_liquidatable
    assert any(fate.now.initial > fate.before.initial for fate in told.fates if fate.now and fate.before)
    told.require_harmless()


def test_rehearsal_goes_less_far_than_reference_portfolios_allow(crowd: System, stricter: Report, undo: None) -> None:
    plan = plan_push(crowd, stricter)
    told = rehearse(crowd, plan, DEPLOYER.address)
    assert told.planned == plan
    held = [row for row in told.plan.rows if row.note.startswith("held by what it does to ")]
    assert held
    for row, planned in zip(told.plan.rows, plan.rows, strict=True):
        assert abs(row.new - row.old) <= abs(planned.new - planned.old)
    for impact in told.impacts:
        if impact.before.maintenance:
            rise = impact.after.maintenance / impact.before.maintenance - 1
            assert 0 <= rise <= impact.portfolio.maximum_rise
    with pytest.raises(PlimsollError, match="ParameterStewardImpact"):
        send_push(crowd, plan, DEPLOYER)


def test_rehearsal_refuses_to_make_anybody_liquidatable(crowd: System, stricter: Report, undo: None) -> None:
    chain = crowd.chain
    for percent in range(1, 30):
        chain.send(crowd.price_feeds["ETH"].push(25 * 10**8 * (100 + percent)), DEPLOYER)
        standings = read_accounts(crowd, chain.block().number).accounts
        sound = {n: one for n, one in standings.items() if isinstance(one, Standing) and not one.is_liquidatable}
        edge = [n for n, one in sound.items() if one.equity < one.maintenance * 105 // 100]
        if edge:
            break
    told = rehearse(crowd, plan_push(crowd, stricter), DEPLOYER.address)
    hurt = {fate.account for fate in told.fates if fate.is_hurt}
    assert set(edge) <= hurt
    assert hurt <= set(sound)
    with pytest.raises(PlimsollError, match=rf"would make account {min(hurt)} \(equity .* liquidatable") as refusal:
        told.require_harmless()
    assert "\n" not in str(refusal.value)


def test_rehearsal_leaves_the_chain_alone(crowd: System, stricter: Report) -> None:
    before = crowd.chain.block()
    rehearse(crowd, plan_push(crowd, stricter), DEPLOYER.address)
    assert crowd.chain.block() == before


def test_rehearsal_executes_what_loosens(crowd: System, make_report: Callable[..., Report]) -> None:
    plan = plan_push(crowd, make_report())
    assert plan.loosening
    told = rehearse(crowd, plan, DEPLOYER.address)
    assert told.plan.loosening
    lower = [impact for impact in told.impacts if impact.loosened and impact.loosened.initial < impact.after.initial]
    assert len(lower) >= 10


def test_rehearsal_of_a_stranger_is_refused(crowd: System, stricter: Report) -> None:
    with pytest.raises(PlimsollError, match="AccessManagedUnauthorized"):
        rehearse(crowd, plan_push(crowd, stricter), STRANGER.address)
