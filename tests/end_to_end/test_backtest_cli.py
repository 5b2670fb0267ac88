"""`plimsoll backtest` as a user runs it: tables, JSON, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PLIMSOLL = Path(sys.executable).with_name("plimsoll")
HOUR = 3_600


def run(*arguments: object, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PLIMSOLL), "backtest", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices with volatility that wanders: two calm coins, one that doubles in a day again and again, one too short."""
    path = tmp_path_factory.mktemp("prices")
    rng = np.random.default_rng(6)
    n = 24 * 640
    wander = np.cumsum(rng.normal(0.0, 0.01, n))
    scale = 0.005 * np.exp(wander - np.linspace(wander[0], wander[-1], n))
    for name in ("AAA", "BBB", "WILD", "SHORT"):
        moves = scale * rng.standard_t(5, n)
        if name == "WILD":
            moves[24 * 400 :: 24 * 15] += 0.9
            moves[24 * 400 + 200 :: 24 * 15] -= 0.9
        rows = slice(0, 24 * 50 if name == "SHORT" else n)
        ts = 1_577_836_800 + HOUR * np.arange(1, n + 1)
        frame = pl.DataFrame({"ts": ts[rows], "close": 100.0 * np.exp(np.cumsum(moves))[rows]})
        frame.write_parquet(path / f"{name}.parquet")
    return path


def test_backtest_showsEveryCheckInANarrowTerminal(folder: Path) -> None:
    done = run(
        *(folder / f"{name}.parquet" for name in ("AAA", "BBB")), f"CCC={folder}/AAA.parquet", "--only", "rule-evt"
    )
    shown = done.stdout
    assert max(map(len, shown.splitlines())) <= 80
    for word in (
        "steps tested", "exceedances long", "Kupiec p short", "Christoffersen p long", "dynamic quantile p short",
        "Z2 long", "FZ0", "average margin", "1-year peak to trough", "worst 1-day rise", "worst 5-day rise",
        "AAA", "BBB", "CCC", "ewma-normal", "static", "solved", "buffer",
    ):  # fmt: skip
        assert word in shown, word
    assert (done.returncode == 0) == (done.stderr == "")
    assert ("failed" in shown) == ("✗" in shown)


def test_backtest_json_andExitCodeAgree(folder: Path) -> None:
    done = run(folder / "AAA.parquet", folder / "WILD.parquet", "--only", "rule-evt", "--json", "--jobs", "2")
    document = json.loads(done.stdout)
    calm, wild = document["rows"]
    assert (calm["asset"], wild["asset"], wild["passed"]) == ("AAA", "WILD", False)
    assert calm["days"] == wild["days"] > 400
    checks = {check["name"]: check for check in wild["checks"]}
    peak = checks["1-year peak to trough"]
    assert peak["most"] == 1.7
    assert peak["value"] <= 1.7
    failed = {name for name, check in checks.items() if check["passed"] is False}
    assert failed
    assert {model["model"] for model in document["models"]} == {"ewma-normal", "rule-evt"}
    assert {one["tool"] for one in document["frontier"]["summaries"]} >= {"static", "raw", "solved", "buffer, limited"}
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: not passed: ")
    assert "WILD (" in line
    assert all(name in line for name in failed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either price files or --market NAME"),
        (["{folder}/absent.parquet"], "absent.parquet: no such file"),
        (["{folder}/SHORT.parquet"], "SHORT: 50 steps of 86400 s, and 60 are needed"),
        (["{folder}/AAA.parquet", "--model", "tarot"], "no model 'tarot' for this history; known are ewma-normal"),
        (["{folder}/AAA.parquet", "--horizon", "1m"], "a horizon of 60 s cannot be measured on bars of 3600 s"),
        (["{folder}/AAA.parquet", "--horizon", "soon"], "'soon' is not a duration"),
        (["A={folder}/AAA.parquet", "A={folder}/BBB.parquet"], "A: files to join differ at"),
        (["--market", "2021-05", "--data", "{folder}/nowhere"], "nowhere: no such folder"),
    ],
)  # fmt: skip
def test_backtest_refusesInOneLine(
    folder: Path, error_of: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in error_of(run(*(argument.format(folder=folder) for argument in arguments)))
