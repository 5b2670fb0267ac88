"""`plimsoll data` as a user runs it: checks of files, bars from an exchange, rounds from a chain.

The exchange is a local server that speaks Binance's REST dialect and, when told, fails as exchanges do. The chain is
real, with the project's own feed and with Chainlink's aggregators behind their proxy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import polars as pl
import pytest

from plimsoll.chain.abi import Contract
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.toolchain import ROOT
from plimsoll.errors import PlimsollError
from plimsoll.market import load_series
from plimsoll.market.checks import check_file
from plimsoll.market.fetch import fetch_bars, fetch_rounds
from plimsoll.market.rounds import load_rounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    ErrorOf = Callable[[CompletedProcess[str]], str]

PLIMSOLL = Path(sys.executable).with_name("plimsoll")
HOUR = 3_600
START = 1_609_459_200  # 2021-01-01
BARS = 2_500
END = START + BARS * HOUR
DEPLOYER = Sender.dev(0)


def run(*arguments: object) -> CompletedProcess[str]:
    """`plimsoll data` in a process of its own."""
    return subprocess.run(
        [str(PLIMSOLL), "data", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )


# ─── check


def write_bars(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(0.005 * rng.standard_normal(200)))
    columns = {"ts": START + HOUR * np.arange(200), "close": close} | changes
    frame = pl.DataFrame(columns)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def test_check_passes_a_good_file(tmp_path: Path) -> None:
    found = run("check", write_bars(tmp_path / "good.parquet"))
    assert (found.returncode, found.stderr) == (0, "")
    assert "bars, 200 rows, 2021-01-01 00:00:00 UTC to 2021-01-09 07:00:00 UTC, a step of 60 min" in found.stdout
    assert "nothing found" in found.stdout
    assert "1 files, 0 refused" in found.stdout


def test_check_names_defects_and_exits_with_one(tmp_path: Path) -> None:
    good = pl.read_parquet(write_bars(tmp_path / "a.parquet"))
    write_bars(tmp_path / "a.parquet", close=good["close"].to_numpy() * np.where(np.arange(200) < 150, 1, 100))
    write_bars(tmp_path / "b.csv", ts=(START + HOUR * np.arange(200)) * 1_000)
    (tmp_path / "c.csv").write_text("what,ever\n1,2\n")
    found = run("check", tmp_path)
    assert found.returncode == 1
    assert "mixed units" in found.stdout
    assert "refused" in found.stdout
    assert "repaired by rule" in found.stdout
    assert "rule seconds: a column that is milliseconds" in found.stdout
    assert "its columns (what, ever) are no known kind" in found.stdout
    assert "3 files, 2 refused" in found.stdout

    found = run("check", tmp_path, "--json")
    assert found.returncode == 1
    document = json.loads(found.stdout)
    a, b, c = document["files"]
    assert document["passed"] is False
    assert a["findings"][0]["outcome"] == "refused"
    assert a["findings"][0]["first_row"] == 151
    assert (b["passed"], b["findings"][0]["outcome"]) == (True, "repaired by rule seconds")
    assert "no known kind" in c["error"]


def test_check_says_what_is_wrong_with_the_command(error_of: ErrorOf, tmp_path: Path) -> None:
    assert "unknown kind 'prices'; choose one of rounds" in error_of(run("check", ROOT, "--kind", "prices"))
    assert "has no .parquet or .csv file; give files" in error_of(run("check", tmp_path))


# ─── fetch bars


REFUSALS = {
    "error": (503, '{"code": -1001, "msg": "Internal error"}'),
    "too many": (429, '{"code": -1003, "msg": "Too many requests"}'),
    "refusal": (400, '{"code": -1102, "msg": "A mandatory parameter was malformed"}'),
}
SPOILED: dict[str, Callable[[list[list[Any]]], list[list[Any]]]] = {
    "few": lambda rows: rows[:70],
    "empty": lambda _: [],
    "nan": lambda rows: [[*row[:4], "NaN", *row[5:]] if i == 5 else row for i, row in enumerate(rows)],
    "zero": lambda rows: [[*row[:3], "0", "0", *row[5:]] if i == 5 else row for i, row in enumerate(rows)],
    "twice": lambda rows: [[rows[4][0], *row[1:]] if i == 5 else row for i, row in enumerate(rows)],
    "scale": lambda rows: [[row[0], *[f"{float(price) * 100:.2f}" for price in row[1:5]], *row[5:]] for row in rows],
}
"""What a faulty exchange does to good rows."""


class Exchange:
    """A server of Binance's exchangeInfo and klines. `faults` are taken one a klines request, from the front."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.close = np.round(30_000 * np.exp(np.cumsum(0.006 * rng.standard_normal(BARS))), 2)
        self.asked: list[int] = []
        self.faults: list[str] = []
        self.stalled = threading.Event()
        self.hole = range(0)
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                exchange.answer(self, address.path, {key: value[0] for key, value in parse_qs(address.query).items()})

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def rows(self) -> list[list[Any]]:
        """Every bar, as Binance writes it."""
        opened = [30_000.0, *self.close[:-1].tolist()]
        return [
            [
                (START + HOUR * i) * 1_000,
                f"{opened[i]:.2f}",
                f"{max(opened[i], close) + 5:.2f}",
                f"{min(opened[i], close) - 5:.2f}",
                f"{close:.2f}",
                f"{1 + i % 7}.5",
                (START + HOUR * (i + 1)) * 1_000 - 1,
                "1",
                9,
                "1",
                "1",
                "0",
            ]
            for i, close in enumerate(self.close.tolist())
            if i not in self.hole
        ]

    def answer(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        if not path.endswith("/klines"):
            self.send(handler, 200, json.dumps(self.markets() if path.startswith("/api") else {"symbols": []}))
            return
        since, limit = int(query["startTime"]), int(query["limit"])
        self.asked.append(since // 1_000)
        fault = self.faults.pop(0) if self.faults else ""
        rows = [row for row in self.rows() if row[0] >= since][:limit]
        if fault == "stall":
            self.stalled.set()
            time.sleep(60)
        if fault in REFUSALS:
            self.send(handler, *REFUSALS[fault])
            return
        text = json.dumps(SPOILED.get(fault, list)(rows))
        if fault == "half":  # a whole answer that is half a document
            text = text[: len(text) // 2]
        self.send(handler, 200, text, cut=fault == "cut")  # cut: all of the headers and half of the body

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, status: int, body: str, *, cut: bool = False) -> None:
        data = body.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2] if cut else data)

    @staticmethod
    def markets() -> dict[str, Any]:
        market = {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "isSpotTradingAllowed": True,
            "permissions": ["SPOT"],
            "filters": [],
            "orderTypes": ["LIMIT"],
        }
        return {"timezone": "UTC", "serverTime": END * 1_000, "symbols": [market]}


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    server = Exchange()
    yield server
    server.server.shutdown()
    server.server.server_close()


def words(exchange: Exchange, out: Path, *, until: int = END) -> list[str]:
    """The command line that fetches the exchange's bars."""
    common = ("--since", START, "--until", until, "--endpoint", exchange.url, "--out", out)
    return ["fetch", "bars", "binance", "BTC/USDT", "--timeframe", "1h", *map(str, common)]


def fetch(server: Exchange, out: Path, **changes: Any) -> None:
    """The same within this process."""
    request = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h", "until": END} | changes
    fetch_bars(since=START, out=out, endpoint=server.url, **request)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """New attempts at once: what is repeated, not how slowly, is the matter of most tests."""
    monkeypatch.setattr("plimsoll.market.fetch.PAUSES", (0.0,) * 5)


def require_whole(exchange: Exchange, out: Path) -> None:
    """The file has exactly the exchange's bars, known at their ends, and nothing is left of the way there."""
    series = load_series(out)
    rows = exchange.rows()
    assert series.ts.tolist() == [row[0] // 1_000 + HOUR for row in rows]
    assert series.close.tolist() == [float(row[4]) for row in rows]
    assert series.volume is not None
    assert series.volume.tolist() == [float(row[5]) for row in rows]
    assert not out.with_name(out.name + ".partial").exists()


def test_fetch_bars(exchange: Exchange, tmp_path: Path) -> None:
    exchange.faults = ["", "error"]
    out = tmp_path / "BTC.parquet"
    found = run(*words(exchange, out))
    assert (found.returncode, found.stderr) == (0, "")
    assert "2,500 rows, 2021-01-01 01:00:00 UTC to 2021-04-15 04:00:00 UTC" in found.stdout
    second = START + 1_000 * HOUR
    assert exchange.asked == [START, second, second, START + 2_000 * HOUR]
    require_whole(exchange, out)
    assert check_file(out).findings == ()


@pytest.mark.parametrize("fault", ["error", "too many", "cut", "half", "nan", "zero", "twice"])
@pytest.mark.usefixtures("impatient")
def test_fetch_bars_asks_again_after_a_bad_answer(exchange: Exchange, tmp_path: Path, fault: str) -> None:
    exchange.faults = ["", fault, fault]
    out = tmp_path / "BTC.parquet"
    fetch(exchange, out)
    second = START + 1_000 * HOUR
    assert exchange.asked == [START, second, second, second, START + 2_000 * HOUR]
    require_whole(exchange, out)


@pytest.mark.usefixtures("impatient")
def test_fetch_bars_takes_short_answers_and_distrusts_empty_ones(exchange: Exchange, tmp_path: Path) -> None:
    exchange.faults = ["few", "empty"]
    exchange.hole = range(400, 420)
    out = tmp_path / "BTC.parquet"
    fetch(exchange, out)
    assert exchange.asked[:3] == [START, START + 70 * HOUR, START + 70 * HOUR]
    require_whole(exchange, out)
    (gap,) = check_file(out).findings
    assert gap.message.startswith("1 gap where rows are usually 60 min apart; the longest, 21 h")


@pytest.mark.usefixtures("impatient")
def test_fetch_bars_refuses_a_change_of_scale(exchange: Exchange, tmp_path: Path) -> None:
    """Each answer is fine by itself; together they are not prices of one thing."""
    exchange.faults = ["", "scale"]
    out = tmp_path / "BTC.parquet"
    with pytest.raises(PlimsollError, match="row 1001: close goes from"):
        fetch(exchange, out)
    assert not out.exists()


def test_fetch_bars_continues_after_a_kill(exchange: Exchange, tmp_path: Path) -> None:
    exchange.faults = ["", "", "stall"]
    out = tmp_path / "BTC.parquet"
    command = [str(PLIMSOLL), "data", *words(exchange, out)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert exchange.stalled.wait(60)
        with pytest.raises(PlimsollError, match="another process is fetching into it"):
            fetch(exchange, out)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert not out.exists()
    (out.with_name("BTC.parquet.partial") / "00000002.parquet.tmp").write_bytes(b"half a piece")
    with pytest.raises(PlimsollError, match=r"holds a part of another request \(until differ\)"):
        fetch(exchange, out, until=END - HOUR)

    exchange.asked.clear()
    fetch(exchange, out)
    assert exchange.asked == [START + 2_000 * HOUR]
    require_whole(exchange, out)
    with pytest.raises(PlimsollError, match="exists; name another file"):
        fetch(exchange, out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "ETH/USDT"}, "binance has no market ETH/USDT"),
        ({"timeframe": "7h"}, "binance has no bars of '7h'; choose one of 1s, 1m"),
        ({"timeframe": "1M"}, "binance has no bars of '1M'"),
        ({"exchange": "nowhere"}, "ccxt knows no exchange 'nowhere'"),
        ({"until": START + 60}, "binance has no bars of BTC/USDT from"),
    ],
)
def test_fetch_bars_says_what_is_wrong(exchange: Exchange, tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(PlimsollError, match=message):
        fetch(exchange, tmp_path / "BTC.parquet", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_fetch_bars_gives_up(exchange: Exchange, tmp_path: Path) -> None:
    exchange.faults = ["refusal"]
    with pytest.raises(PlimsollError, match="the exchange refuses: binance"):
        fetch(exchange, tmp_path / "BTC.parquet")
    assert len(exchange.asked) == 1  # a refusal is not repeated
    exchange.faults = ["nan"] * 9
    with pytest.raises(PlimsollError, match=r"no good answer in 6 attempts \(.*; run the command again to continue"):
        fetch(exchange, tmp_path / "BTC.parquet")
    assert len(exchange.asked) == 7
    with pytest.raises(PlimsollError, match="fetched data are written as parquet"):
        fetch(exchange, tmp_path / "BTC.csv")


def test_fetch_bars_leaves_out_the_bar_that_is_not_over(exchange: Exchange, tmp_path: Path) -> None:
    out = tmp_path / "BTC.parquet"
    fetch(exchange, out, until=START + 10 * HOUR + 1_800)
    assert load_series(out).ts.tolist() == [START + HOUR * (i + 1) for i in range(10)]


# ─── fetch rounds


def deploy(chain: Chain, name: str, *arguments: Any) -> Contract:
    artifact = load(name)
    address = chain.deploy(artifact, arguments, DEPLOYER).contract
    return Contract(name, str(address), artifact.abi)


@pytest.fixture(scope="module")
def feed(chain: Chain) -> Contract:
    """A feed with 230 rounds, ten minutes apart but for two that share a second."""
    manager = deploy(chain, "AccessManager", DEPLOYER.address)
    pushed = deploy(chain, "PushedFeed", manager.address, 8, "BTC / USD")
    now = chain.block().timestamp
    rng = np.random.default_rng(5)
    answers = 4e12 * np.exp(np.cumsum(0.004 * rng.standard_normal(230)))
    for i, answer in enumerate(answers.astype(int).tolist()):
        moment = now - 600 * (230 - i) - (600 if i == 100 else 0)
        chain.send(pushed.pushAt(answer, moment), DEPLOYER)
    return pushed


def test_fetch_rounds(chain: Chain, feed: Contract, tmp_path: Path) -> None:
    out = tmp_path / "BTC.parquet"
    found = run("fetch", "rounds", feed.address, "--rpc", chain.url, "--out", out)
    assert found.returncode == 0, found.stderr
    assert "230 rows" in found.stdout
    rounds, repairs = load_rounds(out)
    truth = chain.read_many([feed.getRoundData(i + 1) for i in range(230)])
    assert rounds.answer.tolist() == [answer[1] / 1e8 for answer in truth]
    assert rounds.updated_at.tolist() == [answer[3] for answer in truth]
    assert rounds.number.tolist() == list(range(1, 231))
    assert [(repair.rule, repair.first_row) for repair in repairs] == [("last of second", 101)]
    assert len(rounds.series()) == 229
    assert check_file(out).passed


def test_fetch_rounds_since(chain: Chain, feed: Contract, tmp_path: Path) -> None:
    for number in (1, 2, 100, 101, 151, 230):
        out = tmp_path / f"{number}.parquet"
        since = chain.read(feed.getRoundData(number))[3]
        fetch_rounds(chain, feed.address, out, since=since)
        first = 100 if number == 101 else number  # 100 and 101 share a second
        assert pl.read_parquet(out)["agg_round"].to_list() == list(range(first, 231))
    with pytest.raises(PlimsollError, match="has no rounds since"):
        fetch_rounds(chain, feed.address, tmp_path / "late.parquet", since=since + 10**6)


class Relay:
    """A JSON-RPC endpoint before the chain that, when told, answers as public ones do on a bad day."""

    def __init__(self, upstream: str) -> None:
        self.faults: list[str] = []
        self.batches = 0
        self.stalled = threading.Event()
        relay = self
        import requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = requests.post(
                    upstream, data=body, headers={"Content-Type": "application/json"}, timeout=20
                ).json()
                fault = ""
                if isinstance(answer, list) and len(answer) > 10:
                    relay.batches += 1
                    fault = relay.faults.pop(0) if relay.faults else ""
                if fault == "stall":
                    relay.stalled.set()
                    time.sleep(60)
                elif fault == "too many":
                    Exchange.send(self, 429, '{"error": "too many requests"}')
                    return
                elif fault == "other round":
                    answer[3]["result"] = answer[4]["result"]
                elif fault == "negative":
                    result = answer[3]["result"]
                    answer[3]["result"] = result[:66] + "f" * 64 + result[130:]
                elif fault == "short":
                    answer[3]["result"] = answer[3]["result"][:130]
                Exchange.send(self, 200, json.dumps(answer))

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def relay(chain: Chain) -> Iterator[Relay]:
    relay = Relay(chain.url)
    yield relay
    relay.server.shutdown()
    relay.server.server_close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["other round", "negative", "short", "too many"])
def test_fetch_rounds_asks_again_after_a_bad_answer(relay: Relay, feed: Contract, tmp_path: Path, fault: str) -> None:
    relay.faults = ["", fault]
    out = tmp_path / "BTC.parquet"
    fetch_rounds(Chain.connect(relay.url), feed.address, out)
    assert relay.batches == 4
    assert load_rounds(out)[0].number.tolist() == list(range(1, 231))


def test_fetch_rounds_continues_after_a_kill(relay: Relay, feed: Contract, tmp_path: Path) -> None:
    relay.faults = ["", "stall"]
    out = tmp_path / "BTC.parquet"
    command = [str(PLIMSOLL), "data", "fetch", "rounds", feed.address, "--rpc", relay.url, "--out", str(out)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert relay.stalled.wait(60)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert not out.exists()
    relay.batches = 0
    fetch_rounds(Chain.connect(relay.url), feed.address, out)
    assert relay.batches == 2  # of three: the first was kept
    assert load_rounds(out)[0].number.tolist() == list(range(1, 231))


def test_fetch_rounds_through_the_phases_of_chainlinks_proxy(chain: Chain, tmp_path: Path) -> None:
    """Two aggregators behind a proxy: the first one's later rounds are not what the proxy answered."""
    node = Sender.dev(6)

    def aggregator(prices: list[int]) -> Contract:
        nobody = "0x" + "0" * 40
        one = deploy(chain, "chainlink/FluxAggregator", nobody, 0, 600, nobody, 1, 10**20, 8, "feed")
        chain.send(one.changeOracles([], [node.address], [node.address], 1, 1, 0), DEPLOYER)
        for number, price in enumerate(prices, start=1):
            chain.send(one.submit(number, price * 10**8), node)
            chain.rpc("evm_increaseTime", 60)
        return one

    first = aggregator([2_000, 2_010, 2_020])
    proxy = deploy(chain, "chainlink/EACAggregatorProxy", first.address, "0x" + "0" * 40)
    second = aggregator([2_030, 2_040])
    chain.send(first.submit(4, 2_222 * 10**8), node)
    chain.send(proxy.proposeAggregator(second.address), DEPLOYER)
    chain.send(proxy.confirmAggregator(second.address), DEPLOYER)
    out = tmp_path / "ETH.parquet"
    fetch_rounds(chain, proxy.address, out)
    rounds, _ = load_rounds(out)
    assert rounds.answer.tolist() == [2_000.0, 2_010.0, 2_020.0, 2_030.0, 2_040.0]
    assert rounds.phase.tolist() == [1, 1, 1, 2, 2]
    assert chain.read(proxy.getRoundData(rounds.round_id(4)))[1] == 2_040 * 10**8


def test_fetch_rounds_says_what_is_wrong(chain: Chain, error_of: ErrorOf, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    assert "'BTC' is not an address" in error_of(run("fetch", "rounds", "BTC", "--rpc", chain.url, "--out", out))
    nobody = "0x" + "1" * 40
    assert "give --network NAME or --rpc URL" in error_of(run("fetch", "rounds", nobody, "--out", out))
    with pytest.raises(PlimsollError, match="no contract at"):
        fetch_rounds(chain, nobody, out)
    manager = deploy(chain, "AccessManager", DEPLOYER.address)
    with pytest.raises(PlimsollError, match="does not answer as a Chainlink feed"):
        fetch_rounds(chain, manager.address, out)
    assert list(tmp_path.iterdir()) == []
