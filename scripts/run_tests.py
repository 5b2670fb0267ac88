"""Runs every suite and adds them up: `python scripts/run_tests.py [suite ...]`.

    forge       tests/contracts: unit, fuzz and invariant tests, with the committed gas snapshots checked
    unit        tests/unit, in plain pytest
    end_to_end  tests/end_to_end, in plain pytest
    stateful    tests/invariants, in plain pytest
    fork        tests/fork through Ape on a fork of an upstream anvil, which this script runs meanwhile
    local       tests/fork through Ape on its own anvil
    compilers   tests/compilers, in plain pytest; after forge, whose output it reads

Two run at a time, the longest first. What the first two of pytest say is shown as they go, the others' when they end.
The last line is `N passed, N failed`; the exit status is 1 where anything failed or a suite could not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.toolchain import ROOT, foundry_binary
from plimsoll.errors import PlimsollError


@dataclass(frozen=True, slots=True)
class Result:
    """What one suite came to."""

    passed: int
    failed: int
    skipped: int = 0


def run_forge() -> Result:
    """forge test. A gas figure that differs from its committed snapshot fails it; `--json` would not check them."""
    command = [str(foundry_binary("forge")), "test", "--color=never", "--gas-snapshot-check=true"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    count = re.search(r"(\d+) tests passed, (\d+) failed, (\d+) skipped \(\d+ total tests\)", run.stdout)
    if run.returncode != 0 or count is None:
        print(run.stdout + run.stderr)
    if count is None:
        return Result(0, 1)
    passed, failed, skipped = (int(figure) for figure in count.groups())
    return Result(passed, failed if failed or run.returncode == 0 else 1, skipped)


def run_plain(folder: str, *, live: bool = False) -> Result:
    """What needs no Ape. Its plugin stays out: it would load Ape for every run."""
    return run_pytest(["-p", "no:ape_test", folder], live=live)


def run_local() -> Result:
    """The fork suite on an empty local chain."""
    return run_pytest(["tests/fork", "--network", "ethereum:local:foundry"], live=False)


def run_fork() -> Result:
    """The fork suite on a fork of a running chain: an anvil that calls itself mainnet."""
    with upstream():
        return run_pytest(["tests/fork", "--network", "ethereum:mainnet-fork:foundry"], live=False)


@contextmanager
def upstream() -> Iterator[None]:
    """An anvil with chain id 1 where pyproject.toml tells Ape to find mainnet."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    address = urlsplit(configuration["tool"]["ape"]["node"]["ethereum"]["mainnet"]["uri"])
    with Anvil(port=address.port or 0, chain_id=1):
        yield


def run_pytest(arguments: list[str], *, live: bool = True) -> Result:
    """pytest in a process of its own, counted from its JUnit report. Shown as it goes, or whole at the end."""
    path = os.pathsep.join([str(foundry_binary("anvil").parent), os.environ["PATH"]])  # where Ape looks for anvil
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]
        # Ape remembers what contract is at an address of mainnet, and on a fork the next version of ours is at the same
        environment = {**os.environ, "PATH": path, "APE_DATA_FOLDER": folder}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=not live, text=True, check=False)
        if not live:
            print(run.stdout + run.stderr, flush=True)
        if not report.is_file():
            return Result(0, 1)
        suites = list(ElementTree.parse(report).iter("testsuite"))  # noqa: S314  (our own report)
    kinds = ("tests", "errors", "failures", "skipped")
    total = {kind: sum(int(suite.get(kind, 0)) for suite in suites) for kind in kinds}
    failed = total["errors"] + total["failures"]
    passed = total["tests"] - failed - total["skipped"]
    return Result(passed, failed if failed or run.returncode == 0 else 1, total["skipped"])


SUITES: dict[str, tuple[str, Callable[[], Result]]] = {
    "forge": ("tests/contracts", run_forge),
    "unit": ("tests/unit", lambda: run_plain("tests/unit", live=True)),
    "end_to_end": ("tests/end_to_end", lambda: run_plain("tests/end_to_end", live=True)),
    "stateful": ("tests/invariants", lambda: run_plain("tests/invariants")),
    "fork": ("tests/fork", run_fork),
    "local": ("tests/fork", run_local),
    "compilers": ("tests/compilers", lambda: run_plain("tests/compilers")),
}
"""In the order in which they begin: name → (folder, how it is run)."""
AT_ONCE = 2


def main() -> None:
    """Run the suites named, or all, and sum them up."""
    if unknown := [name for name in sys.argv[1:] if name not in SUITES]:
        sys.exit(f"error: no suite {unknown[0]}: choose from {', '.join(SUITES)}")
    chosen = [name for name in SUITES if name in sys.argv[1:] or not sys.argv[1:]]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun: dict[str, Future[tuple[Result, float]]] = {}
        for name in chosen:
            first = begun.get("forge") if name == "compilers" else None
            begun[name] = pool.submit(run_suite, name, first)
        outcomes = {name: future.result() for name, future in begun.items()}
    lines = []
    for name, (result, elapsed) in outcomes.items():
        skipped = f", {result.skipped} skipped" if result.skipped else ""
        lines.append(f"{name:<10}{result.passed:>6} passed, {result.failed} failed{skipped}  ({elapsed:.0f} s)")
    results = [result for result, _ in outcomes.values()]
    passed, failed = sum(result.passed for result in results), sum(result.failed for result in results)
    print("\n" + "\n".join([*lines, f"{passed} passed, {failed} failed"]))
    sys.exit(1 if failed else 0)


def run_suite(name: str, first: Future[tuple[Result, float]] | None) -> tuple[Result, float]:
    """A suite's result and its seconds. first: what must have ended before."""
    if first is not None:
        first.result()
    folder, run = SUITES[name]
    print(f"\n== {name}", flush=True)
    start = time.monotonic()
    try:
        result = run() if (ROOT / folder).is_dir() else missing(folder)
    except PlimsollError as fault:
        print(f"error: {fault}")
        result = Result(0, 1)
    return result, time.monotonic() - start


def missing(folder: str) -> Result:
    """A suite without its folder is a failure: nothing was tested."""
    print(f"{folder} does not exist")
    return Result(0, 1)


if __name__ == "__main__":
    main()
