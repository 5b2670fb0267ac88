"""Contracts as Python sees them: calls encoded and results decoded by ABI, and reverts made readable.

`contract.deposit(1, 0, 100)` makes a `Call`; the chain reads it or sends it (plimsoll.chain.client). Results come back
as plain values; a struct is a named tuple with the Solidity names of its members.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from plimsoll.chain.artifacts import ARTIFACTS, load
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "bad enum value",
    0x32: "index out of range",
    0x41: "out of memory",
}
_LIBRARY_ERRORS = (
    # solady's libraries revert by hand-written selectors that no ABI lists
    "MulWadFailed()",
    "MulDivFailed()",
    "DivFailed()",
    "DivWadFailed()",
    "FullMulDivFailed()",
    "SqrtWadFailed()",
    "LnWadUndefined()",
    "ExpOverflow()",
    "MantissaOverflow()",
)


def canonical(parameter: dict[str, Any]) -> str:
    """The ABI type of a parameter, structs written out: (uint64,int256)[]."""
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return "(" + ",".join(canonical(member) for member in parameter["components"]) + ")" + kind[len("tuple") :]
    return kind


class Function:
    """One function of a contract: how its calls are written and its results read."""

    __slots__ = ("_outputs", "_types", "inputs", "name", "output_types", "selector")

    def __init__(self, abi: dict[str, Any]) -> None:
        self.name: str = abi["name"]
        self.inputs: list[dict[str, Any]] = abi["inputs"]
        self._types = [canonical(parameter) for parameter in self.inputs]
        self.selector = keccak(text=f"{self.name}({','.join(self._types)})")[:4]
        self._outputs: list[dict[str, Any]] = abi.get("outputs", [])
        self.output_types = [canonical(parameter) for parameter in self._outputs]

    def encode(self, arguments: tuple[Any, ...]) -> bytes:
        """Call data. TypeError if the arguments do not fit the types."""
        if len(arguments) != len(self._types):
            raise TypeError(f"{self.name} takes {len(self._types)} arguments, not {len(arguments)}")
        return self.selector + encode(self._types, arguments)

    def decode(self, data: bytes) -> Any:
        """None, the one result, or a named tuple of several."""
        if not self._outputs:
            return None
        values = decode(self.output_types, data)
        if len(values) == 1:
            return _named(self._outputs[0], values[0])
        return _struct(self.name, tuple(parameter["name"] for parameter in self._outputs))(
            *(_named(parameter, value) for parameter, value in zip(self._outputs, values, strict=True))
        )


@cache
def _struct(name: str, members: tuple[str, ...]) -> Any:
    return namedtuple(name, members, rename=True)  # its members are known only from the ABI


def _named(parameter: dict[str, Any], value: Any) -> Any:
    """A decoded value with structs as named tuples and addresses checksummed."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return tuple(_named(inner, item) for item in value)
    if kind == "tuple":
        members = parameter["components"]
        name = parameter.get("internalType", "struct").split(".")[-1].split(" ")[-1].split("[")[0]
        return _struct(name, tuple(member["name"] for member in members))(
            *(_named(member, item) for member, item in zip(members, value, strict=True))
        )
    return to_checksum_address(value) if kind == "address" else value


@dataclass(frozen=True, slots=True)
class Call:
    """One call, ready to read or send."""

    to: str
    data: bytes
    function: Function
    contract: str
    """Name of the contract, for messages."""

    def decode(self, data: bytes) -> Any:
        """What the call returned."""
        return self.function.decode(data)

    def __str__(self) -> str:
        return f"{self.contract}.{self.function.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its arguments by name, structs as named tuples, and where it stands."""

    name: str
    arguments: Mapping[str, Any]
    block: int
    transaction: str


class Contract:
    """A deployed contract: each of its functions is a method that makes a `Call`.

    A function whose name the contract overloads is reached by its number of arguments.
    """

    def __init__(self, name: str, address: str, abi: list[dict[str, Any]]) -> None:
        self.name = name
        self.address = to_checksum_address(address)
        self.abi = abi
        self._functions: dict[str, list[Function]] = {}
        self._events: dict[str, dict[str, Any]] = {}
        for entry in abi:
            if entry["type"] == "function":
                self._functions.setdefault(entry["name"], []).append(Function(entry))
            elif entry["type"] == "event":
                types = ",".join(canonical(parameter) for parameter in entry["inputs"])
                self._events["0x" + keccak(text=f"{entry['name']}({types})").hex()] = entry

    @classmethod
    def at(cls, name: str, address: str) -> Contract:
        """A contract of ours by its artifact."""
        return cls(name, address, load(name).abi)

    def function(self, name: str, arity: int | None = None) -> Function:
        """The function of that name; PlimsollError if the compiled contract has none."""
        for function in self._functions.get(name, []):
            if arity is None or len(function.inputs) == arity:
                return function
        raise PlimsollError(f"{self.name} has no function {name}: run `plimsoll build`")

    def call(self, name: str, *arguments: Any) -> Call:
        """A call of a function by name."""
        function = self.function(name, len(arguments))
        return Call(self.address, function.encode(arguments), function, self.name)

    def read_event(self, log: Mapping[str, Any]) -> Event | None:
        """An entry of eth_getLogs or of a receipt; None if it is no event of this contract's."""
        entry = self._events.get(str(log["topics"][0])) if log["topics"] else None
        if entry is None or to_checksum_address(log["address"]) != self.address:
            return None
        indexed = [parameter for parameter in entry["inputs"] if parameter["indexed"]]
        others = [parameter for parameter in entry["inputs"] if not parameter["indexed"]]
        values = [
            decode([canonical(p)], bytes.fromhex(t[2:]))[0] for p, t in zip(indexed, log["topics"][1:], strict=True)
        ]
        values += decode([canonical(parameter) for parameter in others], bytes.fromhex(log["data"][2:]))
        named = zip(indexed + others, values, strict=True)
        arguments = {parameter["name"]: _named(parameter, value) for parameter, value in named}
        return Event(entry["name"], arguments, int(log["blockNumber"], 16), log["transactionHash"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._functions:
            raise AttributeError(f"{self.name} has no function {name}")
        return lambda *arguments: self.call(name, *arguments)

    def __repr__(self) -> str:
        return f"{self.name}({self.address})"


def constructor_data(abi: list[dict[str, Any]], arguments: tuple[Any, ...]) -> bytes:
    """Constructor arguments, encoded."""
    for entry in abi:
        if entry["type"] == "constructor":
            return encode([canonical(parameter) for parameter in entry["inputs"]], arguments)
    return b""


@lru_cache(maxsize=1)
def _errors() -> dict[bytes, tuple[str, list[str], list[str]]]:
    """{selector: (name, argument names, types)} over every artifact."""
    table: dict[bytes, tuple[str, list[str], list[str]]] = {}
    for signature in _LIBRARY_ERRORS:
        table[keccak(text=signature)[:4]] = (signature[:-2], [], [])
    for path in sorted(ARTIFACTS.glob("*.json")):
        if not path.stem[0].isupper():
            continue  # the build's own notes
        for entry in load(path.stem).abi:
            if entry["type"] == "error":
                types = [canonical(parameter) for parameter in entry["inputs"]]
                selector = keccak(text=f"{entry['name']}({','.join(types)})")[:4]
                table[selector] = (entry["name"], [parameter["name"] for parameter in entry["inputs"]], types)
    return table


@dataclass(frozen=True, slots=True)
class RevertReason:
    """What a contract said when it refused."""

    name: str
    """Name of the custom error; Error or Panic for Solidity's own; empty if nothing was said."""
    arguments: dict[str, Any]
    text: str
    """One readable line."""


def read_revert(data: bytes) -> RevertReason:
    """Decode revert data by the errors of every compiled contract."""
    selector, rest = data[:4], data[4:]
    if not data:
        return RevertReason("", {}, "reverted without saying why")
    if selector == b"\x08\xc3\x79\xa0":
        (message,) = decode(["string"], rest)
        return RevertReason("Error", {"message": message}, message)
    if selector == b"\x4e\x48\x7b\x71":
        (code,) = decode(["uint256"], rest)
        return RevertReason("Panic", {"code": code}, f"Panic({_PANICS.get(code, hex(code))})")
    if selector not in _errors():
        return RevertReason("", {}, f"reverted with an unknown error 0x{data.hex()[:72]}")
    name, names, types = _errors()[selector]
    values = decode(types, rest)
    arguments = {n or str(i): _shown(t, v) for i, (n, t, v) in enumerate(zip(names, types, values, strict=True))}
    return RevertReason(name, arguments, f"{name}({', '.join(f'{n}={v}' for n, v in arguments.items())})")


def _shown(kind: str, value: Any) -> Any:
    if kind == "address":
        return to_checksum_address(value)
    return "0x" + value.hex() if isinstance(value, bytes) else value
