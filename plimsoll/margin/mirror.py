"""The fast mirror of MarginEngine: the same requirements in floats, for whole houses of accounts at once.

A `Market` is everything requirements depend on but the accounts, at one moment. From it the mirror lays out one table a
horizon, of what a unit of every line (calls and puts on one underlying, expiry and strike, netted into calls) loses at
each node; an account is then a weighted sum of rows (plimsoll.margin.kernels). *Exact* is the contract itself
(plimsoll.margin.onchain); the mirror agrees with it to 1e-6 of the requirement and is for scanning and simulation.

Units: dollars, units of underlyings, volatilities annualised, fractions; times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from plimsoll.chain.fields import Field, Key
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.parameters import unpack
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin import black76, kernels
from plimsoll.margin.kernels import CALL, PERPETUAL, PUT, SPOT
from plimsoll.margin.surface import Surface, shock
from plimsoll.market.series import YEAR_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from plimsoll.chain.client import BlockId
    from plimsoll.chain.system import System

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

KERNEL_ERROR = 1e-8
"""What the contract adds for its pricing kernel at every node, part of strike plus the forward at the upper extreme."""
LEAST_FACTOR = 1e-9
"""No node is at a price below this part of the index price."""
LEAST_DEVIATION = 1e-9
"""No option is revalued with a lower standard deviation of the logarithm."""
LEAST_VALUE = 1e-300
"""What a worthless long option counts as [dollars a unit]."""
INITIAL, MAINTENANCE = 0, 1
CASH = 0
"""Id of the dollar among underlyings."""


@dataclass(frozen=True)
class Shape:
    """One number an underlying, (underlyings,) each: fields of contracts/types/Field.sol by the same names."""

    tail_initial: Floats
    tail_maintenance: Floats
    half_spread: Floats
    impact: Floats
    average_daily_volume: Floats
    open_interest_lower: Floats
    open_interest_upper: Floats
    open_interest_scale: Floats
    carry: Floats
    tier_rate_1: Floats
    tier_rate_2: Floats
    tier_rate_3: Floats
    tier_rate_4: Floats
    tier_notional_1: Floats
    tier_notional_2: Floats
    tier_notional_3: Floats
    option_half_spread: Floats
    surface_rho: Floats
    surface_eta: Floats
    surface_gamma: Floats
    term_ratio: Floats
    term_speed: Floats
    volatility_shock_initial: Floats
    volatility_shock_maintenance: Floats
    volatility_shock_exponent: Floats

    @property
    def surface(self) -> Surface:
        """All underlyings' surfaces."""
        return Surface(self.surface_rho, self.surface_eta, self.surface_gamma, self.term_ratio, self.term_speed)


@dataclass(frozen=True)
class Common:
    """The numbers common to all underlyings, and between them."""

    horizon_initial: float
    horizon_maintenance: float
    offset: float
    multiplier: float
    extreme_weight: float
    short_option_minimum: float
    volatility_fall: float
    """Fall of volatility at the lower nodes, part of the rise at the upper ones."""
    correlation_low: Floats
    """(underlyings, underlyings), as is the other."""
    correlation_high: Floats


@dataclass(frozen=True)
class Instruments:
    """What may be held, (instruments,) each: options, perpetuals, and collateral as instruments of kind SPOT."""

    kind: Integers
    """SPOT, PERPETUAL, CALL or PUT."""
    underlying: Integers
    """Place of the underlying in Market, from 0."""
    expiry: Floats
    """Unix seconds; only read for options."""
    strike: Floats
    """Dollars a unit; likewise."""
    settlement: Floats
    """Settlement price of an option's expiry; nan while there is none."""
    ids: tuple[int, ...] = ()
    """On-chain ids, where they came from a chain; of collateral the underlying's id."""


@dataclass(frozen=True)
class _Lines:
    """Options netted by underlying, expiry and strike, (lines,) each, and where each instrument went."""

    underlying: Integers
    tau: Floats
    forward: Floats
    strike: Floats
    deviation: Floats
    value: Floats
    """Of a call, at mark."""
    of_instrument: Integers
    """(instruments,): −1 for what has no optionality left or never had any."""


@dataclass(frozen=True)
class _Tables:
    """What `kernels.margins` wants by horizon; shapes are given there."""

    table: Floats
    moves: Floats
    ranges: Floats
    costs: Floats


@dataclass(frozen=True)
class Market:
    """All that requirements depend on but the accounts. Arrays are (underlyings,); none is written to after this."""

    now: float
    """Unix seconds."""
    price: Floats
    age: Floats
    """Seconds since the price was reported."""
    volatility_mark: Floats
    """30-day at-the-money implied volatility options are marked at."""
    volatility_initial: Floats
    volatility_maintenance: Floats
    open_interest: Floats
    """Units, long side."""
    shape: Shape
    common: Common
    instruments: Instruments
    cash_price: float = 1.0

    @classmethod
    def read(cls, system: System, options: Iterable[int] = (), block: BlockId = "latest") -> Market:
        """From a chain at a block: every underlying with its perpetual and as collateral, and the options of these ids.
        Reverted, saying why, where a price fails a check; the mirror has no requirement then either."""
        head = system.chain.block(block)
        underlyings = sorted(system.underlyings.values())
        wanted = sorted((Instrument.of(number) for number in set(options)), key=lambda o: (o.underlying, o.id))
        expiries = sorted({(option.underlying, option.expiry) for option in wanted if option.expiry <= head.timestamp})
        calls = [system.risk_parameters.snapshot(underlyings, True), system.price_oracle.hasFeed(CASH)]
        for u in underlyings:
            calls += [system.price_oracle.price(u), system.volatility_oracle.levels(u)]
            calls.append(system.clearing_house.openInterestOf(u))
        calls += [system.registry.settlementPriceOf(*expiry) for expiry in expiries]
        snapshot, has_cash_feed, *answers = system.chain.read_many(calls, head.number)
        of_underlying, settled = answers[: 3 * len(underlyings)], answers[3 * len(underlyings) :]
        prices, levels, interest = of_underlying[::3], of_underlying[1::3], of_underlying[2::3]
        cash_price = system.chain.read(system.price_oracle.price(CASH), head.number)[0] / WAD if has_cash_feed else 1.0
        return cls(
            now=head.timestamp,
            price=_wads(price[0] for price in prices),
            age=np.array([price[1] for price in prices], dtype=np.float64),
            volatility_mark=_wads(level.mark for level in levels),
            volatility_initial=_wads(level.live for level in levels),
            volatility_maintenance=_wads(level.maintenance for level in levels),
            open_interest=_wads(interest),
            shape=_shape(unpack(snapshot, underlyings), underlyings),
            common=_common(unpack(snapshot, underlyings), underlyings),
            instruments=_instruments(underlyings, wanted, dict(zip(expiries, settled, strict=True))),
            cash_price=cash_price,
        )

    @cached_property
    def lines(self) -> _Lines:
        """Live options as lines, in the order of underlying, expiry and strike."""
        held, shape = self.instruments, self.shape
        live = (held.kind >= CALL) & np.isnan(held.settlement)
        keys = np.stack([held.underlying[live].astype(np.float64), held.expiry[live], held.strike[live]], axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        of_instrument = np.full(held.kind.shape, -1, dtype=np.int64)
        of_instrument[live] = inverse.reshape(-1)
        u = unique[:, 0].astype(np.int64)
        tau = np.maximum(unique[:, 1] - self.now, 0.0) / YEAR_SECONDS
        strike = unique[:, 2]
        forward = self.price[u] * np.exp(shape.carry[u] * tau)
        surface = Surface(
            shape.surface_rho[u], shape.surface_eta[u], shape.surface_gamma[u], shape.term_ratio[u], shape.term_speed[u]
        )
        variance = surface.total_variance(self.volatility_mark[u], tau, np.log(strike / forward))
        deviation = np.sqrt(variance)
        value = black76.call(forward, strike, deviation)
        # What the chain can't count is worth nothing there.
        value[value < 1 / WAD] = 0.0
        return _Lines(u, tau, forward, strike, deviation, value, of_instrument)

    @cached_property
    def marks(self) -> tuple[Floats, Floats]:
        """(mark price of every instrument, dollars of forwards in a unit of it); a put is a call less a forward."""
        held, lines = self.instruments, self.lines
        price = self.price[held.underlying]
        at = lines.of_instrument
        settled = (held.kind >= CALL) & (at < 0)
        mark = np.where(held.kind <= PERPETUAL, price, 0.0)
        forwards = mark.copy()
        call, put = (held.kind == CALL) & (at >= 0), (held.kind == PUT) & (at >= 0)
        mark[call] = lines.value[at[call]]
        mark[put] = np.maximum(lines.value[at[put]] - lines.forward[at[put]] + lines.strike[at[put]], 0.0)
        forwards[put] = -lines.forward[at[put]]
        sign = np.where(held.kind == PUT, -1.0, 1.0)
        payoff = np.maximum(sign * (held.settlement - held.strike), 0.0)
        mark[settled] = payoff[settled]
        return mark, forwards

    @cached_property
    def ranges(self) -> Floats:
        """(2, underlyings): r = z·σ·√((h + age) / year) at each horizon, relative to the price."""
        shape, common = self.shape, self.common
        maintenance = shape.tail_maintenance * self.volatility_maintenance
        maintenance = maintenance * np.sqrt((common.horizon_maintenance + self.age) / YEAR_SECONDS)
        initial = (
            shape.tail_initial * self.volatility_initial * np.sqrt((common.horizon_initial + self.age) / YEAR_SECONDS)
        )
        # Tails are fitted per horizon and need not be ordered on a very old price (ORDER).
        return np.stack([np.maximum(initial, maintenance), maintenance])

    @cached_property
    def open_interest_scales(self) -> Floats:
        """(underlyings,): scale of initial margin, from 1 at the lower open interest to the full one at the upper."""
        shape = self.shape
        lower, upper = shape.open_interest_lower, shape.open_interest_upper
        part = np.clip((self.open_interest * self.price - lower) / np.maximum(upper - lower, 1.0), 0.0, 1.0)
        return np.where(upper > 0, 1 + np.maximum(shape.open_interest_scale - 1, 0.0) * part, 1.0)

    def _tables(self, wanted: int) -> _Tables:
        """The tables of the first so many horizons: the whole revaluation, 29 nodes a line, aged for net longs."""
        shape, common, lines = self.shape, self.common, self.lines
        horizons = (
            (common.horizon_initial, shape.volatility_shock_initial, self.volatility_initial),
            (common.horizon_maintenance, shape.volatility_shock_maintenance, self.volatility_maintenance),
        )
        count, nodes = len(lines.tau), kernels.NODES
        table = np.zeros((2, 2 * count, kernels.COLUMNS))
        moves = np.zeros((2, len(self.price), kernels.PADDED_NODES))
        costs = np.empty((2, len(self.price), 2))
        u, tau, forward, strike, deviation = lines.underlying, lines.tau, lines.forward, lines.strike, lines.deviation
        dollar_delta = forward * black76.delta(forward, strike, deviation)
        d1, _ = black76.moneyness(forward, strike, deviation)
        density = np.where(deviation > 0, forward * black76.density(d1), 0.0)
        vega = density * deviation
        spread = vega * shape.option_half_spread[u]
        for h, (horizon, shock_30d, level) in enumerate(horizons[:wanted]):
            factors = _price_factors(self.ranges[h])
            weights = np.ones(nodes)
            weights[27:] = common.extreme_weight
            moves[h, :, :nodes] = (factors - 1) * weights
            costs[h, :, 0] = shape.half_spread
            rate = shape.impact * level / np.sqrt(365) / np.sqrt(np.maximum(shape.average_daily_volume, 1000.0))
            costs[h, :, 1] = 2 / 3 * rate
            v = shock(shock_30d[u], shape.volatility_shock_exponent[u], tau)
            multiples = np.ones((count, nodes))
            multiples[:, 0:27:3] = 1 / (1 + common.volatility_fall * v)[:, None]
            multiples[:, 2:27:3] = (1 + v)[:, None]
            shocked = forward[:, None] * factors[u]
            error = KERNEL_ERROR * (forward * (1 + 2 * self.ranges[h, u]) + strike)
            years = np.maximum(tau - horizon / YEAR_SECONDS, 0.0)
            aged = deviation * np.sqrt(np.divide(years, tau, out=np.zeros(count), where=tau > 0))
            for sign, rows, s in ((1, slice(0, count), aged), (-1, slice(count, None), deviation)):
                worth = _revalue(shocked, strike[:, None], s[:, None] * multiples)
                row = table[h, rows]
                # A row is multiplied by a signed size: what is charged on either side carries the side's sign.
                row[:, :nodes] = (lines.value[:, None] - worth + sign * error[:, None]) * weights
                row[:, kernels.DELTA] = dollar_delta
                # A delta moves by one at most: over a range, gamma is that of an option at least a step wide.
                row[:, kernels.GAMMA] = density / np.maximum(np.maximum(deviation, self.ranges[h, u] / 4), 1e-18)
                row[:, kernels.VEGA] = vega * v
                row[:, kernels.SPREAD] = sign * spread
                row[:, kernels.MINIMUM] = 0.0 if sign > 0 else -common.short_option_minimum * self.price[u]
        return _Tables(table, moves, self.ranges, costs)

    @cached_property
    def house(self) -> kernels.House:
        """Everything as the kernels want it."""
        return self._house(2)

    @cached_property
    def initial_house(self) -> kernels.House:
        """The same with no more than the initial requirement needs."""
        both: kernels.House | None = self.__dict__.get("house")
        return both or self._house(1)

    def _house(self, horizons: int) -> kernels.House:
        held, shape, lines, tables = self.instruments, self.shape, self.lines, self._tables(horizons)
        if np.any(np.diff(held.underlying) < 0):
            raise PlimsollError("instruments are not in order of their underlyings; sort them by underlying")
        mark, forwards = self.marks
        live = lines.of_instrument >= 0
        worth = np.stack(
            [
                np.where(held.kind != SPOT, mark, 0.0),
                np.where(held.kind == SPOT, mark, 0.0),
                # Never quite nothing: that one is held is what opens the cap.
                np.where(live, np.maximum(mark, LEAST_VALUE), 0.0),
                np.where(live, 0.0, forwards),
                np.where(live, forwards, 0.0),
                live.astype(np.float64),
            ]
        )
        sides = np.full((2, len(lines.tau)), -1, dtype=np.int64)
        for side, kind in enumerate((CALL, PUT)):
            places = np.flatnonzero((held.kind == kind) & (lines.of_instrument >= 0))
            sides[side, lines.of_instrument[places]] = places
        count = np.arange(len(self.price) + 1)
        tiers = [getattr(shape, f"tier_rate_{n}") for n in (1, 2, 3, 4)]
        tiers += [getattr(shape, f"tier_notional_{n}") for n in (1, 2, 3)]
        return kernels.House(
            underlying=held.underlying,
            line=lines.of_instrument,
            worth=worth,
            first=np.searchsorted(held.underlying, count).astype(np.uint64),
            line_first=np.searchsorted(lines.underlying, count).astype(np.uint64),
            call=sides[0],
            put=sides[1],
            price=self.price,
            scale=self.open_interest_scales,
            tiers=np.stack(tiers, axis=1),
            low=self.common.correlation_low,
            high=self.common.correlation_high,
            table=tables.table,
            moves=tables.moves,
            ranges=self.ranges,
            costs=tables.costs,
            cash_price=min(1.0, self.cash_price),
            offset=self.common.offset,
            multiplier=self.common.multiplier,
            fall=self.common.volatility_fall,
        )


def _revalue(forward: Floats, strike: Floats, deviation: Floats) -> Floats:
    """Calls as the contract's grid prices them (libraries/RevaluationGrid.sol): Black-76 with the normal distribution
    cut to cubics. The error is small, but so is what is left where options all but cancel: it is the same here."""
    s = np.maximum(deviation, LEAST_DEVIATION)
    d1 = np.log(forward / strike) / s + 0.5 * s
    return np.asarray(forward * _cubic_distribution(d1) - strike * _cubic_distribution(d1 - s))


def _cubic_distribution(d: Floats) -> Floats:
    """Φ(d), 0 below −8 and 1 from 8 on, by the first four terms of its Taylor series about the centre of a cell of
    width 1/32 (contracts/NormalTable.sol)."""
    cell = np.clip(np.floor((d + 8) * 32), 0, 511).astype(np.int64)
    t = d - _CENTRES[cell]
    c0, c1, c2, c3 = _CUBICS
    value = c0[cell] + t * (c1[cell] + t * (c2[cell] + t * c3[cell]))
    return np.where(d < -8, 0.0, np.where(d < 8, value, 1.0))


_CENTRES = -8 + (np.arange(512) + 0.5) / 32
_DENSITIES = black76.density(_CENTRES)
_CUBICS = (ndtr(_CENTRES), _DENSITIES, -_CENTRES * _DENSITIES / 2, (_CENTRES**2 - 1) * _DENSITIES / 6)


def _wads(values: Iterable[int]) -> Floats:
    return np.array([value / WAD for value in values], dtype=np.float64)


def _shape(values: Mapping[Key, int], underlyings: Sequence[int]) -> Shape:
    def numbers(name: str) -> Floats:
        field = Field.of(name)
        return np.array([float(field.decode(values[Key(field, u)])) for u in underlyings])

    return Shape(**{each.name: numbers(each.name) for each in fields(Shape)})


def _common(values: Mapping[Key, int], underlyings: Sequence[int]) -> Common:
    def number(field: Field) -> float:
        return float(field.decode(values[Key(field)]))

    def correlation(field: Field) -> Floats:
        matrix = np.eye(len(underlyings))
        for (i, a), (j, b) in combinations(enumerate(underlyings), 2):
            matrix[i, j] = matrix[j, i] = float(field.decode(values[Key.pair(field, a, b)]))
        return matrix

    return Common(
        horizon_initial=number(Field.HORIZON_INITIAL),
        horizon_maintenance=number(Field.HORIZON_MAINTENANCE),
        offset=number(Field.OFFSET),
        multiplier=number(Field.MULTIPLIER),
        extreme_weight=number(Field.EXTREME_WEIGHT),
        short_option_minimum=number(Field.SHORT_OPTION_MINIMUM),
        volatility_fall=number(Field.VOLATILITY_FALL),
        correlation_low=correlation(Field.CORRELATION_LOW),
        correlation_high=correlation(Field.CORRELATION_HIGH),
    )


def _instruments(
    underlyings: Sequence[int], options: Iterable[Instrument], settlements: Mapping[tuple[int, int], int]
) -> Instruments:
    rows: list[tuple[int, int, float, float, float, int]] = []
    for at, u in enumerate(underlyings):
        rows.append((at, SPOT, 0.0, 0.0, math.nan, u))
        rows.append((at, PERPETUAL, 0.0, 0.0, math.nan, Instrument.perpetual(u).id))
    for option in options:
        price = settlements.get((option.underlying, option.expiry), 0)
        settlement = price / WAD if price else math.nan
        at = underlyings.index(option.underlying)
        rows.append((at, int(option.kind), float(option.expiry), float(option.strike), settlement, option.id))
    rows.sort(key=lambda row: row[0])
    underlying, kind, expiry, strike, settlement_, ids = zip(*rows, strict=True)
    return Instruments(
        np.array(kind, dtype=np.int64),
        np.array(underlying, dtype=np.int64),
        np.array(expiry, dtype=np.float64),
        np.array(strike, dtype=np.float64),
        np.array(settlement_, dtype=np.float64),
        ids,
    )


def _price_factors(ranges: Floats) -> Floats:
    """(underlyings, 29): price over index price at every node, in the order of Requirement.worstNode."""
    steps = np.concatenate([np.repeat(np.arange(-4, 5), 3), [-8, 8]]) / 4
    return np.maximum(1 + ranges[:, None] * steps, LEAST_FACTOR)


@dataclass(frozen=True)
class Requirements:
    """One horizon's requirement of every account, (accounts,) each, taken apart as in contracts/types/Margin.sol.
    `long_option_cap` is infinite where no long option is held, or where their value alone is above the requirement."""

    standalone: Floats
    joint: Floats
    worst_node: Integers
    grid: Floats
    expected_shortfall: Floats
    risk: Floats
    liquidity: Floats
    short_option_minimum: Floats
    leverage_floor: Floats
    long_option_cap: Floats
    total: Floats


@dataclass(frozen=True)
class Margins:
    """What every account has and must hold, (accounts,) each [dollars]."""

    equity: Floats
    unrealised: Floats
    collateral: Floats
    open_interest_scale: Floats
    initial: Requirements
    maintenance: Requirements | None
    """None where only the initial requirement was asked for."""

    @property
    def is_healthy(self) -> NDArray[np.bool_]:
        """equity ≥ initial."""
        return np.asarray(self.equity >= self.initial.total)

    @property
    def is_liquidatable(self) -> NDArray[np.bool_]:
        """equity < maintenance."""
        if self.maintenance is None:
            raise PlimsollError("maintenance was not computed; call margins without initial_only")
        return np.asarray(self.equity < self.maintenance.total)


@dataclass(frozen=True)
class Positions:
    """Holdings of many accounts, most of them in few instruments: compressed sparse rows."""

    offsets: Integers
    """(accounts + 1,): account a holds entries offsets[a] to offsets[a + 1]."""
    instrument: NDArray[np.int32]
    """Of each entry: place in Instruments. Entries of one account on one instrument add up."""
    size: Floats
    """Of each entry: units, positive long."""

    @classmethod
    def dense(cls, sizes: Floats) -> Positions:
        """From sizes (accounts, instruments), without copying: every account's run is all instruments in order."""
        accounts, instruments = sizes.shape
        offsets = np.arange(accounts + 1, dtype=np.int64) * instruments
        return cls(offsets, np.empty(0, dtype=np.int32), np.ascontiguousarray(sizes, dtype=np.float64).reshape(-1))


@dataclass(frozen=True)
class Holdings:
    """What accounts have, as `margins` takes it: positions and collateral, cash and quotes."""

    positions: Positions
    cash: Floats
    quotes: Floats

    @classmethod
    def of(cls, market: Market, portfolios: Sequence[Any]) -> Holdings:
        """From portfolios as contracts/types/Portfolio.sol has them. PlimsollError for an instrument that the market
        was read without."""
        place = {number: at for at, number in enumerate(market.instruments.ids)}
        entries = [_entries(place, portfolio) for portfolio in portfolios]
        return cls(
            Positions(
                np.cumsum([0, *map(len, entries)], dtype=np.int64),
                np.array([at for account in entries for at, _ in account], dtype=np.int32),
                np.array([size for account in entries for _, size in account], dtype=np.float64),
            ),
            _wads(portfolio.cash for portfolio in portfolios),
            _wads(sum(position.quote for position in portfolio.positions) for portfolio in portfolios),
        )


def _entries(place: Mapping[int, int], portfolio: Any) -> list[tuple[int, float]]:
    lines = [(position.instrument, position.size) for position in portfolio.positions]
    lines += [(held.underlying, held.amount) for held in portfolio.collateral]
    missing = next((number for number, _ in lines if number not in place), None)
    if missing is not None:
        raise PlimsollError(f"the market was read without instrument {missing}; name it among its options")
    return [(place[number], size / WAD) for number, size in lines]


def margins(
    market: Market,
    positions: Positions | Floats,
    cash: ArrayLike = 0.0,
    quotes: ArrayLike = 0.0,
    *,
    initial_only: bool = False,
) -> Margins:
    """Margins of many accounts.

    :param positions: sizes (accounts, instruments) [units], or `Positions`
    :param cash: (accounts,) settled cash [dollars]
    :param quotes: (accounts,) each account's quotes, added up [dollars]
    :raises PlimsollError: where shapes do not fit, or an instrument's number is out of range
    """
    if not isinstance(positions, Positions):
        if positions.ndim != 2 or positions.shape[1] != len(market.instruments.kind):
            raise PlimsollError(
                f"sizes are {positions.shape}; they must be (accounts, {len(market.instruments.kind)}), "
                "a column for every instrument"
            )
        positions = Positions.dense(positions)
    elif positions.instrument.size:
        low, high = int(positions.instrument.min()), int(positions.instrument.max())
        if low < 0 or high >= len(market.instruments.kind):
            raise PlimsollError(f"there is no instrument {low if low < 0 else high} in this market")
    accounts = len(positions.offsets) - 1
    values, results = kernels.margins(
        market.initial_house if initial_only else market.house,
        positions.size,
        positions.instrument,
        positions.offsets,
        np.broadcast_to(np.asarray(cash, dtype=np.float64), accounts).copy(),
        np.broadcast_to(np.asarray(quotes, dtype=np.float64), accounts).copy(),
        1 if initial_only else 2,
    )
    equity, unrealised, collateral, scale = values.T
    return Margins(
        equity,
        unrealised,
        collateral,
        scale,
        initial=_requirements(results[:, INITIAL]),
        maintenance=None if initial_only else _requirements(results[:, MAINTENANCE]),
    )


def _requirements(results: Floats) -> Requirements:
    columns = list(results.T)
    columns[kernels.WORST_NODE] = columns[kernels.WORST_NODE].astype(np.int64)
    return Requirements(*columns)


__all__ = [
    "CALL",
    "PERPETUAL",
    "PUT",
    "SPOT",
    "Common",
    "Holdings",
    "Instruments",
    "Margins",
    "Market",
    "Positions",
    "Requirements",
    "Shape",
    "margins",
]
