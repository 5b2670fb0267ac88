"""What a house takes from option chains and volatility indices: the surface's parameters with their evidence, and how
far implied volatility moves.

`calibrate_surface` is the whole way from several days of chains to what is pushed. Its evidence is walked forward: at
the end of each week the shape is fitted to the days up to then and held against the days after. The level is not at
stake, since it follows its feed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration.surface import (
    DAY,
    Errors,
    FitErrors,
    QuoteConfig,
    ShapeLimits,
    TermPoints,
    arbitrage_margin,
    fit_errors,
    fit_surface,
    observe,
    summarise,
)
from plimsoll.calibration.tails import block_standard_error, expected_shortfall
from plimsoll.errors import PlimsollError
from plimsoll.margin.surface import REFERENCE_TENOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.calibration.surface import Quotes
    from plimsoll.margin.surface import Surface
    from plimsoll.market.chains import Chain
    from plimsoll.market.series import Floats, Integers, Series


@dataclass(frozen=True, slots=True)
class SurfaceConfig:
    """How a surface is fitted to chains, and when there is too little of them."""

    days: int = 7
    """Snapshots a fit uses. Walked forward over March to May 2026, 3 and 7 were best, 14 and 28 worse: shapes drift."""
    ahead: int = 7
    """Snapshots a fit is held against, and from one fit of the walk to the next."""
    folds: int = 4
    """Fits of the walk, the last ones that the chains allow: a month."""
    least_days: int = 3
    least_quotes: int = 50
    """In a day; a liquid underlying has hundreds."""
    least_expiries: int = 4
    """In a day, with quotes on both sides of the forward: below it the term structure is a guess."""
    least_carry_tenor: float = 7 * DAY
    """Years; nearer to expiry the carry is a tick over nothing."""
    spread_quantile: float = 0.99
    """Of the half spreads, what closing an option is charged at."""


@dataclass(frozen=True, slots=True)
class SurfaceParameters:
    """One underlying's fields of RiskParameters, by their names there."""

    surface_rho: float
    surface_eta: float
    surface_gamma: float
    term_ratio: float
    term_speed: float
    carry: float
    """Continuous, a year."""
    option_half_spread: float
    """In volatility: 0.01 is a point."""


@dataclass(frozen=True, slots=True)
class SurfaceEvidence:
    """Why one may believe a fitted surface. first, last: unix seconds of the days fitted. Errors are in points."""

    first: int
    last: int
    days: int
    left_out: int
    """Days among those looked at that were too thin."""
    quotes: int
    inside: FitErrors
    """Of the fit on its own days."""
    ahead: Errors | None
    """Of all fits of the walk together, on the days after each; None where the chains are too few for one."""
    held: Errors | None
    """On the same days, of the shape in force, if one was given: what fitting anew is worth."""
    folds: int
    wings: float
    """The conditions of `arbitrage_margin`, each where it is tightest; above zero is accepted. Butterfly in the wings,
    near the money, and calendar."""
    money: float
    calendar: float


@dataclass(frozen=True, slots=True)
class FittedSurface:
    """What `calibrate_surface` found."""

    parameters: SurfaceParameters
    evidence: SurfaceEvidence


def calibrate_surface(
    chains: Sequence[Chain],
    limits: ShapeLimits,
    in_force: Surface | None = None,
    config: SurfaceConfig | None = None,
    quote_config: QuoteConfig | None = None,
) -> FittedSurface:
    """The surface of one underlying from its chains, in order of time; the last `config.days` that are usable decide.

    in_force: the shape that is pushed now, to compare with. Raises PlimsollError where the chains are too thin, and
    where no shape is free of arbitrage within `limits`.
    """
    config = config or SurfaceConfig()
    looked_at = chains[-(config.days + config.ahead * config.folds) :]
    usable = [chain for chain in looked_at if _thick(chain, config, quote_config)]
    if len(usable) < config.least_days:
        name = chains[0].underlying if chains else "surface"
        raise PlimsollError(
            f"{name}: {len(usable)} of {len(looked_at)} days of chains are usable and {config.least_days} are needed, "
            f"each with {config.least_quotes} quotes and {config.least_expiries} expiries around 30 days; give more"
        )
    quotes = observe(usable, quote_config)
    days = np.unique(quotes.ts)
    fitted = quotes.between(start=int(days[-config.days :][0]))
    shape = fit_surface(fitted, limits)
    margins = arbitrage_margin(shape, limits).min(axis=(1, 2))
    walked, held = _walk(quotes, days, limits, in_force, config)
    half_spread = float(np.quantile(fitted.spread, config.spread_quantile)) / 2.0
    return FittedSurface(
        SurfaceParameters(
            surface_rho=float(shape.rho),
            surface_eta=float(shape.eta),
            surface_gamma=float(shape.gamma),
            term_ratio=float(shape.term_ratio),
            term_speed=float(shape.term_speed),
            carry=_carry(usable[-config.days :], config),
            option_half_spread=math.ceil(half_spread * 1e6) / 1e6,
        ),
        SurfaceEvidence(
            first=int(fitted.ts[0]),
            last=int(fitted.ts[-1]),
            days=len(days[-config.days :]),
            left_out=len(looked_at) - len(usable),
            quotes=len(fitted),
            inside=fit_errors(shape, fitted),
            ahead=summarise(np.concatenate(walked)) if walked else None,
            held=summarise(np.concatenate(held)) if held else None,
            folds=len(walked),
            wings=float(margins[0]),
            money=float(margins[1]),
            calendar=float(margins[2]),
        ),
    )


def _thick(chain: Chain, config: SurfaceConfig, quote_config: QuoteConfig | None) -> bool:
    """Whether a day has quotes and expiries enough, on both sides of 30 days."""
    try:
        quotes = observe([chain], quote_config)
    except PlimsollError:
        return False
    return len(quotes) >= config.least_quotes and len(quotes.term.expiry) >= config.least_expiries


def _walk(
    quotes: Quotes, days: Integers, limits: ShapeLimits, in_force: Surface | None, config: SurfaceConfig
) -> tuple[list[Floats], list[Floats]]:
    """Model less market on the days after each fit: of the fit, and of the shape in force."""
    walked: list[Floats] = []
    held: list[Floats] = []
    shape = None
    for end in range(len(days) - config.ahead * config.folds, len(days), config.ahead):
        if end < config.least_days:
            continue
        past = quotes.between(int(days[max(end - config.days, 0)]), int(days[end]))
        after = quotes.between(int(days[end]), int(days[end + config.ahead - 1]) + 1)
        shape = fit_surface(past, limits, shape)
        walked.append(_misfit(shape, after))
        if in_force is not None:
            held.append(_misfit(in_force, after))
    return walked, held


def _misfit(shape: Surface, quotes: Quotes) -> Floats:
    return np.asarray(shape.volatility(quotes.level, quotes.tau, quotes.k) - quotes.volatility)


def _carry(chains: Sequence[Chain], config: SurfaceConfig) -> float:
    """Median carry of the quotes far enough from expiry, in millionths; 0 without an index."""
    carry = np.concatenate([chain.carry[chain.tau >= config.least_carry_tenor] for chain in chains])
    carry = carry[np.isfinite(carry)]
    return round(float(np.median(carry)), 6) if len(carry) else 0.0


@dataclass(frozen=True, slots=True)
class VolatilityShock:
    """Expected shortfall of an implied volatility's moves over one horizon, with standard errors.

    rise: of σ₁/σ₀ − 1, the field volatility_shock of that horizon. fall_share: of σ₀/σ₁ − 1, as a part of rise: the
    field volatility_fall, d in the lower node's σ/(1 + d·v). moves: overlapping.
    """

    horizon: int
    rise: float
    rise_error: float
    fall_share: float
    fall_share_error: float
    moves: int


def volatility_shock(index: Series, horizon: int, confidence: float = 0.99) -> VolatilityShock:
    """How far an index of implied volatility rises and falls over `horizon` seconds, from every print.

    To the first print at or after the horizon. Errors are those of the influence function VaR − ES + (X − VaR)⁺/(1 − α)
    in blocks of several overlaps, as in `fit_tail`; the share's is that of a ratio. Raises PlimsollError where the
    index is coarser than the horizon, too short for one move beyond the quantile, or never rises.
    """
    if horizon < index.bar_seconds:
        raise PlimsollError(
            f"{index.name}: a horizon of {horizon} s cannot be measured on bars of {index.bar_seconds} s; "
            "give finer data or a longer horizon"
        )
    end = np.searchsorted(index.ts, index.ts + horizon, side="left")
    start = np.flatnonzero(end < len(index))
    if len(start) * (1 - confidence) < 1:
        raise PlimsollError(f"{index.name}: {len(start)} moves over {horizon} s are too few; give a longer history")
    ratio = index.close[end[start]] / index.close[start]
    block = max(4 * int(np.max(end[start] - start)), math.isqrt(len(start)))

    def tail(move: Floats) -> tuple[float, Floats]:
        quantile, shortfall = expected_shortfall(move, confidence)
        return shortfall, quantile - shortfall + np.maximum(move - quantile, 0.0) / (1.0 - confidence)

    (rise, rise_influence), (fall, fall_influence) = tail(ratio - 1.0), tail(1.0 / ratio - 1.0)
    if rise <= 0.0:
        raise PlimsollError(f"{index.name}: never rises over {horizon} s; check the data")
    share = fall / rise
    return VolatilityShock(
        horizon=horizon,
        rise=rise,
        rise_error=block_standard_error(rise_influence, block),
        fall_share=share,
        fall_share_error=block_standard_error((fall_influence - share * rise_influence) / rise, block),
        moves=len(start),
    )


def shock_exponent(term: TermPoints, least_tenor: float = 2 * DAY) -> float:
    """p: relative moves of at-the-money volatility grow like τ^(−p), by maximum likelihood.

    From one day to the next at the same expiry, |ln move| is taken as Laplace with a scale proportional to
    (30 d / τ)^p, τ at the start and at least `least_tenor`. Raises PlimsollError where no expiry is seen on two days.
    """
    from scipy.optimize import minimize_scalar

    before = {(ts, expiry): i for i, (ts, expiry) in enumerate(zip(term.ts, term.expiry, strict=True))}
    days = np.unique(term.ts)
    previous = dict(zip(days[1:].tolist(), days[:-1].tolist(), strict=True))
    tau, move = [], []
    for ts, expiry, volatility in zip(term.ts.tolist(), term.expiry.tolist(), term.volatility, strict=True):
        i = before.get((previous.get(ts), expiry))
        if i is not None and term.tau[i] >= least_tenor:
            tau.append(term.tau[i])
            move.append(abs(np.log(volatility / term.volatility[i])))
    if len(move) < 2:
        raise PlimsollError("option quotes: no expiry is quoted on two days; give more days")
    distance = np.log(REFERENCE_TENOR / np.array(tau))
    moves = np.array(move)

    def cost(p: float) -> float:
        return float(np.log(np.mean(moves * np.exp(-p * distance))) + p * np.mean(distance))

    return float(minimize_scalar(cost, bounds=(0.0, 2.0), method="bounded").x)


def carry_by_tenor(chains: Sequence[Chain], edges: Sequence[float]) -> list[float]:
    """Median continuous carry of forward over index, a year, between each two neighbouring tenors [days]; NaN where
    nothing is quoted."""
    tau = np.concatenate([chain.tau for chain in chains]) / DAY
    carry = np.concatenate([chain.carry for chain in chains])
    buckets = [(tau >= low) & (tau < high) for low, high in pairwise(edges)]
    return [float(np.median(carry[bucket])) if bucket.any() else float("nan") for bucket in buckets]
