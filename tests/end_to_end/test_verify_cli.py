"""`plimsoll verify`: a report against its data and against a chain."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from plimsoll.calibration import Report
from plimsoll.chain.client import Chain, Sender
from plimsoll.governance.push import push

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    ErrorOf = Callable[[CompletedProcess[str]], str]

DEPLOYER = Sender.dev(0)
HOUR = 3_600


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year of made-up hourly prices of two assets, and the same with one price changed."""
    folder = tmp_path_factory.mktemp("prices")
    rng = np.random.default_rng(3)
    common = rng.standard_t(4, 8_760) * 0.006
    ts = np.arange(8_760) * HOUR + 1_577_836_800
    for name in ("BTC", "ETH"):
        close = 100.0 * np.exp(np.cumsum(common + rng.standard_t(4, 8_760) * 0.003))
        pl.DataFrame({"ts": ts, "close": close}).write_parquet(folder / f"{name}.parquet")
        close[5_000] *= 1.001
        pl.DataFrame({"ts": ts, "close": close}).write_parquet(folder / f"{name}-other.parquet")
    return folder


@pytest.fixture(scope="module")
def report(prices: Path) -> Path:
    """Of the market that the deployed house accepts."""
    from plimsoll.calibration import calibrate
    from plimsoll.market import load_series

    path = prices / "report.json"
    calibrate("2020-03", {name: load_series(prices / f"{name}.parquet") for name in ("BTC", "ETH")}).save(path)
    return path


@pytest.fixture
def verify(run_plimsoll: Run) -> Run:
    return partial(run_plimsoll, "verify", PLIMSOLL_DATA="")


def test_verify_saysEqual(prices: Path, report: Path, verify: Run) -> None:
    done = verify(report, prices / "BTC.parquet", prices / "ETH.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    document = Report.load(report)
    assert f"data: equal, every byte recomputed from {document.data_hash}" in done.stdout
    assert document.hash in done.stdout


def test_verify_namesTheSeriesThatDiffersFirst(prices: Path, report: Path, verify: Run) -> None:
    done = verify(report, prices / "BTC.parquet", f"ETH={prices / 'ETH-other.parquet'}")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "." in line]
    found = [line.split()[0] for line in lines if line.startswith(("data.", "parameters.", "evidence.", "coverage"))]
    assert found[0] == "data.assets.ETH.hash"
    assert not any(path.startswith("data.assets.BTC") for path in found)
    assert any(path.startswith("parameters.assets.ETH.tail_initial") for path in found)
    (line,) = done.stderr.strip().splitlines()
    assert "is not verified" in line
    assert "values differ from what the data gives" in line


def changed(report: Path, out: Path, *path: str, value: object) -> Path:
    """A report that is in order in itself, with one number or word altered."""
    document = json.loads(report.read_bytes())
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    out.write_bytes((json.dumps(document, sort_keys=True, indent=1) + "\n").encode())
    return out


def test_verify_findsOneAlteredNumber(prices: Path, report: Path, verify: Run, tmp_path: Path) -> None:
    forged = changed(report, tmp_path / "forged.json", "parameters", "assets", "BTC", "tail_initial", value=2.7)
    done = verify(forged, prices / "BTC.parquet", prices / "ETH.parquet")
    assert done.returncode == 1
    assert "parameters.assets.BTC.tail_initial" in done.stdout
    assert "1 values differ" in done.stderr


def test_verify_saysOtherCode(prices: Path, report: Path, verify: Run, tmp_path: Path) -> None:
    older = changed(report, tmp_path / "older.json", "code_version", value="0.0.1")
    done = verify(older, prices / "BTC.parquet", prices / "ETH.parquet")
    assert done.returncode == 1
    assert "code_version" in done.stdout
    assert "0.0.1" in done.stdout


def test_verify_withAChain(
    chain: Chain, house: Any, prices: Path, report: Path, verify: Run, error_of: ErrorOf, undo: None
) -> None:
    """Before any push, after one, and when the report has arrived; the data is not needed for it."""
    document, system = Report.load(report), house.system
    on_chain = ("--network", "local", "--manifest", house.manifest)
    before = verify(report, *on_chain)
    assert "the last push was of another report" in before.stdout
    assert "the chain's last push was not of this report" in before.stderr
    push(system, document, DEPLOYER)
    during = verify(report, *on_chain)
    assert (during.returncode, during.stderr) == (0, "")
    assert "the last push was of this report" in during.stdout
    assert "on the way, step limit" in during.stdout or "on the way, not before" in during.stdout
    assert "0 different" in during.stdout
    for _ in range(80):
        plan = push(system, document, DEPLOYER).plan
        if all(row.old == min(max(row.target, row.minimum), row.maximum) for row in plan.rows):
            break
        chain.set_time(chain.block().timestamp + 25 * HOUR)  # what loosens waits a day
        for feed in (*system.price_feeds.values(), *system.volatility_feeds.values()):
            chain.send(feed.push(chain.read(feed.latestRoundData())[1]), DEPLOYER)
    after = verify(report, prices / "BTC.parquet", prices / "ETH.parquet", *on_chain)
    assert after.returncode == 0, after.stderr
    assert "0 different" in after.stdout
    assert "data: equal" in after.stdout
    assert "step limit" not in after.stdout


def test_verify_withAnotherReportOnTheChain(house: Any, report: Path, verify: Run, tmp_path: Path, undo: None) -> None:
    other = changed(report, tmp_path / "other.json", "parameters", "assets", "BTC", "volatility_cap", value=9.0)
    push(house.system, Report.load(other), DEPLOYER)
    done = verify(report, "--network", "local", "--manifest", house.manifest)
    assert done.returncode == 1
    assert "the last push was of another report, 0x" in done.stdout
    assert "numbers on the chain are not the report's" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{report}"], "the report is of 2020-03; give its price files, or --data FOLDER for a named market"),
        (["{report}", "{folder}/BTC.parquet"], "the report is of BTC, ETH; the data is of BTC: give the report's"),
        (["{folder}/absent.json", "{folder}/BTC.parquet"], "absent.json: cannot be read"),
        (["{folder}/BTC.parquet", "{folder}/BTC.parquet"], "BTC.parquet: is not a JSON report"),
        (["{report}", "--data", "{folder}"], "BTC-USDT_1h.parquet: no such file"),
        (["{report}", "--network", "moon"], "moon"),
        (["{report}", "--network", "local", "--manifest", "{folder}/none.json"], "none.json"),
    ],
)  # fmt: skip
def test_verify_refusesInOneLine(
    prices: Path, report: Path, verify: Run, error_of: ErrorOf, arguments: list[str], message: str
) -> None:
    assert message in error_of(verify(*(argument.format(folder=prices, report=report) for argument in arguments)))
