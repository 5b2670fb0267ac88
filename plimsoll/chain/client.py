"""Talking to a chain: reads in batches, transactions with readable failures.

Reads are repeated when the connection fails, transactions never: whoever sends decides what to do. A key never leaves
the `Sender` that holds it: it is in no message, repr or log.
"""

from __future__ import annotations

import logging
import math
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3

from plimsoll.chain.abi import Call, RevertReason, constructor_data, read_revert
from plimsoll.chain.artifacts import Artifact
from plimsoll.errors import PlimsollError

TIMEOUT = 20.0
"""Seconds a request may take."""
RECEIPT_TIMEOUT = 180.0
"""Seconds a transaction may take to be mined."""
NUDGE_AFTER = 10.0
"""Seconds after which a local chain that mines at once is asked to."""
READ_ATTEMPTS = 3
GAS_MARGIN = (6, 5)
"""Gas limit over the estimate: state may move between the two."""
LOCAL_GAS = 15_000_000
"""Gas limit on a local chain in fast mode, where nothing is estimated."""
BATCH = 400
"""Calls in one HTTP request."""
LOCAL_CHAIN_ID = 31_337
DEV_MNEMONIC = "test test test test test test test test test test test junk"
"""Foundry's, published: its accounts have no value anywhere."""

BlockId = int | str

log = logging.getLogger(__name__)


class RpcError(PlimsollError):
    """The endpoint did not answer, or not sensibly."""


class Reverted(PlimsollError):  # noqa: N818 - it is what happened, and read as such
    """A contract refused a call. `error` is the custom error's name and `arguments` what it said."""

    def __init__(self, what: str, reason: RevertReason) -> None:
        super().__init__(f"{what}: {reason.text}")
        self.error = reason.name
        self.arguments = reason.arguments
        self.reason = reason.text


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. `contract` is the address it created, if any."""

    transaction: str
    block: int
    gas: int
    contract: str | None
    logs: tuple[dict[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Block:
    """Number, unix time and hash."""

    number: int
    timestamp: int
    hash: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: an account whose key is held here, or one the node itself holds (a local chain's own accounts)."""

    address: str
    _account: LocalAccount | None = field(default=None, repr=False, compare=False)
    node_holds_key: bool = False
    """The node signs what is sent, which is faster than signing here."""

    @classmethod
    def dev(cls, index: int) -> Sender:
        """One of the ten well-known accounts of a local chain: the node sends for it, and it can sign orders."""
        Account.enable_unaudited_hdwallet_features()
        account = Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        return cls(account.address, account, node_holds_key=True)

    @classmethod
    def unlocked(cls, address: str) -> Sender:
        """An account whose key the node holds."""
        return cls(to_checksum_address(address), node_holds_key=True)

    @classmethod
    def from_key(cls, key: str, source: str = "the key") -> Sender:
        """An account by its private key, 64 hexadecimal digits. PlimsollError never shows it."""
        text = key.strip()
        try:
            if len(text.removeprefix("0x")) != 64:
                raise ValueError  # noqa: TRY301 - the one message for every bad key is below
            account = Account.from_key(text)
        except Exception:  # noqa: BLE001 - whatever it was, its message might show the key
            raise PlimsollError(f"{source} does not hold a private key: expected 64 hexadecimal digits") from None
        return cls(account.address, account)

    @classmethod
    def from_file(cls, path: Path | str) -> Sender:
        """An account by a file that holds its private key and that only its owner may read."""
        file = Path(path)
        try:
            mode = file.stat().st_mode
            text = file.read_text(encoding="ascii")
        except OSError as fault:
            raise PlimsollError(f"key file {file}: cannot be read ({fault.strerror})") from None
        except UnicodeDecodeError:
            raise PlimsollError(f"key file {file} does not hold a private key: not ASCII text") from None
        if stat.S_IMODE(mode) & 0o077:
            raise PlimsollError(f"key file {file} may be read by others; run: chmod 600 {file}")
        return cls.from_key(text, f"key file {file}")

    @classmethod
    def from_env(cls, variable: str) -> Sender:
        """An account by an environment variable that holds its private key."""
        text = os.environ.get(variable, "")
        if not text.strip():
            raise PlimsollError(f"environment variable {variable} is not set; it should hold the private key")
        return cls.from_key(text, f"environment variable {variable}")

    @property
    def signer(self) -> LocalAccount:
        """The key's account, for signing; PlimsollError where only the node holds the key."""
        if self._account is None:
            raise PlimsollError(f"the key of {self.address} is not here; give it with --key-file or --key-env")
        return self._account


class Chain:
    """One endpoint of one chain. Make it with `Chain.connect`."""

    def __init__(self, url: str, chain_id: int, *, fast: bool, timeout: float) -> None:
        self.url = url
        self.chain_id = chain_id
        self.fast = fast
        """No gas estimation and no waiting between polls: for a local chain that mines each transaction at once."""
        self.base_fee: int | None = None
        """What gas costs in every block, wei, in fast mode; None leaves it to the chain."""
        self.provider = _provider(url, timeout)
        self.web3 = Web3(self.provider)

    @classmethod
    def connect(
        cls, url: str, *, chain_id: int | None = None, fast: bool | None = None, timeout: float = TIMEOUT
    ) -> Chain:
        """Connect and check that it is the chain meant. PlimsollError if it does not answer or is another one.

        `fast` defaults to True on a local development chain.
        """
        chain = cls(url, 0, fast=False, timeout=timeout)
        found = int(chain.rpc("eth_chainId"), 16)
        if chain_id is not None and found != chain_id:
            raise PlimsollError(f"{_shown_url(url)} is chain {found}, not {chain_id}; check the network's endpoint")
        chain.chain_id = found
        chain.fast = found == LOCAL_CHAIN_ID if fast is None else fast
        return chain

    # ─── Reading

    def rpc(self, method: str, *parameters: Any, retry: bool = True) -> Any:
        """One JSON-RPC request. RpcError if there is no good answer."""
        response = self._ask(method, list(parameters), retry=retry)
        if "error" in response:
            raise _fault(method, response["error"])
        return response["result"]

    def batch(self, requests_: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Many read requests at once: the raw responses, in order."""
        responses: list[Any] = []
        for start in range(0, len(requests_), BATCH):
            part = list(requests_[start : start + BATCH])
            answer = self._request(lambda part=part: self.provider.make_batch_request(part), retry=True)
            if not isinstance(answer, list) or len(answer) != len(part) or not all(map(_is_response, answer)):
                raise RpcError(f"{_shown_url(self.url)} does not answer batches of requests; use another endpoint")
            responses += answer
        return responses

    def read(self, call: Call, block: BlockId = "latest", sender: str | None = None) -> Any:
        """The result of a call. Reverted if the contract refuses."""
        result = self.try_read_many([call], block, sender)[0]
        if isinstance(result, Reverted):
            raise result
        return result

    def read_many(self, calls: Sequence[Call], block: BlockId = "latest") -> list[Any]:
        """The results of many calls at one block, in one request. Reverted if any contract refuses."""
        results = self.try_read_many(calls, block)
        for result in results:
            if isinstance(result, Reverted):
                raise result
        return results

    def try_read_many(
        self,
        calls: Sequence[Call],
        block: BlockId = "latest",
        sender: str | None = None,
        codes: Sequence[Mapping[str, bytes]] | None = None,
        time: int | None = None,
    ) -> list[Any]:
        """Like `read_many`, with a `Reverted` in the place of each result that a contract refused.

        `codes`, one mapping a call: {address: runtime code} to imagine there while that call is answered. `time`: unix
        seconds to imagine it is, where the node can (anvil and go-ethereum do).
        """
        at = hex(block) if isinstance(block, int) else block
        extra = {"from": sender} if sender else {}
        requests_ = [("eth_call", [{"to": c.to, "data": "0x" + c.data.hex(), **extra}, at]) for c in calls]
        if codes is not None:
            for (_, parameters), imagined in zip(requests_, codes, strict=True):
                parameters.append({address: {"code": "0x" + code.hex()} for address, code in imagined.items()})
        if time is not None:
            for _, parameters in requests_:
                parameters += [*([] if codes is not None else [{}]), {"time": hex(time)}]
        results = []
        for call, response in zip(calls, self.batch(requests_), strict=True):
            if "error" in response:
                reason = _revert_of(response["error"])
                if reason is None:
                    raise _fault(str(call), response["error"])
                results.append(Reverted(str(call), reason))
                continue
            data = bytes.fromhex(response["result"][2:])
            if not data and call.function.output_types:
                raise PlimsollError(f"{call}: no contract at {call.to}; is this the right chain and manifest?")
            results.append(call.decode(data))
        return results

    def block(self, block: BlockId = "latest") -> Block:
        """A block by number or tag."""
        at = hex(block) if isinstance(block, int) else block
        found = self.rpc("eth_getBlockByNumber", at, False)
        if found is None:
            raise RpcError(f"{_shown_url(self.url)} has no block {block}")
        return Block(int(found["number"], 16), int(found["timestamp"], 16), found["hash"])

    def code(self, address: str) -> bytes:
        """Runtime code at an address; empty if there is none."""
        return bytes.fromhex(self.rpc("eth_getCode", address, "latest")[2:])

    def nonce(self, address: str, block: BlockId = "latest") -> int:
        """How many transactions an account has sent."""
        return int(self.rpc("eth_getTransactionCount", address, hex(block) if isinstance(block, int) else block), 16)

    def find_transaction(self, sender: str, nonce: int, since: int) -> Receipt | None:
        """The mined transaction with that nonce, looked for from block `since`; None if it is in none of them.

        While the node still holds it unmined, waits for it.
        """
        deadline = time.monotonic() + RECEIPT_TIMEOUT
        while self.nonce(sender) <= nonce:
            if self.nonce(sender, "pending") <= nonce:
                return None
            if time.monotonic() > deadline:
                raise RpcError(f"transaction {nonce} of {sender} is still waiting to be mined; run this again later")
            time.sleep(1)
        for number in range(since, self.block().number + 1):
            for transaction in self.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]:
                if int(transaction["nonce"], 16) == nonce and to_checksum_address(transaction["from"]) == sender:
                    return self.wait(transaction["hash"], "an earlier transaction")
        return None

    # ─── Sending

    def send(self, call: Call, sender: Sender) -> Receipt:
        """Send a transaction and wait until it is mined. Reverted, with what the contract said, if it refuses."""
        return self._transact({"to": call.to, "data": "0x" + call.data.hex()}, sender, str(call))

    def deploy(self, artifact: Artifact, arguments: tuple[Any, ...], sender: Sender) -> Receipt:
        """Create a contract and wait until it is mined."""
        data = artifact.bytecode + constructor_data(artifact.abi, arguments).hex()
        return self._transact({"data": data}, sender, artifact.name)

    def _local(self, transaction: dict[str, Any], sender: Sender) -> dict[str, Any]:
        if self.base_fee is not None:  # anvil would let it drift from block to block
            self.rpc("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))
            transaction = {**transaction, "gasPrice": hex(self.base_fee)}
        return {**transaction, "from": sender.address, "gas": hex(LOCAL_GAS)}

    def _transact(self, transaction: dict[str, Any], sender: Sender, what: str) -> Receipt:
        if sender.node_holds_key:
            if self.fast:
                transaction = self._local(transaction, sender)
            else:
                transaction = {**transaction, "from": sender.address, "gas": hex(self._gas(transaction, sender, what))}
            hash_ = self._submit("eth_sendTransaction", transaction, what)
        else:
            gas = LOCAL_GAS if self.fast else self._gas(transaction, sender, what)
            fees = self._fees()
            full: dict[str, Any] = {
                **transaction,
                "chainId": self.chain_id,
                "nonce": self.nonce(sender.address, "pending"),
                "gas": gas,
                "value": 0,
                "type": 2,
                **fees,
            }
            signed = sender.signer.sign_transaction(full)
            hash_ = self._submit("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex().removeprefix("0x"), what)
        log.debug("sent %s as %s", what, hash_)
        return self.wait(hash_, what)

    def _gas(self, transaction: dict[str, Any], sender: Sender, what: str) -> int:
        """Gas limit; estimating also tells what the contract would say, before anything is paid."""
        response = self._ask("eth_estimateGas", [{**transaction, "from": sender.address}], retry=True)
        if "error" in response:
            reason = _revert_of(response["error"])
            raise Reverted(what, reason) if reason is not None else _fault(what, response["error"])
        return int(response["result"], 16) * GAS_MARGIN[0] // GAS_MARGIN[1]

    def _fees(self) -> dict[str, int]:
        """EIP-1559 fees: twice the present base fee leaves room for six full blocks."""
        base = int(self.rpc("eth_getBlockByNumber", "latest", False).get("baseFeePerGas", "0x0"), 16)
        tip = 0 if base == 0 else int(self.rpc("eth_maxPriorityFeePerGas"), 16)
        return {"maxFeePerGas": 2 * base + tip, "maxPriorityFeePerGas": tip}

    def _submit(self, method: str, transaction: Any, what: str) -> str:
        response = self._ask(method, [transaction], retry=False)
        if "error" in response:
            reason = _revert_of(response["error"])
            raise Reverted(what, reason) if reason is not None else _fault(what, response["error"])
        hash_: str = response["result"]
        return hash_

    def wait(self, hash_: str, what: str) -> Receipt:
        """Wait for a transaction. Reverted if it failed; RpcError if it is not mined in time."""
        start = time.monotonic()
        deadline, nudge = start + RECEIPT_TIMEOUT, start + NUDGE_AFTER if self.fast else math.inf
        pause = 0.0 if self.fast else 0.5
        while True:
            raw = self.rpc("eth_getTransactionReceipt", hash_)
            if raw is not None:
                return self._receipt(raw, hash_, what)
            if time.monotonic() > nudge:  # anvil mines at once, yet on a busy machine it may miss one that comes
                self.mine()
                nudge = math.inf
            if time.monotonic() > deadline:
                raise RpcError(f"{what}: transaction {hash_} was not mined within {RECEIPT_TIMEOUT:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5 + 0.002, 3.0)

    def _receipt(self, raw: dict[str, Any], hash_: str, what: str) -> Receipt:
        if int(raw["status"], 16) == 0:
            raise Reverted(what, self._why(raw, hash_))
        created = raw.get("contractAddress")
        return Receipt(
            hash_,
            int(raw["blockNumber"], 16),
            int(raw["gasUsed"], 16),
            to_checksum_address(created) if created else None,
            tuple(raw["logs"]),
        )

    def _why(self, raw: dict[str, Any], hash_: str) -> RevertReason:
        """What a mined transaction reverted with: from its trace, else by making the call again before its block."""
        try:
            trace = self.rpc("debug_traceTransaction", hash_, {"tracer": "callTracer"})
            if trace.get("output"):
                return read_revert(bytes.fromhex(trace["output"][2:]))
            if "gas" in str(trace.get("error", "")).lower():
                return RevertReason("", {}, "ran out of gas")
        except RpcError:
            log.debug("no trace of %s: the node does not give any", hash_)
        sent = self.rpc("eth_getTransactionByHash", hash_)
        request = {key: sent[key] for key in ("from", "to") if sent.get(key)} | {"data": sent["input"]}
        response = self._ask("eth_call", [request, hex(int(raw["blockNumber"], 16) - 1)], retry=True)
        return _revert_of(response.get("error", {})) or RevertReason("", {}, f"transaction {hash_} failed")

    # ─── A local chain's controls

    def set_time(self, timestamp: int) -> None:
        """The next block's unix time (local chains only)."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def mine(self) -> None:
        """Mine a block (local chains only)."""
        self.rpc("evm_mine")

    def dev_accounts(self) -> list[Sender]:
        """The accounts a local chain holds the keys of."""
        return [Sender.unlocked(address) for address in self.rpc("eth_accounts")]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Undo what happens inside (local chains only)."""
        mark = self.rpc("evm_snapshot")
        try:
            yield
        finally:
            self.rpc("evm_revert", mark)
            self.rpc("anvil_dropAllTransactions")  # what was sent inside and not mined must not be mined outside

    # ─── Transport

    def _ask(self, method: str, parameters: list[Any], *, retry: bool) -> dict[str, Any]:
        """One request; a response that has either a result or an error."""
        response = self._request(lambda: self.provider.make_request(method, parameters), retry=retry)
        if not _is_response(response):
            raise RpcError(f"no answer from {_shown_url(self.url)}: it is not a JSON-RPC answer")
        return dict(response)

    def _request(self, attempt: Any, *, retry: bool) -> Any:
        attempts = READ_ATTEMPTS if retry else 1
        for remaining in reversed(range(attempts)):
            try:
                return attempt()
            except (requests.RequestException, OSError, ValueError) as fault:
                if remaining == 0:
                    raise RpcError(f"no answer from {_shown_url(self.url)}: {_cause(fault)}") from None
                time.sleep(0.2 * 2 ** (attempts - 1 - remaining))
        raise AssertionError("unreachable: the last attempt returns or raises")


def _provider(url: str, timeout: float) -> HTTPProvider:
    if not url.startswith(("http://", "https://")):
        raise PlimsollError(f"endpoint {_shown_url(url)} should start with http:// or https://")
    # retries are ours: web3 would repeat some writes too
    return HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)


def _is_response(answer: Any) -> bool:
    return isinstance(answer, dict) and ("result" in answer or "error" in answer)


def _shown_url(url: str) -> str:
    """Scheme and host only: the path of a hosted endpoint is a key."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/')[0].split('@')[-1]}" if rest else url


def _cause(fault: Exception) -> str:
    """A few words, without the address (a hosted endpoint's holds a key)."""
    if isinstance(fault, requests.Timeout):
        return "it took too long"
    if isinstance(fault, requests.ConnectionError):
        return "connection refused; is the node running?"
    if isinstance(fault, requests.HTTPError) and fault.response is not None:
        return f"HTTP status {fault.response.status_code}"
    if isinstance(fault, ValueError):
        return "it is not a JSON-RPC answer"
    return type(fault).__name__


def _fault(what: str, error: Any) -> RpcError:
    message = error.get("message", error) if isinstance(error, dict) else error
    return RpcError(f"{what}: the node says: {str(message).splitlines()[0]}")


def _revert_of(error: Any) -> RevertReason | None:
    """The revert in a JSON-RPC error; None if it is another kind of error."""
    if not isinstance(error, dict):
        return None
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data") or data.get("result")
    if isinstance(data, str) and data.startswith("0x"):
        return read_revert(bytes.fromhex(data[2:]))
    if "revert" in str(error.get("message", "")).lower():
        return read_revert(b"")
    return None
