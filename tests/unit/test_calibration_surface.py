"""Fitting the surface: known shapes are found again, real chains within stated errors, and what is fitted is what the
contract computes and accepts."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plimsoll.calibration.surface import (
    CHECKED_TENORS,
    FARTHEST_STRIKE,
    QuoteConfig,
    ShapeLimits,
    TermPoints,
    arbitrage_margin,
    carry_by_tenor,
    fit_errors,
    fit_surface,
    observe,
    shock_exponent,
    volatility_shock,
)
from plimsoll.chain.fields import Field
from plimsoll.errors import PlimsollError
from plimsoll.margin.black76 import density
from plimsoll.margin.surface import Surface, shock
from plimsoll.market import Chain, load_chains, load_dvol, load_market, make_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

YEAR = 365 * 86_400
DAY = 86_400
T0 = 1_772_323_200
WAD = 10**18

TRUE = Surface(rho=-0.3, eta=0.9, gamma=0.45, term_ratio=1.3, term_speed=4.0)
LIMITS = ShapeLimits(floor=0.25, cap=5.0, shocks=(0.16, 0.08), exponent=0.45)


def chain_of(surface: Surface, level: float, ts: int = T0, half_spread: float = 0.005) -> Chain:
    """Calls and puts at 21 strikes for 8 expiries, marked on the surface, ± half_spread in volatility."""
    tenors = np.array([2, 5, 10, 21, 35, 80, 170, 350]) * DAY
    z = np.linspace(-2, 2, 21)
    expiry, z, call = (each.ravel() for each in np.meshgrid(ts + tenors, z, [False, True], indexing="ij"))
    tau = (expiry - ts) / YEAR
    k = z * level * np.sqrt(tau)
    volatility = surface.volatility(level, tau, k)
    deviation = volatility * np.sqrt(tau)
    price = 0.01 + np.zeros(len(k))  # only the width of the quote and its presence matter
    width = half_spread * density(-k / deviation + deviation / 2) * np.sqrt(tau)
    return Chain(
        underlying="BTC",
        ts=ts,
        expiry=expiry.astype(np.int64),
        strike=60_000 * np.exp(k),
        call=call.astype(bool),
        forward=np.full(len(k), 60_000.0),
        bid=price - width,
        ask=price + width,
        volatility=volatility,
        index=60_000.0 * np.exp(-0.02 * tau),
    )


# ─── Quotes


def test_observe_keepsQuotedOutOfTheMoneyOptions():
    chain = chain_of(TRUE, 0.6)
    quotes = observe([chain])
    assert len(quotes) == 8 * 21
    assert quotes.level == pytest.approx(quotes.level[0])
    assert quotes.level[0] == pytest.approx(0.6, rel=2e-3)  # interpolated between 21 and 35 days
    assert quotes.spread == pytest.approx(0.02)  # narrower ones count as this much
    assert quotes.term.tau * 365 == pytest.approx([2, 5, 10, 21, 35, 80, 170, 350])


def test_observe_dropsWhatNobodyQuotesOrQuotesWide():
    chain = chain_of(TRUE, 0.6)
    bid, ask = chain.bid.copy(), chain.ask.copy()
    call = np.flatnonzero(chain.call & (chain.log_moneyness > 0))
    bid[call[0]] = np.nan
    bid[call[1]] = 0.0
    bid[call[2]], ask[call[2]] = 0.0001, 0.5
    kept = observe([replace(chain, bid=bid, ask=ask)])
    assert len(kept) == 8 * 21 - 3
    assert len(observe([chain], QuoteConfig(least_tenor=9 / 365))) == 6 * 21
    assert len(observe([chain], QuoteConfig(least_vega=0.5))) < 8 * 21


def test_observe_refusesADayWithoutTenorsAroundThirtyDays():
    chain = chain_of(TRUE, 0.6)
    with pytest.raises(PlimsollError, match=r"BTC chain at \d+: no usable expiries on both sides of 30 days"):
        observe([chain], QuoteConfig(least_tenor=40 / 365))
    with pytest.raises(PlimsollError, match="no chains"):
        observe([])


def test_between_takesDays():
    quotes = observe([chain_of(TRUE, 0.6), chain_of(TRUE, 0.5, T0 + DAY)])
    later = quotes.between(T0 + 1)
    assert len(later) == len(quotes) / 2
    assert set(later.ts.tolist()) == set(later.term.ts.tolist()) == {T0 + DAY}
    with pytest.raises(PlimsollError, match="none from"):
        quotes.between(T0 + 2 * DAY)


# ─── Fit


def test_fit_surface_findsAKnownShapeUnderMovingLevels():
    levels = (0.4, 0.6, 0.9)
    quotes = observe(chain_of(TRUE, level, T0 + i * DAY) for i, level in enumerate(levels))
    found = fit_surface(quotes, LIMITS)
    errors = fit_errors(found, quotes)
    assert errors.total.rmse < 0.15  # points; the level itself is interpolated
    assert errors.smile.rmse < 0.05
    for name, value in asdict(TRUE).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.1), name
        assert round(getattr(found, name) * 1e6) == pytest.approx(getattr(found, name) * 1e6, abs=1e-6)


def test_fit_surface_isRobustToWildMarks():
    chain = chain_of(TRUE, 0.6)
    volatility = chain.volatility.copy()
    volatility[np.random.default_rng(1).choice(np.flatnonzero(chain.log_moneyness > 0), 8, replace=False)] += 0.4
    quotes = observe([chain])
    wild = observe([replace(chain, volatility=volatility)])
    assert fit_errors(fit_surface(wild, LIMITS), quotes).total.median < 0.5


def test_fit_surface_staysWhereThePushIsAccepted():
    # A market steeper than butterfly conditions allow once its volatility is shocked.
    steep = Surface(rho=-0.6, eta=1.9, gamma=0.5, term_ratio=1.0, term_speed=3.0)
    assert arbitrage_margin(steep, LIMITS).min() < 0
    found = fit_surface(observe([chain_of(steep, 0.6)]), LIMITS)
    assert 0 < arbitrage_margin(found, LIMITS).min() < 0.1


def test_fit_surface_saysWhenNoShapeIsAdmissible():
    with pytest.raises(PlimsollError, match="no shape is free of arbitrage under shocks"):
        fit_surface(observe([chain_of(TRUE, 0.6)]), replace(LIMITS, shocks=(50.0,), exponent=0.5))


def test_fit_errors_takesTermAndSmileApart():
    quotes = observe([chain_of(TRUE, 0.6)])
    flat = fit_errors(replace(TRUE, term_ratio=1.0), quotes)
    assert flat.term.rmse > 2
    assert flat.smile.rmse < 0.1
    straight = fit_errors(replace(TRUE, rho=0.3), quotes)
    assert straight.term.rmse < 0.15
    assert straight.smile.rmse > 2
    assert sum(errors.count for errors in flat.by_tenor.values()) == flat.total.count == len(quotes)
    assert sum(errors.count for errors in flat.by_moneyness.values()) == len(quotes)


# ─── Arbitrage


def shocked_variance(surface: Surface, limits: ShapeLimits, level: float, tau: Any, k: Any) -> Any:
    """w·f² at the upper volatility node of the largest shock."""
    factor = 1 + shock(max(limits.shocks), limits.exponent, tau)
    return surface.total_variance(level, tau, k) * factor**2


def random_shapes(count: int, seed: int) -> Iterator[tuple[Surface, ShapeLimits]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        surface = Surface(
            rho=round(rng.uniform(-0.9, 0.9), 6),
            eta=round(rng.uniform(0.2, 1.8), 6),
            gamma=round(rng.uniform(0.1, 0.5), 6),
            term_ratio=round(rng.uniform(0.3, 2.5), 6),
            term_speed=round(rng.uniform(0.2, 30), 6),
        )
        shocks = (round(rng.uniform(0.05, 0.8), 6), 0.05)
        floor = round(rng.uniform(0.05, 0.4), 6)
        cap = round(rng.uniform(0.8, 6), 6)
        yield surface, ShapeLimits(floor, cap, shocks, round(rng.uniform(0, 0.5), 6))


def test_arbitrage_margin_meansNoButterflyAndNoCalendarArbitrage():
    """Where it is positive, the density of every slice is positive and shocked variance rises with tenor, by brute
    force over strikes, tenors and levels (Gatheral's g; k within reach)."""
    checked = 0
    for surface, limits in random_shapes(200, 1):
        if arbitrage_margin(surface, limits).min() < 0:
            continue
        checked += 1
        k = np.linspace(-FARTHEST_STRIKE, FARTHEST_STRIKE, 801)
        for level in np.geomspace(limits.floor, limits.cap, 5):
            for tau in CHECKED_TENORS:
                w = shocked_variance(surface, limits, level, tau, k)
                step = k[1] - k[0]
                slope = (w[2:] - w[:-2]) / (2 * step)
                bend = (w[2:] - 2 * w[1:-1] + w[:-2]) / step**2
                centre = w[1:-1]
                g = (1 - k[1:-1] * slope / (2 * centre)) ** 2 - slope**2 / 4 * (1 / centre + 0.25) + bend / 2
                assert g.min() > -1e-6, (surface, limits, level, tau)
                later = shocked_variance(surface, limits, level, tau * 1.001, k)
                assert (later - w).min() > -1e-9 * w.max(), (surface, limits, level, tau)
    assert checked > 20


def test_arbitrage_margin_isNegativeWhereVarianceFalls():
    falling = replace(LIMITS, shocks=(1.5,), exponent=0.5)
    assert arbitrage_margin(TRUE, falling)[2].min() < 0
    k = np.linspace(-3, 3, 61)
    now = shocked_variance(TRUE, falling, 0.25, 1 / 365, k)
    later = shocked_variance(TRUE, falling, 0.25, 1.05 / 365, k)
    assert (later - now).min() < 0


# ─── How implied volatility moves


def test_volatility_shock_isTheShortfallOfRelativeMoves():
    close = np.full(1_001, 0.5)
    close[500:] = 0.6  # one rise of a fifth in a thousand hours
    index = make_series("DVOL", np.arange(1_001) * 3_600 + T0, close)
    rise, fall = volatility_shock(index, 3_600)
    assert rise == pytest.approx(0.2 / 10)  # the worst ten of a thousand hold it once
    assert fall == 0.0
    assert volatility_shock(index, 5 * 3_600)[0] == pytest.approx(0.2 * 5 / 9.96)


def test_volatility_shock_refusesWhatItCannotMeasure():
    index = make_series("VIX", np.arange(1_001) * DAY + T0, np.full(1_001, 0.2))
    with pytest.raises(PlimsollError, match="horizon of 3600 s cannot be measured on bars of 86400 s"):
        volatility_shock(index, 3_600)
    with pytest.raises(PlimsollError, match="50 moves over 86400 s are too few"):
        volatility_shock(index.between(end=T0 + 51 * DAY), DAY)


def test_volatility_shock_ofVix():
    """What the equities profile starts with; 2014–2018, with 5 February 2018 in it."""
    index = load_market("sp500-nasdaq").index
    assert index is not None
    assert volatility_shock(index.series, 2 * DAY) == pytest.approx((0.706, 0.264), abs=0.001)
    assert volatility_shock(index.series, DAY) == pytest.approx((0.461, 0.200), abs=0.001)


def test_shock_exponent_findsAKnownPower():
    rng = np.random.default_rng(2)
    days, tenors = 200, np.array([5, 10, 21, 30, 60, 120, 240, 360])
    expiry = T0 + (days + tenors) * DAY
    ts = T0 + np.arange(days) * DAY
    tau = (expiry[None, :] - ts[:, None]) / YEAR
    moves = rng.laplace(0, 0.02, tau.shape) * (30 / 365 / tau) ** 0.4
    volatility = 0.6 * np.exp(np.vstack([np.zeros(len(tenors)), np.cumsum(moves, axis=0)[:-1]]))
    rows, columns = (index.ravel() for index in np.indices(tau.shape))
    term = TermPoints(ts[rows], expiry[columns], tau.ravel(), volatility.ravel(), np.full(tau.size, 0.6))
    assert shock_exponent(term) == pytest.approx(0.4, abs=0.05)


def test_shock_exponent_needsTwoDays():
    with pytest.raises(PlimsollError, match="no expiry is quoted on two days"):
        shock_exponent(observe([chain_of(TRUE, 0.6)]).term)


def test_carry_by_tenor_isForwardOverIndex():
    carry = carry_by_tenor([chain_of(TRUE, 0.6)], (1, 30, 400, 800))
    assert carry[:2] == pytest.approx([0.02, 0.02])
    assert np.isnan(carry[2])


# ─── Real chains


def month(number: int) -> int:
    return int(datetime(2026, number, 1, tzinfo=UTC).timestamp())


def data(name: str) -> Path:
    return Path(os.environ["PLIMSOLL_DATA"]) / name


def deribit(underlying: str) -> tuple[Chain, ...]:
    return load_chains(data("options/deribit_BTC-ETH_daily.parquet"), underlying)


@pytest.mark.data
@pytest.mark.parametrize(
    ("underlying", "inside", "frozen"),
    # Root mean square and median error in volatility points: March, which is fitted, and April and May, which are not.
    [("BTC", (3.5, 1.5), (4.9, 3.0)), ("ETH", (4.3, 1.2), (6.7, 4.0))],
)
def test_fit_surface_describesDeribit(underlying: str, inside: tuple[float, float], frozen: tuple[float, float]):
    quotes = observe(deribit(underlying))
    march, later = quotes.between(end=month(4)), quotes.between(month(4))
    shape = fit_surface(march, LIMITS)
    found, after = fit_errors(shape, march), fit_errors(shape, later)
    assert found.total.rmse < inside[0]
    assert found.total.median < inside[1]
    assert after.total.rmse < frozen[0]
    assert after.total.median < frozen[1]
    # What goes stale is the term structure; the smile a month and two later is nearly that of March.
    assert after.smile.median < 1.0
    assert found.by_tenor["45–120 d"].rmse < 2.0


@pytest.mark.data
def test_fit_surface_ofAWeekHoldsForTheNext():
    """The calibrator's rhythm: seven days fitted, the next seven days within this error."""
    quotes = observe(deribit("BTC"))
    days = np.unique(quotes.ts)
    errors = []
    for i in range(31, len(days) - 7, 14):
        shape = fit_surface(quotes.between(int(days[i - 7]), int(days[i])), LIMITS)
        errors.append(fit_errors(shape, quotes.between(int(days[i]), int(days[i + 7]))).total.rmse)
    assert len(errors) == 4
    assert np.mean(errors) < 3.5


@pytest.mark.data
def test_volatility_shock_ofDvol():
    """What the crypto profile starts with: 8 hours and 2 hours."""
    index = load_dvol(data("volatility/deribit_DVOL-BTC_1h.parquet"))
    assert volatility_shock(index, 8 * 3_600) == pytest.approx((0.155, 0.097), abs=0.001)
    assert volatility_shock(index, 2 * 3_600) == pytest.approx((0.079, 0.056), abs=0.001)


@pytest.mark.data
def test_shock_exponent_ofDeribit():
    assert shock_exponent(observe(deribit("BTC")).term) == pytest.approx(0.57, abs=0.01)
    assert shock_exponent(observe(deribit("ETH")).term) == pytest.approx(0.68, abs=0.01)


# ─── The contract


def words(surface: Surface, limits: ShapeLimits) -> tuple[int, int]:
    """Slots 0 and 3 of RiskParameters, as far as the surface uses them."""
    values = {
        Field.VOLATILITY_FLOOR: limits.floor,
        Field.VOLATILITY_CAP: limits.cap,
        Field.SURFACE_RHO: surface.rho,
        Field.SURFACE_ETA: surface.eta,
        Field.SURFACE_GAMMA: surface.gamma,
        Field.TERM_RATIO: surface.term_ratio,
        Field.TERM_SPEED: surface.term_speed,
        Field.VOLATILITY_SHOCK_INITIAL: limits.shocks[0],
        Field.VOLATILITY_SHOCK_MAINTENANCE: limits.shocks[1],
        Field.VOLATILITY_SHOCK_EXPONENT: limits.exponent,
    }
    found = {0: 0, 3: 0}
    for field, value in values.items():
        found[field >> 3] |= (round(float(value) * 10**6) & 0xFFFFFFFF) << 32 * (field & 7)
    return found[0], found[3]


@pytest.mark.data
@pytest.mark.parametrize("underlying", ["BTC", "ETH"])
def test_fitted_surface_isTheContractsAtEveryQuote(ask: Callable[..., Any], underlying: str):
    """√w within 1e-9 relative at all strikes and expiries of three real days, on the shape fitted to them."""
    quotes = observe(deribit(underlying)[::40])
    shape = fit_surface(quotes, LIMITS)
    levels = [round(level * WAD) for level in quotes.level.tolist()]
    k = [round(value * WAD) for value in quotes.k.tolist()]
    word0, word3 = words(shape, LIMITS)
    answer = ask("deviation", levels, (quotes.expiry - quotes.ts).tolist(), [word3] * len(k), k)
    expected = np.sqrt(shape.total_variance(quotes.level, quotes.tau, quotes.k))
    assert len(k) > 700
    assert np.abs(np.array(answer, dtype=np.float64) / WAD / expected - 1).max() < 1e-9
    ask("requireArbitrageFree", 1, word0, word3)


def test_arbitrage_margin_isTheContractsCheck(ask: Callable[..., Any]):
    accepted = 0
    for surface, limits in random_shapes(150, 3):
        margin = float(arbitrage_margin(surface, limits).min())
        if abs(margin) < 1e-6:
            continue
        word0, word3 = words(surface, limits)
        if margin > 0:
            accepted += 1
            ask("requireArbitrageFree", 1, word0, word3)
        else:
            with pytest.raises(PlimsollError, match="Surface"):
                ask("requireArbitrageFree", 1, word0, word3)
    assert 20 < accepted < 130
