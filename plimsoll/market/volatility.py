"""Volatility as it is known at a moment: an EWMA on the time index, and what a volatility reporter would publish.

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


INDEX_MAX_AGE = 5 * 86_400
"""Seconds after which a silent index is no longer used; a long weekend or a day's hole is shorter."""


class VolatilityReporter:
    """What an honest volatility reporter publishes, step by step, for every asset of a market.

    With an index I of asset a, last known at t_k:   σ_u(t) = I(t_k) · EWMA_u(t) / EWMA_a(t_k).
    For a itself that is the index, carried on by how realised volatility moved since it was published; for any other
    asset, the index times the ratio of realised volatilities. Without an index, or with one older than
    INDEX_MAX_AGE: σ_u = EWMA_u.
    """

    def __init__(self, history: dict[str, Series], index: VolatilityIndex | None, half_life: float) -> None:
        """Start from `history` (rows before the first step only), keyed by asset; half_life in seconds."""
        self._ewma = {asset: Ewma(half_life) for asset in history}
        for asset, series in history.items():
            for ts, price in zip(series.ts.tolist(), series.close.tolist(), strict=True):
                self._ewma[asset].update(ts, price)
        self._index = index
        self._next = 0
        self._index_ts = -INDEX_MAX_AGE
        self._index_ratio = math.nan
        if index is not None:
            self._advance(min(int(series.ts[-1]) for series in history.values()))

    def observe(self, ts: int, prices: dict[str, float]) -> dict[str, float]:
        """Take the prices printed at ts; return each of these assets' volatility, annualised and decimal."""
        self._advance(ts - 1)  # what the index said before this print is measured against volatility before it
        for asset, price in prices.items():
            self._ewma[asset].update(ts, price)
        self._advance(ts)
        scale = self._index_ratio if ts - self._index_ts <= INDEX_MAX_AGE else 1.0
        return {asset: scale * self._ewma[asset].volatility for asset in prices}

    def _advance(self, ts: int) -> None:
        """Take in the index up to ts."""
        if self._index is None:
            return
        known = int(np.searchsorted(self._index.series.ts, ts, side="right"))
        if known > self._next:
            self._next = known
            self._index_ts = int(self._index.series.ts[known - 1])
            self._index_ratio = float(self._index.series.close[known - 1]) / self._ewma[self._index.asset].volatility
