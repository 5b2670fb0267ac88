"""Haircuts: the range of a long position, and floors from pegs that broke."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from plimsoll.calibration.haircuts import JumpFloor, haircut, implied_price, jump_floor, worst_falls
from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Series, load_series, make_series

MINUTE, DAY = 60, 86_400


def walk(seed: int, n: int = 400) -> Series:
    rng = np.random.default_rng(seed)
    ts = 1_600_000_000 + MINUTE * np.cumsum(rng.integers(1, 4, n))
    return make_series(f"coin {seed}", ts, np.exp(np.cumsum(0.01 * rng.standard_normal(n))))


@pytest.mark.parametrize("horizon", [3 * MINUTE, 20 * MINUTE, DAY])
@pytest.mark.parametrize("seed", range(3))
def test_worst_falls_equal_a_search_of_every_pair(seed, horizon):
    series = walk(seed)
    expected = [
        max(
            1.0 - later / earlier for at, earlier in zip(series.ts, series.close, strict=True) if t - horizon <= at <= t
        )
        for t, later in zip(series.ts, series.close, strict=True)
    ]
    assert worst_falls(series, horizon) == pytest.approx(expected, abs=1e-15)


def test_worst_falls_do_not_look_ahead():
    series = walk(1)
    changed = make_series("changed", series.ts, np.where(np.arange(400) < 250, series.close, 7.0))
    assert np.array_equal(worst_falls(series, 600)[:250], worst_falls(changed, 600)[:250])


def test_jump_floor_takes_the_worst_of_the_class_times_the_factor():
    ts = np.arange(5) * MINUTE
    broken = make_series("broken", ts, np.array([1.0, 1.0, 0.8, 0.9, 1.0]))
    steady = make_series("steady", ts, np.ones(5))
    assert jump_floor([steady, broken], DAY, 1.5, 0.05) == JumpFloor(
        pytest.approx(0.3), pytest.approx(0.2), "broken", 120
    )
    assert jump_floor([steady], DAY, 1.5, 0.05) == JumpFloor(0.05, 0.0, None, None)
    assert jump_floor([], DAY, 1.5, 0.05).floor == 0.05
    assert jump_floor([broken], DAY, 10.0, 0.05).floor == 1.0


def test_implied_price_is_that_of_the_coin_on_common_times():
    dollars = make_series("BTC-USD", np.array([60, 120, 180, 240]), np.array([100.0, 100.0, 90.0, 90.0]))
    coins = make_series("BTC-USDC", np.array([120, 180, 300]), np.array([100.0, 100.0, 100.0]))
    price = implied_price(dollars, coins, "USDC")
    assert (price.name, price.ts.tolist(), price.close.tolist()) == ("USDC", [120, 180], [1.0, 0.9])
    assert price.bar_seconds == 60


def test_haircut_is_the_chain_range_of_a_long_position():
    result = haircut(0.8, 3.5, DAY)
    assert result.haircut == pytest.approx(3.5 * 0.8 / math.sqrt(365.0))
    assert (result.binding, result.jump) == ("volatility", 0.0)
    assert haircut(0.8, 3.5, YEAR_SECONDS).haircut == 1.0


def test_haircut_of_a_quiet_stablecoin_is_the_jump_floor():
    floor = jump_floor([], DAY)
    quiet, wild = haircut(0.01, 3.5, DAY, floor), haircut(2.0, 3.5, DAY, floor)
    assert (quiet.haircut, quiet.binding) == (floor.floor, "jump")
    assert quiet.volatility < 0.01
    assert (wild.haircut, wild.binding) == (wild.volatility, "volatility")


@pytest.mark.data
def test_jump_floor_of_march_2023():
    """USDC printed 0.875 against the dollar on 11 March 2023; through BTC's price in both it must show."""
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "crash"
    dollars = load_series(folder / "2023-03_BTC-USD_1m.parquet", stamp="open")
    coins = load_series(folder / "2023-03_BTC-USDC_1m.parquet", stamp="open")
    price = implied_price(dollars, coins, "USDC")
    assert len(price) > 20_000
    assert 0.85 < np.min(price.close) < 0.9
    floor = jump_floor([price], DAY)
    assert 0.10 < floor.worst < 0.15
    assert floor.ts is not None
    assert 1_678_492_800 <= floor.ts < 1_678_579_200  # the 11th, UTC
    assert floor.floor == pytest.approx(1.25 * floor.worst)
    hour = jump_floor([price], 3_600)
    assert 0.03 < hour.worst < floor.worst


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: haircut(math.nan, 3.0, DAY), "volatility is nan; give a finite number"),
        (lambda: haircut(0.5, -1.0, DAY), "multiplier is -1.0; give a finite number"),
        (lambda: haircut(0.5, 3.0, 0), "a horizon of 0 s is not above 0"),
        (lambda: jump_floor([], DAY, factor=0.9), "a jump factor of 0.9 promises less than has happened"),
        (lambda: jump_floor([], DAY, minimum=8.0), "a minimum of 8 is not a fraction of value"),
        (lambda: worst_falls(walk(1), 1), "coin 1: a horizon of 1 s cannot be measured on bars of"),
        (
            lambda: implied_price(walk(1), make_series("late", np.array([5, 6]), np.ones(2)), "USDC"),
            "USDC: coin 1 and late share 0 times",
        ),
    ],
)
def test_haircuts_say_what_is_wrong(call, message):
    with pytest.raises(PlimsollError, match=message):
        call()
