"""A deployed house under Ape: its contracts as Ape instances, Ape accounts for its people, an audit after every step.

On `ethereum:local:foundry` the house is deployed on Ape's own chain. On `ethereum:mainnet-fork:foundry` it is deployed
on the upstream chain before Ape forks it, so that everything the tests see of it comes through the fork. Either way by
plimsoll's own deployment; contracts are the artifacts of `plimsoll build`, so Ape compiles nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ape
import pytest
from ape.contracts import ContractContainer
from eip712 import EIP712Domain, EIP712Message
from eth_pydantic_types import abi
from ethpm_types import ContractType

from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.manifest import Manifest
from plimsoll.chain.orders import worst_price
from plimsoll.chain.system import System
from plimsoll.config import Config
from plimsoll.errors import PlimsollError
from simulation.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.state import State

WAD = 10**18
DEPLOYER = Sender.dev(0)
PUBLIC = "SEPOLIA_RPC_URL"

_upstream: dict[str, Manifest] = {}
"""The house deployed upstream, by "manifest"; empty on a local chain."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before Ape connects: on a fork, put the house on the chain that is forked."""
    if "-fork" not in str(session.config.getoption("--network", "")):
        return
    url = str(ape.config.get_config("node").ethereum["mainnet"]["uri"])
    try:
        chain = Chain.connect(url, chain_id=1, fast=True)
        with TemporaryDirectory() as folder:
            _upstream["manifest"] = deploy(chain, Config.load().profile("crypto"), DEPLOYER, Path(folder) / "1.json")
    except PlimsollError as fault:
        pytest.exit(f"no upstream chain to fork: {fault}; run `python scripts/run_tests.py fork`", returncode=1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "upstream: needs a chain that was forked")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What this network has no use for is not part of the run, and one line says so."""
    reasons = {}
    if not os.environ.get(PUBLIC):
        reasons["public"] = f"a public endpoint in {PUBLIC}"
    if not _upstream:
        reasons["upstream"] = "a fork (--network ethereum:mainnet-fork:foundry)"
    for marker, what in reasons.items():
        left_out = [item for item in items if item.get_closest_marker(marker)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
            config.stash.setdefault(_left_out, []).append(f"{len(left_out)} tests left out: they need {what}")


_left_out = pytest.StashKey[list[str]]()


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(_left_out, [])


def container(name: str, behind: str = "") -> ContractContainer:
    """A contract of .build/artifacts as Ape knows contracts, with the errors of one behind it that pass through.

    Where Ape doesn't know an error, it looks for its contract in the trace of the whole transaction, for minutes.
    """
    artifact = load(name)
    passed_on = [entry for entry in (load(behind).abi if behind else ()) if entry["type"] == "error"]
    return ContractContainer(
        ContractType.model_validate(
            {
                "contractName": artifact.name,
                "abi": [*artifact.abi, *passed_on],
                "deploymentBytecode": {"bytecode": artifact.bytecode},
                "runtimeBytecode": {"bytecode": artifact.deployed_bytecode},
            }
        )
    )


class Order(EIP712Message):
    """contracts/types/Order.sol, as wallets sign it."""

    account: abi.uint64
    signer: abi.address
    instrument: abi.uint128
    size: abi.int128
    limitPrice: abi.uint128  # noqa: N815 - the name is part of what is signed
    expiry: abi.uint64
    epoch: abi.uint64
    salt: abi.uint256


@dataclass(frozen=True)
class House:
    """The house as Ape sees it, and what people do in it. Amounts in the chain's own integers."""

    system: System
    audit: Audit
    clearing: Any
    gateway: Any
    registry: Any
    margin: Any
    lens: Any
    liquidation: Any
    fund: Any
    prices: Any
    volatilities: Any
    tokens: dict[str, Any]
    reporter: Any

    def check(self) -> State:
        """Every invariant, on what has happened since the last check and on the state now."""
        return self.audit.examine()[0]

    def open(self, owner: Any, **amounts: float) -> int:
        """A new account with these many tokens, by name, in it."""
        account = int(self.clearing.createAccount(sender=owner).return_value)
        for name, amount in amounts.items():
            self.deposit(owner, account, name, amount)
        return account

    def deposit(self, owner: Any, account: int, name: str, amount: float) -> None:
        token, entry = self.tokens[name], self.system.asset(name)
        units = int(amount * 10**entry.decimals)
        token.mint(owner, units, sender=owner)
        token.approve(self.clearing, units, sender=owner)
        self.clearing.deposit(account, entry.id, units, sender=owner)

    def order(self, signer: Any, account: int, symbol: str, size: int, price: int, **changes: Any) -> tuple[Any, bytes]:
        """An order on the perpetual of an underlying, and its signature, as a wallet makes it of EIP-712 typed data."""
        fields = {
            "account": account,
            "signer": signer.address,
            "instrument": self.system.perpetual(symbol),
            "size": size,
            "limitPrice": price,
            "expiry": ape.chain.pending_timestamp + 86_400,
            "epoch": self.gateway.epochOf(account),
            "salt": ape.chain.blocks.head.number << 1 | (size > 0),
            **changes,
        }
        domain = EIP712Domain(
            name="Plimsoll", version="1", chainId=ape.chain.chain_id, verifyingContract=self.gateway.address
        )
        message = Order(**fields, eip712_domain=domain)
        return tuple(fields.values()), signer.sign_message(message).encode_rsv()

    def trade(
        self, taker: tuple[Any, int], maker: tuple[Any, int], symbol: str, size: int, price: int, **changes: Any
    ) -> Any:
        """The taker buys (sells, if negative) from the maker, and pays for moving the premium; the reporter settles."""
        made = self.order(*maker, symbol, -size, price, **changes)
        taken = self.order(*taker, symbol, size, worst_price(price, size), **changes)
        return self.gateway.settleTrade(*made, *taken, abs(size), sender=self.reporter)

    def report(self, symbol: str, dollars: float) -> None:
        """A price of an underlying."""
        feed = container("PushedFeed").at(self.system.price_feeds[symbol].address)
        feed.push(int(dollars * 10**8), sender=self.reporter)

    def cash_of(self, account: int) -> int:
        return int(self.clearing.cashOf(account))


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    """Deployed here, or upstream and read through the fork."""
    chain = Chain.connect(str(ape.chain.provider.uri), fast=True)
    if manifest := _upstream.get("manifest"):
        return System.load(chain, manifest)
    path = tmp_path_factory.mktemp("deployments") / "manifest.json"
    return System.load(chain, deploy(chain, Config.load().profile("crypto"), DEPLOYER, path))


@pytest.fixture
def house(system: System, accounts: Any) -> Iterator[House]:
    """A house nobody is in yet, its prices reported just now."""
    made = House(
        system=system,
        audit=Audit(system),
        clearing=container("ClearingHouse").at(system.clearing_house.address),
        gateway=container("OrderGateway", behind="ClearingHouse").at(system.order_gateway.address),
        registry=container("InstrumentRegistry").at(system.registry.address),
        margin=container("MarginEngine").at(system.margin_engine.address),
        lens=container("MarginLens").at(system.margin_lens.address),
        liquidation=container("LiquidationEngine").at(system.liquidation_engine.address),
        fund=container("InsuranceFund").at(system.insurance_fund.address),
        prices=container("PriceOracle").at(system.price_oracle.address),
        volatilities=container("VolatilityOracle").at(system.volatility_oracle.address),
        tokens={name: container("TestToken").at(entry.token) for name, entry in system.manifest.assets.items()},
        reporter=accounts[0],
    )
    assert made.reporter.address == DEPLOYER.address
    yield made
    made.check()


@pytest.fixture
def artifact() -> Any:
    """`artifact("PushedFeed")`: a contract that a test deploys itself."""
    return container
