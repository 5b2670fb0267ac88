"""The fast mirror against the contract itself: fuzzed books, every component of both requirements, and equity."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plimsoll.chain.client import Reverted, Sender
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.errors import PlimsollError
from plimsoll.margin.mirror import Holdings, Market, margins
from plimsoll.margin.onchain import NO_CAP

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

    from tests.end_to_end.conftest import House

WAD = 10**18
DAY = 86_400
AGREEMENT = 1e-6
"""Largest difference, part of the requirement."""
SECONDS_LEFT = (-3_600, 1, 7_200, DAY, 7 * DAY, 30 * DAY, 400 * DAY)
MONEYNESS = (0.3, 0.7, 0.9, 1.0, 1.05, 1.4, 3.0)
COMPONENTS = (
    ("standalone", "standalone"), ("joint", "joint"), ("grid", "grid"), ("expected_shortfall", "expectedShortfall"),
    ("risk", "risk"), ("liquidity", "liquidity"), ("short_option_minimum", "shortOptionMinimum"),
    ("leverage_floor", "leverageFloor"), ("long_option_cap", "longOptionCap"), ("total", "total"),
)  # fmt: skip

Book = dict[Instrument, float]


def option(kind: Kind, underlying: int, expiry: int, strike: float) -> Instrument:
    return Instrument(kind, underlying, expiry, Decimal(round(strike * 100)) / 100)


def series(generator: Generator, now: int, prices: dict[int, float]) -> Instrument:
    """Any option: from expired to more than a year, from deep in the money to far out."""
    underlying = int(generator.choice(list(prices)))
    expiry = now + int(generator.choice(SECONDS_LEFT))
    strike = prices[underlying] * float(generator.choice(MONEYNESS))
    return option(Kind(int(generator.choice([Kind.CALL, Kind.PUT]))), underlying, expiry, strike)


def anything(generator: Generator, now: int, prices: dict[int, float]) -> Book:
    """Options and perpetuals, long and short."""
    book: Book = {}
    for _ in range(generator.integers(1, 12)):
        held = series(generator, now, prices)
        book[held] = generator.normal() * 10 ** generator.uniform(1, 6) / prices[held.underlying]
    for underlying, price in prices.items():
        if generator.random() < 0.5:
            book[Instrument.perpetual(underlying)] = generator.normal() * 1e5 / price
    return book


def hedged(generator: Generator, now: int, prices: dict[int, float]) -> Book:
    """A short straddle with wings and a perpetual against it."""
    underlying, expiry = int(generator.choice(list(prices))), now + int(generator.choice(SECONDS_LEFT[3:]))
    price, size = prices[underlying], float(generator.uniform(0.1, 100))
    book = {option(kind, underlying, expiry, price): -size for kind in (Kind.CALL, Kind.PUT)}
    book[option(Kind.CALL, underlying, expiry, price * 1.4)] = size
    book[option(Kind.PUT, underlying, expiry, price * 0.7)] = size
    book[Instrument.perpetual(underlying)] = float(generator.normal()) * size / 4
    return book


def spread(generator: Generator, now: int, prices: dict[int, float]) -> Book:
    """A box, whose risk all but cancels, beside a calendar spread."""
    underlying = int(generator.choice(list(prices)))
    price, size = prices[underlying], float(generator.uniform(0.1, 100))
    near, far = now + 7 * DAY, now + 30 * DAY
    book: Book = {}
    for kind, moneyness, sign in ((Kind.CALL, 0.9, 1), (Kind.PUT, 0.9, -1), (Kind.CALL, 1.4, -1), (Kind.PUT, 1.4, 1)):
        book[option(kind, underlying, far, price * moneyness)] = sign * size
    if generator.random() < 0.7:
        book[option(Kind.CALL, underlying, near, price)] = -size
        book[option(Kind.CALL, underlying, far, price)] = size
    return book


def one_sided(generator: Generator, now: int, prices: dict[int, float]) -> Book:
    """Nothing but long options, or nothing but short ones."""
    sign = generator.choice([-1, 1])
    held = {series(generator, now, prices) for _ in range(generator.integers(1, 6))}
    return {each: sign * 10 ** generator.uniform(1, 6) / prices[each.underlying] for each in held}


KINDS: tuple[Callable[[Generator, int, dict[int, float]], Book], ...] = (anything, hedged, spread, one_sided)


def portfolio_of(book: Book, generator: Generator, prices: dict[int, float]) -> SimpleNamespace:
    positions = []
    for held, size in book.items():
        quote = 0 if held.is_option else int(-size * 1.01 * prices[held.underlying] * WAD)
        positions.append(SimpleNamespace(instrument=held.id, size=int(size * WAD), quote=quote))
    collateral = []
    if generator.random() < 0.4:
        underlying = int(generator.choice(list(prices)))
        amount = int(10 ** generator.uniform(2, 6) / prices[underlying] * WAD)
        collateral.append(SimpleNamespace(asset=1, underlying=underlying, amount=amount))
    cash = int(generator.normal() * 1e5 * WAD)
    return SimpleNamespace(cash=cash, positions=positions, collateral=collateral)


def as_tuple(portfolio: SimpleNamespace) -> tuple[object, ...]:
    positions = [(p.instrument, p.size, p.quote) for p in portfolio.positions]
    return portfolio.cash, positions, [(c.asset, c.underlying, c.amount) for c in portfolio.collateral]


@pytest.mark.parametrize("move", [1.0, 0.55, 1.8])
def test_margins_agreeWithTheContract(house: House, undo: None, move: float) -> None:
    system, generator = house.system, np.random.default_rng(round(move * 100))
    name, first = next(iter(system.underlyings.items()))
    before = system.chain.read(system.price_oracle.price(first))[0] / WAD
    # Another price makes another surface too: the live level and the mark react to the move.
    house.set_price(before * move)
    system.chain.send(system.volatility_oracle.poke(first, 10), Sender.dev(0))
    head = system.chain.block()
    underlyings = system.underlyings.values()
    prices = {u: system.chain.read(system.price_oracle.price(u), head.number)[0] / WAD for u in underlyings}
    books = [KINDS[at % len(KINDS)](generator, head.timestamp, prices) for at in range(160)]
    portfolios = [portfolio_of(book, generator, prices) for book in books]

    market = Market.read(system, {i.id for book in books for i in book if i.is_option}, head.number)
    holdings = Holdings.of(market, portfolios)
    found = margins(market, holdings.positions, holdings.cash, holdings.quotes)
    calls = [system.margin_engine.marginOfPortfolio(as_tuple(portfolio)) for portfolio in portfolios]
    answers = system.chain.try_read_many(calls, head.number)

    capped = curved = 0
    for at, exact in enumerate(answers):
        assert not isinstance(exact, Reverted), f"book {at} of {name}: {exact}"
        for requirement, theirs in ((found.initial, exact.initial), (found.maintenance, exact.maintenance)):
            assert requirement is not None
            # The contract counts expected shortfall in billionths of a dollar.
            allowed = AGREEMENT * theirs.total / WAD + 1e-8
            for ours, word in COMPONENTS:
                value = getattr(theirs, word)
                if word == "longOptionCap" and (value == NO_CAP or np.isinf(requirement.long_option_cap[at])):
                    # A cap within rounding of not being looked at: to the other side it must be one that doesn't bind.
                    cap = min(requirement.long_option_cap[at], value / WAD)
                    assert cap >= theirs.total / WAD - allowed, (at, cap, books[at])
                    continue
                # A part may be larger than the whole, which the cap then is.
                difference = abs(getattr(requirement, ours)[at] - value / WAD)
                assert difference <= max(allowed, AGREEMENT * value / WAD), (at, ours, value / WAD, books[at])
            capped += theirs.longOptionCap == theirs.total
            curved += theirs.expectedShortfall > theirs.grid
        scale = abs(exact.cash) + abs(exact.unrealised) + exact.collateral
        for ours, value in ((found.equity, exact.equity), (found.unrealised, exact.unrealised)):
            assert abs(ours[at] - value / WAD) <= 1e-9 * scale / WAD + 1e-9
    # The books reach the corners they are made for.
    assert capped > 5
    assert curved > 5


def test_of_namesAnInstrumentTheMarketWasReadWithout(house: House) -> None:
    market = Market.read(house.system)
    missing = option(Kind.CALL, next(iter(house.system.underlyings.values())), 2**31, 100.0)
    portfolio = SimpleNamespace(
        cash=0, positions=[SimpleNamespace(instrument=missing.id, size=WAD, quote=0)], collateral=[]
    )
    with pytest.raises(PlimsollError, match=f"without instrument {missing.id}"):
        Holdings.of(market, [portfolio])
