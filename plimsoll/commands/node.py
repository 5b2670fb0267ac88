"""`plimsoll node`: a local chain in the foreground."""

from __future__ import annotations

import signal
import sys

import click

from plimsoll.chain.anvil import Anvil
from plimsoll.errors import PlimsollError


@click.command()
@click.option("--port", default=8545, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--chain-id", type=click.IntRange(1), help="Default: 31337, or that of the chain it forks.")
@click.option("--block-time", type=click.IntRange(1), help="Seconds between blocks. Default: a block a transaction.")
@click.option("--timestamp", type=click.IntRange(0), help="Unix time of the first block. Default: now.")
@click.option("--fork-url", metavar="URL", help="Start from the state of this JSON-RPC endpoint.")
def command(
    port: int, chain_id: int | None, block_time: int | None, timestamp: int | None, fork_url: str | None
) -> None:
    """Run a local chain (anvil) until interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # how a supervisor asks a service to end: not a fault
    with Anvil(port, chain_id, timestamp, fork_url, block_time=block_time, quiet=False) as chain:
        status = chain.wait()
    raise PlimsollError(f"anvil ended by itself, with status {status}")
