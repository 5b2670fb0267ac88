"""What a push would do, worked out from values alone."""

from __future__ import annotations

import itertools
from dataclasses import fields
from decimal import Decimal

import pytest

from plimsoll.calibration.report import AssetParameters
from plimsoll.chain.fields import Field, Key, Scope, fields_of
from plimsoll.governance.push import Allowed, Row, label, plan_rows, shown

TAIL = Key(Field.TAIL_INITIAL, 1)
FLOOR, STRESS = Key(Field.VOLATILITY_FLOOR, 1), Key(Field.VOLATILITY_STRESS, 1)
BOUNDS = dict.fromkeys(Field, (-2_000_000, 20_000_000))
NAMES = {1: "BTC", 2: "ETH"}
NOW = 1_000_000


def row(old: int, target: int, allowed: Allowed | None) -> Row:
    (only,) = plan_rows({TAIL: target}, {TAIL: old}, {TAIL: allowed}, BOUNDS, NOW, NAMES)
    return only


def test_plan_rows_moves_all_the_way_within_a_step() -> None:
    only = row(3_000_000, 3_200_000, Allowed(2_700_000, 3_750_000, 0))
    assert (only.new, only.note, only.label) == (3_200_000, "", "BTC tail_initial")
    assert only.change == Decimal(200_000) / 3_000_000


@pytest.mark.parametrize(("target", "new"), [(9_000_000, 3_750_000), (1_600_000, 2_700_000)])
def test_plan_rows_moves_one_step_towards_a_far_target(target: int, new: int) -> None:
    only = row(3_000_000, target, Allowed(2_700_000, 3_750_000, 0))
    assert only.new == new
    assert only.note == f"target {target / 1e6:g}, pushing {new / 1e6:g} (step limit)"


def test_plan_rows_waits_for_the_interval() -> None:
    only = row(3_000_000, 3_100_000, Allowed(2_700_000, 3_750_000, NOW + 1))
    assert (only.is_moving, only.note) == (False, "not before 1970-01-12 13:46 UTC")
    assert row(3_000_000, 3_100_000, Allowed(2_700_000, 3_750_000, NOW)).is_moving


def test_plan_rows_leaves_to_governance_what_the_steward_may_not_move() -> None:
    assert row(3_000_000, 3_100_000, None).note == "governance alone may move it"


def test_plan_rows_says_unchanged() -> None:
    only = row(3_000_000, 3_000_000, Allowed(0, 1, NOW + 5))
    assert (only.is_moving, only.note) == (False, "unchanged")


@pytest.mark.parametrize("floor_waits", [True, False])
@pytest.mark.parametrize("stress_waits", [True, False])
@pytest.mark.parametrize("targets", [(800_000, 900_000), (100_000, 200_000)])
def test_plan_rows_keeps_pairs_in_order_within_their_steps(
    targets: tuple[int, int], floor_waits: bool, stress_waits: bool
) -> None:
    old = {FLOOR: 400_000, STRESS: 500_000}
    wanted = {FLOOR: targets[0], STRESS: targets[1]}
    allowed: dict[Key, Allowed | None] = {
        FLOOR: Allowed(100_000, 800_000, NOW + floor_waits),
        STRESS: Allowed(200_000, 900_000, NOW + stress_waits),
    }
    rows = {row.key: row.new for row in plan_rows(wanted, old, allowed, BOUNDS, NOW, NAMES)}
    assert rows[FLOOR] <= rows[STRESS]
    for key, waits in ((FLOOR, floor_waits), (STRESS, stress_waits)):
        assert min(old[key], wanted[key]) <= rows[key] <= max(old[key], wanted[key])
        if waits:
            assert rows[key] == old[key]
    if not floor_waits and not stress_waits:
        assert rows == wanted


RATES = [Key(field, 1) for field in (Field.TIER_RATE_1, Field.TIER_RATE_2, Field.TIER_RATE_3, Field.TIER_RATE_4)]


@pytest.mark.parametrize("waiting", list(itertools.product((False, True), repeat=4)))
@pytest.mark.parametrize("step", [0, 15_000, 100_000])
@pytest.mark.parametrize("targets", [(50_000, 60_000, 70_000, 80_000), (1_000, 1_000, 1_000, 2_000)])
def test_plan_rows_keeps_chains_in_order(targets: tuple[int, ...], step: int, waiting: tuple[bool, ...]) -> None:
    old = dict(zip(RATES, (10_000, 20_000, 30_000, 40_000), strict=True))
    wanted = dict(zip(RATES, targets, strict=True))
    allowed: dict[Key, Allowed | None] = {
        key: Allowed(old[key] - step, old[key] + step, NOW + waits) for key, waits in zip(RATES, waiting, strict=True)
    }
    rows = {row.key: row.new for row in plan_rows(wanted, old, allowed, BOUNDS, NOW, NAMES)}
    assert [rows[key] for key in RATES] == sorted(rows.values())
    for key, waits in zip(RATES, waiting, strict=True):
        low, high = sorted((old[key], wanted[key]))
        assert low <= rows[key] <= high
        assert abs(rows[key] - old[key]) <= (0 if waits else step)


def test_targets_know_every_number_of_a_report() -> None:
    fitted = {member.name for member in fields(AssetParameters)}
    assert fitted <= {field.key for field in fields_of(Scope.UNDERLYING)}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key(Field.OFFSET), "offset"),
        (TAIL, "BTC tail_initial"),
        (Key(Field.CORRELATION_LOW, 1, 2), "BTC/ETH correlation_low"),
    ],
)
def test_label(key: Key, text: str) -> None:
    assert label(key, NAMES) == text


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (Field.TAIL_INITIAL, 3_250_000, "3.25"),
        (Field.AVERAGE_DAILY_VOLUME, 1_500_000, "1.5bn"),
        (Field.HORIZON_INITIAL, 600, "600"),
        (Field.CORRELATION_LOW, -500_000, "-0.5"),
    ],
)
def test_shown(field: Field, value: int, text: str) -> None:
    assert shown(field, value) == text
