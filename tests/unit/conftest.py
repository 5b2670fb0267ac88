"""Tests on real price files run where PLIMSOLL_DATA names their folder; elsewhere a line says so."""

from __future__ import annotations

import os

import pytest

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
