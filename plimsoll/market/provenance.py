"""What data was used: rows, first, last and a hash of the content, whatever file format or order it came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from eth_utils.crypto import keccak

from plimsoll.market.series import Series, combined_hash, data_hash

if TYPE_CHECKING:
    from plimsoll.market.chains import Chain
    from plimsoll.market.depth import Depth


def describe(data: Series | Depth | Sequence[Chain]) -> dict[str, object]:
    """{rows, first, last, hash} of a series (and its bar_seconds), a book over time, or chains in order of time."""
    if isinstance(data, Series):
        return {
            "rows": len(data),
            "first": int(data.ts[0]),
            "last": int(data.ts[-1]),
            "bar_seconds": data.bar_seconds,
            "hash": data_hash(data),
        }
    if isinstance(data, Sequence):
        hashes = {str(chain.ts): _arrays_hash(chain) for chain in data}
        rows = sum(len(chain.strike) for chain in data)
        return {"rows": rows, "first": data[0].ts, "last": data[-1].ts, "hash": combined_hash(hashes)}
    return {
        "rows": len(data.ts),
        "first": int(data.ts[0]),
        "last": int(data.ts[-1]),
        "hash": _arrays_hash(data),
    }


def _arrays_hash(data: Chain | Depth) -> str:
    """keccak256 (0x-hex) of every field's name and value, arrays little-endian, in the order of the class."""
    parts = []
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            content = value.astype(value.dtype.newbyteorder("<")).tobytes()
        else:
            content = str(value).encode()
        parts.append(f"{field.name}\n{len(content)}\n".encode() + content)
    return "0x" + keccak(b"".join(parts)).hex()
