"""Mutation check: does the suite notice a fault in a contract? `python scripts/mutate.py [--only NAME]... [--list]`.

scripts/mutations.toml lists faults seeded by hand. Each is put, alone, into a scratch copy of the contracts and of the
tests that should see it, below .build/mutation; the checkout is never changed. A fault is

    caught      a test fails
    survived    every test passes: the suite is blind to it, and that fails this check unless the list explains it
    invalid     it does not compile, or never ends: an error of the list

The check also fails where a snippet no longer stands exactly once in its file, so that the list cannot rot, and where
the tests fail without any fault. The result is .build/bench/mutation.json.

What makes it quick: contracts are compiled without the optimizer (a quarter of the time), forge compiles only what
depends on the fault (`dynamic_test_linking`), and tests that are not asked for are left out of the copy instead of
being filtered, because for a filter forge first analyses everything once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError

FAULTS = Path(__file__).with_name("mutations.toml")
SCRATCH = BUILD / "mutation"
REPORT = BUILD / "bench" / "mutation.json"
TESTS = Path("tests/contracts")
LINKED = ("node_modules", "scripts", ".build/artifacts")
"""What a copy shares with the checkout, because nothing there is ever changed."""

INVARIANTS = [
    *["CASH", "ZERO-SUM", "EQUITY", "GATE", "PUSH", "ORDER", "COHERENCE"],
    *["LIQUIDATE", "LOSS", "BOUNDS", "ORACLE", "ROUND"],
]
"""The ids of docs/design.md."""

TIMEOUT = 900.0
"""Seconds for one fault. forge itself sets no end to a loop."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One seeded fault.

    `original` stands exactly once in `file` (relative to the root) and becomes `mutated`. `tests` are test files below
    tests/contracts. `survives` says why no test can see it; empty where one must.
    """

    name: str
    file: str
    invariant: str
    what: str
    original: str
    mutated: str
    tests: tuple[str, ...]
    survives: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault: its status, the tests that failed or the compiler's words, and seconds."""

    name: str
    file: str
    invariant: str
    status: str
    detail: tuple[str, ...]
    seconds: float


def load_gas_tests(path: Path = FAULTS) -> list[str]:
    """Tests, `file:name`, that hold for optimised bytecode only."""
    return list(tomllib.loads(path.read_text()).get("gas_tests", []))


def load_faults(path: Path = FAULTS) -> list[Fault]:
    """The list. Raises PlimsollError where an entry is malformed or two have one name."""
    entries = tomllib.loads(path.read_text())["fault"]
    faults = []
    for entry in entries:
        try:
            faults.append(Fault(**{**entry, "tests": tuple(entry["tests"])}))
        except (KeyError, TypeError) as error:
            raise PlimsollError(f"{path.name}: fault {entry.get('name', '?')}: {error}") from error
    names = [fault.name for fault in faults]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PlimsollError(f"{path.name}: more than one fault is named {min(twice)}")
    return faults


def check_fault(fault: Fault, root: Path = ROOT) -> None:
    """Raise PlimsollError where the fault does not fit the sources below `root`."""
    if fault.invariant not in INVARIANTS:
        raise PlimsollError(f"{fault.name}: no invariant {fault.invariant}: choose one of docs/design.md")
    if fault.original == fault.mutated:
        raise PlimsollError(f"{fault.name}: the mutated snippet is the original")
    mutated_source(fault, root)
    if not fault.tests:
        raise PlimsollError(f"{fault.name}: no test file is named that should see it")
    for test in fault.tests:
        if not test.endswith(".t.sol") or not (root / TESTS / test).is_file():
            raise PlimsollError(f"{fault.name}: no test file {TESTS / test}")


def mutated_source(fault: Fault, root: Path = ROOT) -> str:
    """The file's text with the fault in it. Raises PlimsollError unless the original stands there exactly once."""
    path = root / fault.file
    if not path.is_file():
        raise PlimsollError(f"{fault.name}: no file {fault.file}")
    source = path.read_text()
    if (count := source.count(fault.original)) != 1:
        raise PlimsollError(
            f"{fault.name}: its snippet stands {count} times in {fault.file}: bring the list up to date"
        )
    return source.replace(fault.original, fault.mutated)


class Workshop:
    """Scratch copies of a Foundry project: one pristine and compiled, and one for each fault, made from it."""

    def __init__(
        self,
        faults: Iterable[Fault],
        gas_tests: Iterable[str] = (),
        *,
        root: Path = ROOT,
        scratch: Path = SCRATCH,
    ) -> None:
        self.root = root
        self.gas_tests = gas_tests
        self.pristine = scratch / "pristine"
        self.trials = scratch / "trials"
        self.tests = {test for fault in faults for test in fault.tests}

    def prepare(self) -> None:
        """Bring the pristine copy up to date with the checkout and compile it. Raises PlimsollError if it does not."""
        shutil.rmtree(self.trials, ignore_errors=True)
        self.pristine.mkdir(parents=True, exist_ok=True)
        for folder in ("contracts", TESTS):
            # Only the outputs are kept from the last time: forge compares the sources by content
            shutil.rmtree(self.pristine / folder, ignore_errors=True)
            shutil.copytree(self.root / folder, self.pristine / folder)
        shutil.copy2(self.root / "foundry.toml", self.pristine)
        for test in self.gas_tests:
            leave_out(self.pristine, test)
        keep_tests(self.pristine, self.tests)
        for name in LINKED:
            link = self.pristine / name
            link.parent.mkdir(exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(self.root / name)
        run = forge(self.pristine, "build")
        if run.returncode:
            raise PlimsollError(f"the contracts do not compile without any fault:\n{run.stderr or run.stdout}")

    def check_pristine(self) -> None:
        """Run the tests without a fault, once for the same sources. Raises PlimsollError where one fails."""
        mark, digest = self.pristine / ".build" / "passed", digest_of(self.pristine)
        if mark.is_file() and mark.read_text() == digest:
            return
        status, detail = verdict(forge(self.pristine, "test", *TEST_OPTIONS))
        if status != "survived":
            raise PlimsollError(f"the tests fail without any fault: {', '.join(detail)}")
        mark.write_text(digest)

    def try_fault(self, fault: Fault) -> Outcome:
        """Seed the fault in a copy of its own and run its tests there."""
        start = time.monotonic()
        copy = self.trials / fault.name
        shutil.copytree(self.pristine, copy, symlinks=True)
        try:
            keep_tests(copy, fault.tests)
            (copy / fault.file).write_text(mutated_source(fault, copy))
            status, detail = verdict(forge(copy, "test", "--fail-fast", *TEST_OPTIONS))
        except subprocess.TimeoutExpired:
            status, detail = "invalid", (f"still running after {TIMEOUT:.0f} s",)
        finally:
            shutil.rmtree(copy)
        return Outcome(fault.name, fault.file, fault.invariant, status, detail, round(time.monotonic() - start, 1))


TEST_OPTIONS = ("--json", "--gas-snapshot-emit=false", "--code-size-limit=1000000")  # nothing fits EIP-170 unoptimised


def forge(folder: Path, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """forge in `folder`, with its settings but for those that cost time and change no behaviour."""
    settings = {"FOUNDRY_OPTIMIZER": "false", "FOUNDRY_FUZZ_RUNS": "64", "NO_COLOR": "1"}
    return subprocess.run(
        [str(foundry_binary("forge")), command, *options],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def verdict(run: subprocess.CompletedProcess[str]) -> tuple[str, tuple[str, ...]]:
    """Status and detail from the output of `forge test --json`: no results means that nothing was compiled."""
    try:
        suites = json.loads(run.stdout)
    except json.JSONDecodeError:
        return "invalid", first_lines(run.stderr or run.stdout)
    failed = [
        f"{suite.rpartition(':')[2]}.{test.partition('(')[0]}"
        for suite, result in suites.items()
        for test, outcome in result["test_results"].items()
        if outcome["status"] == "Failure"
    ]
    if failed:
        return "caught", tuple(sorted(failed))
    if run.returncode or not suites:
        return "invalid", first_lines(run.stderr or "no test ran")
    return "survived", ()


def first_lines(text: str) -> tuple[str, ...]:
    """The start of a message, for a table."""
    return tuple(line for line in text.strip().splitlines() if line.strip())[:4]


def keep_tests(folder: Path, tests: Iterable[str]) -> None:
    """Remove every other test file, and a folder that is left without tests: its helpers were theirs."""
    kept = {folder / TESTS / test for test in tests}
    folders = set()
    for path in (folder / TESTS).rglob("*.t.sol"):
        if path not in kept:
            path.unlink()
            folders.add(path.parent)
    for parent in folders:
        if not any(test.is_relative_to(parent) for test in kept):
            shutil.rmtree(parent)


def leave_out(folder: Path, test: str) -> None:
    """Rename one test function, `file:name`, so that forge does not run it. Raises PlimsollError if it is not there."""
    file, _, name = test.partition(":")
    path = folder / TESTS / file
    source = path.read_text() if path.is_file() else ""
    if source.count(f"function {name}(") != 1:
        raise PlimsollError(f"{FAULTS.name}: no test {test}: take it out of gas_tests")
    path.write_text(source.replace(f"function {name}(", f"function leftOut_{name}("))


def digest_of(folder: Path) -> str:
    """A hash of the sources and settings that a copy was made of."""
    digest = hashlib.sha256((folder / "foundry.toml").read_bytes())
    for path in sorted([*(folder / "contracts").rglob("*.sol"), *(folder / TESTS).rglob("*.sol")]):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def run_all(workshop: Workshop, faults: Sequence[Fault], jobs: int, report: Callable[[Outcome], None]) -> list[Outcome]:
    """Every fault's outcome, in the order of the list; `report` hears of each as it is known."""
    with ThreadPoolExecutor(jobs) as pool:
        trials = {pool.submit(workshop.try_fault, fault): fault.name for fault in faults}
        outcomes = {}
        for trial in as_completed(trials):
            outcomes[trials[trial]] = trial.result()
            report(trial.result())
    return [outcomes[fault.name] for fault in faults]


def complaints(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> list[str]:
    """Why the check fails; empty where it passes."""
    found = []
    for fault, outcome in zip(faults, outcomes, strict=True):
        if outcome.status == "invalid":
            found.append(f"{fault.name} is no valid fault: {' '.join(outcome.detail)}")
        elif outcome.status == "survived" and not fault.survives:
            found.append(f"{fault.name} survived: add a test that sees it, or say in `survives` why none can")
        elif outcome.status == "caught" and fault.survives:
            found.append(f"{fault.name} is explained as a survivor, but was caught: remove `survives`")
    return found


def render(faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> Table:
    """The table for people."""
    table = Table(title="Mutation check", title_justify="left")
    for heading in ("fault", "breaks", "status", "seen by", "s"):
        table.add_column(heading, overflow="fold")
    colours = {"caught": "green", "survived": "yellow", "invalid": "red"}
    for fault, outcome in zip(faults, outcomes, strict=True):
        seen = fault.survives if outcome.status == "survived" else "\n".join(outcome.detail[:1])
        status = f"[{colours[outcome.status]}]{outcome.status}"
        table.add_row(fault.name, fault.invariant, status, seen, f"{outcome.seconds:.0f}")
    return table


def write_report(path: Path, faults: Sequence[Fault], outcomes: Sequence[Outcome], seconds: float) -> None:
    """The machine-readable result."""
    counts = {status: sum(o.status == status for o in outcomes) for status in ("caught", "survived", "invalid")}
    rows = [{**asdict(o), "what": f.what, "survives": f.survives} for f, o in zip(faults, outcomes, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"total": len(rows), **counts, "seconds": round(seconds), "faults": rows}
    path.write_text(json.dumps(result, indent=2) + "\n")


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, metavar="NAME", help="Try only this fault; may be repeated.")
@click.option("--list", "listing", is_flag=True, help="Print the faults and stop.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Faults tried at the same time.")
def main(names: tuple[str, ...], listing: bool, jobs: int) -> None:
    """Run the check."""
    try:
        check(names, listing, jobs)
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")


def check(names: tuple[str, ...], listing: bool, jobs: int) -> None:
    """The check, with its report. Raises PlimsollError where it fails."""
    console, start = Console(), time.monotonic()
    faults = load_faults()
    if unknown := set(names) - {fault.name for fault in faults}:
        raise PlimsollError(f"no fault is named {min(unknown)}: see --list")
    chosen = [fault for fault in faults if not names or fault.name in names]
    if listing:
        for fault in chosen:
            console.print(f"{fault.name:<40} {fault.invariant:<10} {fault.what}", highlight=False, soft_wrap=True)
        return
    for fault in faults:
        check_fault(fault)
    workshop = Workshop(faults, load_gas_tests())
    with console.status("compiling, and running the tests without a fault"):
        workshop.prepare()
        workshop.check_pristine()

    def announce(outcome: Outcome) -> None:
        console.print(f"{outcome.status:<9} {outcome.name} ({outcome.seconds:.0f} s)", highlight=False)

    with console.status("seeding faults"):
        outcomes = run_all(workshop, chosen, jobs, announce)
    seconds = time.monotonic() - start
    console.print(render(chosen, outcomes))
    if not names:
        write_report(REPORT, chosen, outcomes, seconds)
    caught = sum(outcome.status == "caught" for outcome in outcomes)
    console.print(f"{caught} of {len(chosen)} faults caught in {seconds:.0f} s", highlight=False)
    if found := complaints(chosen, outcomes):
        raise PlimsollError("\nerror: ".join(found))


if __name__ == "__main__":
    main()
