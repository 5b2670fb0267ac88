"""py-solc-x, forge and Brownie compile the same bytecode, and a build is skipped or refused for the right reasons."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from plimsoll.chain import artifacts, compiler
from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    """Creation code of every deployable contract of the protocol, by name, as py-solc-x compiles it."""
    names = compiler.build().runtime_sizes
    loaded = [artifacts.load(name) for name in names]
    return {artifact.name: artifact.bytecode for artifact in loaded if artifact.source_path.startswith("contracts/")}


def assert_same(built: Mapping[str, str], other: Mapping[str, str]) -> None:
    """Compares by name, so that a failure names contracts instead of printing their code."""
    assert "ClearingHouse" in built
    assert [name for name in built if other[name].removeprefix("0x") != built[name].removeprefix("0x")] == []


def test_build_givesForgesBytecode(built: dict[str, str]) -> None:
    subprocess.run([str(foundry_binary("forge")), "build", "--quiet"], cwd=ROOT, check=True)
    paths = {name: BUILD / "forge" / "out" / f"{name}.sol" / f"{name}.json" for name in built}
    assert_same(built, {name: json.loads(path.read_text())["bytecode"]["object"] for name, path in paths.items()})


def test_build_givesBrowniesBytecode(built: dict[str, str]) -> None:
    run = [str(ROOT / ".venv-brownie" / "bin" / "python"), str(ROOT / "scripts" / "run_brownie.py"), "compile"]
    subprocess.run(run, cwd=ROOT, check=True)
    paths = {name: BUILD / "brownie" / "contracts" / f"{name}.json" for name in built}
    assert_same(built, {name: json.loads(path.read_text())["bytecode"] for name, path in paths.items()})


def test_build_isSkippedWhileNothingChanges(built: dict[str, str]) -> None:
    again = compiler.build()
    assert not again.compiled
    assert set(built) < set(again.runtime_sizes)


def test_build_hasNoMetadataTrailer(built: dict[str, str]) -> None:
    assert [name for name, code in built.items() if b"solc".hex() in code[-100:]] == []


def test_load_carriesChainlinksAggregators() -> None:
    compiler.build()
    proxy, aggregator = (artifacts.load(f"chainlink/{name}") for name in ("EACAggregatorProxy", "FluxAggregator"))
    assert {entry.get("name") for entry in aggregator.abi} >= {"submit", "latestRoundData", "changeOracles"}
    assert {entry.get("name") for entry in proxy.abi} >= {"proposeAggregator", "latestRoundData"}
    assert proxy.compiler["version"].startswith("0.6.6")


def test_load_revertsIfNotBuilt(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"no compiled contract ClearingHouse: run `plimsoll build`"):
        artifacts.load("ClearingHouse", tmp_path)


def test_load_revertsIfFileIsCutShort(tmp_path: Path) -> None:
    (tmp_path / "ClearingHouse.json").write_text('{"contractName": "Clear')
    with pytest.raises(PlimsollError, match="not an artifact"):
        artifacts.load("ClearingHouse", tmp_path)


def test_solc_writesOutputLargerThanAPipe() -> None:
    """A pipe holds 64 KiB; solcjs cuts there."""
    source = "contract Large { " + "".join(f"function f{i}() external {{}} " for i in range(2_000)) + "}"
    request = {
        "language": "Solidity",
        "sources": {"Large.sol": {"content": source}},
        "settings": {"outputSelection": {"*": {"*": ["abi"]}}},
    }
    command = [str(compiler.compiler_settings()[0]), "--standard-json"]
    run = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    assert len(json.loads(run.stdout)["contracts"]["Large.sol"]["Large"]["abi"]) == 2_000
