"""What it costs to close a position: half spread, square-root impact and depth under stress, each with its error.

The chain charges N·(½ spread + ⅔·Y·σ_day·√(N/ADV)). From an order book come the spread and the depth; from bars comes
the rest, and the spread and the depth too where there is no book. Every estimate says which it is.

Impact: the square-root law ΔP = Y·σ_day·√(Q/ADV), Y of order one (Almgren, Thum, Hauptmann & Li 2005; Tóth et al. 2011,
"Anomalous price impact", eq. 1). Bars show what was traded, not who wanted it: where buying and selling cancel, a bar's
volume overstates Q, and where news moves the price, its move overstates ΔP. Y is therefore read from the busiest bars,
whose flow is the most one-sided. It says how far prices go when much is traded, not what a trade causes: moves of
exactly ±σ_day·√(volume/ADV) give 1 whatever the market, moves that know nothing of volume give 0.8 or less.

Spread from bars: EDGE (Ardia, Guidotti & Kroencke 2024, "Efficient estimation of bid–ask spreads from open, high, low
and close prices", section 2). On half-hourly bars of BTC, whose spread is a hundredth of a basis point, those of Corwin
& Schultz (2012) and of Abdi & Ranaldo (2017) are off by 5 to 8 bp; EDGE by less than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from plimsoll.calibration.tails import block_standard_error
from plimsoll.errors import PlimsollError
from plimsoll.market.series import resample

if TYPE_CHECKING:
    from plimsoll.market.depth import Depth
    from plimsoll.market.series import Flags, Floats, Integers, Series

Source = Literal["book", "bars"]

_HOUR, _DAY = 3_600, 86_400
_LEAST = 30
"""Observations below which no estimate is made."""


@dataclass(frozen=True, slots=True)
class LiquidityConfig:
    """Times in seconds, fractions as decimals."""

    window: int = 365 * _DAY
    """Spread and impact are those of the last window: markets deepen by orders of magnitude over their life."""
    volume_days: int = 30
    """Of average daily volume, and of the volatility that impact is measured in."""
    impact_bar: int = _HOUR
    """Least length of the bars that impact is read from: about as long as an auction takes."""
    busy_share: float = 0.10
    """The share of bars with the most volume, from which Y is read."""
    stress_share: float = 0.10
    """The share of days (of snapshots, in a book) with the widest moves, which count as stress."""
    stress_quantile: float = 0.05
    """Stress depth is this quantile of depth in stress."""
    book_window: int = 300
    """A snapshot is in stress by how far the price moved in this time before it."""
    least_half_spread: float = 0.0003
    """What a taker pays besides: fees of the largest venues are 2 to 5 bp, and no quote shows them."""
    error_multiple: float = 1.645
    """Standard errors above an estimate at which it is charged (one-sided 95%)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its standard error, how many observations it rests on, and where they came from."""

    value: float
    standard_error: float
    observations: int
    source: Source


@dataclass(frozen=True, slots=True)
class Liquidity:
    """Estimates of one asset."""

    squared_spread: Estimate | None
    """Of the full spread as a fraction of price: it is what bars estimate without bias, and may come out negative. None
    where bars have closes only."""
    impact: Estimate
    """Y."""
    average_daily_volume: Estimate
    """Dollars a day."""
    stress_depth: Estimate
    """Dollars. Book: on the thinner side, within the levels listed. Bars: traded for each day's usual deviation that
    the price moved. The low quantile under stress."""
    stress_ratio: float
    """stress_depth over the median depth of all times: comparable between the two sources."""

    @property
    def half_spread(self) -> float | None:
        """Point estimate, fraction of price; 0 where squared_spread is not above zero, None without one."""
        return None if self.squared_spread is None else math.sqrt(max(self.squared_spread.value, 0.0)) / 2.0

    def half_spread_bound(self, config: LiquidityConfig) -> float:
        """The upper end of the half spread's error, and at least the floor: what is charged."""
        if self.squared_spread is None:
            return config.least_half_spread
        most = max(self.squared_spread.value, 0.0) + config.error_multiple * self.squared_spread.standard_error
        return max(math.sqrt(most) / 2.0, config.least_half_spread)

    def parameters(self, config: LiquidityConfig) -> dict[str, float]:
        """The fields of RiskParameters: spread and impact at the upper end of their error, volume as it was."""
        return {
            "half_spread": self.half_spread_bound(config),
            "impact": self.impact.value + config.error_multiple * self.impact.standard_error,
            "average_daily_volume": self.average_daily_volume.value,
        }


def estimate_liquidity(series: Series, book: Depth | None = None, config: LiquidityConfig | None = None) -> Liquidity:
    """Liquidity of an asset from its bars and, where there is one, its book.

    Raises PlimsollError where the bars have no volume, are longer than a day, or the history is too short.
    """
    config = config or LiquidityConfig()
    if series.bar_seconds > _DAY:
        raise PlimsollError(f"{series.name}: liquidity cannot be measured on bars longer than a day; give finer data")
    if book is not None:
        squared: Estimate | None = book_squared_spread(book, config)
        depth, ratio = book_depth(book, config)
    else:
        recent = series.between(start=int(series.ts[-1]) - config.window)
        full = not (recent.open is None or recent.high is None or recent.low is None)
        squared = squared_spread(recent) if full else None
        depth, ratio = bars_depth(series, config)
    return Liquidity(squared, impact(series, config), daily_volume(series, config), depth, ratio)


def squared_spread(series: Series) -> Estimate:
    """EDGE: squared spread of bars with open, high, low and close. May be negative: that is its noise.

    With m the middle of high and low in logarithms, previous bar's values primed, and d a return less its mean over
    the bars in which anything was traded (τ = 1):
        x₁ = −4/ν_o·d(m − o)·(o − m′) − 4/ν_c·d(m − c′)·(c′ − m′)
        x₂ = −4/ν_o·d(m − o)·(o − c′) − 4/ν_c·d(o − c′)·(c′ − m′)
        s² = (V₂·E₁ + V₁·E₂)/(V₁ + V₂)
    ν_o, ν_c: how often, for the two extremes together, open and previous close are not at them. The error is that of
    the mean of the combination in blocks.
    """
    if series.open is None or series.high is None or series.low is None:
        raise PlimsollError(f"{series.name}: a spread from bars needs open, high and low; give full bars or a book")
    o, h, low, c = (np.log(price) for price in (series.open, series.high, series.low, series.close))
    m = (h + low) / 2.0
    last_h, last_l, last_c, last_m = h[:-1], low[:-1], c[:-1], m[:-1]
    o, h, low, m = o[1:], h[1:], low[1:], m[1:]
    traded = ((h != low) | (low != last_c)).astype(np.float64)
    inside_open = float(np.mean(traded * (o != h)) + np.mean(traded * (o != low)))
    inside_close = float(np.mean(traded * (last_c != last_h)) + np.mean(traded * (last_c != last_l)))
    if np.count_nonzero(traded) < _LEAST or min(inside_open, inside_close) == 0.0:
        raise PlimsollError(f"{series.name}: prices hardly move within bars, so no spread shows; give finer data")

    def demeaned(change: Floats) -> Floats:
        return np.asarray(change - np.mean(change) / np.mean(traded) * traded)

    from_open, from_close, gap = demeaned(m - o), demeaned(m - last_c), demeaned(o - last_c)
    x1 = -4.0 / inside_open * from_open * (o - last_m) - 4.0 / inside_close * from_close * (last_c - last_m)
    x2 = -4.0 / inside_open * from_open * (o - last_c) - 4.0 / inside_close * gap * (last_c - last_m)
    v1, v2 = float(np.var(x1)), float(np.var(x2))
    x = (v2 * x1 + v1 * x2) / (v1 + v2)
    return _mean(x, "bars")


def impact(series: Series, config: LiquidityConfig) -> Estimate:
    """Y: least squares of |return|/σ_day on √(dollars/ADV) through the origin, over the busiest bars of the window.

    σ_day and ADV are those of the days before each bar.
    """
    bars = resample(series, max(config.impact_bar, series.bar_seconds))
    change: Floats
    change, dollars = np.diff(np.log(bars.close)), _dollars(bars)[1:]
    deviation, daily, rows = _before(bars.ts[1:], change**2, dollars, config.volume_days)
    rows = rows[bars.ts[1:][rows] > bars.ts[-1] - config.window]
    deviation, daily = deviation[rows], daily[rows]
    if len(rows) * config.busy_share < _LEAST:
        raise PlimsollError(
            f"{series.name}: {len(rows)} bars of {bars.bar_seconds} s are too few for impact; give a longer history"
        )
    x, y = np.sqrt(dollars[rows] / daily), np.abs(change[rows]) / deviation
    busy = np.flatnonzero(x >= np.quantile(x, 1.0 - config.busy_share))
    x, y = x[busy], y[busy]
    coefficient = float(np.sum(x * y) / np.sum(x * x))
    error = block_standard_error(x * (y - coefficient * x) / float(np.mean(x * x)), math.isqrt(len(x)))
    return Estimate(coefficient, error, len(x), "bars")


def daily_volume(series: Series, config: LiquidityConfig) -> Estimate:
    """Mean dollars traded a day over the last `volume_days` days."""
    ages = (series.ts[-1] - series.ts) // _DAY
    rows = ages < config.volume_days
    days = np.bincount(ages[rows], _dollars(series)[rows], config.volume_days).astype(np.float64)
    if int(ages[0]) + 1 < config.volume_days:
        raise PlimsollError(
            f"{series.name}: {int(ages[0]) + 1} days are too few for average daily volume; "
            f"give at least {config.volume_days}"
        )
    return _mean(days, "bars")


def bars_depth(series: Series, config: LiquidityConfig) -> tuple[Estimate, float]:
    """(stress depth in dollars of today's volume, ratio to the median of all days), by days.

    A day's depth is its volume over its move, each as a multiple of what the 30 days before it had as usual (Kyle
    1985's λ, and Amihud 2002's illiquidity, inverted and without a unit). Volume rises in a crash; depth falls.
    """
    change, dollars = np.diff(np.log(series.close), prepend=np.log(series.close[0])), _dollars(series)
    day = (series.ts - 1) // _DAY  # a bar known at midnight belongs to the day it ends
    first = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    squared: Floats = np.add.reduceat(change**2, first)
    traded: Floats = np.add.reduceat(dollars, first)
    deviation, daily, rows = _before((day[first] + 1) * _DAY, squared, traded, config.volume_days)
    move = np.sqrt(squared[rows]) / deviation[rows]
    rows, move = rows[move > 0.0], move[move > 0.0]
    if len(rows) * config.stress_share < _LEAST:
        raise PlimsollError(f"{series.name}: {len(rows)} days are too few for stress depth; give a longer history")
    depth = traded[rows] / daily[rows] / move
    stress = depth[move >= np.quantile(move, 1.0 - config.stress_share)]
    least = _low_quantile(stress, config.stress_quantile, "bars")
    today = daily_volume(series, config).value
    scaled = Estimate(least.value * today, least.standard_error * today, least.observations, "bars")
    return scaled, least.value / float(np.median(depth))


def book_squared_spread(book: Depth, config: LiquidityConfig) -> Estimate:
    """Mean squared relative spread over the snapshots in stress."""
    return _mean(book.spread[_book_stress(book, config)] ** 2, "book")


def book_depth(book: Depth, config: LiquidityConfig) -> tuple[Estimate, float]:
    """(low quantile in stress of the dollars on the thinner side, ratio to the median of all snapshots)."""
    least = _low_quantile(book.value[_book_stress(book, config)], config.stress_quantile, "book")
    return least, least.value / float(np.median(book.value))


def _book_stress(book: Depth, config: LiquidityConfig) -> Flags:
    """The snapshots before which the middle price moved the most."""
    middle = np.log(book.mid)
    before = np.searchsorted(book.ts, book.ts - config.book_window, side="right") - 1
    known = before >= 0
    if np.count_nonzero(known) * config.stress_share < _LEAST:
        raise PlimsollError(f"{book.name}: {len(book)} snapshots of the book are too few; give a longer record")
    move = np.where(known, np.abs(middle - middle[np.maximum(before, 0)]), -1.0)
    return np.asarray(move >= np.quantile(move[known], 1.0 - config.stress_share))


def _dollars(series: Series) -> Floats:
    if series.volume is None:
        raise PlimsollError(f"{series.name}: has no volume, and liquidity needs it; give bars with volume")
    return np.asarray(series.volume * series.close, dtype=np.float64)


def _before(ts: Integers, squared: Floats, dollars: Floats, days: int) -> tuple[Floats, Floats, Integers]:
    """(daily deviation, dollars a day) over the `days` before each row, its own left out, and the rows with a whole
    window behind them in which something moved and was traded."""
    start = np.searchsorted(ts, ts - days * _DAY, side="left")
    rows = np.arange(len(ts))
    sums = [np.concatenate(([0.0], np.cumsum(values))) for values in (squared, dollars)]
    variance, volume = ((total[rows] - total[start]) / days for total in sums)
    whole = (ts - days * _DAY >= ts[0]) & (variance > 0.0) & (volume > 0.0)
    return np.sqrt(np.maximum(variance, 0.0)), volume, np.flatnonzero(whole)


def _mean(values: Floats, source: Source) -> Estimate:
    error = block_standard_error(values, math.isqrt(len(values)))
    return Estimate(float(np.mean(values)), error, len(values), source)


def _low_quantile(values: Floats, share: float, source: Source) -> Estimate:
    """A quantile, and half the distance of those one standard error of their probability to either side.

    The error of the share of values below the quantile is taken in blocks, so that neighbours may be alike; for
    independent values it is the binomial one, and the interval that of David & Nagaraja (2003), §7.1.
    """
    quantile = float(np.quantile(values, share))
    error = block_standard_error((values <= quantile).astype(np.float64), math.isqrt(len(values)))
    low, high = np.quantile(values, (max(share - error, 0.0), min(share + error, 1.0)))
    return Estimate(quantile, float(high - low) / 2.0, len(values), source)
