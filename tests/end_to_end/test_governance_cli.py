"""What operators of a house run day by day: status, history, and the loop that needs nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plimsoll.chain.client import Chain, Receipt, RpcError, Sender
from plimsoll.chain.fields import Field, Key
from plimsoll.chain.toolchain import ROOT
from plimsoll.errors import PlimsollError
from plimsoll.governance.effect import read_accounts
from plimsoll.governance.history import Kind, read_history
from plimsoll.governance.pending import read_waiting
from plimsoll.governance.push import push
from plimsoll.governance.status import read_status
from plimsoll.governance.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from plimsoll.calibration import Report
    from plimsoll.chain.abi import Call
    from plimsoll.chain.system import System
    from plimsoll.governance.watch import Cycle

PLIMSOLL = Path(sys.executable).with_name("plimsoll")
DEPLOYER, STRANGER = Sender.dev(0), Sender.dev(4)
HOUR, DAY = 3_600, 86_400


@pytest.fixture(scope="module")
def report(make_report: Callable[..., Report]) -> Report:
    return make_report()


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two years of made-up hourly prices, a CSV file an asset."""
    random = np.random.default_rng(1)
    common, paths = random.standard_t(4, 17_520) * 0.006, []
    for name in ("BTC", "ETH"):
        close = 100 * np.exp(np.cumsum(common + random.standard_t(4, 17_520) * 0.003))
        path = tmp_path_factory.mktemp("prices", numbered=True) / f"{name}.csv"
        rows = (f"{1_577_836_800 + 3_600 * hour},{price:.6f}" for hour, price in enumerate(close))
        path.write_text("ts,close\n" + "\n".join(rows) + "\n")
        paths.append(path)
    return paths


def wait(system: System, seconds: int) -> None:
    """Let time pass, and have every feed say again what it said."""
    system.chain.set_time(system.chain.block().timestamp + seconds)
    for feed in (*system.price_feeds.values(), *system.volatility_feeds.values()):
        system.chain.send(feed.push(system.chain.read(feed.latestRoundData())[1]), DEPLOYER)


def watch_of(system: System, report: Report, **options: Any) -> Watch:
    return Watch(system, DEPLOYER, lambda _: report, 8 * HOUR, **options)


def numbers(system: System) -> dict[Key, int]:
    return {number.key: number.pushed for number in read_status(system).numbers}


# ─── Status


def test_status_of_a_new_house(house: Any, run_plimsoll: Callable[..., CompletedProcess[str]]) -> None:
    run = run_plimsoll("status", "--manifest", house.manifest)
    assert run.returncode == 0, run.stderr
    for text in ("no bundle waits", "frozen: nothing", "age multiplies margin by 1;", "BTC straddle", "to be opened"):
        assert text in run.stdout
    document = json.loads(run_plimsoll("status", "--manifest", house.manifest, "--json").stdout)
    tail = next(one for one in document["parameters"] if one["name"] == "BTC tail_initial")
    assert (tail["pushed"], tail["in_force"], tail["ramp_ends"]) == (4.0, 4.0, None)
    assert tail["limits"]["minimum"] == 3.6
    assert tail["limits"]["maximum"] == 5.0
    assert tail["limits"]["window_ends"] is None
    impact = next(one for one in document["parameters"] if one["name"] == "BTC impact")
    assert impact["limits"] is None
    assert len(document["coverage"]) == 4
    assert len(document["references"]) == 14
    assert document["pending"] is None


def test_status_shows_a_ramp_on_its_way_and_where_it_ends(
    chain: Chain, house: Any, report: Report, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    system = house.system
    push(system, report, DEPLOYER)
    pushed_at = chain.block().timestamp - 1
    wait(system, 3 * HOUR)
    status = read_status(system)
    floor = next(one for one in status.numbers if one.key == Key(Field.VOLATILITY_FLOOR, 1))
    assert floor.pushed == 312_500
    assert floor.in_force == pytest.approx(281_250, abs=40)  # half of the way from 250,000
    assert floor.ramp_ends == pytest.approx(pushed_at + 6 * HOUR, abs=2)
    assert floor.window_ends == pytest.approx(pushed_at + 7 * DAY, abs=2)
    assert floor.allowed is not None
    assert floor.allowed.budget == (200_000, 375_000)
    run = run_plimsoll("status", "--manifest", house.manifest)
    assert "0.28125 → 0.3125" in run.stdout.replace("0.28126", "0.28125").replace("0.28127", "0.28125")
    assert "10 changes wait: ready 2" in run.stdout
    wait(system, 4 * HOUR)
    floor = next(one for one in read_status(system).numbers if one.key == floor.key)
    assert (floor.in_force, floor.ramp_ends) == (312_500, None)


def test_status_shows_age_and_freezes(
    chain: Chain, house: Any, report: Report, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    system = house.system
    chain.send(system.steward.freezeField(int(Field.CARRY)), DEPLOYER)
    chain.send(system.steward.freezeMarket(system.underlyings["ETH"]), DEPLOYER)
    wait(system, 16 * DAY)
    status = read_status(system)
    assert status.frozen_fields == (Field.CARRY,)
    assert status.frozen_markets == ("ETH",)
    assert status.calibration.multiplier == pytest.approx(1.1, abs=0.001)
    multiplier = next(one for one in status.numbers if one.key == Key(Field.MULTIPLIER))
    assert multiplier.pushed == 1_000_000
    assert multiplier.in_force == pytest.approx(1_100_000, abs=1_000)
    assert multiplier.ramp_ends is None  # age, and not a ramp
    assert "frozen: field carry, market ETH" in run_plimsoll("status", "--manifest", house.manifest).stdout


def test_status_says_where_a_price_is_missing(
    chain: Chain, house: Any, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    chain.set_time(chain.block().timestamp + 3 * HOUR)
    chain.mine()
    assert "no price" in run_plimsoll("status", "--manifest", house.manifest).stdout


# ─── History


def test_history_tells_push_announcement_execution_and_veto(
    chain: Chain, house: Any, report: Report, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    system = house.system
    start = len(read_history(system))
    before = numbers(system)
    push(system, report, DEPLOYER)
    wait(system, 25 * HOUR)
    push(system, report, DEPLOYER)
    wait(system, 13 * HOUR)
    push(system, report, DEPLOYER)  # what was executed may move again
    chain.send(system.steward.veto(), DEPLOYER)
    told = read_history(system)
    assert [entry.kind for entry in told[:start]] == [Kind.GOVERNANCE] * start  # the deployment
    entries = told[start:]
    kinds = [Kind.PUSH, Kind.SCHEDULE, Kind.EXECUTE, Kind.PUSH, Kind.SCHEDULE, Kind.VETO]
    assert [entry.kind for entry in entries] == kinds
    assert [entry.block for entry in entries] == sorted(entry.block for entry in entries)
    assert {entry.report for entry in entries} == {report.hash}
    assert {entry.data for entry in entries} == {report.data_hash}
    assert entries[0].coverage == pytest.approx(report.coverage, abs=1e-6)
    # told again from the start, they lead to what is on-chain
    for entry in entries:
        if entry.kind in (Kind.PUSH, Kind.EXECUTE):
            assert all(before[change.key] == change.previous for change in entry.changes)
            before |= {change.key: change.value for change in entry.changes}
    assert before == numbers(system)
    run = run_plimsoll("history", "--manifest", house.manifest, "--report", report.hash[:10])
    assert [line.split("  ")[2].split()[0] for line in run.stdout.splitlines() if line[:2] == "20"] == [
        "pushed",
        "announced",
        "executed",
        "pushed",
        "announced",
        "vetoed",
    ]
    assert "BTC volatility_floor: 0.25 → 0.3125" in run.stdout
    document = json.loads(run_plimsoll("history", "--manifest", house.manifest, "--json").stdout)
    assert document[-1]["market"] == "2020-03"
    assert len(document) == len(told)


# ─── Watch


def test_watch_command_once(
    chain: Chain,
    house: Any,
    prices: list[Path],
    tmp_path: Path,
    undo: None,
    run_plimsoll: Callable[..., CompletedProcess[str]],
) -> None:
    system = house.system
    words = ["watch", *prices, "--manifest", house.manifest, "--once", "--reports", tmp_path]
    first = run_plimsoll(*words)
    assert first.returncode == 0, first.stderr
    line = first.stdout.splitlines()[-1]
    assert line.count("coverage: opened") == 4
    assert "calibrated 0x" in line
    assert "pushed" in line
    assert "announced" in line
    (saved,) = tmp_path.glob("2020-03-*.json")
    latest = chain.read(system.risk_parameters.latest())
    assert saved.stem.endswith(latest.provenance.report.hex()[:16])
    # at once again: a process that knows nothing but the chain
    again = run_plimsoll(*words).stdout.splitlines()[-1]
    assert "calibrated" in again
    assert not any(word in again for word in ("pushed", "announced", "executed", "coverage", "refused"))
    wait(system, 25 * HOUR)
    later = run_plimsoll(*words).stdout.splitlines()[-1]
    assert "changes that waited" in later
    assert later.count("coverage: inside, 0 exceptions") == 4
    assert read_waiting(system) is None


def test_watch_steps_to_the_report_and_keeps_coverage(house: Any, report: Report, undo: None) -> None:
    system = house.system
    watch = watch_of(system, report)
    done = []
    for _ in range(6):
        cycle = watch.step()
        assert cycle.refused == ()
        done += cycle.done
        wait(system, 13 * HOUR)
    assert sum("changes that waited" in one for one in done) >= 2
    assert sum(one.startswith("pushed") for one in done) >= 2
    status = read_status(system)
    assert {one.observations for one in status.coverage} == {5}
    assert {one.exceptions for one in status.coverage} == {0}
    assert {entry.kind for entry in read_history(system)} >= {Kind.PUSH, Kind.SCHEDULE, Kind.EXECUTE}


def test_watch_closes_with_the_first_round_however_late_it_comes(house: Any, report: Report, undo: None) -> None:
    system = house.system
    watch = watch_of(system, report)
    watch.step()
    wait(system, 3 * HOUR)
    house.set_price(60_000)  # the first round after two hours was at 40,000
    for _ in range(2):
        wait(system, 3 * HOUR)  # at 60,000 still when eight hours are over
    house.set_price(40_000)
    wait(system, 3 * HOUR)
    done = [one for one in watch.step().done if one.startswith("BTC")]
    assert done == [
        "BTC initial coverage: an exception, 1 exceptions",
        "BTC maintenance coverage: inside, 0 exceptions",
    ]


class Dying(Chain):
    """An endpoint's client whose process ends after so many transactions."""

    left = 0

    @classmethod
    def after(cls, chain: Chain, transactions: int) -> Dying:
        dying = cls(chain.url, chain.chain_id, fast=chain.fast, timeout=20)
        dying.left = transactions
        return dying

    def send(self, call: Call, sender: Sender) -> Receipt:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().send(call, sender)


def test_watch_may_be_killed_at_any_instant(chain: Chain, house: Any, report: Report) -> None:
    system = house.system
    outcomes = []
    for transactions in range(4):  # observations, a push, an announcement
        with chain.snapshot():
            dying = replace(system, chain=Dying.after(chain, transactions))
            if transactions < 3:
                with pytest.raises(KeyboardInterrupt):
                    watch_of(dying, report, rehearses=False).step()
            cycle = watch_of(system, report, rehearses=False).step()
            assert cycle.refused == ()
            waiting = read_waiting(system)
            assert waiting is not None
            kinds = [entry.kind for entry in read_history(system)]
            assert kinds.count(Kind.PUSH) == kinds.count(Kind.SCHEDULE) == 1
            assert all(one.due_at is not None for one in read_status(system).coverage)
            outcomes.append((numbers(system), waiting.changes))
    assert all(outcome == outcomes[-1] for outcome in outcomes)


def test_watch_refuses_what_would_hurt_and_goes_on(house: Any, report: Report, undo: None) -> None:
    system = house.system
    long, short = house.open_account(Sender.dev(2), 100_000), house.open_account(Sender.dev(3), 1_000_000)
    house.trade((long, Sender.dev(2)), (short, Sender.dev(3)), 5, 40_000)
    strict = replace(report, assets={name: _strict(one) for name, one in report.assets.items()})
    price = 40_000.0
    for _ in range(20):  # down to where equity is a twentieth more than maintenance, which falls with the price
        margin = system.chain.read(system.margin_engine.marginOf(long))
        price -= (margin.equity - 1.05 * margin.maintenance.total) / 5 / 10**18
        house.set_price(price)
    assert not read_accounts(system, system.chain.block().number).accounts[long].is_liquidatable
    cycle = watch_of(system, strict).step()
    assert any(f"account {long} " in why and "liquidatable" in why for why in cycle.refused), cycle
    assert not any(one.startswith("pushed") for one in cycle.done)
    assert sum("opened" in one for one in cycle.done) == 4


def _strict(one: Any) -> Any:
    return replace(one, tail_initial=8.0, tail_maintenance=8.0)


def test_watch_gives_up_a_bundle_that_the_steward_refuses(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    watch = watch_of(system, report)
    watch.step()
    chain.send(system.steward.freezeField(int(Field.VOLATILITY_CAP)), DEPLOYER)
    wait(system, 25 * HOUR)
    cycle = watch.step()
    assert len(cycle.refused) == 1
    assert "ParameterStewardFrozen" in cycle.refused[0]
    assert "announced 8 changes" in cycle.done
    waiting = read_waiting(system)
    assert waiting is not None
    assert waiting.ready_at > chain.block().timestamp
    assert not any(change.field is Field.VOLATILITY_CAP for change in waiting.changes)
    wait(system, 25 * HOUR)
    assert "executed 8 changes that waited" in watch.step().done


def test_watch_keeps_a_bundle_that_a_silent_feed_holds(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system = house.system
    watch = watch_of(system, report)
    watch.step()
    waiting = read_waiting(system)
    chain.set_time(chain.block().timestamp + 25 * HOUR)
    chain.mine()
    cycle = watch.step()
    assert any(why.startswith("execute 10 changes") and "PriceOracleStale" in why for why in cycle.refused)
    assert read_waiting(system) == waiting
    wait(system, HOUR)
    assert "executed 10 changes that waited" in watch.step().done


def test_watch_goes_on_where_the_data_fail(chain: Chain, house: Any, report: Report, undo: None) -> None:
    system, calls = house.system, []

    def fit(now: int) -> Report:
        calls.append(now)
        if len(calls) == 2:
            raise PlimsollError("the file is being written")
        return report

    watch = Watch(system, DEPLOYER, fit, 8 * HOUR)
    watch.step()
    wait(system, 8 * HOUR)
    cycle = watch.step()
    assert cycle.refused == ("calibrate: the file is being written",)
    assert len(cycle.done) == 4  # all four observations; the initial one's horizon is eight hours
    wait(system, HOUR // 2)
    watch.step()
    assert len(calls) == 2
    wait(system, HOUR)
    watch.step()
    assert len(calls) == 3


def test_watch_with_no_report_at_all_says_why(house: Any, undo: None) -> None:
    def fit(_: int) -> Report:
        raise PlimsollError("no such file")

    with pytest.raises(PlimsollError, match="no such file"):
        Watch(house.system, DEPLOYER, fit, 8 * HOUR).run(1, lambda _: None)


def test_watch_says_that_the_calibration_lives_on_new_data_alone(
    chain: Chain, house: Any, report: Report, undo: None
) -> None:
    system = house.system
    for field in Field:  # nothing can move
        chain.send(system.steward.freezeField(int(field)), DEPLOYER)
    wait(system, 20 * DAY)
    assert watch_of(system, report).step().done[-1] == "pushed 0 changes"
    assert chain.read(system.risk_parameters.ageMultiplier()) == 1_000_000
    wait(system, 20 * DAY)
    assert not any("pushed" in one for one in watch_of(system, report).step().done)
    assert chain.read(system.risk_parameters.ageMultiplier()) > 1_250_000


def test_watch_waits_out_faults_of_the_endpoint(house: Any, report: Report, undo: None, monkeypatch: Any) -> None:
    system = house.system
    watch = watch_of(system, report, rehearses=False)
    faults, cycles = [1, 2], []
    block, pauses = system.chain.block, []

    def faulty(*arguments: Any) -> Any:
        if faults:
            faults.pop()
            raise RpcError("no answer")
        return block(*arguments)

    def report_cycle(cycle: Cycle) -> None:
        cycles.append(cycle)
        watch.stop()

    monkeypatch.setattr(system.chain, "block", faulty)
    monkeypatch.setattr(watch, "_sleep", pauses.append)
    watch.run(10, report_cycle)
    assert len(cycles) == 1
    assert any(one.startswith("pushed") for one in cycles[0].done)
    assert pauses == [10, 20, 10]


def test_watch_ends_cleanly_on_interrupt(
    house: Any, prices: list[Path], anvil: Any, tmp_path: Path, undo: None
) -> None:
    words = [PLIMSOLL, "watch", *prices, "--manifest", house.manifest, "--rpc", anvil.url, "--reports", tmp_path]
    with subprocess.Popen([str(word) for word in words], stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("watching chain 31337")
        assert "pushed" in run.stdout.readline()
        run.send_signal(signal.SIGINT)
        said, complaint = run.communicate(timeout=20)
    assert (run.returncode, said, complaint) == (0, "stopped\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either price files or --market NAME"),
        (["none.csv"], "none.csv"),
        (["--market", "sp500-nasdaq"], "this house accepts reports for 2020-03"),
    ],
)
def test_watch_command_says_in_a_line_what_is_wrong(
    house: Any,
    undo: None,
    words: list[str],
    message: str,
    run_plimsoll: Callable[..., CompletedProcess[str]],
    error_of: Callable[[CompletedProcess[str]], str],
) -> None:
    run = run_plimsoll("watch", *words, "--manifest", house.manifest, "--once")
    assert message in error_of(run)


def test_watch_of_a_stranger_is_refused(house: Any, report: Report) -> None:
    with pytest.raises(PlimsollError, match="is no calibrator"):
        Watch(house.system, STRANGER, lambda _: report, 8 * HOUR).require_permission()
    watch_of(house.system, report).require_permission()
