"""What a user meets at the command line: clear tables, one-line errors, and no key in any output."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.client import Chain, RpcError, Sender
from plimsoll.chain.orders import make_order
from plimsoll.chain.state import read_state
from plimsoll.errors import PlimsollError
from plimsoll.margin.onchain import margin_of, margins_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    ErrorOf = Callable[[CompletedProcess[str]], str]

WAD = 10**18
DEPLOYER, LONG, SHORT = (Sender.dev(index) for index in range(3))
DEAD = "http://127.0.0.1:9"
KEY = "0x" + "4c" * 32
"""Of an account with no role and no coin anywhere."""


@pytest.fixture(scope="module")
def position(house: Any) -> int:
    """An account long one unit at 40,000 on 60,000 dollars."""
    account: int = house.open_account(LONG, 60_000)
    other = house.open_account(SHORT, 60_000)
    house.trade((account, LONG), (other, SHORT), 1.0, 40_000)
    return account


def test_margin_shows_every_component(house: Any, position: int, run_plimsoll: Run) -> None:
    run = run_plimsoll("margin", position, "--manifest", house.manifest)
    assert run.returncode == 0, run.stderr
    margin = margin_of(house.system, position)
    for amount in (margin.equity, margin.initial.total, margin.maintenance.grid, margin.initial.liquidity):
        assert f"{amount / WAD:,.2f}" in run.stdout
    assert "healthy" in run.stdout
    assert "margin call at no move of prices" in run.stdout  # 60,000 dollars carry one unit of 40,000 through anything


def test_margin_of_an_account_that_is_not_there(house: Any, run_plimsoll: Run, error_of: ErrorOf) -> None:
    assert "there is no account 999" in error_of(run_plimsoll("margin", 999, "--manifest", house.manifest))


def test_margins_of_many_are_those_of_each(house: Any, position: int) -> None:
    many = margins_of(house.system, [position, position + 1])
    state = read_state(house.system)
    for account, margin in many.items():
        assert margin == margin_of(house.system, account) == state.accounts[account].margin


def test_order_hash_is_the_contracts(chain: Chain, house: Any) -> None:
    signed = make_order(house.system, LONG, 1, "ETH-PERP", -5 * WAD, 2_500 * WAD, expiry=2**40, epoch=3)
    assert chain.read(house.system.order_gateway.orderHash(signed.order.as_tuple())) == signed.digest


@pytest.mark.parametrize(
    "command",
    [("deploy",), ("margin", "1"), ("keeper", "run", "--account", "1", "--once")],
    ids=["deploy", "margin", "keeper"],
)
def test_a_dead_endpoint_is_one_line(
    house: Any, run_plimsoll: Run, error_of: ErrorOf, command: tuple[str, ...]
) -> None:
    error = error_of(run_plimsoll(*command, "--manifest", house.manifest, "--rpc", DEAD))
    assert "no answer from http://127.0.0.1:9: connection refused; is the node running?" in error


def test_another_chain_is_one_line(
    house: Any, run_plimsoll: Run, error_of: ErrorOf, anvil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_plimsoll("margin", 1, "--network", "sepolia", "--manifest", house.manifest, SEPOLIA_RPC_URL=anvil.url)
    assert "is chain 31337, not 11155111" in error_of(run)


@pytest.mark.parametrize("answer", [b"<html>busy</html>", b"[]", b'{"jsonrpc": "2.0"}', b"\xff\xfe"])
def test_an_endpoint_that_talks_nonsense_is_an_rpc_error(answer: bytes) -> None:
    class Nonsense(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            """Keeps the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(RpcError):
            Chain.connect(f"http://127.0.0.1:{server.server_port}/secret-path", timeout=2)
        server.shutdown()


def test_an_endpoints_path_is_not_shown() -> None:
    with pytest.raises(RpcError) as fault:
        Chain.connect(f"{DEAD}/v3/secret-path")
    assert "secret-path" not in str(fault.value)


@pytest.fixture
def key_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


def test_a_wrong_key_is_refused_and_never_shown(
    house: Any, chain: Chain, tmp_path: Path, key_file: Path, run_plimsoll: Run, error_of: ErrorOf
) -> None:
    chain.rpc("anvil_setBalance", Sender.from_key(KEY).address, hex(10**18))
    for arguments in (("--key-file", key_file), ("--key-env", "PLIMSOLL_TEST_KEY")):
        run = run_plimsoll(
            "keeper", "run", "--account", 1, "--once", "--manifest", house.manifest, *arguments, PLIMSOLL_TEST_KEY=KEY
        )
        error = error_of(run)
        assert f"{Sender.from_key(KEY).address} may not trade for account 1" in error
        assert KEY[2:] not in run.stdout + run.stderr


def test_a_deployment_by_key_never_shows_it(
    chain: Chain, tmp_path: Path, key_file: Path, run_plimsoll: Run, undo: None
) -> None:
    manifest = tmp_path / "manifest.json"
    run = run_plimsoll("deploy", "--key-file", key_file, "--manifest", manifest)
    assert run.returncode == 0, run.stderr
    assert KEY[2:] not in run.stdout + run.stderr + manifest.read_text()
    assert Sender.from_key(KEY).address in manifest.read_text()


@pytest.mark.parametrize("text", ["", "hello", "0x12", "zz" * 32, "4c" * 33])
def test_a_bad_key_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(PlimsollError, match="does not hold a private key") as fault:
        Sender.from_file(path)
    assert not text or text not in str(fault.value)
    assert fault.value.__cause__ is None
    assert fault.value.__suppress_context__


def test_a_key_file_that_others_may_read_is_refused(key_file: Path) -> None:
    key_file.chmod(0o644)
    with pytest.raises(PlimsollError, match=f"chmod 600 {key_file}"):
        Sender.from_file(key_file)


def test_a_key_is_in_no_representation() -> None:
    sender = Sender.from_key(KEY)
    assert KEY[2:] not in repr(sender) + str(sender)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--key-file", "nowhere"), "key file nowhere: cannot be read"),
        (("--key-env", "PLIMSOLL_NOT_SET"), "environment variable PLIMSOLL_NOT_SET is not set"),
        (("--key-env", "A", "--key-file", "b"), "either --key-file or --key-env"),
        (("--network", "nowhere"), "unknown network 'nowhere'"),
        (("--profile", "nowhere"), "unknown profile 'nowhere'"),
        (("--market", "nowhere"), "not 'nowhere'"),
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
    ],
)
def test_deploy_says_what_is_wrong(
    run_plimsoll: Run, error_of: ErrorOf, arguments: tuple[str, ...], message: str
) -> None:
    assert message in error_of(run_plimsoll("deploy", *arguments))


def test_a_network_that_is_not_local_needs_a_key(run_plimsoll: Run, error_of: ErrorOf) -> None:
    assert "needs a key" in error_of(run_plimsoll("deploy", "--network", "sepolia"))


def test_a_missing_deployment_says_how_to_get_one(tmp_path: Path, run_plimsoll: Run, error_of: ErrorOf) -> None:
    run = run_plimsoll("margin", 1, "--manifest", tmp_path / "none.json")
    assert "run `plimsoll deploy` first" in error_of(run)


def test_transactions_by_key_estimate_gas_and_explain_refusals(chain: Chain, house: Any) -> None:
    slow = Chain.connect(chain.url, fast=False)
    stranger = Sender.from_key("0x" + os.urandom(32).hex())
    receipt = slow.send(house.system.clearing_house.createAccount(), stranger)
    assert receipt.gas < 200_000
    account = slow.read(house.system.clearing_house.accountCount())
    withdraw = house.system.clearing_house.withdraw(account, 0, 5, stranger.address)
    with pytest.raises(PlimsollError, match=r"ClearingHouse\.withdraw: ClearingHouseInsufficientCollateral\(account="):
        slow.send(withdraw, stranger)
