"""What a push would do, worked out from values alone."""

from __future__ import annotations

import itertools
from dataclasses import fields
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from plimsoll.calibration.report import AssetParameters
from plimsoll.chain.fields import Field, Key, ParameterChange, Scope, fields_of
from plimsoll.governance.pending import Waiting
from plimsoll.governance.push import Provenance, PushPlan
from plimsoll.governance.rows import Allowed, Row, budget_of, label, plan_rows, shown

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


def test_plan_rows_says_frozen_where_nothing_is_allowed() -> None:
    only = row(3_000_000, 3_100_000, Allowed(3_000_001, 3_000_000, 0))
    assert (only.is_moving, only.note) == (False, "frozen, or outside its bounds by more than a step")


SOURCE = Provenance(bytes(32), bytes(32), bytes(32), 1, 0)
WIDE = Allowed(-(10**9), 10**9, 0)


def plan(moves: dict[Key, tuple[int, int]], waiting: Waiting | None = None, overtaken: bool = False) -> PushPlan:
    """A plan that makes each number what it should become; moves are {key: (old, new)}."""
    wanted, old = ({key: pair[side] for key, pair in moves.items()} for side in (1, 0))
    rows = plan_rows(wanted, old, dict.fromkeys(moves, WIDE), BOUNDS, NOW, NAMES)
    return PushPlan(rows, SOURCE, waiting, overtaken)


def waiting_for(*changes: ParameterChange) -> Waiting:
    return Waiting(b"\1" * 32, NOW + 10, NOW + 20, changes, (bytes(32), bytes(32), bytes(32), 1, 0))


LOW, RHO = Key(Field.CORRELATION_LOW, 1, 2), Key(Field.SURFACE_RHO, 1)


def test_plan_tightens_at_once_and_loosens_later() -> None:
    made = plan({TAIL: (3, 4), FLOOR: (5, 4), LOW: (7, 6), STRESS: (8, 8), RHO: (-2, -9)})
    assert {change.key: change.value for change in made.tightening} == {TAIL: 4, LOW: 6, RHO: -9}
    assert {change.key: change.value for change in made.loosening} == {FLOOR: 4}
    assert (made.schedules, made.is_empty) == (True, False)
    assert plan({TAIL: (3, 3)}).is_empty
    # the low correlation going up and volume going up are less margin
    up = plan({LOW: (6, 7), Key(Field.AVERAGE_DAILY_VOLUME, 1): (6, 7)})
    assert (len(up.tightening), len(up.loosening)) == (0, 2)


def test_plan_leaves_what_waits_alone_unless_it_is_overtaken() -> None:
    waiting = waiting_for(ParameterChange(Field.VOLATILITY_FLOOR, 1, 0, 4))
    assert not plan({FLOOR: (5, 3)}, waiting).schedules
    assert plan({FLOOR: (5, 3)}, waiting).is_empty
    replaced = plan({FLOOR: (5, 5)}, waiting, overtaken=True)
    assert (replaced.schedules, replaced.loosening) == (True, ())


def test_waiting_is_overtaken_by_a_report_that_wants_more_margin() -> None:
    waiting = waiting_for(
        ParameterChange(Field.VOLATILITY_FLOOR, 1, 0, 4), ParameterChange(Field.CORRELATION_LOW, 1, 2, 7)
    )
    assert not waiting.is_overtaken({FLOOR: 4, LOW: 7})
    assert not waiting.is_overtaken({FLOOR: 3, LOW: 9, TAIL: 10**6})
    assert waiting.is_overtaken({FLOOR: 5, LOW: 7})
    assert waiting.is_overtaken({FLOOR: 4, LOW: 6})
    assert [waiting.is_ready(NOW + t) for t in (9, 10, 20, 21)] == [False, True, True, False]
    assert [waiting.is_expired(NOW + t) for t in (9, 20, 21)] == [False, False, True]


def test_waiting_bears_with_a_fiftieth() -> None:
    waiting = waiting_for(
        ParameterChange(Field.VOLATILITY_FLOOR, 1, 0, 980), ParameterChange(Field.CORRELATION_LOW, 1, 2, -980)
    )
    assert not waiting.is_overtaken({FLOOR: 1000})
    assert waiting.is_overtaken({FLOOR: 1001})
    # margin falls as it rises
    assert not waiting.is_overtaken({LOW: -999})
    assert waiting.is_overtaken({LOW: -1000 - 1})


def test_halved_goes_half_as_far_and_keeps_order() -> None:
    draw = np.random.default_rng(5)
    cap = Key(Field.VOLATILITY_CAP, 1)
    for _ in range(300):
        old, new = (sorted(map(int, draw.integers(0, 40, 3))) for _ in range(2))
        made = plan(dict(zip((FLOOR, STRESS, cap), zip(old, new, strict=True), strict=True)))
        for loosening in (False, True):
            half = made.halved(loosening, "held")
            values = [row.new for row in half.rows]
            assert values == sorted(values)
            for before, after in zip(made.rows, half.rows, strict=True):
                moved = before.new - before.old
                if before.is_moving and before.is_loosening is loosening:
                    assert abs(after.new - after.old) == abs(moved) // 2
                    assert (after.new - after.old) * moved >= 0
                    assert after.note == "held"
                else:
                    assert after == before
            none = made.without_loosening("no")
            assert (none.loosening, none.tightening) == ((), made.tightening)


@pytest.mark.parametrize(
    ("absolute", "anchor", "budget"),
    [
        (True, 400, (397, 405)),
        (False, 4_000_000, (3_200_000, 6_000_000)),
        (False, -100, (-120, -50)),
        (False, 0, (-1, 1)),
    ],
)
def test_budget_is_what_the_steward_makes_of_it(absolute: bool, anchor: int, budget: tuple[int, int]) -> None:
    up, down = (5, 3) if absolute else (500_000, 200_000)
    assert budget_of(SimpleNamespace(absolute=absolute, budgetUp=up, budgetDown=down), anchor) == budget


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
