"""Reading prices with repairs, joining files of one asset, and the readers of rounds, funding and depth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.market import Series, load_series, make_series, resample
from plimsoll.market.depth import load_depth, load_option_books
from plimsoll.market.funding import load_funding
from plimsoll.market.prices import Repair, join_series, read_prices
from plimsoll.market.rounds import load_rounds

T0 = 1_600_000_000 - 1_600_000_000 % 86_400
N = 200


def bars(step: int = 1_800, rows: int = N) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(0.004 * rng.standard_normal(rows)))
    return {"ts": T0 + step * np.arange(1, rows + 1), "close": close, "volume": 1 + rng.random(rows)}


def write(path: Path, columns: dict[str, Any]) -> Path:
    frame = pl.DataFrame(columns, strict=False)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def same(one: Series, other: Series) -> bool:
    columns, others = one.columns(), other.columns()
    return (
        columns.keys() == others.keys()
        and np.array_equal(one.ts, other.ts)
        and one.bar_seconds == other.bar_seconds
        and all(np.array_equal(columns[name], others[name]) for name in columns)
    )


# ─── read_prices


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_read_prices_of_a_good_file_is_load_series(tmp_path, suffix):
    path = write(tmp_path / f"BTC{suffix}", bars())
    series, repairs = read_prices(path, stamp="open")
    assert same(series, load_series(path, stamp="open"))
    assert (series.name, repairs) == ("BTC", ())


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_read_prices_repairs_by_rules_and_says_so(tmp_path, suffix):
    good = load_series(write(tmp_path / f"good{suffix}", bars()), "BTC")
    rows = np.insert(np.arange(N), 50, [49, 49])
    rows[[100, 101, 102]] = rows[[102, 100, 101]]
    broken = {name: values[rows] for name, values in bars().items()}
    broken["ts"] = broken["ts"] * 1_000
    path = write(tmp_path / f"broken{suffix}", broken)
    series, repairs = read_prices(path, "BTC")
    assert same(series, good)
    assert repairs == (
        Repair("seconds", "ts", N + 2, 1),
        Repair("identical", "ts", 2, 51),
        Repair("sort", "ts", 1, 102),
    )
    assert repairs[0].as_dict() == {"rule": "seconds", "column": "ts", "rows": N + 2, "first_row": 1}
    with pytest.raises(PlimsollError, match=r"row 1: ts .* looks like milliseconds"):
        load_series(path)  # the strict reading repairs nothing


def test_read_prices_moves_dates_to_utc(tmp_path):
    columns = bars()
    stamps = [
        str(np.datetime64(int(ts) + (3_600 if i > 99 else 0), "s")) + ("+01:00" if i > 99 else "+00:00")
        for i, ts in enumerate(columns["ts"])
    ]
    series, repairs = read_prices(write(tmp_path / "a.csv", columns | {"ts": stamps}))
    assert series.ts.tolist() == columns["ts"].tolist()
    assert repairs == (Repair("utc", "ts", 100, 101),)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("close", 5, np.nan, "row 5: close is nan; fill or drop the rows"),
        ("close", 5, -1.0, "row 5: close is below zero"),
        ("close", 5, 0.0, "row 5: close is zero"),
        ("volume", 5, np.inf, "row 5: volume is inf"),
        ("ts", 5, T0 + 1_800 * 4, "row 5: 1 row with the time of another row and other values"),
        ("ts", 5, (T0 + 1_800 * 5) * 1_000, "row 5: ts is seconds in 199 rows, milliseconds in 1 row"),
    ],
)
def test_read_prices_refuses_what_no_rule_repairs(tmp_path, column, row, value, message):
    columns = bars()
    columns[column] = columns[column].copy()
    columns[column][row - 1] = value
    with pytest.raises(PlimsollError, match=rf"a\.parquet: {message}"):
        read_prices(write(tmp_path / "a.parquet", columns))


def test_read_prices_says_how_many_faults_follow(tmp_path):
    columns = bars()
    columns["close"][[3, 5]] = np.nan
    columns["volume"][7] = -1.0
    with pytest.raises(PlimsollError, match=r"row 4: close is nan; .* \(1 more: plimsoll data check a\.csv\)"):
        read_prices(write(tmp_path / "a.csv", columns))


@pytest.mark.parametrize("read", [load_series, read_prices])
def test_no_reader_takes_a_scale_jump(tmp_path, read):
    columns = bars()
    columns["close"][120:] *= 1_000
    with pytest.raises(PlimsollError, match=r"row 121: close goes from .* a power of ten: the column changes its unit"):
        read(write(tmp_path / "a.csv", columns))


@pytest.mark.parametrize("read", [load_series, read_prices])
def test_every_reader_keeps_spikes_and_gaps(tmp_path, read):
    columns = bars()
    columns["close"][120] *= 0.6
    columns = {name: np.delete(values, range(30, 60)) for name, values in columns.items()}
    found = read(write(tmp_path / "a.csv", columns))
    series = found[0] if isinstance(found, tuple) else found
    assert series.close.tolist() == columns["close"].tolist()


# ─── join_series


def series(columns: dict[str, Any], name: str = "BTC") -> Series:
    return make_series(name, columns["ts"], columns["close"], volume=columns["volume"])


def test_join_series_on_the_coarser_step():
    fine = series(bars())
    hourly = resample(fine, 3_600)
    early, late = hourly.between(end=T0 + 60 * 3_600), fine.between(start=T0 + 40 * 3_600 + 1)
    joined = join_series(early, late)
    assert same(joined, hourly)
    assert same(join_series(late, early), hourly)  # whichever is named first
    assert same(join_series(early, late, fine.between(end=T0 + 10 * 3_600 + 1)), hourly)


def test_join_series_drops_a_bar_that_is_not_over():
    """The finer file ends at half past: what it knew then is no hourly close."""
    fine = series(bars(rows=N - 1))
    assert join_series(resample(fine, 3_600).between(end=T0 + 36_000), fine).ts[-1] == T0 + 3_600 * (N // 2 - 1)


def test_join_series_keeps_the_columns_all_have():
    one, other = series(bars()), replace(series(bars()), volume=None)
    assert list(join_series(one, other).columns()) == ["close"]


def test_join_series_refuses_prices_that_differ():
    one, columns = series(bars()), bars()
    columns["close"][[150, 160]] *= 1.003
    with pytest.raises(
        PlimsollError,
        match=r"files to join differ at 2020-09-16 03:30:00 UTC: \S+ and \S+, and at 2 of 200 common times .*0\.20%",
    ):
        join_series(one, series(columns))
    joined = join_series(one, series(columns), tolerance=0.01)
    assert joined.close.tolist() == one.close.tolist()  # the first file's price counts


def test_join_series_without_a_common_time():
    columns = bars()
    early = series({name: values[:100] for name, values in columns.items()})
    late = series({name: values[100:] for name, values in columns.items()})
    assert same(join_series(late, early), series(columns))
    with pytest.raises(PlimsollError, match=r"files to join go from .* are they of one asset, in one unit"):
        join_series(early, replace(late, close=late.close * 100))
    with pytest.raises(PlimsollError, match=r"files to join are 3\.02 d apart"):
        join_series(early, replace(late, ts=late.ts + 3 * 86_400))
    with pytest.raises(PlimsollError, match="files to join alternate without a common time"):
        join_series(early, replace(early, ts=early.ts + 900))


def test_join_series_of_steps_that_do_not_fit():
    with pytest.raises(PlimsollError, match="bars of 45 min do not fit into 60 min"):
        join_series(series(bars(step=2_700)), series(bars(step=3_600)))


@pytest.mark.data
def test_join_series_of_real_files():
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "spot"
    early = load_series(folder / "BTC-USDT_1h.parquet", "BTC", stamp="open")
    late = load_series(folder / "BTC-USDT_30m.parquet", "BTC", stamp="open")
    joined = join_series(early, late, tolerance=0.0)  # both are Binance's: they agree to the cent
    assert (joined.bar_seconds, joined.ts[0], joined.ts[-1]) == (3_600, early.ts[0], late.ts[-1])
    assert len(joined) > len(early) + len(late) // 5
    other = load_series(folder / "ETH-USDT_30m.parquet", "ETH", stamp="open")
    with pytest.raises(PlimsollError, match="files to join differ at 2020-09-20 01:00:00 UTC"):
        join_series(early, other)


# ─── Rounds


def rounds() -> dict[str, Any]:
    ids = [(6 << 64) + i + 1 for i in range(6)]
    times = [T0, T0 + 600, T0 + 600, T0 + 1_800, T0 + 2_400, T0 + 3_000]
    answers = [180_050_000_000 + 10**7 * i for i in range(6)]
    return {"roundId": ids, "answer": answers, "startedAt": times, "updatedAt": times, "answeredInRound": ids}


def write_rounds(path: Path, columns: dict[str, Any]) -> Path:
    wide = {"roundId": pl.Int128, "answeredInRound": pl.Int128}
    frame = pl.DataFrame(columns, schema_overrides=wide)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.cast(pl.String).write_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_load_rounds(tmp_path, suffix):
    found, repairs = load_rounds(write_rounds(tmp_path / f"ETH{suffix}", rounds()))
    assert (found.name, len(found)) == ("ETH", 6)
    assert found.answer[:2].tolist() == [1_800.5, 1_800.6]
    assert (found.phase.tolist(), found.number.tolist()) == ([6] * 6, [1, 2, 3, 4, 5, 6])
    assert found.round_id(5) == (6 << 64) + 6
    assert repairs == (Repair("last of second", "updatedAt", 1, 3),)
    prices = found.series()
    assert prices.ts.tolist() == [T0, T0 + 600, T0 + 1_800, T0 + 2_400, T0 + 3_000]
    assert prices.close.tolist() == [1_800.5, 1_800.7, 1_800.8, 1_800.9, 1_801.0]  # of two in one second, the later


def test_load_rounds_reads_decimals_where_the_file_has_them(tmp_path):
    found, _ = load_rounds(write_rounds(tmp_path / "a.parquet", rounds() | {"decimals": [10] * 6}))
    assert found.answer[0] == pytest.approx(18.005)
    with pytest.raises(PlimsollError, match="decimals must be one whole number up to 36 throughout"):
        load_rounds(write_rounds(tmp_path / "b.parquet", rounds() | {"decimals": [8] * 5 + [18]}))


def test_load_rounds_refuses_an_answer_of_an_earlier_round(tmp_path):
    columns = rounds()
    columns["answeredInRound"] = [*columns["answeredInRound"][:5], (6 << 64) + 2]
    with pytest.raises(PlimsollError, match="row 6: the answer is an earlier round's; drop the rows"):
        load_rounds(write_rounds(tmp_path / "a.csv", columns))


@pytest.mark.data
def test_load_rounds_of_a_real_feed():
    path = Path(os.environ["PLIMSOLL_DATA"]) / "oracle/chainlink_ETH-USD_rounds.parquet"
    found, repairs = load_rounds(path, "ETH")
    assert len(found) == 11_106
    assert [repair.rule for repair in repairs] == ["last of second"]
    prices = found.series()
    assert len(prices) == 11_106 - 5
    assert prices.close[0] == 1_908.18855732


# ─── Funding and depth


def test_load_funding(tmp_path):
    ts = T0 + 28_800 * np.arange(9)
    columns = {"ts": ts, "rate": np.linspace(-0.0001, 0.0001, 9)}
    rows = [0, 2, 1, 3, 4, 5, 6, 7, 8]
    funding, repairs = load_funding(
        write(tmp_path / "BTC.csv", {name: values[rows] for name, values in columns.items()})
    )
    assert (funding.name, len(funding), funding.interval_seconds) == ("BTC", 9, 28_800)
    assert funding.ts.tolist() == ts.tolist()
    assert funding.annualised[0] == pytest.approx(-0.0001 * 3 * 365)
    assert repairs == (Repair("sort", "ts", 1, 3),)
    with pytest.raises(PlimsollError, match="row 4: rate is nan"):
        load_funding(write(tmp_path / "b.parquet", columns | {"rate": [0.0, 0, 0, np.nan, 0, 0, 0, 0, 0]}))
    with pytest.raises(PlimsollError, match=r"row 1: rate is 0\.1, above 5% an interval: percent"):
        load_funding(write(tmp_path / "c.parquet", columns | {"rate": [0.1] * 9}))


def snapshots() -> dict[str, Any]:
    return {
        "timestamp": ["2026-06-15 05:00:00", "2026-06-15 05:00:05.25", "2026-06-15 05:00:05.75", "2026-06-15 05:00:11"],
        "best_bid": [99.0, 99.5, 99.4, 99.0],
        "best_ask": [101.0, 100.5, 100.6, 101.0],
        "bid_volume": [3.0, 4.0, 5.0, 6.0],
        "ask_volume": [6.0, 5.0, 4.0, 3.0],
    }


def test_load_depth(tmp_path):
    depth, repairs = load_depth(write(tmp_path / "BTC.csv", snapshots()))
    start = 1_781_499_600
    assert depth.ts.tolist() == [start, start + 6, start + 11]  # known by then; of one second the last
    assert depth.mid.tolist() == [100.0, 100.0, 100.0]
    assert depth.spread == pytest.approx([0.02, 0.012, 0.02])
    assert depth.value.tolist() == [300.0, 400.0, 300.0]
    assert [repair.rule for repair in repairs] == ["utc"]
    with pytest.raises(PlimsollError, match="row 2: best_bid is at or above best_ask"):
        load_depth(write(tmp_path / "b.csv", snapshots() | {"best_bid": [99.0, 100.5, 99.4, 99.0]}))


def books() -> dict[str, Any]:
    return {
        "timestamp": [T0 * 1_000, T0 * 1_000 - 1_400],
        "expiration_timestamp": [(T0 + 86_400) * 1_000] * 2,
        "instrument_name": ["BTC-14SEP20-9000-P", "BTC-14SEP20-9000-C"],
        "option_type": ["put", "call"],
        "strike": [9_000.0, 9_000.0],
        "underlying_price": [9_100.0, 9_100.0],
        "mark_iv": [80.0, 81.0],
        "best_bid_price": [0.01, 0.0],
        "best_ask_price": [0.02, 0.03],
        "bid_iv": [75.0, 0.0],
        "ask_iv": [85.0, 90.0],
        "bids": ["[[0.01, 2.5], [0.005, 4]]", "[]"],
        "asks": ["[[0.02, 1.0]]", "[[0.03, 7.0]]"],
    }


def test_load_option_books(tmp_path):
    found, repairs = load_option_books(write(tmp_path / "a.csv", books()))
    assert found.ts.tolist() == [T0 - 1, T0]
    put = int(np.flatnonzero(~found.call)[0])
    call = 1 - put
    assert (found.bid[put], found.ask[put], found.bid_amount[put], found.ask_amount[put]) == (0.01, 0.02, 6.5, 1.0)
    assert (found.bid_volatility[put], found.ask_volatility[put], found.levels[put]) == (0.75, 0.85, 3)
    assert np.isnan(found.bid[call])  # nobody bids: neither a price of zero nor a volatility of zero
    assert np.isnan(found.bid_volatility[call])
    assert (found.bid_amount[call], found.expiry[call]) == (0.0, T0 + 86_400)
    assert {repair.rule for repair in repairs} == {"seconds", "sort"}


@pytest.mark.parametrize("levels", ["[[0.01]]", "rubbish", "[[0.01, -1]]", "[[NaN, 1]]", "7"])
def test_load_option_books_refuses_levels_that_are_none(tmp_path, levels):
    columns = books()
    columns["bids"] = [columns["bids"][0], levels]
    with pytest.raises(PlimsollError, match=r"row 2: bids is .* not a list of \[price, amount\] above zero"):
        load_option_books(write(tmp_path / "a.csv", columns))


@pytest.mark.data
def test_load_depth_and_option_books_of_real_files():
    folder = Path(os.environ["PLIMSOLL_DATA"]) / "orderbook"
    depth, _ = load_depth(folder / "BTC-USDT_topbook_5s.parquet", "BTC")
    assert len(depth) == 8_377
    assert 1e-8 < float(np.median(depth.spread)) < 1e-6
    found, _ = load_option_books(folder / "deribit_BTC-options_book_2020-05-21.csv.gz")
    assert len(found) == 326
    assert float(np.nanmedian(found.ask_volatility - found.bid_volatility)) == pytest.approx(0.0369, abs=1e-4)


@pytest.mark.data
def test_load_funding_of_a_real_perpetual():
    funding, repairs = load_funding(Path(os.environ["PLIMSOLL_DATA"]) / "funding/BTC-USDT_8h.parquet")
    assert (len(funding), funding.interval_seconds, repairs) == (3_656, 28_800, ())
    assert 0.05 < float(funding.annualised.mean()) < 0.15
