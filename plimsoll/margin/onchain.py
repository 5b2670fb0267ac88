"""Margin as the contracts compute it, read by eth_call: exact, never worked out again here.

All amounts are integers in wad (1e18) as on-chain; `ratio` and the like are floats for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.chain.client import Reverted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.chain.client import BlockId
    from plimsoll.chain.system import System


@dataclass(frozen=True, slots=True)
class Requirement:
    """contracts/types/Margin.sol: total = multiplier · max(grid, expected_shortfall) + liquidity [wad dollars]."""

    standalone: int
    joint: int
    grid: int
    expected_shortfall: int
    risk: int
    liquidity: int
    total: int


@dataclass(frozen=True, slots=True)
class UnderlyingMargin:
    """One underlying's part: price and exposure in dollars [wad], ages in seconds, volatility a year [wad]."""

    underlying: int
    price: int
    age: int
    delta: int
    exposure: int
    volatility_initial: int
    volatility_maintenance: int
    range_initial: int
    range_maintenance: int
    liquidity_initial: int
    liquidity_maintenance: int


@dataclass(frozen=True, slots=True)
class Margin:
    """What an account has and must hold [wad dollars]. `fresh`: every volatility feed it depends on is up to date."""

    equity: int
    cash: int
    unrealised: int
    collateral: int
    multiplier: int
    fresh: bool
    initial: Requirement
    maintenance: Requirement
    underlyings: tuple[UnderlyingMargin, ...]

    @property
    def is_liquidatable(self) -> bool:
        """equity < maintenance."""
        return self.equity < self.maintenance.total

    @property
    def is_healthy(self) -> bool:
        """equity ≥ initial."""
        return self.equity >= self.initial.total

    @property
    def status(self) -> str:
        """healthy, margin call, liquidatable or insolvent."""
        if self.is_healthy:
            return "healthy"
        if self.equity < 0:
            return "insolvent"
        return "liquidatable" if self.is_liquidatable else "margin call"

    @property
    def headroom(self) -> int:
        """Equity above initial margin [wad dollars]; negative in a margin call."""
        return self.equity - self.initial.total

    @classmethod
    def of(cls, raw: Any) -> Margin:
        """From what `marginOf` returned, a struct decoded by plimsoll.chain.abi."""
        return cls(
            equity=raw.equity,
            cash=raw.cash,
            unrealised=raw.unrealised,
            collateral=raw.collateral,
            multiplier=raw.multiplier,
            fresh=raw.fresh,
            initial=Requirement(*raw.initial),
            maintenance=Requirement(*raw.maintenance),
            underlyings=tuple(UnderlyingMargin(*part) for part in raw.underlyings),
        )


def margin_of(system: System, account: int, block: BlockId = "latest") -> Margin:
    """Margin of one account. Reverted, saying which check failed, where a price is not good."""
    return Margin.of(system.chain.read(system.margin_engine.marginOf(account), block))


def margins_of(system: System, accounts: Iterable[int], block: BlockId = "latest") -> dict[int, Margin | Reverted]:
    """Margins of many accounts at one block; a `Reverted` in the place of each that cannot be computed."""
    ids = list(accounts)
    if block == "latest":
        block = system.chain.block().number
    results = system.chain.try_read_many([system.margin_engine.marginOf(account) for account in ids], block)
    return {
        account: result if isinstance(result, Reverted) else Margin.of(result)
        for account, result in zip(ids, results, strict=True)
    }
