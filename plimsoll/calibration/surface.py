"""The shape of the implied volatility surface, fitted to option chains.

The level is no parameter: each chain's own 30-day at-the-money volatility stands in for the feed that reports it
on-chain. Five numbers make the rest (`plimsoll.margin.surface`): term structure ℓ, κ and SSVI ρ, η, γ, the same over a
window of days, by robust least squares in volatility points with the half spread for a yardstick. A fit stays where
RiskParameters would accept it: `arbitrage_margin` is the contract's check.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.margin import surface as formulas
from plimsoll.margin.black76 import density
from plimsoll.margin.surface import REFERENCE_TENOR, Surface
from plimsoll.market.series import YEAR_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from plimsoll.market.chains import Chain
    from plimsoll.market.series import Flags, Floats, Integers

DAY = 1 / 365
"""One day [years]."""

CHECKED_TENORS = np.array([1, 3, 7, 14, 30, 60, 90, 180, 365, 730]) * DAY
"""Tenors at which a push of the surface is checked for arbitrage [years]."""
FARTHEST_STRIKE = np.log(10.0)
"""|k| up to which calendar arbitrage is looked for: strikes from a tenth to ten times the forward."""
_LEVEL_STEP = 2.0


@dataclass(frozen=True, slots=True)
class QuoteConfig:
    """Which quotes say something about the surface. Volatilities are annualised decimals (0.01 is one point)."""

    least_tenor: float = 1 * DAY
    """Years; nearer to expiry a quote is about the hour, not about volatility."""
    widest_spread: float = 0.10
    """Widest bid–ask spread, in volatility."""
    least_vega: float = 0.05
    """Least φ(d1)/φ(0): vega relative to that at the money."""
    least_spread: float = 0.02
    """A narrower spread counts as this much: nobody knows the mark better."""


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """What the fitted shape must be free of arbitrage under: RiskParameters' numbers of the same underlying."""

    floor: float
    """VOLATILITY_FLOOR."""
    cap: float
    """VOLATILITY_CAP."""
    shocks: tuple[float, ...]
    """VOLATILITY_SHOCK_INITIAL and _MAINTENANCE."""
    exponent: float
    """VOLATILITY_SHOCK_EXPONENT."""
    slack: float = 0.02
    """How far inside every condition a fit must lie, so that a later step of the shocks does not end outside."""


@dataclass(frozen=True, slots=True, eq=False)
class TermPoints:
    """At-the-money volatility by day and expiry. Arrays of shape (m,)."""

    ts: Integers
    expiry: Integers
    tau: Floats
    volatility: Floats
    level: Floats
    """30-day at-the-money volatility of the same day."""


@dataclass(frozen=True, slots=True, eq=False)
class Quotes:
    """Out-of-the-money quotes of one underlying over many days. Arrays of shape (n,); `term` has its own."""

    ts: Integers
    expiry: Integers
    tau: Floats
    k: Floats
    volatility: Floats
    spread: Floats
    """Bid–ask spread in volatility, at least QuoteConfig.least_spread."""
    level: Floats
    """30-day at-the-money volatility of the day."""
    term: TermPoints

    def __len__(self) -> int:
        return len(self.ts)

    def between(self, start: int | None = None, end: int | None = None) -> Quotes:
        """Days with start ≤ ts < end (unix seconds; None is unbounded). Raises PlimsollError where none remains."""

        def inside(ts: Integers) -> Flags:
            return np.asarray((ts >= (-np.inf if start is None else start)) & (ts < (np.inf if end is None else end)))

        rows, points = inside(self.ts), inside(self.term.ts)
        if not rows.any():
            raise PlimsollError(f"option quotes: none from {start} to {end}; widen the window")
        own = {field.name: getattr(self, field.name)[rows] for field in fields(Quotes) if field.name != "term"}
        term = {field.name: getattr(self.term, field.name)[points] for field in fields(TermPoints)}
        return Quotes(**own, term=TermPoints(**term))


@dataclass(frozen=True, slots=True)
class Errors:
    """Model less market, in volatility points (1 is 0.01)."""

    count: int
    rmse: float
    bias: float
    median: float
    """Of the absolute error."""
    quantile_95: float
    """Of the absolute error."""


@dataclass(frozen=True, slots=True)
class FitErrors:
    """How well a shape describes quotes, whole and taken apart."""

    total: Errors
    term: Errors
    """At the money, by expiry: the term structure alone. At 30 days it is nothing by construction."""
    smile: Errors
    """Each expiry given its own at-the-money variance: SSVI alone."""
    by_tenor: dict[str, Errors]
    by_moneyness: dict[str, Errors]
    """By k over the standard deviation of the log price."""


_TENORS = {"1–3 d": 1.0, "3–7 d": 3.0, "7–14 d": 7.0, "14–45 d": 14.0, "45–120 d": 45.0, "over 120 d": 120.0}
_MONEYNESS = {"below −1.5": -np.inf, "−1.5 to −0.5": -1.5, "−0.5 to 0.5": -0.5, "0.5 to 1.5": 0.5, "above 1.5": 1.5}


def observe(chains: Iterable[Chain], config: QuoteConfig | None = None) -> Quotes:
    """The usable quotes of chains of one underlying, out of the money, each with its day's level.

    A day's level is its at-the-money total variance interpolated linearly in time to 30 days; at the money is
    interpolated linearly in k between the nearest quotes. Raises PlimsollError for a chain without usable expiries on
    both sides of 30 days.
    """
    config = config or QuoteConfig()
    rows: list[dict[str, NDArray[Any]]] = []
    points: list[dict[str, NDArray[Any]]] = []
    for chain in chains:
        tau, k, deviation = chain.tau, chain.log_moneyness, chain.volatility * np.sqrt(chain.tau)
        vega = density(-k / deviation + 0.5 * deviation)
        usable = (tau >= config.least_tenor) & (chain.call == (k >= 0)) & (vega >= config.least_vega * density(0.0))
        use = np.flatnonzero(usable & (chain.bid > 0) & (chain.ask > chain.bid))  # false for NaN: no quote
        # Quotes are in units of the underlying, and vega is φ(d1)·√τ of them.
        spread = (chain.ask - chain.bid)[use] / (vega * np.sqrt(tau))[use]
        use, spread = use[spread <= config.widest_spread], spread[spread <= config.widest_spread]
        own: dict[str, NDArray[Any]] = {
            "ts": np.full(len(use), chain.ts),
            "expiry": chain.expiry[use],
            "tau": tau[use],
            "k": k[use],
            "volatility": chain.volatility[use],
            "spread": np.maximum(spread, config.least_spread),
        }
        term = _at_the_money(own["expiry"], own["k"], own["volatility"])
        years = (term["expiry"] - chain.ts) / YEAR_SECONDS
        if len(years) < 2 or not years[0] <= REFERENCE_TENOR <= years[-1]:
            raise PlimsollError(
                f"{chain.underlying} chain at {chain.ts}: no usable expiries on both sides of 30 days; drop the day"
            )
        level = np.sqrt(np.interp(REFERENCE_TENOR, years, term["volatility"] ** 2 * years) / REFERENCE_TENOR)
        rows.append(own | {"level": np.full(len(use), level)})
        points.append(term | {"ts": np.full(len(years), chain.ts), "tau": years, "level": np.full(len(years), level)})
    if not rows:
        raise PlimsollError("option quotes: no chains; give at least one day")
    return Quotes(**_concatenate(rows), term=TermPoints(**_concatenate(points)))


def _concatenate(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _at_the_money(expiry: Integers, k: Floats, volatility: Floats) -> dict[str, NDArray[Any]]:
    """Expiries with quotes on both sides of the forward, in order, and their volatility at k = 0."""
    dates, at = [], []
    for date in np.unique(expiry):
        own = np.flatnonzero(expiry == date)
        own = own[np.argsort(k[own], kind="stable")]
        if k[own[0]] < 0 <= k[own[-1]]:
            dates.append(date)
            at.append(np.interp(0.0, k[own], volatility[own]))
    return {"expiry": np.array(dates, dtype=np.int64), "volatility": np.array(at, dtype=np.float64)}


def arbitrage_margin(surface: Surface, limits: ShapeLimits) -> Floats:
    """How far a shape is inside the conditions of VolatilitySurface.requireArbitrageFree; a negative entry is a breach.

    Shape (3, shocks, 10 tenors), each the worst over levels from floor to cap, in this order of conditions:
      butterfly in the wings:     1 − θφ·f²·(1 + |ρ|)/4
      butterfly near the money:   1 − θφ²·f²·(1 + |ρ|)/4
      calendar:                   ε·dlnθ/dlnτ − 2p(f − 1)/f
    with f = 1 + v(τ) the upper volatility node's factor on √w. SSVI scaled by f² is SSVI at θf² with the same φ, so
    theorem 4.2 of Gatheral & Jacquier (2014) applies to it; the lower node, 1/f, is inside wherever the upper one is.
    θφ rises in θ, and θφ² is largest at θ = 1 − 2γ or the end of the range nearest to it.
    Calendar: w·f² must not fall in τ at a fixed k, dlnf/dlnτ = −p(f − 1)/f, and ε bounds dlnw/dlnθ from below.
    """
    shocks = np.array(limits.shocks)[:, None]
    tau = CHECKED_TENORS
    low, high = (surface.atm_variance(level, tau) for level in (limits.floor, limits.cap))
    peak = np.asarray(np.clip(1 - 2 * np.float64(surface.gamma), low, high))
    factor = 1 + formulas.shock(shocks, limits.exponent, tau)
    stretch = factor**2 * (1 + np.abs(surface.rho)) / 4
    wing = high * formulas.smile_slope(high, surface.eta, surface.gamma)
    curve = peak * formulas.smile_slope(peak, surface.eta, surface.gamma) ** 2

    rate = surface.term_ratio + (1 - np.float64(surface.term_ratio)) * np.exp(-surface.term_speed * tau)
    growth = rate / formulas.term_shape(tau, surface.term_ratio, surface.term_speed)
    calendar = _least_elasticity(surface, limits) * growth - 2 * limits.exponent * (factor - 1) / factor
    return np.stack((1 - wing * stretch, 1 - curve * stretch, calendar))


def _least_elasticity(surface: Surface, limits: ShapeLimits) -> Floats:
    """ε: a lower bound of dlnw/dlnθ at each checked tenor, over |k| ≤ FARTHEST_STRIKE and the levels, shape (10,).

    dlnw/dlnθ = 1 − (γ + θ)/(1 + θ)·h(φk), h(y) = dlnw/dlnφ = y(ρ + (y + ρ)/R)/(1 + ρy + R), R = √((y + ρ)² + 1 − ρ²).
    Where h is positive it rises in |k|, so it is largest at the ends. The fraction rises in θ and φ falls: each
    doubling of the level takes the worse end of both, as the contract does.
    """
    steps = max(1, int(np.ceil(np.log(limits.cap / limits.floor) / np.log(_LEVEL_STEP) - 1e-12)))
    levels = np.minimum(limits.floor * _LEVEL_STEP ** np.arange(steps + 1), limits.cap)[:, None]
    theta = surface.atm_variance(levels, CHECKED_TENORS)
    rho, gamma = np.float64(surface.rho), np.float64(surface.gamma)
    y = np.multiply.outer([FARTHEST_STRIKE, -FARTHEST_STRIKE], formulas.smile_slope(theta, surface.eta, surface.gamma))
    root = np.sqrt((y + rho) ** 2 + 1 - rho**2)
    share = np.maximum(y * (rho + (y + rho) / root) / (1 + rho * y + root), 0).max(axis=0)
    return np.asarray(1 - (share[:-1] * (gamma + theta[1:]) / (1 + theta[1:])).max(axis=0))


_STARTS = ((0.8, 3.0), (1.3, 3.0), (0.8, 20.0), (1.3, 20.0))
"""(ℓ, κ) a fit starts from; both forms of term structure, slow and fast."""
_LOWER = np.array([-0.95, 0.05, 0.05, 0.2, np.log(0.5)])
_UPPER = np.array([0.95, 2.0, 0.5, 3.0, np.log(30.0)])
_INSIDE = 1e-3
"""How far inside the bounds a fit starts."""
_USUAL_SPEED = 3.0
_PENALTY = 1e3
"""Half spreads that a breach of the whole of a condition counts for, at each tenor."""
_MOST_EVALUATIONS = 100
"""A fit that runs along the edge of what is admissible would polish its last digits for long."""


def fit_surface(quotes: Quotes, limits: ShapeLimits, start: Surface | None = None) -> Surface:
    """The shape that best describes all quotes at once, in millionths as the contract holds it, free of arbitrage.

    Minimises Σ soft-l1(error / half spread) over (ρ, η, γ, ℓ, ln κ), from `start` or else from several. One term of
    weight one holds κ near 3 a year: a flat term structure has none. Raises PlimsollError where no start ends inside
    the limits.
    """
    from scipy.optimize import least_squares

    weight = 2 / quotes.spread

    def residuals(x: Floats) -> Floats:
        shape = _shape(x)
        misfit = (shape.volatility(quotes.level, quotes.tau, quotes.k) - quotes.volatility) * weight
        breach = np.maximum(limits.slack - arbitrage_margin(shape, limits).ravel(), 0.0)
        return np.concatenate((misfit, _PENALTY * breach, [x[4] - np.log(_USUAL_SPEED)]))

    shapes = [Surface(-0.2, 0.7, 0.4, *pair) for pair in _STARTS] if start is None else [start]
    best = None
    for shape in shapes:
        first = np.array([shape.rho, shape.eta, shape.gamma, shape.term_ratio, np.log(shape.term_speed)])
        fit = least_squares(
            residuals,
            np.clip(first, _LOWER + _INSIDE, _UPPER - _INSIDE),
            bounds=(_LOWER, _UPPER),
            loss="soft_l1",
            x_scale=(0.1, 0.3, 0.1, 0.3, 1.0),
            max_nfev=_MOST_EVALUATIONS,
        )
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None  # noqa: S101 (there are starts)
    shape = Surface(*(round(float(value), 6) for value in (*best.x[:4], np.exp(best.x[4]))))
    if float(arbitrage_margin(shape, limits).min()) <= 0.0:
        raise PlimsollError(
            f"surface: no shape is free of arbitrage under shocks {limits.shocks} with exponent {limits.exponent} and "
            f"levels {limits.floor} to {limits.cap}; lower the shocks or the exponent"
        )
    return shape


def _shape(x: Floats) -> Surface:
    return Surface(x[0], x[1], x[2], x[3], float(np.exp(x[4])))


def fit_errors(surface: Surface, quotes: Quotes) -> FitErrors:
    """Model less market in volatility points: whole, term structure and smile apart, by tenor and by moneyness."""
    total = surface.volatility(quotes.level, quotes.tau, quotes.k) - quotes.volatility
    term = quotes.term
    own = surface.volatility(term.level, term.tau, 0.0) - term.volatility

    at_the_money = {(ts, expiry): v for ts, expiry, v in zip(term.ts, term.expiry, term.volatility, strict=True)}
    observed = np.array([at_the_money.get(key, np.nan) for key in zip(quotes.ts, quotes.expiry, strict=True)])
    known = np.isfinite(observed)
    theta = observed[known] ** 2 * quotes.tau[known]
    variance = formulas.total_variance(quotes.k[known], theta, surface.rho, surface.eta, surface.gamma)
    smile = np.sqrt(variance / quotes.tau[known]) - quotes.volatility[known]

    distance = quotes.k / (quotes.level * np.sqrt(quotes.tau))
    return FitErrors(
        total=summarise(total),
        term=summarise(own),
        smile=summarise(smile),
        by_tenor=_by(total, quotes.tau / DAY, _TENORS),
        by_moneyness=_by(total, distance, _MONEYNESS),
    )


def _by(errors: Floats, value: Floats, edges: dict[str, float]) -> dict[str, Errors]:
    bucket = np.searchsorted(list(edges.values()), value, side="right") - 1
    return {name: summarise(errors[bucket == i]) for i, name in enumerate(edges) if np.any(bucket == i)}


def summarise(errors: Floats) -> Errors:
    """Of model less market in volatility, shape (n,), n ≥ 1."""
    points = 100.0 * errors
    median, quantile = np.quantile(np.abs(points), (0.5, 0.95))
    return Errors(
        len(points), float(np.sqrt(np.mean(points**2))), float(np.mean(points)), float(median), float(quantile)
    )
