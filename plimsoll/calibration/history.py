"""One asset on the grid of one horizon: what every walk-forward model sees.

Row i is what was known at ts[i]. A forecast made on row i is about the return from ts[i] to ts[i + 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Floats, Integers, Series

MINIMUM_ROWS = 60


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Arrays of shape (n,). Row 0 has no return: `change[0]` and `realised_variance[0]` are 0 and never used.

    ts: unix seconds, multiples of `horizon` in a market that never closes; price at ts. change: simple return from the
    row before. elapsed: seconds from the row before, longer than `horizon` over silence. realised_variance: annualised,
    Σ of squared returns between the prices that lie inside the step, over the elapsed time; where a step has a single
    price it is the squared return itself. implied: annualised volatility an index showed at ts, NaN where it was
    silent; None without an index.
    """

    name: str
    horizon: int
    ts: Integers
    price: Floats
    change: Floats
    elapsed: Floats
    realised_variance: Floats
    steps: Integers
    """How many prices lie inside each step: one means that realised variance is no more than a squared return."""
    implied: Floats | None = None

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def variance(self) -> Floats:
        """Squared return of each step, annualised."""
        return self.change**2 * YEAR_SECONDS / self.elapsed


def make_history(series: Series, horizon: int, implied: Series | None = None) -> History:
    """Put a series on a grid of `horizon` seconds: the last price at or before each grid time that has one.

    A grid step in which nothing was printed has no row (a weekend is one long step). `implied` is an index of
    volatility, annualised decimals; it is used for a day after it was printed. Raises PlimsollError where bars are
    longer than the horizon, or fewer than 60 rows come of it.
    """
    if horizon < series.bar_seconds:
        raise PlimsollError(
            f"{series.name}: a horizon of {horizon} s cannot be measured on bars of {series.bar_seconds} s; "
            "give finer data or a longer horizon"
        )
    grid = -(-series.ts // horizon) * horizon
    last = np.flatnonzero(np.diff(grid, append=grid[-1] + 1))
    # the last bucket counts only when it is complete: a price of noon is not the day's
    if grid[last[-1]] - series.ts[last[-1]] >= series.bar_seconds:
        last = last[:-1]
    if len(last) < MINIMUM_ROWS:
        raise PlimsollError(
            f"{series.name}: {len(last)} steps of {horizon} s, and {MINIMUM_ROWS} are needed; give a longer history"
        )
    ts, price = grid[last], series.close[last]
    elapsed = np.diff(ts, prepend=ts[0] - horizon).astype(np.float64)
    change = np.diff(price, prepend=price[0]) / np.concatenate([price[:1], price[:-1]])
    squared = np.diff(np.log(series.close), prepend=np.log(series.close[0])) ** 2
    total = np.cumsum(squared)[last]
    realised = np.diff(total, prepend=total[0]) * YEAR_SECONDS / elapsed
    index = None
    if implied is not None:
        known = np.searchsorted(implied.ts, ts, side="right") - 1
        fresh = (known >= 0) & (ts - implied.ts[np.maximum(known, 0)] <= max(horizon, 86_400))
        index = np.where(fresh, implied.close[np.maximum(known, 0)], np.nan)
    steps = np.diff(last, prepend=-1)
    return History(series.name, horizon, ts, price, change, elapsed, realised, steps, index)
