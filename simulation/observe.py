"""What a replay reads beside the state: events, and the standing of accounts around a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address

from plimsoll.chain.abi import Call, Event
from plimsoll.chain.client import Reverted
from plimsoll.chain.fields import Field
from plimsoll.chain.system import System
from plimsoll.margin.onchain import Margin
from simulation.invariants import Standing

Portfolio = tuple[int, tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]
"""contracts/types/Portfolio.sol: cash, positions (instrument, size, quote), collateral (asset, underlying, amount)."""


@dataclass(frozen=True, slots=True)
class AuctionBefore:
    """An auction before a bid: whether it is protective, and the most d the owner gives then [wad]."""

    protective: bool
    maximum_discount: int


class Observer:
    """Reads one system."""

    def __init__(self, system: System) -> None:
        self.system = system
        contracts = (
            system.clearing_house, system.order_gateway, system.liquidation_engine, system.insurance_fund,
            system.risk_parameters, system.steward, system.registry,
        )  # fmt: skip
        self._contracts = {contract.address: contract for contract in contracts}

    def bounds(self) -> dict[Field, tuple[int, int]]:
        """(minimum, maximum) of each field, from the chain."""
        found = self.system.chain.read_many([self.system.risk_parameters.boundsOf(field) for field in Field])
        return {field: (one.minimum, one.maximum) for field, one in zip(Field, found, strict=True)}

    def limits(self) -> dict[Field, tuple[int, int, int, bool]]:
        """(step up, step down, minimum interval, absolute) of each field, from the chain."""
        found = self.system.chain.read_many([self.system.steward.limitsOf(field) for field in Field])
        return {
            field: (one.stepUp, one.stepDown, one.minimumInterval, one.absolute)
            for field, one in zip(Field, found, strict=True)
        }

    def standings(self, accounts: Sequence[int], block: int) -> list[tuple[Standing, Standing]]:
        """(before, after) of accounts that took part in the transaction of a block, both at that block's time, so that
        nothing but the transaction lies between them: no age, funding or interest. Needs one transaction a block."""
        chain, calls = self.system.chain, [self.system.margin_engine.marginOf(account) for account in accounts]
        found = chain.try_read_many(calls, block - 1, time=chain.block(block).timestamp)
        found += chain.try_read_many(calls, block)
        for margin in found:
            if isinstance(margin, Reverted):
                raise margin
        standings = [Standing.of(Margin.of(margin)) for margin in found]
        return list(zip(standings[: len(accounts)], standings[len(accounts) :], strict=True))

    def auction_before(self, account: int, block: int) -> AuctionBefore:
        """An account's auction before the transaction of a block."""
        engine = self.system.liquidation_engine
        auction, wish = self.system.chain.read_many(
            [engine.auctionOf(account), engine.protectionOf(account)], block - 1
        )
        return AuctionBefore(auction.protective, wish.maximumDiscount)

    def margins(self, portfolios: Sequence[Portfolio]) -> list[Standing]:
        """Standings of imagined portfolios: each with its own requirement."""
        calls = [self.system.margin_engine.marginOfPortfolio(portfolio) for portfolio in portfolios]
        return [Standing.of(Margin.of(margin)) for margin in self.system.chain.read_many(calls)]

    def events(self, first: int, last: int) -> Iterator[Event]:
        """Events of the system's contracts in blocks first to last, in order."""
        query = {"fromBlock": hex(first), "toBlock": hex(last), "address": sorted(self._contracts)}
        for log in self.system.chain.rpc("eth_getLogs", query):
            event = self._contracts[to_checksum_address(log["address"])].read_event(log)
            if event is not None:
                yield event

    def refusal(self, call: Call, sender: str) -> str | None:
        """Name of the error a call would get from `sender` now; None if it would succeed."""
        return self.refusals([call], sender)[0]

    def refusals(self, calls: Sequence[Call], sender: str) -> list[str | None]:
        """The same of many calls, each on its own."""
        results = self.system.chain.try_read_many(calls, sender=sender)
        return [result.error or result.reason if isinstance(result, Reverted) else None for result in results]


def plain(value: Any) -> Any:
    """Named tuples as tuples, which the encoder wants."""
    return tuple(plain(item) for item in value) if isinstance(value, tuple) else value


def imagined(cash: int, positions: Mapping[int, int]) -> Portfolio:
    """A portfolio of cash and of positions at no cost: instrument → size."""
    return cash, tuple((instrument, size, 0) for instrument, size in positions.items()), ()
