"""Whose harm is a push's doing."""

from __future__ import annotations

import pytest

from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.effect import Reading, Standing
from plimsoll.governance.push import Provenance, PushPlan
from plimsoll.governance.rehearsal import Fate, Rehearsal

FINE, CALLED, BAD = (
    Standing(100 * WAD, initial * WAD, maintenance * WAD) for initial, maintenance in ((90, 50), (110, 60), (150, 101))
)


def test_status_of_a_standing() -> None:
    assert [one.status for one in (FINE, CALLED, BAD)] == ["healthy", "margin call", "liquidatable"]
    assert not Standing(50, 90, 50).is_liquidatable
    assert Standing(90, 90, 50).status == "healthy"


@pytest.mark.parametrize(
    ("before", "now", "target", "end", "without", "hurt", "called"),
    [
        (FINE, FINE, FINE, FINE, FINE, False, False),
        (FINE, CALLED, CALLED, CALLED, FINE, False, True),
        (FINE, FINE, FINE, BAD, FINE, True, True),
        (FINE, FINE, BAD, FINE, FINE, True, True),
        (CALLED, CALLED, CALLED, BAD, CALLED, True, True),
        # time alone would have done it
        (FINE, FINE, FINE, BAD, BAD, False, False),
        (FINE, FINE, FINE, CALLED, CALLED, False, False),
        # it was so before
        (BAD, BAD, BAD, BAD, BAD, False, False),
        (CALLED, CALLED, CALLED, CALLED, CALLED, False, False),
        # nobody can tell
        (None, None, None, None, None, False, False),
        (FINE, FINE, FINE, BAD, None, True, True),
    ],
)
def test_fate_is_the_push_s_doing_where_it_would_not_be_without_it(
    before: Standing | None,
    now: Standing | None,
    target: Standing | None,
    end: Standing | None,
    without: Standing | None,
    hurt: bool,
    called: bool,
) -> None:
    fate = Fate(1, before, now, target, end, without)
    assert (fate.is_hurt, fate.is_called) == (hurt, called)


def rehearsal_of(ends: dict[int, Standing | str]) -> Rehearsal:
    """Everybody was fine, and would be without the push."""
    fine = Reading(1, 0, dict.fromkeys(ends, FINE))
    plan = PushPlan((), Provenance(bytes(32), bytes(32), bytes(32), 1, 0))
    return Rehearsal(plan, plan, (), fine, fine, fine, Reading(2, 0, ends), fine)


def test_require_harmless_names_accounts_in_a_line() -> None:
    rehearsal_of({1: FINE, 2: CALLED, 3: "PriceOracleStale"}).require_harmless()
    with pytest.raises(PlimsollError) as refusal:
        rehearsal_of({n: BAD if n % 2 else FINE for n in range(1, 20)}).require_harmless()
    text = str(refusal.value)
    assert "account 1 (equity 100, maintenance 101 dollars), account 3 " in text
    assert "account 9 (equity 100, maintenance 101 dollars) and 5 more liquidatable" in text
    assert "\n" not in text
