"""Compiles contracts/ with py-solc-x and the pinned compiler into .build/artifacts.

The settings are those of foundry.toml, so that forge compiles the same bytecode; brownie-config.yaml repeats them
because Brownie cannot read them from there, and tests/compilers/test_compiler.py compares all three.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solcx
from eth_utils.crypto import keccak
from solcx.exceptions import SolcError
from solcx.wrapper import get_version_str_from_solc_binary

from plimsoll.chain.artifacts import ARTIFACTS
from plimsoll.chain.toolchain import ROOT
from plimsoll.errors import PlimsollError

RUNTIME_CODE_LIMIT = 24_576
"""Bytes of runtime code a chain accepts (EIP-170)."""

VENDORED = ("node_modules/@openzeppelin/contracts/access/manager/AccessManager.sol",)
"""Contracts of others that a deployment creates as they are."""

CHAINLINK_AGGREGATORS = tuple(
    f"node_modules/chainlink-contracts-v0.6/src/v0.6/{name}.sol" for name in ("FluxAggregator", "EACAggregatorProxy")
)
"""Chainlink's own aggregator and its proxy, which tests deploy as feeds."""
CHAINLINK_COMPILER = ROOT / "scripts" / "solc" / "solc-v0.6.6"
CHAINLINK_SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "evmVersion": "istanbul",
    "metadata": {"bytecodeHash": "none"},
}

_NOT_DEPLOYED = tuple(f"contracts/{folder}/" for folder in ("interfaces", "libraries", "testing", "types"))
_OUTPUTS = ["abi", "evm.bytecode.object", "evm.bytecode.linkReferences"]
_OUTPUTS += ["evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]
_STAMP = "inputs.json"


@dataclass(frozen=True, slots=True)
class Build:
    """What a build left behind."""

    compiled: bool
    """False where sources and settings had not changed and nothing was done."""
    runtime_sizes: dict[str, int]
    """Runtime code of every deployable contract, in bytes, by contract name."""
    warnings: tuple[str, ...]
    """The compiler's warnings about the protocol's own sources."""


def compiler_settings(configuration: Path = ROOT / "foundry.toml") -> tuple[Path, dict[str, Any]]:
    """The compiler and its standard-JSON settings, without an output selection, from foundry.toml."""
    profile = tomllib.loads(configuration.read_text())["profile"]["default"]
    settings = {
        "remappings": profile["remappings"],
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "evmVersion": profile["evm_version"],
        "viaIR": profile["via_ir"],
        "metadata": {"bytecodeHash": profile["bytecode_hash"], "appendCBOR": profile["cbor_metadata"]},
    }
    return ROOT / profile["solc"], settings


def build(force: bool = False, folder: Path = ARTIFACTS) -> Build:
    """Compile whatever changed since the last build and write its artifacts.

    Raises PlimsollError where set-up is missing, the sources do not compile, two contracts share a name, or a
    deployable contract is over the size limit; the artifacts of the last good build then stay as they were.
    """
    packaged = [ROOT / name for name in ("node_modules/solc/solc.js", *VENDORED, *CHAINLINK_AGGREGATORS)]
    if absent := [path.relative_to(ROOT) for path in packaged if not path.is_file()]:
        raise PlimsollError(f"{absent[0]} is not installed: run `make setup`")
    solc, settings = compiler_settings()
    sources = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "contracts").rglob("*.sol"))}
    sources |= {name: ROOT / name for name in VENDORED}
    inputs = _hash_of(settings, [*sources.values(), ROOT / "package-lock.json", Path(__file__)])
    stamp = folder / _STAMP
    if not force and (previous := _read_stamp(stamp, inputs)) is not None:
        return previous

    output = _compile(sources, solc, settings)
    artifacts = _artifacts(output, sources, solc, settings)
    chainlink = {name: ROOT / name for name in CHAINLINK_AGGREGATORS}
    chainlink_output = _compile(chainlink, CHAINLINK_COMPILER, CHAINLINK_SETTINGS)
    feeds = _artifacts(chainlink_output, chainlink, CHAINLINK_COMPILER, CHAINLINK_SETTINGS)
    sizes = {name: _runtime_size(artifact) for name, artifact in artifacts.items() if _is_deployable(artifact)}
    too_large = [
        f"{name} by {size - RUNTIME_CODE_LIMIT:,}" for name, size in sizes.items() if size > RUNTIME_CODE_LIMIT
    ]
    if too_large:
        raise PlimsollError(f"runtime code over {RUNTIME_CODE_LIMIT:,} bytes: {', '.join(too_large)}")

    stamp.unlink(missing_ok=True)  # until the last artifact is written there is no build to skip
    _write_artifacts(folder, artifacts)
    _write_artifacts(folder / "chainlink", feeds)
    result = Build(True, sizes, _warnings(output))
    _write(stamp, {"inputs": inputs, "runtimeSizes": result.runtime_sizes, "warnings": list(result.warnings)})
    return result


def _compile(sources: Mapping[str, Path], solc: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """solc's standard-JSON output for `sources` (source name to file); imports are read from the checkout."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": path.read_text()} for name, path in sources.items()},
        "settings": {**settings, "outputSelection": {"*": {"*": _OUTPUTS}}},
    }
    try:
        output: dict[str, Any] = solcx.compile_standard(request, base_path=str(ROOT), solc_binary=str(solc))
    except SolcError as fault:
        # The compiler's own messages, or what it printed on stderr where it failed before compiling.
        reason = fault.message if fault.error_dict else fault.stderr_data or ""
        raise PlimsollError(f"the contracts do not compile\n{reason.strip()}") from None
    return output


def _artifacts(
    output: Mapping[str, Any], sources: Iterable[str], solc: Path, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The artifacts of every contract in `sources`, by contract name."""
    compiler = {"version": get_version_str_from_solc_binary(solc), "settings": settings}
    artifacts: dict[str, dict[str, Any]] = {}
    for source in sources:
        for name, compiled in output["contracts"].get(source, {}).items():
            if name in artifacts:
                raise PlimsollError(f"two contracts are named {name}: {artifacts[name]['sourcePath']} and {source}")
            creation, runtime = compiled["evm"]["bytecode"], compiled["evm"]["deployedBytecode"]
            if creation["linkReferences"]:
                raise PlimsollError(f"{name} needs a linked library: make the functions it calls internal")
            artifacts[name] = {
                "contractName": name,
                "sourcePath": source,
                "abi": compiled["abi"],
                "bytecode": "0x" + creation["object"],
                "deployedBytecode": "0x" + runtime["object"],
                "immutableReferences": runtime.get("immutableReferences", {}),
                "bytecodeHash": "0x" + keccak(hexstr=creation["object"]).hex(),
                "compiler": compiler,
            }
    return artifacts


def _is_deployable(artifact: Mapping[str, Any]) -> bool:
    return _runtime_size(artifact) > 0 and not artifact["sourcePath"].startswith(_NOT_DEPLOYED)


def _runtime_size(artifact: Mapping[str, Any]) -> int:
    """Bytes of runtime code; 0 for an interface or an abstract contract."""
    return len(artifact["deployedBytecode"].removeprefix("0x")) // 2


def _warnings(output: Mapping[str, Any]) -> tuple[str, ...]:
    """The compiler's warnings about the protocol's own sources, test helpers left out."""
    return tuple(
        message["formattedMessage"].strip()
        for message in output.get("errors", [])
        if message.get("sourceLocation", {}).get("file", "").startswith("contracts/")
        and not message["sourceLocation"]["file"].startswith("contracts/testing/")
    )


def _hash_of(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """SHA-256 of the settings and of each file's path and content."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        digest.update(f"\0{path.relative_to(ROOT).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_stamp(stamp: Path, inputs: str) -> Build | None:
    """The build that `stamp` describes, if it is whole and of the same inputs."""
    try:
        fields = json.loads(stamp.read_text())
        if fields["inputs"] != inputs:
            return None
        return Build(False, fields["runtimeSizes"], tuple(fields["warnings"]))
    except (FileNotFoundError, KeyError, ValueError):
        return None


def _write_artifacts(folder: Path, artifacts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write one file a contract, and remove the files of contracts that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.json"):
        if stale.stem not in artifacts:
            stale.unlink(missing_ok=True)
    for name, artifact in artifacts.items():
        _write(folder / f"{name}.json", artifact)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Replace `path` in one step, so that no reader meets half a file."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)
