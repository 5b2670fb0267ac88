"""What a month's run works out: what a push does to accounts, reasons of refusals, the month's bars, and its page."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.chain.fields import Field, Key
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.history import Change, Entry, Kind
from simulation.invariants import Standing
from simulation.month import EVERY, WEEK, main, month_of, plan
from simulation.month_page import render
from simulation.month_report import Outcome
from simulation.recording import Recording
from simulation.unattended import Flagged, compare, reason_of

HOUR, DAY = 3_600, 86_400
MAY = 1_619_827_200
"""1 May 2021, 00:00 UTC."""


def standing(equity: float, initial: float, maintenance: float) -> Standing:
    """Dollars."""
    return Standing(int(equity * WAD), int(initial * WAD), int(maintenance * WAD))


def test_compare_tells_who_a_push_made_liquidatable() -> None:
    before, after = standing(100, 120, 90), standing(100, 150, 101)
    down = standing(80, 120, 90)
    still = standing(100, 10, 5)
    found = compare(["pushed over", "down already", "unmoved"], [(before, after), (down, down), (still, still)])
    assert found.hurt == ("pushed over",)
    assert (found.accounts, found.healthy) == (3, 2)
    assert found.initial_rise == pytest.approx(0.25)
    assert found.maintenance_rise == pytest.approx(101 / 90 - 1)
    assert found.equity == 0


def test_compare_equity_at_maintenance_is_healthy() -> None:
    exact = standing(90, 120, 90)
    assert compare(["exact"], [(exact, exact)]).hurt == ()
    lower = Standing(exact.equity - 1, exact.initial, exact.maintenance)
    found = compare(["exact"], [(exact, lower)])
    assert found.hurt == ("exact",)
    assert found.equity == pytest.approx(1e-18)


def test_compare_a_requirement_out_of_nothing_is_a_rise() -> None:
    assert compare(["empty"], [(standing(1, 0, 0), standing(1, 1, 0))]).initial_rise == 1
    assert compare(["lower"], [(standing(9, 4, 2), standing(9, 2, 1))]).maintenance_rise == -0.5


@pytest.mark.parametrize(
    ("equity_without", "maintenance_without", "by_push"), [(90, 89, True), (90, 90, True), (90, 91, False)]
)
def test_flagged_by_push_only_where_it_would_have_been_healthy(
    equity_without: float, maintenance_without: float, by_push: bool
) -> None:
    assert Flagged(MAY, "somebody", 90, 95, 1, equity_without, maintenance_without).by_push is by_push


def test_reason_of_counts_cases_of_one_kind_together() -> None:
    liquidated = [
        f"push {count} changes, announce 1: the push would make account {count} (equity 1,234, maintenance 1,300 "
        "dollars) liquidatable by the end of its ramp; nothing was sent: wait until they have more margin"
        for count in (3, 4)
    ]
    assert len({reason_of(one) for one in liquidated}) == 1
    held = "execute 2 changes: ParameterSteward.execute: ParameterStewardImpact(name=long, before=1, after=2)"
    assert reason_of(held) == "ParameterStewardImpact"
    assert reason_of("push 1 changes: no answer after 30.5 s") == reason_of("push 2 changes: no answer after 7 s")


def test_month_of_is_the_calendar_month_in_hours() -> None:
    month = month_of("2021-05")
    assert (month.start, month.end - month.start, month.step_seconds) == (MAY, 31 * DAY, HOUR)
    assert month.files is not None
    assert month.files.prints == month.files.history
    assert month.name == "2021-05"  # whose profile and reports the house takes


@pytest.mark.parametrize("name", ["sp500-nasdaq", "1999-01"])
def test_month_of_refuses_what_is_no_month(name: str) -> None:
    with pytest.raises(PlimsollError, match=name):
        month_of(name)


def test_main_names_an_unknown_month(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--market", "sp500-nasdaq", "--out", "/dev/null"]) == 1
    assert "error: no month 'sp500-nasdaq'" in capsys.readouterr().err


@pytest.mark.data
def test_plan_has_every_hour_and_a_dead_week_in_the_middle() -> None:
    found = plan("2021-05")
    times = [ts for ts, _ in found.bars]
    assert times == list(range(MAY, MAY + 31 * DAY, HOUR))
    assert found.dead.end - found.dead.first == WEEK > EVERY
    assert times[0] < found.dead.first < found.dead.end < times[-1]


def entry(kind: Kind, *moved: Field) -> Entry:
    changes = tuple(Change(Key(field, 1), 1, 2) for field in moved)
    return Entry(kind, 1, MAY, "0x", "0x", "0x", "0x", "0x", 1, 0.99, changes)


def an_outcome(*entries: Entry, **others: Any) -> Outcome:
    """Of nothing but these."""
    fields: dict[str, Any] = {
        "name": "alive", "names": {1: "BTC"}, "dead": None, "recording": Recording("2021-05", "May", ("BTC",)),
        "points": [], "history": list(entries), "refusals": {}, "refused": [], "starts": 1, "calibrations": 0,
        "coverage": {}, "around": [], "flagged": [], "fund_low": 0.0, "violation": "",
    }  # fmt: skip
    return Outcome(**fields | others)


def test_outcome_counts_announcements_that_gave_way_to_another() -> None:
    schedule, push = entry(Kind.SCHEDULE, Field.TAIL_INITIAL), entry(Kind.PUSH, Field.TAIL_INITIAL)
    executed, veto = entry(Kind.EXECUTE, Field.TAIL_INITIAL, Field.TAIL_MAINTENANCE), entry(Kind.VETO)
    assert an_outcome(schedule, push, schedule, executed, schedule, veto, schedule).overtaken == 1
    assert an_outcome(schedule, schedule, push, schedule).overtaken == 2
    found = an_outcome(schedule, push, executed)
    assert found.overtaken == 0
    assert found.fields == {"tail_initial": 2, "tail_maintenance": 1}  # what is only announced moves nothing


def test_outcome_holds_only_if_nothing_was_violated_and_nobody_hurt() -> None:
    healthy, over = standing(100, 120, 90), standing(100, 120, 101)
    assert an_outcome(around=[compare(["one"], [(healthy, healthy)])]).holds
    hurt = an_outcome(around=[compare(["one"], [(healthy, over)])])
    assert hurt.hurt == 1
    assert not hurt.holds
    assert not an_outcome(violation="CASH: gone").holds


def history(count: int, age: float) -> dict[str, Any]:
    """Of so many bars."""
    row = {"BTC": [0.1] * count}
    return {
        "ts": [MAY + k * HOUR for k in range(count)],
        "price": {"BTC": [50_000.0 + k for k in range(count)]},
        "fund": [1e6] * count,
        "age_multiplier": [age] * count,
        "exceptions": {"BTC initial": [3] * count},
        "coverage": {"BTC initial": [1.0] * count},
        "initial_rate": row,
        "maintenance_rate": row,
    }


def a_run(count: int, *, dead: dict[str, int] | None = None, age: float = 1.0) -> dict[str, Any]:
    return {
        "dead": dead,
        "pushes": 2,
        "bad_debt": 0.0,
        "age": {"most_multiplier": age},
        "around_pushes": {"blocks": 2, "healthy": 24, "made_liquidatable": 0},
        "fields_moved": {"tail_initial": 7},
        "refused_log": [{"ts": MAY + HOUR, "what": "push 1 changes: <b>no</b>"}],
        "flag_log": [],
        "bundles": [
            {"ts": MAY + 1, "kind": "push", "changes": [{"number": "BTC tail_initial"}]},
            {"ts": MAY + 2, "kind": "schedule", "changes": []},
            {"ts": MAY + HOUR + 1, "kind": "execute", "changes": []},
        ],
        "history": history(count, age),
    }


def a_month(**runs: Any) -> dict[str, Any]:
    return {
        "title": "BTC, May 2021",
        "holds": True,
        "age_grace": 2 * DAY,
        "rows": [("pushes", ["2"] * len(runs))],
        "runs": runs,
    }


def test_render_shows_both_runs_and_what_was_refused() -> None:
    dead = {"first": MAY + HOUR, "end": MAY + 2 * HOUR}
    page = render(a_month(alive=a_run(4), killed=a_run(3, dead=dead, age=1.25)))
    assert 'class="dead"' in page
    assert "1.000 · 1.250" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page
    assert "BTC tail_initial" in page
    assert '"–"' in page  # the killed run has no fourth bar
    assert "http" not in page.replace("http://www.w3.org", "")


def test_render_one_run_alone() -> None:
    page = render(a_month(alive=a_run(3)))
    assert 'class="dead"' not in page
    assert "Killed from" not in page
