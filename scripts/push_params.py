"""Pushes a calibration report's parameters on-chain: `plimsoll push` for those who start scripts.

python scripts/push_params.py report.json --network local --yes
ape run push_params report.json --network local --yes
brownie run push_params main report.json yes safe=batch.json --network sepolia

Brownie keeps options for itself, so under it they are written without dashes, and the network is Brownie's.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from plimsoll.cli import main as plimsoll
from plimsoll.config import Config


def main(*arguments: str) -> None:
    """Push; without arguments those of the command line."""
    words = list(arguments or sys.argv[1:])
    brownie = sys.modules.get("brownie")
    if brownie is not None and brownie.network.is_connected():
        words = [words[0], *(part for word in words[1:] for part in _option(word)), *_place(brownie)] if words else []
    sys.argv = ["plimsoll", "push", *words]
    plimsoll()


def _option(word: str) -> list[str]:
    """`yes` as --yes, `safe=batch.json` as --safe batch.json."""
    name, _, value = word.partition("=")
    return [f"--{name}", value] if value else [f"--{name}"]


def _place(brownie: Any) -> list[str]:
    """The network that Brownie is connected to, by its chain id and endpoint."""
    chain_id = brownie.web3.eth.chain_id
    for name, network in Config.load().networks.items():
        if network.chain_id == chain_id:
            return ["--network", name, "--rpc", str(brownie.web3.provider.endpoint_uri)]
    sys.exit(f"error: plimsoll.toml has no network of chain {chain_id}; add one")


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def cli(words: tuple[str, ...], **_: Any) -> None:
    """Push; for `ape run`."""
    main(*words)


if __name__ == "__main__":
    main()
