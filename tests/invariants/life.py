"""One life of the house: how rules act, and what is looked at after each of them."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from plimsoll.chain.client import Reverted, Sender
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.orders import SignedOrder
from plimsoll.chain.state import AccountState, State, read_state
from plimsoll.chain.system import CASH
from plimsoll.config import WAD
from plimsoll.keeper.decide import Policy
from plimsoll.keeper.run import NO_ROUND, Keeper
from simulation.audit import Audit
from simulation.invariants import Standing, payoff_of
from tests.invariants.stage import KEEPER, REPORTER, SAVER, THIEF, UNDERWRITER, Stage

if TYPE_CHECKING:
    from plimsoll.chain.abi import Call, Event

ANY_NONCE = 2**64 - 1
MARGIN = "ClearingHouseInsufficientMargin"
LOCKED = "ClearingHouseWithdrawalsLocked"
SHORT_OF_FUNDS = "ClearingHouseInsufficientCollateral"
STALE_VOLATILITY = "ClearingHouseStaleVolatility"
PAUSED = "ClearingHousePaused"
BARRED = (MARGIN, STALE_VOLATILITY, PAUSED)
"""Why an account may not add risk, or take something out."""
KEEPER_REFUSALS = {
    "",
    "LiquidationNotLiquidatable",
    "LiquidationStillLiquidatable",
    "LiquidationPriceLimit",
    "LiquidationStaleBid",
    "LiquidationZeroFraction",
    "LiquidationNotFlagged",
    "LiquidationAlreadyFlagged",
    "LiquidationThroughput",
    "ClearingHouseNoLossDue",
    "InsuranceFundNoClaimDue",
    MARGIN,
    NO_ROUND,
}
"""What a step earlier in the same round, or a lack of margin, may make of a keeper's action."""


class Life(RuleBasedStateMachine):
    """One life of the house."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.system = stage.system
        self.chain = stage.chain
        self.clearing = stage.system.clearing_house
        self.undo = ExitStack()
        self.undo.enter_context(self.chain.snapshot())
        self.audit = Audit(self.system, stage.observer, on_bid=self.note_bid)
        self.require = self.audit.checks.require
        self.keeper = Keeper(self.system, KEEPER, Policy(stage.accounts["keeper"], minimum_discount=WAD // 100))
        self.payouts = 0
        self.sound = False
        """Everything held at the last look."""
        self.state: State

    def teardown(self) -> None:
        self.undo.close()

    def note_bid(self, event: Event, before: Standing, after: Standing) -> None:  # noqa: ARG002 - the hook's signature
        solvent = event.arguments["bid"].cover == 0
        self.audit.seen["solvent bid" if solvent else "insolvent bid"] += 1

    @initialize()
    def begin(self) -> None:
        self.wealth, self.shares, self.thiefs_fees = self.thiefs_wealth(read_state(self.system)), 0, 0
        # of the maker's orders and the takers', once filled
        self.filled: list[tuple[SignedOrder, SignedOrder]] = []

    @invariant()
    def everything_holds(self) -> None:
        self.sound = False
        self.look()
        self.nobody_earns_by_moving_money()
        self.nobody_leaves_ahead_of_a_loss()
        self.sound = True

    def look(self) -> None:
        """The audit since the last look, and what the thief has paid for moving a premium meanwhile."""
        self.state, events = self.audit.examine()
        mine = {self.stage.accounts["thief"], self.stage.accounts["thief's other"]}
        traded = (event.arguments for event in events if event.name == "Traded")
        self.thiefs_fees += sum(trade["fee"] for trade in traded if {trade["buyer"], trade["seller"]} <= mine)

    def nobody_earns_by_moving_money(self) -> None:
        """ROUND: who only moves money about, and trades with itself, has no more than before. What it has less went
        into fees, a shared loss or interest; and a wei into each payout and each perpetual's rounded funding."""
        wealth, shares = self.thiefs_wealth(self.state), self.audit.roundings.losses_shared
        rounding, self.payouts = self.audit.payouts.count - self.payouts + 4, self.audit.payouts.count
        fees, self.thiefs_fees = self.thiefs_fees, 0
        mine = [self.state.accounts[self.stage.accounts[role]] for role in ("thief", "thief's other")]
        explained = shares > self.shares or any(account.cash < 0 for account in mine)
        for asset, amount in wealth.items():
            gain = amount - self.wealth[asset] + (fees if asset == CASH else 0)
            allowed = rounding if asset == CASH else 0
            self.require("ROUND", gain <= allowed, f"the thief gained {gain} of {asset}")
            accounted = gain >= -allowed or (asset == CASH and explained)
            self.require("ROUND", accounted, f"the thief lost {-gain} of {asset}: where to?")
        self.wealth, self.shares = wealth, shares

    def thiefs_wealth(self, state: State) -> dict[int, int]:
        """What the thief has in its accounts and in its pockets: cash in wad, other assets in token units.

        It holds only what it holds against itself, so of options only payoffs count: one side may have had its own.
        """
        mine = [state.accounts[self.stage.accounts[role]] for role in ("thief", "thief's other")]
        wealth = {}
        for name, entry in self.system.manifest.assets.items():
            pocket = self.chain.read(self.stage.token(name).balanceOf(THIEF.address))
            if entry.id == CASH:
                inside = sum(one.cash + sum(p.quote for p in one.positions.values()) for one in mine)
                inside += (
                    sum(p.size * (payoff_of(state, p.instrument) or 0) for one in mine for p in one.positions.values())
                    // WAD
                )
                wealth[entry.id] = inside + pocket * 10 ** (18 - entry.decimals)
            else:
                wealth[entry.id] = sum(one.collateral.get(entry.id, 0) for one in mine) + pocket
        return wealth

    def nobody_leaves_ahead_of_a_loss(self) -> None:
        state = self.state
        if state.reserved_shortfall != 0:
            free = self.chain.read(self.system.insurance_fund.maxWithdraw(UNDERWRITER.address))
            self.require("LOSS", free == 0, f"{free} units may leave the fund ahead of a known loss")
        if state.pending_loss or state.reserved_shortfall > state.fund_assets * state.assets[CASH].scale:
            self.refused("LOSS", self.withdrawal("saver", "USD", 1), SAVER, LOCKED)

    # ─── How rules act

    def attempt(self, call: Call, sender: Sender, *acceptable: str) -> bool:
        """Send; whether it went through. A refusal must be one of the acceptable."""
        try:
            self.chain.send(call, sender)
        except Reverted as refusal:
            assert refusal.error in acceptable, f"{refusal}, expected success or {', '.join(acceptable)}"  # noqa: PT017
            return False
        return True

    def refused(self, identifier: str, call: Call, sender: Sender, *expected: str) -> None:
        """The chain must refuse this with one of the expected errors."""
        error = self.stage.observer.refusal(call, sender.address)
        self.require(
            identifier, error in expected, f"{call} got {error or 'through'}, expected {' or '.join(expected)}"
        )

    def withdrawal(self, role: str, asset: str, units: int) -> Call:
        call: Call = self.clearing.withdraw(
            self.stage.accounts[role], self.system.asset(asset).id, units, self.stage.sender(role).address
        )
        return call

    def price(self, symbol: str) -> int:
        price = self.state.oracles[symbol].price
        assert price is not None, self.state.oracles[symbol].fault
        return price

    def account(self, role: str) -> Any:
        return self.state.accounts[self.stage.accounts[role]]

    def variation(self, account: AccountState) -> int:
        """Unrealised profit on perpetuals [wad], by the prices of the state."""
        gains = 0
        for position in account.positions.values():
            instrument = Instrument.of(position.instrument)
            if not instrument.is_option:
                price = self.state.price_of(instrument.underlying)
                assert price is not None
                gains += position.size * price // WAD + position.quote
        return gains

    def holding(self, role: str, asset: str) -> int:
        """Token units an account could ask for: payoffs become cash before a withdrawal."""
        entry, account = self.system.asset(asset), self.account(role)
        if entry.id != CASH:
            return int(account.collateral.get(entry.id, 0))
        payoffs = sum(p.size * (payoff_of(self.state, p.instrument) or 0) // WAD for p in account.positions.values())
        return int(max(0, account.cash + self.variation(account) + payoffs) // 10 ** (18 - entry.decimals))

    def report_price(self, symbol: str, factor: float) -> None:
        feed = self.stage.profile.underlying(symbol).price
        answer = int(self.price(symbol) * 10 ** (feed.decimals or 0) // WAD * Decimal(str(factor)))
        lowest, highest = feed.answer(feed.minimum), feed.answer(feed.maximum)
        self.chain.send(self.system.price_feeds[symbol].push(min(max(answer, lowest), highest)), REPORTER)

    def reporter_returns(self, *, volatility: bool = True) -> None:
        """Every price, and every volatility, is reported again as it was."""
        volatilities = self.system.volatility_feeds.values() if volatility else ()
        for feed in (*self.system.price_feeds.values(), *volatilities):
            self.chain.send(feed.push(self.chain.read(feed.latestRoundData())[1]), REPORTER)

    def pass_time(self, seconds: int) -> None:
        self.chain.set_time(self.chain.block().timestamp + seconds)
        self.chain.mine()

    def expired(self, instrument: Instrument) -> tuple[str, ...]:
        """How a trade in it is refused, if it is."""
        over = instrument.is_option and self.chain.block().timestamp >= instrument.expiry - 3  # blocks are on their way
        return ("RegistryExpired",) if over else ()

    def settled(self, state: State, role: str) -> bool:
        """Whether an account holds settled options, which any trade turns into cash."""
        positions = state.accounts[self.stage.accounts[role]].positions
        return any(payoff_of(state, instrument) is not None for instrument in positions)

    def let_keeper_work(self, rounds: int, pause: int) -> None:
        for _ in range(rounds):
            for outcome in self.keeper.step():
                known = outcome.refusal.partition("(")[0]
                assert known in KEEPER_REFUSALS, outcome
            self.pass_time(pause)
            self.reporter_returns()
            self.look()
