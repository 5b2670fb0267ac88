"""Loading and checking of option chains."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plimsoll.errors import PlimsollError
from plimsoll.market.chains import load_chains

T0 = 1_772_356_938
DAY = 86_400


def frame(**changes: object) -> pl.DataFrame:
    """Two days of BTC, two strikes each and a put without a bid, and one ETH option; columns replaced, or dropped where
    None."""
    columns: dict[str, object] = {
        "ts": [T0 + DAY, T0, T0, T0, T0],
        "currency": ["BTC", "BTC", "BTC", "BTC", "ETH"],
        "expiry": [T0 + 30 * DAY] * 5,
        "strike": [65_000.0, 70_000.0, 65_000.0, 65_000.0, 2_000.0],
        "cp": ["C", "C", "P", "C", "C"],
        "fwd": [66_000.0, 66_000.0, 66_000.0, 66_000.0, 1_900.0],
        "index": [65_900.0, 65_900.0, 65_900.0, 65_900.0, 1_890.0],
        "bid": [0.05, 0.02, None, 0.05, 0.04],
        "ask": [0.06, 0.025, 0.04, 0.055, 0.05],
        "iv": [0.5, 0.52, 0.55, 0.55, 0.7],
    }
    columns |= changes
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None}, strict=False)


@pytest.fixture(params=["parquet", "csv"])
def write(request, tmp_path):
    def writer(data: pl.DataFrame) -> Path:
        path = tmp_path / f"chain.{request.param}"
        data.write_parquet(path) if request.param == "parquet" else data.write_csv(path)
        return path

    return writer


def test_load_chains_groupsByMomentAndSortsByStrike(write):
    first, second = load_chains(write(frame()), "BTC")
    assert (first.ts, second.ts) == (T0, T0 + DAY)
    assert first.strike.tolist() == [65_000.0, 65_000.0, 70_000.0]
    assert first.call.tolist() == [False, True, True]
    assert np.isnan(first.bid[0])
    assert first.ask.tolist() == [0.04, 0.055, 0.025]
    assert first.tau == pytest.approx([30 / 365] * 3)
    assert first.log_moneyness[2] == pytest.approx(np.log(70 / 66))
    assert first.carry == pytest.approx([np.log(660 / 659) * 365 / 30] * 3)
    assert not first.volatility.flags.writeable


def test_load_chains_keepsTheWindow(write):
    path = write(frame())
    assert [chain.ts for chain in load_chains(path, "BTC", end=T0 + DAY)] == [T0]
    assert [chain.ts for chain in load_chains(path, "BTC", start=T0 + 1)] == [T0 + DAY]


def test_load_chains_leavesOutWhatHasExpired(write):
    (only,) = load_chains(write(frame(expiry=[T0, *[T0 + DAY] * 4])), "BTC")
    assert only.ts == T0


def test_load_chains_withoutIndexHasNoCarry(write):
    chain = load_chains(write(frame(index=None)), "BTC")[0]
    assert np.isnan(chain.carry).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iv": None}, "has no column iv"),
        ({"cp": None, "bid": None}, "has no column cp and no column bid"),
        ({"cp": ["C", "C", "call", "C", "C"]}, "row 3: cp is 'call'; it must be C or P"),
        ({"cp": ["C", "C", None, "C", "C"]}, "row 3: cp is ''; it must be C or P"),
        ({"strike": [1.0, 0.0, 1.0, 2.0, 3.0]}, "row 2: strike is 0; it must be above zero"),
        ({"fwd": [1.0, 1.0, float("nan"), 2.0, 3.0]}, "row 3: fwd is nan; it must be above zero"),
        ({"iv": [0.5, 0.5, 0.5, None, 0.5]}, "row 4: iv is missing"),
        ({"iv": [0.5, 52.0, 0.5, 0.5, 0.5]}, "row 2: iv is 52; that looks like percent, give decimals"),
        ({"index": [1.0, -1.0, 1.0, 1.0, 1.0]}, "row 2: index is -1; it must be above zero"),
        ({"bid": [0.05, -0.02, None, 0.05, 0.04]}, "row 2: bid is -0.02; it must be zero or above, or empty"),
        ({"ask": ["0.06", "x", "0.04", "0.055", "0.05"]}, "row 2: ask is 'x', not a number"),
        ({"expiry": [T0 + 30.5] + [T0 + DAY] * 4}, "row 1: expiry is .*, not a whole number of unix seconds"),
        ({"strike": [1.0, 65_000.0, 70_000.0, 65_000.0, 1.0]}, "row 4: repeats the option of row 2 .BTC .* 65000 C at"),
    ],
)
def test_load_chains_refuses(write, changes, message):
    path = write(frame(**changes))
    with pytest.raises(PlimsollError, match=message) as caught:
        load_chains(path, "BTC")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_chains_refusesAnUnknownUnderlyingAndSaysWhatThereIs(write):
    with pytest.raises(PlimsollError, match=r"has no options of SOL .*found: BTC, ETH"):
        load_chains(write(frame()), "SOL")


@pytest.mark.data
def test_load_chains_readsDeribit():
    path = Path(os.environ["PLIMSOLL_DATA"]) / "options/deribit_BTC-ETH_daily.parquet"
    for underlying in ("BTC", "ETH"):
        chains = load_chains(path, underlying)
        assert len(chains) == 92
        assert all(np.unique(chain.expiry).size >= 10 for chain in chains)
        assert all(chain.tau.min() > 0 and chain.tau.max() < 1.01 for chain in chains)
