"""Fails where a committed lock or configuration file names a package registry: every machine uses its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = [ROOT / "package-lock.json", ROOT / "package.json", ROOT / ".npmrc", *sorted((ROOT / "requirements").iterdir())]
# A registry enters a lock as a resolved address, or as an option of pip or npm.
ADDRESS = re.compile(r'"resolved"\s*:|--(?:extra-)?index-url|--find-links|\bregistry\s*=|@ (?:https?|file|git\+)')


def main() -> None:
    """Print each offending line; exit status 1 if there is one."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in LOCKS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if ADDRESS.search(line)
    ]
    if found:
        sys.exit("a lock names a registry: run `make lock`\n" + "\n".join(found))


if __name__ == "__main__":
    main()
