"""plimsoll.toml read into the dataclasses of plimsoll.config. A mistake is one line that names its key."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from plimsoll.chain.fields import Field, Scope, fields_of
from plimsoll.chain.references import KINDS, Governance, Leg, Reference
from plimsoll.config import (
    DEPLOYER,
    MOST_DOLLARS,
    PUSHED,
    ROLES,
    TEST_TOKEN,
    VOLATILITY_SCALE,
    Asset,
    Auction,
    Cash,
    Config,
    FieldRule,
    Network,
    OptionSeries,
    PriceFeed,
    Profile,
    Underlying,
    VolatilityFeed,
    wad,
)
from plimsoll.errors import PlimsollError
from plimsoll.toml_table import SECONDS, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read(path: Path) -> Config:
    """The whole file, checked; PlimsollError for the first mistake, naming its key."""
    try:
        root = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as fault:
        raise PlimsollError(f"{path}: cannot be read ({fault.strerror}); give the path with --config") from None
    except UnicodeDecodeError:
        raise PlimsollError(f"{path}: not UTF-8 text; a configuration is a TOML file") from None
    except tomllib.TOMLDecodeError as fault:
        raise PlimsollError(f"{path}: not valid TOML: {fault}") from None
    top = Table("", root)
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


def _read_network(name: str, table: Table, profiles: Mapping[str, Profile]) -> Network:
    rpc = table.text("rpc") if table.has("rpc") else None
    rpc_env = table.text("rpc_env") if table.has("rpc_env") else None
    if (rpc is None) == (rpc_env is None):
        raise table.fault("rpc", "give either rpc or rpc_env")
    network = Network(name, table.integer("chain_id", 1, 2**53), table.text("profile"), rpc, rpc_env)
    if network.profile not in profiles:
        raise table.fault("profile", f"no profile {network.profile!r}")
    table.done()
    return network


def _read_rules(table: Table) -> dict[Field, FieldRule]:
    rules = {field: _read_rule(field, table.table(field.key)) for field in Field}
    table.done()
    return rules


def _read_rule(field: Field, table: Table) -> FieldRule:
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


def _read_auction(table: Table) -> Auction:
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
        if getattr(auction, key) > SECONDS["d"]:
            raise table.fault(key, "must be a day at most")
    for key in ("maximum_discount", "minimum_throughput"):
        if wad(getattr(auction, key)) == 0:
            raise table.fault(key, "must be above 0, or an auction might never end")
    if auction.minimum_fee > auction.maximum_fee:
        raise table.fault("minimum_fee", f"{auction.minimum_fee} is above the maximum_fee {auction.maximum_fee}")
    table.done()
    return auction


def _read_governance(table: Table) -> Governance:
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
    hour, day = SECONDS["h"], SECONDS["d"]
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


def _read_reference(name: str, table: Table) -> Reference:
    if len(name.encode()) > 32:
        raise table.fault("name", f"{name!r} is longer than 32 bytes")
    legs = table.get("legs", list, "a list of tables")
    if not 1 <= len(legs) <= 8:
        raise table.fault("legs", f"expected 1 to 8, not {len(legs)}")
    reference = Reference(
        name,
        table.number("maximum_rise", 0, 100),
        table.number("maximum_fall", 0, 1),
        tuple(_read_leg(Table(f"{table.path}.legs[{k}]", leg)) for k, leg in enumerate(legs)),
    )
    table.done()
    return reference


def _read_leg(table: Table) -> Leg:
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


def _read_values(table: Table, scope: Scope, rules: Mapping[Field, FieldRule]) -> dict[Field, Decimal]:
    values = {field: table.field(field, field.key) for field in fields_of(scope)}
    for field, value in values.items():
        rules[field].require(value, f"{table.path}.{field.key}")
    table.done()
    return values


def _read_profile(
    name: str,
    table: Table,
    rules: Mapping[Field, FieldRule],
    parameters: Mapping[str, Table],
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
    source = Table(parameters[chosen].path, parameters[chosen]._value)
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


def _read_cash(table: Table) -> Cash:
    cash = Cash(
        table.text("name"),
        table.address("token", TEST_TOKEN),
        table.integer("decimals", 0, 18),
        table.number("cap", 0),
        _read_price(table.table("price")) if table.has("price") else None,
    )
    table.done()
    return cash


def _read_asset(name: str, table: Table) -> Asset:
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
    name: str, table: Table, starting: Mapping[Field, Decimal], rules: Mapping[Field, FieldRule]
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


def _read_options(table: Table) -> OptionSeries:
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


def _read_initial(table: Table, feed: str) -> tuple[Decimal | None, int | None]:
    """First answer and decimals: a pushed feed has both, another feed says them itself."""
    if feed != PUSHED:
        return None, None
    return table.number("initial", 0), table.integer("decimals", 0, 18)


def _read_range(table: Table) -> tuple[Decimal, Decimal]:
    minimum, maximum = table.number("minimum", 0), table.number("maximum", 0)
    if minimum >= maximum:
        raise table.fault("minimum", f"{minimum} is not below the maximum {maximum}")
    return minimum, maximum


def _read_price(table: Table) -> PriceFeed:
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


def _read_volatility(table: Table) -> VolatilityFeed:
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
