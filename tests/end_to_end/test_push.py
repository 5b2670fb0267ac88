"""A calibration report onto a live chain, and every report that does not belong there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plimsoll.calibration import CalibrationConfig, Report, calibrate
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.fields import Field, Key
from plimsoll.errors import PlimsollError
from plimsoll.governance.push import plan_push, push, targets
from plimsoll.market.series import make_series

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

DEPLOYER, STRANGER = Sender.dev(0), Sender.dev(4)
HOUR, DAY = 3_600, 86_400


@cache
def report_of(seed: int = 1, market: str = "2020-03", names: tuple[str, ...] = ("BTC", "ETH")) -> Report:
    """A real calibration, of two years of made-up hourly prices."""
    random = np.random.default_rng(seed)
    common = random.standard_t(4, 17_520) * 0.006
    series = {}
    for name in names:
        returns = common + random.standard_t(4, 17_520) * 0.003
        series[name] = make_series(name, np.arange(17_520) * HOUR + 1_577_836_800, 100 * np.exp(np.cumsum(returns)))
    return calibrate(market, series, CalibrationConfig(8 * HOUR, 2 * HOUR))


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of()


def test_push_moves_numbers_towards_the_report(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    result = push(system, report, DEPLOYER)
    assert result.receipt is not None
    assert result.plan.changes
    wanted = targets(report, system.underlyings)
    for row in result.plan.rows:
        key = row.key
        now = chain.read(system.risk_parameters.get(int(key.field), key.underlying, key.other))
        assert now == row.new
        assert abs(wanted[key] - now) <= abs(wanted[key] - row.old)
    latest = chain.read(system.risk_parameters.latest())
    assert "0x" + latest.provenance.report.hex() == report.hash
    assert "0x" + latest.provenance.data.hex() == report.data_hash
    assert latest.provenance.coverage == int(report.coverage * 1_000_000)


def test_push_reaches_the_report_in_steps(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    for _ in range(80):
        plan = push(system, report, DEPLOYER).plan
        if not plan.changes:
            break
        chain.set_time(chain.block().timestamp + 13 * HOUR)
        chain.mine()
    for row in plan.rows:
        assert row.old == min(max(row.target, row.minimum), row.maximum), row.label


def test_push_twice_waits_for_the_interval(chain: Chain, house: Any, report: Report, undo: None) -> None:
    push(house.system, report, DEPLOYER)
    plan = plan_push(house.system, report)
    waiting = [row for row in plan.rows if row.note.startswith("not before")]
    assert waiting
    assert not any(row.is_moving for row in waiting)


def test_push_of_a_stranger_is_refused(chain: Chain, house: Any, report: Report) -> None:
    with pytest.raises(PlimsollError, match="AccessManagedUnauthorized"):
        push(house.system, report, STRANGER)


def test_push_refuses_a_report_of_another_market(house: Any) -> None:
    with pytest.raises(PlimsollError, match="report is for market 2022-11; this house accepts reports for 2020-03"):
        plan_push(house.system, report_of(market="2022-11"))


def test_push_refuses_a_report_of_other_assets(house: Any) -> None:
    with pytest.raises(PlimsollError, match="report is of BTC, SOL; this house trades BTC, ETH"):
        plan_push(house.system, report_of(names=("BTC", "SOL")))


def test_push_refuses_a_report_of_other_horizons(house: Any, report: Report) -> None:
    other = replace(report, configuration={**report.configuration, "horizons": {"initial": DAY, "maintenance": HOUR}})
    with pytest.raises(PlimsollError, match="calibrate for those"):
        plan_push(house.system, other)


def test_push_leaves_volume_alone_where_the_data_has_none(house: Any, report: Report) -> None:
    wanted = targets(report, house.system.underlyings)
    assert Key(Field.AVERAGE_DAILY_VOLUME, 1) not in wanted
    assert Key(Field.CORRELATION_LOW, 1, 2) in wanted


@pytest.fixture
def report_file(tmp_path: Path, report: Report) -> Path:
    path = tmp_path / "report.json"
    report.save(path)
    return path


def test_push_command_shows_then_sends(
    chain: Chain, house: Any, report_file: Path, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    before = chain.nonce(DEPLOYER.address)
    shown = run_plimsoll("push", report_file, "--manifest", house.manifest, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "BTC tail_initial" in shown.stdout
    assert "nothing was sent" in shown.stdout
    assert chain.nonce(DEPLOYER.address) == before
    sent = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert sent.returncode == 0, sent.stderr
    assert chain.nonce(DEPLOYER.address) == before + 1
    again = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert (again.returncode, "nothing to change" in again.stdout) == (0, True), again.stdout + again.stderr


def test_push_command_refuses_an_edited_report(
    house: Any,
    report_file: Path,
    run_plimsoll: Callable[..., CompletedProcess[str]],
    error_of: Callable[[CompletedProcess[str]], str],
) -> None:
    report_file.write_text(report_file.read_text().replace('"coverage"', '"coverage" '))
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert "not as plimsoll calibrate wrote it" in error_of(run)
