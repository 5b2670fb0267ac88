"""The one configuration file, plimsoll.toml, as frozen dataclasses.

Every number is checked while it is read; a mistake is one line that names its key. Decimals are kept exact
(decimal.Decimal) and become integers only where a transaction is made.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eth_utils.address import is_address, to_checksum_address

from plimsoll.chain.fields import Field, Key, ParameterChange, Scope, fields_of
from plimsoll.chain.references import KINDS, Governance, Leg, Reference
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
        source = Path(path) if path is not None else DEFAULT_PATH
        try:
            text = source.read_text(encoding="utf-8")
        except OSError as fault:
            raise PlimsollError(f"{source}: cannot be read ({fault.strerror}); give the path with --config") from None
        except UnicodeDecodeError:
            raise PlimsollError(f"{source}: not UTF-8 text; a configuration is a TOML file") from None
        try:
            table = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as fault:
            raise PlimsollError(f"{source}: not valid TOML: {fault}") from None
        return _read(source, table)

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


# ─── Reading


class _Table:
    """A TOML table that knows its path, checks types, and notices keys nobody asked for."""

    def __init__(self, path: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise PlimsollError(f"{path}: expected a table")
        self.path = path
        self._value: dict[str, Any] = value
        self._left = set(value)

    def fault(self, key: str, problem: str) -> PlimsollError:
        return PlimsollError(f"{self.path}.{key}: {problem}")

    def has(self, key: str) -> bool:
        return key in self._value

    def get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        self._left.discard(key)
        if key not in self._value:
            if default is not None:
                return default
            raise self.fault(key, f"missing; expected {what}")
        value = self._value[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fault(key, f"expected {what}, not {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self.get(key, str, "text", default)
        return value

    def flag(self, key: str, default: bool) -> bool:
        self._left.discard(key)
        return bool(self.get(key, bool, "true or false")) if self.has(key) else default

    def number(self, key: str, minimum: Decimal | int | None = None, maximum: Decimal | int | None = None) -> Decimal:
        value = Decimal(self.get(key, (int, Decimal), "a number"))
        if not value.is_finite():
            raise self.fault(key, f"expected a finite number, not {value}")
        if minimum is not None and value < minimum:
            raise self.fault(key, f"{value} is below {minimum}")
        if maximum is not None and value > maximum:
            raise self.fault(key, f"{value} is above {maximum}")
        return value

    def integer(self, key: str, minimum: int, maximum: int) -> int:
        value: int = self.get(key, int, "a whole number")
        if not minimum <= value <= maximum:
            raise self.fault(key, f"{value} is outside {minimum} to {maximum}")
        return value

    def duration(self, key: str) -> int:
        """Seconds, written "90s", "15m", "2h" or "5d"."""
        value = self.get(key, str, 'a duration such as "90s", "2h" or "5d"')
        match = _DURATION.fullmatch(value.strip())
        if match is None or int(match[1]) == 0:
            raise self.fault(key, f'expected a duration such as "90s", "2h" or "5d", not {value!r}')
        return int(match[1]) * _SECONDS[match[2]]

    def field(self, field: Field, key: str) -> Decimal:
        """A value of a field: seconds from a duration, otherwise a number."""
        return Decimal(self.duration(key)) if field.unit == 0 else self.number(key)

    def address(self, key: str, *words: str) -> str:
        """A checksummed address, or one of the words."""
        what = " or ".join(['an address "0x…"', *(f'"{word}"' for word in words)])
        value: str = self.get(key, str, what)
        if value in words:
            return value
        if not is_address(value):
            raise self.fault(key, f"expected {what}, not {value!r}")
        return to_checksum_address(value)

    def table(self, key: str) -> _Table:
        self._left.discard(key)
        if key not in self._value:
            raise self.fault(key, "missing; expected a table")
        return _Table(f"{self.path}.{key}" if self.path else key, self._value[key])

    def tables(self, key: str) -> Iterator[tuple[str, _Table]]:
        """The named tables under a key; none if the key is absent."""
        if self.has(key):
            outer = self.table(key)
            for name in outer._value:
                yield name, outer.table(name)

    def done(self) -> None:
        if self._left:
            key = min(self._left)
            raise self.fault(key, "unknown key; check its spelling")


def _read(path: Path, root: dict[str, Any]) -> Config:
    top = _Table("", root)
    try:
        rules = _read_rules(top.table("fields"))
        parameters = dict(top.tables("parameters"))
        auctions = {name: _read_auction(table) for name, table in top.tables("auctions")}
        governance = _read_governance(top.table("governance"))
        rules = {
            field: replace(r, budget_steps=governance.budget_steps, window=governance.window)
            for field, r in rules.items()
        }
        profiles = {
            name: _read_profile(name, table, rules, parameters, auctions, governance)
            for name, table in top.tables("profiles")
        }
        networks = {name: _read_network(name, table, profiles) for name, table in top.tables("networks")}
        top.done()
    except PlimsollError as fault:
        raise PlimsollError(f"{path.name}: {str(fault).removeprefix('.')}") from None
    return Config(path, networks, profiles)


def _read_network(name: str, table: _Table, profiles: Mapping[str, Profile]) -> Network:
    rpc = table.text("rpc") if table.has("rpc") else None
    rpc_env = table.text("rpc_env") if table.has("rpc_env") else None
    if (rpc is None) == (rpc_env is None):
        raise table.fault("rpc", "give either rpc or rpc_env")
    network = Network(name, table.integer("chain_id", 1, 2**53), table.text("profile"), rpc, rpc_env)
    if network.profile not in profiles:
        raise table.fault("profile", f"no profile {network.profile!r}")
    table.done()
    return network


def _read_rules(table: _Table) -> dict[Field, FieldRule]:
    rules = {field: _read_rule(field, table.table(field.key)) for field in Field}
    table.done()
    return rules


def _read_rule(field: Field, table: _Table) -> FieldRule:
    minimum, maximum = table.field(field, "minimum"), table.field(field, "maximum")
    if minimum > maximum:
        raise table.fault("minimum", f"{minimum} is above the maximum {maximum}")
    step_up = step_down = None
    interval, absolute = 0, False
    if table.has("step_up") or table.has("step_down"):
        step_up, step_down = table.number("step_up", 0, 1000), table.number("step_down", 0, 1000)
        interval = table.duration("interval")
        absolute = table.flag("absolute", default=False)
    rule = FieldRule(field, minimum, maximum, step_up, step_down, interval, absolute)
    rule.bounds()  # must fit an int32
    table.done()
    return rule


def _read_auction(table: _Table) -> Auction:
    """The limits are LiquidationEngine's own."""
    auction = Auction(
        duration=table.duration("duration"),
        maximum_discount=table.number("maximum_discount", 0, 1),
        target=table.number("target", 0, 1),
        fund_share=table.number("fund_share", 0, Decimal("0.5")),
        minimum_remainder=table.number("minimum_remainder", 0, MOST_DOLLARS),
        minimum_fee=table.number("minimum_fee", 0, MOST_DOLLARS),
        maximum_fee=table.number("maximum_fee", 0, MOST_DOLLARS),
        native_underlying=table.text("native_underlying") if table.has("native_underlying") else None,
        throughput=table.number("throughput", 0, 1),
        throughput_window=table.duration("throughput_window"),
        minimum_throughput=table.number("minimum_throughput", 0, MOST_DOLLARS),
    )
    for key in ("duration", "throughput_window"):
        if getattr(auction, key) > _SECONDS["d"]:
            raise table.fault(key, "must be a day at most")
    for key in ("maximum_discount", "minimum_throughput"):
        if wad(getattr(auction, key)) == 0:
            raise table.fault(key, "must be above 0, or an auction might never end")
    if auction.minimum_fee > auction.maximum_fee:
        raise table.fault("minimum_fee", f"{auction.minimum_fee} is above the maximum_fee {auction.maximum_fee}")
    table.done()
    return auction


def _read_governance(table: _Table) -> Governance:
    """The limits are ParameterSteward's and RiskParameters' own."""
    governance = Governance(
        ramp=table.duration("ramp"),
        loosening_delay=table.duration("loosening_delay"),
        age_grace=table.duration("age_grace"),
        age_rate=table.number("age_rate", 0, 1),
        age_cap=table.number("age_cap", 1, 10),
        budget_steps=table.number("budget_steps", 1, 100),
        window=table.duration("window"),
        references=tuple(_read_reference(name, child) for name, child in table.tables("references")),
    )
    hour, day = _SECONDS["h"], _SECONDS["d"]
    for key, least, most in (
        ("ramp", hour // 4, 7 * day),
        ("loosening_delay", hour, 14 * day),
        ("age_grace", day, 1000 * day),
        ("window", hour, 365 * day),
    ):
        if not least <= getattr(governance, key) <= most:
            raise table.fault(key, f"expected {least / hour:g} to {most / hour:g} hours")
    table.done()
    return governance


def _read_reference(name: str, table: _Table) -> Reference:
    if len(name.encode()) > 32:
        raise table.fault("name", f"{name!r} is longer than 32 bytes")
    legs = table.get("legs", list, "a list of tables")
    if not 1 <= len(legs) <= 8:
        raise table.fault("legs", f"expected 1 to 8, not {len(legs)}")
    reference = Reference(
        name,
        table.number("maximum_rise", 0, 100),
        table.number("maximum_fall", 0, 1),
        tuple(_read_leg(_Table(f"{table.path}.legs[{k}]", leg)) for k, leg in enumerate(legs)),
    )
    table.done()
    return reference


def _read_leg(table: _Table) -> Leg:
    kind = table.text("kind")
    if kind not in KINDS:
        raise table.fault("kind", f"expected one of {', '.join(KINDS)}, not {kind!r}")
    option = kind in ("call", "put")
    leg = Leg(
        KINDS.index(kind),
        table.number("size", 0 if kind == "collateral" else -1000, 1000),
        table.number("strike", Decimal("0.01"), 100) if option else Decimal(0),
        table.duration("tenor") if option else 0,
    )
    if leg.size == 0:
        raise table.fault("size", "a leg without a size is none")
    table.done()
    return leg


def _read_values(table: _Table, scope: Scope, rules: Mapping[Field, FieldRule]) -> dict[Field, Decimal]:
    values = {field: table.field(field, field.key) for field in fields_of(scope)}
    for field, value in values.items():
        rules[field].require(value, f"{table.path}.{field.key}")
    table.done()
    return values


def _read_profile(
    name: str,
    table: _Table,
    rules: Mapping[Field, FieldRule],
    parameters: Mapping[str, _Table],
    auctions: Mapping[str, Auction],
    governance: Governance,
) -> Profile:
    markets = table.get("markets", list, "a list of market names")
    if not markets or not all(isinstance(market, str) and market for market in markets):
        raise table.fault("markets", "expected a list of market names")
    chosen = table.text("parameters")
    if chosen not in parameters:
        raise table.fault("parameters", f"no parameters {chosen!r}")
    auction = table.text("auction")
    if auction not in auctions:
        raise table.fault("auction", f"no auction {auction!r}")
    # read anew for every profile, since each table is used up by reading
    source = _Table(parameters[chosen].path, parameters[chosen]._value)
    starting = _read_values(source.table("underlying"), Scope.UNDERLYING, rules)
    common = _read_values(source.table("common"), Scope.COMMON, rules)
    pair = _read_values(source.table("pair"), Scope.PAIR, rules)
    source.done()

    underlyings = tuple(_read_underlying(key, child, starting, rules) for key, child in table.tables("underlyings"))
    ids = [underlying.id for underlying in underlyings]
    if not ids:
        raise table.fault("underlyings", "missing; expected at least one")
    if ids != sorted(set(ids)):
        raise table.fault("underlyings", "ids must rise, each once")
    native = auctions[auction].native_underlying
    if native is not None and native not in {underlying.name for underlying in underlyings}:
        raise table.fault(
            "auction", f"auctions.{auction}.native_underlying: {native!r} is no underlying of this profile"
        )
    assets = tuple(_read_asset(key, child) for key, child in table.tables("assets"))
    for asset in assets:
        if asset.underlying not in {underlying.name for underlying in underlyings}:
            raise table.fault(f"assets.{asset.name}.underlying", f"no underlying {asset.underlying!r}")
    roles = table.table("roles")
    profile = Profile(
        name=name,
        title=table.text("title"),
        market=markets[0],
        markets=tuple(markets),
        cash=_read_cash(table.table("cash")),
        assets=assets,
        underlyings=underlyings,
        roles={role: roles.address(role, DEPLOYER) for role in ROLES},
        common=common,
        pair=pair,
        fields=rules,
        auction=auctions[auction],
        governance=governance,
    )
    roles.done()
    table.done()
    return profile


def _read_cash(table: _Table) -> Cash:
    cash = Cash(
        table.text("name"),
        table.address("token", TEST_TOKEN),
        table.integer("decimals", 0, 18),
        table.number("cap", 0),
        _read_price(table.table("price")) if table.has("price") else None,
    )
    table.done()
    return cash


def _read_asset(name: str, table: _Table) -> Asset:
    asset = Asset(
        name,
        table.address("token", TEST_TOKEN),
        table.integer("decimals", 0, 18),
        table.text("underlying"),
        table.number("cap", 0),
    )
    table.done()
    return asset


def _read_underlying(
    name: str, table: _Table, starting: Mapping[Field, Decimal], rules: Mapping[Field, FieldRule]
) -> Underlying:
    parameters = dict(starting)
    for field in fields_of(Scope.UNDERLYING):
        if table.has(field.key):
            parameters[field] = table.field(field, field.key)
            rules[field].require(parameters[field], f"{table.path}.{field.key}")
    underlying = Underlying(
        name,
        table.integer("id", 1, 2**16 - 1),
        _read_price(table.table("price")),
        _read_volatility(table.table("volatility")),
        _read_options(table.table("options")) if table.has("options") else None,
        parameters,
    )
    if underlying.options is not None and not underlying.strikes():
        if underlying.price.initial is None:
            raise table.fault("options", "strikes are parts of the first price, which only a pushed price feed has")
        raise table.fault("options.tick", f"{underlying.options.tick} is so large that no strike is left")
    table.done()
    return underlying


def _is_between(value: Decimal | int, minimum: str, maximum: str) -> bool:
    return Decimal(value).is_finite() and Decimal(minimum) <= value <= Decimal(maximum)


def _read_options(table: _Table) -> OptionSeries:
    days = table.get("expiry_days", list, "a list of days")
    if not days or not all(type(day) is int and 1 <= day <= 1_000 for day in days) or days != sorted(set(days)):
        raise table.fault("expiry_days", f"expected rising whole numbers from 1 to 1000, not {days!r}")
    parts = table.get("strikes", list, "a list of parts of the price")
    if not parts or not all(type(part) in (int, Decimal) and _is_between(part, "0.01", "100") for part in parts):
        raise table.fault("strikes", "expected parts of the price from 0.01 to 100, such as [0.9, 1, 1.1]")
    tick = table.number("tick", Decimal("0.00000001"), 1_000_000)
    if tick.scaleb(8) % 1:
        raise table.fault("tick", f"{tick} has more than 8 decimals")
    options = OptionSeries(tuple(days), tuple(Decimal(part) for part in parts), tick)
    table.done()
    return options


def _read_initial(table: _Table, feed: str) -> tuple[Decimal | None, int | None]:
    """First answer and decimals: a pushed feed has both, another feed says them itself."""
    if feed != PUSHED:
        return None, None
    return table.number("initial", 0), table.integer("decimals", 0, 18)


def _read_range(table: _Table) -> tuple[Decimal, Decimal]:
    minimum, maximum = table.number("minimum", 0), table.number("maximum", 0)
    if minimum >= maximum:
        raise table.fault("minimum", f"{minimum} is not below the maximum {maximum}")
    return minimum, maximum


def _read_price(table: _Table) -> PriceFeed:
    feed = table.address("feed", PUSHED)
    initial, decimals = _read_initial(table, feed)
    minimum, maximum = _read_range(table)
    secondary = table.address("secondary") if table.has("secondary") else None
    price = PriceFeed(
        feed,
        table.duration("heartbeat"),
        minimum,
        maximum,
        initial,
        decimals,
        table.flag("verified", default=True),
        secondary,
        table.duration("secondary_heartbeat") if secondary else 0,
        table.number("maximum_deviation", 0, 1) if secondary else Decimal(0),
    )
    table.done()
    return price


def _read_volatility(table: _Table) -> VolatilityFeed:
    feed = table.address("feed", PUSHED)
    initial, decimals = _read_initial(table, feed)
    minimum, maximum = _read_range(table)
    unit = table.text("unit")
    if unit not in VOLATILITY_SCALE:
        raise table.fault("unit", f"expected one of {', '.join(map(repr, VOLATILITY_SCALE))}, not {unit!r}")
    volatility = VolatilityFeed(
        feed,
        unit,
        table.duration("heartbeat"),
        minimum,
        maximum,
        initial,
        decimals,
        table.flag("verified", default=True),
    )
    table.done()
    return volatility
