"""The fast mirror against the formulas of the design, written out in loops, and the properties they have."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm

from plimsoll.errors import PlimsollError
from plimsoll.margin import black76, mirror
from plimsoll.margin.mirror import CALL, PERPETUAL, PUT, SPOT, Common, Instruments, Market, Positions, Shape, margins
from plimsoll.margin.surface import Surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NOW = 1_800_000_000.0
DAY = 86_400.0
YEAR = 365 * DAY
C = float(norm.pdf(norm.ppf(0.01))) / 0.01
PRICES = np.array([60_000.0, 3_000.0, 1.5])
NAMES = ("standalone", "joint", "grid", "expected_shortfall", "risk", "liquidity", "short_option_minimum")
NAMES += ("leverage_floor", "long_option_cap", "total")


def make_market(**changes: object) -> Market:
    """Three underlyings with everything on; each has a perpetual, collateral, and calls and puts of four expiries: one
    settled, one expired and not settled, one due within both horizons, one far."""
    ones = np.ones(3)
    numbers = {
        "tail_initial": 2.9, "tail_maintenance": 3.3, "half_spread": 0.0005, "impact": 0.8, "average_daily_volume": 5e7,
        "open_interest_lower": 1e6, "open_interest_upper": 1e8, "open_interest_scale": 1.6, "carry": 0.04,
        "tier_rate_1": 0.02, "tier_rate_2": 0.05, "tier_rate_3": 0.1, "tier_rate_4": 0.2,
        "tier_notional_1": 1e5, "tier_notional_2": 1e6, "tier_notional_3": 1e7, "option_half_spread": 0.03,
        "surface_rho": -0.2, "surface_eta": 1.1, "surface_gamma": 0.4, "term_ratio": 0.8, "term_speed": 3.0,
        "volatility_shock_initial": 0.4, "volatility_shock_maintenance": 0.25, "volatility_shock_exponent": 0.3,
    }  # fmt: skip
    high = np.array([[1, 0.8, 0.5], [0.8, 1, 0.6], [0.5, 0.6, 1]])
    low = high - 0.4 * (1 - np.eye(3))
    rows = [(kind, u, 0.0, 0.0, math.nan) for u in range(3) for kind in (SPOT, PERPETUAL)]
    for u, days, moneyness, kind in itertools.product(range(3), (-2, -1, 0.04, 40), (0.8, 1.0, 1.2), (CALL, PUT)):
        settlement = PRICES[u] * 1.1 if days == -2 else math.nan
        rows.append((kind, u, NOW + days * DAY, PRICES[u] * moneyness, settlement))
    rows.sort(key=lambda row: row[1])
    kind, underlying, expiry, strike, settlement = (np.array(column) for column in zip(*rows, strict=True))
    market = Market(
        now=NOW,
        price=PRICES,
        age=np.array([0.0, 30.0, 900.0]),
        volatility_mark=np.array([0.5, 0.65, 1.1]),
        volatility_initial=np.array([0.6, 0.7, 1.3]),
        volatility_maintenance=np.array([0.55, 0.6, 1.0]),
        open_interest=np.array([1e9, 5e7, 1e3]) / PRICES,
        shape=Shape(**{name: value * ones for name, value in numbers.items()}),
        common=Common(4 * 3600.0, 3600.0, 0.7, 1.2, 0.35, 0.01, 0.75, low, high),
        instruments=Instruments(kind, underlying, expiry, strike, settlement),
        cash_price=0.98,
    )
    return replace(market, **changes)


def random_books(market: Market, count: int, seed: int, held: int = 8) -> Floats:
    """(count, instruments): some instruments each, worth comparable dollars; collateral is never short."""
    generator = np.random.default_rng(seed)
    instruments = len(market.instruments.kind)
    sizes = np.zeros((count, instruments))
    for book in sizes:
        places = generator.choice(instruments, size=generator.integers(1, held + 1), replace=False)
        book[places] = generator.normal(size=len(places)) * 10 ** generator.uniform(2, 6)
    sizes /= market.price[market.instruments.underlying]
    collateral = market.instruments.kind == SPOT
    sizes[:, collateral] = np.abs(sizes[:, collateral])
    return sizes


# The formulas of docs/design.md once more, one account, one line and one node at a time.


def reference(market: Market, sizes: Floats, initial: bool) -> SimpleNamespace:
    """Everything about one account at one horizon. The contract's own choices are marked."""
    found = _without_cap(market, sizes, initial)
    held, live = market.instruments, []
    for i in np.flatnonzero(sizes > 0):
        if held.kind[i] >= CALL and math.isnan(held.settlement[i]):
            live.append(i)
    # Prices below the contract's unit are none.
    long_value = sum(sizes[i] * _mark(market, i) for i in live if _mark(market, i) >= 1e-18)
    found.long_option_cap = math.inf
    # The cap is at least the value of the long options.
    if live and found.total > long_value:
        rest = sizes.copy()
        rest[live] = 0
        # The scale is that of all underlyings held, long options or not.
        found.long_option_cap = _without_cap(market, rest, initial, found.scale).total + long_value
        found.total = min(found.total, found.long_option_cap)
    if not initial:
        found.total = min(found.total, reference(market, sizes, initial=True).total)
    return found


def _line(market: Market, i: int) -> tuple[int, float, float, float, float]:
    """(underlying, τ, forward, strike, s) of a live option."""
    held, shape = market.instruments, market.shape
    u = int(held.underlying[i])
    tau, strike = max(held.expiry[i] - market.now, 0.0) / YEAR, float(held.strike[i])
    forward = market.price[u] * math.exp(shape.carry[u] * tau)
    if tau == 0:
        return u, tau, forward, strike, 0.0

    def growth(t: float) -> float:
        ratio, x = shape.term_ratio[u], shape.term_speed[u] * t
        return ratio + (1 - ratio) * (1 - math.exp(-x)) / x

    theta = market.volatility_mark[u] ** 2 * tau * growth(tau) / growth(30 / 365)
    rho, gamma = shape.surface_rho[u], shape.surface_gamma[u]
    phi = shape.surface_eta[u] / (theta**gamma * (1 + theta) ** (1 - gamma))
    k = math.log(strike / forward)
    w = theta / 2 * (1 + rho * phi * k + math.sqrt((phi * k + rho) ** 2 + 1 - rho**2))
    return u, tau, forward, strike, math.sqrt(w)


def _call(forward: float, strike: float, s: float) -> float:
    if s == 0:
        return max(forward - strike, 0.0)
    d1 = math.log(forward / strike) / s + s / 2
    return float(forward * norm.cdf(d1) - strike * norm.cdf(d1 - s))


def _mark(market: Market, i: int) -> float:
    held = market.instruments
    if held.kind[i] <= PERPETUAL:
        return float(market.price[held.underlying[i]])
    if not math.isnan(held.settlement[i]):
        return max((held.settlement[i] - held.strike[i]) * (1 if held.kind[i] == CALL else -1), 0.0)
    _, _, forward, strike, s = _line(market, i)
    call = _call(forward, strike, s)
    return call if held.kind[i] == CALL else call - forward + strike


def _without_cap(market: Market, sizes: Floats, initial: bool, least_scale: float = 1.0) -> SimpleNamespace:
    held, shape, common = market.instruments, market.shape, market.common
    horizon = common.horizon_initial if initial else common.horizon_maintenance
    level = market.volatility_initial if initial else market.volatility_maintenance
    shocks = shape.volatility_shock_initial if initial else shape.volatility_shock_maintenance
    ranges = []
    for u in range(3):
        short = shape.tail_maintenance[u] * market.volatility_maintenance[u]
        short *= math.sqrt((common.horizon_maintenance + market.age[u]) / YEAR)
        long = shape.tail_initial[u] * market.volatility_initial[u]
        long *= math.sqrt((common.horizon_initial + market.age[u]) / YEAR)
        ranges.append((max(short, long), short))
    nodes = [(step, volatility) for step in range(-4, 5) for volatility in (-1, 0, 1)] + [(-8, 0), (8, 0)]

    losses, delta, gamma, vega = np.zeros((3, 29)), np.zeros(3), np.zeros(3), np.zeros(3)
    closing, minimum, floor, scale, spot, short_size = 0.0, 0.0, 0.0, least_scale, np.zeros(3), np.zeros(3)
    net: dict[tuple[int, float, float], list[float]] = {}
    option: dict[tuple[int, float, float], int] = {}
    for i in np.flatnonzero(sizes):
        u, size = int(held.underlying[i]), float(sizes[i])
        upper, interest = shape.open_interest_upper[u], market.open_interest[u] * market.price[u]
        part = min(max((interest - shape.open_interest_lower[u]) / (upper - shape.open_interest_lower[u]), 0), 1)
        scale = max(scale, 1 + (shape.open_interest_scale[u] - 1) * part)
        if held.kind[i] <= PERPETUAL:
            spot[u] += size * market.price[u]
        elif math.isnan(held.settlement[i]):
            key = (u, float(held.expiry[i]), float(held.strike[i]))
            net.setdefault(key, [0.0, 0.0])[int(held.kind[i] == PUT)] += size
            option[key] = int(i)
            short_size[u] += max(-size, 0.0)
    forwards = spot.copy()
    for key, (calls, puts) in net.items():
        u, tau, forward, strike, s = _line(market, option[key])
        n = calls + puts
        r = ranges[u][0 if initial else 1]
        forwards[u] -= puts * forward
        v = shocks[u] * (30 / 365 / max(tau, 1 / 365)) ** shape.volatility_shock_exponent[u]
        aged = s * math.sqrt(max(tau - horizon / YEAR, 0) / tau) if n > 0 and tau > 0 else s
        # The contract: an allowance for the error of its pricing kernel.
        error = 1e-8 * abs(n) * (forward * (1 + 2 * r) + strike)
        for at, (step, volatility) in enumerate(nodes):
            factor = max(1 + step * r / 4, 1e-9)
            multiple = {-1: 1 / (1 + common.volatility_fall * v), 0: 1.0, 1: 1 + v}[volatility]
            price = _call(forward * factor, strike, aged * multiple)
            weight = common.extreme_weight if at > 26 else 1
            losses[u, at] += weight * (n * (_call(forward, strike, s) - price) + error)
        if s > 0:
            d1 = math.log(forward / strike) / s + s / 2
            density = forward * norm.pdf(d1)
            delta[u] += n * forward * norm.cdf(d1)
            # The contract: over a range, gamma is that of an option at least a step between nodes wide.
            gamma[u] += n * density / max(s, r / 4)
            vega[u] += n * density * s * v
            closing += abs(n) * density * s * shape.option_half_spread[u]
        else:
            delta[u] += n * forward * (forward > strike)
        minimum += common.short_option_minimum * market.price[u] * max(-n, 0)
    delta += forwards
    vega[vega > 0] *= common.volatility_fall

    standalone, liquidity = 0.0, closing
    for u in range(3):
        r = ranges[u][0 if initial else 1]
        for at, (step, _) in enumerate(nodes):
            weight = common.extreme_weight if at > 26 else 1
            losses[u, at] -= weight * forwards[u] * (max(1 + step * r / 4, 1e-9) - 1)
        standalone += max(0.0, losses[u].max())
        notional = abs(delta[u])
        daily = level[u] / math.sqrt(365)
        root = math.sqrt(notional / shape.average_daily_volume[u])
        liquidity += notional * (shape.half_spread[u] + 2 / 3 * shape.impact[u] * daily * root)
        notional, start = abs(spot[u]) + short_size[u] * market.price[u], 0.0
        for rate, end in zip((0.02, 0.05, 0.1, 0.2), (1e5, 1e6, 1e7, math.inf), strict=True):
            floor += rate * max(0.0, min(notional, end) - start)
            start = end
    joint = max(0.0, losses.sum(axis=0).max())
    grid = (1 - common.offset) * standalone + common.offset * joint

    r = np.array([pair[0 if initial else 1] for pair in ranges])
    rho = np.where(np.outer(delta, delta) < 0, common.correlation_low, common.correlation_high)
    covariance = rho * np.outer(r, r) / C**2
    curve = np.diag(gamma) @ covariance
    mean = np.trace(curve) / 2
    variance = delta @ covariance @ delta + np.trace(curve @ curve) / 2 + vega @ rho @ vega / C**2
    cubic = 3 * delta @ covariance @ np.diag(gamma) @ covariance @ delta + np.trace(curve @ curve @ curve)
    shortfall = 0.0
    if variance > 0:
        shortfall = -min(mean, 0) + math.sqrt(variance) * _modified(cubic / variance**1.5)
    risk = max(grid, shortfall)
    scale = scale if initial else 1.0
    floor = floor if initial else 0.0
    total = max(scale * common.multiplier * risk + liquidity + minimum, floor)
    return SimpleNamespace(
        standalone=standalone, joint=joint, grid=grid, expected_shortfall=shortfall, risk=risk, liquidity=liquidity,
        short_option_minimum=minimum, leverage_floor=floor, total=total, scale=scale,
    )  # fmt: skip


def _modified(skew: float) -> float:
    """The tail of Boudt, Peterson & Croux, integrated: −E[x; Cornish-Fisher below g] under the Edgeworth density."""
    skew = min(max(skew, -1.7998), 0.3808)
    z = float(norm.ppf(0.01))
    g = z + (z**2 - 1) * skew / 6 - (2 * z**3 - 5 * z) * skew**2 / 36
    x = np.linspace(g - 40, g, 400_001)
    density = norm.pdf(x) * (1 + skew / 6 * (x**3 - 3 * x) + skew**2 / 72 * (x**6 - 15 * x**4 + 45 * x**2 - 15))
    return float(-np.trapezoid(x * density, x) if hasattr(np, "trapezoid") else -np.trapz(x * density, x)) / 0.01


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market()


@pytest.mark.parametrize("initial", [True, False])
def test_margins_agreeWithTheFormulasInLoops(market: Market, initial: bool) -> None:
    books = random_books(market, 60, seed=1)
    found = margins(market, books)
    found = found.initial if initial else found.maintenance
    # The kernel of the grid is within 3.5e-9 of forward plus strike on either side of a difference.
    slack = 2e-8 * np.abs(books) @ market.price[market.instruments.underlying]
    capped = 0
    for at, book in enumerate(books):
        expected = reference(market, book, initial)
        capped += math.isfinite(expected.long_option_cap)
        for name in NAMES:
            tolerance = 1e-9 * abs(getattr(expected, name)) + 3 * slack[at] if name != "liquidity" else 1e-9
            value = getattr(expected, name)
            assert getattr(found, name)[at] == pytest.approx(value, rel=1e-9, abs=tolerance), (at, name)
    assert 5 < capped < 55


def test_margins_equityCountsEveryKindAsItIsWorth(market: Market) -> None:
    books = random_books(market, 40, seed=2)
    cash, quotes = np.random.default_rng(2).normal(size=(2, 40)) * 1e5
    found = margins(market, books, cash, quotes)
    held = market.instruments
    for at, book in enumerate(books):
        values = [(held.kind[i] == SPOT, book[i] * _mark(market, i)) for i in np.flatnonzero(book)]
        collateral = sum(value for spot, value in values if spot)
        unrealised = quotes[at] + sum(value for spot, value in values if not spot)
        claim = cash[at] + unrealised
        assert found.collateral[at] == pytest.approx(collateral, rel=1e-12)
        assert found.unrealised[at] == pytest.approx(unrealised, rel=1e-9, abs=1e-6)
        assert found.equity[at] == pytest.approx(
            collateral + (0.98 * claim if claim > 0 else claim), rel=1e-9, abs=1e-6
        )


def test_margins_isTheSameDenseAndSparse(market: Market) -> None:
    books = random_books(market, 500, seed=3, held=20)
    accounts, instruments = np.nonzero(books)
    order = np.random.default_rng(3).permutation(len(accounts))
    order = order[np.argsort(accounts[order], kind="stable")]
    offsets = np.searchsorted(accounts[order], np.arange(501))
    positions = Positions(offsets, instruments[order].astype(np.int32), books[accounts[order], instruments[order]])
    dense, sparse = margins(market, books, 1e4, 50.0), margins(market, positions, 1e4, 50.0)
    for name in ("equity", "unrealised", "collateral", "open_interest_scale"):
        np.testing.assert_allclose(getattr(dense, name), getattr(sparse, name), rtol=1e-10, atol=1e-6)
    for a, b in ((dense.initial, sparse.initial), (dense.maintenance, sparse.maintenance)):
        for field in fields(a):
            if field.name != "worst_node":
                np.testing.assert_allclose(getattr(a, field.name), getattr(b, field.name), rtol=1e-9, atol=1e-6)


def test_margins_areTheSameWhateverElseIsInTheBatch(market: Market) -> None:
    books = random_books(market, 300, seed=4)
    whole = margins(market, books)
    parts = [margins(market, books[start : start + 7]) for start in range(0, 300, 7)]
    assert np.array_equal(whole.initial.total, np.concatenate([part.initial.total for part in parts]))
    assert np.array_equal(whole.maintenance.total, np.concatenate([part.maintenance.total for part in parts]))


def test_margins_initialOnlyIsTheInitialHalf(market: Market) -> None:
    books = random_books(market, 100, seed=5)
    alone = margins(market, books, initial_only=True)
    assert alone.maintenance is None
    assert np.array_equal(alone.initial.total, margins(market, books).initial.total)
    with pytest.raises(PlimsollError, match="initial_only"):
        _ = alone.is_liquidatable


def test_margins_COHERENCE_gridIsSubadditive(market: Market) -> None:
    a, b = random_books(market, 2_000, seed=6), random_books(market, 2_000, seed=7)
    both, first, second = margins(market, a + b), margins(market, a), margins(market, b)
    for name in ("initial", "maintenance"):
        grids = [getattr(each, name).grid for each in (both, first, second)]
        assert np.all(grids[0] <= (grids[1] + grids[2]) * (1 + 1e-9) + 1e-6)


def test_margins_COHERENCE_sizeCostsMoreNeverLess(market: Market) -> None:
    books = random_books(market, 2_000, seed=8)
    one, three = margins(market, books), margins(market, 3 * books)
    np.testing.assert_allclose(three.initial.risk, 3 * one.initial.risk, rtol=1e-9)
    for name in ("initial", "maintenance"):
        assert np.all(getattr(three, name).total >= 3 * getattr(one, name).total * (1 - 1e-9))


def test_margins_ORDER_maintenanceIsNeverAboveInitial() -> None:
    stale = make_market(age=np.array([0.0, 1e5, 1e6]), volatility_initial=np.array([0.55, 0.6, 1.0]))
    books = random_books(stale, 2_000, seed=9)
    found = margins(stale, books)
    assert np.all(found.maintenance.total <= found.initial.total)
    assert np.all(found.maintenance.total >= 0)


def test_margins_longOptionsCostNoMoreThanTheyAreWorth() -> None:
    # Without open interest: its scale is the largest of all underlyings held, be it only through a long option.
    market = make_market(open_interest=np.zeros(3))
    options = market.instruments.kind >= CALL
    # What is worth nothing has no cap.
    longs = np.abs(random_books(market, 500, seed=10)) * (options & (market.marks[0] >= 1e-18))
    alone = margins(market, longs)
    assert np.all(alone.initial.total <= alone.unrealised * (1 + 1e-12))
    others = random_books(market, 500, seed=11)
    others[:, options] = np.minimum(others[:, options], 0.0)
    longs[others != 0] = 0.0
    together, apart, value = margins(market, longs + others), margins(market, others), margins(market, longs).unrealised
    assert np.all(together.initial.total <= (apart.initial.total + value) * (1 + 1e-9) + 1e-6)
    assert np.any(together.initial.long_option_cap <= together.initial.total)


def test_margins_boxSpreadCostsNoRisk(market: Market) -> None:
    held = market.instruments
    far = np.flatnonzero((held.underlying == 1) & (held.expiry > NOW + 10 * DAY))
    place = {(held.kind[i], round(held.strike[i])): i for i in far}
    box = np.zeros((1, len(held.kind)))
    for kind, strike, size in ((CALL, 2400, 5), (PUT, 2400, -5), (CALL, 3600, -5), (PUT, 3600, 5)):
        box[0, place[kind, strike]] = size
    found = margins(market, box).initial
    legs = margins(market, np.diag(box[0])[box[0] != 0]).initial
    # A call less a put is a forward, and the two forwards cancel; what is left is the strikes' difference in cash.
    assert found.grid[0] <= 1e-9 * legs.grid.sum()
    assert found.short_option_minimum[0] == 0
    assert found.total[0] < 0.01 * legs.total.sum() + found.leverage_floor[0]


def test_margins_refuseShapesThatDoNotFit(market: Market) -> None:
    with pytest.raises(PlimsollError, match="a column for every instrument"):
        margins(market, np.zeros((2, 3)))
    with pytest.raises(PlimsollError, match="no instrument 99"):
        margins(market, Positions(np.array([0, 1]), np.array([99], dtype=np.int32), np.ones(1)))


def test_modifiedMultiplier_isTheTailOfTheEdgeworthDensity() -> None:
    for skew in (-3.0, -1.7, -0.8, 0.0, 0.2, 0.38, 2.0):
        assert mirror.kernels.modified_multiplier(skew) == pytest.approx(_modified(skew), rel=1e-8)
    assert mirror.kernels.modified_multiplier(0.0) == pytest.approx(C, rel=1e-14)


def test_black76_agreesWithScipyAndWithItsOwnDerivatives() -> None:
    generator = np.random.default_rng(12)
    forward, strike, s = (
        generator.uniform(50, 150, 300),
        generator.uniform(50, 150, 300),
        generator.uniform(0.05, 2, 300),
    )
    d1 = np.log(forward / strike) / s + s / 2
    value = forward * norm.cdf(d1) - strike * norm.cdf(d1 - s)
    np.testing.assert_allclose(black76.call(forward, strike, s), value, atol=1e-11)
    np.testing.assert_allclose(black76.put(forward, strike, s), value - forward + strike, atol=1e-11)
    bump = 1e-4 * forward
    up, down = black76.call(forward + bump, strike, s), black76.call(forward - bump, strike, s)
    np.testing.assert_allclose(black76.delta(forward, strike, s), (up - down) / (2 * bump), atol=1e-6)
    np.testing.assert_allclose(black76.gamma(forward, strike, s), (up - 2 * value + down) / bump**2, atol=1e-5)
    vega = (black76.call(forward, strike, s * 1.0001) - black76.call(forward, strike, s * 0.9999)) / 0.0002
    np.testing.assert_allclose(black76.relative_vega(forward, strike, s), vega, atol=1e-5)
    visible = value - np.maximum(forward - strike, 0) > 1e-4
    found = black76.implied_deviation(value[visible], forward[visible], strike[visible])
    np.testing.assert_allclose(found, s[visible], rtol=1e-6)
    assert np.array_equal(black76.call(np.array([90.0, 110.0]), 100.0, 0.0), [0.0, 10.0])
    assert np.isnan(black76.implied_deviation(5.0, 110.0, 100.0))


def test_surface_hasItsLevelAtThirtyDaysAndTheSlopeOfSSVI() -> None:
    surface = Surface(rho=-0.3, eta=1.2, gamma=0.4, term_ratio=0.7, term_speed=4.0)
    assert surface.volatility(0.6, 30 / 365, 0.0) == pytest.approx(0.6, rel=1e-14)
    tenors = np.array([1, 7, 30, 180, 730]) / 365
    assert np.all(np.diff(surface.atm_variance(0.6, tenors)) > 0)
    assert np.all(np.diff(surface.volatility(0.6, tenors, 0.0)) < 0)
    theta, step = surface.atm_variance(0.6, 0.25), 1e-5
    slope = (surface.total_variance(0.6, 0.25, step) - surface.total_variance(0.6, 0.25, -step)) / (2 * step)
    # Gatheral & Jacquier: the slope of w at the money is θ·ρ·φ(θ).
    assert slope == pytest.approx(theta * -0.3 * 1.2 / (theta**0.4 * (1 + theta) ** 0.6), rel=1e-6)
