"""Every defect of market data by name: the message a person needs, and what is done about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.market.checks import Check, check_file

if TYPE_CHECKING:
    from plimsoll.market.defects import Finding

T0 = 1_600_000_000 - 1_600_000_000 % 86_400
N = 400


def bars(step: int = 3_600, rows: int = N) -> dict[str, Any]:
    """Good bars around 100 with a volatility of 0.5% a bar."""
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(0.005 * rng.standard_normal(rows)))
    opened = np.append(100.0, close[:-1])
    return {
        "ts": T0 + step * np.arange(rows),
        "open": opened,
        "high": np.maximum(opened, close) * 1.001,
        "low": np.minimum(opened, close) * 0.999,
        "close": close,
        "volume": 1 + rng.random(rows),
    }


def closes(**changes: Any) -> dict[str, Any]:
    """Only ts and close, so that a change of one needs no other."""
    good = bars()
    return {"ts": good["ts"], "close": good["close"], **changes}


@pytest.fixture(params=["parquet", "csv"])
def check(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Write columns and check the file."""

    def run(columns: dict[str, Any], kind: str | None = None) -> Check:
        path = tmp_path / f"data.{request.param}"
        frame = pl.DataFrame(columns, strict=False)
        frame.write_parquet(path) if request.param == "parquet" else frame.write_csv(path)
        return check_file(path, kind)

    return run


def only(found: Check, kind: str) -> Finding:
    """The one finding, of that kind."""
    assert [finding.kind for finding in found.findings] == [kind]
    return found.findings[0]


def of_kind(found: Check, kind: str) -> Finding:
    """The one finding of that kind, beside others."""
    (finding,) = [finding for finding in found.findings if finding.kind == kind]
    return finding


def changed(values: Any, row: int, value: Any) -> Any:
    """The values with one row (from 1) replaced."""
    copy = np.array(values)
    copy[row - 1] = value
    return copy


def test_check_good_bars(check):
    found = check(bars())
    assert (found.kind, found.rows, found.step, found.findings) == ("bars", N, 3_600, ())
    assert (found.start, found.end) == (T0, T0 + 3_600 * (N - 1))
    assert found.passed


# ─── Rows in time


def test_check_gaps(check):
    keep = np.ones(N, dtype=bool)
    keep[[10, 50, 51, 52]] = False
    finding = only(check({name: values[keep] for name, values in bars().items()}), "gaps")
    assert (finding.row, finding.count, finding.outcome) == (11, 2, "kept")
    assert finding.message == (
        "2 gaps where rows are usually 60 min apart; the longest, 4 h, begins at 2020-09-15 01:00:00 UTC; 1.00% of all "
        "rows are missing"
    )


def test_check_identical_rows(check):
    rows = np.insert(np.arange(N), [20, 30], [19, 29])
    finding = only(check({name: values[rows] for name, values in bars().items()}), "duplicates")
    assert (finding.row, finding.count, finding.outcome) == (21, 2, "repaired by rule identical")
    assert "2 repetitions of an earlier row in every column, the first at 2020-09-13 19:00:00 UTC" in finding.message


def test_check_conflicting_rows(check):
    good = bars()
    rows = np.insert(np.arange(N), 20, 19)
    columns = {name: values[rows] for name, values in good.items()}
    columns["volume"] = changed(columns["volume"], 21, 55.0)
    finding = only(check(columns), "conflicting duplicates")
    assert (finding.count, finding.outcome) == (1, "refused")
    assert (
        "1 row with the time of another row and other values, the first at 2020-09-13 19:00:00 UTC" in finding.message
    )


def test_check_wrong_order(check):
    rows = np.arange(N)
    rows[[100, 101]] = [101, 100]
    finding = only(check({name: values[rows] for name, values in bars().items()}), "wrong order")
    assert (finding.row, finding.count, finding.outcome) == (102, 1, "repaired by rule sort")
    assert finding.message == "time goes back 1 time, first by 60 min at 2020-09-17 04:00:00 UTC"


def test_check_a_clock_that_goes_back(check):
    """Half of the file is an hour behind: the hours around the seam are there twice, with other prices."""
    good = bars(step=900)
    good["ts"] = np.where(np.arange(N) < 200, good["ts"], good["ts"] - 3_600)
    found = check(good)
    assert {finding.kind for finding in found.findings} == {"conflicting duplicates", "mixed time zones"}
    finding = of_kind(found, "mixed time zones")
    assert (finding.row, finding.count, finding.outcome) == (201, 1, "refused")
    assert "the clock goes back from 2020-09-15 01:45:00 UTC to 2020-09-15 01:00:00 UTC" in finding.message


def test_check_a_grid_that_moves_by_hours(check):
    good = bars(step=14_400)
    good["ts"] = good["ts"] + np.where(np.arange(N) < 300, 0, 3_600 * 5)
    found = check(good)
    finding = of_kind(found, "mixed time zones")
    assert (finding.row, finding.count, finding.outcome) == (301, 1, "refused")
    assert "bars of 4 h move by +1 h at 2020-11-02 05:00:00 UTC" in finding.message


def test_check_sessions_on_a_local_clock_are_kept(check):
    """Daily closes of an exchange with summer time."""
    good = bars(step=86_400)
    summer = (np.arange(N) // 180) % 2 == 1
    good["ts"] = good["ts"] + 75_600 - np.where(summer, 3_600, 0)
    finding = of_kind(check(good), "local clock")
    assert finding.outcome == "kept"
    assert "and back (2 times), as sessions do that follow a local clock" in finding.message


def test_check_rows_off_the_grid(check):
    finding = of_kind(check(bars() | {"ts": changed(bars()["ts"], 7, T0 + 6 * 3_600 + 17)}), "off the grid")
    assert (finding.row, finding.count, finding.outcome) == (7, 1, "kept")


# ─── Time itself


def text(rows: int, form: str, shift: int = 0) -> list[str]:
    return [str(np.datetime64(T0 + shift + 3_600 * i, "s")) + form for i in range(rows)]


def test_check_dates_with_several_offsets(check):
    finding = only(check(closes(ts=text(300, "+00:00") + text(N, "+02:00", 7_200)[300:])), "mixed time zones")
    assert (finding.row, finding.count, finding.outcome) == (301, 100, "repaired by rule utc")
    assert finding.message == "ts has dates with several offsets from UTC: +0 h in 300 rows, +2 h in 100 rows"


def test_check_dates_with_and_without_an_offset(check):
    finding = only(check(closes(ts=text(300, "Z") + text(N, "")[300:])), "mixed time zones")
    assert (finding.row, finding.count, finding.outcome) == (301, 100, "refused")
    assert "dates without an offset from UTC between dates with one" in finding.message


def test_check_dates_without_a_time_zone(check):
    found = check(closes(ts=text(N, "")))
    finding = only(found, "no time zone")
    assert (finding.count, finding.outcome) == (N, "repaired by rule utc")
    assert (found.start, found.step) == (T0, 3_600)


def test_check_a_date_that_is_none(check):
    dates = text(N, "Z")
    dates[4] = "2020-13-45T00:00:00Z"
    finding = of_kind(check(closes(ts=dates)), "bad cells")
    assert (finding.row, finding.count, finding.outcome) == (5, 1, "refused")
    assert (
        "ts is '2020-13-45T00:00:00Z', not a time; give unix seconds or dates as 2024-01-31T12:00:00Z"
        in finding.message
    )


@pytest.mark.parametrize(("unit", "scale"), [("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)])
def test_check_another_unit_of_time_throughout(check, unit, scale):
    found = check(closes(ts=bars()["ts"] * scale))
    finding = only(found, "other unit")
    assert (finding.message, finding.outcome) == (f"ts is in {unit} throughout", "repaired by rule seconds")
    assert (found.start, found.step) == (T0, 3_600)


def test_check_mixed_units_of_time(check):
    ts = bars()["ts"].copy()
    ts[300:] *= 1_000
    finding = only(check(closes(ts=ts)), "mixed units")
    assert (finding.row, finding.count, finding.outcome) == (301, 100, "refused")
    assert finding.message == "ts is seconds in 300 rows, milliseconds in 100 rows; give seconds throughout"


def test_check_dates_between_numbers(check):
    ts = [*map(str, bars()["ts"][:399]), "2020-09-30T00:00:00Z"]
    finding = only(check(closes(ts=ts)), "mixed units")
    assert (finding.row, finding.count, finding.outcome) == (400, 1, "refused")
    assert "ts is a number in 399 rows and a date in 1; give one" in finding.message


@pytest.mark.parametrize(
    ("ts", "kind", "message"),
    [
        (-1.0, "negative", "ts is before 1970; give unix seconds"),
        (np.nan, "not finite", "ts is nan; fill or drop the rows"),
        (T0 + 0.5, "fractions of a second", "ts is not a whole second; round it to the bar's end"),
    ],
)
def test_check_bad_times(check, ts, kind, message):
    finding = of_kind(check(closes(ts=changed(bars()["ts"].astype(float), 1, ts))), kind)
    assert (finding.row, finding.count, finding.outcome, finding.message) == (1, 1, "refused", message)


# ─── Values


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (np.nan, "not finite", "close is nan; fill or drop the rows"),
        (np.inf, "not finite", "close is inf; fill or drop the rows"),
        (None, "missing", "close is missing; fill or drop the rows"),
        (0.0, "zero", "close is zero; correct or drop the rows"),
        (-3.0, "negative", "close is below zero; correct or drop the rows"),
    ],
)
def test_check_values_that_are_no_price(check, value, kind, message):
    close = bars()["close"].tolist()
    close[8] = close[10] = value
    finding = of_kind(check(closes(close=close)), kind)
    assert (finding.row, finding.count, finding.outcome, finding.message) == (9, 2, "refused", message)


def test_check_text_between_numbers(check):
    close = [f"{value}" for value in bars()["close"]]
    close[3] = "n/a"
    finding = of_kind(check(closes(close=close)), "bad cells")
    assert (finding.row, finding.outcome) == (4, "refused")
    assert finding.message == "close is 'n/a', not a number; correct the rows"


def test_check_a_column_of_another_type(tmp_path):
    pl.DataFrame(closes(close=[True] * N)).write_parquet(tmp_path / "a.parquet")
    finding = of_kind(check_file(tmp_path / "a.parquet"), "bad column type")
    assert (finding.count, finding.outcome) == (N, "refused")
    assert finding.message == "close holds Boolean, not numbers; convert the column"


def test_check_bars_out_of_order(check):
    good = bars()
    good["low"] = changed(good["low"], 12, good["high"][11] * 1.01)
    finding = check(good).findings[0]
    assert (finding.kind, finding.row, finding.count, finding.outcome) == ("bar out of order", 12, 1, "refused")
    assert f"low {good['low'][11]:g} is above high {good['high'][11]:g}; correct the rows" in finding.message


def test_check_negative_volume_and_zero_volume(check):
    volume = bars()["volume"]
    volume[4:7] = 0.0
    volume[9] = -1.0
    found = check(bars() | {"volume": volume})
    zero, negative = of_kind(found, "zero volume"), of_kind(found, "negative")
    assert (zero.row, zero.count, zero.outcome, negative.outcome) == (5, 3, "kept", "refused")
    assert "3 rows without volume (0.75%); longest 3 in a row from 2020-09-13 04:00:00 UTC" in zero.message


def test_check_a_spike_is_kept(check):
    close = bars()["close"]
    finding = only(check(closes(close=changed(close, 200, close[198] * 1.5))), "spikes")
    assert (finding.row, finding.count, finding.outcome) == (200, 1, "kept")
    assert "row 200 at 2020-09-21 07:00:00 UTC; they may be real, compare another source" in finding.message


def test_check_a_crash_that_stays_is_no_defect(check):
    close = bars()["close"]
    close[200:] *= 0.5
    assert check(closes(close=close)).findings == ()


@pytest.mark.parametrize("factor", [100.0, 0.01, 1e-8])
def test_check_a_scale_jump(check, factor):
    close = bars()["close"]
    close[200:] *= factor
    finding = only(check(closes(close=close)), "mixed units")
    assert (finding.row, finding.count, finding.outcome) == (201, 1, "refused")
    assert f"close goes from {close[199]:g} to {close[200]:g} at 2020-09-21 08:00:00 UTC" in finding.message
    assert f"by a factor of {close[200] / close[199]:.3g}, a power of ten" in finding.message


def test_check_one_row_in_another_scale(check):
    close = bars()["close"]
    finding = only(check(closes(close=changed(close, 200, close[199] * 100))), "mixed units")
    assert (finding.row, finding.count, finding.outcome) == (200, 2, "refused")  # there and back


def test_check_an_inverse_price(check):
    close = bars()["close"] * 0.3
    close[200:] = 1 / close[200:]
    finding = only(check(closes(close=close)), "mixed units")
    assert (finding.row, finding.outcome) == (201, "refused")
    assert "to one over the price: the quotation is turned round" in finding.message


def test_check_another_currency(check):
    close = bars()["close"]
    close[200:] *= 147.0
    finding = only(check(closes(close=close)), "mixed units")
    assert (finding.row, finding.count, finding.outcome) == (201, 1, "refused")
    assert "and stays: another currency, unit or asset; give one" in finding.message


def test_check_a_frozen_price(check):
    close = bars()["close"]
    close[100:130] = close[100]
    finding = only(check(closes(close=close)), "frozen")
    assert (finding.row, finding.count, finding.outcome) == (101, 30, "kept")
    assert (
        "1 time the price stands still for 12 rows or more; longest 30 rows from 2020-09-17 04:00:00" in finding.message
    )


def test_check_a_price_that_never_moves(check):
    finding = only(check(closes(close=np.full(N, 7.0))), "frozen")
    assert (finding.count, finding.outcome) == (N, "refused")
    assert finding.message == "close is 7 in every row: it says nothing about risk"


def test_check_names_every_defect(check):
    """Not only the first: eight faults at once, each found where it is."""
    good = bars()
    good["close"] = changed(changed(good["close"], 9, np.nan), 30, -1.0)
    good["high"] = changed(good["high"], 50, 1.0)
    good["volume"] = changed(changed(good["volume"], 60, 0.0), 61, -2.0)
    rows = np.delete(np.arange(N), [99, 300])
    rows[[200, 201]] = rows[[201, 200]]
    found = check({name: values[rows] for name, values in good.items()})
    assert {(finding.kind, finding.column, finding.row) for finding in found.findings} >= {
        ("not finite", "close", 9),
        ("negative", "close", 30),
        ("bar out of order", "low", 50),
        ("zero volume", "volume", 60),
        ("negative", "volume", 61),
        ("gaps", "ts", 100),
        ("wrong order", "ts", 202),
    }
    assert not found.passed


# ─── Other kinds


def test_check_volatility_in_percent_and_decimals(check):
    level = 60 + 5 * np.sin(np.arange(N) / 9)
    assert check({"ts": bars()["ts"], "dvol_close": level}).findings == ()
    assert check({"ts": bars()["ts"], "close": level / 100}, "volatility").findings == ()
    found = check({"ts": bars()["ts"], "dvol_close": np.where(np.arange(N) < 350, level, level / 100)})
    findings = [finding for finding in found.findings if "as percent are" in finding.message]
    assert (findings[0].row, findings[0].count, findings[0].outcome) == (351, 50, "refused")
    assert findings[0].message == (
        "dvol_close is above 5 in 350 rows, as percent are, and not in 50, as decimals are; give one"
    )


def chain() -> dict[str, list[Any]]:
    strikes = [80.0, 90.0, 100.0, 110.0]
    return {
        "ts": [T0] * 8,
        "currency": ["BTC"] * 8,
        "expiry": [T0 + 86_400 * 7] * 8,
        "strike": strikes * 2,
        "cp": ["C"] * 4 + ["P"] * 4,
        "fwd": [100.0] * 8,
        "bid": [0.2, 0.12, 0.05, 0.02] * 2,
        "ask": [0.21, 0.13, 0.06, 0.03] * 2,
        "iv": [0.6] * 8,
    }


@pytest.mark.parametrize(
    ("column", "value", "kind", "message", "outcome"),
    [
        ("iv", 60.0, "mixed units", "iv is above 5 in 1 rows, as percent are", "refused"),
        ("cp", "X", "bad cells", "cp is neither C nor P", "refused"),
        ("strike", 0.0, "zero", "strike is zero", "refused"),
        ("bid", 0.3, "crossed quotes", "bid is above ask", "kept"),
        ("bid", None, "no quote", "12.5% of options lack a bid or an ask", "kept"),
        ("ask", -0.1, "negative", "ask is below zero", "refused"),
        (
            "expiry",
            (T0 + 86_400 * 7) * 1_000,
            "mixed units",
            "expiry is seconds in 7 rows, milliseconds in 1",
            "refused",
        ),
        ("expiry", T0 - 1, "expired", "the option has expired at its snapshot", "kept"),
        ("strike", 90.0, "conflicting duplicates", "1 row with the time of another row", "refused"),
    ],
)
def test_check_chains(check, column, value, kind, message, outcome):
    assert check(chain()).findings == ()
    columns = chain()
    columns[column][2] = value
    finding = of_kind(check(columns), kind)
    assert finding.message.startswith(message)
    assert finding.outcome == outcome


def depth() -> dict[str, Any]:
    mid = bars()["close"]
    return {
        "timestamp": [f"2026-06-15 {5 + i // 720:02d}:{i // 12 % 60:02d}:{i % 12 * 5:02d}.25" for i in range(N)],
        "best_bid": mid - 0.01,
        "best_ask": mid + 0.01,
        "bid_volume": np.full(N, 3.0),
        "ask_volume": np.full(N, 2.0),
    }


def test_check_depth(check):
    found = check(depth())
    assert only(found, "no time zone").rule == "utc"
    crossed = depth()
    crossed["best_bid"] = changed(crossed["best_bid"], 40, crossed["best_ask"][39])
    finding = of_kind(check(crossed), "crossed book")
    assert (finding.row, finding.outcome) == (40, "refused")
    assert finding.message == "best_bid is at or above best_ask: two moments in one row; drop the rows"
    silent = {name: np.delete(np.asarray(values), range(100, 150)) for name, values in depth().items()}
    assert "1 gap where rows are usually 5 s apart; the longest, 4.25 min" in of_kind(check(silent), "gaps").message


def test_check_funding_in_percent(check):
    rate = 0.0001 * np.sin(np.arange(N))
    ts = T0 + 28_800 * np.arange(N)
    assert check({"ts": ts, "rate": rate}).findings == ()
    finding = only(check({"ts": ts, "rate": changed(rate, 5, 0.4)}), "mixed units")
    assert (finding.row, finding.outcome) == (5, "refused")
    assert finding.message == "rate is 0.4, above 5% an interval: percent? give decimals"
    assert of_kind(check({"ts": ts, "rate": changed(rate, 5, np.nan)}), "not finite").outcome == "refused"


def rounds() -> dict[str, Any]:
    """Eight rounds, the second half of another phase; ids beyond 64 bits."""
    ids = [(6 + i // 4 << 64) + i % 4 + 1 for i in range(8)]
    times = [T0 + 600 * i for i in range(8)]
    return {
        "roundId": ids,
        "answer": [10**11 + 10**8 * i for i in range(8)],
        "startedAt": times,
        "updatedAt": times.copy(),
        "answeredInRound": ids.copy(),
    }


def check_rounds(tmp_path: Path, columns: dict[str, Any]) -> Check:
    wide = {"roundId": pl.Int128, "answeredInRound": pl.Int128}
    pl.DataFrame(columns, schema_overrides=wide).write_parquet(tmp_path / "rounds.parquet")
    found = check_file(tmp_path / "rounds.parquet")
    pl.DataFrame(columns, schema_overrides=wide).cast(pl.String).write_csv(tmp_path / "rounds.csv")
    assert check_file(tmp_path / "rounds.csv").findings == found.findings
    return found


@pytest.mark.parametrize(
    ("column", "row", "value", "kind", "message", "outcome"),
    [
        ("updatedAt", 3, T0 + 600, "shared updatedAt", "1 round with the updatedAt of the one before", "repaired"),
        ("answer", 3, 0, "zero", "answer is zero", "refused"),
        ("answer", 3, -5, "negative", "answer is below zero", "refused"),
        ("answer", 3, 10**13, "mixed units", "answer goes from 1.001e+11 to 1e+13", "refused"),
        ("updatedAt", 3, 0, "incomplete rounds", "updatedAt is 0: the round has no answer", "refused"),
        ("updatedAt", 3, T0 + 10**5, "wrong order", "a later round has an earlier updatedAt", "refused"),
        ("startedAt", 3, T0 + 1_900, "wrong order", "startedAt is after updatedAt", "refused"),
        ("answeredInRound", 3, (6 << 64) + 2, "stale answers", "the answer is an earlier round's", "refused"),
        ("roundId", 4, (6 << 64) + 9, "missing rounds", "5 rounds missing between others of a phase", "kept"),
        ("roundId", 4, (6 << 64) + 3, "conflicting duplicates", "the round is there twice", "refused"),
    ],
)
def test_check_rounds(tmp_path, column, row, value, kind, message, outcome):
    assert check_rounds(tmp_path, rounds()).findings == ()
    columns = rounds()
    columns[column][row - 1] = value
    if column == "roundId":
        columns["answeredInRound"][row - 1] = value
    findings = [finding for finding in check_rounds(tmp_path, columns).findings if finding.kind == kind]
    matching = [finding for finding in findings if finding.message.startswith(message)]
    assert [finding.action for finding in matching] == [outcome]


# ─── Files


def test_check_file_that_is_of_no_kind(tmp_path):
    pl.DataFrame({"a": [1], "b": [2]}).write_csv(tmp_path / "a.csv")
    with pytest.raises(PlimsollError, match=r"a\.csv: its columns \(a, b\) are no known kind; rename them"):
        check_file(tmp_path / "a.csv")


def test_check_file_of_another_kind_than_told(tmp_path):
    pl.DataFrame(closes()).write_csv(tmp_path / "a.csv")
    with pytest.raises(PlimsollError, match="has no column rate, which funding data need"):
        check_file(tmp_path / "a.csv", "funding")


@pytest.mark.data
def test_check_passes_real_files_and_names_what_is_odd_about_them():
    folder = Path(os.environ["PLIMSOLL_DATA"])
    files = sorted(path for path in folder.rglob("*") if path.name.endswith((".parquet", ".csv.gz")))
    found = {path.relative_to(folder).as_posix(): check_file(path) for path in files}
    assert [name for name, one in found.items() if not one.passed] == []
    hourly, half = found["spot/BTC-USDT_1h.parquet"], found["spot/BTC-USDT_30m.parquet"]
    assert "27 gaps" in of_kind(hourly, "gaps").message
    assert "the longest, 34 h" in of_kind(hourly, "gaps").message
    assert "10 gaps" in of_kind(half, "gaps").message
    # false news of an ETF on 16 October 2023: a real spike, so it is told and kept
    assert of_kind(half, "spikes").row == 53_790
    crash = [one for name, one in found.items() if name.startswith("crash/2022")]
    assert [one.findings for one in crash] == [()] * len(crash)
    assert of_kind(found["oracle/chainlink_ETH-USD_rounds.parquet"], "shared updatedAt").count == 5
