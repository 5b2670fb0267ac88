"""Order digests against eth_account's own EIP-712, and signatures against recovery."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from plimsoll.chain.client import Sender
from plimsoll.chain.instruments import Instrument
from plimsoll.chain.orders import ORDER_TYPE, Order, worst_price
from plimsoll.errors import PlimsollError

GATEWAY = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
CHAIN = 31_337


@pytest.fixture
def order() -> Order:
    return Order(3, Sender.dev(1).address, Instrument.perpetual(2).id, -5 * 10**17, 2_500 * 10**18, 2**40, 1, 99)


def test_digest_equals_the_reference(order: Order) -> None:
    members = [member.split(" ") for member in ORDER_TYPE.removeprefix("Order(").removesuffix(")").split(",")]
    message = dict(zip((name for _, name in members), order.as_tuple(), strict=True))
    typed = encode_typed_data(
        {"name": "Plimsoll", "version": "1", "chainId": CHAIN, "verifyingContract": GATEWAY},
        {"Order": [{"name": name, "type": kind} for kind, name in members]},
        message,
    )
    assert order.digest(CHAIN, GATEWAY) == keccak(b"\x19" + typed.version + typed.header + typed.body)


def test_digest_depends_on_everything(order: Order) -> None:
    digests = {order.digest(CHAIN, GATEWAY), order.digest(1, GATEWAY), order.digest(CHAIN, order.signer)}
    for field in fields(Order):
        value = Sender.dev(2).address if field.name == "signer" else getattr(order, field.name) + 1
        digests.add(replace(order, **{field.name: value}).digest(CHAIN, GATEWAY))
    assert len(digests) == 3 + len(fields(Order))


def test_signature_recovers_the_signer(order: Order) -> None:
    digest = order.digest(CHAIN, GATEWAY)
    signature = Sender.dev(1).signer.unsafe_sign_hash(digest).signature
    assert Account._recover_hash(digest, signature=signature) == order.signer


@pytest.mark.parametrize("change", [{"size": 2**127}, {"limit_price": -1}, {"signer": "0x12"}, {"expiry": 2**64}])
def test_digest_refuses_what_the_contract_cannot_hold(order: Order, change: dict[str, int]) -> None:
    with pytest.raises(PlimsollError, match="cannot be encoded"):
        replace(order, **change).digest(CHAIN, GATEWAY)


@pytest.mark.parametrize("size", [1, -1])
def test_worst_price_leaves_room_for_the_highest_fee(size: int) -> None:
    """From a mean at one end of the clamp to a trade at the other: 1% of the index price, an hour of eight."""
    index = 40_000 * 10**18
    price = index + size * index // 200
    fee = (index // 100) // 8
    assert size * (worst_price(price, size) - price) >= fee
    assert abs(worst_price(price, size) - price) < index // 400
