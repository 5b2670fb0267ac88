"""Compiled contracts, as `plimsoll build` leaves them in .build/artifacts, one JSON file a contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.chain.toolchain import BUILD
from plimsoll.errors import PlimsollError

ARTIFACTS = BUILD / "artifacts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract. Byte strings are hexadecimal with 0x."""

    name: str
    source_path: str
    """Path of its source below the checkout."""
    abi: list[dict[str, Any]]
    bytecode: str
    """Creation code, without constructor arguments."""
    deployed_bytecode: str
    """Runtime code, with zeros where immutables go."""
    bytecode_hash: str
    """keccak256 of the creation code: equal for every compilation of the same sources and settings."""
    compiler: dict[str, Any]
    """`version`, and `settings` in solc's standard JSON."""


def load(name: str, folder: Path = ARTIFACTS) -> Artifact:
    """The artifact of contract `name`; Chainlink's own aggregators, test feeds, are `chainlink/<name>`.

    Raises PlimsollError where it has not been built or cannot be read.
    """
    path = folder / f"{name}.json"
    try:
        fields = json.loads(path.read_text())
        return Artifact(
            name=fields["contractName"],
            source_path=fields["sourcePath"],
            abi=fields["abi"],
            bytecode=fields["bytecode"],
            deployed_bytecode=fields["deployedBytecode"],
            bytecode_hash=fields["bytecodeHash"],
            compiler=fields["compiler"],
        )
    except FileNotFoundError:
        raise PlimsollError(f"no compiled contract {name}: run `plimsoll build`") from None
    except (KeyError, TypeError, ValueError):
        raise PlimsollError(f"{path} is not an artifact of this version: run `plimsoll build --force`") from None
