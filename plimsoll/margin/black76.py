"""Black's formula (Black 1976, "The pricing of commodity contracts") in floats, over arrays, without discounting.

Prices are in dollars a unit, `deviation` is s = σ·√τ, the standard deviation of the log price at expiry. Arguments
broadcast against each other. Only calls are priced: a put is a call less a forward (`put = call − F + K`), which is how
the contracts hold one. s = 0, an option at or past its expiry, gives the payoff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Value = float | Floats

INVERSE_SQRT_2PI = 1 / np.sqrt(2 * np.pi)
_LEAST_DEVIATION = 1e-12
"""Keeps d1 finite where s is 0."""


def density(x: Value) -> Floats:
    """φ: density of the standard normal distribution."""
    x = np.asarray(x, dtype=np.float64)
    return np.asarray(INVERSE_SQRT_2PI * np.exp(-0.5 * x * x))


def moneyness(forward: Value, strike: Value, deviation: Value) -> tuple[Floats, Floats]:
    """(d1, d2): d1 = ln(F/K)/s + s/2, d2 = d1 − s. Forward and strike positive."""
    s = np.maximum(np.asarray(deviation, dtype=np.float64), _LEAST_DEVIATION)
    d1 = np.log(np.asarray(forward, dtype=np.float64) / strike) / s + 0.5 * s
    return d1, d1 - s


def call(forward: Value, strike: Value, deviation: Value) -> Floats:
    """F·Φ(d1) − K·Φ(d2) [dollars a unit]."""
    d1, d2 = moneyness(forward, strike, deviation)
    # Rounding may leave a far call a hair below its payoff.
    payoff = np.maximum(np.subtract(forward, strike), 0.0)
    return np.where(np.greater(deviation, 0), np.maximum(forward * ndtr(d1) - strike * ndtr(d2), payoff), payoff)


def put(forward: Value, strike: Value, deviation: Value) -> Floats:
    """K·Φ(−d2) − F·Φ(−d1) [dollars a unit]."""
    d1, d2 = moneyness(forward, strike, deviation)
    payoff = np.maximum(np.subtract(strike, forward), 0.0)
    return np.where(np.greater(deviation, 0), np.maximum(strike * ndtr(-d2) - forward * ndtr(-d1), payoff), payoff)


def delta(forward: Value, strike: Value, deviation: Value) -> Floats:
    """Φ(d1): change of a call for a dollar of the forward; of a put one less. With s = 0, 1 in the money, else 0."""
    d1, _ = moneyness(forward, strike, deviation)
    return np.where(np.greater(deviation, 0), ndtr(d1), np.greater(forward, strike).astype(np.float64))


def gamma(forward: Value, strike: Value, deviation: Value) -> Floats:
    """φ(d1) / (F·s): change of delta for a dollar of the forward; 0 where s is 0."""
    deviation = np.asarray(deviation, dtype=np.float64)
    d1, _ = moneyness(forward, strike, deviation)
    return np.where(
        deviation > _LEAST_DEVIATION, density(d1) / (forward * np.maximum(deviation, _LEAST_DEVIATION)), 0.0
    )


def relative_vega(forward: Value, strike: Value, deviation: Value) -> Floats:
    """s·∂price/∂s = F·φ(d1)·s: dollars a unit for volatility doubled, to first order; calls and puts alike.
    Divided by σ it is the usual vega, for one whole unit (100 points) of volatility."""
    deviation = np.asarray(deviation, dtype=np.float64)
    return np.asarray(forward * density(moneyness(forward, strike, deviation)[0]) * deviation)


def implied_deviation(price: Value, forward: Value, strike: Value) -> Floats:
    """s at which a call has that price, by bisection to 1e-12 or so; nan where the price admits none in (0, 20]."""
    price, forward, strike = (np.asarray(each, dtype=np.float64) for each in (price, forward, strike))
    price, forward, strike = np.broadcast_arrays(price, forward, strike)
    low, high = np.zeros(price.shape), np.full(price.shape, 20.0)
    admissible = (price > np.maximum(forward - strike, 0.0)) & (price <= call(forward, strike, high))
    for _ in range(48):
        middle = 0.5 * (low + high)
        above = call(forward, strike, middle) > price
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(admissible, 0.5 * (low + high), np.nan)
