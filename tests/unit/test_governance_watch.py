"""What the unattended loop decides, from what it has read alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.chain.fields import Field, Key, ParameterChange
from plimsoll.governance.pending import Waiting
from plimsoll.governance.push import Provenance, PushPlan
from plimsoll.governance.rows import Row
from plimsoll.governance.watch import Calibrate, Cycle, Execute, Facts, Observe, Push, decide

NOW, EVERY = 1_000_000, 28_800
SOURCE = Provenance(b"\1" * 32, b"\2" * 32, b"\3" * 32, 1, 990_000)


def plan_of(new: int) -> PushPlan:
    """One tail, four now, going to `new`."""
    row = Row(Key(Field.TAIL_INITIAL, 1), "BTC tail_initial", 4_000_000, new, new, 1, 15_000_000, "")
    return PushPlan((row,), SOURCE)


TIGHTER, LOOSER, NOTHING = plan_of(5_000_000), plan_of(3_600_000), plan_of(4_000_000)
WAITING = Waiting(
    b"\4" * 32, NOW - 1, NOW + 1, (ParameterChange(Field.TAIL_INITIAL, 1, 0, 3_600_000),), SOURCE.as_tuple()
)
OBSERVE = Observe(((1, 0, 7),))
QUIET = Facts(
    observations=(),
    calibrated_at=NOW - 1,
    plan=NOTHING,
    ready=None,
    is_new_data=False,
    pushed_at=NOW - 1,
    held_until=0,
)
"""Nothing to do."""


def test_decide_leaves_alone_what_is_as_it_should_be() -> None:
    assert decide(NOW, QUIET, EVERY) == ()


@pytest.mark.parametrize(
    ("age", "due"), [(None, True), (0, False), (EVERY - 1, False), (EVERY, True), (10 * EVERY, True)]
)
def test_decide_calibrates_on_time(age: int | None, due: bool) -> None:
    facts = replace(QUIET, calibrated_at=None if age is None else NOW - age)
    assert decide(NOW, facts, EVERY) == ((Calibrate(),) if due else ())


def test_decide_calibrates_before_it_executes_or_pushes() -> None:
    facts = replace(QUIET, calibrated_at=NOW - EVERY, plan=TIGHTER, ready=WAITING)
    assert decide(NOW, facts, EVERY) == (Calibrate(),)


def test_decide_executes_before_it_pushes() -> None:
    facts = replace(QUIET, plan=TIGHTER, ready=WAITING)
    assert decide(NOW, facts, EVERY) == (Execute(WAITING),)


@pytest.mark.parametrize("plan", [TIGHTER, LOOSER])
def test_decide_pushes_what_the_report_moves(plan: PushPlan) -> None:
    assert decide(NOW, replace(QUIET, plan=plan), EVERY) == (Push(plan, alive=False),)


def test_decide_leaves_to_what_waits_its_time() -> None:
    facts = replace(QUIET, plan=replace(LOOSER, waiting=WAITING))
    assert decide(NOW, facts, EVERY) == ()
    overtaken = replace(LOOSER, waiting=WAITING, is_overtaken=True)
    assert decide(NOW, replace(QUIET, plan=overtaken), EVERY) == (Push(overtaken, alive=False),)


@pytest.mark.parametrize(
    ("is_new_data", "age", "alive"),
    [(True, EVERY, True), (True, EVERY - 1, False), (False, 100 * EVERY, False)],
)
def test_decide_says_that_the_calibration_lives_on_new_data_alone(is_new_data: bool, age: int, alive: bool) -> None:
    facts = replace(QUIET, is_new_data=is_new_data, pushed_at=NOW - age)
    assert decide(NOW, facts, EVERY) == ((Push(NOTHING, alive=True),) if alive else ())


def test_decide_holds_a_push_that_was_refused_and_nothing_else() -> None:
    facts = replace(QUIET, plan=TIGHTER, held_until=NOW + 1, observations=(OBSERVE,))
    assert decide(NOW, facts, EVERY) == (OBSERVE,)
    assert decide(NOW + 1, facts, EVERY) == (OBSERVE, Push(TIGHTER, alive=False))
    assert decide(NOW, replace(facts, ready=WAITING), EVERY) == (OBSERVE, Execute(WAITING))


@pytest.mark.parametrize("facts", [replace(QUIET, calibrated_at=None, plan=None), replace(QUIET, plan=TIGHTER), QUIET])
def test_decide_observes_first_whatever_else_there_is(facts: Facts) -> None:
    others = decide(NOW, facts, EVERY)
    assert decide(NOW, replace(facts, observations=(OBSERVE,)), EVERY) == (OBSERVE, *others)


def test_a_cycle_is_one_line() -> None:
    quiet = Cycle(12, 1_600_000_000, (), ())
    assert str(quiet) == "2020-09-13 12:26:40 block 12: nothing to do"
    busy = replace(quiet, done=("calibrated 0x12…", "pushed 2 changes"), refused=("execute 1 changes: too late",))
    assert str(busy).endswith("block 12: calibrated 0x12…; pushed 2 changes; refused: execute 1 changes: too late")
