"""A deployed house on a chain of its own for each test module, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plimsoll.calibration import CalibrationConfig, Report, calibrate
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.client import Chain, Receipt, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.orders import make_order, settle_trade, worst_price
from plimsoll.chain.system import CASH, System
from plimsoll.chain.toolchain import ROOT
from plimsoll.config import Config, Profile
from plimsoll.market.series import make_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAD = 10**18
PLIMSOLL = Path(sys.executable).with_name("plimsoll")
DEPLOYER, KEEPER, LONG, SHORT, STRANGER = (Sender.dev(index) for index in range(5))


@dataclass(frozen=True)
class House:
    """A deployed system with its manifest's file, and what tests do with it all the time."""

    system: System
    manifest: Path

    def open_account(self, owner: Sender, dollars: int) -> int:
        """A new account with that much cash in it."""
        chain, house, cash = self.system.chain, self.system.clearing_house, self.system.cash
        chain.send(house.createAccount(), owner)
        account: int = chain.read(house.accountCount())
        if dollars:
            chain.send(cash.mint(owner.address, dollars * 10**6), owner)
            chain.send(cash.approve(house.address, dollars * 10**6), owner)
            chain.send(house.deposit(account, CASH, dollars * 10**6), owner)
        return account

    def fill_fund(self, dollars: int) -> None:
        """First-loss capital, from the deployer."""
        chain, cash, fund = self.system.chain, self.system.cash, self.system.insurance_fund
        chain.send(cash.mint(DEPLOYER.address, dollars * 10**6), DEPLOYER)
        chain.send(cash.approve(fund.address, dollars * 10**6), DEPLOYER)
        chain.send(fund.deposit(dollars * 10**6, DEPLOYER.address), DEPLOYER)

    def trade(self, buyer: tuple[int, Sender], seller: tuple[int, Sender], units: float, price: float) -> Receipt:
        """Buyer takes what seller offers on the first underlying."""
        size, limit, name = int(units * WAD), int(price * WAD), next(iter(self.system.underlyings))
        maker = make_order(self.system, seller[1], seller[0], f"{name}-PERP", -size, limit, expiry=2**40)
        worst = worst_price(limit, size)
        taker = make_order(self.system, buyer[1], buyer[0], f"{name}-PERP", size, worst, expiry=2**40)
        return self.system.chain.send(settle_trade(self.system, maker, taker, size), DEPLOYER)

    def set_price(self, price: float) -> None:
        """Report a price of the first underlying."""
        feed = next(iter(self.system.price_feeds.values()))
        self.system.chain.send(feed.push(int(price * 10**8)), DEPLOYER)


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil() as node:
        yield node


@pytest.fixture(scope="module")
def chain(anvil: Anvil) -> Chain:
    return Chain.connect(anvil.url)


@pytest.fixture(scope="session")
def profile() -> Profile:
    return Config.load().profile("crypto")


@pytest.fixture(scope="module")
def house(chain: Chain, profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> House:
    path = tmp_path_factory.mktemp("deployments") / "31337.json"
    return House(System.load(chain, deploy(chain, profile, DEPLOYER, path)), path)


@pytest.fixture
def undo(chain: Chain) -> Iterator[None]:
    """Leave the chain as it was."""
    with chain.snapshot():
        yield


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """A real calibration, of two years of made-up hourly prices: by seed, market and names."""

    @cache
    def make(seed: int = 1, market: str = "2020-03", names: tuple[str, ...] = ("BTC", "ETH")) -> Report:
        random = np.random.default_rng(seed)
        common = random.standard_t(4, 17_520) * 0.006
        series = {}
        for name in names:
            returns = common + random.standard_t(4, 17_520) * 0.003
            series[name] = make_series(
                name, np.arange(17_520) * 3_600 + 1_577_836_800, 100 * np.exp(np.cumsum(returns))
            )
        return calibrate(market, series, CalibrationConfig(8 * 3_600, 2 * 3_600))

    return make


@pytest.fixture
def run_plimsoll(anvil: Anvil) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process of its own, on this module's chain unless another endpoint is named."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        if "--rpc" not in words:
            words += ["--rpc", anvil.url]
        return subprocess.run(
            [str(PLIMSOLL), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200", **environment},
        )

    return run


@pytest.fixture
def error_of() -> Callable[[subprocess.CompletedProcess[str]], str]:
    """The one line a failed command prints; fails on anything else, a traceback above all."""

    def find(run: subprocess.CompletedProcess[str]) -> str:
        assert run.returncode == 1, run.stdout + run.stderr
        lines = run.stderr.strip().splitlines()
        assert len(lines) == 1, run.stderr
        assert lines[0].startswith("error: "), run.stderr
        return lines[0]

    return find
