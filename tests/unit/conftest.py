"""Tests on real price files run where PLIMSOLL_DATA names their folder; elsewhere a line says so. And what several
modules here ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from plimsoll.chain.abi import Contract
from plimsoll.chain.anvil import Anvil
from plimsoll.chain.artifacts import load
from plimsoll.chain.client import Chain, Sender

CALL_GAS = 10**11
"""Enough for thousands of values in one call."""

_left_out = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("PLIMSOLL_DATA"):
        return
    left_out = [item for item in items if item.get_closest_marker("data")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        config.stash[_left_out] = len(left_out)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    count = config.stash.get(_left_out, 0)
    return [f"{count} tests left out: they need real price files (PLIMSOLL_DATA)"] if count else []


@pytest.fixture(scope="session")
def ask() -> Iterator[Callable[..., Any]]:
    """`ask(function, *arguments)`: what MathHarness answers on a chain of its own; a refusal is a PlimsollError."""
    deployer = Sender.dev(0)
    with Anvil(gas_limit=CALL_GAS) as node:
        chain = Chain.connect(node.url)
        table = chain.deploy(load("NormalTable"), (), deployer).contract
        harness = load("MathHarness")
        address = chain.deploy(harness, (table,), deployer).contract
        contract = Contract("MathHarness", str(address), harness.abi)
        yield lambda function, *arguments: chain.read(contract.call(function, *arguments))


@pytest.fixture
def require_balanced() -> Callable[[str], None]:
    """Fails for a page whose elements are not closed in order."""

    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
            if tag not in {"meta", "rect", "line", "path"}:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in {"meta", "rect", "line", "path"}:
                assert self.open.pop() == tag

    def require(page: str) -> None:
        parser = Balance()
        parser.feed(page)
        assert parser.open == []

    return require
