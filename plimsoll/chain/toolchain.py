"""Where the checkout and its pinned native tools are."""

from __future__ import annotations

import platform
from pathlib import Path

from plimsoll.errors import PlimsollError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: contracts are compiled from their sources, so Plimsoll runs from one (an editable install)."""

BUILD = ROOT / ".build"
"""Everything generated."""

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def foundry_binary(tool: str) -> Path:
    """The native binary of a Foundry tool (`anvil`, `forge`) from its npm package.

    The `node_modules/.bin` wrappers are not used: they leave their child running after SIGTERM.

    Raises PlimsollError where the platform has no package or set-up has not installed it.
    """
    system = platform.system().lower()
    architecture = _ARCHITECTURES.get(platform.machine().lower())
    if system not in ("linux", "darwin") or architecture is None:
        raise PlimsollError(f"{tool} has no binary for {platform.system()} on {platform.machine()}: use Linux or macOS")
    binary = ROOT / "node_modules" / "@foundry-rs" / f"{tool}-{system}-{architecture}" / "bin" / tool
    if not binary.is_file():
        raise PlimsollError(f"{tool} is not installed: run `make setup`")
    return binary
