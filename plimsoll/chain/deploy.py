"""Carries out a deployment plan, step by step, so that it may stop anywhere and go on.

Before a transaction is sent the manifest remembers its nonce, after it is mined its result. A run that starts again
looks up what was pending, verifies every contract's code on-chain, and goes on behind the last step. A run of a
finished deployment sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from eth_utils.crypto import keccak

from plimsoll.chain.abi import Contract
from plimsoll.chain.artifacts import Artifact, load
from plimsoll.chain.manifest import Done, Manifest, Pending, manifest_path, plain
from plimsoll.chain.plan import Deploy, Plan, Ref, Selectors, Step, asset_entries, make_plan, underlying_entries
from plimsoll.config import TEST_TOKEN
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plimsoll.chain.client import Chain, Sender
    from plimsoll.config import Asset, Cash, Profile


@dataclass(frozen=True, slots=True)
class Mined:
    """What became of a transaction; `address` is the contract it made, if any."""

    transaction: str
    block: int
    address: str | None


class Backend(Protocol):
    """What a deployment needs of a chain: web3 here, Brownie in scripts/deploy.py."""

    @property
    def chain_id(self) -> int: ...

    @property
    def sender(self) -> str:
        """Checksummed address that sends."""

    def genesis(self) -> str:
        """Hash of block 0."""

    def head(self) -> int:
        """Number of the latest block."""

    def timestamp(self) -> int:
        """Unix time of the latest block."""

    def nonce(self) -> int:
        """The sender's next nonce."""

    def code(self, address: str) -> bytes:
        """Code at an address."""

    def made_by(self, creation: str) -> bytes:
        """The code that creation code (hexadecimal with 0x) would leave, without sending it."""

    def find(self, nonce: int, since: int) -> Mined | None:
        """The sender's transaction with that nonce, if it was mined after block `since`."""

    def deploy(self, contract: str, arguments: tuple[Any, ...]) -> Mined:
        """Make a contract."""

    def call(self, contract: str, address: str, function: str, arguments: tuple[Any, ...]) -> Mined:
        """Call a function."""


class Web3Backend:
    """Sends through plimsoll.chain.client."""

    def __init__(self, chain: Chain, sender: Sender) -> None:
        self._chain = chain
        self._sender = sender
        self._contracts: dict[tuple[str, str], Contract] = {}

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    @property
    def sender(self) -> str:
        return self._sender.address

    def genesis(self) -> str:
        return self._chain.block(0).hash

    def head(self) -> int:
        return self._chain.block().number

    def timestamp(self) -> int:
        return self._chain.block().timestamp

    def nonce(self) -> int:
        return self._chain.nonce(self._sender.address)

    def code(self, address: str) -> bytes:
        return self._chain.code(address)

    def made_by(self, creation: str) -> bytes:
        return bytes.fromhex(self._chain.rpc("eth_call", {"data": creation}, "latest")[2:])

    def find(self, nonce: int, since: int) -> Mined | None:
        receipt = self._chain.find_transaction(self._sender.address, nonce, since)
        return None if receipt is None else Mined(receipt.transaction, receipt.block, receipt.contract)

    def deploy(self, contract: str, arguments: tuple[Any, ...]) -> Mined:
        receipt = self._chain.deploy(load(contract), arguments, self._sender)
        return Mined(receipt.transaction, receipt.block, receipt.contract)

    def call(self, contract: str, address: str, function: str, arguments: tuple[Any, ...]) -> Mined:
        key = (contract, address)
        if key not in self._contracts:
            self._contracts[key] = Contract.at(contract, address)
        receipt = self._chain.send(self._contracts[key].call(function, *arguments), self._sender)
        return Mined(receipt.transaction, receipt.block, None)


def deploy(
    chain: Chain,
    profile: Profile,
    sender: Sender,
    path: Path | None = None,
    *,
    fresh: bool = False,
    on_step: Callable[[Step, int, int], None] | None = None,
) -> Manifest:
    """Deploy a profile's whole house, or what is left of it, and return the complete manifest.

    path: where the manifest is kept, deployments/<chain id>.json by default. fresh: forget an earlier deployment.
    on_step: called before each transaction with the step, its number from 1, and how many there are.
    """
    _require_tokens(chain, profile)
    return execute(Web3Backend(chain, sender), profile, path or manifest_path(chain.chain_id), fresh, on_step)


def execute(
    backend: Backend,
    profile: Profile,
    path: Path,
    fresh: bool = False,
    on_step: Callable[[Step, int, int], None] | None = None,
) -> Manifest:
    """`deploy` on any backend."""
    if fresh or not path.exists():
        manifest = _start(backend, profile)
        plan = make_plan(profile, backend.sender, manifest.begun)
    else:
        manifest = Manifest.load(path)
        _require_same(manifest, backend, profile, path)
        plan = make_plan(profile, backend.sender, manifest.begun)
        manifest = _recover(manifest, backend, plan, path)
        _verify(manifest, backend, plan, path)
    for number, step in enumerate(plan.steps, 1):
        if step.id in manifest.steps:
            continue
        if on_step is not None:
            on_step(step, number, len(plan.steps))
        manifest = replace(manifest, pending=Pending(step.id, backend.nonce(), backend.head()))
        manifest.save(path)
        manifest = manifest.with_step(step.id, _carry_out(backend, step, manifest))
        manifest.save(path)
    if not manifest.complete:
        manifest = replace(
            manifest,
            assets=asset_entries(profile, manifest.address),
            underlyings=underlying_entries(profile, manifest.address),
            complete=True,
        )
        manifest.save(path)
    return manifest


def _require_tokens(chain: Chain, profile: Profile) -> None:
    """Tokens that are there already must be what the configuration says: amounts are counted in their units."""
    tokens: tuple[Cash | Asset, ...] = (profile.cash, *profile.assets)
    for asset in tokens:
        if asset.token == TEST_TOKEN:
            continue
        if not chain.code(asset.token):
            raise PlimsollError(f"{asset.name}: there is no contract at {asset.token}; correct its token")
        decimals = chain.read(Contract.at("TestToken", asset.token).decimals())
        if decimals != asset.decimals:
            raise PlimsollError(
                f"{asset.name}: the token at {asset.token} has {decimals} decimals, not {asset.decimals}; "
                "correct its decimals"
            )


def _start(backend: Backend, profile: Profile) -> Manifest:
    return Manifest(
        chain_id=backend.chain_id,
        genesis=backend.genesis(),
        profile=profile.name,
        market=profile.market,
        deployer=backend.sender,
        begun=backend.timestamp(),
        compiler=load("ClearingHouse").compiler,
        parameters=[
            {"field": c.field.key, "underlying": c.underlying, "other": c.other, "value": c.value}
            for c in profile.initial_changes()
        ],
    )


def _carry_out(backend: Backend, step: Step, manifest: Manifest) -> Done:
    arguments = _resolved(step.arguments, manifest)
    try:
        if isinstance(step, Deploy):
            mined = backend.deploy(step.contract, arguments)
        else:
            mined = backend.call(step.contract, manifest.address(step.target.step), step.function, arguments)
    except PlimsollError as fault:
        raise PlimsollError(f"step {step.id}: {fault}") from fault
    return _done(backend, step, manifest, mined)


def _done(backend: Backend, step: Step, manifest: Manifest, mined: Mined) -> Done:
    arguments = plain(_resolved(step.arguments, manifest))
    if not isinstance(step, Deploy):
        address = manifest.address(step.target.step)
        return Done(step.contract, step.function, address, arguments, mined.block, mined.transaction)
    if mined.address is None:
        raise PlimsollError(f"step {step.id}: transaction {mined.transaction} made no contract")
    artifact = load(step.contract)
    code = backend.code(mined.address)
    # A constructor may return what it has worked out instead of the artifact's code, as NormalTable's does. Without
    # arguments that is the same every time.
    if not _is_code_of(artifact, code) and (arguments or code != backend.made_by(artifact.bytecode)):
        raise PlimsollError(f"step {step.id}: the code at {mined.address} is not {step.contract}'s")
    return Done(
        contract=step.contract,
        function="",
        address=mined.address,
        arguments=arguments,
        block=mined.block,
        transaction=mined.transaction,
        bytecode_hash=artifact.bytecode_hash,
        code_hash="0x" + keccak(code).hex(),
    )


def _is_code_of(artifact: Artifact, code: bytes) -> bool:
    """Equal but where the artifact has zeros: those are the places of immutables."""
    expected = bytes.fromhex(artifact.deployed_bytecode.removeprefix("0x"))
    return len(code) == len(expected) and all(a == b for a, b in zip(expected, code, strict=True) if a)


def _resolved(value: Any, manifest: Manifest) -> Any:
    """Arguments with addresses and selectors in the place of references."""
    if isinstance(value, Ref):
        return manifest.address(value.step)
    if isinstance(value, Selectors):
        contract = Contract.at(value.contract, manifest.deployer)
        return tuple(contract.function(name).selector for name in value.functions)
    if isinstance(value, tuple):
        return tuple(_resolved(item, manifest) for item in value)
    return value


def _require_same(manifest: Manifest, backend: Backend, profile: Profile, path: Path) -> None:
    if manifest.chain_id != backend.chain_id:
        raise PlimsollError(f"{path} is of chain {manifest.chain_id}, not {backend.chain_id}")
    if manifest.genesis != backend.genesis():
        raise PlimsollError(f"{path} is of another chain {manifest.chain_id} (it was restarted); deploy with --fresh")
    if (manifest.profile, manifest.market) != (profile.name, profile.market):
        raise PlimsollError(
            f"{path} is of profile {manifest.profile} for market {manifest.market}, not {profile.name} for "
            f"{profile.market}; deploy with --fresh to forget it"
        )
    if not manifest.complete and manifest.deployer != backend.sender:
        raise PlimsollError(f"{path} was begun by {manifest.deployer}; only that account can finish it")


def _recover(manifest: Manifest, backend: Backend, plan: Plan, path: Path) -> Manifest:
    """Find out what became of a transaction that was about to be sent when the last run stopped."""
    pending = manifest.pending
    if pending is None:
        return manifest
    mined = backend.find(pending.nonce, pending.since)
    step = next((step for step in plan.steps if step.id == pending.step), None)
    if mined is None or step is None:
        manifest = replace(manifest, pending=None)
    else:
        manifest = manifest.with_step(step.id, _done(backend, step, manifest, mined))
    manifest.save(path)
    return manifest


def _verify(manifest: Manifest, backend: Backend, plan: Plan, path: Path) -> None:
    """What is recorded must be what is on-chain, and what the plan still wants."""
    # a finished house is not judged by today's plan: its numbers have moved since, as they should
    planned = {step.id: step for step in plan.steps} if not manifest.complete else {}
    for name, done in manifest.steps.items():
        if done.code_hash and "0x" + keccak(backend.code(done.address)).hex() != done.code_hash:
            raise PlimsollError(f"{path}: the code of {name} at {done.address} is gone; deploy with --fresh")
        step = planned.get(name)
        if step is None:
            if planned:
                raise PlimsollError(f"{path}: {name} is not in the plan any more; deploy with --fresh")
            continue
        if done.bytecode_hash and done.bytecode_hash != load(done.contract).bytecode_hash:
            raise PlimsollError(f"{path}: {done.contract} has been compiled anew since; deploy with --fresh")
        if plain(_resolved(step.arguments, manifest)) != done.arguments:
            raise PlimsollError(f"{path}: {name} was done with other arguments than planned; deploy with --fresh")
