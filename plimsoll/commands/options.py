"""What the commands that talk to a chain have in common: which network, which deployment, whose key."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.chain.client import LOCAL_CHAIN_ID, Chain, Sender
from plimsoll.chain.manifest import manifest_path
from plimsoll.chain.system import System
from plimsoll.config import Config
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.config import Network


@dataclass(frozen=True, slots=True)
class Place:
    """The network chosen on the command line."""

    config: Config
    network: Network
    url: str
    manifest: Path

    def chain(self) -> Chain:
        """Connect; PlimsollError if nothing answers or it is another chain."""
        return Chain.connect(self.url, chain_id=self.network.chain_id)

    def system(self) -> System:
        """Connect and bind the deployed contracts."""
        return System.load(self.chain(), self.manifest)


def with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --network, --config, --rpc and --manifest; the command gets `place`."""

    @click.option("--network", "network_name", default="local", show_default=True, help="As in plimsoll.toml.")
    @click.option("--config", "config_path", type=click.Path(path_type=Path), help="Default: plimsoll.toml.")
    @click.option("--rpc", metavar="URL", help="Endpoint, instead of the network's.")
    @click.option("--manifest", type=click.Path(path_type=Path), help="Default: deployments/<chain id>.json.")
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        network_name: str,
        config_path: Path | None,
        rpc: str | None,
        manifest: Path | None,
        **options: Any,
    ) -> Any:
        config = Config.load(config_path)
        network = config.network(network_name)
        place = Place(config, network, rpc or network.url(), manifest or manifest_path(network.chain_id))
        return command(*arguments, place=place, **options)

    return wrapped


def with_sender(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --key-file and --key-env; the command gets `find_sender`, which makes the sender for a network."""

    @click.option("--key-file", type=click.Path(path_type=Path), help="File that holds the private key (mode 600).")
    @click.option("--key-env", metavar="NAME", help="Environment variable that holds the private key.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, key_file: Path | None, key_env: str | None, **options: Any) -> Any:
        def find_sender(place: Place) -> Sender:
            if key_file is not None and key_env is not None:
                raise PlimsollError("give either --key-file or --key-env, not both")
            if key_file is not None:
                return Sender.from_file(key_file)
            if key_env is not None:
                return Sender.from_env(key_env)
            if place.network.chain_id != LOCAL_CHAIN_ID:
                raise PlimsollError(f"network {place.network.name} needs a key: give --key-file or --key-env")
            return Sender.dev(0)  # a local chain's well-known first account

        return command(*arguments, find_sender=find_sender, **options)

    return wrapped
