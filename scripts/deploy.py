"""Deploys the whole house: with plain Python, with Ape, or with Brownie's own contracts and accounts.

python scripts/deploy.py --network local
ape run deploy
brownie run deploy --network development
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.chain.manifest import Manifest


def main() -> None:
    """Under Brownie deploy to its network and read a margin back; otherwise be `plimsoll deploy`."""
    brownie = sys.modules.get("brownie")
    if brownie is not None and brownie.network.is_connected():
        deploy_with_brownie(brownie)
        return
    from plimsoll import cli

    sys.argv = ["plimsoll", "deploy", *(sys.argv[1:] if __name__ == "__main__" else [])]
    cli.main()


class BrownieBackend:
    """plimsoll.chain.deploy.Backend over Brownie's contract containers and its first account."""

    def __init__(self, brownie: Any) -> None:
        self._brownie = brownie
        self._containers = dict(brownie.project.get_loaded_projects()[0])
        self._account = brownie.accounts[0]
        self._web3 = brownie.web3
        self._contracts: dict[tuple[str, str], Any] = {}

    @property
    def chain_id(self) -> int:
        return int(self._web3.eth.chain_id)

    @property
    def sender(self) -> str:
        return str(self._account.address)

    def genesis(self) -> str:
        return "0x" + bytes(self._web3.eth.get_block(0)["hash"]).hex()

    def head(self) -> int:
        return int(self._web3.eth.block_number)

    def timestamp(self) -> int:
        return int(self._web3.eth.get_block("latest")["timestamp"])

    def nonce(self) -> int:
        return int(self._account.nonce)

    def code(self, address: str) -> bytes:
        return bytes(self._web3.eth.get_code(address))

    def made_by(self, creation: str) -> bytes:
        return bytes(self._web3.eth.call({"data": creation}))

    def find(self, nonce: int, since: int) -> Any:  # noqa: ARG002 - what the protocol asks
        """A development chain ends with its run: there is never an earlier transaction to find."""
        return None

    def deploy(self, contract: str, arguments: tuple[Any, ...]) -> Any:
        from plimsoll.chain.abi import constructor_data
        from plimsoll.chain.artifacts import load
        from plimsoll.chain.deploy import Mined

        if contract in self._containers:
            made = self._containers[contract].deploy(*arguments, {"from": self._account}, silent=True)
            return Mined(made.tx.txid, made.tx.block_number, str(made.address))
        # OpenZeppelin's AccessManager is deployed as it is: none of our sources has it, so Brownie has no container
        artifact = load(contract)
        data = artifact.bytecode + constructor_data(artifact.abi, arguments).hex()
        sent = self._account.transfer(data=data, silent=True)
        return Mined(sent.txid, sent.block_number, str(sent.contract_address))

    def call(self, contract: str, address: str, function: str, arguments: tuple[Any, ...]) -> Any:
        from plimsoll.chain.deploy import Mined

        done = getattr(self._bound(contract, address), function)(*arguments, {"from": self._account}, silent=True)
        return Mined(done.txid, done.block_number, None)

    def _bound(self, contract: str, address: str) -> Any:
        from plimsoll.chain.artifacts import load

        if (contract, address) not in self._contracts:
            self._contracts[contract, address] = (
                self._containers[contract].at(address)
                if contract in self._containers
                else self._brownie.Contract.from_abi(contract, address, load(contract).abi)
            )
        return self._contracts[contract, address]


def deploy_with_brownie(brownie: Any) -> Manifest:
    """Every step of the plan through Brownie, then an account's margin read through Brownie's own binding."""
    from plimsoll.chain.deploy import execute
    from plimsoll.config import Config

    backend = BrownieBackend(brownie)
    profile = Config.load().profile("crypto")
    with TemporaryDirectory() as folder:  # the chain ends with this run, so its manifest is of no use afterwards
        manifest = execute(backend, profile, Path(folder) / f"{backend.chain_id}.json")
    project, account = brownie.project.get_loaded_projects()[0], brownie.accounts[0]
    house = project.ClearingHouse.at(manifest.address("clearing_house"))
    cash = project.TestToken.at(manifest.assets[profile.cash.name].token)
    amount = 10_000 * 10**profile.cash.decimals
    house.createAccount({"from": account})
    cash.mint(account, amount, {"from": account})
    cash.approve(house, amount, {"from": account})
    house.deposit(1, 0, amount, {"from": account})
    margin = project.MarginEngine.at(manifest.address("margin_engine")).marginOf(1)
    print(f"deployed {len(manifest.steps)} steps; account 1 has equity {int(margin[0]) / 10**18:,.2f} dollars")
    return manifest


if __name__ == "__main__":
    main()
