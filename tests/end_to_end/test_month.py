"""The unattended loop on a real chain: a day in which it is dead, and what margin and accounts make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import pytest

from plimsoll.calibration import Report as Calibration
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain
from plimsoll.chain.system import System
from plimsoll.governance.history import Kind
from plimsoll.market import load_market
from simulation.faults import Span
from simulation.house import LEAD_TIME, calibrated
from simulation.month import DEAD, Plan, run_on
from simulation.month_page import render
from simulation.month_report import Outcome, Report
from simulation.observe import Observer
from simulation.scenario import scenario_for
from simulation.unattended import without

MARKET = "sp500-nasdaq"
DAY = 86_400
BARS = 7
"""Sessions have four prints."""
TIGHTER = 1.2
"""By what the first report of a run multiplies initial margin."""
NEWER = "0x" + "5d" * 32
"""Hash of data that nobody has pushed from."""


@dataclass(frozen=True)
class Night:
    """A run in which the loop is dead from the second print of the first session to the second of the next, and the
    chain that it was on."""

    plan: Plan
    outcome: Outcome
    system: System


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    data, folder = load_market(MARKET), tmp_path_factory.mktemp("month")
    bars = list(islice(data.steps(), BARS))
    plan = Plan(data, scenario_for(MARKET), bars, Span(bars[1][0], bars[5][0]), grace=DAY, probes=0)

    fitted = calibrated(data, bars[0][0])  # one fit serves for both, which takes seconds

    def calibrate(now: int) -> Calibration:
        if now > bars[1][0]:
            return replace(fitted, data=fitted.data | {"hash": NEWER})
        tighter = {name: replace(one, tail_initial=TIGHTER * one.tail_initial) for name, one in fitted.assets.items()}
        return replace(fitted, assets=tighter)

    with Anvil(timestamp=bars[0][0] - LEAD_TIME) as node:
        chain = Chain.connect(node.url)
        outcome = run_on(chain, plan, folder, calibrate, killed=True)
        yield Night(plan, outcome, System.load(chain, folder / "deployment.json"))


@pytest.mark.slow
def test_run_killed_loop_margin_ages_by_schedule_until_another_is_started(night: Night) -> None:
    killed, bars = night.outcome, night.plan.bars
    assert killed.starts == 2
    assert [point.ts for point in killed.points if not point.is_alive] == [ts for ts, _ in bars[1:5]]
    rate = 0.05
    for point in killed.points[:6]:  # the sixth is read before the new loop's first cycle
        assert point.age_multiplier == pytest.approx(1 + rate * max(0.0, point.age - 1), abs=2e-6)
    assert killed.points[5].age_multiplier > 1.004
    assert killed.points[6].age_multiplier == 1
    assert killed.points[6].age < 0.2


@pytest.mark.slow
def test_run_no_push_hurts_anybody_and_every_invariant_holds(night: Night) -> None:
    killed = night.outcome
    assert killed.violation == ""
    assert killed.holds
    pushes = killed.of_kind(Kind.PUSH)
    assert pushes
    assert {entry.block for entry in pushes} <= {one.block for one in killed.around}
    assert all(one.accounts == len(killed.recording.accounts) > 5 for one in killed.around)
    assert all(one.healthy > 0 and one.hurt == () for one in killed.around)
    assert killed.recording.bad_debt == 0


@pytest.mark.slow
def test_result_and_page_have_the_run(night: Night) -> None:
    killed = night.outcome
    month = json.loads(json.dumps(Report(MARKET, "a night", DAY, [killed]).result()))
    told = month["runs"][DEAD]
    assert told["pushes"] == len(killed.of_kind(Kind.PUSH))
    assert told["age"]["most_multiplier"] > 1.004
    assert len(told["history"]["ts"]) == BARS == len(told["history"]["initial_rate"]["SPX"])
    assert "Multiplier of age" in render(month)


@pytest.mark.slow
def test_without_undoes_a_push_exactly(night: Night) -> None:
    """An account as if the push had not been: as it was immediately before, at the time of the push."""
    pushed = night.outcome.around[0]
    assert pushed.initial_rise == pytest.approx(TIGHTER - 1, abs=0.01)
    assert pushed.maintenance_rise < 1e-6
    system, account = night.system, 3
    (transaction,) = system.chain.rpc("eth_getBlockByNumber", hex(pushed.block), False)["transactions"]
    ((before, after),) = Observer(system).standings([account], pushed.block)
    assert after.initial > 1.1 * before.initial > 0
    assert without(system, [transaction], account, pushed.block) == before
    assert without(system, [], account, pushed.block) == after
