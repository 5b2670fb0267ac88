"""Liquidity: known spreads, impacts and depths are found again, with the errors that are stated."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plimsoll.calibration.liquidity import (
    Estimate,
    Liquidity,
    LiquidityConfig,
    bars_depth,
    book_depth,
    book_squared_spread,
    daily_volume,
    estimate_liquidity,
    impact,
    squared_spread,
)
from plimsoll.errors import PlimsollError
from plimsoll.market import Series, load_series, make_series
from plimsoll.market.depth import Depth, load_depth

HOUR, DAY = 3_600, 86_400
T0 = 1_600_000_000 // DAY * DAY
CONFIG = LiquidityConfig()


def depth_of(middle: Any, half_spread: Any, bid_volume: Any, ask_volume: Any) -> Depth:
    """A snapshot every five seconds."""
    ts = T0 + 5 * np.arange(len(middle))
    return Depth("book", ts, middle - half_spread, middle + half_spread, bid_volume, ask_volume)


def bouncing(spread: float, n: int, seed: int, steps: int = 60, deviation: float = 0.004) -> Series:
    """Bars of `steps` trades at either side of a random walk, `spread` apart."""
    rng = np.random.default_rng(seed)
    value = np.cumsum(rng.normal(0, deviation / steps**0.5, n * steps)).reshape(n, steps)
    price = np.exp(value + rng.choice([-0.5, 0.5], (n, steps)) * spread) * 100
    ts = T0 + HOUR * np.arange(1, n + 1)
    return make_series(
        "BTC", ts, price[:, -1], open=price[:, 0], high=price.max(1), low=price.min(1), volume=np.ones(n)
    )


def hourly(change: Any, volume: Any) -> Series:
    """Closes of hourly bars from log returns, and volume in dollars."""
    close = 100 * np.exp(np.cumsum(change))
    return make_series("BTC", T0 + HOUR * np.arange(1, len(close) + 1), close, volume=volume / close)


# ─── Spread


@pytest.mark.parametrize(
    ("spread", "seed", "reference"),
    # What `edge(…, sign=True)` of the authors' own package, bidask 2.1.0, makes of the same bars.
    [(0.002, 1, 0.0020087779792832975), (0.0, 2, 0.00017051506540196872), (0.01, 3, 0.010184857821703494)],
)
def test_squared_spread_isThatOfItsAuthors(spread: float, seed: int, reference: float):
    found = squared_spread(bouncing(spread, 500, seed)).value
    assert math.copysign(math.sqrt(abs(found)), found) == pytest.approx(reference, rel=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.002])
def test_squared_spread_errsAsItSays(spread: float):
    """Over 60 histories: unbiased, and its deviation is the error stated."""
    found = [squared_spread(bouncing(spread, 1_000, seed, steps=30)) for seed in range(60)]
    values = np.array([one.value for one in found])
    stated = float(np.mean([one.standard_error for one in found]))
    assert np.std(values, ddof=1) == pytest.approx(stated, rel=0.25)
    assert values.mean() == pytest.approx(spread**2, abs=3.5 * stated / math.sqrt(60) + 0.03 * spread**2)


def test_squared_spread_needsWholeBarsThatMove():
    series = bouncing(0.002, 100, 1)
    with pytest.raises(PlimsollError, match="BTC: a spread from bars needs open, high and low"):
        squared_spread(replace(series, high=None))
    still = np.full(100, 5.0)
    with pytest.raises(PlimsollError, match="BTC: prices hardly move within bars"):
        squared_spread(make_series("BTC", series.ts, still, open=still, high=still, low=still))


def test_half_spread_isAtLeastTheFloorAndNeverBelowItsError():
    def liquidity(squared: Estimate | None) -> Liquidity:
        other = Estimate(1.0, 0.1, 50, "bars")
        return Liquidity(squared, other, other, other, 0.5)

    wide = liquidity(Estimate(0.004**2, 1e-6, 900, "bars"))
    assert wide.half_spread == pytest.approx(0.002)
    assert wide.half_spread_bound(CONFIG) == pytest.approx(math.sqrt(16e-6 + 1.645e-6) / 2)
    unseen = liquidity(Estimate(-1e-7, 1e-6, 900, "bars"))
    assert unseen.half_spread == 0.0
    assert unseen.half_spread_bound(CONFIG) == pytest.approx(math.sqrt(1.645e-6) / 2)
    assert liquidity(Estimate(1e-12, 1e-12, 900, "book")).half_spread_bound(CONFIG) == CONFIG.least_half_spread
    assert liquidity(None).half_spread is None
    assert liquidity(None).parameters(CONFIG) == {
        "half_spread": CONFIG.least_half_spread,
        "impact": pytest.approx(1.1645),
        "average_daily_volume": 1.0,
    }


# ─── Impact


def test_impact_isOneWhereMovesAreTheRootOfVolume():
    rng = np.random.default_rng(1)
    volume = rng.lognormal(12, 1, 12_000)
    found = impact(hourly(0.0004 * np.sqrt(volume / volume.mean()) * rng.choice([-1, 1], 12_000), volume), CONFIG)
    assert found.value == pytest.approx(1.0, abs=0.03)
    assert found.source == "bars"


def test_impact_isLessWhereMovesKnowNothingOfVolume():
    rng = np.random.default_rng(2)
    volume = rng.lognormal(12, 0.5, 12_000)
    found = impact(hourly(rng.normal(0, 0.004, 12_000), volume), CONFIG)
    # E|z|·E[√v]·√E[v]/E[v] over the busiest tenth of a lognormal v
    busy = np.sort(volume / volume.mean())[-1_200:]
    assert found.value == pytest.approx(math.sqrt(2 / math.pi) * np.sqrt(busy).sum() / busy.sum(), abs=0.05)
    assert found.value < 0.6


def test_impact_isMoreWhereBusyBarsMoveFurther():
    """A tenth of the bars carries four times the volume and six times the move of the others: y/x by arithmetic."""
    rng = np.random.default_rng(3)
    busy = rng.random(12_000) < 0.098
    volume, move = np.where(busy, 4.0, 1.0), 0.001 * np.where(busy, 6.0, 1.0)
    found = impact(hourly(move * rng.choice([-1, 1], 12_000), 1e6 * volume), replace(CONFIG, busy_share=0.05))
    deviation, daily = math.sqrt(24 * np.mean(move**2)), 24 * np.mean(volume)
    assert found.value == pytest.approx(0.006 / deviation / math.sqrt(4 / daily), rel=0.03)


def test_impact_errsAsItSays():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        volume = rng.lognormal(12, 1, 5_000)
        change = 0.0004 * np.sqrt(volume / volume.mean()) * rng.normal(size=5_000)
        found.append(impact(hourly(change, volume), CONFIG))
    stated = np.mean([one.standard_error for one in found])
    assert np.std([one.value for one in found], ddof=1) == pytest.approx(stated, rel=0.3)


def test_impact_measuresEachBarByWhatWasBeforeIt():
    """The same by loops, each bar against the 720 before it and none after."""
    rng = np.random.default_rng(4)
    n, days = 3_000, 80
    change, volume = rng.standard_t(4, n) * 0.003 * np.exp(np.sin(np.arange(n) / 200)), rng.lognormal(12, 0.5, n)
    pairs = []
    for t in range(n - 24 * days, n):
        deviation = math.sqrt(sum(change[t - 720 : t] ** 2) / 30)
        pairs.append((math.sqrt(volume[t] / (sum(volume[t - 720 : t]) / 30)), abs(change[t]) / deviation))
    busy = sorted(pairs)[-len(pairs) // 10 :]
    expected = sum(x * y for x, y in busy) / sum(x * x for x, _ in busy)
    found = impact(hourly(change, volume), replace(CONFIG, window=days * DAY))
    assert found.observations == len(busy)
    assert found.value == pytest.approx(expected, rel=1e-9)


# ─── Volume and depth


def test_daily_volume_isTheMeanOfWholeDays():
    volume = np.concatenate((np.full(24 * 70, 9.0), np.full(24 * 15, 1.0), np.full(24 * 15, 3.0)))
    found = daily_volume(hourly(np.zeros(2_400), volume), CONFIG)
    assert found.value == pytest.approx(24 * 2.0)
    assert found.observations == 30
    assert found.standard_error > 24 / math.sqrt(30)  # days are alike in runs, so more than if they were independent
    with pytest.raises(PlimsollError, match="BTC: 10 days are too few for average daily volume"):
        daily_volume(hourly(np.zeros(240), np.ones(240)), CONFIG)


def test_bars_depth_fallsWhereVolumeDoesNotKeepUpWithTheMove():
    """Every 15th day moves three times as far on one and a half times the volume."""
    rng = np.random.default_rng(5)
    days = 1_200
    stress = np.arange(days) % 15 == 7
    volume = np.repeat(np.where(stress, 1.5, 1.0), 24) * 1e6
    move = np.repeat(np.where(stress, 0.012, 0.004), 24) * rng.choice([-1, 1], 24 * days)
    series = hourly(move, volume)
    found, ratio = bars_depth(series, replace(CONFIG, stress_share=0.05))
    assert ratio == pytest.approx(0.5, rel=1e-6)  # 1.5/3 of an ordinary day
    mean_volume, mean_square = 1 + 0.5 / 15, 1 + 8 / 15
    assert found.value == pytest.approx(24e6 * 0.5 * math.sqrt(mean_square), rel=0.01)
    assert found.source == "bars"
    assert daily_volume(series, CONFIG).value == pytest.approx(24e6 * mean_volume)


def test_bars_depth_errsAsItSays():
    """Over 60 histories of independent days that end with the same month."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        volume = rng.lognormal(12, 0.5, 1_500)
        volume[-30:] = math.exp(12)
        found.append(bars_depth(hourly(rng.normal(0, 0.004, 36_000), np.repeat(volume, 24)), CONFIG)[0])
    stated = np.mean([one.standard_error for one in found])
    assert np.std([one.value for one in found], ddof=1) == pytest.approx(stated, rel=0.35)


# ─── All of it


def test_estimate_liquidity_saysWhereItComesFrom():
    rng = np.random.default_rng(6)
    n = 24 * 500
    bars = bouncing(0.001, n, 6, steps=10)
    n_book = 2_000
    middle = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, n_book)))
    side = rng.uniform(1, 2, (2, n_book))
    book = depth_of(middle, 1e-4 * middle, *side)
    alone, both = estimate_liquidity(bars), estimate_liquidity(bars, book)
    assert alone.squared_spread is not None
    assert both.squared_spread is not None
    assert (alone.squared_spread.source, alone.stress_depth.source) == ("bars", "bars")
    assert (both.squared_spread.source, both.stress_depth.source) == ("book", "book")
    assert both.impact == alone.impact
    assert both.half_spread == pytest.approx(1e-4)
    assert alone.half_spread == pytest.approx(5e-4, rel=0.1)
    assert 100 < both.stress_depth.value < 140  # the thinner of two sides of one to two
    assert 0 < both.stress_ratio < 1
    closes = estimate_liquidity(replace(bars, open=None, high=None, low=None))
    assert closes.squared_spread is None
    assert closes.impact == alone.impact


def test_book_looksAtStressAlone():
    """The price moves in the last tenth of the record only, and there the book is thin and its spread wide."""
    n = 5_000
    calm = np.arange(n) < 4_500
    middle = 100 + np.where(calm, 0.0, 0.01 * (np.arange(n) - 4_500))
    half = np.where(calm, 0.01, 0.05)
    volume = np.where(calm, 10.0, 2.0)
    book = depth_of(middle, half, volume, volume * 3)
    depth, ratio = book_depth(book, replace(CONFIG, stress_share=0.08))
    assert ratio == pytest.approx(0.2, rel=0.06)
    assert depth.value == pytest.approx(2.0 * 103, rel=0.03)
    spread = math.sqrt(book_squared_spread(book, replace(CONFIG, stress_share=0.08)).value)
    assert spread == pytest.approx(2 * 0.05 / 103, rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: replace(s, volume=None), "BTC: has no volume, and liquidity needs it"),
        (lambda s: replace(s, bar_seconds=7 * DAY), "BTC: liquidity cannot be measured on bars longer than a day"),
        (lambda s: s.between(end=T0 + 60 * DAY), "BTC: 30 days are too few for stress depth"),
    ],
)
def test_estimate_liquidity_refuses(make: Any, message: str):
    with pytest.raises(PlimsollError, match=message):
        estimate_liquidity(make(bouncing(0.001, 24 * 400, 1, steps=4)))


def test_book_refusesAShortRecord():
    with pytest.raises(PlimsollError, match="book: 300 snapshots of the book are too few"):
        book_depth(depth_of(np.full(300, 100.0), 1.0, np.ones(300), np.ones(300)), CONFIG)


# ─── Real markets


def spot(name: str) -> Series:
    return load_series(Path(os.environ["PLIMSOLL_DATA"]) / "spot" / f"{name}.parquet", name, stamp="open")


def bitcoin_book() -> Depth:
    return load_depth(Path(os.environ["PLIMSOLL_DATA"]) / "orderbook" / "BTC-USDT_topbook_5s.parquet")[0]


@pytest.mark.data
def test_bars_agreeWithTheBookOfBitcoin():
    """A book shows a spread of a cent; a year of bars cannot tell a quarter of a basis point from nothing. Both are far
    below the floor. Depth under stress is a third of the usual in the book and half of it in bars."""
    bars, book = estimate_liquidity(spot("BTC-USDT_30m")), estimate_liquidity(spot("BTC-USDT_30m"), bitcoin_book())
    assert book.half_spread is not None
    assert bars.half_spread is not None
    assert 1e-8 < book.half_spread < 1e-6
    assert abs(bars.half_spread - book.half_spread) < 0.1e-4
    assert bars.half_spread_bound(replace(CONFIG, least_half_spread=1e-9)) < 0.25e-4
    assert bars.half_spread_bound(CONFIG) == book.half_spread_bound(CONFIG) == CONFIG.least_half_spread
    assert book.stress_ratio == pytest.approx(0.35, abs=0.01)
    assert bars.stress_ratio == pytest.approx(0.52, abs=0.01)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "coefficient", "half_spread"),  # half spread charged, in basis points
    [
        ("BTC-USDT_30m", 1.05, 3.0),
        ("ETH-USDT_30m", 1.06, 3.0),
        ("SOL-USDT_30m", 0.98, 3.0),
        ("LINK-USDT_1h", 0.98, 4.04),
        ("DOGE-USDT_1h", 0.97, 3.0),
        ("AVAX-USDT_1h", 1.01, 3.0),
    ],
)
def test_impact_isOfOrderOne(name: str, coefficient: float, half_spread: float):
    """As Tóth et al. (2011) find for orders whose size is known."""
    found = estimate_liquidity(spot(name))
    assert found.impact.value == pytest.approx(coefficient, abs=0.01)
    assert found.impact.standard_error < 0.07
    assert 1e4 * found.half_spread_bound(CONFIG) == pytest.approx(half_spread, abs=0.01)
    assert 0.4 < found.stress_ratio < 0.75
