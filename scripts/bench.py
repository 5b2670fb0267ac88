"""Gas and speed, measured here and now, into .build/bench.

gas.json: what each external call costs over the forge tests (least, median, mean, most; every call a transaction of
its own, so that storage is cold as it is for a user), the same for the calls whose gas has a target, and the margin
views of option accounts.
mirror.json: speed of the margin mirror.
calibration.json: speed of calibration and backtest.
adequacy.json: requirement against true expected shortfall on random option books.
incentives.json: the keepers' game.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from pathlib import Path

BENCH = BUILD / "bench"
SNAPSHOTS = BENCH / "snapshots"


def main() -> None:
    """Measure everything, print the figures, leave them as JSON."""
    try:
        forge = str(foundry_binary("forge"))
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")
    BENCH.mkdir(parents=True, exist_ok=True)
    _write_gas(BENCH / "gas.json", forge)
    for module in ("scripts.bench_mirror", "scripts.bench_calibration", "simulation.adequacy", "simulation.incentives"):
        if subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=False).returncode:
            sys.exit(f"error: {module} failed; run `make test`")


def _write_gas(path: Path, forge: str) -> None:
    _forge(forge, "--match-contract", "^Gas(|Options|Liquidation)Test$")
    figures: dict[str, Any] = {
        "transactions": _snapshot("ClearingHouse") | _snapshot("LiquidationEngine"),
        "initial_margin_cold": _snapshot("InitialMarginCold"),
        "margin_cold": _snapshot("MarginCold"),
    }
    report = _forge(forge, "--gas-report", "--isolate", "--json", "--no-match-test", "^(testFuzz|invariant)")
    figures["calls"] = [each for each in json.loads(report) if each["contract"].startswith("contracts/")]
    path.write_text(json.dumps(figures, indent=1) + "\n")
    for contract in sorted(figures["calls"], key=lambda each: str(each["contract"])):
        print(contract["contract"].partition(":")[2])
        for signature, gas in sorted(contract["functions"].items()):
            print(f"  {gas['median']:>10,}  {signature}  ({gas['calls']} calls)")
    for title in ("transactions", "initial_margin_cold", "margin_cold"):
        print(title.replace("_", " "))
        for name, gas in figures[title].items():
            print(f"  {gas:>10,}  {name}" + (" options" if title != "transactions" else ""))
    print(f"written to {path.relative_to(ROOT)}")


def _forge(forge: str, *arguments: str) -> str:
    """What forge prints. Its gas snapshots go beside the benchmarks, not over the committed ones."""
    environment = {**os.environ, "FOUNDRY_SNAPSHOTS": str(SNAPSHOTS.relative_to(ROOT))}
    command = [forge, "test", *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"error: the tests do not pass, so there is nothing to measure: run `make test`\n{run.stderr}")
    return run.stdout


def _snapshot(group: str) -> dict[str, int]:
    figures: dict[str, str] = json.loads((SNAPSHOTS / f"{group}.json").read_text())
    return {name: int(gas) for name, gas in figures.items()}


if __name__ == "__main__":
    main()
