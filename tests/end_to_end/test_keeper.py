"""The keeper on a live chain: a trader goes under, and the keeper does all of it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.orders import make_order, settle_trade
from plimsoll.chain.state import State, read_state
from plimsoll.chain.system import System
from plimsoll.errors import PlimsollError
from plimsoll.keeper.decide import (
    Bid,
    Flag,
    PayClaims,
    Policy,
    SettleExpired,
    SettleExpiry,
    SettleVariation,
    ShareLoss,
)
from plimsoll.keeper.expiry import find_round
from plimsoll.keeper.run import Keeper, Outcome
from plimsoll.margin.onchain import margin_of
from simulation.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.config import Profile

WAD = 10**18
DEPLOYER, KEEPER, LONG, SHORT, STRANGER = (Sender.dev(index) for index in range(5))
PLIMSOLL = Path(sys.executable).with_name("plimsoll")


@pytest.fixture
def accounts(house: Any, undo: None) -> dict[str, int]:
    """A keeper with money, a trader long on thin margin, who sold to it, and something in the insurance fund."""
    made = {
        "keeper": house.open_account(KEEPER, 500_000),
        "long": house.open_account(LONG, 60_000),
        "short": house.open_account(SHORT, 500_000),
    }
    house.fill_fund(100_000)
    house.trade((made["long"], LONG), (made["short"], SHORT), 5.0, 40_000)
    # Calls see anvil's clock, which lags behind blocks mined faster than one a second: they must not see the second in
    # which the deployment set its parameters, when nobody may be flagged.
    chain = house.system.chain
    chain.set_time(chain.block().timestamp + 600)
    chain.mine()
    return made


def keeper_of(house: Any, accounts: dict[str, int], **policy: int) -> Keeper:
    return Keeper(house.system, KEEPER, Policy(accounts["keeper"], **policy))


def kinds(outcomes: list[Outcome]) -> list[type]:
    return [type(outcome.action) for outcome in outcomes if outcome.receipt is not None]


def test_step_does_nothing_harmful_in_a_healthy_house(house: Any, accounts: dict[str, int]) -> None:
    outcomes = keeper_of(house, accounts).step()
    assert not any(isinstance(outcome.action, Flag | Bid) for outcome in outcomes)


@pytest.mark.parametrize("crash", [29_500.0, 27_000.0], ids=["solvent", "insolvent"])
def test_step_liquidates_from_flag_to_end(chain: Chain, house: Any, accounts: dict[str, int], crash: float) -> None:
    keeper = keeper_of(house, accounts)
    chain.set_time(chain.block().timestamp + 60)
    house.set_price(crash)
    first = keeper.step()
    assert Flag in kinds(first), first
    flagged = read_state(house.system).accounts[accounts["long"]]
    assert flagged.auction is not None
    assert flagged.auction.keeper == accounts["keeper"]
    for _ in range(40):
        chain.set_time(chain.block().timestamp + 60)
        house.set_price(crash)
        keeper.step()
        state = read_state(house.system)
        if state.accounts[accounts["long"]].auction is None:
            break
    after = state.accounts[accounts["long"]]
    assert after.auction is None
    assert after.margin is not None
    assert not after.margin.is_liquidatable
    keeper_now = state.accounts[accounts["keeper"]]
    assert keeper_now.margin is not None
    assert keeper_now.margin.is_healthy
    assert keeper_now.margin.equity > 500_000 * WAD  # the flag fee and the discount
    assert keeper_now.positions
    assert (state.fund_assets < 100_000 * 10**6) == (crash < 28_000)
    assert sum(p.size for a in state.accounts.values() for p in a.positions.values()) == 0


def test_step_settles_large_unrealised_amounts(chain: Chain, house: Any, accounts: dict[str, int]) -> None:
    house.set_price(43_000.0)
    keeper_of(house, accounts).step()
    state = read_state(house.system)
    for name in ("long", "short"):
        margin = state.accounts[accounts[name]].margin
        assert margin is not None
        assert abs(margin.unrealised) < WAD
    assert state.accounts[accounts["long"]].cash > 60_000 * WAD


def test_step_settles_an_expiry_and_pays_it_out(chain: Chain, house: Any, accounts: dict[str, int]) -> None:
    """By the last price of before the expiry, though the market has moved since; both sides to the wei."""
    system, now = house.system, chain.block().timestamp
    put = Instrument(Kind.PUT, 1, now + 7_000, Decimal(40_000))
    chain.send(system.registry.listOptions(1, put.expiry, (put.strike_units,)), DEPLOYER)
    name, size = put.symbol(system.names), 3 * WAD // 2
    signed = [
        make_order(system, who, accounts[role], name, amount, 900 * WAD, expiry=2**40)
        for role, who, amount in (("short", SHORT, -size), ("long", LONG, size))
    ]
    chain.send(settle_trade(system, *signed, size), DEPLOYER)
    for wait, price in ((3_000, 39_500.0), (6_950, 39_000.0), (7_100, 38_000.0), (7_200, 38_500.0)):
        chain.set_time(now + wait)
        house.set_price(price)
    before = read_state(system)
    first = keeper_of(house, accounts).step()
    assert SettleExpiry(1, put.expiry) in [outcome.action for outcome in first if outcome.receipt is not None]
    assert chain.read(system.registry.settlementPriceOf(1, put.expiry)) == 39_000 * WAD
    assert SettleExpired in kinds(keeper_of(house, accounts).step())
    after = read_state(system)
    for role, gain in (("long", 1_500 * WAD), ("short", -1_500 * WAD)):
        assert put.id not in after.accounts[accounts[role]].positions
        moved = after.accounts[accounts[role]].cash - before.accounts[accounts[role]].cash
        assert moved == pytest.approx(gain + settled_variation(before, after, accounts[role]), abs=2)


def settled_variation(before: State, after: State, account: int) -> int:
    """What a keeper that settled variation as well has moved from quotes into cash."""
    quotes = [sum(p.quote for p in state.accounts[account].positions.values()) for state in (before, after)]
    return quotes[0] - quotes[1]


def test_find_round_of_a_feed_that_fell_silent(chain: Chain, house: Any, undo: None) -> None:
    """Nothing settles while the feed is silent beyond its heartbeat; then the first round after the expiry does."""
    system, now = house.system, chain.block().timestamp
    heartbeat = chain.read(system.price_oracle.feedOf(1)).heartbeat
    house.set_price(40_000.0)
    expiry = now + heartbeat + 600
    chain.send(system.registry.listOptions(1, expiry, (40_000 * 10**8,)), DEPLOYER)
    chain.set_time(expiry + 60)
    chain.mine()
    assert find_round(system, 1, expiry) is None
    for price in (39_000.0, 38_000.0):
        house.set_price(price)
    found = find_round(system, 1, expiry)
    chain.send(system.registry.settle(1, expiry, found), STRANGER)
    assert chain.read(system.registry.settlementPriceOf(1, expiry)) == 39_000 * WAD


# ─── Losses beyond the fund


def test_step_sees_a_loss_beyond_the_fund_to_its_end(chain: Chain, house: Any, accounts: dict[str, int]) -> None:
    """LOSS: the fund pays a quarter at once and owes the rest, the keeper collects what hides from the share, shares it
    when it is due and has the claims paid until next to nothing is owed."""
    system, audit, crash = house.system, Audit(house.system), 5_000.0
    keeper = keeper_of(house, accounts, settle_above=10**9 * WAD)
    done: list[type] = []
    house.set_price(crash)
    while ShareLoss not in done:
        chain.set_time(chain.block().timestamp + 300)
        report(house, crash)
        done += kinds(keeper.step())
        assert len(done) < 100
    assert [done.index(kind) for kind in (Flag, Bid, SettleVariation, ShareLoss)] == sorted(
        done.index(kind) for kind in (Flag, Bid, SettleVariation, ShareLoss)
    )
    state, events = audit.examine()
    pending = next(event for event in events if event.name == "LossPending")
    shared = next(event for event in events if event.name == "LossShared")
    assert chain.block(shared.block).timestamp >= pending.arguments["dueAt"]
    assert state.pending_loss == 0
    assert state.loss_index < 10**27
    settled = [event.arguments["account"] for event in events if event.name == "VariationSettled"]
    assert accounts["short"] in settled
    covered = next(event for event in events if event.name == "LossCovered")
    assert covered.arguments["paid"] == 25_000 * 10**6
    assert covered.arguments["queued"] == 75_000 * 10**6
    for _ in range(200):
        if state.fund_owed < 10**6:
            break
        chain.set_time(chain.block().timestamp + 3_600)
        report(house, crash)
        keeper.step()
        state, _ = audit.examine()
    assert state.fund_owed < 10**6
    assert PayClaims in done
    keeper_now = state.accounts[accounts["keeper"]].margin
    assert keeper_now is not None
    assert keeper_now.equity > 490_000 * WAD  # the share of a loss of some 15,000 dollars, and what it bought
    chain.send(system.clearing_house.withdraw(accounts["short"], 0, 10**6, SHORT.address), SHORT)


def report(house: Any, price: float) -> None:
    """A price of the first underlying; of all else what it was."""
    house.set_price(price)
    for feed in [*list(house.system.price_feeds.values())[1:], *house.system.volatility_feeds.values()]:
        house.system.chain.send(feed.push(house.system.chain.read(feed.latestRoundData())[1]), DEPLOYER)


# ─── Protection


def test_step_protects_an_account_at_its_owners_wish(chain: Chain, house: Any, accounts: dict[str, int]) -> None:
    """LIQUIDATE: an auction above maintenance, at no more than the owner gives, for no fee; after it the owner has its
    buffer again."""
    system, audit, keeper, long = house.system, Audit(house.system), keeper_of(house, accounts), accounts["long"]
    wish = system.liquidation_engine.setProtection(long, 2 * WAD, WAD // 20)
    chain.send(wish, LONG)
    crash = price_between(house, long, 1.0, 2.0)
    house.set_price(crash)
    assert Flag in kinds(keeper.step())
    flagged = read_state(system).accounts[long]
    assert flagged.auction is not None
    assert flagged.auction.protective
    assert flagged.margin is not None
    assert not flagged.margin.is_liquidatable
    for _ in range(20):
        chain.set_time(chain.block().timestamp + 60)
        house.set_price(crash)
        keeper.step()
        state, _ = audit.examine()
        if state.accounts[long].auction is None:
            break
    assert audit.seen["BidSettled"] >= 1
    after = state.accounts[long]
    assert after.auction is None
    assert after.margin is not None
    assert after.margin.equity > flagged.margin.equity - flagged.margin.maintenance.total // 20
    buffer = [(m.equity - m.maintenance.total, m.initial.total) for m in (flagged.margin, after.margin)]
    assert buffer[1][0] / buffer[1][1] > buffer[0][0] / buffer[0][1]


def test_step_flags_a_protective_auction_anew_when_the_price_gaps(
    chain: Chain, house: Any, accounts: dict[str, int]
) -> None:
    """What began at the owner's wish goes on as a liquidation, from a discount of nothing."""
    system, keeper, long = house.system, keeper_of(house, accounts), accounts["long"]
    chain.send(system.liquidation_engine.setProtection(long, 2 * WAD, WAD // 20), LONG)
    house.set_price(price_between(house, long, 1.0, 2.0))
    keeper.step()
    chain.set_time(chain.block().timestamp + 20)
    house.set_price(29_500.0)
    assert Flag in kinds(keeper.step())
    auction = read_state(system).accounts[long].auction
    assert auction is not None
    assert not auction.protective
    assert auction.fee == 5 * WAD
    assert auction.discount < WAD // 100


def price_between(house: Any, account: int, low: float, high: float) -> float:
    """A price at which equity / maintenance of an account lies between, and below the target; the chain as it was."""
    with house.system.chain.snapshot():
        for price in range(39_000, 28_000, -100):
            house.set_price(float(price))
            margin = margin_of(house.system, account)
            target = (margin.maintenance.total + margin.initial.total) / 2
            if low * margin.maintenance.total < margin.equity < min(high * margin.maintenance.total, target) * 0.98:
                return float(price)
    raise AssertionError("no such price")


# ─── Refusals that pass


def test_step_waits_for_throughput(chain: Chain, house: Any, accounts: dict[str, int], profile: Profile) -> None:
    """No more than the limit in a window, by several bids; what there is no room for is refused, and nothing breaks."""
    system, keeper, long = house.system, keeper_of(house, accounts, minimum_reward=WAD), accounts["long"]
    slow = replace(profile.auction, throughput=Decimal(0), minimum_throughput=Decimal(10_000), throughput_window=3_600)
    chain.send(system.liquidation_engine.setAuctionParameters(slow.as_tuple(profile.ids)), DEPLOYER)
    crash = price_between(house, long, 0.8, 0.99)
    house.set_price(crash)
    keeper.step()
    audit = Audit(system)
    for _ in range(8):
        chain.set_time(chain.block().timestamp + 300)
        house.set_price(crash)
        keeper.step()
        state, _ = audit.examine()
        assert 0 <= state.oracles["BTC"].throughput_room <= 10_000 * WAD
    assert audit.seen["BidSettled"] >= 2
    assert state.accounts[long].auction is not None
    chain.rpc("anvil_setBlockTimestampInterval", 0)
    try:
        whole = Bid(long, WAD, 10**24, 2**64 - 1)
        keeper._act(whole)  # whatever there is room for since the last one
        assert keeper._act(whole).refusal.startswith("LiquidationThroughput(underlying=1")
    finally:
        chain.rpc("anvil_removeBlockTimestampInterval")
    assert read_state(system).oracles["BTC"].throughput_room < WAD


def test_step_reports_a_refusal_and_goes_on(house: Any, accounts: dict[str, int]) -> None:
    keeper = keeper_of(house, accounts)
    refused = keeper._act(Flag(accounts["short"]))
    assert refused.receipt is None
    assert refused.refusal.startswith("LiquidationNotLiquidatable(account=")
    assert keeper._act(SettleVariation(accounts["short"])).receipt is not None


def test_require_permission_refuses_anothers_account(house: Any, accounts: dict[str, int]) -> None:
    with pytest.raises(PlimsollError, match="may not trade for account"):
        Keeper(house.system, STRANGER, Policy(accounts["keeper"])).require_permission()


def test_run_outlives_a_dead_endpoint(profile: Profile, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The node goes away and comes back at the same address, with nothing of what it had: the keeper is still there."""
    with Anvil() as node:
        chain = Chain.connect(node.url)
        system = System.load(chain, deploy(chain, profile, DEPLOYER, tmp_path / "31337.json"))
        chain.send(system.clearing_house.createAccount(), KEEPER)
        keeper = Keeper(system, KEEPER, Policy(1))
        rounds: list[list[Outcome]] = []
        worker = threading.Thread(target=keeper.run, args=(0.05, rounds.append))
        with caplog.at_level(logging.WARNING):
            worker.start()
            wait_for(lambda: bool(rounds))
            node.stop()
            wait_for(lambda: "no answer from" in caplog.text)
            assert worker.is_alive()
            keeper.stop()
            worker.join(10)
    assert not worker.is_alive()
    assert "\n" not in caplog.messages[0]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_run_command_stops_cleanly(house: Any, anvil: Anvil, accounts: dict[str, int], stop: signal.Signals) -> None:
    command = ["keeper", "run", "--account", accounts["keeper"], "--interval", "0.2", "--manifest", house.manifest]
    key = {"KEEPER_KEY": KEEPER.signer.key.hex()}
    process = subprocess.Popen(
        [str(PLIMSOLL), *map(str, command), "--rpc", anvil.url, "--key-env", "KEEPER_KEY"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **key, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    while lines[-1] and "round:" not in lines[-1]:
        lines.append(process.stdout.readline())
    process.send_signal(stop)
    rest = process.communicate(timeout=20)[0]
    output = "".join(lines) + rest
    assert process.returncode == 0, output
    assert rest.rstrip().endswith("stopped"), output
    assert key["KEEPER_KEY"] not in output
    assert "Traceback" not in output


def test_open_mints_where_it_may_and_sends_nothing_it_cannot_finish(
    chain: Chain, house: Any, undo: None, run_plimsoll: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    before = chain.read(house.system.clearing_house.accountCount())
    refused = {
        "1000": "has 0 USD, not 1,000",
        "0.0000001": "which has 6 decimals",
        "much": "is no number of dollars",
        "nan": "is no number of dollars",
    }
    for amount, why in refused.items():
        run = run_plimsoll("keeper", "open", "--deposit", amount, "--manifest", house.manifest)
        assert run.returncode == 1
        assert run.stderr.startswith("error: ")
        assert why in run.stderr
        assert run.stderr.count("\n") == 1
    assert chain.read(house.system.clearing_house.accountCount()) == before
    run = run_plimsoll("keeper", "open", "--deposit", "1000", "--mint", "--manifest", house.manifest)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"account {before + 1} opened with 1,000 dollars\n"
    assert chain.read(house.system.clearing_house.cashOf(before + 1)) == 1_000 * WAD
