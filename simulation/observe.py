"""What a replay reads beside the state: events, and the standing of accounts around a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from plimsoll.chain.abi import Call, canonical
from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field
from plimsoll.chain.system import System
from plimsoll.margin.onchain import Margin
from simulation.invariants import Standing

Portfolio = tuple[int, tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]
"""contracts/types/Portfolio.sol: cash, positions (instrument, size, quote), collateral (asset, underlying, amount)."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """One event: its arguments by name (structs as tuples in the order of their members), and where it stands."""

    name: str
    arguments: Mapping[str, Any]
    block: int
    transaction: str


class Observer:
    """Reads one system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._events: dict[tuple[str, str], tuple[str, list[dict[str, Any]]]] = {}
        for contract in (
            system.clearing_house, system.liquidation_engine, system.insurance_fund, system.risk_parameters,
            system.steward,
        ):  # fmt: skip
            for entry in contract.abi:
                if entry["type"] == "event":
                    types = ",".join(canonical(parameter) for parameter in entry["inputs"])
                    topic = "0x" + keccak(text=f"{entry['name']}({types})").hex()
                    self._events[contract.address, topic] = (entry["name"], entry["inputs"])
        settled = next(inputs for name, inputs in self._events.values() if name == "BidSettled")
        bid = next(one for one in settled if one["name"] == "bid")
        self._bid_members = [member["name"] for member in bid["components"]]

    def bounds(self) -> dict[Field, tuple[int, int]]:
        """(minimum, maximum) of each field, from the chain."""
        found = self.system.chain.read_many([self.system.risk_parameters.boundsOf(field) for field in Field])
        return {field: (one.minimum, one.maximum) for field, one in zip(Field, found, strict=True)}

    def limits(self) -> dict[Field, tuple[int, int, int, bool]]:
        """(step up, step down, minimum interval, absolute) of each field, from the chain."""
        found = self.system.chain.read_many([self.system.steward.limitsOf(field) for field in Field])
        return {field: tuple(one) for field, one in zip(Field, found, strict=True)}

    def standings(self, accounts: Sequence[int], block: int) -> list[tuple[Standing, Standing]]:
        """(before, after) of accounts that took part in the transaction of a block, both valued at that block, so that
        nothing but the transaction lies between them. Needs one transaction a block."""
        s = self.system
        before = s.chain.read_many([s.clearing_house.portfolioOf(account) for account in accounts], block - 1)
        calls = [s.margin_engine.marginOfPortfolio(plain(portfolio)) for portfolio in before]
        calls += [s.margin_engine.marginOf(account) for account in accounts]
        found = [Standing.of(Margin.of(margin)) for margin in s.chain.read_many(calls, block)]
        return list(zip(found[: len(accounts)], found[len(accounts) :], strict=True))

    def margins(self, portfolios: Sequence[Portfolio]) -> list[Standing]:
        """Standings of imagined portfolios: each with its own requirement."""
        calls = [self.system.margin_engine.marginOfPortfolio(portfolio) for portfolio in portfolios]
        return [Standing.of(Margin.of(margin)) for margin in self.system.chain.read_many(calls)]

    def events(self, first: int, last: int) -> Iterator[Emitted]:
        """Events of the system's contracts in blocks first to last, in order."""
        addresses = sorted({address for address, _ in self._events})
        query = {"fromBlock": hex(first), "toBlock": hex(last), "address": addresses}
        for entry in self.system.chain.rpc("eth_getLogs", query):
            known = self._events.get((to_checksum_address(entry["address"]), str(entry["topics"][0])))
            if known is None:
                continue
            name, inputs = known
            indexed = [one for one in inputs if one["indexed"]]
            plain_ones = [one for one in inputs if not one["indexed"]]
            arguments = {
                one["name"]: decode([canonical(one)], bytes.fromhex(topic[2:]))[0]
                for one, topic in zip(indexed, entry["topics"][1:], strict=True)
            }
            values = decode([canonical(one) for one in plain_ones], bytes.fromhex(entry["data"][2:]))
            arguments |= {one["name"]: value for one, value in zip(plain_ones, values, strict=True)}
            yield Emitted(name, arguments, int(entry["blockNumber"], 16), entry["transactionHash"])

    def bid(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """A Bid struct, as an event carries it, by the names of its members."""
        return dict(zip(self._bid_members, values, strict=True))

    def refusal(self, call: Call, sender: str) -> str | None:
        """Name of the error a call would get from `sender` now; None if it would succeed."""
        result = self.system.chain.try_read_many([call], sender=sender)[0]
        return result.error or result.reason if isinstance(result, Reverted) else None


def plain(value: Any) -> Any:
    """Named tuples as tuples, which the encoder wants."""
    return tuple(plain(item) for item in value) if isinstance(value, tuple) else value


def imagined(cash: int, positions: Mapping[int, int]) -> Portfolio:
    """A portfolio of cash and of positions at no cost: instrument → size."""
    return cash, tuple((instrument, size, 0) for instrument, size in positions.items()), ()
