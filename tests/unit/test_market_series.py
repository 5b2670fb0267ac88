"""Loading, checking, resampling and hashing of price series."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.market import data_hash, load_series, make_series, resample

T0 = 1_600_000_000 - 1_600_000_000 % 3_600


def frame(**changes: object) -> pl.DataFrame:
    """Five good hourly bars, with columns replaced, or dropped where None."""
    columns: dict[str, object] = {
        "ts": [T0 + 3_600 * i for i in range(5)],
        "open": [100.0, 101.0, 102.0, 101.0, 103.0],
        "high": [102.0, 103.0, 104.0, 103.0, 105.0],
        "low": [99.0, 100.0, 100.0, 100.0, 101.0],
        "close": [101.0, 102.0, 101.0, 103.0, 104.0],
        "volume": [1.5, 2.0, 0.0, 3.25, 4.0],
    }
    columns |= changes
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None}, strict=False)


@pytest.fixture(params=["parquet", "csv"])
def write(request, tmp_path):
    def writer(data: pl.DataFrame):
        path = tmp_path / f"BTC.{request.param}"
        data.write_parquet(path) if request.param == "parquet" else data.write_csv(path)
        return path

    return writer


def test_load_series_reads_every_column(write):
    series = load_series(write(frame()))
    assert series.name == "BTC"
    assert series.bar_seconds == 3_600
    assert series.ts.tolist() == [T0 + 3_600 * i for i in range(5)]
    assert series.close.tolist() == [101.0, 102.0, 101.0, 103.0, 104.0]
    assert series.low is not None
    assert series.low.tolist() == [99.0, 100.0, 100.0, 100.0, 101.0]
    assert not series.close.flags.writeable


def test_load_series_opening_stamp_moves_to_when_the_close_is_known(write):
    path = write(frame())
    assert load_series(path, stamp="open").ts.tolist() == (load_series(path).ts + 3_600).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"close": None}, "has no column close"),
        ({"ts": None}, "has no column ts"),
        ({"close": ["1", "2", "abc", "4", "5"], "low": None, "high": None}, "row 3: close is 'abc', not a number"),
        ({"close": [101.0, float("nan"), 101.0, 103.0, 104.0]}, "row 2: close is nan"),
        ({"close": [101.0, 102.0, 101.0, float("inf"), 104.0]}, "row 4: close is inf"),
        ({"close": [101.0, None, 101.0, 103.0, 104.0]}, "row 2: close is missing"),
        ({"close": [101.0, 102.0, 0.0, 103.0, 104.0]}, "row 3: close is 0; it must be above zero"),
        ({"close": [101.0, 102.0, -7.0, 103.0, 104.0]}, "row 3: close is -7; it must be above zero"),
        ({"volume": [1.0, -1.0, 1.0, 1.0, 1.0]}, "row 2: volume is -1; it must not be negative"),
        ({"ts": [T0, T0 + 2, T0 + 1, T0 + 3, T0 + 4]}, f"row 3: ts {T0 + 1} is before row 2's {T0 + 2}"),
        ({"ts": [T0, T0 + 2, T0 + 2, T0 + 3, T0 + 4]}, f"row 3: ts {T0 + 2} repeats row 2's"),
        ({"ts": [(T0 + i) * 1_000 for i in range(5)]}, "row 1: ts .* looks like milliseconds"),
        ({"ts": [-1, 2, 3, 4, 5]}, "row 1: ts -1 is negative"),
        ({"ts": [1.0, 2.5, 3.0, 4.0, 5.0]}, "row 2: ts is '2.5', not a whole number of unix seconds"),
        ({"ts": ["1", "nan", "3", "4", "5"]}, "row 2: ts is 'nan', not a whole number of unix seconds"),
        ({"low": [99.0, 102.5, 100.0, 100.0, 101.0]}, "row 2: low 102.5 is above open 101"),
        ({"low": [99.0, 101.0, 101.5, 100.0, 101.0]}, "row 3: low 101.5 is above close 101"),
        ({"high": [102.0, 101.5, 104.0, 103.0, 105.0]}, "row 2: high 101.5 is below close 102"),
    ],
)
def test_load_series_refuses(write, changes, message):
    path = write(frame(**changes))
    with pytest.raises(PlimsollError, match=message) as caught:
        load_series(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_series_refuses_dates_and_says_what_it_wants(tmp_path):
    path = tmp_path / "x.parquet"
    frame().with_columns(pl.from_epoch("ts")).write_parquet(path)
    with pytest.raises(PlimsollError, match=r"column ts holds Datetime.*, not unix seconds; convert it"):
        load_series(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", None, "no such file"),
        ("a.parquet", b"", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"ts,close\n", "has no rows"),
        ("a.csv", b"ts,close\n1,2\n", "has 1 rows; a series needs at least 2"),
        ("a.parquet", b"PAR1 this is not parquet PAR1", "cannot be read"),
        ("a.csv", b"ts,close\n1,2\n2,3,4,5\n", "cannot be read"),
        ("a.csv", bytes(range(128, 256)), "has no column ts and no column close"),
        ("a.xlsx", b"anything", "is neither .parquet nor .csv"),
    ],
)
def test_load_series_refuses_unreadable_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PlimsollError, match=message) as caught:
        load_series(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_data_hash_is_the_same_for_every_file_format(tmp_path):
    data = frame(volume=[0.1, 1 / 3, 2e7, 3.3, 4.4]).with_columns(pl.col("volume").cast(pl.Float32))
    data.write_parquet(tmp_path / "BTC.parquet", compression="zstd")
    data.write_csv(tmp_path / "BTC.csv")
    assert data_hash(load_series(tmp_path / "BTC.parquet")) == data_hash(load_series(tmp_path / "BTC.csv"))


def test_data_hash_changes_with_any_value_and_not_with_order():
    def series(name: str, last: float, ts: int = 3):
        return make_series(name, np.array([1, 2, ts]), np.array([1.0, 2.0, last]))

    one, two = series("A", 3.0), series("B", 3.0)
    assert data_hash(one, two) == data_hash(two, one)
    others = [series("A", np.nextafter(3.0, 4.0)), series("A", 3.0, ts=4), two]
    assert len({data_hash(one), *(data_hash(other) for other in others)}) == 4
    assert data_hash(one, two) != data_hash(others[0], two)


@given(
    gaps=st.lists(st.integers(1, 500), min_size=5, max_size=60),
    seconds=st.sampled_from([600, 3_600]),
    seed=st.integers(0, 2**32 - 1),
)
def test_resample_equals_its_definition(gaps, seconds, seed):
    ts = T0 + np.cumsum(np.array([*gaps, 4_000, 1]))  # always spans more than one bucket
    rng = np.random.default_rng(seed)
    prices = np.sort(rng.uniform(1, 2, (len(ts), 4)), axis=1)
    volume = rng.uniform(0, 1, len(ts))
    series = make_series("X", ts, prices[:, 1], open=prices[:, 2], high=prices[:, 3], low=prices[:, 0], volume=volume)
    if series.bar_seconds > seconds:
        return
    coarse = resample(series, seconds)
    assert coarse.bar_seconds == seconds
    assert coarse.open is not None
    assert coarse.high is not None
    assert coarse.low is not None
    assert coarse.volume is not None
    assert coarse.volume.sum() == pytest.approx(volume.sum())
    for i, g in enumerate(coarse.ts):
        rows = np.flatnonzero((ts > g - seconds) & (ts <= g))
        assert g % seconds == 0
        assert coarse.close[i] == prices[rows[-1], 1]
        assert coarse.open[i] == prices[rows[0], 2]
        assert coarse.high[i] == prices[rows, 3].max()
        assert coarse.low[i] == prices[rows, 0].min()


def test_resample_refuses_a_finer_step(write):
    with pytest.raises(PlimsollError, match="cannot resample 3600 s bars to 60 s"):
        resample(load_series(write(frame())), 60)


def test_between_is_half_open_and_refuses_an_empty_window(write):
    series = load_series(write(frame()))
    assert series.between(T0 + 3_600, T0 + 4 * 3_600).close.tolist() == [102.0, 101.0, 103.0]
    with pytest.raises(PlimsollError, match="fewer than 2 prices"):
        series.between(T0 + 10**6)
