"""A push that others send: a Safe's batch, taken apart and sent, and OpenZeppelin's TimelockController itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.abi import Contract
from plimsoll.chain.artifacts import Artifact
from plimsoll.chain.client import Chain, Reverted, Sender
from plimsoll.chain.compiler import _artifacts, _compile, compiler_settings
from plimsoll.chain.plan import CALIBRATOR
from plimsoll.chain.toolchain import ROOT
from plimsoll.governance.payloads import safe_checksum
from plimsoll.governance.pending import execute, read_waiting
from plimsoll.governance.push import PushPlan, plan_push

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from plimsoll.calibration import Report
    from plimsoll.chain.system import System

DEPLOYER, SAFE, STRANGER = Sender.dev(0), Sender.dev(3), Sender.dev(4)
HOUR, DAY = 3_600, 86_400


@pytest.fixture
def report_file(tmp_path: Path, make_report: Callable[..., Report]) -> Path:
    path = tmp_path / "report.json"
    make_report().save(path)
    return path


@pytest.fixture(scope="module")
def timelock(chain: Chain) -> Contract:
    """OpenZeppelin's own, where the deployer proposes and executes, with a delay of an hour."""
    name = "node_modules/@openzeppelin/contracts/governance/TimelockController.sol"
    solc, settings = compiler_settings()
    sources = {name: ROOT / name}
    made = _artifacts(_compile(sources, solc, settings), sources, solc, settings)["TimelockController"]
    artifact = Artifact(
        made["contractName"],
        made["sourcePath"],
        made["abi"],
        made["bytecode"],
        made["deployedBytecode"],
        made["bytecodeHash"],
        made["compiler"],
    )
    arguments = (HOUR, [DEPLOYER.address], [DEPLOYER.address], "0x" + "0" * 40)
    address = chain.deploy(artifact, arguments, DEPLOYER).contract
    assert address is not None
    return Contract("TimelockController", address, artifact.abi)


def wait(system: System, seconds: int) -> None:
    """Let time pass, and have every feed say again what it said."""
    system.chain.set_time(system.chain.block().timestamp + seconds)
    for feed in (*system.price_feeds.values(), *system.volatility_feeds.values()):
        system.chain.send(feed.push(system.chain.read(feed.latestRoundData())[1]), DEPLOYER)


def send_document(chain: Chain, path: Path, sender: Sender) -> None:
    """Every transaction of a document, in order."""
    document = json.loads(path.read_text())
    assert int(document["chainId"]) == chain.chain_id
    for one in document["transactions"]:
        assert int(one["value"]) == 0
        transaction = {"from": sender.address, "to": one["to"], "data": one["data"], "gas": hex(15_000_000)}
        chain.wait(chain.rpc("eth_sendTransaction", transaction), "a transaction of the document")


def assert_ends_as_planned(system: System, plan: PushPlan) -> None:
    """What tightens has arrived, and what loosens arrives when it is executed."""
    chain = system.chain

    def values() -> list[int]:
        keys = [row.key for row in plan.rows]
        return [chain.read(system.risk_parameters.get(int(k.field), k.underlying, k.other)) for k in keys]

    assert plan.tightening
    assert plan.loosening
    assert values() == [row.old if row.is_loosening else row.new for row in plan.rows]
    waiting = read_waiting(system)
    assert waiting is not None
    wait(system, DAY)
    execute(system, waiting, STRANGER)
    assert values() == [row.new for row in plan.rows]


def test_safe_batch_ends_in_the_parameters_asked_for(
    chain: Chain,
    house: Any,
    report_file: Path,
    tmp_path: Path,
    make_report: Callable[..., Report],
    undo: None,
    run_plimsoll: Callable[..., CompletedProcess[str]],
) -> None:
    system: System = house.system
    chain.send(system.access_manager.grantRole(CALIBRATOR, SAFE.address, 0), DEPLOYER)
    plan = plan_push(system, make_report())
    file, plain = tmp_path / "safe.json", tmp_path / "calls.json"
    words = ("--safe", file, "--calldata", plain, "--calibrator", SAFE.address)
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, *words)
    assert run.returncode == 0, run.stderr
    assert chain.read(system.risk_parameters.latest()).count == 1  # nothing was sent

    document = json.loads(file.read_text())
    assert document["meta"]["createdFromSafeAddress"] == SAFE.address
    assert document["meta"]["checksum"] == safe_checksum(document)
    assert make_report().hash in document["meta"]["description"]
    push, schedule = document["transactions"]
    source = plan.provenance.as_tuple()
    for one, function, changes in ((push, "push", plan.tightening), (schedule, "schedule", plan.loosening)):
        call = system.steward.call(function, tuple(change.as_tuple() for change in changes), source)
        assert (one["to"], one["value"], one["data"]) == (call.to, "0", "0x" + call.data.hex())
        assert (one["contractMethod"], one["contractInputsValues"]) == (None, None)
    sent = json.loads(plain.read_text())
    assert [one["data"] for one in sent["transactions"]] == [push["data"], schedule["data"]]
    assert sent["from"] == SAFE.address

    send_document(chain, file, SAFE)
    assert_ends_as_planned(system, plan)


def test_timelock_payloads_end_in_the_parameters_asked_for(
    chain: Chain,
    house: Any,
    timelock: Contract,
    report_file: Path,
    tmp_path: Path,
    make_report: Callable[..., Report],
    undo: None,
    run_plimsoll: Callable[..., CompletedProcess[str]],
) -> None:
    system: System = house.system
    chain.send(system.access_manager.grantRole(CALIBRATOR, timelock.address, 0), DEPLOYER)
    plan = plan_push(system, make_report())
    file, safe = tmp_path / "lock.json", tmp_path / "safe.json"
    words = ("--timelock", timelock.address, "--calldata", file, "--safe", safe)
    run = run_plimsoll("push", report_file, "--manifest", house.manifest, *words)
    assert run.returncode == 0, run.stderr
    assert "wants 3,600 s between scheduling and executing" in run.stdout
    for path in (file, safe):
        assert {one["to"] for one in json.loads(path.read_text())["transactions"]} == {timelock.address}
    later = tmp_path / "lock-execute.json"
    assert (
        json.loads(later.read_text())["transactions"][0]["data"]
        == json.loads((tmp_path / "safe-execute.json").read_text())["transactions"][0]["data"]
    )

    send_document(chain, file, DEPLOYER)
    with chain.snapshot(), pytest.raises(Reverted):
        send_document(chain, later, DEPLOYER)  # too soon
    wait(system, HOUR + 60)
    send_document(chain, later, DEPLOYER)
    assert_ends_as_planned(system, plan)
