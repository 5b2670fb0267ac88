"""What an account's margin would be after trades that nobody has made, by the contract's marginOfPortfolio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import Margin, portfolio_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.chain.client import BlockId
    from plimsoll.chain.instruments import Instrument
    from plimsoll.chain.system import System

MAXIMUM_SIZE = 10**28
"""ClearingHouse.MAXIMUM_SIZE [wad units]."""
MAXIMUM_PRICE = 10**27
"""ClearingHouse.MAXIMUM_PRICE [wad dollars]."""


@dataclass(frozen=True, slots=True)
class Trade:
    """size: units, positive bought. price, mark: dollars a unit. volatility: the mark's, 0 for none. All in wad."""

    instrument: Instrument
    size: int
    price: int
    mark: int
    volatility: int

    @property
    def cost(self) -> int:
        """Dollars paid, negative received, rounded against the account [wad]."""
        return -(-self.size * self.price // WAD)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether ClearingHouse would let the account trade, and why: GATE of the design."""

    accepts: bool
    reason: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An account's margin before and after trades."""

    trades: Sequence[Trade]
    before: Margin
    after: Margin

    @property
    def gate(self) -> Gate:
        """ClearingHouse._requireMarginOrReduction: above initial margin after, on fresh volatility, or no more risk and
        no worse health."""
        before, after = self.before, self.after
        if after.is_healthy and after.fresh:
            return Gate(True, "equity stays above initial margin")
        solvent = before.equity >= 0
        as_healthy = (
            after.equity >= 0 and after.equity * before.maintenance.total >= before.equity * after.maintenance.total
            if solvent
            else after.equity >= before.equity
        )
        smaller = after.initial.total <= before.initial.total and after.maintenance.total <= before.maintenance.total
        if smaller and as_healthy:
            return Gate(True, "below initial margin, but neither requirement rises and health does not fall")
        if not after.fresh:
            return Gate(False, "a volatility feed is out of date, so no new risk may be taken on")
        missing = after.initial.total - after.equity
        return Gate(False, f"equity would be {missing / WAD:,.2f} dollars below initial margin")


def what_if(system: System, account: int, trades: Sequence[Trade], block: BlockId = "latest") -> WhatIf:
    """Margin before and after the trades, one after another. PlimsollError if a position or their number would be too
    large; Reverted where a price is not good."""
    chain = system.chain
    if block == "latest":
        block = chain.block().number
    before = after = portfolio_of(system, account, block)
    most = chain.read(system.clearing_house.MAXIMUM_POSITIONS(), block)
    for trade in trades:
        after = after.with_trade(trade.instrument.id, trade.size, trade.price)
        if any(abs(position.size) > MAXIMUM_SIZE for position in after.positions):
            raise PlimsollError(f"a position may be {MAXIMUM_SIZE // WAD:,} units at most; choose a smaller size")
        if len(after.positions) > max(most, len(before.positions)):
            raise PlimsollError(
                f"account {account} would hold {len(after.positions)} instruments; {most} at most: close one first"
            )
    engine = system.margin_engine
    margins = chain.read_many([engine.marginOfPortfolio(one.as_tuple()) for one in (before, after)], block)
    return WhatIf(trades, *(Margin.of(margin) for margin in margins))
