"""The named markets on their real data: the bundled one always, the others where PLIMSOLL_DATA points to them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.market import MARKETS, average_daily_volume, get_market, load_market, load_series, make_series

DAY = 86_400
FEB_5_2018 = 1_517_788_800
FILE_MARKETS = [name for name, market in MARKETS.items() if market.files is not None]


def check_market(name: str) -> None:
    data = load_market(name)
    steps = list(data.steps())
    times = [ts for ts, _ in steps]
    assert times == sorted(set(times))
    assert data.market.start <= times[0]
    assert times[-1] < data.market.end
    assert 150 <= len(steps) <= 400
    assert all(set(prices) == set(data.assets) for _, prices in steps)
    for one in data.assets.values():
        assert one.history.ts[-1] < data.market.start  # no look-ahead
        assert data.market.start - one.history.ts[-1] <= 5 * DAY
        assert one.prints.close.min() / np.maximum.accumulate(one.prints.close).max() < 0.95


def test_load_market_sp500_nasdaq():
    check_market("sp500-nasdaq")


def test_load_market_sp500_nasdaq_prints_are_the_four_prices_of_the_day():
    data = load_market("sp500-nasdaq")
    day = [prices["SPX"] for ts, prices in data.steps() if FEB_5_2018 <= ts < FEB_5_2018 + DAY]
    # a falling day: open, high, low, close
    assert day == pytest.approx([2741.060059, 2763.389893, 2638.169922, 2648.939941])
    assert data.index is not None
    row = np.searchsorted(data.index.series.ts, FEB_5_2018)
    assert data.index.series.close[row] == pytest.approx(0.3732)
    assert data.index.series.ts[row] > max(ts for ts, _ in data.steps() if ts < FEB_5_2018 + DAY)


@pytest.mark.data
@pytest.mark.parametrize("name", FILE_MARKETS)
def test_load_market_from_files(name):
    check_market(name)


@pytest.mark.data
def test_load_market_knows_a_bar_only_when_it_has_closed():
    data = load_market("2021-05")
    folder = Path(os.environ["PLIMSOLL_DATA"])
    hours = load_series(folder / "spot/BTC-USDT_1h.parquet")  # ts as in the file: the bar's opening
    minutes = load_series(folder / "crash/2021-05_BTC-USDT_1m.parquet")
    assert data.assets["BTC"].history.ts[0] == hours.ts[0] + 3_600
    for ts, price in zip(data.assets["BTC"].prints.ts, data.assets["BTC"].prints.close, strict=True):
        assert price == minutes.close[np.searchsorted(minutes.ts, ts) - 1]  # the last bar to open before ts


@pytest.mark.data
def test_load_market_volume_is_in_dollars_and_plausible():
    volume = load_market("2021-05").assets["BTC"].average_daily_volume
    assert volume is not None
    assert 1e9 < volume < 1e10


def test_get_market_unknown_lists_the_known():
    with pytest.raises(PlimsollError, match=r"unknown market '2099-01'; choose one of sp500-nasdaq, 2020-03"):
        get_market("2099-01")


def test_load_market_without_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("PLIMSOLL_DATA", raising=False)
    with pytest.raises(PlimsollError, match="needs price files; set PLIMSOLL_DATA"):
        load_market("2021-05")
    with pytest.raises(PlimsollError, match="no such folder"):
        load_market("2021-05", tmp_path / "absent")
    with pytest.raises(PlimsollError, match=r"BTC-USDT_1h\.parquet: no such file"):
        load_market("2021-05", tmp_path)


def test_average_daily_volume_counts_the_last_days_only():
    ts = np.arange(1, 61) * DAY
    series = make_series("X", ts, np.full(60, 10.0), volume=np.where(ts > 30 * DAY, 2.0, 1_000.0))
    assert average_daily_volume(series, 30) == pytest.approx(20.0)
    assert average_daily_volume(make_series("X", ts, np.full(60, 10.0)), 30) is None
