"""A drill on a real chain: the fall of 5 February 2018 with silent feeds and without an honest keeper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.drill import Outcome, Plan, Report, plan, rows, run_drill
from simulation.drill_page import render
from simulation.invariants import STATEMENTS

MARKET = "sp500-nasdaq"


@pytest.fixture(scope="module")
def fall() -> Plan:
    """The day of the fall: the late traders come in with its first bar."""
    return plan(MARKET, held=2, after=2)


@pytest.fixture(scope="module")
def everything(fall: Plan, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_drill(fall, fall.drills[-1], tmp_path_factory.mktemp("drill"))


@pytest.mark.slow
def test_run_drill_loses_nothing_and_every_invariant_holds(everything: Outcome) -> None:
    assert everything.violation == ""
    assert {name for name, checks in everything.invariants.items() if checks} == set(STATEMENTS)
    assert [line.what for line in everything.balance if not line.holds] == []
    assert everything.nothing_lost
    came = {line.what: line.came for line in everything.balance}
    assert came["orders given, settled or refused"] > 10
    assert everything.flags >= came["auctions begun, ended"] >= 2  # one that lapsed is flagged anew


@pytest.mark.slow
def test_run_drill_feels_its_faults(fall: Plan, everything: Outcome) -> None:
    """Feeds are silent until the house refuses their price; what waits for the colluder waits for all of an auction."""
    refused = [point.ts for point in everything.points if None in point.prices.values()]
    faults = fall.drills[-1].faults
    assert faults.outage is not None
    assert any(faults.outage.first < ts < faults.outage.end for ts in refused)
    assert everything.unknown > 0
    assert {point.gas for point in everything.points} == {20.0, 1_000.0}
    assert 20 <= everything.fee_low <= everything.fee_high <= 200
    assert everything.liquidated >= 1
    assert everything.to_end >= 0.9 * 360  # minutes: an auction takes six hours to reach its highest discount
    assert everything.gas["Third keeper"] > 0


@pytest.mark.slow
def test_run_drill_same_faults_give_the_same_bytes(fall: Plan, tmp_path: Path) -> None:
    few = replace(fall, bars=fall.bars[:2])
    reports = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        outcome = run_drill(few, fall.drills[0], folder)
        reports.append(Report(MARKET, fall.data.market.title, fall.worst, fall.heartbeat, [outcome]))
    first, second = reports
    assert json.dumps(first.result()) == json.dumps(second.result())
    assert render(first, rows(first)) == render(second, rows(second))
