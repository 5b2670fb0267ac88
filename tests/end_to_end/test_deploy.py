"""Deployment on a live chain: stopped anywhere it goes on, done twice it sends nothing, and it checks what it finds."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.deploy import Mined, Web3Backend, deploy, execute
from plimsoll.chain.instruments import Instrument, Kind, expiry_after, expiry_symbol
from plimsoll.chain.manifest import Manifest
from plimsoll.chain.plan import ADMIN, CALIBRATOR, GOVERNOR, REPORTER, STEWARD, make_plan
from plimsoll.chain.system import System
from plimsoll.config import Config, Profile
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

DEPLOYER, ADMINISTRATOR, CALIBRATING, REPORTING = (Sender.dev(index) for index in range(4))


class PowerCut(BaseException):
    """The process dies: nothing after this runs."""


class Failing(Web3Backend):
    """Dies at the n-th transaction, before it is sent or after it is mined."""

    def __init__(self, chain: Chain, at: int, *, after: bool) -> None:
        super().__init__(chain, DEPLOYER)
        self.left = at
        self.after = after

    def _send(self, send: Callable[[], Mined]) -> Mined:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise PowerCut
        mined = send()
        if self.left == 0:
            raise PowerCut
        return mined

    def deploy(self, contract: str, arguments: tuple[Any, ...]) -> Mined:
        return self._send(lambda: super(Failing, self).deploy(contract, arguments))

    def call(self, contract: str, address: str, function: str, arguments: tuple[Any, ...]) -> Mined:
        return self._send(lambda: super(Failing, self).call(contract, address, function, arguments))


@pytest.mark.parametrize("name", ["crypto", "sp500-nasdaq"])
def test_deploy_opens_a_house_with_what_was_configured(chain: Chain, tmp_path: Path, name: str, undo: None) -> None:
    profile = Config.load().profile(name)
    system = System.load(chain, deploy(chain, profile, DEPLOYER, tmp_path / "manifest.json"))
    for change in profile.initial_changes():
        read = chain.read(system.risk_parameters.get(int(change.field), change.underlying, change.other))
        assert read == change.value, change
    for underlying in profile.underlyings:
        price, _ = chain.read(system.price_oracle.price(underlying.id))
        assert price == int(underlying.price.initial or 0) * 10**18
        assert chain.read(system.volatility_oracle.levels(underlying.id)).fresh
        assert chain.read(system.volatility_oracle.stateOf(underlying.id)).maintenance > 0
        assert chain.read(system.registry.isListed(system.perpetual(underlying.name)))
        expiry = expiry_after(system.manifest.begun, 7)
        for strike, kind in product(underlying.strikes(), (Kind.CALL, Kind.PUT)):
            assert chain.read(system.registry.isListed(Instrument(kind, underlying.id, expiry, strike).id))
    assert chain.read(system.clearing_house.insuranceFund()) == system.insurance_fund.address
    assert [chain.read(system.clearing_house.assetOf(i)).token for i in range(1 + len(profile.assets))] == [
        entry.token for entry in system.manifest.assets.values()
    ]


def test_deploy_twice_sends_nothing(chain: Chain, profile: Profile, tmp_path: Path, undo: None) -> None:
    path = tmp_path / "manifest.json"
    first = deploy(chain, profile, DEPLOYER, path)
    sent, content = chain.nonce(DEPLOYER.address), path.read_bytes()
    assert deploy(chain, profile, DEPLOYER, path) == first
    assert chain.nonce(DEPLOYER.address) == sent
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("at", "after"), [(1, False), (1, True), (13, True), (15, True), (40, False), (78, True), (110, False)]
)
def test_deploy_goes_on_where_it_stopped(
    chain: Chain, profile: Profile, tmp_path: Path, undo: None, at: int, after: bool
) -> None:
    path = tmp_path / "manifest.json"
    start = chain.nonce(DEPLOYER.address)
    with pytest.raises(PowerCut):
        execute(Failing(chain, at, after=after), profile, path)
    with pytest.raises(PlimsollError, match="stopped halfway"):
        System.load(chain, path)
    manifest = deploy(chain, profile, DEPLOYER, path)
    assert manifest.complete
    # every step once: what was mined before the cut is found again, not sent again
    assert chain.nonce(DEPLOYER.address) - start == len(make_plan(profile, DEPLOYER.address, manifest.begun).steps)
    System.load(chain, manifest)


def test_deploy_stops_again_and_again(chain: Chain, profile: Profile, tmp_path: Path, undo: None) -> None:
    path = tmp_path / "manifest.json"
    start = chain.nonce(DEPLOYER.address)
    count = len(make_plan(profile, DEPLOYER.address, chain.block().timestamp).steps)
    for cut in range(count):
        try:
            execute(Failing(chain, 5 + cut % 7, after=cut % 2 == 0), profile, path)
            break
        except PowerCut:
            continue
    assert Manifest.load(path).complete
    assert chain.nonce(DEPLOYER.address) - start == count


def test_deploy_keeps_its_expiries_when_it_goes_on_another_day(
    chain: Chain, profile: Profile, tmp_path: Path, undo: None
) -> None:
    path = tmp_path / "manifest.json"
    begun = chain.block().timestamp
    with pytest.raises(PowerCut):
        execute(Failing(chain, 30, after=True), profile, path)
    chain.set_time(begun + 86_400)
    system = System.load(chain, deploy(chain, profile, DEPLOYER, path))
    put = f"BTC-{expiry_symbol(expiry_after(begun, 7))}-40000-P"
    assert chain.read(system.registry.isListed(system.instrument(put).id))


def test_deploy_refuses_data_that_is_not_what_the_constructor_makes(
    chain: Chain, profile: Profile, tmp_path: Path, undo: None
) -> None:
    class Tampering(Web3Backend):
        def deploy(self, contract: str, arguments: tuple[Any, ...]) -> Mined:
            mined = super().deploy(contract, arguments)
            if contract == "NormalTable":
                code = self.code(mined.address or "")
                self._chain.rpc("anvil_setCode", mined.address, "0x" + code[:-1].hex() + "01")
            return mined

    with pytest.raises(PlimsollError, match=r"step normal_table: the code at 0x\w+ is not NormalTable's"):
        execute(Tampering(chain, DEPLOYER), profile, tmp_path / "manifest.json")


def test_deploy_records_what_was_built(chain: Chain, house: Any) -> None:
    manifest = Manifest.load(house.manifest)
    step = manifest.steps["clearing_house"]
    assert step.bytecode_hash == load("ClearingHouse").bytecode_hash
    assert step.arguments[0] == manifest.address("access_manager")
    assert manifest.compiler["settings"]["optimizer"]["enabled"]
    assert manifest.parameters
    raw = chain.rpc("eth_getTransactionReceipt", step.transaction)
    assert int(raw["blockNumber"], 16) == step.block
    assert raw["contractAddress"] == step.address.lower()


def test_deploy_hands_over_to_the_roles(chain: Chain, profile: Profile, tmp_path: Path, undo: None) -> None:
    people = profile.with_roles(admin=ADMINISTRATOR.address, calibrator=CALIBRATING.address, reporter=REPORTING.address)
    system = System.load(chain, deploy(chain, people, DEPLOYER, tmp_path / "manifest.json"))

    def has(role: int, who: Sender) -> bool:
        return bool(chain.read(system.access_manager.hasRole(role, who.address)).isMember)

    for role in (ADMIN, GOVERNOR, STEWARD, CALIBRATOR, REPORTER):
        assert not has(role, DEPLOYER)
    assert has(ADMIN, ADMINISTRATOR)
    assert has(GOVERNOR, ADMINISTRATOR)
    assert has(CALIBRATOR, CALIBRATING)
    with pytest.raises(PlimsollError, match="AccessManagedUnauthorized"):
        chain.send(system.steward.setMarket(bytes(32)), DEPLOYER)
    chain.send(next(iter(system.price_feeds.values())).push(41_000 * 10**8), REPORTING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain_id": 1}, "is of chain 1, not 31337"),
        ({"genesis": "0x" + "0" * 64}, "another chain 31337"),
        ({"profile": "sp500-nasdaq"}, "is of profile sp500-nasdaq"),
        ({"market": "2022-11"}, "for market 2022-11"),
        ({"complete": False, "deployer": ADMINISTRATOR.address}, "only that account can finish it"),
    ],
)
def test_deploy_refuses_another_houses_manifest(
    chain: Chain, profile: Profile, house: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "manifest.json"
    replace(Manifest.load(house.manifest), **change).save(path)
    with pytest.raises(PlimsollError, match=message):
        deploy(chain, profile, DEPLOYER, path)


def test_deploy_notices_missing_code_and_changed_arguments(
    chain: Chain, profile: Profile, house: Any, tmp_path: Path
) -> None:
    manifest, path = Manifest.load(house.manifest), tmp_path / "manifest.json"
    moved = replace(manifest.steps["steward"], address=ADMINISTRATOR.address)
    replace(manifest, steps={**manifest.steps, "steward": moved}).save(path)
    with pytest.raises(PlimsollError, match=r"the code of steward at 0x7099.* is gone"):
        deploy(chain, profile, DEPLOYER, path)
    replace(manifest, complete=False).save(path)
    with pytest.raises(PlimsollError, match=r"answer\.price\.BTC was done with other arguments"):
        deploy(chain, profile.starting_at({"BTC": 1_234.0}), DEPLOYER, path)


def test_deploy_names_the_step_a_contract_refuses(chain: Chain, profile: Profile, tmp_path: Path, undo: None) -> None:
    refusal = r"step feed\.price\.BTC: PriceOracle\.setPriceFeed: PriceOracleOutOfBounds"
    with pytest.raises(PlimsollError, match=refusal):
        deploy(chain, profile.starting_at({"BTC": 1.0}), DEPLOYER, tmp_path / "manifest.json")


def test_deploy_command(
    chain: Chain, tmp_path: Path, undo: None, run_plimsoll: Callable[..., CompletedProcess[str]]
) -> None:
    path = tmp_path / "manifest.json"
    first = run_plimsoll("deploy", "--profile", "sp500-nasdaq", "--manifest", path)
    assert first.returncode == 0, first.stderr
    assert json.loads(path.read_text())["complete"]
    again = run_plimsoll("deploy", "--profile", "sp500-nasdaq", "--manifest", path)
    assert (again.returncode, "0 transactions" in again.stdout) == (0, True), again.stderr


def test_system_refuses_a_chain_without_the_house(house: Any, chain: Chain) -> None:
    manifest = Manifest.load(house.manifest)
    with pytest.raises(PlimsollError, match="on chain 1, the endpoint on 31337"):
        System.load(chain, replace(manifest, chain_id=1))
    gone = replace(manifest.steps["clearing_house"], address=ADMINISTRATOR.address)
    with pytest.raises(PlimsollError, match="no clearing house"):
        System.load(chain, replace(manifest, steps={**manifest.steps, "clearing_house": gone}))
