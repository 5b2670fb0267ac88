"""The markets Plimsoll replays: which assets, where their prices are, and which window holds the crash.

`load_market` gives history for calibration (before the window, never after), the prints of the window, and a
volatility index where one exists. The default market needs no file: it is in the `arch` package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Integers, Series, load_series, make_series, resample
from plimsoll.market.volatility import VolatilityIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3_600
DAY = 86_400
VOLUME_DAYS = 30
"""Average daily volume is over the last 30 days of history."""

DATA_VARIABLE = "PLIMSOLL_DATA"

# New York's regular session in winter, UTC. Bars have no times of day, so the two extremes are put at thirds of the
# session: the lower first in a rising bar, the higher first in a falling one. In summer all of it is an hour earlier;
# no replay window lies there, and a daily return does not change.
_OPEN, _FIRST, _SECOND, _CLOSE = 52_200, 60_000, 67_800, 75_600  # 14:30, 16:40, 18:50, 21:00
_VIX_CLOSE = 76_500  # 21:15: the VIX closes a quarter of an hour after the shares


def _at(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Files:
    """Where a market's prices are under PLIMSOLL_DATA; `{asset}` stands for BTC and so on.

    Their bars are stamped by opening.
    """

    history: str
    prints: str
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """A named crash: assets, window [start, end) in unix seconds, bar step, and the horizons that suit its trading."""

    name: str
    title: str
    assets: tuple[str, ...]
    start: int
    end: int
    step_seconds: int
    initial_horizon: int
    """Seconds, like the next two."""
    maintenance_horizon: int
    half_life: int
    files: Files | None = None
    """None: the data comes with the `arch` package."""


@dataclass(frozen=True, slots=True)
class AssetData:
    """One asset: `history` ends before the window starts, `prints` is the window."""

    history: Series
    prints: Series
    average_daily_volume: float | None
    """US dollars a day over the last 30 days of history; None where the data has no volume in dollars."""


@dataclass(frozen=True, slots=True)
class MarketData:
    """A market with its prices."""

    market: Market
    assets: dict[str, AssetData]
    index: VolatilityIndex | None

    def histories(self) -> dict[str, Series]:
        """What calibration may see."""
        return {name: asset.history for name, asset in self.assets.items()}

    def steps(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The replay: (unix seconds, {asset: price}) in order of time. An asset that printed nothing is absent."""
        table: dict[int, dict[str, float]] = {}
        for name, asset in self.assets.items():
            for ts, price in zip(asset.prints.ts.tolist(), asset.prints.close.tolist(), strict=True):
                table.setdefault(ts, {})[name] = price
        yield from sorted(table.items())


def _crypto(name: str, title: str, start: str, end: str, step: int, files: Files) -> Market:
    return Market(name, title, ("BTC", "ETH"), _at(start), _at(end), step, 8 * HOUR, 2 * HOUR, 10 * DAY, files)


_DVOL = "volatility/deribit_DVOL-BTC_1h.parquet"
_HOURLY = "spot/{asset}-USDT_1h.parquet"

MARKETS: dict[str, Market] = {
    market.name: market
    for market in (
        Market(
            name="sp500-nasdaq",
            title="S&P 500 and Nasdaq Composite, 5 February 2018",
            assets=("SPX", "IXIC"),
            start=_at("2018-01-02"),
            end=_at("2018-03-10"),
            step_seconds=_FIRST - _OPEN,
            initial_horizon=2 * DAY,
            maintenance_horizon=DAY,
            half_life=16 * DAY,
        ),
        _crypto("2020-03", "BTC and ETH, 12 March 2020", "2020-03-06", "2020-03-16", HOUR, Files(_HOURLY, _HOURLY)),
        _crypto(
            "2021-05",
            "BTC and ETH, 19 May 2021",
            "2021-05-14",
            "2021-05-20T20:30",
            HOUR // 2,
            Files(_HOURLY, "crash/2021-05_{asset}-USDT_1m.parquet", _DVOL),
        ),
        _crypto(
            "2022-05",
            "BTC and ETH as Terra fell, May 2022",
            "2022-05-02",
            "2022-05-13",
            HOUR,
            Files(_HOURLY, "crash/2022-05_{asset}-USDT_5m.parquet", _DVOL),
        ),
        _crypto(
            "2022-11",
            "BTC and ETH as FTX fell, November 2022",
            "2022-11-04",
            "2022-11-11",
            HOUR // 2,
            Files("spot/{asset}-USDT_30m.parquet", "crash/2022-11_{asset}-USDT-perp_5m.parquet", _DVOL),
        ),
    )
}

DEFAULT_MARKET = "sp500-nasdaq"


def get_market(name: str) -> Market:
    """The market of that name; PlimsollError, listing the known ones, if there is none."""
    if name not in MARKETS:
        raise PlimsollError(f"unknown market {name!r}; choose one of {', '.join(MARKETS)}")
    return MARKETS[name]


def load_market(name: str | Market, data_dir: Path | str | None = None) -> MarketData:
    """Load a market's history, prints and volatility index, by its name or as it is described. `data_dir` defaults to
    the variable PLIMSOLL_DATA.

    Raises PlimsollError for an unknown market, a missing folder or file, and any fault in the data.
    """
    market = name if isinstance(name, Market) else get_market(name)
    name = market.name
    if market.files is None:
        return _load_bundled(market)
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    if not folder:
        raise PlimsollError(f"market {name} needs price files; set {DATA_VARIABLE} to the folder that holds them")
    if not Path(folder).is_dir():
        raise PlimsollError(f"{folder}: no such folder; set {DATA_VARIABLE} to the folder that holds the price files")
    return _load_files(market, Path(folder), market.files)


def average_daily_volume(series: Series, days: int = VOLUME_DAYS) -> float | None:
    """Mean traded value a day, Σ volume·close / days, over the last `days` days; None without volume."""
    if series.volume is None:
        return None
    recent = series.ts > series.ts[-1] - days * DAY
    span_days = min(days, (int(series.ts[-1]) - int(series.ts[0]) + series.bar_seconds) / DAY)
    return float(np.sum(series.volume[recent] * series.close[recent])) / span_days


def _load_files(market: Market, folder: Path, files: Files) -> MarketData:
    assets = {}
    for asset in market.assets:
        history = load_series(folder / files.history.format(asset=asset), asset, stamp="open").between(end=market.start)
        prints = load_series(folder / files.prints.format(asset=asset), asset, stamp="open")
        prints = resample(prints.between(market.start, market.end), market.step_seconds)
        # the window's edge may cut a grid bucket short; its row then belongs to the grid time at or after the end
        prints = prints.between(market.start, market.end)
        assets[asset] = AssetData(history, prints, average_daily_volume(history))
    index = None
    if files.index is not None:
        index = VolatilityIndex("BTC", load_dvol(folder / files.index))
    return MarketData(market, assets, index)


def load_dvol(path: Path) -> Series:
    """Deribit's index file has its own column names and is in percent."""
    import polars as pl

    if not path.is_file():
        raise PlimsollError(f"{path}: no such file; check {DATA_VARIABLE}")
    frame = pl.read_parquet(path)
    if not {"ts", "dvol_close"} <= set(frame.columns):
        raise PlimsollError(f"{path}: needs columns ts and dvol_close; give Deribit's index file")
    ts = frame["ts"].to_numpy() + HOUR  # stamped by opening
    return make_series("DVOL", ts, frame["dvol_close"].cast(pl.Float64).to_numpy() / 100.0, source=str(path))


def _load_bundled(market: Market) -> MarketData:
    try:
        import arch.data.nasdaq
        import arch.data.sp500
        import arch.data.vix
    except ImportError as missing:
        raise PlimsollError(f"market {market.name} is in the arch package; install plimsoll[calibration]") from missing
    frames = {"SPX": arch.data.sp500.load(), "IXIC": arch.data.nasdaq.load()}
    assets = {}
    for asset, frame in frames.items():
        bars = _daily_bars(asset, frame)
        # share volume of an index is not a traded value in dollars, so there is no average daily volume
        assets[asset] = AssetData(bars.between(end=market.start), _session_prints(bars, market), None)
    vix = arch.data.vix.load()["vix"].dropna()
    index = make_series("VIX", _midnights(vix.index) + _VIX_CLOSE, vix.to_numpy() / 100.0)
    return MarketData(market, assets, VolatilityIndex("SPX", index))


def _midnights(dates: Any) -> Integers:
    return np.asarray(dates.to_numpy().astype("datetime64[s]").astype(np.int64))


def _daily_bars(asset: str, frame: Any) -> Series:
    """Daily bars, stamped at the session's close. A few published highs and lows miss the open or close by a cent or
    two; they are widened to contain them."""
    opens, closes = frame["Open"].to_numpy(), frame["Close"].to_numpy()
    high = np.maximum(frame["High"].to_numpy(), np.maximum(opens, closes))
    low = np.minimum(frame["Low"].to_numpy(), np.minimum(opens, closes))
    return make_series(asset, _midnights(frame.index) + _CLOSE, closes, open=opens, high=high, low=low)


def _session_prints(bars: Series, market: Market) -> Series:
    """Four real prices a day: open, the two extremes (low first if the bar rose), close, at the session's times."""
    window = bars.between(market.start, market.end)
    if window.open is None or window.high is None or window.low is None:
        raise PlimsollError(f"{bars.name}: session prints need open, high and low; give full bars")
    rose = window.close >= window.open
    prices = np.stack(
        [
            window.open,
            np.where(rose, window.low, window.high),
            np.where(rose, window.high, window.low),
            window.close,
        ],
        axis=1,
    )
    offsets = np.array([_OPEN, _FIRST, _SECOND, _CLOSE]) - _CLOSE
    return make_series(window.name, (window.ts[:, None] + offsets).ravel(), prices.ravel())
