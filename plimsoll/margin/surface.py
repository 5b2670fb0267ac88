"""The implied volatility surface that options are margined on, in floats, over arrays.

Level σ30 (30-day at-the-money volatility, from a feed), term structure G, and the SSVI slice of Gatheral & Jacquier
2014 ("Arbitrage-free SVI volatility surfaces", section 4). Times in years of 365 days, volatilities annualised,
variances total (w = σ²·τ), k = ln(K/F). All arguments broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Value = float | Floats

REFERENCE_TENOR = 30 / 365
"""The tenor of the level [years]."""
SHORTEST_SHOCK_TENOR = 1 / 365
"""Tenor below which the volatility shock grows no further [years]."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Shape of one underlying's surface, or of many with arrays for fields."""

    rho: Value
    """ρ of SSVI: skew, in (−1, 1)."""
    eta: Value
    """η: how strong the smile is, positive."""
    gamma: Value
    """γ in (0, ½]: how the smile flattens with variance."""
    term_ratio: Value
    """ℓ: long-dated over short-dated at-the-money variance rate, positive."""
    term_speed: Value
    """κ [a year]: how fast it goes from the one to the other, not negative."""

    def atm_variance(self, level: Value, tau: Value) -> Floats:
        """θ(τ): at-the-money total variance."""
        return atm_variance(level, tau, self.term_ratio, self.term_speed)

    def total_variance(self, level: Value, tau: Value, k: Value) -> Floats:
        """w(k, τ)."""
        return total_variance(k, self.atm_variance(level, tau), self.rho, self.eta, self.gamma)

    def volatility(self, level: Value, tau: Value, k: Value) -> Floats:
        """√(w/τ), annualised; τ positive."""
        return np.asarray(np.sqrt(self.total_variance(level, tau, k) / tau))


def term_shape(tau: Value, term_ratio: Value, term_speed: Value) -> Floats:
    """G(τ) = ℓ + (1 − ℓ)·(1 − e^(−κτ))/(κτ): mean over [0, τ] of a variance rate going from 1 to ℓ at speed κ."""
    x = np.asarray(np.multiply(term_speed, tau), dtype=np.float64)
    mean = np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1.0), 1.0)
    return np.asarray(term_ratio + np.subtract(1.0, term_ratio) * mean)


def atm_variance(level: Value, tau: Value, term_ratio: Value, term_speed: Value) -> Floats:
    """θ(τ) = σ30²·τ·G(τ)/G(30 d)."""
    ratio = term_shape(tau, term_ratio, term_speed) / term_shape(REFERENCE_TENOR, term_ratio, term_speed)
    return np.asarray(np.square(level) * tau * ratio)


def smile_slope(theta: Value, eta: Value, gamma: Value) -> Floats:
    """φ(θ) = η / (θ^γ·(1 + θ)^(1 − γ)), θ positive."""
    theta = np.asarray(theta, dtype=np.float64)
    return np.asarray(eta / (theta**gamma * (1 + theta) ** np.subtract(1.0, gamma)))


def total_variance(k: Value, theta: Value, rho: Value, eta: Value, gamma: Value) -> Floats:
    """SSVI: w(k) = θ/2·(1 + ρφk + √((φk + ρ)² + 1 − ρ²)); 0 where θ is 0."""
    theta = np.asarray(theta, dtype=np.float64)
    alive = theta > 0
    x = smile_slope(np.where(alive, theta, 1.0), eta, gamma) * k
    return np.where(alive, 0.5 * theta * (1 + rho * x + np.sqrt((x + rho) ** 2 + 1 - np.square(rho))), 0.0)


def shock(shock_30d: Value, exponent: Value, tau: Value) -> Floats:
    """v(τ) = v30·(30 d / max(τ, 1 d))^p: relative rise of implied volatility at the upper node; the lower node divides
    by 1 + v, so that no variance turns negative."""
    return np.asarray(shock_30d * (REFERENCE_TENOR / np.maximum(tau, SHORTEST_SHOCK_TENOR)) ** exponent)
