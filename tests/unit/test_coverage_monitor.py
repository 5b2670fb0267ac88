"""CoverageMonitor, deployed, against a count of the same outcomes over real Chainlink rounds; and that count alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from plimsoll.chain.abi import Call, Contract
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import LOCAL_GAS, Chain, Sender
from plimsoll.chain.fields import INT32_MAXIMUM, Field
from plimsoll.validation.monitor import CoverageCount, Round, deviation_up, is_exception, multiplier_up

WAD, MILLION = 10**18, 10**6
ASSETS = {1: "BTC", 2: "ETH"}
ROUNDS = 5_000
"""Of both assets together."""
HORIZONS = (4 * 3600, 3600)
"""Initial and maintenance, seconds: as the contract's enum counts them."""
TAILS = (1_400_000, 1_700_000)
"""So low that both lights leave green and come back."""
STRESS, WEIGHT, FLOOR, CAP = 600_000, 250_000, 200_000, 4_000_000
HEARTBEAT, VOLATILITY_HEARTBEAT = 2 * 3600, 7 * 86_400
CALL_LATENCY = 12
VISITS = 0.1
"""Of the rounds, to how many the caller comes."""
MONITOR_ROLE = 7


def real_rounds(asset: str) -> list[Round]:
    """Of the one phase in the file, in order; prices as the feed answers them, 8 decimals."""
    path = Path(os.environ["PLIMSOLL_DATA"]) / "oracle" / f"chainlink_{asset}-USD_rounds.parquet"
    frame = pl.read_parquet(path)
    assert frame["phase"].n_unique() == 1
    return [Round(price, at) for price, at in zip(frame["answer"], frame["updatedAt"], strict=True)]


class Stage:
    """The few contracts that a monitor needs, and both underlyings on pushed feeds. Every block is one transaction."""

    def __init__(self, chain: Chain, first: dict[int, Round]) -> None:
        self.chain, self.sender = chain, Sender.dev(0)
        self.manager = self.deploy("AccessManager", self.sender.address)
        authority = self.manager.address
        self.parameters = self.deploy("RiskParameters", authority)
        self.prices = self.deploy("PriceOracle", authority)
        self.volatilities = self.deploy("VolatilityOracle", authority, self.prices.address, self.parameters.address)
        addresses = (self.prices.address, self.volatilities.address, self.parameters.address)
        self.monitor = self.deploy("CoverageMonitor", *addresses)
        selector = self.parameters.function("setCoverage").selector
        self.send(self.manager.setTargetFunctionRole(self.parameters.address, [selector], MONITOR_ROLE))
        self.send(self.manager.grantRole(MONITOR_ROLE, self.monitor.address, 0))
        self.calibrate()
        self.feeds = {one: self.deploy("PushedFeed", authority, 8, ASSETS[one]) for one in ASSETS}
        self.reporters = {one: self.deploy("PushedFeed", authority, 5, ASSETS[one]) for one in ASSETS}
        none = "0x" + "0" * 40
        for one in ASSETS:
            self.send(self.feeds[one].pushAt(first[one].price, first[one].at))
            self.send(self.reporters[one].push(50_000))
            feed = (self.feeds[one].address, HEARTBEAT, 0, 0, WAD, 10**9 * WAD, none, 0, 0)
            self.send(self.prices.setPriceFeed(one, feed))
            reporter = (self.reporters[one].address, VOLATILITY_HEARTBEAT, 0, WAD, WAD // 100, 10 * WAD)
            self.send(self.volatilities.setVolatilityFeed(one, reporter))

    def deploy(self, name: str, *arguments: Any) -> Contract:
        return Contract.at(name, str(self.chain.deploy(load(name), arguments, self.sender).contract))

    def send(self, call: Call) -> None:
        self.chain.send(call, self.sender)

    def calibrate(self) -> None:
        numbers = {
            Field.TAIL_INITIAL: TAILS[0],
            Field.TAIL_MAINTENANCE: TAILS[1],
            Field.VOLATILITY_STRESS: STRESS,
            Field.VOLATILITY_STRESS_WEIGHT: WEIGHT,
            Field.VOLATILITY_FLOOR: FLOOR,
            Field.VOLATILITY_CAP: CAP,
        }
        common = {Field.HORIZON_INITIAL: HORIZONS[0], Field.HORIZON_MAINTENANCE: HORIZONS[1]}
        for field in numbers | common:
            self.send(self.parameters.setBounds(int(field), (0, INT32_MAXIMUM)))
        changes = [(int(field), one, 0, value) for one in ASSETS for field, value in numbers.items()]
        changes += [(int(field), 0, 0, value) for field, value in common.items()]
        self.send(self.parameters.applyBundle(changes, (bytes(32), bytes(32), bytes(32), 1, 990_000)))

    def block(self, at: int, calls: list[Call]) -> None:
        """All of it in one block at that time. The manager's administrator may call anything through it."""
        inner = [self.manager.execute(call.to, call.data).data for call in calls]
        self.chain.rpc("evm_setNextBlockTimestamp", at)
        transaction = {"to": self.manager.address, "data": "0x" + self.manager.multicall(inner).data.hex()}
        transaction |= {"from": self.sender.address, "gas": hex(LOCAL_GAS)}
        # Waiting also keeps the next block's time from being set before this block is there.
        self.chain.wait(self.chain.rpc("eth_sendTransaction", transaction), f"the block at {at}")

    def closed(self) -> dict[tuple[int, int], list[dict[str, Any]]]:
        """What the monitor has said of closed observations, by underlying and horizon."""
        found: dict[tuple[int, int], list[dict[str, Any]]] = {(u, h): [] for u in ASSETS for h in range(2)}
        query = {"fromBlock": "0x0", "toBlock": "latest", "address": self.monitor.address}
        for log in self.chain.rpc("eth_getLogs", query):
            event = self.monitor.read_event(log)
            assert event is not None
            assert event.name != "ObservationDropped"
            if event.name == "ObservationClosed":
                found[event.arguments["underlying"], event.arguments["horizon"]].append(dict(event.arguments))
        return found


@pytest.mark.data
@pytest.mark.slow
def test_monitor_isThePythonCountOver5000RealRounds() -> None:
    """The caller comes to one round in ten, so that observations are closed late, by rounds of some time ago."""
    real = {one: real_rounds(asset) for one, asset in ASSETS.items()}
    told: dict[int, list[Round]] = {one: [real[one][0]] for one in ASSETS}
    counts = {(u, h): CoverageCount(told[u], HORIZONS[h]) for u in ASSETS for h in range(2)}
    reported = dict.fromkeys(ASSETS, 50_000)
    coming = sorted((r.at, one, r.price) for one in ASSETS for r in real[one][1:])[: ROUNDS - len(ASSETS)]
    start = max(real[one][0].at for one in ASSETS)
    draw = np.random.default_rng(6)
    with Anvil(timestamp=start + 1) as node:
        stage = Stage(Chain.connect(node.url), {one: real[one][0] for one in ASSETS})
        now, calls = start, []
        for at, one, price in coming:
            told[one].append(Round(price, at))
            calls.append(stage.feeds[one].pushAt(price, at))
            if draw.random() < 0.02:
                reported[one] = int(draw.integers(30_000, 70_000))
                calls.append(stage.reporters[one].push(reported[one]))
            if draw.random() > VISITS:
                continue
            now = max(now + 1, at + CALL_LATENCY)
            for (underlying, horizon), count in counts.items():
                if not count.can_update():
                    continue
                closing = count.closing_round()
                calls.append(stage.monitor.update(underlying, horizon, 0 if closing is None else closing + 1))
                count.update(now, deviation_up(level(reported[underlying]), TAILS[horizon]))
            stage.block(now, calls)
            calls.clear()
        found = stage.closed()
        for (one, horizon), count in counts.items():
            expected = [(outcome.closed + 1, outcome.is_exception) for outcome in count.outcomes]
            assert [(each["roundId"], each["isException"]) for each in found[one, horizon]] == expected
            status = stage.chain.read(stage.monitor.statusOf(one, horizon))
            assert tuple(status)[:3] == (count.observations, count.exceptions, count.multiplier)
            coverage = stage.chain.read(stage.parameters.coverageOf(one))
            assert coverage[horizon] == count.multiplier
            assert len(expected) > (200, 250)[horizon]
            assert {True, False} == {moved for _, moved in expected}
    assert sum(len(rounds) for rounds in told.values()) == ROUNDS
    assert max(count.multiplier for count in counts.values()) > MILLION


def test_deviation_up_isTheProductRoundedUp() -> None:
    assert deviation_up(9 * 10**17, 3_600_000) == 3_240_000_000
    assert deviation_up(9 * 10**17 + 1, 3_600_000) == 3_240_000_001


def test_isException_isBeyondTheRangeEitherWay() -> None:
    # 3.24 · √(1 h / year) = 3.4617281296825748%
    for move, expected in ((346_172_812, False), (346_172_813, True)):
        for sign in (1, -1):
            assert is_exception(10**10, 10**10 + sign * move, 3_240_000_000, 3600) is expected
    assert not is_exception(10**10, 10**10 + 2 * 346_172_812, 3_240_000_000, 4 * 3600)


@pytest.mark.parametrize(
    ("exceptions", "expected"),
    [
        (0, 1.0),
        (4, 1.0),
        (5, 3.4 / 3),
        (6, 3.5 / 3),
        (7, 3.65 / 3),
        (8, 1.25),
        (9, 3.85 / 3),
        (10, 4 / 3),
        (250, 4 / 3),
    ],
)
def test_multiplierUp_isTheCommitteesTable(exceptions: int, expected: float) -> None:
    assert 0 <= multiplier_up(exceptions) / MILLION - expected < 1.001e-6


def test_count_closesWithTheFirstRoundDueAndForgetsAfter250() -> None:
    count = CoverageCount([Round(100, 0)], horizon=10)
    count.update(0, 10**9)
    assert not count.can_update()
    count.rounds = [*count.rounds, Round(100, 9), Round(200, 10), Round(100, 10), Round(100, 40)]
    assert count.closing_round() == 2
    outcome = count.update(40, 10**9)
    assert outcome is not None
    assert (outcome.opened, outcome.closed, outcome.is_exception) == (0, 2, True)
    assert not count.can_update()
    for step in range(1, 251):
        count.rounds = [*count.rounds, Round(100, 40 + 10 * step)]
        assert count.exceptions == 1
        count.update(40 + 10 * step, 10**9)
    assert (count.observations, count.exceptions, len(count.outcomes)) == (250, 0, 251)


def level(reported: int) -> int:
    """σ [wad] of a feed's answer in five decimals, blended with stress and held between floor and cap."""
    blended = -(-((MILLION - WEIGHT) * reported * 10**13 + WEIGHT * STRESS * 10**12) // MILLION)
    return min(max(blended, FLOOR * 10**12), CAP * 10**12)
