"""Options through the Python layer, on a live chain: symbols, orders, what-if, Greeks, nodes, and the house's state."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.client import Reverted, Sender
from plimsoll.chain.instruments import Instrument, Kind, expiry_after
from plimsoll.chain.orders import make_order, settle_trade
from plimsoll.chain.state import read_state
from plimsoll.margin.onchain import (
    NO_CAP,
    Portfolio,
    greeks_of,
    margin_of,
    margin_of_portfolio,
    mark_of,
    portfolio_of,
    scenario_losses_of,
)

if TYPE_CHECKING:
    from plimsoll.chain.client import Chain
    from plimsoll.chain.system import System

WAD = 10**18
DEPLOYER, BUYER, WRITER, STRANGER = Sender.dev(0), Sender.dev(2), Sender.dev(3), Sender.dev(4)


@pytest.fixture
def put(house: Any, chain: Chain, undo: None) -> Instrument:
    """A put at the money, in a house where the buyer has account 1 and the writer account 2."""
    system: System = house.system
    assert [house.open_account(BUYER, 100_000), house.open_account(WRITER, 100_000)] == [1, 2]
    instrument = Instrument(
        Kind.PUT, system.underlyings["BTC"], expiry_after(system.manifest.begun, 30), Decimal(40_000)
    )
    assert chain.read(system.registry.isListed(instrument.id))
    return instrument


def trade(system: System, symbol: str, size: int, price: int) -> None:
    """Account 1 buys from account 2."""
    maker = make_order(system, WRITER, 2, symbol, -size, price, expiry=2**40)
    taker = make_order(system, BUYER, 1, symbol, size, price, expiry=2**40)
    system.chain.send(settle_trade(system, maker, taker, abs(size)), DEPLOYER)


def test_margin_of_portfolio_foretells_a_trade(house: Any, chain: Chain, put: Instrument) -> None:
    system = house.system
    price, volatility = mark_of(system, put.id)
    assert volatility == pytest.approx(0.6 * WAD, rel=0.01)
    years = (put.expiry - chain.block().timestamp) / (365 * 86_400)
    assert price == pytest.approx(0.4 * 0.6 * years**0.5 * 40_000 * WAD, rel=0.02)  # at the money
    size = 3 * WAD // 2 + 1  # so that the premium has to be rounded
    imagined = [
        portfolio_of(system, account).with_trade(put.id, signed, price) for account, signed in ((1, size), (2, -size))
    ]
    with chain.snapshot():
        trade(system, put.symbol(system.names), size, price)
        for account, portfolio in enumerate(imagined, 1):
            real = portfolio_of(system, account)
            assert real.positions == portfolio.positions
            assert real.cash - portfolio.cash in (0, 1)
            foretold, found = margin_of_portfolio(system, portfolio), margin_of(system, account)
            assert foretold.initial.total == pytest.approx(found.initial.total, rel=1e-6)
            assert foretold.equity == pytest.approx(found.equity, rel=1e-9)
    # nothing has happened: it was only imagined
    assert portfolio_of(system, 1).positions == ()


def test_with_trade_nets_and_closes() -> None:
    perpetual, call = Instrument.perpetual(1).id, Instrument(Kind.CALL, 1, 1_800_000_000, Decimal(3_000)).id
    start = Portfolio(cash=1_000 * WAD)
    held = start.with_trade(perpetual, 2 * WAD, 100 * WAD).with_trade(call, -WAD, 7 * WAD)
    assert held.cash == 1_007 * WAD
    assert held.positions == ((perpetual, 2 * WAD, -200 * WAD), (call, -WAD, 0))
    closed = held.with_trade(call, WAD, 5 * WAD).with_trade(perpetual, -2 * WAD, 101 * WAD)
    assert (closed.cash, closed.positions) == (1_004 * WAD, ())  # 2 of premium, 2 of the perpetual
    # a third of a dollar: the buyer pays the wei more, the seller gets the wei less
    assert start.with_trade(call, 1, WAD // 3).cash == start.cash - 1
    assert start.with_trade(call, -1, WAD // 3).cash == start.cash


def test_margin_is_taken_apart(house: Any, put: Instrument) -> None:
    system = house.system
    price, _ = mark_of(system, put.id)
    trade(system, put.symbol(system.names), WAD, price)
    trade(system, "BTC-PERP", WAD // 2, 40_000 * WAD)
    for account, side in ((1, 1), (2, -1)):
        margin, (greeks,), (losses,) = (
            margin_of(system, account), greeks_of(system, account), scenario_losses_of(system, account)
        )  # fmt: skip
        (part,) = margin.underlyings
        assert (greeks.delta, greeks.gamma, greeks.vega) == (part.delta, part.gamma, part.vega)
        assert part.delta_one == side * WAD // 2
        assert side * greeks.gamma > 0
        assert side * greeks.vega > 0
        assert side * greeks.theta < 0
        assert side * part.option_value == pytest.approx(price, rel=1e-6)
        assert part.volatility_mark == 6 * WAD // 10
        for requirement, nodes in ((margin.initial, losses.initial), (margin.maintenance, losses.maintenance)):
            assert len(nodes) == 29
            assert requirement.standalone == max(nodes) == nodes[requirement.worst_node]
            assert requirement.total <= requirement.long_option_cap
            if side < 0:
                assert requirement.long_option_cap == NO_CAP
            assert (requirement.short_option_minimum > 0) == (side < 0)
        assert margin.open_interest_scale == WAD
        assert 0 < margin.maintenance.total <= margin.initial.total


def test_read_state_sees_options(house: Any, chain: Chain, put: Instrument) -> None:
    system = house.system
    price, _ = mark_of(system, put.id)
    trade(system, put.symbol(system.names), 2 * WAD, price)
    trade(system, "BTC-PERP", WAD, 40_000 * WAD)
    state = read_state(system)
    assert state.accounts[1].positions[put.id].size == 2 * WAD
    assert state.oracles["BTC"].open_interest == 3 * WAD
    assert state.oracles["BTC"].mark == 6 * WAD // 10
    assert state.marks[put.id] == pytest.approx(price, rel=1e-6)
    assert state.settlements == {(put.underlying, put.expiry): 0}

    chain.set_time(put.expiry - 10)
    house.set_price(39_000)
    round_id = chain.read(system.price_oracle.latestRound(put.underlying))
    chain.set_time(put.expiry + 10)
    house.set_price(41_000)
    chain.send(system.registry.settle(put.underlying, put.expiry, round_id), STRANGER)
    state = read_state(system)
    assert state.settlements == {(put.underlying, put.expiry): 39_000 * WAD}
    assert state.marks == {put.id: 1_000 * WAD}


def test_orders_on_what_is_not_listed_are_refused(house: Any, put: Instrument) -> None:
    symbol = replace(put, strike=Decimal(40_001)).symbol(house.system.names)
    with pytest.raises(Reverted) as refusal:
        trade(house.system, symbol, WAD, WAD)
    assert refusal.value.error == "RegistryUnknownInstrument"
