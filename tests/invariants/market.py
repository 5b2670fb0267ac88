"""What the world outside does: prices, volatility, time, expiries (ORACLE, ORDER, EQUITY)."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.chain.fields import Field, Key
from plimsoll.chain.state import read_state
from plimsoll.config import WAD
from plimsoll.keeper.expiry import find_round
from tests.invariants.life import LOCKED, SHORT_OF_FUNDS, Life
from tests.invariants.stage import HEDGER, REPORTER, SETTLER, SYMBOLS, THIEF, TRADERS


class Market(Life):
    """Rules about the world outside."""

    @rule(before=st.integers(0, 8_000), after=st.integers(0, 3_000), keeper=st.booleans())
    def expire(self, before: int, after: int, keeper: bool) -> None:
        """ORACLE, ZERO-SUM: the next expiry comes, `before` seconds after a report, and is settled by whoever: by one
        round of the feed and no other, once."""
        now = self.chain.block().timestamp
        coming = sorted({option.expiry for option in self.stage.options if option.expiry > now})
        if not coming or coming[0] - now > 86_400:
            return
        expiry = coming[0]
        for lead in (before + 60, before):  # so that the round before the one in force is fresh enough as well
            if expiry - lead > self.chain.block().timestamp:
                self.pass_time(expiry - lead - self.chain.block().timestamp)
                self.reporter_returns()
        self.pass_time(max(1, expiry - self.chain.block().timestamp + after))
        self.reporter_returns()
        found = {number: find_round(self.system, number, expiry) for number in self.system.underlyings.values()}
        for number, right in found.items():
            assert right is not None, f"no round settles {expiry}"
            for wrong in (right - 1, right + 1, 2**64 | 2**63):
                call = self.system.registry.settle(number, expiry, wrong)
                self.refused("ORACLE", call, SETTLER, "RegistryWrongRound")
        if keeper:
            self.let_keeper_work(1, 60)
            return
        for number, right in found.items():
            call = self.system.registry.settle(number, expiry, right)
            self.chain.send(call, THIEF)
            self.refused("ORACLE", call, SETTLER, "RegistryAlreadySettled")

    @rule(role=st.sampled_from(TRADERS))
    def settle_expired(self, role: str) -> None:
        """EQUITY: payoffs become cash, at most a wei a position is lost, and nothing settled is left."""
        number, held = self.stage.accounts[role], self.account(role).positions
        receipt = self.chain.send(self.clearing.settleExpired(number), THIEF)
        ((before, after),) = self.stage.observer.standings([number], receipt.block)
        moved = after.equity - before.equity
        self.require("EQUITY", -len(held) <= moved <= 1, f"paying out expired options moved equity by {moved} wei")
        self.require("EQUITY", not self.settled(read_state(self.system), role), f"{role} still holds settled options")

    @rule(symbol=st.sampled_from(SYMBOLS), factor=st.floats(0.93, 1.07))
    def price_moves(self, symbol: str, factor: float) -> None:
        self.report_price(symbol, factor)

    @rule(factor=st.floats(0.55, 0.95), symbols=st.sampled_from([SYMBOLS, ("BTC",), ("ETH",)]))
    def crash(self, factor: float, symbols: tuple[str, ...]) -> None:
        for symbol in symbols:
            self.report_price(symbol, factor)
        self.let_keeper_work(3, 150)

    @rule(role=st.sampled_from(["bull", "bear", "hedger"]), depth=st.floats(0.2, 0.98))
    def brush_with_liquidation(self, role: str, depth: float) -> None:
        """A price at which the account's equity is this part of its maintenance margin: solvent, and liquidatable."""
        margin = self.account(role).margin
        largest = max(margin.underlyings, key=lambda part: abs(part.exposure), default=None)
        if largest is None or largest.exposure == 0:
            return
        symbol = next(name for name, number in self.system.underlyings.items() if number == largest.underlying)
        factor = 1 - (margin.equity - depth * margin.maintenance.total) / largest.exposure
        if 0.6 < factor < 1.6:
            self.report_price(symbol, factor)
            self.let_keeper_work(3, 150)

    @rule(factor=st.floats(1.05, 1.6))
    def squeeze(self, factor: float) -> None:
        for symbol in SYMBOLS:
            self.report_price(symbol, factor)
        self.let_keeper_work(3, 150)

    @rule(symbol=st.sampled_from(SYMBOLS), volatility=st.floats(0.02, 4))
    def volatility_moves(self, symbol: str, volatility: float) -> None:
        feed = self.stage.profile.underlying(symbol).volatility
        self.chain.send(self.system.volatility_feeds[symbol].push(feed.answer(volatility)), REPORTER)

    @rule(symbol=st.sampled_from(SYMBOLS), rounds=st.integers(0, 5))
    def poke(self, symbol: str, rounds: int) -> None:
        """ORDER: the maintenance level is never above the live one and rises no faster than its rate between pokes."""
        before, number = self.state.oracles[symbol], self.system.underlyings[symbol]
        receipt = self.chain.send(self.system.volatility_oracle.poke(number, rounds), SETTLER)
        after = read_state(self.system).oracles[symbol]
        assert after.live is not None
        assert after.maintenance is not None
        self.require("ORDER", after.maintenance <= after.live, f"maintenance {after.maintenance}, live {after.live}")
        hours = min(1, (self.chain.block(receipt.block).timestamp - before.poked_at) / 3_600)
        rate = self.state.parameters[Key(Field.VOLATILITY_RISE_RATE, number)] / 1e6
        highest = before.poked_maintenance * math.exp(rate * hours) * (1 + 1e-9)
        self.require(
            "ORDER",
            after.poked_maintenance <= highest,
            f"a poke raised the maintenance level from {before.poked_maintenance} to {after.poked_maintenance}",
        )

    @rule(seconds=st.integers(1, 3 * 3_600), volatility=st.booleans())
    def time_passes(self, seconds: int, volatility: bool) -> None:
        """Prices may go out of date: then there is no withdrawal and no trade (ORACLE) until the reporter is back with
        the same prices. Volatility may stay out of date."""
        call = self.withdrawal("hedger", "USD", 1)
        trade = self.stage.trade("bull", "maker", "BTC-PERP", WAD // 100, self.price("BTC"))
        self.pass_time(seconds)
        age = self.state.oracles["BTC"].price_age + self.chain.block().timestamp - self.state.timestamp
        if age > self.stage.profile.underlying("BTC").price.heartbeat:
            self.refused("ORACLE", call, HEDGER, "PriceOracleStale", SHORT_OF_FUNDS, LOCKED)
            self.refused("ORACLE", trade, SETTLER, "PriceOracleStale")
        self.reporter_returns(volatility=volatility)
