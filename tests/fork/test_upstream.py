"""Forks: a house deployed upstream is read through the fork, and what happens on the fork stays there."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ape
import pytest

from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.state import read_state
from plimsoll.chain.system import System
from plimsoll.config import Config
from simulation.audit import Audit

if TYPE_CHECKING:
    from pathlib import Path

WAD = 10**18


@pytest.fixture
def upstream(system: System) -> System:
    """The same house on the chain that was forked."""
    url = str(ape.config.get_config("node").ethereum["mainnet"]["uri"])
    return System.load(Chain.connect(url, fast=True), system.manifest)


@pytest.mark.upstream
def test_fork_showsTheHouseDeployedUpstream(house: Any, upstream: System) -> None:
    """Code, storage and history: the fork never deployed anything."""
    there, here = upstream.chain, house.system.chain
    assert there.url != here.url
    for name in ("clearing_house", "margin_engine", "risk_parameters", "insurance_fund"):
        address = getattr(upstream, name).address
        assert here.code(address) == there.code(address) != b""
    step = house.system.manifest.steps["clearing_house"]
    receipt = ape.chain.provider.get_receipt(step.transaction)  # mined before the fork
    assert (receipt.contract_address, receipt.block_number) == (step.address, step.block)
    for change in Config.load().profile("crypto").initial_changes():
        call = house.system.risk_parameters.get(int(change.field), change.underlying, change.other)
        assert here.read(call) == there.read(call) == change.value
    mine, theirs = read_state(house.system), read_state(upstream)
    assert mine.parameters == theirs.parameters
    for name, oracle in mine.oracles.items():
        assert oracle.price == theirs.oracles[name].price


@pytest.mark.upstream
def test_fork_leavesUpstreamAsItWas(house: Any, upstream: System, accounts: Any) -> None:
    before = read_state(upstream)
    account = house.open(accounts[3], USD=1_000)
    house.report("BTC", 45_000)
    assert house.clearing.cashOf(account) == 1_000 * WAD
    assert house.prices.price(1)[0] == 45_000 * WAD
    after = read_state(upstream)
    assert (after.block, after.accounts, after.oracles["BTC"].price) == (before.block, {}, 40_000 * WAD)


@pytest.mark.public
def test_sepolia_opensAHouseOnChainlinksFeeds(tmp_path: Path) -> None:
    """On a fork of the public test network: the profile's price feeds answer, a house opens on them, margin is stated.

    Its volatility feeds have been seen to stop, so volatility is pushed here.
    """
    config = Config.load()
    network, profile = config.network("sepolia"), config.profile("sepolia")
    ours, feeds = config.profile("crypto"), [underlying.volatility.feed for underlying in profile.underlyings]
    profile = replace(
        profile,
        underlyings=tuple(replace(u, volatility=ours.underlying(u.name).volatility) for u in profile.underlyings),
    )
    deployer = Sender.dev(0)
    with Anvil(fork_url=os.environ["SEPOLIA_RPC_URL"]) as node:
        chain = Chain.connect(node.url, chain_id=network.chain_id, fast=True, timeout=120)
        assert all(chain.code(feed) for feed in feeds)
        system = System.load(chain, deploy(chain, profile, deployer, tmp_path / "manifest.json"))
        state = read_state(system)
        for underlying in profile.underlyings:
            price = state.oracles[underlying.name].price
            assert price is not None, state.oracles[underlying.name].fault
            assert underlying.price.minimum * WAD <= price <= underlying.price.maximum * WAD
        audit = Audit(system)
        chain.send(system.clearing_house.createAccount(), deployer)
        for name, units in (("USD", 10**9), ("WETH", WAD)):
            token = system.cash if name == "USD" else system.assets[name]
            chain.send(token.mint(deployer.address, units), deployer)
            chain.send(token.approve(system.clearing_house.address, units), deployer)
            chain.send(system.clearing_house.deposit(1, system.asset(name).id, units), deployer)
        margin = audit.examine()[0].accounts[1].margin
        assert margin is not None
        assert margin.is_healthy
        assert margin.initial.total > 0
