"""A house that trades, with its people in it, on a chain of its own: where every life begins."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Receipt, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.orders import SignedOrder, make_order, settle_trade, worst_price
from plimsoll.chain.system import System
from plimsoll.config import WAD, Config, Profile
from plimsoll.margin.onchain import mark_of
from simulation.observe import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plimsoll.chain.abi import Call

EXPIRY = 2**40

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
            epoch=self.chain.read(self.system.order_gateway.epochOf(self.accounts[role])),
            salt=self.chain.block().number << 1 | (size > 0),
        )  # fmt: skip

    def trade(self, taker: str, maker: str, symbol: str, size: int, price: int) -> Call:
        """The taker buys (sells, if negative) `size` [wad] from the maker, whatever the fee for moving the premium;
        half as much again stays on offer."""
        made = self.order(maker, symbol, -size * 3 // 2, price)
        limit = worst_price(price, size) if symbol.endswith("-PERP") else price
        return settle_trade(self.system, made, self.order(taker, symbol, size, limit), abs(size))


@contextmanager
def set_stage(folder: Path) -> Iterator[Stage]:
    """Deploys the house on an anvil of its own and lets its people in."""
    profile = Config.load().profile("crypto")
    with Anvil(timestamp=1_700_000_000) as node:
        chain = Chain.connect(node.url)
        chain.rpc("anvil_setBlockTimestampInterval", 1)  # time is what the rules say, not what the machine needs
        system = System.load(chain, deploy(chain, profile, DEPLOYER, folder / "31337.json"))
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
