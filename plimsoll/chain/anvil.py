"""A local chain: Foundry's anvil as a child process that never outlives its owner."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO

import requests

from plimsoll.chain.toolchain import foundry_binary
from plimsoll.errors import PlimsollError

READY_TIMEOUT = 20.0
"""Seconds anvil may take to answer; a fork first asks its upstream node."""
STOP_TIMEOUT = 5.0
HOST = "127.0.0.1"
CHAIN_ID = 31_337

# The shell that runs anvil ends it when its own standard input closes, which happens however the owner dies.
_GUARD = 'exec 3<&0; "$@" </dev/null & child=$!; { read -r _ <&3; kill "$child" 2>/dev/null; } & wait "$child"'


@dataclass(slots=True)
class Anvil:
    """A context manager: the chain answers at `url` inside the block and is gone after it.

    Its base fee and gas price are 0, so that replays need no native currency, and it has anvil's ten well-known
    accounts. It knows the state of the last 500 blocks: more would go to the disk, and a month's replay would leave
    gigabytes there. Raises PlimsollError where the port is taken, anvil is not installed, or it does not come up.

    >>> with Anvil(timestamp=1_517_788_800) as chain:
    ...     web3 = Web3(Web3.HTTPProvider(chain.url))
    """

    port: int = 0
    """0: any free port."""
    chain_id: int | None = None
    """None: anvil's own, or that of the chain it forks."""
    timestamp: int | None = None
    """Unix time of the first block; None: now."""
    fork_url: str | None = None
    gas_limit: int = 30_000_000
    """Gas a block may use."""
    block_time: int | None = None
    """Seconds between blocks; None: a block with every transaction."""
    quiet: bool = True
    """False lets anvil print its accounts and every call to this process's output."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _said: IO[str] | None = field(default=None, init=False, repr=False)
    """What anvil writes to stderr: why it did not start."""

    @property
    def url(self) -> str:
        """Address of its JSON-RPC; the port is known from the start of the block."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Anvil:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start anvil and return when it answers."""
        binary = foundry_binary("anvil")
        self.port = self.port or _free_port()
        _require_free(self.port)
        self._said = tempfile.TemporaryFile("w+") if self.quiet else None
        # A session of its own keeps the terminal's Ctrl-C from anvil: its owner stops it, after its own clean-up.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "anvil", str(binary), *self._arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if self.quiet else None,
            stderr=self._said,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Block until anvil ends, and return its exit status."""
        if self._process is None:
            raise RuntimeError("anvil has not been started")
        return self._process.wait()

    def stop(self) -> None:
        """End anvil, first by asking; harmless where it has ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._said is not None:
            self._said.close()

    def _arguments(self) -> Sequence[str]:
        arguments = ["--host", HOST, "--port", str(self.port), "--gas-limit", str(self.gas_limit)]
        arguments += ["--block-base-fee-per-gas", "0", "--gas-price", "0", "--hardfork", "cancun"]
        arguments += ["--max-persisted-states", "0"]
        if self.quiet:
            arguments.append("--silent")
        if self.fork_url is not None:
            arguments += ["--fork-url", self.fork_url]
        chain_id = CHAIN_ID if self.chain_id is None and self.fork_url is None else self.chain_id
        if chain_id is not None:
            arguments += ["--chain-id", str(chain_id)]
        if self.timestamp is not None:
            arguments += ["--timestamp", str(self.timestamp)]
        if self.block_time is not None:
            arguments += ["--block-time", str(self.block_time)]
        return arguments

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PlimsollError(f"anvil did not start: {self._last_words() or f'status {process.returncode}'}")
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if "result" in requests.post(self.url, json=request, timeout=1).json():
                    return
            time.sleep(0.02)
        raise PlimsollError(f"anvil did not answer at {self.url} within {READY_TIMEOUT:.0f} s")

    def _last_words(self) -> str:
        """The last line anvil wrote to stderr, if it was captured."""
        if self._said is None:
            return ""
        self._said.seek(0)
        return (self._said.read().strip().splitlines() or [""])[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PlimsollError(f"port {port} is taken: stop what uses it, or choose another port") from None
