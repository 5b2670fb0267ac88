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

from plimsoll.calibration.implied import (
    SurfaceConfig,
    calibrate_surface,
    carry_by_tenor,
    shock_exponent,
    volatility_shock,
)
from plimsoll.calibration.surface import (
    CHECKED_TENORS,
    FARTHEST_STRIKE,
    QuoteConfig,
    ShapeLimits,
    TermPoints,
    arbitrage_margin,
    fit_errors,
    fit_surface,
    observe,
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


# ─── The whole way


def test_calibrate_surface_goesFromChainsToFields():
    chains = [chain_of(TRUE, 0.5 + 0.01 * i, T0 + i * DAY) for i in range(20)]
    config = SurfaceConfig(folds=2)
    found = calibrate_surface(chains, LIMITS, in_force=replace(TRUE, term_ratio=1.0), config=config)
    fields, facts = found.parameters, found.evidence
    by_hand = fit_surface(observe(chains[-7:]), LIMITS)
    assert (fields.surface_rho, fields.surface_eta, fields.surface_gamma) == (by_hand.rho, by_hand.eta, by_hand.gamma)
    assert (fields.term_ratio, fields.term_speed) == (by_hand.term_ratio, by_hand.term_speed)
    assert fields.carry == pytest.approx(0.02)
    assert fields.option_half_spread == pytest.approx(0.01)  # narrower quotes count as two points
    assert (facts.days, facts.left_out, facts.quotes) == (7, 0, 7 * 8 * 21)
    assert (facts.first, facts.last) == (chains[13].ts, chains[19].ts)
    assert facts.folds == 2
    assert facts.ahead is not None
    assert facts.held is not None
    assert facts.ahead.count == facts.held.count == 14 * 8 * 21
    assert facts.ahead.rmse < 0.15
    assert facts.held.rmse > 2
    assert (facts.wings, facts.money, facts.calendar) == tuple(arbitrage_margin(by_hand, LIMITS).min(axis=(1, 2)))
    assert {Field.of(name).key for name in asdict(fields)} == set(asdict(fields))


def test_calibrate_surface_doesNotLookAhead():
    """The walk's first fit is held against days whose marks are then changed: its errors change, no fit before does."""
    chains = [chain_of(TRUE, 0.6, T0 + i * DAY) for i in range(15)]
    later = replace(TRUE, rho=0.4)
    broken = chains[:8] + [chain_of(later, 0.6, chain.ts) for chain in chains[8:]]
    one_week = SurfaceConfig(folds=1)
    walked = calibrate_surface(broken, LIMITS, config=one_week).evidence.ahead
    assert walked is not None
    quotes = observe(broken)
    before = fit_surface(observe(chains[1:8]), LIMITS)
    assert walked == fit_errors(before, quotes.between(start=T0 + 8 * DAY)).total


def test_calibrate_surface_leavesOutThinDaysAndSaysWhenTooFewRemain():
    chains = [chain_of(TRUE, 0.6, T0 + i * DAY) for i in range(8)]

    def thin(chain: Chain) -> Chain:
        return replace(chain, bid=np.where(chain.tau > 9 / 365, np.nan, chain.bid))

    found = calibrate_surface([*chains[:3], thin(chains[3]), *chains[4:]], LIMITS)
    assert (found.evidence.left_out, found.evidence.days, found.evidence.folds) == (1, 7, 0)
    assert found.evidence.ahead is None
    with pytest.raises(
        PlimsollError, match="BTC: 2 of 8 days of chains are usable and 3 are needed, each with 50 quotes"
    ):
        calibrate_surface([*chains[:2], *(thin(chain) for chain in chains[2:])], LIMITS)
    for config in (SurfaceConfig(least_quotes=8 * 21 + 1), SurfaceConfig(least_expiries=9)):
        with pytest.raises(PlimsollError, match="BTC: 0 of 8 days"):
            calibrate_surface(chains, LIMITS, config=config)
    with pytest.raises(PlimsollError, match="0 of 0 days"):
        calibrate_surface([], LIMITS)


# ─── How implied volatility moves


def test_volatility_shock_isTheShortfallOfRelativeMoves():
    close = np.full(2_001, 0.5)
    close[500:1_500] = 0.6  # one rise of a fifth in two thousand hours, and one fall back
    index = make_series("DVOL", np.arange(2_001) * 3_600 + T0, close)
    found = volatility_shock(index, 3_600)
    assert found.rise == pytest.approx(0.2 / 20)  # the worst twenty of two thousand hold it once
    assert found.fall_share == pytest.approx(1.0)  # 0.6/0.5 − 1: what the lower node divides by
    assert found.moves == 2_000
    assert volatility_shock(index, 5 * 3_600).rise == pytest.approx(0.2 * 5 / 19.96)
    close[1_500:] = 0.55
    assert volatility_shock(make_series("DVOL", index.ts, close), 3_600).fall_share == pytest.approx(0.05 / 0.55 / 0.2)


def test_volatility_shock_errsAsItSays():
    """Over 60 histories whose rises and falls come together, in clusters of two days."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        log = np.cumsum(rng.normal(0, 0.01, 24_000) * np.repeat(np.exp(0.3 * rng.normal(size=500)), 48))
        found.append(volatility_shock(make_series("DVOL", np.arange(24_000) * 3_600 + T0, np.exp(log)), 3_600))
    for value, error in (("rise", "rise_error"), ("fall_share", "fall_share_error")):
        stated = np.mean([getattr(one, error) for one in found])
        assert np.std([getattr(one, value) for one in found], ddof=1) == pytest.approx(stated, rel=0.3)


def test_volatility_shock_refusesWhatItCannotMeasure():
    index = make_series("VIX", np.arange(1_001) * DAY + T0, np.full(1_001, 0.2))
    with pytest.raises(PlimsollError, match="horizon of 3600 s cannot be measured on bars of 86400 s"):
        volatility_shock(index, 3_600)
    with pytest.raises(PlimsollError, match="50 moves over 86400 s are too few"):
        volatility_shock(index.between(end=T0 + 51 * DAY), DAY)
    with pytest.raises(PlimsollError, match="VIX: never rises"):
        volatility_shock(index, DAY)


def test_volatility_shock_ofVix():
    """What the equities profile starts with; 2014–2018, with 5 February 2018 in it."""
    index = load_market("sp500-nasdaq").index
    assert index is not None
    two, one = volatility_shock(index.series, 2 * DAY), volatility_shock(index.series, DAY)
    assert (two.rise, one.rise) == pytest.approx((0.706, 0.461), abs=0.001)
    assert (two.fall_share, one.fall_share) == pytest.approx((0.510, 0.544), abs=0.001)


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
@pytest.mark.parametrize(("underlying", "rmse", "better"), [("BTC", 2.9, 0.7), ("ETH", 3.9, 0.7)])
def test_calibrate_surface_ofAWeekHoldsForTheNext(underlying: str, rmse: float, better: float):
    """The calibrator's rhythm over May: seven days fitted, the next seven days within this error [points], and a third
    less than that of the shape that all start with."""
    first = Surface(rho=-0.25, eta=0.9, gamma=0.46, term_ratio=1.2, term_speed=3.0)
    facts = calibrate_surface(deribit(underlying), LIMITS, in_force=first).evidence
    assert facts.folds == 4
    assert facts.ahead is not None
    assert facts.held is not None
    assert facts.ahead.rmse < rmse
    assert facts.ahead.rmse < better * facts.held.rmse
    assert min(facts.wings, facts.money, facts.calendar) > 0


@pytest.mark.data
def test_volatility_shock_ofDvol():
    """What the crypto profile starts with: 8 hours and 2 hours."""
    index = load_dvol(data("volatility/deribit_DVOL-BTC_1h.parquet"))
    eight, two = volatility_shock(index, 8 * 3_600), volatility_shock(index, 2 * 3_600)
    assert (eight.rise, two.rise) == pytest.approx((0.155, 0.079), abs=0.001)
    assert (eight.fall_share, two.fall_share) == pytest.approx((0.705, 0.762), abs=0.001)
    assert (eight.rise_error, two.rise_error) == pytest.approx((0.014, 0.007), abs=0.001)


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
