"""What goes wrong around a house: one line that says what and where, an exit status of 1, and nothing is lost.

Beside what test_cli.py (keys, endpoints), test_push.py (reports) and test_deploy.py (faults inside one process) show.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plimsoll.calibration import CalibrationConfig, Report, calibrate
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Reverted, Sender
from plimsoll.chain.deploy import deploy
from plimsoll.chain.manifest import Manifest
from plimsoll.chain.orders import SignedOrder, make_order, settle_trade, sign_order
from plimsoll.chain.plan import make_plan
from plimsoll.chain.state import read_state
from plimsoll.chain.system import CASH, System
from plimsoll.config import Config, Profile
from plimsoll.errors import PlimsollError
from plimsoll.market.series import make_series

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    ErrorOf = Callable[[CompletedProcess[str]], str]

WAD = 10**18
PLIMSOLL = Path(sys.executable).with_name("plimsoll")
DEPLOYER, KEEPER, LONG, SHORT, STRANGER = (Sender.dev(index) for index in range(5))


@pytest.fixture
def accounts(house: Any, undo: None) -> tuple[int, int]:
    """One long a bitcoin at 40,000 on 60,000 dollars, and who sold it."""
    made: tuple[int, int] = (house.open_account(LONG, 60_000), house.open_account(SHORT, 60_000))
    house.trade((made[0], LONG), (made[1], SHORT), 1.0, 40_000)
    return made


def books(system: System) -> Any:
    """Everybody's money, positions and collateral, the fund and the parameters: what bad input must not touch."""
    state = read_state(system)
    ledgers = {
        a.id: (a.owner, a.nonce, a.epoch, a.cash, a.positions, a.collateral, a.auction) for a in state.accounts.values()
    }
    return ledgers, state.assets, state.parameters, state.bundles, state.fees, state.fund_assets, state.fund_shares


def sent(chain: Chain) -> list[int]:
    """How many transactions each account of the chain has sent."""
    return [chain.nonce(sender.address) for sender in chain.dev_accounts()]


# ─── Feeds


def stop(chain: Chain, house: Any) -> None:
    chain.set_time(chain.block().timestamp + 2 * 3_600 + 1)
    chain.mine()


def answer(value: int) -> Callable[[Chain, Any], None]:
    def push(chain: Chain, house: Any) -> None:
        chain.send(house.system.price_feeds["BTC"].push(value), DEPLOYER)

    return push


def vanish(chain: Chain, house: Any) -> None:
    chain.rpc("anvil_setCode", house.system.price_feeds["BTC"].address, "0x")


FEED_FAULTS = [
    pytest.param(stop, "PriceOracleStale(feed=", id="stale"),
    pytest.param(answer(0), "PriceOracleNotPositive(feed=", id="zero"),
    pytest.param(answer(-40_000 * 10**8), "PriceOracleNotPositive(feed=", id="negative"),
    pytest.param(answer(10**18), "PriceOracleOutOfBounds(feed=", id="absurd"),
    pytest.param(vanish, "PriceOracleUnreachable(feed=", id="missing"),
]


@pytest.mark.parametrize(("fault", "message"), FEED_FAULTS)
def test_badFeed_isNamedAndMovesNothing(
    chain: Chain,
    house: Any,
    accounts: tuple[int, int],
    run_plimsoll: Run,
    error_of: ErrorOf,
    fault: Callable[[Chain, Any], None],
    message: str,
) -> None:
    """ORACLE: no margin, withdrawal, trade or liquidation; the feed is named; with a good answer all is back."""
    long, _ = accounts
    system, before = house.system, books(house.system)
    fault(chain, house)
    error = error_of(run_plimsoll("margin", long, "--manifest", house.manifest))
    assert message in error
    assert system.price_feeds["BTC"].address in error  # whose answer it is
    name = message.partition("(")[0]
    for call, sender in (
        (system.clearing_house.withdraw(long, CASH, 1, LONG.address), LONG),
        (system.clearing_house.settleVariation(long), STRANGER),
        (system.liquidation_engine.flag(long, accounts[1]), STRANGER),
    ):
        with pytest.raises(Reverted) as refusal:
            chain.send(call, sender)
        assert refusal.value.error == name
        assert "\n" not in str(refusal.value)
    with pytest.raises(Reverted, match=name):
        house.trade((long, LONG), (accounts[1], SHORT), 0.1, 40_000)
    assert books(system) == before
    if fault is not vanish:
        chain.send(system.price_feeds["BTC"].push(40_000 * 10**8), DEPLOYER)
        chain.send(system.volatility_feeds["BTC"].push(6 * 10**7), DEPLOYER)
        chain.send(system.clearing_house.withdraw(long, CASH, 1, LONG.address), LONG)


def test_badFeed_leavesTheKeeperRunning(chain: Chain, house: Any, accounts: tuple[int, int], run_plimsoll: Run) -> None:
    """A keeper that cannot know a price does nothing with it, and goes on."""
    own = house.open_account(KEEPER, 10_000)
    before = books(house.system)
    chain.send(house.system.price_feeds["BTC"].push(0), DEPLOYER)
    key = {"KEEPER_KEY": KEEPER.signer.key.hex()}
    run = run_plimsoll(
        "keeper", "run", "--account", own, "--once", "--manifest", house.manifest, "--key-env", "KEEPER_KEY", **key
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert books(house.system) == before


# ─── Deployments


@pytest.fixture
def foreign_token(chain: Chain, undo: None) -> str:
    """A dollar token that somebody else deployed, with 6 decimals."""
    receipt = chain.deploy(load("TestToken"), ("Somebody's dollar", "USD", 6), STRANGER)
    assert receipt.contract is not None
    return receipt.contract


def test_deploy_refusesATokenOfOtherDecimalsThanConfigured(
    chain: Chain, profile: Profile, foreign_token: str, tmp_path: Path, run_plimsoll: Run, error_of: ErrorOf
) -> None:
    """Or every amount, cap and margin in it would be wrong by a power of ten."""
    config = tmp_path / "plimsoll.toml"
    text = (Path(__file__).parents[2] / "plimsoll.toml").read_text()
    cash = 'cash = { name = "USD", token = "test", decimals = 6, cap = 1_000_000_000 }'
    config.write_text(text.replace(cash, cash.replace('"test"', f'"{foreign_token}"').replace("= 6", "= 8")))
    before, manifest = sent(chain), tmp_path / "manifest.json"
    error = error_of(run_plimsoll("deploy", "--config", config, "--manifest", manifest))
    assert f"USD: the token at {foreign_token} has 6 decimals, not 8; correct its decimals" in error
    assert sent(chain) == before
    assert not manifest.exists()
    right = replace(profile, cash=replace(profile.cash, token=foreign_token))
    assert deploy(chain, right, DEPLOYER, manifest).assets["USD"].token == foreign_token


def test_deploy_refusesATokenThatIsNoContract(chain: Chain, profile: Profile, tmp_path: Path, undo: None) -> None:
    wrong = replace(profile, cash=replace(profile.cash, token=STRANGER.address))
    before = sent(chain)
    with pytest.raises(PlimsollError, match=f"USD: there is no contract at {STRANGER.address}"):
        deploy(chain, wrong, DEPLOYER, tmp_path / "manifest.json")
    assert sent(chain) == before


class Deployment:
    """`plimsoll deploy` in a process of its own, to be killed."""

    def __init__(self, url: str, manifest: Path) -> None:
        self.process = subprocess.Popen(
            [str(PLIMSOLL), "deploy", "--rpc", url, "--manifest", str(manifest)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        )

    def reach(self, step: int) -> None:
        """Read on until it says that it begins a step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip().startswith(f"{step}/"):
                return
        raise AssertionError(f"the deployment ended before step {step}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)


def wait_for_a_waiting_transaction(chain: Chain) -> None:
    deadline = time.monotonic() + 20
    while int(chain.rpc("txpool_status")["pending"], 16) == 0:
        assert time.monotonic() < deadline, "no transaction was sent"
        time.sleep(0.01)


def test_deploy_killedAgainAndAgainFinishesWithEveryStepOnce(
    chain: Chain, anvil: Any, profile: Profile, tmp_path: Path, undo: None, run_plimsoll: Run, error_of: ErrorOf
) -> None:
    """Killed between steps; with a transaction sent that is mined afterwards; and with one that never is."""
    manifest, start = tmp_path / "manifest.json", chain.nonce(DEPLOYER.address)

    first = Deployment(anvil.url, manifest)
    first.reach(12)
    first.kill()
    assert "stopped halfway" in error_of(run_plimsoll("margin", 1, "--manifest", manifest))

    for step, fate in ((30, "mined"), (50, "dropped")):
        again = Deployment(anvil.url, manifest)
        again.reach(step)
        chain.rpc("evm_setAutomine", False)
        wait_for_a_waiting_transaction(chain)
        again.kill()
        half = Manifest.load(manifest)
        assert half.pending is not None
        if fate == "mined":
            chain.mine()
        else:
            chain.rpc("anvil_dropAllTransactions")
        chain.rpc("evm_setAutomine", True)

    last = run_plimsoll("deploy", "--manifest", manifest)
    assert last.returncode == 0, last.stderr
    done = Manifest.load(manifest)
    steps = make_plan(profile, DEPLOYER.address, done.begun).steps
    assert done.complete
    assert list(done.steps) == [step.id for step in steps]
    assert chain.nonce(DEPLOYER.address) - start == len(steps)  # nothing was done twice
    assert len({step.transaction for step in done.steps.values()}) == len(steps)
    house = System.load(chain, done)
    assert chain.read(house.clearing_house.insuranceFund()) == house.insurance_fund.address


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda text: text[: len(text) // 2], "is not a deployment manifest", id="cut off"),
        pytest.param(lambda _: "", "is not a deployment manifest", id="empty"),
        pytest.param(
            lambda text: text.replace("plimsoll.deployment/3", "plimsoll.deployment/0"), "schema", id="schema"
        ),
        pytest.param(lambda text: text.replace('"chain_id": 31337', '"chain_id": "31337"'), "chain_id", id="type"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "extra": 1}), "extra", id="unknown key"),
        pytest.param(
            lambda text: text.replace('"complete": true', '"complete": false'), "stopped halfway", id="halfway"
        ),
    ],
)
def test_margin_refusesACorruptManifest(
    chain: Chain,
    house: Any,
    tmp_path: Path,
    run_plimsoll: Run,
    error_of: ErrorOf,
    damage: Callable[[str], str],
    message: str,
) -> None:
    path, before = tmp_path / "manifest.json", sent(chain)
    path.write_text(damage(house.manifest.read_text()))
    error = error_of(run_plimsoll("margin", 1, "--manifest", path))
    assert message in error
    assert "deploy" in error  # what to do
    assert sent(chain) == before


# ─── Orders


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ("forged", "OrderGatewayBadSignature"),
        ("altered", "OrderGatewayBadSignature"),
        ("of a stranger", "OrderGatewaySignerNotAuthorised"),
        ("expired", "OrderGatewayExpired"),
        ("cancelled", "OrderGatewayCancelled"),
        ("of another epoch", "OrderGatewayCancelled"),
        ("for another chain", "OrderGatewayBadSignature"),
        ("replayed", "OrderGatewayOverfilled"),
        ("overfilled", "OrderGatewayOverfilled"),
    ],
)
def test_settleTrade_refusesABadOrder(
    chain: Chain, house: Any, accounts: tuple[int, int], spoil: str, expected: str
) -> None:
    system, gateway = house.system, house.system.order_gateway
    expiry = chain.block().timestamp + 1_000
    good = make_order(system, LONG, accounts[0], "BTC-PERP", WAD, 40_000 * WAD, expiry=expiry)
    other = make_order(system, SHORT, accounts[1], "BTC-PERP", -WAD, 40_000 * WAD, expiry=expiry + 10_000)
    taker, size = good, WAD // 2
    match spoil:
        case "forged":
            taker = SignedOrder(good.order, sign_order(system, STRANGER, good.order).signature, good.digest)
        case "altered":
            taker = SignedOrder(replace(good.order, size=2 * WAD), good.signature, good.digest)
        case "of a stranger":
            taker = make_order(system, STRANGER, accounts[0], "BTC-PERP", WAD, 40_000 * WAD, expiry=expiry)
        case "expired":
            chain.set_time(expiry + 1)
        case "cancelled":
            chain.send(gateway.cancelOrder(good.order.as_tuple()), LONG)
        case "of another epoch":
            taker = make_order(system, LONG, accounts[0], "BTC-PERP", WAD, 40_000 * WAD, expiry=expiry, epoch=7)
        case "for another chain":
            digest = good.order.digest(1, gateway.address)
            signature = LONG.signer.unsafe_sign_hash(digest).signature  # type: ignore[arg-type]
            taker = SignedOrder(good.order, bytes(signature), digest)
        case "replayed":
            size = WAD
            chain.send(settle_trade(system, other, taker, size), STRANGER)
            other = make_order(system, SHORT, accounts[1], "BTC-PERP", -WAD, 40_000 * WAD, expiry=expiry)
        case "overfilled":
            size = WAD + 1
    before = books(system)
    with pytest.raises(Reverted) as refusal:
        chain.send(settle_trade(system, other, taker, size), STRANGER)
    assert refusal.value.error == expected
    assert str(refusal.value).startswith(f"OrderGateway.settleTrade: {expected}(order=0x")
    assert "\n" not in str(refusal.value)
    assert books(system) == before


# ─── Reports


@cache
def report_of(market: str = "2020-03", names: tuple[str, ...] = ("BTC", "ETH")) -> Report:
    """A real calibration, of a year of made-up hourly prices."""
    random = np.random.default_rng(3)
    common = random.standard_t(4, 8_760) * 0.006
    series = {}
    for name in names:
        closes = 100 * np.exp(np.cumsum(common + random.standard_t(4, 8_760) * 0.003))
        series[name] = make_series(name, np.arange(8_760) * 3_600 + 1_577_836_800, closes)
    return calibrate(market, series, CalibrationConfig(8 * 3_600, 2 * 3_600))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            {"market": "2022-11"}, "report is for market 2022-11; this house accepts reports for", id="market"
        ),
        pytest.param({"names": ("BTC", "SOL")}, "report is of BTC, SOL; this house trades BTC, ETH", id="assets"),
        pytest.param("cut", "report.json", id="cut off"),
        pytest.param("edited", "report.json", id="edited"),
        pytest.param("binary", "report.json", id="binary"),
        pytest.param("missing", "report.json", id="missing"),
    ],
)
def test_push_refusesAWrongReport(
    chain: Chain, house: Any, tmp_path: Path, run_plimsoll: Run, error_of: ErrorOf, spoil: Any, message: str
) -> None:
    path = tmp_path / "report.json"
    report_of(**(spoil if isinstance(spoil, dict) else {})).save(path)
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif spoil == "edited":
        path.write_text(path.read_text().replace('"coverage":', '"coverage": ', 1).replace("0.", "0.1", 1))
    elif spoil == "binary":
        path.write_bytes(b"\xff\xfe" * 100)
    elif spoil == "missing":
        path.unlink()
    before, numbers = sent(chain), books(house.system)
    assert message in error_of(run_plimsoll("push", path, "--manifest", house.manifest, "--yes"))
    assert (sent(chain), books(house.system)) == (before, numbers)


def test_push_byAWrongKeyChangesNothing(
    chain: Chain, house: Any, tmp_path: Path, run_plimsoll: Run, error_of: ErrorOf
) -> None:
    """A key that is no calibrator's: the contract's word for it, the numbers as they were, and the key nowhere."""
    key = STRANGER.signer.key.hex().removeprefix("0x")
    numbers, path = books(house.system), tmp_path / "report.json"
    report_of().save(path)
    run = run_plimsoll("push", path, "--manifest", house.manifest, "--yes", "--key-env", "WRONG_KEY", WRONG_KEY=key)
    assert f"AccessManagedUnauthorized(caller={STRANGER.address})" in error_of(run)
    assert key not in run.stdout + run.stderr
    assert books(house.system) == numbers


# ─── Configuration


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[networks.local]", "[networks.local", "not valid TOML"),
        ('calibrator = "deployer"', 'calibrator = "me"', 'calibrator: expected an address "0x…" or "deployer"'),
        ("guardian = ", "gaurdian = ", "guardian: missing"),
        ("decimals = 6", "decimals = 19", "19 is outside 0 to 18"),
        ('heartbeat = "2h"', 'heartbeat = "2 hours"', "expected a duration"),
        ("tail_initial = 4.0", "tail_initial = 0.4", "tail_initial: 0.4 is outside its bounds"),
    ],
)
def test_deploy_namesTheKeyOfAMistake(
    chain: Chain, tmp_path: Path, run_plimsoll: Run, error_of: ErrorOf, old: str, new: str, message: str
) -> None:
    path = tmp_path / "plimsoll.toml"
    text = Config.load().path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    before = sent(chain)
    error = error_of(run_plimsoll("deploy", "--config", path, "--manifest", tmp_path / "manifest.json"))
    assert message in error
    assert sent(chain) == before
    assert not (tmp_path / "manifest.json").exists()
