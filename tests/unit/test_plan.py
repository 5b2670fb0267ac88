"""The deployment plan: complete, in order, and leaving nobody with a role that is not theirs."""

from __future__ import annotations

import re

import pytest

from plimsoll.chain.plan import (
    _CONTRACTS,
    ADMIN,
    CALIBRATOR,
    FUNCTION_ROLES,
    GOVERNOR,
    GUARDIAN,
    MONITOR,
    REPORTER,
    STEWARD,
    Call,
    Deploy,
    Plan,
    Ref,
    make_plan,
)
from plimsoll.config import DEFAULT_PATH, Config
from plimsoll.errors import PlimsollError

DEPLOYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ADMINISTRATOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CALIBRATING = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
REPORTING = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
BEGUN = 1_774_600_000  # 27 March 2026, 08:26:40 UTC
GUARDING = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"


def roles_after(plan: Plan) -> set[tuple[int, object]]:
    """Who holds what in the end, the first administrator included."""
    held: set[tuple[int, object]] = {(ADMIN, DEPLOYER)}
    for step in plan.steps:
        if isinstance(step, Call) and step.function == "grantRole":
            held.add((step.arguments[0], step.arguments[1]))
        elif isinstance(step, Call) and step.function == "renounceRole":
            held.remove((step.arguments[0], step.arguments[1]))
    return held


@pytest.mark.parametrize("name", ["crypto", "sp500-nasdaq", "sepolia"])
def test_make_plan_for_every_profile(name: str) -> None:
    plan = make_plan(Config.load().profile(name), DEPLOYER, BEGUN)
    contracts = [step.contract for step in plan.steps if isinstance(step, Deploy)]
    assert {"ClearingHouse", "MarginEngine", "LiquidationEngine", "InsuranceFund", "ParameterSteward"} <= set(contracts)
    assert {"InstrumentRegistry", "NormalTable", "OrderGateway", "MarginLens", "ReferenceMargin"} <= set(contracts)
    listed = [step.id for step in plan.steps if isinstance(step, Call) and step.function == "listPerpetual"]
    assert len(listed) == 2


def test_make_plan_lists_options_from_when_the_deployment_began() -> None:
    profile = Config.load().profile("crypto").starting_at({"ETH": 1_990})
    plan = make_plan(profile, DEPLOYER, BEGUN)
    listings = {step.id: step for step in plan.steps if isinstance(step, Call) and step.function == "listOptions"}
    assert list(listings) == [f"list.options.{name}-{day}" for name in ("BTC", "ETH") for day in ("3APR26", "26APR26")]
    assert listings["list.options.ETH-3APR26"].target == Ref("registry")
    underlying, expiry, strikes = listings["list.options.ETH-3APR26"].arguments
    assert (underlying, expiry) == (2, 1_775_203_200)  # 08:00 UTC
    assert strikes == tuple(dollars * 10**8 for dollars in (1_600, 1_800, 2_000, 2_200, 2_400))
    # any other second of that day, the same plan: a deployment that goes on later wants the same steps
    midnight = BEGUN // 86_400 * 86_400
    assert make_plan(profile, DEPLOYER, midnight) == plan == make_plan(profile, DEPLOYER, midnight + 86_399)
    assert make_plan(profile, DEPLOYER, midnight + 86_400) != plan


def test_make_plan_lists_no_options_where_the_profile_has_none() -> None:
    plan = make_plan(Config.load().profile("sepolia"), DEPLOYER, BEGUN)
    assert "listOptions" not in [step.function for step in plan.steps if isinstance(step, Call)]


def test_make_plan_uses_published_feeds_on_sepolia() -> None:
    plan = make_plan(Config.load().profile("sepolia"), DEPLOYER, BEGUN)
    assert "PushedFeed" not in [step.contract for step in plan.steps]
    settings = {step.id: step.arguments for step in plan.steps}
    assert settings["feed.price.ETH"][1][0] == "0x694AA1769357215DE4FAC081bf1f309aDC325306"


def test_handover_leaves_the_deployer_nothing() -> None:
    profile = (
        Config.load()
        .profile("crypto")
        .with_roles(admin=ADMINISTRATOR, calibrator=CALIBRATING, reporter=REPORTING, guardian=GUARDING)
    )
    assert roles_after(make_plan(profile, DEPLOYER, BEGUN)) == {
        (ADMIN, ADMINISTRATOR),
        (GOVERNOR, ADMINISTRATOR),
        (STEWARD, ADMINISTRATOR),
        (STEWARD, Ref("steward")),
        (MONITOR, Ref("coverage_monitor")),
        (CALIBRATOR, CALIBRATING),
        (REPORTER, REPORTING),
        (GUARDIAN, GUARDING),
    }


def test_handover_gives_up_administration_last() -> None:
    profile = Config.load().profile("crypto").with_roles(admin=ADMINISTRATOR)
    last = make_plan(profile, DEPLOYER, BEGUN).steps[-1]
    assert isinstance(last, Call)
    assert (last.function, last.arguments) == ("renounceRole", (ADMIN, DEPLOYER))


def test_make_plan_sets_every_reference_portfolio_of_every_underlying() -> None:
    profile = Config.load().profile("crypto")
    steps = [step for step in make_plan(profile, DEPLOYER, BEGUN).steps if isinstance(step, Call)]
    set_ = [step for step in steps if step.function == "setReference"]
    assert [step.arguments[0] for step in set_] == list(range(14))
    assert {step.arguments[1][1] for step in set_} == {1, 2}
    names = [step.arguments[1][0].rstrip(b"\0").decode() for step in set_[:7]]
    assert names == ["long", "short", "straddle", "strangle", "collar", "basis", "collateral"]
    _, underlying, rise, fall, legs = set_[4].arguments[1]
    month = 30 * 86_400
    assert (underlying, rise, fall) == (1, 400_000, 200_000)
    assert legs == [(0, 10**6, 0, 0), (3, 10**6, 900_000, month), (2, -(10**6), 1_100_000, month)]
    # the steward measures with the margin engine, and governance goes by before the first numbers
    ids = [step.id for step in steps]
    assert ids.index("steward.margin") < ids.index("parameters")
    ramp = next(step for step in steps if step.id == "ramp")
    assert ramp.arguments == (6 * 3_600,)
    age = next(step for step in steps if step.id == "age")
    assert age.arguments == (14 * 86_400, 50_000, 1_500_000)


def test_every_function_of_a_role_is_mapped() -> None:
    plan = make_plan(Config.load().profile("crypto"), DEPLOYER, BEGUN)
    mapped = {
        (step.arguments[0].step, step.arguments[2])
        for step in plan.steps
        if isinstance(step, Call) and step.function == "setTargetFunctionRole"
    }
    assert {(target, role) for target, roles in FUNCTION_ROLES.items() for role in roles} <= mapped
    assert ("price_feed.BTC", REPORTER) in mapped


def test_guardian_may_stop_things_and_start_none() -> None:
    by_guardian = {target: roles[GUARDIAN] for target, roles in FUNCTION_ROLES.items() if GUARDIAN in roles}
    assert by_guardian == {
        "price_oracle": ("cancelPriceFeed", "cancelSequencerFeed"),
        "volatility_oracle": ("cancelVolatilityFeed",),
        "steward": ("veto", "freezeField", "freezeMarket"),
        "clearing_house": ("pause", "unpause"),
    }


def test_roles_name_every_restricted_function_of_the_contracts() -> None:
    """Whatever a contract restricts has a role of its own; nothing falls to the administrator by oversight."""
    for step, contract in _CONTRACTS.items():
        source = next((DEFAULT_PATH.parent / "contracts").rglob(f"{contract}.sol")).read_text()
        restricted = set(re.findall(r"function (\w+)\([^)]*\)[^{;]*\brestricted\b", source))
        named = {name for functions in FUNCTION_ROLES[step].values() for name in functions}
        assert restricted == named, contract


def test_plan_refuses_a_step_before_what_it_needs() -> None:
    with pytest.raises(PlimsollError, match="step b needs a before it"):
        Plan((Deploy("b", "B", (Ref("a"),)), Deploy("a", "A", ())))


def test_plan_refuses_two_steps_of_one_id() -> None:
    with pytest.raises(PlimsollError, match="two steps a"):
        Plan((Deploy("a", "A", ()), Deploy("a", "B", ())))
