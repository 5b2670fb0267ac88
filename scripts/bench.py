"""Gas of every external call that the forge tests make, into .build/bench/gas.json.

Figures are forge's gas report over the test suite: minimum, median, mean and maximum a function, with calls isolated in
transactions of their own, so that storage is cold as it is for a user.
"""

from __future__ import annotations

import json
import subprocess
import sys

from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError


def main() -> None:
    """Write the report and print the median of each function of the protocol."""
    try:
        forge = str(foundry_binary("forge"))
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")
    command = [
        forge,
        "test",
        "--gas-report",
        "--isolate",
        "--json",
        "--gas-snapshot-emit=false",
        "--no-match-test",
        "^(testFuzz|invariant)",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"error: the tests do not pass, so there is nothing to measure: run `make test`\n{run.stderr}")
    reports = [report for report in json.loads(run.stdout) if report["contract"].startswith("contracts/")]
    path = BUILD / "bench" / "gas.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(reports, indent=1) + "\n")
    for report in sorted(reports, key=lambda each: each["contract"]):
        print(report["contract"].partition(":")[2])
        for signature, gas in sorted(report["functions"].items()):
            print(f"  {gas['median']:>10,}  {signature}  ({gas['calls']} calls)")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
