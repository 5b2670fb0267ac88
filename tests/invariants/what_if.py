"""What would be, on a snapshot: feeds that fail, books that are larger, markets that are wilder (ORACLE, ORDER)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.config import WAD
from plimsoll.margin.onchain import margin_of_portfolio, portfolio_of
from simulation.invariants import check_rising
from simulation.observe import imagined
from simulation.probes import ORACLE_ERRORS
from tests.invariants.life import LOCKED, Life
from tests.invariants.stage import HEDGER, REPORTER, SETTLER, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.abi import Call


class WhatIf(Life):
    """Rules that put everything back."""

    @rule(symbol=st.sampled_from(SYMBOLS))
    def feed_fails(self, symbol: str) -> None:
        """ORACLE, on a snapshot: while a feed fails nobody exposed to it takes on risk or takes collateral out."""
        if self.chain.block().timestamp < self.state.paused_until:  # it would not be the feed's doing
            return
        price, volatility = (getattr(self.stage.profile.underlying(symbol), kind) for kind in ("price", "volatility"))
        prices, volatilities = self.system.price_feeds[symbol], self.system.volatility_feeds[symbol]
        inject: dict[str, Callable[[], Any]] = {
            "zero": lambda: self.chain.send(prices.push(0), REPORTER),
            "negative": lambda: self.chain.send(prices.push(-1), REPORTER),
            "above": lambda: self.chain.send(prices.push(price.answer(price.maximum) + 1), REPORTER),
            "below": lambda: self.chain.send(prices.push(price.answer(price.minimum) - 1), REPORTER),
            "zero volatility": lambda: self.chain.send(volatilities.push(0), REPORTER),
            "volatility above": lambda: self.chain.send(
                volatilities.push(volatility.answer(volatility.maximum * 2)), REPORTER
            ),
            "stale": lambda: self.pass_time(price.heartbeat + 1),
        }
        collateral = "WBTC" if symbol == "BTC" else "WETH"
        with self.chain.snapshot():
            self.stage.deposit("hedger", collateral, 10**9)
            self.stage.deposit("hedger", "USD", 10**14)  # a fortune, so that nothing else could be the reason
            more = self.riskier_trade(symbol)
            for name, fault in inject.items():
                note(f"feed of {symbol}: {name}")
                self.audit.seen["feed fault"] += 1
                with self.chain.snapshot():
                    fault()
                    self.refused("ORACLE", more, SETTLER, *ORACLE_ERRORS)
                    for asset in ("USD", collateral):
                        self.refused("ORACLE", self.withdrawal("hedger", asset, 1), HEDGER, *ORACLE_ERRORS, LOCKED)

    def riskier_trade(self, symbol: str) -> Call:
        """Five units that the hedger has more risk with: what takes risk from both sides no feed of volatility bars."""
        held, price = portfolio_of(self.system, self.stage.accounts["hedger"]), self.price(symbol)

        def requirement(size: int) -> int:
            traded = held.with_trade(self.system.perpetual(symbol), size, price)
            return margin_of_portfolio(self.system, traded).initial.total

        size = max(5 * WAD, -5 * WAD, key=requirement)
        return self.stage.trade("hedger", "maker", f"{symbol}-PERP", size, price)

    @rule(
        sizes=st.tuples(st.floats(-20, 20), st.floats(-300, 300)),
        more=st.floats(1, 5),
        seconds=st.integers(1, 7_000),
    )
    def compare(self, sizes: tuple[float, float], more: float, seconds: int) -> None:
        """ORDER: margin of an imagined book rises with its size, and where it is no hedge with volatility and with the
        age of prices. Of a hedge one leg alone may become wilder, the other's level resting on its floor."""

        def book(scale: float) -> Any:
            held = {self.system.perpetual(s): int(size * scale * WAD) for s, size in zip(SYMBOLS, sizes, strict=True)}
            return imagined(0, {instrument: size for instrument, size in held.items() if size})

        one, larger = self.stage.observer.margins([book(1), book(more)])
        check_rising(self.audit.checks, one, larger, f"{more} times the size")
        if sizes[0] * sizes[1] < 0:
            return
        with self.chain.snapshot():
            for symbol in SYMBOLS:
                feed = self.system.volatility_feeds[symbol]
                limit = self.stage.profile.underlying(symbol).volatility
                answer = self.chain.read(feed.latestRoundData())[1]
                self.chain.send(feed.push(min(int(answer * 1.5), limit.answer(limit.maximum))), REPORTER)
            (wilder,) = self.stage.observer.margins([book(1)])
            check_rising(self.audit.checks, one, wilder, "more volatility")
        oldest = max(oracle.price_age for oracle in self.state.oracles.values())
        with self.chain.snapshot():
            self.pass_time(max(1, min(seconds, 7_100 - oldest)))
            (older,) = self.stage.observer.margins([book(1)])
            check_rising(self.audit.checks, one, older, "older prices")
