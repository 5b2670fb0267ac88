"""Who brings money in, takes it out and moves it about, in a circle as well (GATE, EQUITY, ROUND)."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from plimsoll.chain.system import CASH
from plimsoll.config import WAD
from plimsoll.margin.onchain import mark_of
from simulation.invariants import standing_of
from tests.invariants.life import BARRED, LOCKED, SHORT_OF_FUNDS, Life
from tests.invariants.stage import FUNDING, OPTIONS, SETTLER, THIEF, TRADERS


class Money(Life):
    """Rules about collateral."""

    @rule(
        role=st.sampled_from(list(FUNDING)),
        asset=st.sampled_from(["USD", "WBTC", "WETH"]),
        dollars=st.floats(1, 20_000),
    )
    def deposit(self, role: str, asset: str, dollars: float) -> None:
        if FUNDING[role][0] is THIEF:  # whose wealth is counted
            return
        entry = self.system.asset(asset)
        price = WAD if entry.id == CASH else self.price(entry.underlying)
        units = max(1, int(dollars * 10**entry.decimals) * WAD // price)
        receipt = self.stage.deposit(role, asset, units)
        ((before, after),) = self.stage.observer.standings([self.stage.accounts[role]], receipt.block)
        value, moved = units * 10 ** (18 - entry.decimals) * price // WAD, after.equity - before.equity
        self.require("EQUITY", abs(moved - value) <= 2, f"a deposit of {value} moved equity by {moved}")

    @rule(role=st.sampled_from(list(FUNDING)), asset=st.sampled_from(["USD", "WBTC", "WETH"]), part=st.floats(0, 1))
    def withdraw(self, role: str, asset: str, part: float) -> None:
        units = int(self.holding(role, asset) * part)
        if units:
            self.attempt(self.withdrawal(role, asset, units), self.stage.sender(role), *BARRED, LOCKED, SHORT_OF_FUNDS)

    @rule(role=st.sampled_from(TRADERS))
    def overdraw(self, role: str) -> None:
        """GATE: to the cent what margin allows may go, and a cent more may not."""
        account = self.account(role)
        standing, sender = standing_of(account), self.stage.sender(role)
        too_much = max(0, (standing.equity - standing.initial) // 10**12) + 10_000
        self.refused("GATE", self.withdrawal(role, "USD", too_much), sender, *BARRED, SHORT_OF_FUNDS, LOCKED)
        everything = self.holding(role, "USD")
        self.refused("GATE", self.withdrawal(role, "USD", everything + 1), sender, SHORT_OF_FUNDS, LOCKED)
        self.refused("GATE", self.withdrawal(role, "USD", 1), THIEF, "ClearingHouseNotAuthorised")

    @rule(roles=st.permutations(list(FUNDING)), asset=st.sampled_from(["USD", "WBTC", "WETH"]), part=st.floats(0, 1))
    def transfer(self, roles: list[str], asset: str, part: float) -> None:
        giver, taker = roles[:2]
        if (FUNDING[giver][0] is THIEF) != (FUNDING[taker][0] is THIEF):
            return  # a gift to the thief is no theft
        units = int(self.holding(giver, asset) * part)
        if units:
            self.attempt(
                self.clearing.transfer(
                    self.stage.accounts[giver], self.stage.accounts[taker], self.system.asset(asset).id, units
                ),
                self.stage.sender(giver),
                *BARRED,
                SHORT_OF_FUNDS,
            )

    @rule(asset=st.sampled_from(["USD", "WETH"]), parts=st.lists(st.floats(0, 1), min_size=1, max_size=4))
    def go_round_in_circles(self, asset: str, parts: list[float]) -> None:
        """ROUND: the thief splits, merges, takes out and brings back; `everything_holds` counts its money."""
        first, second = self.stage.accounts["thief"], self.stage.accounts["thief's other"]
        number = self.system.asset(asset).id
        # It may hold options against itself, so each of its accounts has a margin to keep.
        refusals = (SHORT_OF_FUNDS, *BARRED)
        for part in parts:
            units = int(self.holding("thief", asset) * part)
            if not units or not self.attempt(self.clearing.transfer(first, second, number, units), THIEF, *refusals):
                continue
            self.attempt(self.clearing.transfer(second, first, number, max(1, units // 3)), THIEF, *refusals)
            piece = max(1, units // 5)
            if self.attempt(self.clearing.withdraw(second, number, piece, THIEF.address), THIEF, LOCKED, *refusals):
                self.chain.send(self.stage.token(asset).approve(self.clearing.address, 2**255), THIEF)
                self.chain.send(self.clearing.deposit(first, number, piece), THIEF)

    @rule(
        option=st.none() | st.integers(0, OPTIONS - 1),
        size=st.integers(1, WAD // 20),
        cut=st.floats(0, 1),
        price=st.floats(0.98, 1.02),
    )
    def trade_with_oneself(self, option: int | None, size: int, cut: float, price: float) -> None:
        """ROUND: the thief trades with itself and back in odd pieces."""
        instrument = self.system.instrument("BTC-PERP") if option is None else self.stage.options[option]
        at = int(mark_of(self.system, instrument.id)[0] * price)
        first, refusals = max(1, int(size * cut)), (*BARRED, *self.expired(instrument))

        def trade(size: int) -> bool:
            call = self.stage.trade("thief", "thief's other", self.system.symbol(instrument.id), size, at)
            return self.attempt(call, SETTLER, *refusals)

        if trade(size):
            for piece in (first, size - first):
                if piece:
                    trade(-piece)
