"""Documents for others to send, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.governance.payloads import safe_checksum, write_document

# A batch of one approval, with the checksum that Safe's own Transaction Builder gave it, as published in the format's
# description by 5afe/safe-cli-nodejs.
PUBLISHED: dict[str, Any] = {
    "version": "1.0",
    "chainId": "1",
    "createdAt": 1761326849944,
    "meta": {
        "name": "Transactions Batch",
        "description": "",
        "txBuilderVersion": "1.18.2",
        "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        "createdFromOwnerAddress": "",
        "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989",
    },
    "transactions": [
        {
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [
                    {"internalType": "address", "name": "spender", "type": "address"},
                    {"internalType": "uint256", "name": "value", "type": "uint256"},
                ],
                "name": "approve",
                "payable": False,
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000",
            },
        }
    ],
}


def test_safe_checksum_is_that_of_the_transaction_builder() -> None:
    assert safe_checksum(PUBLISHED) == PUBLISHED["meta"]["checksum"]
    changed = {**PUBLISHED, "chainId": "10"}
    assert safe_checksum(changed) != PUBLISHED["meta"]["checksum"]


def test_write_document_is_the_same_every_time(tmp_path: Path) -> None:
    write_document(tmp_path / "a.json", PUBLISHED)
    write_document(tmp_path / "b.json", json.loads((tmp_path / "a.json").read_text()))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_write_document_says_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match=r"none/a\.json: cannot be written"):
        write_document(tmp_path / "none" / "a.json", PUBLISHED)
