"""What has been deployed on a chain: deployments/<chain id>.json, written whole after each step.

A manifest is the memory of a deployment that may stop at any moment, and afterwards the address book of the house. A
file is untrusted: anything but a manifest is refused with one line.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address

from plimsoll.errors import PlimsollError

SCHEMA = "plimsoll.deployment/3"
FOLDER = Path(__file__).resolve().parent.parent.parent / "deployments"
_EXACT = 2**53
"""Integers from here on are written as text, since many JSON readers would round them."""


def manifest_path(chain_id: int, folder: Path = FOLDER) -> Path:
    """Where the manifest of a chain is kept."""
    return folder / f"{chain_id}.json"


def plain(value: Any) -> Any:
    """A transaction's argument as JSON can hold it: bytes as 0x…, large integers as text, tuples as lists."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT:
        return str(value)
    return value


@dataclass(frozen=True, slots=True)
class Done:
    """One step that has been mined. `address` is the contract made or called; the hashes are of contracts made."""

    contract: str
    function: str
    """Empty where the contract was made."""
    address: str
    arguments: list[Any]
    block: int
    transaction: str
    bytecode_hash: str = ""
    """keccak256 of the creation code."""
    code_hash: str = ""
    """keccak256 of the code at the address, immutables filled in."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A step whose transaction is about to be sent: enough to find it again. `since` is the block before."""

    step: str
    nonce: int
    since: int


@dataclass(frozen=True, slots=True)
class AssetEntry:
    """A token: its id in the clearing house, address, decimals, and the underlying whose price it carries."""

    id: int
    token: str
    decimals: int
    underlying: str
    is_test_token: bool


@dataclass(frozen=True, slots=True)
class UnderlyingEntry:
    """An underlying: its id and feeds; a pushed feed is one that our reporter writes."""

    id: int
    price_feed: str
    volatility_feed: str
    price_is_pushed: bool
    volatility_is_pushed: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A deployment. `assets` (cash first) and `underlyings` are filled when it is complete."""

    chain_id: int
    genesis: str
    """Hash of block 0: tells one local chain from the next."""
    profile: str
    market: str
    deployer: str
    begun: int
    """The chain's time when the deployment began, unix seconds: the expiries of its options count from it."""
    compiler: dict[str, Any]
    parameters: list[dict[str, Any]]
    """The starting numbers, in their on-chain integers."""
    steps: dict[str, Done] = field(default_factory=dict)
    pending: Pending | None = None
    assets: dict[str, AssetEntry] = field(default_factory=dict)
    underlyings: dict[str, UnderlyingEntry] = field(default_factory=dict)
    complete: bool = False

    def address(self, step: str) -> str:
        """Address of the contract a step made."""
        if step not in self.steps:
            raise PlimsollError(f"the deployment on chain {self.chain_id} has no {step}; run `plimsoll deploy` again")
        return self.steps[step].address

    def with_step(self, step: str, done: Done) -> Manifest:
        """The manifest with a step more, and nothing pending."""
        return replace(self, steps={**self.steps, step: done}, pending=None)

    def save(self, path: Path) -> None:
        """Write it whole or not at all: a reader finds the old or the new manifest, never half of one."""
        document = _lines({"schema": SCHEMA, **_table(self)}) + "\n"
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w", encoding="utf-8") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as fault:
            raise PlimsollError(f"{path}: cannot be written ({fault.strerror})") from None

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest. PlimsollError if there is none or it is damaged."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise PlimsollError(f"no deployment at {path}; run `plimsoll deploy` first") from None
        except (OSError, UnicodeDecodeError):
            raise PlimsollError(f"{path}: cannot be read; restore it or deploy anew with --fresh") from None
        try:
            return _parse(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            problem = str(fault).splitlines()[0]
            raise PlimsollError(
                f"{path}: is not a deployment manifest ({problem}); restore it or deploy anew with --fresh"
            ) from None


def _lines(table: dict[str, Any]) -> str:
    """JSON with a line for each entry, and for each entry of those that hold tables: short, and easy to compare."""
    entries = (f"{json.dumps(key)}: {_value(value)}" for key, value in table.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and value and all(is_dataclass(entry) for entry in value.values()):
        return _lines(value)
    return json.dumps(value, default=_table)


def _table(entry: Any) -> dict[str, Any]:
    return {f.name: getattr(entry, f.name) for f in fields(entry)}


def _parse(raw: Any) -> Manifest:
    if not isinstance(raw, dict):
        raise TypeError("not a table")
    schema = raw.pop("schema", None)
    if schema != SCHEMA:
        raise ValueError(f"its schema is {schema!r}, this version reads {SCHEMA!r}")
    manifest: Manifest = _make(Manifest, raw)
    return replace(
        manifest,
        steps={name: _make(Done, step) for name, step in manifest.steps.items()},
        pending=None if manifest.pending is None else _make(Pending, manifest.pending),
        assets={name: _make(AssetEntry, entry) for name, entry in manifest.assets.items()},
        underlyings={name: _make(UnderlyingEntry, entry) for name, entry in manifest.underlyings.items()},
    )


_PYTHON = {"int": int, "str": str, "bool": bool, "list": list, "dict": dict}


def _make(kind: Any, raw: Any) -> Any:
    """An instance of a dataclass from a table with exactly its fields, each of the type it says."""
    if not isinstance(raw, dict):
        raise TypeError(f"{kind.__name__} is not a table")
    names = {f.name: str(f.type) for f in fields(kind)}
    if raw.keys() != names.keys():
        odd = min(raw.keys() ^ names.keys())
        raise ValueError(f"{kind.__name__}.{odd} is missing or unknown")
    for name, annotation in names.items():
        wanted = _PYTHON.get(annotation.split("[")[0])
        if wanted is not None and type(raw[name]) is not wanted:
            raise TypeError(f"{kind.__name__}.{name} is not {annotation}")
        if name in ("address", "token", "deployer", "price_feed", "volatility_feed") and not is_checksum_address(
            raw[name]
        ):
            raise ValueError(f"{kind.__name__}.{name} is not a checksummed address")
    return kind(**raw)
