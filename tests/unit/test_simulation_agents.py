"""What agents want in a given view."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.errors import PlimsollError
from plimsoll.market import MARKETS
from simulation.agents import (
    Collar,
    Deposit,
    Directional,
    Hedger,
    Insured,
    Intent,
    Listed,
    Spread,
    Trade,
    Treasury,
    Unwinder,
    View,
    Withdraw,
    Writer,
    cast,
    perpetual,
)
from simulation.scenario import SCENARIOS, scenario_for

NOW = 1_517_800_000
DAY = 86_400
NEAR, FAR = NOW + 5 * DAY, NOW + 19 * DAY


def listed() -> dict[str, Listed]:
    """Both perpetuals, and puts and calls on SPX every 50 dollars at two expiries."""
    found = {perpetual(name): Listed(perpetual(name), name, Kind.PERPETUAL) for name in ("SPX", "IXIC")}
    for expiry in (NEAR, FAR):
        for strike in range(2_400, 3_050, 50):
            for kind in (Kind.CALL, Kind.PUT):
                symbol = Instrument(kind, 1, expiry, Decimal(strike)).symbol({1: "SPX"})
                found[symbol] = Listed(symbol, "SPX", kind, expiry, float(strike))
    return found


VIEW = View(
    ts=NOW, prices={"SPX": 2_700.0, "IXIC": 7_000.0}, rates={"SPX": 0.05, "IXIC": 0.07}, equity=100_000.0,
    initial=0.0, cash=100_000.0, sizes={}, deltas={}, volatilities={"SPX": 0.2, "IXIC": 0.2}, listed=listed(),
    required=lambda book: 250.0 * sum(abs(units) for units in book.values()),
)  # fmt: skip


def kinds(trades: list[Intent]) -> dict[tuple[Kind, float], float]:
    """{(kind, strike): size} of trades, all of one expiry, the far one."""
    found = {}
    for trade in trades:
        assert isinstance(trade, Trade)
        one = VIEW.listed[trade.instrument]
        assert one.expiry in (0, FAR)
        found[one.kind, one.strike] = trade.size
    return found


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
    held = replace(VIEW, sizes={"SPX-PERP": 600.0}, equity=50_000.0, initial=80_000.0)
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
    assert agent.decide(replace(VIEW, sizes={"SPX-PERP": 600.0}, equity=-1.0, initial=80_000.0)) == [
        Trade("SPX-PERP", -600.0)
    ]


def test_decide_hedger_shorts_what_it_holds_and_withdraws_profit_once_a_day() -> None:
    agent = Hedger("Hedger", "", {"SPXF": 10.0}, {"SPX": 10.0})
    assert agent.decide(VIEW) == [Trade("SPX-PERP", -10.0)]
    assert agent.decide(replace(VIEW, cash=20_000.0)) == [Withdraw("USD", 10_000.0)]
    assert agent.decide(replace(VIEW, cash=20_000.0, ts=NOW + 3_600)) == []
    assert agent.decide(replace(VIEW, cash=20_000.0, ts=NOW + 86_400, initial=70_000.0)) == []


def test_decide_spread_is_dollar_neutral() -> None:
    trades = Spread("Spread", "", {}, "IXIC", "SPX", 0.6).decide(VIEW)
    sizes = {trade.instrument: trade.size for trade in trades if isinstance(trade, Trade)}
    dollars = {symbol: sizes[perpetual(symbol)] * price for symbol, price in VIEW.prices.items()}
    assert dollars["IXIC"] == pytest.approx(-dollars["SPX"])
    assert dollars["IXIC"] * (0.05 + 0.07) == pytest.approx(60_000)


def test_decide_treasury_alternates_daily() -> None:
    agent = Treasury("Treasury", "", {}, 1_000.0)
    assert agent.decide(VIEW) == [Deposit("USD", 1_000.0)]
    assert agent.decide(replace(VIEW, ts=NOW + 100)) == []
    assert agent.decide(replace(VIEW, ts=NOW + 86_400)) == [Withdraw("USD", 600.0)]


def test_decide_unwinder_halves_then_closes() -> None:
    agent = Unwinder("Keeper", "", {})
    assert agent.decide(replace(VIEW, sizes={"SPX-PERP": 10.0})) == [Trade("SPX-PERP", -5.0)]
    assert agent.decide(replace(VIEW, sizes={"SPX-PERP": -0.1})) == [Trade("SPX-PERP", 0.1)]
    assert agent.decide(replace(VIEW, sizes={"SPX-1JAN18-2700-P": 5.0})) == []  # expired


def test_option_is_the_nearest_strike_of_the_first_expiry_far_enough() -> None:
    at_the_money = VIEW.option(Kind.CALL, "SPX", 0.0, 0)
    assert (at_the_money.strike, at_the_money.expiry) == (2_700, NEAR)
    # a fifth of a year's volatility over 19 days: 4.56%
    assert VIEW.option(Kind.PUT, "SPX", -1.0, 7 * DAY).strike == 2_600  # 2,580
    assert VIEW.option(Kind.CALL, "SPX", 2.0, 7 * DAY).strike == 2_950  # 2,958
    with pytest.raises(ValueError, match="empty"):
        VIEW.option(Kind.PUT, "SPX", 0.0, 30 * DAY)


def test_decide_collar_is_renewed_at_expiry() -> None:
    agent = Collar("Collar", "", {}, "SPX", 100.0, 1.0, 7 * DAY)
    assert kinds(agent.decide(VIEW)) == {(Kind.PUT, 2_600): 100.0, (Kind.CALL, 2_850): -100.0}
    assert agent.decide(replace(VIEW, ts=FAR - 1)) == []
    assert agent.expiry == FAR


def test_decide_insured_long_has_a_put_on_all_of_it() -> None:
    agent = Insured("Insured", "", {}, "SPX", 0.5, 1.0, 7 * DAY)
    assert kinds(agent.decide(VIEW)) == {(Kind.PUT, 2_600): 100.0, (Kind.PERPETUAL, 0.0): 100.0}
    held = replace(VIEW, sizes={"SPX-PERP": 100.0}, equity=40_000.0, initial=80_000.0)
    assert agent.decide(held) == [Trade("SPX-PERP", pytest.approx(-60.0))]


def writer(**changes: object) -> Writer:
    settings = {"on_call": "reduce", "hedges": True, "renews": True} | changes
    return Writer("Writer", "", {}, "SPX", 0.5, 1.0, 7 * DAY, NOW, **settings)  # type: ignore[arg-type]


def test_decide_writer_writes_hedges_and_writes_again() -> None:
    agent = writer()
    assert agent.decide(replace(VIEW, ts=NOW - 1)) == []
    assert kinds(agent.decide(VIEW)) == {(Kind.PUT, 2_600): -100.0, (Kind.CALL, 2_850): -100.0}
    assert agent.decide(replace(VIEW, deltas={"SPX": 7.9})) == []
    assert agent.decide(replace(VIEW, deltas={"SPX": 8.1})) == [Trade("SPX-PERP", -8.1)]
    again = replace(VIEW, ts=FAR, listed={name: replace(one, expiry=one.expiry and one.expiry + 19 * DAY)
                                          for name, one in VIEW.listed.items()})  # fmt: skip
    assert len(agent.decide(again)) == 2


def test_decide_writer_on_a_margin_call() -> None:
    short = replace(VIEW, sizes={"SPX-PERP": 10.0}, equity=50_000.0, initial=80_000.0, deltas={"SPX": 50.0})
    for agent, expected in (
        (writer(), [Trade("SPX-PERP", pytest.approx(-5.0))]),
        (writer(on_call="ignore"), []),
        (writer(hedges=False, renews=False), [Trade("SPX-PERP", pytest.approx(-5.0))]),
    ):
        agent.decide(VIEW)
        assert agent.decide(short) == expected
    once = writer(renews=False)
    once.decide(VIEW)
    assert once.decide(replace(VIEW, ts=FAR)) == []


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
