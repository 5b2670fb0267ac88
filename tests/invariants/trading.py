"""Who trades: with others, with too much, to get out of trouble, and with orders that are worth nothing (GATE)."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.chain.instruments import Instrument
from plimsoll.chain.orders import SignedOrder, settle_trade, sign_order, worst_price
from plimsoll.chain.state import read_state
from plimsoll.config import WAD
from plimsoll.margin.onchain import mark_of
from tests.invariants.life import BARRED, Life
from tests.invariants.stage import OPTIONS, SETTLER, SYMBOLS, THIEF, TRADERS


class Trading(Life):
    """Rules about trades."""

    @rule(
        roles=st.permutations(TRADERS),
        symbol=st.sampled_from(SYMBOLS),
        leverage=st.floats(-8, 8),
        price=st.floats(0.97, 1.03),
    )
    def trade(self, roles: list[str], symbol: str, leverage: float, price: float) -> None:
        taker, maker = roles[:2]
        size = int(
            max(1_000 * WAD, self.account(taker).margin.equity) * Decimal(str(leverage)) * WAD / self.price(symbol)
        )
        if abs(size) < 2:
            return
        at, symbol = int(self.price(symbol) * price), f"{symbol}-PERP"
        made = self.stage.order(maker, symbol, -size, at)
        taken = self.stage.order(taker, symbol, size, worst_price(at, size))
        if self.attempt(settle_trade(self.system, made, taken, abs(size)), SETTLER, *BARRED):
            self.filled.append((made, taken))

    @rule(
        roles=st.permutations(TRADERS),
        number=st.integers(0, 4 * OPTIONS),
        leverage=st.floats(0.01, 2),
        price=st.floats(0.9, 1.1),
    )
    def buy_option(self, roles: list[str], number: int, leverage: float, price: float) -> None:
        """GATE: with the premium gone there must be margin left."""
        self.trade_option(roles, number, leverage, price)

    @rule(
        roles=st.permutations(TRADERS),
        number=st.integers(0, 4 * OPTIONS),
        leverage=st.floats(0.01, 2),
        price=st.floats(0.9, 1.1),
    )
    def write_option(self, roles: list[str], number: int, leverage: float, price: float) -> None:
        """GATE: the premium does not pay for the margin."""
        self.trade_option(roles, number, -leverage, price)

    def trade_option(self, roles: list[str], number: int, leverage: float, price: float) -> None:
        """CASH: the premium moves at the trade, from one to the other; what has expired is traded no more."""
        taker, maker, now = roles[0], roles[1], self.chain.block().timestamp
        live = [one for one in self.stage.options if one.expiry > now + 60]
        # mostly one that may be traded: few of those that are listed at the opening live long
        option = self.stage.options[number] if number < OPTIONS else live[number % len(live)]
        symbol, index = self.system.symbol(option.id), self.price(self.system.names[option.underlying])
        size = int(max(1_000 * WAD, self.account(taker).margin.equity) * Decimal(str(leverage)) * WAD / index)
        if abs(size) < 2:
            return
        at = int(mark_of(self.system, option.id)[0] * Decimal(str(price)))
        call, refusals = self.stage.trade(taker, maker, symbol, size, at), self.expired(option)
        if refusals and self.state.timestamp >= option.expiry:
            self.refused("GATE", call, SETTLER, *refusals)
            return
        before = read_state(self.system)
        if not self.attempt(call, SETTLER, *BARRED, *refusals):
            return
        after = read_state(self.system)
        self.audit.seen["option trade"] += 1
        paid = {
            role: before.accounts[number].cash - after.accounts[number].cash
            for role, number in self.stage.accounts.items()
        }
        numbers = [self.stage.accounts[role] for role in (taker, maker)]
        owing = any(state.accounts[number].cash < 0 for number in numbers for state in (before, after))  # interest
        if not owing and not any(self.settled(before, role) for role in (taker, maker)):
            self.require("CASH", paid[taker] == -paid[maker], f"premium: {paid}")
            self.require("CASH", abs(paid[taker] - size * at // WAD) <= 1, f"{size} at {at} cost {paid[taker]}")

    @rule(role=st.sampled_from(TRADERS), symbol=st.sampled_from(SYMBOLS), sign=st.sampled_from([-1, 1]))
    def overreach(self, role: str, symbol: str, sign: int) -> None:
        """GATE: nobody gets a position of a hundred times its equity."""
        account = self.account(role)
        held = account.positions.get(self.system.perpetual(symbol))
        dollars = 100 * max(
            1_000 * WAD, abs(account.margin.equity), *(abs(u.exposure) for u in account.margin.underlyings)
        )
        size = sign * (dollars * WAD // self.price(symbol) + (2 * abs(held.size) if held else 0))
        other = next(one for one in TRADERS if one != role)
        at = self.price(symbol)
        self.refused("GATE", self.stage.trade(role, other, f"{symbol}-PERP", size, at), SETTLER, *BARRED)

    @rule(role=st.sampled_from(TRADERS), which=st.integers(0, 20), part=st.floats(0.1, 1))
    def reduce(self, role: str, which: int, part: float) -> None:
        """GATE's other half: whoever is short of margin may still close at the mark (where hedges do not depend on it),
        as long as the other side can carry it."""
        positions = list(self.account(role).positions.values())
        if not positions:
            return
        held = positions[which % len(positions)]
        size = -int(held.size * Decimal(str(part)))
        if size:
            instrument, other = Instrument.of(held.instrument), "maker" if role != "maker" else "hedger"
            at, _ = mark_of(self.system, instrument.id)
            self.attempt(
                self.stage.trade(role, other, self.system.symbol(instrument.id), size, at),
                SETTLER,
                *BARRED,
                *self.expired(instrument),
            )

    @rule(role=st.sampled_from(TRADERS), size=st.integers(1, WAD))
    def replay_and_forge(self, role: str, size: int) -> None:
        """Orders that were filled, cancelled, or signed by somebody else."""
        at = self.price("ETH")
        for made, taken in self.filled[-1:]:
            call = settle_trade(self.system, made, taken, 1)
            self.refused("GATE", call, SETTLER, "OrderGatewayOverfilled", "OrderGatewayCancelled")
        other = next(one for one in TRADERS if one != role)
        made, taken = self.stage.order(role, "ETH-PERP", -size, at), self.stage.order(other, "ETH-PERP", size, at)
        forged = SignedOrder(made.order, sign_order(self.system, THIEF, made.order).signature, made.digest)
        self.refused("GATE", settle_trade(self.system, forged, taken, size), SETTLER, "OrderGatewayBadSignature")
        self.chain.send(self.system.order_gateway.cancelAllOrders(self.stage.accounts[role]), self.stage.sender(role))
        self.refused("GATE", settle_trade(self.system, made, taken, size), SETTLER, "OrderGatewayCancelled")

    @rule(role=st.sampled_from(TRADERS))
    def settle_variation(self, role: str) -> None:
        """EQUITY: profit becomes cash, nothing is left over and nobody has more or less than before."""
        number = self.stage.accounts[role]
        receipt = self.chain.send(self.clearing.settleVariation(number), SETTLER)
        ((before, after),) = self.stage.observer.standings([number], receipt.block)
        account = read_state(self.system).accounts[number]
        lines, moved = len(account.positions), after.equity - before.equity
        self.require("EQUITY", abs(moved) <= lines, f"settling variation moved equity by {moved} wei")
        left = self.variation(account)
        self.require("EQUITY", 0 <= left <= lines, f"{left} wei of variation were left after settling it")
