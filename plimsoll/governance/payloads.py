"""A push for others to send: plain calldata, a Safe's Transaction Builder, OpenZeppelin's TimelockController.

Each is a JSON document; the same calls at the same head give the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

from plimsoll.chain.abi import Call, Function, canonical
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.chain.client import Block
    from plimsoll.chain.system import System

BUILDER_VERSION = "1.18.2"
"""Of the Transaction Builder whose documents these are like."""


def _function(name: str, types: Sequence[tuple[str, str]], output: str = "") -> Function:
    inputs = [{"name": one, "type": kind} for one, kind in types]
    return Function({"name": name, "inputs": inputs, "outputs": [{"name": "", "type": output}] if output else []})


# TimelockController of OpenZeppelin Contracts 5
_BATCH = (
    ("targets", "address[]"),
    ("values", "uint256[]"),
    ("payloads", "bytes[]"),
    ("predecessor", "bytes32"),
    ("salt", "bytes32"),
)
_SCHEDULE = _function("scheduleBatch", (*_BATCH, ("delay", "uint256")))
_EXECUTE = _function("executeBatch", _BATCH)
_DELAY = _function("getMinDelay", (), "uint256")


@dataclass(frozen=True, slots=True)
class Timelocked:
    """Calls through a timelock: to be sent to it now, and again when `delay` seconds have passed."""

    schedule: Call
    execute: Call
    delay: int


def through_timelock(system: System, timelock: str, calls: Sequence[Call]) -> Timelocked:
    """The calls as one operation of a TimelockController, with its own least delay.

    The salt follows from how many bundles there have been, so that the same calls may come again after the next one.
    PlimsollError if there is no timelock at the address.
    """
    asked = Call(timelock, _DELAY.encode(()), _DELAY, "TimelockController")
    delay = system.chain.try_read_many([asked])[0] if system.chain.code(timelock) else None
    if not isinstance(delay, int):
        raise PlimsollError(f"there is no TimelockController at {timelock}: it has no getMinDelay")
    count = system.chain.read(system.risk_parameters.latest()).count
    salt = keccak(text=f"plimsoll push {count}")
    batch = ([call.to for call in calls], [0] * len(calls), [call.data for call in calls], bytes(32), salt)

    def made(function: Function, *arguments: Any) -> Call:
        return Call(timelock, function.encode(arguments), function, "TimelockController")

    return Timelocked(made(_SCHEDULE, *batch, delay), made(_EXECUTE, *batch), delay)


def calldata_document(system: System, head: Block, calls: Sequence[Call], sender: str) -> dict[str, Any]:
    """Transactions to be sent by `sender` in this order, planned at a block."""
    return {
        "chainId": system.chain.chain_id,
        "block": head.number,
        "from": sender,
        "transactions": [_transaction(call) for call in calls],
    }


def _transaction(call: Call) -> dict[str, Any]:
    types = ",".join(map(canonical, call.function.inputs))
    return {
        "to": call.to,
        "value": "0",
        "data": "0x" + call.data.hex(),
        "function": f"{call.contract}.{call.function.name}({types})",
    }


def safe_document(system: System, head: Block, calls: Sequence[Call], safe: str, about: str) -> dict[str, Any]:
    """A batch for Safe's Transaction Builder, to be loaded there as it is; `about` is what signers read."""
    document: dict[str, Any] = {
        "version": "1.0",
        "chainId": str(system.chain.chain_id),
        "createdAt": head.timestamp * 1000,
        "meta": {
            "name": "Plimsoll parameters",
            "description": about,
            "txBuilderVersion": BUILDER_VERSION,
            "createdFromSafeAddress": safe,
            "createdFromOwnerAddress": "",
        },
        "transactions": [
            {
                "to": call.to,
                "value": "0",
                "data": "0x" + call.data.hex(),
                "contractMethod": None,
                "contractInputsValues": None,
            }
            for call in calls
        ],
    }
    document["meta"]["checksum"] = safe_checksum(document)
    return document


def safe_checksum(document: dict[str, Any]) -> str:
    """The checksum by which the Transaction Builder knows that a batch is as it was saved, 0x-hex: keccak256 of the
    document without its checksum and with null for its name, every object led by the list of its sorted keys
    (safe-global's tx-builder, lib/checksum.ts)."""
    meta = {key: value for key, value in document["meta"].items() if key != "checksum"}
    return "0x" + keccak(text=_serialized({**document, "meta": {**meta, "name": None}})).hex()


def _serialized(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_serialized, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value)
        members = "".join(_serialized(value[key]) + "," for key in keys)
        return "{" + json.dumps(keys, separators=(",", ":"), ensure_ascii=False) + members + "}"
    return json.dumps(value, ensure_ascii=False)


def write_document(path: Path, document: dict[str, Any]) -> None:
    """PlimsollError if the file cannot be written."""
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as fault:
        raise PlimsollError(f"{path}: cannot be written ({fault.strerror})") from None
