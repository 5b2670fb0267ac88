"""What a deployment consists of: an ordered list of steps, worked out from a profile before anything is sent.

A step either makes a contract or calls one. Where it needs the address of a contract that an earlier step makes, its
argument is a `Ref` to that step. The plan knows nothing of chains: plimsoll.chain.deploy carries it out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

from plimsoll.chain.instruments import Instrument, Kind, expiry_after, expiry_symbol
from plimsoll.chain.manifest import AssetEntry, UnderlyingEntry
from plimsoll.config import DEPLOYER, TEST_TOKEN, Cash, wad
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from plimsoll.config import Asset, PriceFeed, Profile, Underlying, VolatilityFeed

ZERO_ADDRESS = "0x" + "0" * 40

# Roles of the AccessManager. Its own ADMIN manages roles, with no delay of its own.
ADMIN, GOVERNOR, STEWARD, CALIBRATOR, REPORTER, GUARDIAN, MONITOR = range(7)

FUNCTION_ROLES: dict[str, dict[int, tuple[str, ...]]] = {
    "price_oracle": {
        GOVERNOR: ("setPriceFeed", "proposePriceFeed", "setSequencerFeed", "proposeSequencerFeed"),
        GUARDIAN: ("cancelPriceFeed", "cancelSequencerFeed"),
    },
    "volatility_oracle": {
        GOVERNOR: ("setVolatilityFeed", "proposeVolatilityFeed"),
        GUARDIAN: ("cancelVolatilityFeed",),
    },
    "risk_parameters": {
        GOVERNOR: ("setBounds", "setRampDuration", "setAgeSchedule"),
        STEWARD: ("applyBundle", "measureAtTarget"),
        MONITOR: ("setCoverage",),
    },
    "steward": {
        GOVERNOR: (
            "setLimits",
            "setMarket",
            "setReferenceMargin",
            "setLooseningDelay",
            "setReference",
            "unfreezeField",
            "unfreezeMarket",
        ),
        CALIBRATOR: ("push", "schedule"),
        GUARDIAN: ("veto", "freezeField", "freezeMarket"),
    },
    "registry": {GOVERNOR: ("listPerpetual", "listOptions", "setAveragingWindow")},
    "clearing_house": {
        GOVERNOR: ("listAsset", "setAssetCap", "setModules"),
        GUARDIAN: ("pause", "unpause"),
    },
    "liquidation_engine": {GOVERNOR: ("setAuctionParameters",)},
}
"""{step that makes the contract: {role: functions}}. Everything else that is restricted stays with ADMIN."""
FEED_ROLES = {REPORTER: ("push", "pushAt")}


@dataclass(frozen=True, slots=True)
class Ref:
    """The address of the contract that a step makes."""

    step: str


@dataclass(frozen=True, slots=True)
class Selectors:
    """Selectors of functions of a contract, which only its ABI knows."""

    contract: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make a contract."""

    id: str
    contract: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of a contract that an earlier step made."""

    id: str
    target: Ref
    contract: str
    function: str
    arguments: tuple[Any, ...]


Step = Deploy | Call


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order; ids are unique and every Ref points backwards."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        made: set[str] = set()
        seen: set[str] = set()
        for step in self.steps:
            if step.id in seen:
                raise PlimsollError(f"the plan has two steps {step.id}")
            needed = set(_refs(step.arguments)) | ({step.target.step} if isinstance(step, Call) else set())
            if not needed <= made:
                raise PlimsollError(f"step {step.id} needs {', '.join(sorted(needed - made))} before it")
            seen.add(step.id)
            if isinstance(step, Deploy):
                made.add(step.id)


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, Ref):
        yield value.step
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)


def market_hash(market: str) -> bytes:
    """A market's name as the steward knows it."""
    return keccak(text=market)


def make_plan(profile: Profile, deployer: str, begun: int) -> Plan:
    """Every step from nothing to a house that is open, for `deployer` to send. `begun` is the chain's time when the
    deployment began, unix seconds: the expiries of options count from it."""
    return Plan(
        (
            *_contracts(profile, deployer),
            *_access(profile, deployer),
            *_parameters(profile),
            *_feeds(profile),
            *_listings(profile, begun),
            *_handover(profile, deployer),
        )
    )


def asset_entries(profile: Profile, address: Callable[[str], str]) -> dict[str, AssetEntry]:
    """The manifest's address book of tokens, cash first; `address` gives what a step made."""
    return {
        asset.name: AssetEntry(
            id=number,
            token=address(f"token.{asset.name}") if asset.token == TEST_TOKEN else asset.token,
            decimals=asset.decimals,
            underlying="" if isinstance(asset, Cash) else asset.underlying,
            is_test_token=asset.token == TEST_TOKEN,
        )
        for number, asset in enumerate(_tokens(profile))
    }


def underlying_entries(profile: Profile, address: Callable[[str], str]) -> dict[str, UnderlyingEntry]:
    """The manifest's address book of feeds."""
    return {
        u.name: UnderlyingEntry(
            id=u.id,
            price_feed=address(f"price_feed.{u.name}") if u.price.is_pushed else u.price.feed,
            volatility_feed=address(f"volatility_feed.{u.name}") if u.volatility.is_pushed else u.volatility.feed,
            price_is_pushed=u.price.is_pushed,
            volatility_is_pushed=u.volatility.is_pushed,
        )
        for u in profile.underlyings
    }


# ─── The parts of the plan

_AUTHORITY = Ref("access_manager")


def _contracts(profile: Profile, deployer: str) -> Iterator[Step]:
    yield Deploy("access_manager", "AccessManager", (deployer,))
    yield Deploy("price_oracle", "PriceOracle", (_AUTHORITY,))
    yield Deploy("risk_parameters", "RiskParameters", (_AUTHORITY,))
    yield Deploy("volatility_oracle", "VolatilityOracle", (_AUTHORITY, Ref("price_oracle"), Ref("risk_parameters")))
    yield Deploy("steward", "ParameterSteward", (_AUTHORITY, Ref("risk_parameters"), Ref("price_oracle")))
    for asset in _tokens(profile):
        if asset.token == TEST_TOKEN:
            arguments = (f"Plimsoll test {asset.name}", asset.name, asset.decimals)
            yield Deploy(f"token.{asset.name}", "TestToken", arguments)
    for step, feed, description in _pushed_feeds(profile):
        yield Deploy(step, "PushedFeed", (_AUTHORITY, feed.decimals, description))
    yield Deploy("normal_table", "NormalTable", ())
    yield Deploy("registry", "InstrumentRegistry", (_AUTHORITY, Ref("price_oracle")))
    cap = _units(profile.cash.cap, profile.cash.decimals)
    yield Deploy(
        "clearing_house",
        "ClearingHouse",
        (_AUTHORITY, Ref("price_oracle"), Ref("registry"), _token(profile.cash), cap),
    )
    sources = ("clearing_house", "price_oracle", "volatility_oracle", "risk_parameters", "registry", "normal_table")
    calculators = {"margin_engine": "MarginEngine", "margin_lens": "MarginLens", "reference_margin": "ReferenceMargin"}
    for step, contract in calculators.items():
        yield Deploy(step, contract, tuple(map(Ref, sources)))
    yield Deploy(
        "liquidation_engine",
        "LiquidationEngine",
        (_AUTHORITY, Ref("clearing_house"), Ref("risk_parameters"), profile.auction.as_tuple(profile.ids)),
    )
    yield Deploy("insurance_fund", "InsuranceFund", (Ref("clearing_house"), _token(profile.cash)))
    yield Deploy("order_gateway", "OrderGateway", (Ref("clearing_house"),))
    monitored = ("price_oracle", "volatility_oracle", "risk_parameters")
    yield Deploy("coverage_monitor", "CoverageMonitor", tuple(map(Ref, monitored)))


_CONTRACTS = {
    "price_oracle": "PriceOracle",
    "volatility_oracle": "VolatilityOracle",
    "risk_parameters": "RiskParameters",
    "steward": "ParameterSteward",
    "registry": "InstrumentRegistry",
    "clearing_house": "ClearingHouse",
    "liquidation_engine": "LiquidationEngine",
}


def _access(profile: Profile, deployer: str) -> Iterator[Step]:
    """Who may call what. The deployer gets what it needs to set up, and loses it in `_handover`."""

    def manager(step: str, function: str, *arguments: Any) -> Call:
        return Call(step, _AUTHORITY, "AccessManager", function, arguments)

    for target, roles in FUNCTION_ROLES.items():
        for role, functions in roles.items():
            selectors = Selectors(_CONTRACTS[target], functions)
            yield manager(f"access.{target}.{role}", "setTargetFunctionRole", Ref(target), selectors, role)
    for step, _, _ in _pushed_feeds(profile):
        for role, functions in FEED_ROLES.items():
            selectors = Selectors("PushedFeed", functions)
            yield manager(f"access.{step}.{role}", "setTargetFunctionRole", Ref(step), selectors, role)
    # a guardian may cancel what a governor has scheduled
    yield manager("access.guardian", "setRoleGuardian", GOVERNOR, GUARDIAN)
    yield manager("grant.steward", "grantRole", STEWARD, Ref("steward"), 0)
    yield manager("grant.monitor", "grantRole", MONITOR, Ref("coverage_monitor"), 0)
    for role in (GOVERNOR, STEWARD, REPORTER):
        yield manager(f"grant.deployer.{role}", "grantRole", role, deployer, 0)


def _parameters(profile: Profile) -> Iterator[Step]:
    def call(step: str, target: str, function: str, *arguments: Any) -> Call:
        return Call(step, Ref(target), _CONTRACTS[target], function, arguments)

    for field, rule in profile.fields.items():
        yield call(f"bounds.{field.key}", "risk_parameters", "setBounds", int(field), rule.bounds())
        limits = rule.limits()
        if limits is not None:
            yield call(f"limits.{field.key}", "steward", "setLimits", int(field), limits)
    yield call("market", "steward", "setMarket", market_hash(profile.market))
    rules = profile.governance
    yield call("ramp", "risk_parameters", "setRampDuration", rules.ramp)
    yield call("age", "risk_parameters", "setAgeSchedule", *rules.age())
    yield call("steward.margin", "steward", "setReferenceMargin", Ref("reference_margin"))
    yield call("steward.delay", "steward", "setLooseningDelay", rules.loosening_delay)
    places = [(u, reference) for u in profile.underlyings for reference in rules.references]
    for index, (u, reference) in enumerate(places):
        step = f"reference.{u.name}.{reference.name}"
        yield call(step, "steward", "setReference", index, reference.as_tuple(u.id))
    changes = tuple(change.as_tuple() for change in profile.initial_changes())
    # No calibration stands behind the starting numbers: what is hashed is the numbers themselves.
    report = keccak(text=json.dumps(changes))
    provenance = (report, bytes(32), market_hash(profile.market), 0, 0)
    yield call("parameters", "risk_parameters", "applyBundle", changes, provenance)


def _feeds(profile: Profile) -> Iterator[Step]:
    for u in profile.underlyings:
        if u.price.is_pushed and u.price.initial is not None:
            answer = u.price.answer(u.price.initial)
            yield Call(f"answer.price.{u.name}", Ref(f"price_feed.{u.name}"), "PushedFeed", "push", (answer,))
        if u.volatility.is_pushed and u.volatility.initial is not None:
            answer = u.volatility.answer(u.volatility.initial)
            yield Call(f"answer.volatility.{u.name}", Ref(f"volatility_feed.{u.name}"), "PushedFeed", "push", (answer,))
        yield _set_price(f"feed.price.{u.name}", u.id, u.price, Ref(f"price_feed.{u.name}"))
        yield _set_volatility(u)
        yield Call(f"poke.{u.name}", Ref("volatility_oracle"), "VolatilityOracle", "poke", (u.id, 1))
    cash = profile.cash.price
    if cash is not None:
        if cash.is_pushed and cash.initial is not None:
            step = f"price_feed.{profile.cash.name}"
            yield Call(f"answer.{step}", Ref(step), "PushedFeed", "push", (cash.answer(cash.initial),))
        yield _set_price(f"feed.price.{profile.cash.name}", 0, cash, Ref(f"price_feed.{profile.cash.name}"))


def _set_price(step: str, underlying: int, feed: PriceFeed, pushed: Ref) -> Call:
    settings = (
        pushed if feed.is_pushed else feed.feed,
        feed.heartbeat,
        0,  # decimals are read from the feeds
        0,
        wad(feed.minimum),
        wad(feed.maximum),
        feed.secondary or ZERO_ADDRESS,
        feed.secondary_heartbeat,
        wad(feed.maximum_deviation),
    )
    return Call(step, Ref("price_oracle"), "PriceOracle", "setPriceFeed", (underlying, settings))


def _set_volatility(u: Underlying) -> Call:
    feed = u.volatility
    settings = (
        Ref(f"volatility_feed.{u.name}") if feed.is_pushed else feed.feed,
        feed.heartbeat,
        0,
        feed.scale,
        wad(feed.minimum),
        wad(feed.maximum),
    )
    step = f"feed.volatility.{u.name}"
    return Call(step, Ref("volatility_oracle"), "VolatilityOracle", "setVolatilityFeed", (u.id, settings))


def _listings(profile: Profile, begun: int) -> Iterator[Step]:
    house, registry = Ref("clearing_house"), Ref("registry")
    modules = (Ref("margin_engine"), Ref("liquidation_engine"), Ref("insurance_fund"), Ref("order_gateway"))
    yield Call("modules", house, "ClearingHouse", "setModules", modules)
    for asset in profile.assets:
        arguments = (_token(asset), profile.ids[asset.underlying], _units(asset.cap, asset.decimals))
        yield Call(f"list.asset.{asset.name}", house, "ClearingHouse", "listAsset", arguments)
    for u in profile.underlyings:
        yield Call(f"list.perpetual.{u.name}", registry, "InstrumentRegistry", "listPerpetual", (u.id,))
        if u.options is None:
            continue
        strikes = tuple(Instrument(Kind.CALL, u.id, 1, strike).strike_units for strike in u.strikes())
        for days in u.options.expiry_days:
            expiry = expiry_after(begun, days)
            step = f"list.options.{u.name}-{expiry_symbol(expiry)}"
            yield Call(step, registry, "InstrumentRegistry", "listOptions", (u.id, expiry, strikes))


def _handover(profile: Profile, deployer: str) -> Iterator[Step]:
    """Roles to the people who are to have them; from the deployer whatever it is not to keep."""
    holders = {name: deployer if who == DEPLOYER else who for name, who in profile.roles.items()}
    wanted = [
        (CALIBRATOR, holders["calibrator"]),
        (REPORTER, holders["reporter"]),
        (GUARDIAN, holders["guardian"]),
        (GOVERNOR, holders["admin"]),
        (STEWARD, holders["admin"]),
        (ADMIN, holders["admin"]),
    ]
    has = {(role, deployer) for role in (ADMIN, GOVERNOR, STEWARD, REPORTER)}
    for role, holder in wanted:
        if (role, holder) not in has:
            arguments = (role, holder, 0)
            yield Call(f"grant.{role}.{holder}", _AUTHORITY, "AccessManager", "grantRole", arguments)
    # ADMIN goes last: without it the deployer could not give up the others
    for role, holder in sorted(has - set(wanted), reverse=True):
        yield Call(f"renounce.{role}", _AUTHORITY, "AccessManager", "renounceRole", (role, holder))


def _pushed_feeds(profile: Profile) -> Iterator[tuple[str, PriceFeed | VolatilityFeed, str]]:
    """(step, feed, description) of every feed of our own."""
    for u in profile.underlyings:
        if u.price.is_pushed:
            yield f"price_feed.{u.name}", u.price, f"{u.name} / USD"
        if u.volatility.is_pushed:
            yield f"volatility_feed.{u.name}", u.volatility, f"{u.name} volatility, {u.volatility.unit}"
    cash = profile.cash.price
    if cash is not None and cash.is_pushed:
        yield f"price_feed.{profile.cash.name}", cash, f"{profile.cash.name} / USD"


def _tokens(profile: Profile) -> tuple[Cash | Asset, ...]:
    return (profile.cash, *profile.assets)


def _token(asset: Cash | Asset) -> Ref | str:
    return Ref(f"token.{asset.name}") if asset.token == TEST_TOKEN else str(asset.token)


def _units(amount: Decimal, decimals: int) -> int:
    return int(amount.scaleb(decimals))
