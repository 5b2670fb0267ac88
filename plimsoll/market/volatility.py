"""Volatility as it is known at a moment: an EWMA on an irregular time index, and an index of implied volatility.

Nothing here looks ahead: every state is a function of what was observed at or before its time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Floats, Series


@dataclass(slots=True)
class Ewma:
    """Exponentially weighted variance of simple returns on an irregular time index, updated one price at a time.

    Over an interval of Δ seconds with simple return R, the annual variance rate seen is x = R²·year/Δ, and
        v ← 2^(−Δ/H)·v + (1 − 2^(−Δ/H))·x,
    the RiskMetrics recursion (J.P. Morgan 1996, λ = 2^(−Δ/H)) with the decay of the time that really passed. Silent
    time (nights, weekends, outages) counts as time: the jump that ends it is spread over it, just as the protocol's
    range grows with the square root of the price's age. v is divided by the weight gathered so far, 1 − 2^(−T/H), so
    no seed is needed.
    """

    half_life: float
    """H, seconds."""
    ts: int | None = None
    price: float = math.nan
    variance_sum: float = 0.0
    weight: float = 0.0
    """1 − 2^(−T/H) after T seconds of data: 0 at the first price, towards 1."""

    def update(self, ts: int, price: float) -> float:
        """Take the price known at ts (unix seconds, after the last one); return the new volatility."""
        if self.ts is not None:
            elapsed = ts - self.ts
            if elapsed <= 0:
                raise PlimsollError(
                    f"volatility: price at {ts} is not after the last one at {self.ts}; sort the prices"
                )
            change = price / self.price - 1.0
            decay = math.exp2(-elapsed / self.half_life)
            self.variance_sum = decay * self.variance_sum + (1.0 - decay) * change * change * YEAR_SECONDS / elapsed
            self.weight = decay * self.weight + (1.0 - decay)
        self.ts, self.price = ts, price
        return self.volatility

    @property
    def volatility(self) -> float:
        """Annualised (365 d), decimal; NaN before the second price."""
        return math.sqrt(self.variance_sum / self.weight) if self.weight > 0.0 else math.nan


def ewma_volatility(series: Series, half_life: float) -> tuple[Floats, Floats]:
    """Annualised EWMA volatility known at each ts, and the weight gathered by then; both of shape (n,)."""
    ewma = Ewma(half_life)
    rows = [
        (ewma.update(ts, price), ewma.weight)
        for ts, price in zip(series.ts.tolist(), series.close.tolist(), strict=True)
    ]
    volatility, weight = np.array(rows).T
    return volatility, weight


@dataclass(frozen=True, slots=True)
class VolatilityIndex:
    """An implied volatility index (VIX, DVOL): decimal, annualised, and the asset it is about."""

    asset: str
    series: Series
