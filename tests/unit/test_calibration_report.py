"""The report as a document: canonical bytes, and every way an untrusted file can be wrong. Also the command."""

from __future__ import annotations

import copy
import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from eth_utils.crypto import keccak

from plimsoll.calibration import Report, calibrate, report_hash
from plimsoll.commands.calibrate import command
from plimsoll.errors import PlimsollError
from plimsoll.market import Series, make_series


def assets(seed: int = 1, n: int = 8_000, names: tuple[str, ...] = ("AVAX", "BTC", "ETH")) -> dict[str, Series]:
    rng = np.random.default_rng(seed)
    common = rng.standard_t(5, n)
    ts = 1_600_000_000 + 3_600 * np.arange(n)
    return {name: make_series(name, ts, 10 * np.cumprod(1 + 0.005 * (common + rng.standard_t(5, n)))) for name in names}


@pytest.fixture(scope="module")
def report() -> Report:
    return calibrate("test", assets())


def test_save_and_load_round_trip(report, tmp_path):
    path = tmp_path / "new" / "report.json"
    report.save(path)
    assert Report.load(path) == report
    assert Report.load(path, expected_hash=report.hash) == report
    document = path.read_bytes()
    assert report_hash(document) == report.hash == "0x" + keccak(document).hex()
    assert document.endswith(b"}\n")
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.json"]


def test_to_bytes_is_sorted_with_twelve_digits(report):
    document = json.loads(report.to_bytes())

    def check(value: object) -> None:
        if isinstance(value, dict):
            assert list(value) == sorted(value)
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        elif isinstance(value, float):
            assert value == float(f"{value:.12g}")

    check(document)
    assert set(document) == {
        "schema", "market", "as_of", "model_version", "code_version", "data", "configuration", "parameters", "evidence",
        "coverage",
    }  # fmt: skip


def changed(report: Report, path: str, value: object) -> bytes:
    """The document with one value replaced, or removed where `value` is ...; written canonically."""
    document = copy.deepcopy(report.to_json())
    *parents, last = path.split("/")
    node = document
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node[key]
    if value is ...:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "plimsoll.calibration/1", "schema is 'plimsoll.calibration/1'"),
        ("schema", ..., "schema is 'None'"),
        ("coverage", ..., "the report lacks coverage"),
        ("extra", 1, "the report has unknown extra"),
        ("market", 5, "market is not a text"),
        ("as_of", 1.5, "as_of is not a whole number"),
        ("as_of", True, "as_of is not a whole number"),
        ("coverage", 1.01, "coverage is 1.01, outside 0 to 1"),
        ("coverage", float("nan"), "NaN is not a number"),
        ("coverage", float("inf"), "Infinity is not a number"),
        ("coverage", "0.99", "coverage is not a finite number"),
        ("data", [], "data is not an object"),
        ("data/hash", "0x" + "0" * 64, "data.hash is not the hash of data.assets"),
        ("data/hash", "0xabc", "data.hash is not a 32-byte hash"),
        ("data/assets/BTC/hash", "0x" + "1" * 64, "data.hash is not the hash of data.assets"),
        ("data/assets", {}, "data.assets is empty"),
        ("configuration/half_life", ..., "configuration lacks half_life"),
        ("configuration/grid", 1.5, "configuration.grid is not a whole number"),
        ("configuration/horizons/initial", -1, "configuration.horizons.initial is not a whole number"),
        ("parameters/assets/BTC", ..., "parameters are for AVAX, ETH and data for AVAX, BTC, ETH"),
        ("parameters/assets/BTC/tail_initial", 0, "tail_initial is 0, outside"),
        ("parameters/assets/BTC/tail_initial", -3.5, "tail_initial is -3.5, outside"),
        ("parameters/assets/BTC/tail_initial", None, "tail_initial is not a finite number"),
        ("parameters/assets/BTC/volatility_cap", 0.001, "floor ≤ stress ≤ cap"),
        ("parameters/assets/BTC/average_daily_volume", -1.0, "average_daily_volume is -1, outside"),
        ("parameters/correlation", [], "does not list each pair"),
        ("parameters/correlation/0/pair", ["BTC", "AVAX"], "does not list each pair"),
        ("parameters/correlation/0/pair", ["AVAX"], "does not name two assets"),
        ("parameters/correlation/0/low", 0.999, "high is .*, outside 0.999 to 1"),
        ("parameters/correlation/0/low", -1.0, "the low correlation matrix is not positive definite"),
        ("parameters/correlation/0/high", 1.5, "high is 1.5, outside"),
        ("evidence/assets/BTC", {}, "volatility_level is not a finite number"),
        ("evidence/correlation", None, "evidence.correlation is not a list"),
    ],
)
def test_from_bytes_refuses(report, path, value, message):
    with pytest.raises(PlimsollError, match=message) as caught:
        Report.from_bytes(changed(report, path, value), "r.json")
    assert str(caught.value).startswith("r.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "document", [b"", b"not json", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"schema": "plimsoll.calibration/1"}']
)
def test_from_bytes_refuses_what_is_no_report(document):
    with pytest.raises(PlimsollError, match=r"^report: ") as caught:
        Report.from_bytes(document)
    assert "\n" not in str(caught.value)


def test_from_bytes_refuses_another_layout(report):
    """The hash on-chain is of bytes: the same values laid out otherwise would have another."""
    compact = json.dumps(report.to_json()).encode()
    with pytest.raises(PlimsollError, match="is not as plimsoll calibrate wrote it"):
        Report.from_bytes(compact)


def test_load_refuses_another_hash_and_unreadable_files(report, tmp_path):
    path = tmp_path / "r.json"
    with pytest.raises(PlimsollError, match="cannot be read"):
        Report.load(path)
    report.save(path)
    with pytest.raises(PlimsollError, match=r"its hash is 0x.*, not 0x00"):
        Report.load(path, expected_hash="0x" + "0" * 64)
    path.write_bytes(b" " * 5_000_000)
    with pytest.raises(PlimsollError, match="too large"):
        Report.load(path)
    with pytest.raises(PlimsollError, match="cannot be written"):
        report.save(path / "below-a-file.json")


# The command


def write(folder, series: Series):
    path = folder / f"{series.name}.csv"
    pl.DataFrame({"ts": series.ts, "close": series.close}).write_csv(path)
    return path


def test_command_from_files_writes_the_report_of_the_library(tmp_path):
    data = assets(names=("BTC", "ETH"))
    paths = [str(write(tmp_path, series)) for series in data.values()]
    out = tmp_path / "out.json"
    result = CliRunner().invoke(command, [*paths, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    written = Report.load(out)
    assert written == calibrate("BTC-ETH", data)
    for shown in (written.hash, "tail z, initial 8h", "BTC / ETH", f"{written.assets['BTC'].volatility_stress:.1%}"):
        assert shown in result.output


def test_command_options_reach_the_configuration(tmp_path):
    path = write(tmp_path, assets(names=("BTC",))["BTC"])
    out = tmp_path / "out.json"
    arguments = [f"XBT={path}", "--out", str(out), "--initial-horizon", "6h", "--maintenance-horizon", "90m"]
    arguments += ["--half-life", "5d", "--as-of", "2021-07-01", "--stamp", "open"]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    report = Report.load(out)
    assert list(report.assets) == ["XBT"]
    assert report.configuration["horizons"] == {"initial": 21_600, "maintenance": 5_400}
    assert report.configuration["half_life"] == 432_000
    assert report.as_of == 1_625_097_600
    assert report.data["assets"]["XBT"]["last"] <= report.as_of  # type: ignore[index]


def test_command_default_market_needs_no_files(tmp_path):
    out = tmp_path / "out.json"
    result = CliRunner().invoke(command, ["--market", "sp500-nasdaq", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert sorted(Report.load(out).assets) == ["IXIC", "SPX"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either price files or --market NAME"),
        (["a.csv", "--market", "2021-05"], "give either price files or --market NAME"),
        (["--market", "nowhere"], "unknown market 'nowhere'"),
        (["absent.csv"], "absent.csv: no such file"),
        (["{path}", "--index", "absent.csv"], "absent.csv: no such file"),
        (["{path}", "--index", "ETH={path}"], "--index: ETH is not among the assets (BTC)"),
        (["A={path}", "B={path}", "--index", "{path}"], "--index: say which asset it is of, as in --index A="),
        (["{path}", "--index", "{percent}"], "the index shows 80, which looks like percent; give 0.8"),
        (["{path}", "--chains", "{path}"], "has no column currency"),
        (["{path}", "--book", "{path}"], "name its asset, as in --book BTC="),
        (["{path}", "--book", "BTC={path}"], "has no column"),
        (["{path}", "--peg", "absent.csv"], "absent.csv: no such file"),
        (["{path}", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["A={path}", "A={other}"], "A: files to join differ at"),
        (["{path}", "--as-of", "1999-01-01"], "fewer than 2 prices"),
    ],
)
def test_command_refuses(tmp_path, arguments, message):
    one = assets(names=("BTC",), n=2_000)["BTC"]
    paths = {
        "path": write(tmp_path, one),
        "other": write(tmp_path, make_series("other", one.ts, one.close * 1.5)),
        "percent": write(tmp_path, make_series("percent", one.ts, np.full(len(one), 80.0))),
    }
    result = CliRunner().invoke(command, [a.format(**paths) for a in arguments])
    assert isinstance(result.exception, PlimsollError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_command_joins_files_of_one_name(tmp_path):
    data = assets(names=("BTC",))["BTC"]
    middle = int(data.ts[4_000])
    (tmp_path / "late").mkdir()
    paths = [write(tmp_path, data.between(end=middle)), write(tmp_path / "late", data.between(middle))]
    out = tmp_path / "out.json"
    CliRunner().invoke(command, [*map(str, paths), "--out", str(out)], catch_exceptions=False)
    assert Report.load(out) == calibrate("BTC", {"BTC": data})


def test_command_takes_an_index_and_a_peg(tmp_path):
    data = assets(names=("BTC",))["BTC"]
    rng = np.random.default_rng(4)
    index = make_series(
        "VOL", data.ts, 0.8 * np.exp(0.2 * np.sin(np.arange(len(data)) / 40) + rng.normal(0, 0.02, len(data)))
    )
    peg = make_series("USDC", data.ts, 1.0 - 0.02 * (np.arange(len(data)) == 900))
    out = tmp_path / "out.json"
    arguments = [str(write(tmp_path, data)), "--index", f"BTC={write(tmp_path, index)}"]
    arguments += ["--peg", str(write(tmp_path, peg)), "--out", str(out)]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    report = Report.load(out)
    assert sorted(report.data["sources"]) == ["index VOL", "peg USDC"]  # type: ignore[call-overload]
    assert report.evidence["assets"]["BTC"]["haircut"]["jump"] > 0.0  # type: ignore[index]


def test_command_refuses_a_bad_duration(tmp_path):
    path = write(tmp_path, assets(names=("BTC",))["BTC"])
    result = CliRunner().invoke(command, [str(path), "--half-life", "ten"])
    assert result.exit_code == 2
    assert "'ten' is not a duration such as 90s, 30m, 8h or 10d" in result.output
