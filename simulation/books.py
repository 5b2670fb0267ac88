"""A market of options and random books on it, for judging margin formulas: what `simulation.adequacy` works on.

Two underlyings with the crypto profile's starting parameters, at 60% volatility, and the series an exchange would list:
strikes from 0.6 to 1.6 of spot whose call has a delta from 1% to 99%.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from plimsoll.chain.fields import Field
from plimsoll.config import Config
from plimsoll.margin import black76
from plimsoll.margin.mirror import CALL, PERPETUAL, PUT, SPOT, Common, Instruments, Market, Positions, Shape
from plimsoll.margin.surface import Surface
from plimsoll.market.series import YEAR_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAY = 86_400
VOLATILITY = 0.6
"""Annualised, of both underlyings: what prices move by and what options are marked at."""
PRICES = (60_000.0, 3_000.0)
NOTIONAL = 3_000.0
"""Dollars of underlying in an option of size one."""
NEAR_TENORS = (2 / 24, 6 / 24)
"""Days; listed for books pinned at a strike near expiry, which random books leave alone."""
SHORT_TENORS, SHORT_WEIGHT = (0.5, 1.0, 2.0), 0.03
"""Days, and the probability that an option of a random book has each."""
LONG_TENORS = (3.0, 5.0, 7.0, 14.0, 30.0, 60.0, 90.0, 180.0)
MONEYNESS = np.unique(np.round(np.concatenate([np.arange(0.60, 1.601, 0.02), np.arange(0.95, 1.051, 0.0025)]), 4))
"""Strikes over spot. The fine ones near the money are listed for the tenors before `LONG_TENORS` alone."""


@dataclass(frozen=True)
class Listed:
    """An option series of `Exchange`: where its call stands among the instruments; its put is the next one."""

    underlying: int
    tenor: float
    """Days."""
    moneyness: float
    """Strike over spot."""
    call: int


@dataclass(frozen=True)
class Exchange:
    """The market under the margin formula to judge, and what is listed on it."""

    market: Market
    """Charges for liquidity, leverage and open interest are off: what remains is risk."""
    series: tuple[Listed, ...]

    @property
    def horizon(self) -> float:
        """Of initial margin, in years."""
        return self.market.common.horizon_initial / YEAR_SECONDS

    @classmethod
    def open(cls, tail: float, **changes: float) -> Exchange:
        """The crypto profile's exchange.

        :param tail: 99% expected shortfall of the price shock over its standard deviation: what calibration would fit
        :param changes: parameters to have otherwise than in the profile, by field name
        """
        profile = Config.load().profile("crypto")
        values = {field.key: float(value) for field, value in profile.common.items()}
        values |= {field.key: float(value) for field, value in profile.underlyings[0].parameters.items()}
        values |= {"tail_initial": tail, "tail_maintenance": tail}
        values |= {"half_spread": 0, "impact": 0, "option_half_spread": 0, "open_interest_upper": 0}
        values |= {f"tier_rate_{n}": 0 for n in range(1, 5)} | changes
        count = len(PRICES)
        shape = Shape(**{f.name: np.full(count, values[f.name]) for f in dataclasses.fields(Shape)})
        low, high = (
            np.where(np.eye(count) == 1, 1.0, float(profile.pair[field]))
            for field in (Field.CORRELATION_LOW, Field.CORRELATION_HIGH)
        )
        numbers = {f.name: values[f.name] for f in dataclasses.fields(Common) if f.name in values}
        common = Common(**numbers, correlation_low=low, correlation_high=high)

        prices, flat = np.array(PRICES), np.full(count, VOLATILITY)
        kinds: list[int] = []
        owners: list[int] = []
        expiries: list[float] = []
        strikes: list[float] = []
        series: list[Listed] = []
        shapes = ("surface_rho", "surface_eta", "surface_gamma", "term_ratio", "term_speed")
        surface = Surface(*(values[name] for name in shapes))
        for u, price in enumerate(PRICES):
            kinds += [SPOT, PERPETUAL]
            expiries += [0.0, 0.0]
            strikes += [0.0, 0.0]
            for tenor in (*NEAR_TENORS, *SHORT_TENORS, *LONG_TENORS):
                years = tenor / 365
                forward = np.exp(values["carry"] * years)
                deviation = np.sqrt(surface.total_variance(VOLATILITY, years, np.log(MONEYNESS / forward)))
                deltas = black76.delta(forward, MONEYNESS, deviation)
                even = np.abs(MONEYNESS * 50 - np.round(MONEYNESS * 50)) < 1e-9
                listed = (deltas >= 0.01) & (deltas <= 0.99) & (even | (tenor < LONG_TENORS[0]))
                for moneyness in MONEYNESS[listed]:
                    series.append(Listed(u, tenor, float(moneyness), len(kinds)))
                    kinds += [CALL, PUT]
                    expiries += [tenor * DAY] * 2
                    strikes += [moneyness * price] * 2
            owners += [u] * (len(kinds) - len(owners))
        instruments = Instruments(
            kind=np.array(kinds, dtype=np.int64),
            underlying=np.array(owners, dtype=np.int64),
            expiry=np.array(expiries),
            strike=np.array(strikes),
            settlement=np.full(len(kinds), np.nan),
        )
        market = Market(
            now=0.0,
            price=prices,
            age=np.zeros(count),
            volatility_mark=flat,
            volatility_initial=flat,
            volatility_maintenance=flat,
            open_interest=np.zeros(count),
            shape=shape,
            common=common,
            instruments=instruments,
        )
        return cls(market, tuple(series))

    def spot(self, underlying: int) -> int:
        """Number of the instrument that is collateral in an underlying."""
        return int(np.searchsorted(self.market.instruments.underlying, underlying))

    def perpetual(self, underlying: int) -> int:
        """Number of an underlying's perpetual."""
        return self.spot(underlying) + 1

    @cached_property
    def delta(self) -> Floats:
        """(instruments,): units of the underlying that a unit moves like, in price alone."""
        held, lines = self.market.instruments, self.market.lines
        per_call = np.exp(self.market.shape.carry[lines.underlying] * lines.tau) * black76.delta(
            lines.forward, lines.strike, lines.deviation
        )
        forward = np.exp(self.market.shape.carry[held.underlying] * held.expiry / YEAR_SECONDS)
        at = lines.of_instrument
        return np.where(at < 0, 1.0, per_call[at] - np.where(held.kind == PUT, forward, 0.0))


@dataclass(frozen=True)
class Books:
    """Books of positions in an exchange's instruments."""

    name: str
    sizes: sparse.csr_array
    """(books, instruments) [units]."""
    gross: Floats
    """(books,): Σ |size| of options, in dollars of their underlying."""
    hedged: NDArray[np.bool_]
    """(books,): whether the book's delta is brought to nothing by perpetuals."""
    mixed: NDArray[np.bool_]
    """(books,): whether it has options on both underlyings."""

    def __len__(self) -> int:
        return int(self.sizes.shape[0])

    @property
    def positions(self) -> Positions:
        """The same for the margin mirror."""
        return Positions(
            self.sizes.indptr.astype(np.int64), self.sizes.indices.astype(np.int32), self.sizes.data.astype(np.float64)
        )

    @classmethod
    def of(cls, name: str, exchange: Exchange, books: Iterable[tuple[list[tuple[int, float]], bool]]) -> Books:
        """Books from legs (instrument, size in units of `NOTIONAL` dollars), each with whether to hedge its delta."""
        held = exchange.market.instruments
        units = NOTIONAL / exchange.market.price
        rows, columns, sizes, hedges, gross, mixed = [], [], [], [], [], []
        for row, (legs, hedge) in enumerate(books):
            delta = np.zeros(len(units))
            notional = 0.0
            seen = set()
            for instrument, size in legs:
                u = int(held.underlying[instrument])
                rows.append(row)
                columns.append(instrument)
                sizes.append(size * units[u])
                delta[u] += size * units[u] * exchange.delta[instrument]
                if held.kind[instrument] >= CALL:
                    notional += abs(size) * NOTIONAL
                    seen.add(u)
            if hedge:
                for u in seen:
                    rows.append(row)
                    columns.append(exchange.perpetual(u))
                    sizes.append(-delta[u])
            hedges.append(hedge)
            gross.append(notional)
            mixed.append(len(seen) > 1)
        shape = (len(hedges), len(held.kind))
        matrix = sparse.coo_array((sizes, (rows, columns)), shape=shape).tocsr()
        return cls(name, matrix, np.array(gross), np.array(hedges), np.array(mixed))


def random_books(exchange: Exchange, count: int, seed: int) -> Books:
    """1 to 20 options, calls or puts, long or short, sizes log-uniform from 0.1 to 10, on one underlying or (half the
    time) on up to two. Three quarters are delta-hedged by perpetuals; half of the rest hold a perpetual at random."""
    draw = np.random.default_rng(seed)
    by_tenor = {tenor: [s for s in exchange.series if s.tenor == tenor] for tenor in (*SHORT_TENORS, *LONG_TENORS)}
    tenors = list(by_tenor)
    rest = (1 - SHORT_WEIGHT * len(SHORT_TENORS)) / len(LONG_TENORS)
    weights = [SHORT_WEIGHT if tenor in SHORT_TENORS else rest for tenor in tenors]

    def size() -> float:
        return float(np.exp(draw.uniform(np.log(0.1), np.log(10))) * draw.choice((-1, 1)))

    def book(number: int) -> tuple[list[tuple[int, float]], bool]:
        only = int(draw.integers(len(PRICES))) if draw.random() < 0.5 else None
        legs = []
        for tenor in draw.choice(tenors, size=int(draw.integers(1, 21)), p=weights):
            listed = [s for s in by_tenor[float(tenor)] if only is None or s.underlying == only]
            chosen = listed[int(draw.integers(len(listed)))]
            legs.append((chosen.call + int(draw.integers(2)), size()))
        hedge = number % 4 != 3
        if not hedge and draw.random() < 0.5:
            legs.append((exchange.perpetual(int(draw.integers(len(PRICES))) if only is None else only), size()))
        return legs, hedge

    return Books.of("random", exchange, (book(number) for number in range(count)))


def families(exchange: Exchange, count: int, seed: int) -> list[Books]:
    """Books of special shapes, `count` each."""
    return [
        Books.of(name, exchange, (shape(exchange, np.random.default_rng((seed, place, n))) for n in range(count)))
        for place, (name, shape) in enumerate(_FAMILIES.items())
    ]


def _pinned(exchange: Exchange, draw: np.random.Generator, sign: float) -> tuple[list[tuple[int, float]], bool]:
    """A straddle or one side of it, struck within 1.5% of spot, two hours to two days before expiry; hedged."""
    near = [s for s in exchange.series if s.tenor < LONG_TENORS[0] and abs(s.moneyness - 1) <= 0.015]
    at = near[int(draw.integers(len(near)))]
    first, second = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))[int(draw.integers(3))]
    return [(at.call, sign * first), (at.call + 1, sign * second)], True


def _butterfly(exchange: Exchange, draw: np.random.Generator) -> tuple[list[tuple[int, float]], bool]:
    """Short two calls between two long ones, near expiry: what is lost lies between nodes of the grid."""
    near = [s for s in exchange.series if s.tenor < LONG_TENORS[0] and s.underlying == 0]
    by_strike = {(s.tenor, s.moneyness): s for s in near}
    while True:
        middle = near[int(draw.integers(len(near)))]
        width = float(draw.choice((0.0025, 0.005, 0.01, 0.02)))
        wings = [by_strike.get((middle.tenor, round(middle.moneyness + side * width, 4))) for side in (-1, 1)]
        if wings[0] and wings[1]:
            sign = float(draw.choice((-1, 1)))
            return [(wings[0].call, sign), (middle.call, -2 * sign), (wings[1].call, sign)], False


def _calendar(exchange: Exchange, draw: np.random.Generator) -> tuple[list[tuple[int, float]], bool]:
    """One strike, two expiries, long the one and short the other, hedged or not."""
    pool = [s for s in exchange.series if s.tenor >= LONG_TENORS[0] and s.underlying == 0]
    while True:
        one = pool[int(draw.integers(len(pool)))]
        others = [s for s in pool if s.moneyness == one.moneyness and s.tenor != one.tenor]
        if others:
            other = others[int(draw.integers(len(others)))]
            return [(one.call, 1.0), (other.call, -1.0)], bool(draw.random() < 0.5)


def _box(exchange: Exchange, draw: np.random.Generator) -> tuple[list[tuple[int, float]], bool]:
    """Long a synthetic forward at one strike, short it at another, one expiry: a loan, free of risk."""
    one = exchange.series[int(draw.integers(len(exchange.series)))]
    same = [
        s
        for s in exchange.series
        if (s.underlying, s.tenor) == (one.underlying, one.tenor) and s.moneyness != one.moneyness
    ]
    other = same[int(draw.integers(len(same)))]
    return [(one.call, 1.0), (one.call + 1, -1.0), (other.call, -1.0), (other.call + 1, 1.0)], False


def _collar(exchange: Exchange, draw: np.random.Generator) -> tuple[list[tuple[int, float]], bool]:
    """Collateral, a put below and a call written above, one expiry of 7 to 90 days."""
    pool = [s for s in exchange.series if 7 <= s.tenor <= 90 and 0.8 <= s.moneyness <= 0.98]
    put = pool[int(draw.integers(len(pool)))]
    calls = [
        s
        for s in exchange.series
        if (s.underlying, s.tenor) == (put.underlying, put.tenor) and 1.02 <= s.moneyness <= 1.3
    ]
    call = calls[int(draw.integers(len(calls)))]
    return [(exchange.spot(put.underlying), 1.0), (put.call + 1, 1.0), (call.call, -1.0)], False


_FAMILIES: dict[str, Callable[[Exchange, np.random.Generator], tuple[list[tuple[int, float]], bool]]] = {
    "pinned short": lambda exchange, draw: _pinned(exchange, draw, -1.0),
    "pinned long": lambda exchange, draw: _pinned(exchange, draw, 1.0),
    "butterfly": _butterfly,
    "calendar": _calendar,
    "box": _box,
    "collar": _collar,
}
