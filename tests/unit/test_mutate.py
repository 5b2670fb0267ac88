"""The mutation check itself: its list fits the sources, and it tells caught, survived and invalid faults apart."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from plimsoll.chain.toolchain import ROOT
from plimsoll.errors import PlimsollError


def load_script(name: str) -> ModuleType:
    """A script as a module: the folder of scripts is no package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


mutate = load_script("mutate")

COUNTER = """
// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

contract Counter {
    uint256 public count;

    function add(uint256 amount) external {
        require(amount > 0, "nothing to add");
        count += amount;
    }
}
"""

COUNTER_TEST = """
// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import { Counter } from "../../contracts/Counter.sol";

contract CounterTest {
    function test_add_adds() external {
        Counter counter = new Counter();
        counter.add(2);
        assert(counter.count() == 2);
    }

    function test_add_costsLittle() external pure {
        revert("fails without the optimizer");
    }
}
"""

FAULT = mutate.Fault(
    name="counter-subtracts",
    file="contracts/Counter.sol",
    invariant="CASH",
    what="counts the wrong way",
    original="count += amount;",
    mutated="count = 0;",
    tests=("Counter.t.sol",),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Foundry project with one contract, one test that can see it and one that always fails."""
    root = tmp_path / "project"
    for folder in ("contracts", "tests/contracts/other"):
        (root / folder).mkdir(parents=True)
    (root / "contracts" / "Counter.sol").write_text(COUNTER)
    (root / "tests" / "contracts" / "Counter.t.sol").write_text(COUNTER_TEST)
    (root / "tests" / "contracts" / "other" / "Broken.t.sol").write_text("not Solidity")
    (root / "foundry.toml").write_bytes((ROOT / "foundry.toml").read_bytes())
    for name in ("node_modules", "scripts"):
        (root / name).symlink_to(ROOT / name)
    return root


def test_load_faults_listFitsTheSources():
    faults = mutate.load_faults()
    assert len(faults) >= 25
    for fault in faults:
        mutate.check_fault(fault)
    assert {fault.invariant for fault in faults} == set(mutate.INVARIANTS)


def test_invariants_areThoseOfTheDesign():
    design = (ROOT / "docs" / "design.md").read_text()
    assert all(f"| {identifier} |" in design for identifier in mutate.INVARIANTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"original": "count -= amount;"}, "stands 0 times"),
        ({"original": "amount"}, "stands 3 times"),
        ({"mutated": "count += amount;"}, "is the original"),
        ({"invariant": "LUCK"}, "no invariant LUCK"),
        ({"tests": ("Nowhere.t.sol",)}, "no test file"),
        ({"tests": ()}, "no test file is named"),
        ({"file": "contracts/Nowhere.sol"}, "no file"),
    ],
)
def test_checkFault_revertsIfItDoesNotFit(project: Path, change: dict[str, object], message: str):
    mutate.check_fault(FAULT, project)
    with pytest.raises(PlimsollError, match=message):
        mutate.check_fault(dataclasses.replace(FAULT, **change), project)


def test_workshop_tellsFaultsApart(project: Path, tmp_path: Path):
    survivor = dataclasses.replace(FAULT, name="survivor", original="amount > 0", mutated="amount > 1")
    invalid = dataclasses.replace(FAULT, name="invalid", mutated="count += nothing;")
    workshop = mutate.Workshop(
        [FAULT], ["Counter.t.sol:test_add_costsLittle"], root=project, scratch=tmp_path / "scratch"
    )
    workshop.prepare()
    workshop.check_pristine()
    outcomes = [workshop.try_fault(fault) for fault in (FAULT, survivor, invalid)]
    assert [outcome.status for outcome in outcomes] == ["caught", "survived", "invalid"]
    assert outcomes[0].detail == ("CounterTest.test_add_adds",)
    assert "Undeclared identifier" in " ".join(outcomes[2].detail)
    assert (project / "contracts" / "Counter.sol").read_text() == COUNTER
    assert not list(workshop.trials.iterdir())

    found = mutate.complaints([FAULT, survivor, invalid], outcomes)
    assert [complaint.split()[0] for complaint in found] == ["survivor", "invalid"]
    explained = [dataclasses.replace(fault, survives="because") for fault in (FAULT, survivor)]
    assert [complaint.split()[0] for complaint in mutate.complaints(explained, outcomes[:2])] == [FAULT.name]


def test_checkPristine_refusesTestsThatFailWithoutAFault(project: Path, tmp_path: Path):
    workshop = mutate.Workshop([FAULT], root=project, scratch=tmp_path / "scratch")
    workshop.prepare()
    with pytest.raises(PlimsollError, match=r"CounterTest\.test_add_costsLittle"):
        workshop.check_pristine()


def test_verdict_noTestIsNoVerdict():
    run = subprocess.CompletedProcess([], 0, stdout="{}", stderr="")
    assert mutate.verdict(run) == ("invalid", ("no test ran",))
