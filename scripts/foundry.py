"""Runs a Foundry tool by its native binary: `python scripts/foundry.py forge fmt --check`."""

from __future__ import annotations

import os
import sys

from plimsoll.chain.toolchain import foundry_binary
from plimsoll.errors import PlimsollError


def main() -> None:
    """Replace this process by the tool, with the arguments given."""
    try:
        binary = str(foundry_binary(sys.argv[1]))
    except PlimsollError as fault:
        sys.exit(f"error: {fault}")
    os.execv(binary, [binary, *sys.argv[2:]])  # noqa: S606


if __name__ == "__main__":
    main()
