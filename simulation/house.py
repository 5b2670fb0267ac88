"""A replay's house: a fresh chain, the deployed system, the people in it, and what they can do.

Everybody acts from an address of their own. Orders are signed with their own keys; transactions are sent by the node on
their behalf, which a local chain does for any address, so that a replay is quick. The chain's clock follows the market:
blocks are a second apart unless the replay moves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np
from eth_utils.crypto import keccak

from plimsoll.calibration import CalibrationConfig, Report, calibrate
from plimsoll.calibration.model import Sources
from plimsoll.chain.abi import Call
from plimsoll.chain.client import Chain, Receipt, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.instruments import Instrument, Kind
from plimsoll.chain.orders import make_order, settle_trade, worst_price
from plimsoll.chain.system import System
from plimsoll.config import Config, Profile
from plimsoll.market import MarketData, Series, make_series, resample
from plimsoll.market.series import YEAR_SECONDS
from simulation.agents import CASH, MARKET_MAKER, Agent, Listed, perpetual

LEAD_TIME = 1_800
"""Seconds before the first bar at which the chain starts: enough for deploying and funding, a second a block."""
ORDER_LIFE = 30 * 86_400
"""Seconds for which an order is good: longer than any feed may be silent."""
UNDERWRITING = 1_000_000
"""Dollars in the insurance fund at the start."""
STRIKES = tuple(k / 2 for k in range(-6, 7))
"""Strikes that are listed, in standard deviations from the price."""


def wad(value: float) -> int:
    """A number with twelve digits after the point as wad, the same on every machine."""
    return int(Decimal(f"{value:.12f}").scaleb(18))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an address: `sender` is who the node sends for, `signer` holds the key that signs orders."""

    sender: Sender
    signer: Sender

    @classmethod
    def named(cls, name: str) -> Person:
        """A person whose key follows from the name: worthless, and the same in every run."""
        signer = Sender.from_key("0x" + keccak(text=f"plimsoll simulation {name}").hex())
        return cls(Sender.unlocked(signer.address), signer)


@dataclass(frozen=True, slots=True)
class Participant:
    """An agent with its person and its account in the clearing house."""

    agent: Agent
    person: Person
    account: int

    @property
    def name(self) -> str:
        return self.agent.name


class House:
    """The system and its people. Make it with `House.open`."""

    def __init__(
        self,
        system: System,
        data: MarketData,
        profile: Profile,
        calibration: Report,
        participants: Sequence[Participant],
    ) -> None:
        self.system = system
        self.data = data
        self.profile = profile
        self.calibration = calibration
        """That the house was deployed with."""
        self.participants = list(participants)
        self.by_name = {one.name: one for one in participants}
        self.by_account = {one.account: one for one in participants}
        self.reporter = system.chain.dev_accounts()[0]
        self.settler = settler()
        self.underwriter = underwriter()
        self.listed = {perpetual(name): Listed(perpetual(name), name, Kind.PERPETUAL) for name in system.underlyings}
        """What may be traded, by symbol, expired options among it."""
        self._salt = 0

    @property
    def chain(self) -> Chain:
        return self.system.chain

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.data.market.assets

    @classmethod
    def open(
        cls,
        chain: Chain,
        data: MarketData,
        agents: Sequence[Agent],
        folder: Path,
        start: int,
        amend: Callable[[Profile], Profile] = lambda profile: profile,
    ) -> House:
        """Deploy with parameters calibrated on what was known before `start`, open and fund everybody's account.

        The deployment's manifest is written into `folder`. amend: what the profile becomes before it is deployed.
        """
        chain.rpc("anvil_setBlockTimestampInterval", 1)
        chain.rpc("anvil_autoImpersonateAccount", True)
        report = calibrated(data, start - 1)
        profile = amend(starting_profile(Config.load(), data, known(data, start - 1), report))
        manifest = deploy(chain, profile, chain.dev_accounts()[0], folder / "deployment.json", fresh=True)
        system = System.load(chain, manifest)
        people = [Person.named(agent.name) for agent in agents]
        for sender in (*(person.sender for person in people), settler(), underwriter()):
            chain.rpc("anvil_setBalance", sender.address, hex(10**24))
        for person in people:
            chain.send(system.clearing_house.createAccount(), person.sender)
        house = cls(
            system,
            data,
            profile,
            report,
            [Participant(agent, person, k) for k, (agent, person) in enumerate(zip(agents, people, strict=True), 1)],
        )
        for one in house.participants:
            if chain.read(system.clearing_house.ownerOf(one.account)) != one.person.sender.address:
                raise RuntimeError(f"account {one.account} is not {one.name}'s")
            for asset, amount in one.agent.funding.items():
                house.deposit(one, asset, amount)
        house.underwrite(UNDERWRITING)
        return house

    # ─── Collateral

    def units(self, asset: str, amount: float) -> int:
        """Token units of an amount, rounded down."""
        return int(Decimal(f"{amount:.12f}").scaleb(self.system.asset(asset).decimals))

    def deposit(self, who: Participant, asset: str, amount: float) -> None:
        """Mint test tokens to a participant and bring them in."""
        token = self.system.cash if asset == CASH else self.system.assets[asset]
        units, sender = self.units(asset, amount), who.person.sender
        house = self.system.clearing_house
        self.chain.send(token.mint(sender.address, units), sender)
        self.chain.send(token.approve(house.address, units), sender)
        self.chain.send(house.deposit(who.account, self.system.asset(asset).id, units), sender)

    def withdraw(self, who: Participant, asset: str, amount: float) -> Receipt:
        """Take tokens out to the participant's own address. Reverted if the clearing house refuses."""
        return self.chain.send(self.withdrawal_call(who, asset, amount), who.person.sender)

    def withdrawal_call(self, who: Participant, asset: str, amount: float, by: Participant | None = None) -> Call:
        """A withdrawal from `who`'s account to the address of whoever makes it."""
        call: Call = self.system.clearing_house.withdraw(
            who.account, self.system.asset(asset).id, self.units(asset, amount), (by or who).person.sender.address
        )
        return call

    def underwrite(self, dollars: float) -> None:
        """Deposit into the insurance fund."""
        units, fund, sender = self.units(CASH, dollars), self.system.insurance_fund, self.underwriter
        self.chain.send(self.system.cash.mint(sender.address, units), sender)
        self.chain.send(self.system.cash.approve(fund.address, units), sender)
        self.chain.send(fund.deposit(units, sender.address), sender)

    # ─── Trading

    def list_options(self, underlying: str, expiry: int, price: float, volatility: float) -> None:
        """Governance lists calls and puts of an expiry, at strikes around the price; those listed already stay."""
        spread = volatility * math.sqrt(max(expiry - self.chain.block().timestamp, 0) / YEAR_SECONDS)
        tick = tick_of(price)
        levels = (price * math.exp(deviations * spread) for deviations in STRIKES)
        strikes = sorted({tick * int((Decimal(level) / tick).to_integral_value()) for level in levels} - {Decimal(0)})
        number = self.system.underlyings[underlying]
        options = [Instrument(kind, number, expiry, strike) for strike in strikes for kind in (Kind.CALL, Kind.PUT)]
        units = tuple(option.strike_units for option in options if option.kind is Kind.CALL)
        self.chain.send(self.system.registry.listOptions(number, expiry, units), self.reporter)
        for option in options:
            symbol = option.symbol(self.system.names)
            self.listed[symbol] = Listed(symbol, underlying, option.kind, expiry, float(option.strike))

    def trade_call(
        self, taker: Participant, instrument: str, size: int, price: int, maker: Participant | None = None
    ) -> Call:
        """A settlement of two newly signed orders: the taker buys (negative: sells) `size` of an instrument, by its
        symbol, at `price` [both wad], and leaves room for the fee on a perpetual."""
        maker = maker or self.by_name[MARKET_MAKER]
        expiry = self.chain.block().timestamp + ORDER_LIFE
        orders = []
        limit = worst_price(price, size) if self.listed[instrument].kind is Kind.PERPETUAL else price
        for who, amount, worst in ((maker, -size, price), (taker, size, limit)):
            self._salt += 1
            orders.append(
                make_order(
                    self.system,
                    who.person.signer,
                    who.account,
                    instrument,
                    amount,
                    worst,
                    expiry=expiry,
                    salt=self._salt,
                )
            )
        made, taken = orders
        return settle_trade(self.system, made, taken, abs(size))

    def trade(
        self, taker: Participant, instrument: str, size: int, price: int, maker: Participant | None = None
    ) -> Receipt:
        """Trade with the market maker, or another maker, settled by a third party. Reverted if refused."""
        return self.chain.send(self.trade_call(taker, instrument, size, price, maker), self.settler)

    # ─── Reporting

    def report(self, prices: Mapping[str, float], volatilities: Mapping[str, float]) -> None:
        """Push what was printed, then let the volatility oracle take it in."""
        calls = []
        for symbol, price in prices.items():
            feed = self.profile.underlying(symbol)
            calls.append(self.system.volatility_feeds[symbol].push(feed.volatility.answer(volatilities[symbol])))
            calls.append(self.system.price_feeds[symbol].push(feed.price.answer(price)))
        calls += [self.system.volatility_oracle.poke(self.system.underlyings[symbol], 16) for symbol in prices]
        for call in calls:
            self.chain.send(call, self.reporter)


def known(data: MarketData, now: int) -> dict[str, Series]:
    """What calibration may see at a moment: history, and the window's bars so far on the history's own grid."""
    series: dict[str, Series] = {}
    for name, asset in data.assets.items():
        history = asset.history
        seen = int(np.searchsorted(asset.prints.ts, now, side="right"))
        # a series has at least two rows, and less than a bar of the history's is not one yet
        if seen < 2 or asset.prints.ts[seen - 1] - history.ts[-1] < history.bar_seconds:
            series[name] = history
            continue
        prints = asset.prints.between(end=now + 1)
        if history.ts[-1] % history.bar_seconds == 0 and prints.bar_seconds < history.bar_seconds:
            prints = resample(prints, history.bar_seconds)
        on_grid = ((prints.ts - history.ts[-1]) % history.bar_seconds == 0) & (prints.ts <= now)
        volume = None
        if history.volume is not None and prints.volume is not None:
            volume = np.concatenate([history.volume, prints.volume[on_grid]])
        series[name] = make_series(
            name,
            np.concatenate([history.ts, prints.ts[on_grid]]),
            np.concatenate([history.close, prints.close[on_grid]]),
            volume=volume,
        )
    return series


def calibrated(data: MarketData, now: int) -> Report:
    """The calibration of what was known at a moment, prices and index."""
    config = CalibrationConfig.for_market(data.market)
    return calibrate(data.market.name, known(data, now), config, as_of=now, sources=Sources(index=data.index))


def tick_of(price: float) -> Decimal:
    """Strikes are multiples of this: of 1, 2, 5 times powers of ten the largest that is at most a hundredth of the
    price."""
    power = Decimal(10) ** math.floor(math.log10(price / 100))
    return max(power * k for k in (1, 2, 5) if power * k <= Decimal(price) / 100)


def settler() -> Sender:
    """Who settles other people's orders, and pays for it."""
    return Person.named("settler").sender


def underwriter() -> Sender:
    """Whose capital is in the insurance fund."""
    return Person.named("underwriter").sender


def with_heartbeat(profile: Profile, seconds: int) -> Profile:
    """The same house, which believes an answer of any feed for so long."""
    return replace(
        profile,
        underlyings=tuple(
            replace(
                one,
                price=replace(one.price, heartbeat=seconds),
                volatility=replace(one.volatility, heartbeat=seconds),
            )
            for one in profile.underlyings
        ),
    )


def starting_profile(config: Config, data: MarketData, history: Mapping[str, Series], report: Report) -> Profile:
    """The market's profile with the report's numbers, and with the last known price and what the feed must say for its
    volatility level as first answers.

    Numbers that the data says nothing of stay the profile's.
    """
    market = data.market
    numbers = {
        name: {key: value for key, value in asdict(parameters).items() if value is not None}
        for name, parameters in report.assets.items()
    }
    correlation = {"correlation_low": report.correlation[0].low, "correlation_high": report.correlation[0].high}
    closes = {name: float(series.close[-1]) for name, series in history.items()}
    evidence = cast("dict[str, dict[str, float]]", report.evidence["assets"])  # as the report's own reader requires
    common = {
        "horizon_initial": float(market.initial_horizon),
        "horizon_maintenance": float(market.maintenance_horizon),
    }
    profile = config.for_market(market.name).with_parameters(numbers, common, correlation)
    answers = {one.name: evidence[one.name]["volatility_level"] for one in profile.underlyings}
    return profile.starting_at(closes, answers)
