"""Manifests: written whole, read strictly."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from plimsoll.chain.manifest import AssetEntry, Done, Manifest, Pending, plain
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        chain_id=31_337,
        genesis="0x" + "1" * 64,
        profile="crypto",
        market="2021-05",
        deployer=ADDRESS,
        begun=1_700_000_000,
        compiler={"version": "0.8.30"},
        parameters=[],
        steps={"token": Done("TestToken", "", ADDRESS, ["USD", 6], 1, "0x2", "0x3", "0x4")},
        pending=Pending("next", 1, 1),
        assets={"USD": AssetEntry(0, ADDRESS, 6, "", is_test_token=True)},
    )


def test_save_and_load_give_the_same_manifest(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "deployments" / "31337.json"
    manifest.save(path)
    assert Manifest.load(path) == manifest
    assert [file.name for file in path.parent.iterdir()] == ["31337.json"]  # no partial file left


def test_save_leaves_the_old_manifest_where_it_cannot_write(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "31337.json"
    manifest.save(path)
    path.with_name(f".{path.name}.{os.getpid()}").mkdir()  # stands in the way of the partial file
    with pytest.raises(PlimsollError, match="cannot be written"):
        replace(manifest, complete=True).save(path)
    assert Manifest.load(path) == manifest


def test_with_step_clears_what_was_pending(manifest: Manifest) -> None:
    done = manifest.steps["token"]
    assert manifest.with_step("next", done).pending is None
    assert list(manifest.with_step("next", done).steps) == ["token", "next"]


def edit(raw: dict[str, Any], *path: str, value: Any) -> None:
    for key in path[:-1]:
        raw = raw[key]
    raw[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("schema",), "plimsoll.deployment/2", "its schema is 'plimsoll.deployment/2', this version reads"),
        (("chain_id",), "31337", "Manifest.chain_id is not int"),
        (("deployer",), "0x12", "not a checksummed address"),
        (("steps", "token", "address"), ADDRESS.lower(), "not a checksummed address"),
        (("steps", "token", "extra"), 1, "Done.extra is missing or unknown"),
        (("steps",), [], "Manifest.steps is not dict"),
        (("pending", "nonce"), None, "Pending.nonce is not int"),
        (("assets", "USD"), 5, "AssetEntry is not a table"),
    ],
)
def test_load_refuses_a_damaged_manifest(
    tmp_path: Path, manifest: Manifest, path: tuple[str, ...], value: Any, problem: str
) -> None:
    file = tmp_path / "31337.json"
    manifest.save(file)
    raw = json.loads(file.read_text())
    edit(raw, *path, value=value)
    file.write_text(json.dumps(raw))
    with pytest.raises(PlimsollError, match=problem):
        Manifest.load(file)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00\x01", '{"schema": "plimsoll.deployment/3"}'])
def test_load_refuses_what_is_no_manifest(tmp_path: Path, content: str) -> None:
    file = tmp_path / "31337.json"
    file.write_text(content)
    with pytest.raises(PlimsollError, match="is not a deployment manifest") as fault:
        Manifest.load(file)
    assert "\n" not in str(fault.value)


def test_load_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(PlimsollError, match="run `plimsoll deploy` first"):
        Manifest.load(tmp_path / "1.json")


def test_plain_keeps_large_integers_exact() -> None:
    assert plain((b"\x01\xff", 10**18, 5, True, ("a",))) == ["0x01ff", "1000000000000000000", 5, True, ["a"]]
