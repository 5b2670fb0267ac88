"""Signed orders (EIP-712): contracts/types/Order.sol, its hash and its signature."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_typing import Hash32
from eth_utils.crypto import keccak

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from plimsoll.chain.abi import Call
    from plimsoll.chain.client import Sender
    from plimsoll.chain.system import System

ORDER_TYPE = (
    "Order(uint64 account,address signer,uint128 instrument,int128 size,uint128 limitPrice,"
    "uint64 expiry,uint64 epoch,uint256 salt)"
)
_TYPES = ["bytes32", "uint64", "address", "uint128", "int128", "uint128", "uint64", "uint64", "uint256"]
_TYPE_HASH = keccak(text=ORDER_TYPE)
_DOMAIN_TYPE_HASH = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
NAME, VERSION = "Plimsoll", "1"
ROOM_FOR_FEE = 500
"""A taker's limit leaves one part in so many of the price for the fee on moving a perpetual's premium (FundingMath)."""


@dataclass(frozen=True, slots=True)
class Order:
    """size: units [wad], positive to buy. limit_price: dollars a unit [wad]. expiry: last second it may be filled."""

    account: int
    signer: str
    instrument: int
    size: int
    limit_price: int
    expiry: int
    epoch: int
    salt: int

    def as_tuple(self) -> tuple[int, str, int, int, int, int, int, int]:
        """As the ABI wants it."""
        return (
            self.account,
            self.signer,
            self.instrument,
            self.size,
            self.limit_price,
            self.expiry,
            self.epoch,
            self.salt,
        )

    def digest(self, chain_id: int, gateway: str) -> bytes:
        """keccak256(0x1901 ‖ domain ‖ struct): what is signed, equal to the order gateway's orderHash."""
        try:
            struct = keccak(encode(_TYPES, (_TYPE_HASH, *self.as_tuple())))
        except EncodingError as fault:
            raise PlimsollError(f"the order cannot be encoded: {str(fault).splitlines()[0]}") from None
        return keccak(b"\x19\x01" + _domain(chain_id, gateway) + struct)


@lru_cache(maxsize=8)
def _domain(chain_id: int, gateway: str) -> bytes:
    return keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [_DOMAIN_TYPE_HASH, keccak(text=NAME), keccak(text=VERSION), chain_id, gateway],
        )
    )


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order and its signature (r ‖ s ‖ v)."""

    order: Order
    signature: bytes
    digest: bytes


def make_order(
    system: System,
    signer: Sender,
    account: int,
    symbol: str,
    size: int,
    limit_price: int,
    *,
    expiry: int,
    epoch: int = 0,
    salt: int | None = None,
) -> SignedOrder:
    """An order on an instrument, signed; `symbol` is ETH-PERP or ETH-27MAR26-3000-P.

    `salt` defaults to a random number, so that the order is unique.
    """
    order = Order(
        account=account,
        signer=signer.address,
        instrument=system.instrument(symbol).id,
        size=size,
        limit_price=limit_price,
        expiry=expiry,
        epoch=epoch,
        salt=secrets.randbits(128) if salt is None else salt,
    )
    return sign_order(system, signer, order)


def sign_order(system: System, signer: Sender, order: Order) -> SignedOrder:
    """Sign an order for the system's order gateway on its chain."""
    digest = order.digest(system.chain.chain_id, system.order_gateway.address)
    signature = signer.signer.unsafe_sign_hash(Hash32(digest))
    return SignedOrder(order, bytes(signature.signature), digest)


def settle_trade(system: System, maker: SignedOrder, taker: SignedOrder, size: int) -> Call:
    """The gateway's call that settles two orders that cross, at the maker's limit price: `size` units [wad] of each."""
    call: Call = system.order_gateway.settleTrade(
        maker.order.as_tuple(), maker.signature, taker.order.as_tuple(), taker.signature, size
    )
    return call


def worst_price(price: int, size: int) -> int:
    """A taker's limit for a trade in a perpetual at `price` that leaves room for the fee on moving the premium.

    Premiums are clamped to half a percent of the index price either way, so the fee is at most an eighth of a percent
    of it. `size`: negative sells [both wad].
    """
    room = price // ROOM_FOR_FEE
    return price + room if size > 0 else price - room
