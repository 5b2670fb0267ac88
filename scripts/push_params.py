"""Pushes a calibration report's parameters on-chain: `plimsoll push` for those who start scripts.

python scripts/push_params.py report.json --network local --yes
"""

from __future__ import annotations

import sys

from plimsoll import cli


def main(*arguments: str) -> None:
    """Push; without arguments those of the command line."""
    sys.argv = ["plimsoll", "push", *(arguments or sys.argv[1:])]
    cli.main()


if __name__ == "__main__":
    main()
