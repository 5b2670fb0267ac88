"""The design's invariants over random lives of a whole house on a real chain.

Hypothesis draws what everybody does next; after every step all invariants are checked on the chain's own state and
events (simulation.audit). Rules also check what a step promises of itself, and try what must not work. Every example
starts from one snapshot: a house that trades, a trader short of margin, and a fund that a crash can empty.

The draw is fixed, so that a run is the same everywhere. `PLIMSOLL_EXAMPLES=200` looks further and, where it finds
something, for the shortest way there.

What failed when the contracts were broken on purpose, one line at a time: the check of initial margin on trades
(`overreach`, GATE) or on withdrawals (`feed_fails`, ORACLE); `heldOf` left as it was by a withdrawal (the next deposit
in `go_round_in_circles`); variation settled the wrong way round (`settle_variation`, EQUITY); a wei left over by a
withdrawal (the audit, CASH); half a loss shared (the audit, LOSS); steps twice as long (`calibrator_pushes`, BOUNDS);
no check of a price's age (`feed_fails`, ORACLE); a payoff or a premium that is off by a wei (the audit, CASH); no check
of margin on the maker's side of a trade in options (the audit, GATE); an expiry settled by a round before the one in
force (`expire`, ORACLE).
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from plimsoll.chain.abi import Event
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Receipt, Reverted, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.fields import Field, Key, ParameterChange
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.orders import SignedOrder, make_order, sign_order
from plimsoll.chain.plan import market_hash
from plimsoll.chain.state import AccountState, State, read_state
from plimsoll.chain.system import CASH, System
from plimsoll.config import Config, Profile
from plimsoll.keeper.decide import Policy
from plimsoll.keeper.expiry import find_round
from plimsoll.keeper.run import NO_ROUND, Keeper
from plimsoll.margin.onchain import mark_of
from simulation.audit import Audit
from simulation.invariants import Standing, check_rising, payoff_of, standing_of
from simulation.observe import Observer, imagined
from simulation.probes import ORACLE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from plimsoll.chain.abi import Call

EXAMPLES = int(os.environ.get("PLIMSOLL_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 20,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
)

WAD = 10**18
EXPIRY = 2**40
ANY_NONCE = 2**64 - 1
MARGIN = "ClearingHouseInsufficientMargin"
LOCKED = "ClearingHouseWithdrawalsLocked"
SHORT_OF_FUNDS = "ClearingHouseInsufficientCollateral"
STALE_VOLATILITY = "ClearingHouseStaleVolatility"
KEEPER_REFUSALS = {
    "",
    "LiquidationNotLiquidatable",
    "LiquidationStillLiquidatable",
    "LiquidationPriceLimit",
    "LiquidationStaleBid",
    "LiquidationZeroFraction",
    "LiquidationNotFlagged",
    "ClearingHouseLossTooLarge",
    MARGIN,
    NO_ROUND,
}
"""What a step earlier in the same round, or a lack of margin, may make of a keeper's action."""

DEPLOYER, KEEPER, MAKER, BULL, BEAR, HEDGER, SAVER, UNDERWRITER, THIEF, SETTLER = (Sender.dev(i) for i in range(10))
REPORTER = CALIBRATOR = DEPLOYER  # as in the profile
FUNDING: dict[str, tuple[Sender, dict[str, float]]] = {
    "keeper": (KEEPER, {"USD": 300_000}),
    "maker": (MAKER, {"USD": 2_000_000}),
    "bull": (BULL, {"USD": 30_000}),
    "bear": (BEAR, {"USD": 40_000}),
    "hedger": (HEDGER, {"USD": 20_000, "WBTC": 1.5, "WETH": 20}),
    "saver": (SAVER, {"USD": 50_000}),
    "thief": (THIEF, {"USD": 10_000, "WETH": 1}),
    "thief's other": (THIEF, {"USD": 5_000}),
}
FUND = 4_000
"""Dollars in the insurance fund: less than a crash costs."""
OPENING = (
    ("bull", "BTC-PERP", 3.5),
    ("bear", "ETH-PERP", -50.0),
    ("hedger", "BTC-PERP", -1.5),
    ("hedger", "ETH-PERP", -15.0),
)
TRADERS = ("bull", "bear", "hedger", "maker")
SYMBOLS = ("BTC", "ETH")
TENORS = (1_200, 2 * 3_600, 30 * 86_400)
"""Seconds from the opening to the expiries of the options: the first two come while rules do other things."""
STRIKES = (0.9, 1.0, 1.1)
"""Parts of the price at the opening."""
OPTIONS = 2 * 2 * len(TENORS) * len(STRIKES)
"""Calls and puts on both underlyings."""
OPENING_OPTIONS = (("hedger", 3, -0.8), ("bull", 10, 12.0), ("bear", 24, -0.5), ("hedger", 26, 0.7))
"""(role, number of the option, size)."""


@dataclass(frozen=True)
class Stage:
    """A deployed house with its people in it, before the first example. `accounts` is {role: account}."""

    system: System
    profile: Profile
    accounts: dict[str, int]
    observer: Observer
    options: tuple[Instrument, ...]

    @property
    def chain(self) -> Chain:
        return self.system.chain

    def sender(self, role: str) -> Sender:
        return FUNDING[role][0]

    def units(self, asset: str, amount: float) -> int:
        return int(Decimal(str(amount)).scaleb(self.system.asset(asset).decimals))

    def token(self, asset: str) -> Any:
        return self.system.cash if asset == "USD" else self.system.assets[asset]

    def deposit(self, role: str, asset: str, units: int) -> Receipt:
        sender, house = self.sender(role), self.system.clearing_house
        self.chain.send(self.token(asset).mint(sender.address, units), sender)
        self.chain.send(self.token(asset).approve(house.address, units), sender)
        return self.chain.send(house.deposit(self.accounts[role], self.system.asset(asset).id, units), sender)

    def order(self, role: str, symbol: str, size: int, price: int) -> SignedOrder:
        return make_order(
            self.system, self.sender(role), self.accounts[role], symbol, size, price, expiry=EXPIRY,
            epoch=self.chain.read(self.system.clearing_house.epochOf(self.accounts[role])),
            salt=self.chain.block().number << 1 | (size > 0),
        )  # fmt: skip

    def trade(self, taker: str, maker: str, symbol: str, size: int, price: int) -> Call:
        """The taker buys (sells, if negative) `size` [wad] from the maker; half as much again stays on offer."""
        made = self.order(maker, symbol, -size * 3 // 2, price)
        return self.settle(made, self.order(taker, symbol, size, price), abs(size))

    def settle(self, made: SignedOrder, taken: SignedOrder, size: int) -> Call:
        call: Call = self.system.clearing_house.settleTrade(
            made.order.as_tuple(), made.signature, taken.order.as_tuple(), taken.signature, size
        )
        return call


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    profile = Config.load().profile("crypto")
    with Anvil(timestamp=1_700_000_000) as node:
        chain = Chain.connect(node.url)
        chain.rpc("anvil_setBlockTimestampInterval", 1)  # time is what the rules say, not what the machine needs
        path: Path = tmp_path_factory.mktemp("deployments") / "31337.json"
        system = System.load(chain, deploy(chain, profile, DEPLOYER, path))
        accounts = {}
        for number, (role, (sender, _)) in enumerate(FUNDING.items(), 1):
            chain.send(system.clearing_house.createAccount(), sender)
            accounts[role] = number
        made = Stage(system, profile, accounts, Observer(system), list_options(system))
        for role, (_, funds) in FUNDING.items():
            for asset, amount in funds.items():
                made.deposit(role, asset, made.units(asset, amount))
        fund, cash = system.insurance_fund, system.cash
        chain.send(cash.mint(UNDERWRITER.address, FUND * 10**6), UNDERWRITER)
        chain.send(cash.approve(fund.address, 2**255), UNDERWRITER)
        chain.send(fund.deposit(FUND * 10**6, UNDERWRITER.address), UNDERWRITER)
        listed = [(role, system.symbol(made.options[number].id), size) for role, number, size in OPENING_OPTIONS]
        for role, symbol, size in (*OPENING, *listed):
            price, _ = mark_of(system, system.instrument(symbol).id)
            chain.send(made.trade(role, "maker", symbol, int(size * WAD), price), SETTLER)
        yield made


def strike_of(system: System, symbol: str, part: float) -> Decimal:
    """A strike at part of the opening price, dollars."""
    price, _ = system.chain.read(system.price_oracle.price(system.underlyings[symbol]))
    return Decimal(round(price * part / WAD))


def list_options(system: System) -> tuple[Instrument, ...]:
    """Calls and puts on everything, listed by governance."""
    now, options = system.chain.block().timestamp, []
    for tenor in TENORS:
        for symbol, number in system.underlyings.items():
            strikes = [strike_of(system, symbol, part) for part in STRIKES]
            series = [
                Instrument(kind, number, now + tenor, strike) for strike in strikes for kind in (Kind.CALL, Kind.PUT)
            ]
            units = tuple(option.strike_units for option in series if option.kind is Kind.CALL)
            system.chain.send(system.registry.listOptions(number, now + tenor, units), DEPLOYER)
            options += series
    return tuple(options)


class House(RuleBasedStateMachine):
    """One life of the house."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.system = stage.system
        self.chain = stage.chain
        self.clearing = stage.system.clearing_house
        self.mark = self.chain.rpc("evm_snapshot")
        self.audit = Audit(self.system, stage.observer, on_bid=self.note_bid)
        self.require = self.audit.checks.require
        self.keeper = Keeper(self.system, KEEPER, Policy(stage.accounts["keeper"], minimum_discount=WAD // 100))
        self.filled: list[tuple[SignedOrder, SignedOrder]] = []
        self.payouts = 0
        self.state: State

    def teardown(self) -> None:
        self.chain.rpc("evm_revert", self.mark)

    def note_bid(self, event: Event, before: Standing, after: Standing) -> None:  # noqa: ARG002 - the hook's signature
        solvent = event.arguments["bid"].cover == 0
        self.audit.seen["solvent bid" if solvent else "insolvent bid"] += 1

    @initialize()
    def begin(self) -> None:
        self.wealth, self.shares = self.thiefs_wealth(read_state(self.system)), 0

    @invariant()
    def everything_holds(self) -> None:
        self.state, _ = self.audit.examine()
        self.nobody_earns_by_moving_money()
        self.nobody_leaves_ahead_of_a_loss()

    def nobody_earns_by_moving_money(self) -> None:
        """ROUND: who only moves money about has no more than before; a shared loss may take, and never gives; a payout
        may take a wei."""
        wealth, shares = self.thiefs_wealth(self.state), self.audit.losses.shares
        rounding, self.payouts = self.audit.payouts.count - self.payouts, self.audit.payouts.count
        for asset, amount in wealth.items():
            gain = amount - self.wealth[asset]
            self.require("ROUND", gain <= 0, f"the thief gained {gain} of {asset}")
            shared = asset == CASH and shares > self.shares
            rounded = asset == CASH and gain >= -rounding
            self.require("ROUND", gain == 0 or shared or rounded, f"the thief lost {-gain} of {asset}: where to?")
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
        if state.reserved_shortfall == 0:
            return
        free = self.chain.read(self.system.insurance_fund.maxWithdraw(UNDERWRITER.address))
        self.require("LOSS", free == 0, f"{free} units may leave the fund ahead of a known loss")
        if state.reserved_shortfall > state.fund_assets * state.assets[CASH].scale:
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

    # ─── Collateral

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
            self.attempt(
                self.withdrawal(role, asset, units), self.stage.sender(role), MARGIN, LOCKED, SHORT_OF_FUNDS,
                STALE_VOLATILITY,
            )  # fmt: skip

    @rule(role=st.sampled_from(TRADERS))
    def overdraw(self, role: str) -> None:
        """GATE: to the cent what margin allows may go, and a cent more may not."""
        account = self.account(role)
        standing, sender = standing_of(account), self.stage.sender(role)
        too_much = max(0, (standing.equity - standing.initial) // 10**12) + 10_000
        self.refused("GATE", self.withdrawal(role, "USD", too_much), sender, MARGIN, SHORT_OF_FUNDS, LOCKED)
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
                self.stage.sender(giver), MARGIN, SHORT_OF_FUNDS, STALE_VOLATILITY,
            )  # fmt: skip

    @rule(asset=st.sampled_from(["USD", "WETH"]), parts=st.lists(st.floats(0, 1), min_size=1, max_size=4))
    def go_round_in_circles(self, asset: str, parts: list[float]) -> None:
        """ROUND: the thief splits, merges, takes out and brings back; `everything_holds` counts its money."""
        first, second = self.stage.accounts["thief"], self.stage.accounts["thief's other"]
        number = self.system.asset(asset).id
        # It may hold options against itself, so each of its accounts has a margin to keep.
        refusals = (SHORT_OF_FUNDS, MARGIN, STALE_VOLATILITY)
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
        first, refusals = max(1, int(size * cut)), (MARGIN, STALE_VOLATILITY, *self.expired(instrument))

        def trade(size: int) -> bool:
            call = self.stage.trade("thief", "thief's other", self.system.symbol(instrument.id), size, at)
            return self.attempt(call, SETTLER, *refusals)

        if trade(size):
            for piece in (first, size - first):
                if piece:
                    trade(-piece)

    def expired(self, instrument: Instrument) -> tuple[str, ...]:
        """How a trade in it is refused, if it is."""
        over = instrument.is_option and self.chain.block().timestamp >= instrument.expiry - 3  # blocks are on their way
        return ("RegistryExpired",) if over else ()

    # ─── Trading

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
        made, taken = self.stage.order(maker, symbol, -size, at), self.stage.order(taker, symbol, size, at)
        if self.attempt(self.stage.settle(made, taken, abs(size)), SETTLER, MARGIN, STALE_VOLATILITY):
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
        if not self.attempt(call, SETTLER, MARGIN, STALE_VOLATILITY, *refusals):
            return
        after = read_state(self.system)
        self.audit.seen["option trade"] += 1
        paid = {
            role: before.accounts[number].cash - after.accounts[number].cash
            for role, number in self.stage.accounts.items()
        }
        if not any(self.settled(before, role) for role in (taker, maker)):
            self.require("CASH", paid[taker] == -paid[maker], f"premium: {paid}")
            self.require("CASH", abs(paid[taker] - size * at // WAD) <= 1, f"{size} at {at} cost {paid[taker]}")

    def settled(self, state: State, role: str) -> bool:
        """Whether an account holds settled options, which any trade turns into cash."""
        positions = state.accounts[self.stage.accounts[role]].positions
        return any(payoff_of(state, instrument) is not None for instrument in positions)

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
        self.refused("GATE", self.stage.trade(role, other, f"{symbol}-PERP", size, at), SETTLER, MARGIN)

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
                SETTLER, MARGIN, STALE_VOLATILITY, *self.expired(instrument),
            )  # fmt: skip

    @rule(role=st.sampled_from(TRADERS), size=st.integers(1, WAD))
    def replay_and_forge(self, role: str, size: int) -> None:
        """Orders that were filled, cancelled, or signed by somebody else."""
        at = self.price("ETH")
        for made, taken in self.filled[-1:]:
            self.refused(
                "GATE", self.stage.settle(made, taken, 1), SETTLER,
                "ClearingHouseOrderOverfilled", "ClearingHouseOrderCancelled",
            )  # fmt: skip
        other = next(one for one in TRADERS if one != role)
        made, taken = self.stage.order(role, "ETH-PERP", -size, at), self.stage.order(other, "ETH-PERP", size, at)
        forged = SignedOrder(made.order, sign_order(self.system, THIEF, made.order).signature, made.digest)
        self.refused("GATE", self.stage.settle(forged, taken, size), SETTLER, "ClearingHouseBadSignature")
        self.chain.send(self.clearing.cancelAllOrders(self.stage.accounts[role]), self.stage.sender(role))
        self.refused("GATE", self.stage.settle(made, taken, size), SETTLER, "ClearingHouseOrderCancelled")

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

    # ─── Expiry

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

    # ─── Market

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

    # ─── The house at work

    @rule(rounds=st.integers(1, 4), pause=st.integers(60, 600))
    def keeper_works(self, rounds: int, pause: int) -> None:
        """LIQUIDATE, LOSS: flags, bids, ends and settles; the audit looks at every bid."""
        self.let_keeper_work(rounds, pause)

    def let_keeper_work(self, rounds: int, pause: int) -> None:
        for _ in range(rounds):
            for outcome in self.keeper.step():
                known = outcome.refusal.partition("(")[0]
                assert known in KEEPER_REFUSALS, outcome
            self.pass_time(pause)
            self.reporter_returns()
            self.audit.examine()

    @rule(role=st.sampled_from(["maker", "hedger", "bear"]), fraction=st.integers(1, WAD))
    def outbid(self, role: str, fraction: int) -> None:
        """LIQUIDATE: anybody may bid, for any fraction, at any stage of an auction."""
        bidder = self.stage.accounts[role]
        for account in self.state.accounts.values():
            if account.auction is not None and account.id != bidder:
                self.attempt(
                    self.system.liquidation_engine.bid(account.id, bidder, fraction, 2**200, ANY_NONCE),
                    self.stage.sender(role),
                    MARGIN, "LiquidationNotLiquidatable", "LiquidationZeroFraction", "ClearingHouseLossTooLarge",
                )  # fmt: skip

    @rule(role=st.sampled_from(TRADERS))
    def flag_a_healthy_account(self, role: str) -> None:
        account = self.account(role)
        call = self.system.liquidation_engine.flag(account.id, self.stage.accounts["thief"])
        if account.auction is None and not account.margin.is_liquidatable:
            self.refused("LIQUIDATE", call, THIEF, "LiquidationNotLiquidatable")

    @rule(
        field=st.sampled_from([Field.TAIL_INITIAL, Field.TAIL_MAINTENANCE, Field.VOLATILITY_STRESS,
                               Field.VOLATILITY_FLOOR, Field.AVERAGE_DAILY_VOLUME, Field.CORRELATION_LOW,
                               Field.CORRELATION_HIGH]),
        part=st.floats(0, 1),
        symbol=st.sampled_from(SYMBOLS),
    )  # fmt: skip
    def calibrator_pushes(self, field: Field, part: float, symbol: str) -> None:
        """BOUNDS: within the limits a push goes through; a unit beyond, or too soon after another, it does not."""
        ids = sorted(self.system.underlyings.values())
        is_pair = field in {Field.CORRELATION_LOW, Field.CORRELATION_HIGH}
        key = Key(field, *ids) if is_pair else Key(field, self.system.underlyings[symbol])
        allowed = self.chain.read(self.system.steward.allowed(int(field), key.underlying, key.other))
        now, present = self.chain.block().timestamp, self.state.parameters[key]
        within = int(allowed.minimum + (allowed.maximum - allowed.minimum) * Decimal(str(part)))
        refusals = ("ParameterStewardStep", "RiskParametersOutOfBounds", "ParameterStewardTooSoon")
        for beyond in (allowed.minimum - 1, allowed.maximum + 1):
            if beyond != present:
                self.refused("BOUNDS", self.bundle(key, beyond), CALIBRATOR, *refusals)
        self.refused("BOUNDS", self.bundle(key, within), THIEF, "AccessManagedUnauthorized")
        if now < allowed.allowedAt - 5 and within != present:
            self.refused("BOUNDS", self.bundle(key, within), CALIBRATOR, "ParameterStewardTooSoon")
        else:
            self.attempt(self.bundle(key, within), CALIBRATOR, "RiskParametersInconsistent")

    def bundle(self, key: Key, value: int) -> Call:
        change = ParameterChange(key.field, key.underlying, key.other, value)
        provenance = (b"\1" * 32, b"\2" * 32, market_hash(self.system.manifest.market), 1, 990_000)
        call: Call = self.system.steward.push((change.as_tuple(),), provenance)
        return call

    @rule(dollars=st.floats(0.000001, 50_000))
    def fund_and_back(self, dollars: float) -> None:
        """ROUND: who deposits into the fund and redeems at once gets no more back."""
        fund, cash, units = self.system.insurance_fund, self.system.cash, max(1, int(dollars * 10**6))
        self.chain.send(cash.mint(UNDERWRITER.address, units), UNDERWRITER)
        pocket = self.chain.read(cash.balanceOf(UNDERWRITER.address))
        held = self.chain.read(fund.balanceOf(UNDERWRITER.address))
        self.chain.send(fund.deposit(units, UNDERWRITER.address), UNDERWRITER)
        shares = self.chain.read(fund.balanceOf(UNDERWRITER.address)) - held
        if shares and self.attempt(
            fund.redeem(shares, UNDERWRITER.address, UNDERWRITER.address), UNDERWRITER, "ERC4626ExceededMaxRedeem"
        ):
            gain = self.chain.read(cash.balanceOf(UNDERWRITER.address)) - pocket
            self.require("ROUND", gain <= 0, f"the fund gave {gain} units more than it was given")

    @rule(part=st.floats(0, 0.5))
    def underwriter_leaves(self, part: float) -> None:
        fund = self.system.insurance_fund
        shares = int(self.chain.read(fund.balanceOf(UNDERWRITER.address)) * part)
        self.attempt(
            fund.redeem(shares, UNDERWRITER.address, UNDERWRITER.address), UNDERWRITER, "ERC4626ExceededMaxRedeem"
        )

    @rule()
    def sweep_fees(self) -> None:
        self.chain.send(self.clearing.sweepFees(), SETTLER)

    # ─── What if

    @rule(symbol=st.sampled_from(SYMBOLS))
    def feed_fails(self, symbol: str) -> None:
        """ORACLE, on a snapshot: while a feed fails nobody exposed to it takes on risk or takes collateral out."""
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
            more = self.stage.trade("hedger", "maker", f"{symbol}-PERP", 5 * WAD, self.price(symbol))
            for fault in inject.values():
                self.audit.seen["feed fault"] += 1
                with self.chain.snapshot():
                    fault()
                    self.refused("ORACLE", more, SETTLER, *ORACLE_ERRORS)
                    for asset in ("USD", collateral):
                        self.refused("ORACLE", self.withdrawal("hedger", asset, 1), HEDGER, *ORACLE_ERRORS, LOCKED)

    @rule(
        sizes=st.tuples(st.floats(-20, 20), st.floats(-300, 300)),
        more=st.floats(1, 5),
        seconds=st.integers(1, 7_000),
    )
    def compare(self, sizes: tuple[float, float], more: float, seconds: int) -> None:
        """ORDER: margin of an imagined book rises with its size, with volatility and with the age of prices."""

        def book(scale: float) -> Any:
            held = {self.system.perpetual(s): int(size * scale * WAD) for s, size in zip(SYMBOLS, sizes, strict=True)}
            return imagined(0, {instrument: size for instrument, size in held.items() if size})

        one, larger = self.stage.observer.margins([book(1), book(more)])
        check_rising(self.audit.checks, one, larger, f"{more} times the size")
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


HAPPENED = {
    "Deposited", "Withdrawn", "Transferred", "Traded", "OrdersCancelled", "VariationSettled", "AccountFlagged",
    "BidSettled", "AuctionEnded", "ShortfallReserved", "LossCovered", "LossShared", "FeesSwept", "ParametersPushed",
    "solvent bid", "insolvent bid", "feed fault", "option trade", "ExpirySettled", "ExpiredSettled",
}  # fmt: skip
"""What a run must have seen, or its draw was too tame to show anything."""


def test_house_keepsItsInvariants(stage: Stage) -> None:
    """Whatever everybody does. What was compared and what happened is counted, so that a tame run fails."""
    compared: Counter[str] = Counter()
    happened: Counter[str] = Counter()

    class Counted(House):
        def __init__(self) -> None:
            super().__init__(stage)

        def teardown(self) -> None:
            compared.update(self.audit.checks.counts)
            happened.update(self.audit.seen)
            super().teardown()

    run_state_machine_as_test(Counted, settings=SETTINGS)
    print(f"compared: {dict(compared)}\nhappened: {dict(happened)}")
    assert all(compared.values()), compared
    assert set(happened) >= HAPPENED, f"it never happened: {HAPPENED - set(happened)}"
