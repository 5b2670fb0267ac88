"""Static analysis: `python scripts/slither.py`. Every finding of Slither must be answered in docs/security.md.

The answers are the rows of the table under "Static analysis" there: detector, places (`Contract.function`), answer.
This script fails where Slither finds something at a place without a row, and where a row names a place at which it
finds nothing any more. Line numbers are no part of it, so a finding keeps its answer while code moves. The detectors
that are left out are in slither.config.json; the page says why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError

SLITHER = Path(sys.executable).with_name("slither")
OUT = BUILD / "slither"
ANSWERS = ROOT / "docs" / "security.md"

ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
PLACE = re.compile(r"`([^`]+)`")

Key = tuple[str, str]
"""Detector and place."""


def read_answers(page: str) -> set[Key]:
    """What the page answers. Raises PlimsollError where it answers something twice."""
    answers: set[Key] = set()
    for detector, places, _ in ROW.findall(page):
        for place in PLACE.findall(places):
            if (detector, place) in answers:
                raise PlimsollError(f"{ANSWERS.name} answers {detector} at {place} twice: leave one")
            answers.add((detector, place))
    return answers


def place_of(finding: dict[str, Any]) -> str:
    """`Contract.function` or `Contract` of the first element that a finding is about."""
    element = finding["elements"][0]
    while element["type"] not in ("contract", "function"):
        element = element["type_specific_fields"]["parent"]
    if element["type"] == "contract":
        return str(element["name"])
    return f"{element['type_specific_fields']['parent']['name']}.{element['name']}"


def compile_contracts() -> None:
    """What Slither reads: forge's build info, without tests, unoptimised because only the syntax tree is looked at."""
    shutil.rmtree(OUT, ignore_errors=True)  # build info of earlier sources would be analysed as well
    environment = {
        **os.environ,
        "FOUNDRY_OUT": str(OUT / "out"),
        "FOUNDRY_CACHE_PATH": str(OUT / "cache"),
        "FOUNDRY_OPTIMIZER": "false",
    }
    command = [
        str(foundry_binary("forge")),
        "build",
        "--build-info",
        "--ast",
        "--skip",
        "tests/**",
        "contracts/testing/**",
    ]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise PlimsollError(f"the contracts do not compile:\n{run.stderr or run.stdout}")


def analyse() -> dict[Key, list[dict[str, Any]]]:
    """Slither's findings by detector and place."""
    if not SLITHER.is_file():
        raise PlimsollError("Slither is not installed: run `make slither`")
    report = OUT / "findings.json"
    path = os.pathsep.join([str(foundry_binary("forge").parent), os.environ["PATH"]])  # asked for its configuration
    command = [str(SLITHER), ".", "--json", str(report)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    # Slither's exit status is also non-zero where it found something.
    if not report.is_file() or not (result := json.loads(report.read_text()))["success"]:
        raise PlimsollError(f"Slither failed:\n{run.stderr}")
    found = defaultdict(list)
    for finding in result["results"].get("detectors", []):
        found[finding["check"], place_of(finding)].append(finding)
    return found


def main() -> None:
    """Compile, analyse, compare with the answers."""
    console = Console()
    try:
        answers = read_answers(ANSWERS.read_text()) if ANSWERS.is_file() else set()
        with console.status("compiling"):
            compile_contracts()
        with console.status("analysing"):
            found = analyse()
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")
    table = Table("impact", "detector", "places", "findings", title="Slither", title_justify="left")
    detectors = sorted({(findings[0]["impact"], key[0]) for key, findings in found.items()})
    for impact, detector in detectors:
        places = [findings for key, findings in found.items() if key[0] == detector]
        table.add_row(impact, detector, str(len(places)), str(sum(map(len, places))))
    console.print(table)
    open_ = sorted(set(found) - answers)
    for detector, place in open_:
        console.print(f"{detector} at {place}:", found[detector, place][0]["description"].strip(), markup=False)
    gone = sorted(answers - set(found))
    for detector, place in gone:
        console.print(f"{ANSWERS.name} answers {detector} at {place}, where nothing is found: remove it", markup=False)
    console.print(f"{len(found)} places, {len(found) - len(open_)} answered, {len(gone)} answers without a finding")
    if open_ or gone:
        sys.exit("error: answer each finding in docs/security.md, under Static analysis, or change the code")


if __name__ == "__main__":
    main()
