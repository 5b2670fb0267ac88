"""The one configuration file, plimsoll.toml, as frozen dataclasses.

plimsoll.config_file reads it. Decimals are kept exact (decimal.Decimal) and become integers only where a transaction is
made.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.chain.fields import Field, Key, ParameterChange
from plimsoll.chain.references import Governance
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Mapping

WAD = 10**18
YEAR_DAYS = 365
DEFAULT_PATH = Path(__file__).resolve().parent.parent / "plimsoll.toml"

PUSHED = "pushed"
"""A feed of our own, PushedFeed, which the reporter writes."""
TEST_TOKEN = "test"  # noqa: S105 - not a password
"""A token of our own with an open mint, for test networks."""
DEPLOYER = "deployer"
MOST_DOLLARS = 79_000_000_000
"""An amount of the auctions is a uint96 in wad."""

ROLES = ("admin", "calibrator", "guardian", "reporter")

VOLATILITY_SCALE = {
    "fraction a year": WAD,
    "percent a year": WAD // 100,
    # one day's volatility times √365 is a year's; Chainlink's 24-hour feeds are of this kind
    "percent a day": int((Decimal(YEAR_DAYS).sqrt() * WAD / 100).to_integral_value()),
}

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Network:
    """Where a house stands. `rpc_env` names the environment variable that holds the endpoint, if `rpc` is None."""

    name: str
    chain_id: int
    profile: str
    rpc: str | None
    rpc_env: str | None

    def url(self) -> str:
        """The endpoint; PlimsollError if its variable is not set."""
        if self.rpc is not None:
            return self.rpc
        url = os.environ.get(self.rpc_env or "", "").strip()
        if not url:
            raise PlimsollError(f"network {self.name} needs an endpoint; set the environment variable {self.rpc_env}")
        return url


@dataclass(frozen=True, slots=True)
class Cash:
    """The dollar token: an address, or TEST_TOKEN. `cap` in tokens. `price` is its feed, if it has one."""

    name: str
    token: str
    decimals: int
    cap: Decimal
    price: PriceFeed | None


@dataclass(frozen=True, slots=True)
class Asset:
    """Collateral other than cash; `underlying` names whose price it carries, `cap` is in tokens."""

    name: str
    token: str
    decimals: int
    underlying: str
    cap: Decimal


@dataclass(frozen=True, slots=True)
class PriceFeed:
    """How an underlying is priced. `feed` and `secondary` are addresses, or PUSHED; prices in dollars a unit."""

    feed: str
    heartbeat: int
    minimum: Decimal
    maximum: Decimal
    initial: Decimal | None
    """First answer and decimals of a pushed feed; another feed says them itself."""
    decimals: int | None
    verified: bool
    secondary: str | None
    secondary_heartbeat: int
    maximum_deviation: Decimal

    @property
    def is_pushed(self) -> bool:
        return self.feed == PUSHED

    def answer(self, price: Decimal | float) -> int:
        """The integer a pushed feed reports for a price, to the nearest."""
        return int(Decimal(str(price)).scaleb(self.decimals or 0).to_integral_value())


@dataclass(frozen=True, slots=True)
class VolatilityFeed:
    """How an underlying's volatility is read; `unit` is one of VOLATILITY_SCALE, bounds are annualised fractions."""

    feed: str
    unit: str
    heartbeat: int
    minimum: Decimal
    maximum: Decimal
    initial: Decimal | None
    decimals: int | None
    verified: bool

    @property
    def is_pushed(self) -> bool:
        return self.feed == PUSHED

    @property
    def scale(self) -> int:
        """What an answer of one whole unit means as annualised volatility [wad]."""
        return VOLATILITY_SCALE[self.unit]

    def answer(self, annualised: Decimal | float) -> int:
        """The integer a pushed feed reports for an annualised volatility, rounded up."""
        value = Decimal(str(annualised)) * WAD / self.scale
        return int(value.scaleb(self.decimals or 0).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class OptionSeries:
    """Options to list with a deployment: calls and puts at every strike of every expiry.

    expiry_days: days from the day of the deployment. strikes: parts of the first price, rounded to a multiple of `tick`
    dollars.
    """

    expiry_days: tuple[int, ...]
    strikes: tuple[Decimal, ...]
    tick: Decimal


@dataclass(frozen=True, slots=True)
class Underlying:
    """What perpetuals and options are traded on. `parameters` holds its starting numbers, by field."""

    name: str
    id: int
    price: PriceFeed
    volatility: VolatilityFeed
    options: OptionSeries | None
    parameters: Mapping[Field, Decimal]

    def strikes(self) -> tuple[Decimal, ...]:
        """Strikes to list, dollars, rising, each once; none without options."""
        if self.options is None or self.price.initial is None:
            return ()
        price, tick = self.price.initial, self.options.tick
        ticks = {int((price * part / tick).to_integral_value()) for part in self.options.strikes}
        return tuple(tick * count for count in sorted(ticks - {0}))


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Absolute bounds of a field in its human unit, and the steward's limits; `step_up` None: governance alone."""

    field: Field
    minimum: Decimal
    maximum: Decimal
    step_up: Decimal | None
    step_down: Decimal | None
    interval: int
    absolute: bool
    budget_steps: Decimal = Decimal(0)
    """How many steps from where a window began a number may be moved within it."""
    window: int = 0
    """Seconds."""

    def require(self, value: Decimal, key: str) -> None:
        """PlimsollError, naming the key, if a value is outside the bounds."""
        if not self.minimum <= value <= self.maximum:
            raise PlimsollError(f"{key}: {value} is outside its bounds {self.minimum} to {self.maximum}")

    def bounds(self) -> tuple[int, int]:
        """(minimum, maximum) on-chain."""
        return self.field.encode(self.minimum), self.field.encode(self.maximum)

    def limits(self) -> tuple[int, int, int, bool, int, int, int] | None:
        """(step up, step down, interval, absolute, budget up, budget down, window) on-chain: steps and budgets in
        millionths of the value, or in the field's own integers."""
        if self.step_up is None or self.step_down is None:
            return None
        scale = self.field.unit if self.absolute else 6
        up, down = int(self.step_up.scaleb(scale)), int(self.step_down.scaleb(scale))
        budgets = int(up * self.budget_steps), int(down * self.budget_steps)
        return up, down, self.interval, self.absolute, *budgets, self.window


@dataclass(frozen=True, slots=True)
class Auction:
    """LiquidationEngine's parameters; duration and window in seconds, money in dollars, the rest fractions.

    native_underlying: name of the underlying whose price the gas token has; None: the flag fee is always the least.
    throughput: part of an underlying's average daily volume that may be liquidated in a window.
    """

    duration: int
    maximum_discount: Decimal
    target: Decimal
    fund_share: Decimal
    minimum_remainder: Decimal
    minimum_fee: Decimal
    maximum_fee: Decimal
    native_underlying: str | None
    throughput: Decimal
    throughput_window: int
    minimum_throughput: Decimal

    def as_tuple(self, ids: Mapping[str, int]) -> tuple[int, ...]:
        """ILiquidationEngine.AuctionParameters as the ABI wants it; `ids` are those of the profile's underlyings."""
        return (
            self.duration,
            wad(self.maximum_discount),
            wad(self.target),
            wad(self.fund_share),
            0 if self.native_underlying is None else ids[self.native_underlying],
            wad(self.minimum_remainder),
            wad(self.minimum_fee),
            wad(self.throughput),
            wad(self.maximum_fee),
            wad(self.minimum_throughput),
            self.throughput_window,
        )


@dataclass(frozen=True)
class Profile:
    """A whole house: tokens, feeds, roles and starting numbers. `market` is the one whose reports it accepts."""

    name: str
    title: str
    market: str
    markets: tuple[str, ...]
    cash: Cash
    assets: tuple[Asset, ...]
    underlyings: tuple[Underlying, ...]
    roles: Mapping[str, str]
    common: Mapping[Field, Decimal]
    pair: Mapping[Field, Decimal]
    fields: Mapping[Field, FieldRule]
    auction: Auction
    governance: Governance

    @cached_property
    def ids(self) -> dict[str, int]:
        """{underlying name: id}."""
        return {underlying.name: underlying.id for underlying in self.underlyings}

    def underlying(self, name: str) -> Underlying:
        """The underlying of that name; PlimsollError if there is none."""
        for underlying in self.underlyings:
            if underlying.name == name:
                return underlying
        raise PlimsollError(f"profile {self.name} has no underlying {name!r}; it has {', '.join(self.ids)}")

    def initial_changes(self) -> list[ParameterChange]:
        """The starting numbers as one bundle, in the order of field, underlying, other."""
        values: dict[Key, Decimal] = {Key(field): value for field, value in self.common.items()}
        for underlying in self.underlyings:
            values |= {Key(field, underlying.id): value for field, value in underlying.parameters.items()}
        ids = sorted(self.ids.values())
        for i, a in enumerate(ids):
            for b in ids[i + 1 :]:
                values |= {Key(field, a, b): value for field, value in self.pair.items()}
        return [
            ParameterChange(key.field, key.underlying, key.other, key.field.encode(value))
            for key, value in sorted(values.items())
        ]

    def unverified(self) -> list[str]:
        """Every address that nobody has checked, as `BTC.price 0x…`."""
        return [
            f"{underlying.name}.{kind} {feed.feed}"
            for underlying in self.underlyings
            for kind, feed in (("price", underlying.price), ("volatility", underlying.volatility))
            if not feed.is_pushed and not feed.verified
        ]

    def for_market(self, market: str) -> Profile:
        """The same house, accepting that market's reports."""
        if market not in self.markets:
            raise PlimsollError(f"profile {self.name} is for {', '.join(self.markets)}, not {market!r}")
        return replace(self, market=market)

    def starting_at(
        self, prices: Mapping[str, float] | None = None, volatilities: Mapping[str, float] | None = None
    ) -> Profile:
        """The same house with other first answers of its pushed feeds: dollars a unit, annualised fractions."""
        prices, volatilities = prices or {}, volatilities or {}
        for name in (*prices, *volatilities):
            self.underlying(name)
        underlyings = []
        for u in self.underlyings:
            price, volatility = u.price, u.volatility
            if u.name in prices:
                price = replace(price, initial=Decimal(str(prices[u.name])))
            if u.name in volatilities:
                volatility = replace(volatility, initial=Decimal(str(volatilities[u.name])))
            underlyings.append(replace(u, price=price, volatility=volatility))
        return replace(self, underlyings=tuple(underlyings))

    def with_parameters(
        self,
        underlying: Mapping[str, Mapping[str, float]] | None = None,
        common: Mapping[str, float] | None = None,
        pair: Mapping[str, float] | None = None,
    ) -> Profile:
        """The same house with other starting numbers, by field name in human units."""

        def merged(old: Mapping[Field, Decimal], new: Mapping[str, float]) -> dict[Field, Decimal]:
            return {**old, **{Field.of(key): Decimal(str(value)) for key, value in new.items()}}

        changes = underlying or {}
        for name in changes:
            self.underlying(name)
        return replace(
            self,
            underlyings=tuple(
                replace(u, parameters=merged(u.parameters, changes.get(u.name, {}))) for u in self.underlyings
            ),
            common=merged(self.common, common or {}),
            pair=merged(self.pair, pair or {}),
        )

    def with_roles(self, **addresses: str) -> Profile:
        """The same house with other people in its roles."""
        unknown = set(addresses) - set(ROLES)
        if unknown:
            raise PlimsollError(f"unknown role {min(unknown)!r}; roles are {', '.join(ROLES)}")
        return replace(self, roles={**self.roles, **addresses})


@dataclass(frozen=True, slots=True)
class Config:
    """plimsoll.toml."""

    path: Path
    networks: Mapping[str, Network]
    profiles: Mapping[str, Profile]

    @classmethod
    def load(cls, path: Path | str | None = None) -> Config:
        """Read and check the file; PlimsollError for the first mistake, naming its key."""
        from plimsoll.config_file import read

        return read(Path(path) if path is not None else DEFAULT_PATH)

    def network(self, name: str) -> Network:
        """The network of that name; PlimsollError, listing the known ones, if there is none."""
        if name not in self.networks:
            raise PlimsollError(f"unknown network {name!r}; {self.path.name} has {', '.join(self.networks)}")
        return self.networks[name]

    def profile(self, name: str) -> Profile:
        """The profile of that name; PlimsollError, listing the known ones, if there is none."""
        if name not in self.profiles:
            raise PlimsollError(f"unknown profile {name!r}; {self.path.name} has {', '.join(self.profiles)}")
        return self.profiles[name]

    def for_market(self, market: str) -> Profile:
        """The first profile made for a market, accepting that market's reports."""
        for profile in self.profiles.values():
            if market in profile.markets:
                return profile.for_market(market)
        known = sorted({name for profile in self.profiles.values() for name in profile.markets})
        raise PlimsollError(f"no profile for market {market!r}; there are profiles for {', '.join(known)}")


def wad(value: Decimal | float) -> int:
    """value · 1e18, rounded down."""
    return int(Decimal(str(value)).scaleb(18))
