"""A calibration report onto a live chain: what tightens at once, what loosens later; and what does not belong there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import IO, TYPE_CHECKING, Any

import pytest

from plimsoll.chain.client import Chain, Reverted, Sender
from plimsoll.chain.fields import Field, Key
from plimsoll.chain.toolchain import ROOT
from plimsoll.errors import PlimsollError
from plimsoll.governance.pending import execute, read_waiting
from plimsoll.governance.push import plan_push, push, send_push, targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from plimsoll.calibration import Report
    from plimsoll.chain.system import System
    from plimsoll.governance.push import PushPlan

PLIMSOLL = Path(sys.executable).with_name("plimsoll")
DEPLOYER, STRANGER = Sender.dev(0), Sender.dev(4)
HOUR, DAY = 3_600, 86_400


@pytest.fixture(scope="module")
def report(make_report: Callable[..., Report]) -> Report:
    return make_report()


def wait(system: System, seconds: int) -> None:
    """Let time pass, and have every feed say again what it said."""
    system.chain.set_time(system.chain.block().timestamp + seconds)
    for feed in (*system.price_feeds.values(), *system.volatility_feeds.values()):
        system.chain.send(feed.push(system.chain.read(feed.latestRoundData())[1]), DEPLOYER)


def value(system: System, key: Key) -> int:
    """As pushed."""
    number: int = system.chain.read(system.risk_parameters.get(int(key.field), key.underlying, key.other))
    return number


def values(system: System, plan: PushPlan) -> dict[Key, int]:
    """Every number of a plan, as pushed."""
    return {row.key: value(system, row.key) for row in plan.rows}


def test_push_tightens_at_once_and_loosens_after_the_delay(
    chain: Chain, house: Any, report: Report, undo: None
) -> None:
    system = house.system
    result = push(system, report, DEPLOYER)
    plan = result.plan
    assert len(result.receipts) == 2
    assert (len(plan.tightening), len(plan.loosening)) == (2, 10)
    assert values(system, plan) == {row.key: row.old if row.is_loosening else row.new for row in plan.rows}
    latest = chain.read(system.risk_parameters.latest())
    assert "0x" + latest.provenance.report.hex() == report.hash
    assert "0x" + latest.provenance.data.hex() == report.data_hash
    assert latest.provenance.coverage == int(report.coverage * 1_000_000)

    waiting = read_waiting(system)
    assert waiting is not None
    assert (waiting.changes, waiting.report) == (plan.loosening, report.hash)
    with pytest.raises(Reverted, match="ParameterStewardNotReady"):
        execute(system, waiting, STRANGER)
    wait(system, DAY)
    execute(system, waiting, STRANGER)
    assert read_waiting(system) is None
    assert values(system, plan) == {row.key: row.new for row in plan.rows}
    wanted = targets(report, system.underlyings)
    assert all(abs(wanted[row.key] - row.new) <= abs(wanted[row.key] - row.old) for row in plan.rows)


def test_push_reaches_the_report_in_steps(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    for _ in range(80):
        plan = push(system, report, DEPLOYER).plan
        if all(row.old == min(max(row.target, row.minimum), row.maximum) for row in plan.rows):
            return
        wait(system, 25 * HOUR)
    pytest.fail(f"still on its way: {[row.label for row in plan.rows if row.old != row.target]}")


def test_push_stopped_between_two_transactions_loses_nothing(
    chain: Chain, house: Any, report: Report, undo: None
) -> None:
    system = house.system
    planned = plan_push(system, report)
    tighten, schedule = planned.calls(system)
    assert (tighten.function.name, schedule.function.name) == ("push", "schedule")
    chain.send(tighten, DEPLOYER)
    # here it dies; whoever comes next knows nothing but the chain
    again = plan_push(system, report)
    assert again.tightening == ()
    assert again.loosening == planned.loosening
    (receipt,) = send_push(system, again, DEPLOYER).receipts
    assert receipt.gas > 0
    waiting = read_waiting(system)
    assert waiting is not None
    assert waiting.changes == planned.loosening
    assert plan_push(system, report).is_empty


def test_push_leaves_what_waits_its_time(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    first = read_waiting(system)
    wait(system, 13 * HOUR)
    result = push(system, report, DEPLOYER)
    assert len(result.receipts) == 1  # the next step of what tightens
    assert read_waiting(system) == first


def test_push_replaces_what_waits_when_the_report_wants_more_margin(
    chain: Chain, house: Any, report: Report, undo: None
) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    stricter = replace(report, assets={name: replace(one, tail_initial=5.0) for name, one in report.assets.items()})
    plan = plan_push(system, stricter)
    assert plan.is_overtaken
    assert not any(change.field is Field.TAIL_INITIAL for change in plan.loosening)
    assert {change.value for change in plan.tightening} == {5_000_000}
    send_push(system, plan, DEPLOYER)
    waiting = read_waiting(system)
    assert waiting is not None
    assert waiting.changes == plan.loosening


def test_push_executes_when_the_numbers_that_waited_may_move_again(
    chain: Chain, house: Any, report: Report, undo: None
) -> None:
    system = house.system
    key = Key(Field.TAIL_INITIAL, system.underlyings["BTC"])
    old = value(system, key)

    def wanting(times: float) -> Report:
        btc = replace(report.assets["BTC"], tail_initial=old * times / 1_000_000)
        return replace(report, assets={**report.assets, "BTC": btc})

    push(system, wanting(0.99), DEPLOYER)
    waiting = read_waiting(system)
    assert waiting is not None
    assert key in {change.key for change in waiting.changes}
    wait(system, 20 * HOUR)
    push(system, wanting(1.005), DEPLOYER)  # tighter than before; than what waits, by less than the tolerance
    assert value(system, key) > old
    assert read_waiting(system) == waiting
    wait(system, 5 * HOUR)
    assert waiting.is_ready(chain.block().timestamp)
    assert push(system, wanting(1.005), DEPLOYER).executed is None
    assert read_waiting(system) == waiting
    wait(system, 8 * HOUR)
    assert push(system, wanting(1.005), DEPLOYER).executed is not None
    assert value(system, key) == next(change.value for change in waiting.changes if change.key == key)


def test_push_of_new_data_says_that_the_calibration_lives(
    chain: Chain, house: Any, report: Report, make_report: Callable[..., Report], undo: None
) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    wait(system, HOUR)  # no number may move yet
    pushed_at = chain.read(system.risk_parameters.status()).calibratedAt
    assert push(system, report, DEPLOYER).receipts == ()
    assert chain.read(system.risk_parameters.status()).calibratedAt == pushed_at
    (receipt,) = push(system, replace(report, data=make_report(seed=2).data), DEPLOYER).receipts
    assert chain.read(system.risk_parameters.status()).calibratedAt == chain.block(receipt.block).timestamp > pushed_at


def test_push_says_what_is_frozen(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    chain.send(system.steward.freezeField(int(Field.VOLATILITY_FLOOR)), DEPLOYER)
    chain.send(system.steward.freezeMarket(system.underlyings["ETH"]), DEPLOYER)
    rows = {row.label: row for row in plan_push(system, report).rows}
    for label in ("BTC volatility_floor", "ETH tail_initial", "BTC/ETH correlation_low"):
        assert rows[label].note.startswith("frozen")
        assert not rows[label].is_moving
    assert rows["BTC tail_initial"].is_moving


def test_budget_of_a_row_is_the_steward_s(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    wait(system, 13 * HOUR)
    row = next(row for row in plan_push(system, report).rows if row.label == "BTC volatility_floor")
    # two steps of a quarter from where the window began
    assert row.allowed is not None
    assert row.allowed.budget == (200_000, 375_000)
    assert row.allowed.maximum == row.new == 375_000  # a full step would be to 390,625
    too_far = replace(row, new=row.new + 1)
    plan = plan_push(system, report)
    with pytest.raises(Reverted, match="ParameterStewardBudget"):
        send_push(system, replace(plan, rows=(too_far,)), DEPLOYER)


def test_push_alive_ends_the_ageing(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    wait(system, 16 * DAY)
    assert chain.read(system.risk_parameters.ageMultiplier()) == pytest.approx(1_100_000, abs=200)
    plan = plan_push(system, report)
    send_push(system, replace(plan, rows=()), DEPLOYER, alive=True)
    assert chain.read(system.risk_parameters.ageMultiplier()) == 1_000_000


def test_push_twice_waits_for_the_interval(chain: Chain, house: Any, report: Report, undo: None) -> None:
    push(house.system, report, DEPLOYER)
    plan = plan_push(house.system, report)
    waiting = [row for row in plan.rows if row.note.startswith("not before")]
    assert waiting
    assert not any(row.is_moving for row in waiting)


def test_push_of_a_stranger_is_refused(chain: Chain, house: Any, report: Report) -> None:
    with pytest.raises(PlimsollError, match="AccessManagedUnauthorized"):
        push(house.system, report, STRANGER)


def test_push_refuses_a_report_of_another_market(house: Any, make_report: Callable[..., Report]) -> None:
    with pytest.raises(PlimsollError, match="report is for market 2022-11; this house accepts reports for 2020-03"):
        plan_push(house.system, make_report(market="2022-11"))


def test_push_refuses_a_report_of_other_assets(house: Any, make_report: Callable[..., Report]) -> None:
    with pytest.raises(PlimsollError, match="report is of BTC, SOL; this house trades BTC, ETH"):
        plan_push(house.system, make_report(names=("BTC", "SOL")))


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
    assert "BTC straddle" in shown.stdout
    assert "0 accounts rehearsed" in shown.stdout
    assert chain.nonce(DEPLOYER.address) == before
    sent = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert sent.returncode == 0, sent.stderr
    assert chain.nonce(DEPLOYER.address) == before + 2
    assert "pushed 2 changes" in sent.stdout
    assert "announced 10 changes" in sent.stdout
    again = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert (again.returncode, "nothing to change" in again.stdout) == (0, True), again.stdout + again.stderr


def test_push_command_executes_what_has_waited(
    chain: Chain, house: Any, report_file: Path, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    assert run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes").returncode == 0
    wait(house.system, DAY)
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert run.returncode == 0, run.stderr
    assert "executed 10 changes that waited" in run.stdout
    assert value(house.system, Key(Field.TAIL_INITIAL, 1)) == 3_600_000


def test_push_command_asks_and_takes_no_for_an_answer(
    chain: Chain, house: Any, report_file: Path, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    before = chain.nonce(DEPLOYER.address)
    run = run_plimsoll("push", report_file, "--manifest", house.manifest)  # nobody answers
    assert run.returncode == 130
    assert "Send 12 changes" in run.stdout
    assert chain.nonce(DEPLOYER.address) == before


def test_push_command_plans_again_when_the_chain_has_moved(
    chain: Chain, house: Any, report_file: Path, anvil: Any, undo: None
) -> None:
    before = chain.nonce(DEPLOYER.address)
    words = [PLIMSOLL, "push", report_file, "--manifest", house.manifest, "--rpc", anvil.url]
    with subprocess.Popen([str(word) for word in words], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        said = read_until(run.stdout, "[y/N]:")
        assert "Send 12 changes" in said
        chain.send(house.system.steward.freezeField(int(Field.VOLATILITY_CAP)), DEPLOYER)
        run.stdin.write("y\n")
        run.stdin.flush()
        said = read_until(run.stdout, "[y/N]:")
        assert "the chain has moved meanwhile" in said
        assert "Send 10 changes" in said
        run.stdin.write("n\n")
        run.stdin.close()
        assert "nothing was sent" in run.stdout.read()
    assert run.returncode == 0
    assert chain.nonce(DEPLOYER.address) == before + 1  # the freeze


def read_until(stream: IO[str], end: str) -> str:
    """What a command says up to a text; fails where it ends without it."""
    said = ""
    while not said.endswith(end):
        letter = stream.read(1)
        assert letter, said
        said += letter
    return said


def test_push_script_is_the_command(house: Any, report_file: Path, anvil: Any, undo: None) -> None:
    words = [report_file, "--manifest", house.manifest, "--rpc", anvil.url, "--dry-run"]
    script = [sys.executable, "scripts/push_params.py", *map(str, words)]
    run = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "2 numbers would change at once, 10 after a delay" in run.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timelock", "0x1234", "--calldata", "a.json"], "--timelock 0x1234 is not an address"),
        (["--timelock", STRANGER.address], "give --calldata or --safe too"),
        (["--calibrator", STRANGER.address], "--calibrator is for --dry-run, --calldata and --safe"),
        (["--calibrator", STRANGER.address, "--dry-run"], "AccessManagedUnauthorized"),
        (["--safe", "none/here/a.json"], "none/here/a.json: cannot be written"),
        (["--timelock", DEPLOYER.address, "--safe", "a.json"], "there is no TimelockController at"),
        (["--key-file", "none.key"], "key file none.key: cannot be read"),
    ],
)
def test_push_command_says_in_a_line_what_is_wrong(
    chain: Chain,
    house: Any,
    report_file: Path,
    words: list[str],
    message: str,
    run_plimsoll: Callable[..., CompletedProcess[str]],
    error_of: Callable[[CompletedProcess[str]], str],
) -> None:
    before = chain.nonce(DEPLOYER.address)
    assert message in error_of(run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes", *words))
    assert chain.nonce(DEPLOYER.address) == before


def test_push_command_refuses_on_dead_feeds(
    chain: Chain,
    house: Any,
    report_file: Path,
    undo: None,
    run_plimsoll: Callable[..., CompletedProcess[str]],
    error_of: Callable[[CompletedProcess[str]], str],
) -> None:
    chain.set_time(chain.block().timestamp + 3 * HOUR)
    chain.mine()
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert "PriceOracleStale" in error_of(run)


def test_push_command_refuses_an_edited_report(
    house: Any,
    report_file: Path,
    run_plimsoll: Callable[..., CompletedProcess[str]],
    error_of: Callable[[CompletedProcess[str]], str],
) -> None:
    report_file.write_text(report_file.read_text().replace('"coverage"', '"coverage" '))
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, "--yes")
    assert "not as plimsoll calibrate wrote it" in error_of(run)
