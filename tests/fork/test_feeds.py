"""Chainlink's own aggregators, compiled by its own compiler, beside PushedFeed: the oracles can't tell them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ape
import pytest

from plimsoll.keeper.expiry import find_round

WAD = 10**18
BTC, ETH = 1, 2
YEAR = 365 * 86_400
PHASE = 1 << 64
NOBODY = "0x" + "0" * 40
DELAY = 2 * 86_400  # contracts/libraries/FeedChange.sol


@dataclass(frozen=True)
class Chainlink:
    """A FluxAggregator with two nodes behind an EACAggregatorProxy."""

    proxy: Any
    aggregator: Any
    nodes: tuple[Any, Any]
    owner: Any

    def submit(self, dollars: float, *, both: bool = False) -> int:
        """A round with an answer; with `both` nodes, where one is not enough. Returns its number in this phase."""
        number = int(self.aggregator.latestRound()) + 1
        for node in self.nodes[: 1 + both]:
            self.aggregator.submit(number, int(dollars * 10 ** self.aggregator.decimals()), sender=node)
        return number


@pytest.fixture
def make_aggregator(artifact: Any, accounts: Any) -> Any:
    """A function that deploys an aggregator: its decimals, and how many answers make a round."""
    owner, nodes = accounts[0], (accounts[6], accounts[7])

    def make(decimals: int = 8, answers: int = 1) -> Any:
        made = owner.deploy(
            artifact("chainlink/FluxAggregator"), NOBODY, 0, 600, NOBODY, 1, 10**20, decimals, "feed", silent=True
        )
        made.changeOracles([], list(nodes), [owner, owner], answers, 2, 0, sender=owner)
        return made

    return make


@pytest.fixture
def chainlink(artifact: Any, accounts: Any, make_aggregator: Any) -> Chainlink:
    aggregator = make_aggregator()
    proxy = accounts[0].deploy(artifact("chainlink/EACAggregatorProxy"), aggregator, NOBODY, silent=True)
    return Chainlink(proxy, aggregator, (accounts[6], accounts[7]), accounts[0])


def price_feed(feed: Any, secondary: Any = NOBODY, deviation: int = 0) -> tuple[Any, ...]:
    """contracts/interfaces/IPriceOracle.sol: PriceFeed, two hours' heartbeat, 100 to 10,000,000 dollars."""
    second_heartbeat = 7_200 if deviation else 0
    return (feed, 7_200, 0, 0, 100 * WAD, 10**7 * WAD, secondary, second_heartbeat, deviation)


@pytest.fixture
def wait(house: Any, artifact: Any) -> Any:
    """A function that lets the delay of a change of feeds pass; then every feed of the house's own reports again."""

    def wait(volatility: float = 0.6) -> None:
        ape.chain.mine(timestamp=ape.chain.pending_timestamp + DELAY)
        house.report("BTC", 40_000)
        house.report("ETH", 2_500)
        for symbol, level in (("BTC", volatility), ("ETH", 0.8)):
            feed = artifact("PushedFeed").at(house.system.volatility_feeds[symbol].address)
            feed.push(int(level * 10**8), sender=house.reporter)

    return wait


@pytest.fixture
def priced_by_chainlink(house: Any, chainlink: Chainlink, wait: Any) -> Chainlink:
    """BTC on Chainlink's aggregator, in force since its second round; ETH still on ours."""
    chainlink.submit(40_000)
    house.prices.proposePriceFeed(BTC, price_feed(chainlink.proxy), sender=house.reporter)
    wait()
    with ape.reverts(house.prices.PriceOracleStale):
        house.prices.applyPriceFeed(BTC, sender=chainlink.nodes[0])
    chainlink.submit(40_000)
    house.prices.applyPriceFeed(BTC, sender=chainlink.nodes[0])  # anyone may
    return chainlink


def test_price_readsBothKindsOfFeedAlike(house: Any, priced_by_chainlink: Chainlink, accounts: Any) -> None:
    """The same account on one underlying of each kind: prices, ages, rounds and margin."""
    priced_by_chainlink.submit(41_234.5)
    house.report("ETH", 2_512.25)
    btc, eth = house.prices.price(BTC), house.prices.price(ETH)
    assert (btc[0], eth[0]) == (41_234_5 * WAD // 10, 2_512_25 * WAD // 100)
    assert 0 <= eth[1] <= btc[1] <= 60
    assert house.prices.latestRound(BTC) == PHASE | 3
    assert house.prices.round(BTC, PHASE | 2).roundPrice == 40_000 * WAD
    assert house.prices.round(BTC, PHASE | 4).ok is False
    maker, trader = ((one, house.open(one, USD=100_000)) for one in accounts[1:3])
    house.trade(trader, maker, "BTC", WAD, btc[0])  # at the index price: nothing is paid for moving the premium
    house.trade(trader, maker, "ETH", WAD, eth[0])
    priced_by_chainlink.submit(41_500)
    house.report("ETH", 2_520)
    house.check()
    assert house.margin.marginOf(trader[1]).unrealised == 265_5 * WAD // 10 + 7_75 * WAD // 100


def test_price_survivesAPhaseChange(house: Any, priced_by_chainlink: Chainlink, make_aggregator: Any) -> None:
    """Chainlink replaces an aggregator by another behind its proxy, which starts to count rounds anew."""
    feed, oracle, anyone = priced_by_chainlink, house.volatilities, house.reporter
    ours = oracle.stateOf(BTC)
    oracle.poke(BTC, 100, sender=anyone)
    before = oracle.stateOf(BTC)
    assert (before.roundId, before.source) == (PHASE | 2, feed.proxy.address)
    assert before.variance == ours.variance  # no return between our feed's last price and Chainlink's first
    successor = make_aggregator()
    following = Chainlink(feed.proxy, successor, feed.nodes, feed.owner)
    ape.chain.mine(timestamp=ape.chain.pending_timestamp + 600)
    for dollars in (40_100, 40_200, 40_400):
        following.submit(dollars)
    feed.proxy.proposeAggregator(successor, sender=feed.owner)
    assert house.prices.price(BTC)[0] == 40_000 * WAD  # proposed, not confirmed
    feed.proxy.confirmAggregator(successor, sender=feed.owner)
    assert house.prices.price(BTC)[0] == 40_400 * WAD
    assert house.prices.latestRound(BTC) == 2 * PHASE | 3
    assert house.prices.round(BTC, PHASE | 2).roundPrice == 40_000 * WAD  # history stays where it was

    receipt = oracle.poke(BTC, 100, sender=anyone)
    assert receipt.return_value == 1  # entered at its latest round, with one return over the gap
    after = oracle.stateOf(BTC)
    assert (after.roundId, after.roundPrice) == (2 * PHASE | 3, 40_400 * WAD)
    seconds = after.roundAt - before.roundAt
    decay = 0.5 ** (seconds / 86_400)  # half-life of a day, as in the profile
    expected = decay * before.variance / WAD + (1 - decay) * math.log(40_400 / 40_000) ** 2 * YEAR / seconds
    assert after.variance / WAD == pytest.approx(expected, rel=1e-6)

    following.submit(40_500)
    following.submit(40_600)
    assert oracle.poke(BTC, 100, sender=anyone).return_value == 2  # consecutive again
    assert oracle.stateOf(BTC).roundId == 2 * PHASE | 5


@pytest.mark.parametrize("begun", [True, False], ids=["before the expiry", "after the expiry"])
def test_settle_findsItsRoundAcrossAPhaseChange(
    house: Any, priced_by_chainlink: Chainlink, make_aggregator: Any, begun: bool
) -> None:
    """ORACLE: the round in force at the expiry settles it, in the old phase or the new, whichever had begun."""
    feed, successor = priced_by_chainlink, make_aggregator()
    following = Chainlink(feed.proxy, successor, feed.nodes, feed.owner)
    expiry = ape.chain.pending_timestamp + 3_600
    house.registry.listOptions(BTC, expiry, [40_000 * 10**8], sender=house.reporter)
    for dollars in (40_100, 40_200, 40_300):
        feed.submit(dollars)
    if begun:  # with both answers: one that is still waited for is overwritten when the next round begins
        following.submit(40_500, both=True)
        following.submit(40_600, both=True)
    ape.chain.mine(timestamp=expiry + 30)
    assert find_round(house.system, BTC, expiry) == PHASE | 5  # the new phase is not the proxy's yet
    following.submit(40_700)
    feed.proxy.proposeAggregator(successor, sender=feed.owner)
    feed.proxy.confirmAggregator(successor, sender=feed.owner)
    found = find_round(house.system, BTC, expiry)
    assert found == (2 * PHASE | 2 if begun else PHASE | 5)
    house.registry.settle(BTC, expiry, found, sender=house.reporter)
    assert house.registry.settlementPriceOf(BTC, expiry) == (40_600 if begun else 40_300) * WAD


def test_price_waitsForACompleteRound(house: Any, priced_by_chainlink: Chainlink, make_aggregator: Any) -> None:
    """A round that one of two nodes has answered is no round yet; the last one grows old, and then is refused."""
    feed = priced_by_chainlink
    aggregator = make_aggregator(answers=2)
    following = Chainlink(feed.proxy, aggregator, feed.nodes, feed.owner)
    following.submit(40_000, both=True)
    feed.proxy.proposeAggregator(aggregator, sender=feed.owner)
    feed.proxy.confirmAggregator(aggregator, sender=feed.owner)
    aggregator.submit(2, 30_000 * 10**8, sender=feed.nodes[0])
    assert house.prices.price(BTC)[0] == 40_000 * WAD
    assert house.prices.round(BTC, 2 * PHASE | 2).ok is False
    with ape.chain.isolate():
        ape.chain.mine(timestamp=ape.chain.pending_timestamp + 7_201)
        with ape.reverts(house.prices.PriceOracleStale):
            house.prices.price(BTC)
    aggregator.submit(2, 32_000 * 10**8, sender=feed.nodes[1])
    assert house.prices.price(BTC)[0] == 31_000 * WAD  # the median


def test_price_comparesTwoFeeds(house: Any, priced_by_chainlink: Chainlink, wait: Any) -> None:
    """Chainlink first, ours second, 2% apart at most: beyond it there is no price, and so no margin (ORACLE)."""
    feed, ours = priced_by_chainlink, house.system.price_feeds["BTC"].address
    house.prices.proposePriceFeed(BTC, price_feed(feed.proxy, ours, WAD // 50), sender=house.reporter)
    wait()
    feed.submit(40_000)
    house.prices.applyPriceFeed(BTC, sender=house.reporter)
    house.report("BTC", 40_790)
    assert house.prices.price(BTC)[0] == 40_000 * WAD
    house.report("BTC", 40_810)
    with ape.reverts(house.prices.PriceOracleDeviation, error_inputs={"underlying": BTC}):
        house.prices.price(BTC)
    feed.submit(40_500)
    assert house.prices.price(BTC)[0] == 40_500 * WAD


def test_levels_readVolatilityFromChainlink(
    house: Any, chainlink: Chainlink, artifact: Any, make_aggregator: Any, wait: Any
) -> None:
    """Percent a day with five decimals, as Chainlink's volatility feeds report it: σ a year = √365 σ a day."""
    aggregator = make_aggregator(5)
    proxy = chainlink.owner.deploy(artifact("chainlink/EACAggregatorProxy"), aggregator, NOBODY, silent=True)
    feed = Chainlink(proxy, aggregator, chainlink.nodes, chainlink.owner)
    feed.submit(4.5)
    scale = int(math.sqrt(365) * 10**16)
    configuration = (proxy, 172_800, 0, scale, WAD // 100, 10 * WAD)
    house.volatilities.proposeVolatilityFeed(BTC, configuration, sender=house.reporter)
    wait(0.8)
    feed.submit(4.5)
    house.volatilities.applyVolatilityFeed(BTC, sender=house.reporter)
    reported = house.volatilities.reported(BTC)
    assert reported.ok
    assert reported.volatility / WAD == pytest.approx(0.045 * math.sqrt(365), rel=1e-9)
    levels = house.volatilities.levels(BTC)
    assert levels.fresh
    assert levels.live / WAD == pytest.approx(max(0.75 * 0.045 * math.sqrt(365) + 0.25 * 1.2, 0.25), rel=1e-6)
    ape.chain.mine(timestamp=ape.chain.pending_timestamp + 172_801)
    assert not house.volatilities.levels(BTC).fresh
    house.report("BTC", 40_000)
    house.report("ETH", 2_500)
