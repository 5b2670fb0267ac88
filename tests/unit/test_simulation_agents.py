"""What agents want in a given view."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.market import MARKETS
from simulation.agents import Deposit, Directional, Hedger, Spread, Trade, Treasury, Unwinder, View, Withdraw, cast
from simulation.scenario import SCENARIOS, scenario_for

NOW = 1_517_800_000
VIEW = View(
    ts=NOW, prices={"SPX": 2_700.0, "IXIC": 7_000.0}, rates={"SPX": 0.05, "IXIC": 0.07}, equity=100_000.0,
    initial=0.0, cash=100_000.0, sizes={},
)  # fmt: skip


def directional(on_call: str, enter_at: int = NOW, reserve: float = 0.0) -> Directional:
    return Directional("Long", "long SPX", {"USD": 100_000}, "SPX", 1, 0.9, enter_at, on_call, reserve)  # type: ignore[arg-type]


def test_decide_directional_enters_once_with_the_margin_it_was_given() -> None:
    agent = directional("ignore")
    assert agent.decide(replace(VIEW, ts=NOW - 1)) == []
    (trade,) = agent.decide(VIEW)
    assert isinstance(trade, Trade)
    assert trade.size * 2_700 * 0.05 == pytest.approx(90_000)
    assert agent.decide(VIEW) == []
    assert agent.strategy == "18.0× long SPX"


def test_decide_margin_call() -> None:
    held = replace(VIEW, sizes={"SPX": 600.0}, equity=50_000.0, initial=80_000.0)
    for agent in (
        ignoring := directional("ignore"),
        reducing := directional("reduce"),
        backed := directional("top up", reserve=40_000.0),
    ):
        agent.decide(VIEW)
    assert ignoring.decide(held) == []
    (trade,) = reducing.decide(held)
    assert isinstance(trade, Trade)
    assert trade.size == pytest.approx(-300.0)  # keeps 0.8 · 50/80 of it
    assert backed.decide(held) == [Deposit("USD", pytest.approx(40_000.0))]
    assert backed.decide(held) == []  # the reserve is used up


def test_decide_insolvent_reducer_closes_everything() -> None:
    agent = directional("reduce")
    agent.decide(VIEW)
    assert agent.decide(replace(VIEW, sizes={"SPX": 600.0}, equity=-1.0, initial=80_000.0)) == [Trade("SPX", -600.0)]


def test_decide_hedger_shorts_what_it_holds_and_withdraws_profit_once_a_day() -> None:
    agent = Hedger("Hedger", "", {"SPXF": 10.0}, {"SPX": 10.0})
    assert agent.decide(VIEW) == [Trade("SPX", -10.0)]
    assert agent.decide(replace(VIEW, cash=20_000.0)) == [Withdraw("USD", 10_000.0)]
    assert agent.decide(replace(VIEW, cash=20_000.0, ts=NOW + 3_600)) == []
    assert agent.decide(replace(VIEW, cash=20_000.0, ts=NOW + 86_400, initial=70_000.0)) == []


def test_decide_spread_is_dollar_neutral() -> None:
    trades = Spread("Spread", "", {}, "IXIC", "SPX", 0.6).decide(VIEW)
    dollars = {trade.symbol: trade.size * VIEW.prices[trade.symbol] for trade in trades if isinstance(trade, Trade)}
    assert dollars["IXIC"] == pytest.approx(-dollars["SPX"])
    assert dollars["IXIC"] * (0.05 + 0.07) == pytest.approx(60_000)


def test_decide_treasury_alternates_daily() -> None:
    agent = Treasury("Treasury", "", {}, 1_000.0)
    assert agent.decide(VIEW) == [Deposit("USD", 1_000.0)]
    assert agent.decide(replace(VIEW, ts=NOW + 100)) == []
    assert agent.decide(replace(VIEW, ts=NOW + 86_400)) == [Withdraw("USD", 600.0)]


def test_decide_unwinder_halves_then_closes() -> None:
    agent = Unwinder("Keeper", "", {})
    assert agent.decide(replace(VIEW, sizes={"SPX": 10.0})) == [Trade("SPX", -5.0)]
    assert agent.decide(replace(VIEW, sizes={"SPX": -0.1})) == [Trade("SPX", 0.1)]


@pytest.mark.parametrize("market", list(MARKETS))
def test_cast_every_market_has_a_scenario_inside_its_window(market: str) -> None:
    scenario, window = scenario_for(market), MARKETS[market]
    assert window.start < scenario.late < window.end
    assert set(scenario.collateral.values()) <= set(window.assets)
    agents = cast(scenario, window.assets, window.start, dict.fromkeys(window.assets, 1_000.0))
    assert len({agent.name for agent in agents}) == len(agents)


def test_scenario_for_reverts_if_unknown() -> None:
    assert set(SCENARIOS) == set(MARKETS)
    with pytest.raises(PlimsollError, match="no scenario for market 'tulips'"):
        scenario_for("tulips")
