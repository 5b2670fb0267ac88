"""History told from events, and status as tables and plain values."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from plimsoll.chain.abi import Event
from plimsoll.chain.fields import Field, Key, Scope
from plimsoll.commands.status import coverage_table, headlines, limit_table, parameter_table
from plimsoll.governance.history import Change, Entry, Kind, tell
from plimsoll.governance.rows import Allowed
from plimsoll.governance.status import Calibration, Coverage, Number, Status, keys_of

STEWARD, CALIBRATOR, GUARDIAN, GOVERNOR = (f"0x{digit * 40}" for digit in "abcd")
REPORT, OTHER = b"\1" * 32, b"\2" * 32
DAY = 86_400
TIMES = {block: block * DAY for block in range(1, 10)}
READY_AT = 3 * DAY
WAITING = ((0, 1, 0, 3_600_000), (1, 1, 0, 4_050_000))


def event(name: str, block: int, **arguments: Any) -> Event:
    return Event(name, arguments, block, f"0x{block}")


def scheduled(block: int = 2, report: bytes = REPORT) -> Event:
    changes = tuple(SimpleNamespace(field=f, underlying=u, other=o, value=v) for f, u, o, v in WAITING)
    source = (report, b"\3" * 32, b"\4" * 32, 1, 990_000)
    return event("BundleScheduled", block, calibrator=CALIBRATOR, provenance=source, readyAt=READY_AT, changes=changes)


def applied(
    block: int,
    changes: tuple[tuple[int, int, int, int], ...],
    *,
    size: int | None = None,
    report: bytes = REPORT,
    sender: str = STEWARD,
) -> list[Event]:
    """What one bundle emits; `size`: its changes, some of which may have moved nothing."""
    size = len(changes) if size is None else size
    events = [event("ParametersPushed", block, report=report, sender=CALIBRATOR, changes=size)]
    events += [
        event("ParameterChanged", block, field=f, underlying=u, other=o, previous=4_000_000, value=v)
        for f, u, o, v in changes
    ]
    source = {"report": report, "data": b"\3" * 32, "market": b"\4" * 32, "modelVersion": 1, "coverage": 990_000}
    events.append(event("BundleApplied", block, **source, sender=sender, changes=size))
    return events if sender == STEWARD else events[1:]


def kinds(*events: Event | list[Event]) -> list[Kind]:
    flat = [one for entry in events for one in (entry if isinstance(entry, list) else [entry])]
    return [entry.kind for entry in tell(flat, TIMES, STEWARD)]


def test_tell_a_push_with_where_it_comes_from() -> None:
    (entry,) = tell(applied(4, ((0, 1, 0, 5_000_000),)), TIMES, STEWARD)
    change = Change(Key(Field.TAIL_INITIAL, 1), 4_000_000, 5_000_000)
    hashes = ("0x" + "01" * 32, "0x" + "03" * 32, "0x" + "04" * 32)
    assert entry == Entry(Kind.PUSH, 4, 4 * DAY, "0x4", CALIBRATOR, *hashes, 1, 0.99, (change,))


def test_tell_an_execution_by_what_was_announced() -> None:
    assert kinds(scheduled(), applied(4, WAITING)) == [Kind.SCHEDULE, Kind.EXECUTE]
    # one of its numbers was there already
    assert kinds(scheduled(), applied(4, WAITING[:1], size=2)) == [Kind.SCHEDULE, Kind.EXECUTE]
    # only once
    assert kinds(scheduled(), applied(4, WAITING), applied(5, WAITING))[-1] is Kind.PUSH


def test_tell_a_push_from_an_execution() -> None:
    for other in (
        applied(2, WAITING),  # before its time
        applied(4, WAITING, report=OTHER),
        applied(4, WAITING[:1]),  # not all of it
        applied(4, (WAITING[0], (1, 2, 0, 4_050_000))),
    ):
        assert kinds(scheduled(), other) == [Kind.SCHEDULE, Kind.PUSH]
    assert kinds(scheduled(), scheduled(3, OTHER), applied(4, WAITING))[-1] is Kind.PUSH  # another took its place


def test_tell_a_veto_of_what_waits() -> None:
    entries = tell([scheduled(), event("BundleVetoed", 3, guardian=GUARDIAN), *applied(4, WAITING)], TIMES, STEWARD)
    assert [entry.kind for entry in entries] == [Kind.SCHEDULE, Kind.VETO, Kind.PUSH]
    assert (entries[1].sender, entries[1].report, entries[1].block) == (GUARDIAN, "0x" + "01" * 32, 3)
    assert entries[1].changes == entries[0].changes
    assert (entries[0].ready_at, entries[1].ready_at) == (READY_AT, None)


def test_tell_what_governance_did_itself() -> None:
    (entry,) = tell(applied(4, WAITING, sender=GOVERNOR), TIMES, STEWARD)
    assert (entry.kind, entry.sender, len(entry.changes)) == (Kind.GOVERNANCE, GOVERNOR, 2)


def test_keys_of_a_house_are_every_number_once() -> None:
    keys = keys_of([3, 1, 2])
    assert len(keys) == len(set(keys))
    scopes = [key.field.scope for key in keys]
    assert [scopes.count(scope) for scope in (Scope.COMMON, Scope.UNDERLYING, Scope.PAIR)] == [7, 3 * 32, 3 * 2]
    assert Key(Field.CORRELATION_LOW, 1, 3) in keys


STATUS = Status(
    chain_id=1,
    block=9,
    timestamp=20 * DAY,
    ramp=21_600,
    loosening_delay=DAY,
    calibration=Calibration("0x" + "01" * 32, 2 * DAY, 4, 18 * DAY, 1.2, 14 * DAY, 0.05, 1.5),
    numbers=(
        Number(Key(Field.MULTIPLIER), 1_000_000, 1_200_000, None, None, None),
        Number(
            Key(Field.TAIL_MAINTENANCE, 1),
            5_000_000,
            4_500_000,
            20 * DAY + 3_600,
            Allowed(4_500_000, 6_000_000, 21 * DAY, (3_600_000, 6_000_000)),
            27 * DAY,
        ),
        Number(Key(Field.CARRY, 1), 20_000, 20_000, None, Allowed(20_001, 20_000, 0, (0, 40_000)), 22 * DAY),
        Number(Key(Field.CORRELATION_LOW, 1, 2), 500_000, 500_000, None, Allowed(400_000, 600_000, 0), None),
    ),
    coverage=(Coverage(1, "initial", 250, 6, 1.166667, None), Coverage(2, "maintenance", 3, 0, 1.0, 21 * DAY)),
    portfolios=(),
    waiting=None,
    frozen_fields=(Field.CARRY,),
    frozen_markets=(),
    names={1: "BTC", 2: "ETH"},
)


def printed(table: Any) -> list[str]:
    console = Console(width=200, record=True)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_status_lines() -> None:
    lines = headlines(STATUS)
    assert any("18.0 days ago" in line for line in lines)
    assert "age multiplies margin by 1.2; the multiplier rises 5.0% a day from 14 days, to 1.5 at most" in lines
    assert lines[-2:] == ["no bundle waits", "frozen: field carry"]


def test_status_shows_what_is_in_force_beside_what_was_pushed() -> None:
    lines = printed(parameter_table(STATUS))
    assert "multiplier 1.2 → 1" in lines
    assert "tail_maintenance 4.5 → 5 01-21 01:00" in lines
    assert "carry 0.02" in lines
    assert "correlation_low 0.5" in lines


def test_status_shows_limits_of_windows_that_run() -> None:
    lines = printed(limit_table(STATUS))
    assert "BTC tail_maintenance 5 4.5 … 6 1970-01-22 00:00 UTC 3.6 … 6 1970-01-28 00:00 UTC" in lines
    assert "BTC carry 0.02 nowhere now 0 … 0.04 1970-01-23 00:00 UTC" in lines
    assert not any("correlation" in line for line in lines)
    fresh = replace(STATUS, numbers=STATUS.numbers[:1])
    assert any("a whole budget is left" in line for line in printed(limit_table(fresh)))


def test_status_shows_coverage() -> None:
    lines = printed(coverage_table(STATUS))
    assert "BTC initial 250 6 1.167 to be opened" in lines
    assert "ETH maintenance 3 0 1 1970-01-22 00:00 UTC" in lines


def test_status_as_plain_values() -> None:
    document = STATUS.to_json()
    tail = document["parameters"][1]
    assert tail["name"] == "BTC tail_maintenance"
    assert (tail["pushed"], tail["in_force"], tail["ramp_ends"]) == (5.0, 4.5, 20 * DAY + 3_600)
    limits = {"minimum": 4.5, "maximum": 6.0, "allowed_at": 21 * DAY, "budget": [3.6, 6.0], "window_ends": 27 * DAY}
    assert tail["limits"] == limits
    assert document["coverage"][0]["underlying"] == "BTC"
    assert document["frozen"] == {"fields": ["carry"], "markets": []}
    assert document["pending"] is None
