"""What an account's margin would be after trades that nobody has made, by the contract's marginOfPortfolio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.margin.funding import traded_premium
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
    fees: Sequence[int] = ()
    """Of each trade, were the account its taker: for moving a perpetual's premium [wad dollars]."""
    paused: bool = False
    """Whether the house takes reductions only."""

    @property
    def gate(self) -> Gate:
        """ClearingHouse._requireMarginOrReduction: above initial margin after, on fresh volatility, or no more risk and
        no worse health."""
        before, after = self.before, self.after
        if after.is_healthy and after.fresh and not self.paused:
            return Gate(True, "equity stays above initial margin")
        solvent = before.equity >= 0
        as_healthy = (
            after.equity >= 0 and after.equity * before.maintenance.total >= before.equity * after.maintenance.total
            if solvent
            else after.equity >= before.equity
        )
        smaller = after.initial.total <= before.initial.total and after.maintenance.total <= before.maintenance.total
        if smaller and as_healthy:
            return Gate(True, "a reduction: neither requirement rises and health does not fall")
        if self.paused:
            return Gate(False, "the house is paused, so no new risk may be taken on")
        if not after.fresh:
            return Gate(False, "a volatility feed is out of date, so no new risk may be taken on")
        missing = after.initial.total - after.equity
        return Gate(False, f"equity would be {missing / WAD:,.2f} dollars below initial margin")


def what_if(system: System, account: int, trades: Sequence[Trade], block: BlockId = "latest") -> WhatIf:
    """Margin before and after the trades, one after another, with the account as their taker and open interest as it
    is. PlimsollError if a position or their number would be too large; Reverted where a price is not good."""
    chain, house = system.chain, system.clearing_house
    head = chain.block(block)
    block = head.number
    before = after = portfolio_of(system, account, block)
    most, paused_until = chain.read_many([house.MAXIMUM_POSITIONS(), house.pausedUntil()], block)
    premiums: dict[int, int] = {}
    fees = []
    for trade in trades:
        fees.append(0 if trade.instrument.is_option else _fee(system, trade, premiums, block))
        after = after.with_trade(trade.instrument.id, trade.size, trade.price, fees[-1])
        if any(abs(position.size) > MAXIMUM_SIZE for position in after.positions):
            raise PlimsollError(f"a position may be {MAXIMUM_SIZE // WAD:,} units at most; choose a smaller size")
        if len(after.positions) > max(most, len(before.positions)):
            raise PlimsollError(
                f"account {account} would hold {len(after.positions)} instruments; {most} at most: close one first"
            )
    engine = system.margin_engine
    margins = chain.read_many([engine.marginOfPortfolio(one.as_tuple()) for one in (before, after)], block)
    first, last = (Margin.of(margin) for margin in margins)
    return WhatIf(trades, first, last, fees, head.timestamp < paused_until)


def _fee(system: System, trade: Trade, premiums: dict[int, int], block: int) -> int:
    """What the taker of a perpetual pays; `premiums`, by underlying, are as the trades before have left them."""
    underlying, house = trade.instrument.underlying, system.clearing_house
    funding, open_interest, (index, _) = system.chain.read_many(
        [house.fundingOf(underlying), house.openInterestOf(underlying), system.price_oracle.price(underlying)], block
    )
    premium = premiums.get(underlying, funding.premium)
    premiums[underlying], fee = traded_premium(premium, abs(trade.size), trade.price, index, open_interest)
    return fee
