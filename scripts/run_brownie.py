"""Brownie over the same contracts, in its own environment: `python scripts/run_brownie.py [compile]`.

Without an argument it compiles, then deploys the whole system and reads a margin back with `brownie run deploy` on
Brownie's own anvil; with `compile` it stops there. Brownie's data folder stays below .build, out of the user's home.
"""

from __future__ import annotations

import os
import subprocess
import sys

from plimsoll.chain.toolchain import BUILD, ROOT, foundry_binary
from plimsoll.errors import PlimsollError

BROWNIE = ROOT / ".venv-brownie" / "bin" / "brownie"


def brownie(*arguments: str) -> None:
    """Run one Brownie command, and end with its status where it fails."""
    home = BUILD / "brownie-home"
    for folder in (home, ROOT / "tests" / "brownie"):
        folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(foundry_binary("anvil").parent), os.environ["PATH"]]),
        "SOLCX_BINARY_PATH": str(ROOT / "scripts" / "solc"),
    }
    run = subprocess.run([str(BROWNIE), *arguments], cwd=ROOT, env=environment, check=False)
    if run.returncode:
        sys.exit(run.returncode)


def main() -> None:
    """Compile, and deploy unless told to stop."""
    if not BROWNIE.is_file():
        sys.exit("error: Brownie is not installed: run `make brownie`")
    try:
        brownie("compile")
        if sys.argv[1:] != ["compile"]:
            brownie("run", "deploy", "--network", "development")
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")


if __name__ == "__main__":
    main()
