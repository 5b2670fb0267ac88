"""Haircuts of collateral: what a long position in it would need as margin, with a floor of jumps for stablecoins.

An asset that moves is cut by its volatility, z·σ·√(h/year), as the contracts do. A stablecoin's volatility says
nothing about the day its peg breaks: nearly nothing happens for years, then 12% in an hour. Its haircut has a floor
from what such coins have done, not from what this one has done lately:

    floor = max(factor · worst fall over the horizon in any known history of the class, minimum).

Initial margin and haircut share the horizon, since collateral is sold when the position is closed. Standardised
haircuts by class, with no discount for quiet times, are BCBS & IOSCO's (2020, "Margin requirements for non-centrally
cleared derivatives", appendix B); collateral in another currency than the claim's is cut there by 8% more, which is
where the minimum comes from: a stablecoin is another issuer's promise of a dollar, not the dollar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Floats, Series

JUMP_FACTOR = 1.25
"""On the worst fall seen: the worst of a short history is not the worst there is. EMIR's buffer of a quarter."""
JUMP_MINIMUM = 0.08
"""Of a class without a fall on record."""


@dataclass(frozen=True, slots=True)
class JumpFloor:
    """A floor under haircuts. worst: largest fall over the horizon, a fraction; source, ts: whose, and when it ended
    (unix seconds; None without history). floor: in [0, 1]."""

    floor: float
    worst: float
    source: str | None
    ts: int | None


@dataclass(frozen=True, slots=True)
class Haircut:
    """haircut = min(max(volatility, jump), 1), fractions of value. binding: which of the two it is."""

    haircut: float
    volatility: float
    jump: float
    binding: str


def implied_price(base_in_quote: Series, base_in_coin: Series, name: str) -> Series:
    """The price of a coin in the quote currency from one asset's price in both: BTC-USD / BTC-USDC is USDC-USD.

    On the times both printed; closes alone, since the highs of the two need not be of one moment. Raises PlimsollError
    where they share fewer than two.
    """
    ts, rows, others = np.intersect1d(base_in_quote.ts, base_in_coin.ts, assume_unique=True, return_indices=True)
    if len(ts) < 2:
        raise PlimsollError(
            f"{name}: {base_in_quote.name} and {base_in_coin.name} share {len(ts)} times, and 2 are needed; "
            "give series that overlap"
        )
    return Series(name, ts, base_in_quote.close[rows] / base_in_coin.close[others], int(np.min(np.diff(ts))))


def worst_falls(series: Series, horizon: int) -> Floats:
    """Fall of each close from the highest close of the `horizon` seconds before it, shape (n,), fractions ≥ 0.

    Closes, not lows: a low may be one print that nobody could have sold at. Raises PlimsollError where bars are longer
    than the horizon.
    """
    if horizon < series.bar_seconds:
        raise PlimsollError(
            f"{series.name}: a horizon of {horizon} s cannot be measured on bars of {series.bar_seconds} s; "
            "give finer data or a longer horizon"
        )
    first = np.searchsorted(series.ts, series.ts - horizon, side="left")
    falls = np.zeros(len(series))
    queue: list[int] = []  # rows of the window, closes falling: the first is the highest
    head = 0
    for row, (close, oldest) in enumerate(zip(series.close.tolist(), first.tolist(), strict=True)):
        while len(queue) > head and series.close[queue[-1]] <= close:
            queue.pop()
        queue.append(row)
        while queue[head] < oldest:
            head += 1
        falls[row] = 1.0 - close / float(series.close[queue[head]])
    return falls


def jump_floor(
    histories: Sequence[Series], horizon: int, factor: float = JUMP_FACTOR, minimum: float = JUMP_MINIMUM
) -> JumpFloor:
    """The floor for a class of coins from the histories of its members (prices in the claim's currency), if any.

    Coins that have not yet broken share the record of those that have. horizon: seconds. Raises PlimsollError for a
    factor below 1 or a minimum outside [0, 1].
    """
    if factor < 1.0 or not math.isfinite(factor):
        raise PlimsollError(f"haircut: a jump factor of {factor:g} promises less than has happened; give 1 or more")
    if not 0.0 <= minimum <= 1.0:
        raise PlimsollError(f"haircut: a minimum of {minimum:g} is not a fraction of value; give one from 0 to 1")
    worst, source, ts = 0.0, None, None
    for series in histories:
        falls = worst_falls(series, horizon)
        row = int(np.argmax(falls))
        if falls[row] > worst:
            worst, source, ts = float(falls[row]), series.name, int(series.ts[row])
    return JumpFloor(min(max(factor * worst, minimum), 1.0), worst, source, ts)


def haircut(volatility: float, multiplier: float, horizon: int, jump: JumpFloor | None = None) -> Haircut:
    """The haircut of a collateral asset: z·σ·√(h/year), and not below its class's jump floor.

    volatility σ: annualised, decimal; multiplier z: of the asset's margin range; horizon h: seconds, that of initial
    margin. Raises PlimsollError for a number that is not finite or is negative, or a horizon that is not above 0.
    """
    for name, value in (("volatility", volatility), ("multiplier", multiplier)):
        if not (math.isfinite(value) and value >= 0.0):
            raise PlimsollError(f"haircut: {name} is {value}; give a finite number, 0 or more")
    if horizon <= 0:
        raise PlimsollError(f"haircut: a horizon of {horizon} s is not above 0; give initial margin's")
    moving = multiplier * volatility * math.sqrt(horizon / YEAR_SECONDS)
    floor = 0.0 if jump is None else jump.floor
    return Haircut(min(max(moving, floor), 1.0), moving, floor, "volatility" if moving >= floor else "jump")
