"""The calibration report: a canonical JSON document whose keccak256 goes on-chain with the parameters it justifies.

The same report always has the same bytes: keys sorted, floats at 12 significant digits, one trailing newline. A file
is untrusted: `Report.load` accepts only a complete, canonical, consistent one.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from eth_utils.crypto import keccak

from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Series, combined_hash, data_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = "plimsoll.calibration/1"

_LARGEST_FILE = 4_000_000  # bytes; a report of a hundred assets is a tenth of it
_HASH = re.compile(r"0x[0-9a-f]{64}")


def significant(value: float) -> float:
    """Rounded to 12 significant digits: beyond them machines may differ."""
    return float(f"{value:.12g}")


def report_hash(document: bytes) -> str:
    """keccak256 of a report's bytes, 0x-hex: its name on-chain."""
    return "0x" + keccak(document).hex()


@dataclass(frozen=True, slots=True)
class AssetParameters:
    """Fitted shape of one asset. Volatilities are annualised decimals, volume US dollars a day or None."""

    tail_initial: float
    tail_maintenance: float
    volatility_stress: float
    volatility_floor: float
    volatility_cap: float
    average_daily_volume: float | None


@dataclass(frozen=True, slots=True)
class CorrelationRange:
    """Low and high stress correlation of two assets, named in alphabetical order."""

    pair: tuple[str, str]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Report:
    """A calibration: what was fitted, to which data, by which code, and why one may believe it.

    as_of: unix seconds. coverage: the lowest fraction, over assets and horizons, of out-of-sample returns inside the
    range.
    """

    market: str
    as_of: int
    model_version: int
    code_version: str
    data: dict[str, object]
    configuration: dict[str, object]
    assets: dict[str, AssetParameters]
    correlation: tuple[CorrelationRange, ...]
    evidence: dict[str, object]
    coverage: float

    def to_json(self) -> dict[str, object]:
        """The document as plain values."""
        return {
            "schema": SCHEMA,
            "market": self.market,
            "as_of": self.as_of,
            "model_version": self.model_version,
            "code_version": self.code_version,
            "data": self.data,
            "configuration": self.configuration,
            "parameters": {
                "assets": {name: asdict(parameters) for name, parameters in self.assets.items()},
                "correlation": [{"pair": list(c.pair), "low": c.low, "high": c.high} for c in self.correlation],
            },
            "evidence": self.evidence,
            "coverage": self.coverage,
        }

    def to_bytes(self) -> bytes:
        """The canonical document."""
        return (json.dumps(self.to_json(), sort_keys=True, indent=1, allow_nan=False) + "\n").encode()

    @property
    def hash(self) -> str:
        """`report_hash` of the canonical document."""
        return report_hash(self.to_bytes())

    @property
    def data_hash(self) -> str:
        """The hash (0x-hex) of the data this was fitted to."""
        return str(self.data["hash"])

    def save(self, path: Path | str) -> None:
        """Write the canonical document, whole or not at all. Raises PlimsollError if the path cannot be written."""
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(self.to_bytes())
            partial.replace(path)
        except OSError as fault:
            raise PlimsollError(f"{path}: cannot be written ({fault.strerror}); choose another place") from fault

    def require_data(self, assets: dict[str, Series]) -> None:
        """Raise PlimsollError unless this report was fitted to exactly these series."""
        actual = combined_hash({name: data_hash(series) for name, series in assets.items()}) if assets else "none"
        if actual != self.data_hash:
            raise PlimsollError(
                f"the report of {self.market} was fitted to another data set ({self.data_hash[:18]}…, "
                f"not {actual[:18]}…); calibrate again on this data"
            )

    @classmethod
    def load(cls, path: Path | str, expected_hash: str | None = None) -> Report:
        """Read a report from an untrusted file; `expected_hash` is the keccak256 (0x-hex) its bytes must have."""
        path = Path(path)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise PlimsollError(f"{path}: is too large for a report; give the file that plimsoll calibrate wrote")
            document = path.read_bytes()
        except OSError as fault:
            raise PlimsollError(f"{path}: cannot be read ({fault.strerror}); check the path") from fault
        return cls.from_bytes(document, str(path), expected_hash)

    @classmethod
    def from_bytes(cls, document: bytes, where: str = "report", expected_hash: str | None = None) -> Report:
        """Parse and check a document; `where` names it in messages. Raises PlimsollError for the first fault."""
        if expected_hash is not None and report_hash(document) != expected_hash.lower():
            raise PlimsollError(
                f"{where}: its hash is {report_hash(document)}, not {expected_hash}; get the right report"
            )
        try:
            raw = json.loads(document, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as fault:
            raise PlimsollError(f"{where}: is not a JSON report ({fault}); run plimsoll calibrate") from fault
        report = _Reader(where).report(raw)
        if report.to_bytes() != document:
            raise PlimsollError(
                f"{where}: is not as plimsoll calibrate wrote it (edited?); run plimsoll calibrate again"
            )
        return report


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


class _Reader:
    """Turns untrusted JSON values into a Report. Every complaint starts with the file and the path of the value."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fault(self, what: str) -> PlimsollError:
        return PlimsollError(f"{self.where}: {what}; give a report that plimsoll calibrate wrote")

    def mapping(self, value: object, at: str, keys: Iterable[str] | None = None) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self.fault(f"{at} is not an object")
        if keys is not None:
            wanted = set(keys)
            if missing := sorted(wanted - value.keys()):
                raise self.fault(f"{at} lacks {', '.join(missing)}")
            if unknown := sorted(value.keys() - wanted):
                raise self.fault(f"{at} has unknown {', '.join(unknown)[:60]}")
        return value

    def sequence(self, value: object, at: str) -> list[object]:
        if not isinstance(value, list):
            raise self.fault(f"{at} is not a list")
        return value

    def text(self, value: object, at: str) -> str:
        if not isinstance(value, str) or not value:
            raise self.fault(f"{at} is not a text")
        return value

    def number(self, value: object, at: str, least: float = -math.inf, most: float = math.inf) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fault(f"{at} is not a finite number")
        if not least <= value <= most:
            raise self.fault(f"{at} is {value:g}, outside {least:g} to {most:g}")
        return value

    def whole(self, value: object, at: str, least: int = 0) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.fault(f"{at} is not a whole number of at least {least}")
        return value

    def digest(self, value: object, at: str) -> str:
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise self.fault(f"{at} is not a 32-byte hash")
        return value

    def report(self, raw: object) -> Report:
        if isinstance(raw, dict) and raw.get("schema") != SCHEMA:
            raise self.fault(f"schema is {str(raw.get('schema'))[:40]!r}, not {SCHEMA!r}")
        top = self.mapping(
            raw,
            "the report",
            (
                "schema",
                "market",
                "as_of",
                "model_version",
                "code_version",
                "data",
                "configuration",
                "parameters",
                "evidence",
                "coverage",
            ),
        )
        data = self.data(top["data"])
        parameters = self.mapping(top["parameters"], "parameters", ("assets", "correlation"))
        assets = {
            name: self.asset(value, f"parameters.assets.{name}")
            for name, value in self.mapping(parameters["assets"], "parameters.assets").items()
        }
        names = sorted(self.mapping(data["assets"], "data.assets"))
        if sorted(assets) != names:
            raise self.fault(f"parameters are for {', '.join(sorted(assets))} and data for {', '.join(names)}")
        return Report(
            market=self.text(top["market"], "market"),
            as_of=self.whole(top["as_of"], "as_of"),
            model_version=self.whole(top["model_version"], "model_version", 1),
            code_version=self.text(top["code_version"], "code_version"),
            data=data,
            configuration=self.configuration(top["configuration"]),
            assets=assets,
            correlation=self.correlation(parameters["correlation"], names),
            evidence=self.evidence(top["evidence"], names),
            coverage=self.number(top["coverage"], "coverage", 0.0, 1.0),
        )

    def data(self, raw: object) -> dict[str, object]:
        data = self.mapping(raw, "data", ("hash", "assets"))
        hashes = {}
        for name, value in self.mapping(data["assets"], "data.assets").items():
            at = f"data.assets.{name}"
            asset = self.mapping(value, at, ("rows", "first", "last", "bar_seconds", "hash"))
            self.whole(asset["rows"], f"{at}.rows", 2)
            self.whole(asset["bar_seconds"], f"{at}.bar_seconds", 1)
            first = self.whole(asset["first"], f"{at}.first")
            self.whole(asset["last"], f"{at}.last", first + 1)
            hashes[name] = self.digest(asset["hash"], f"{at}.hash")
        if not hashes:
            raise self.fault("data.assets is empty")
        if self.digest(data["hash"], "data.hash") != combined_hash(hashes):
            raise self.fault("data.hash is not the hash of data.assets")
        return data

    def configuration(self, raw: object) -> dict[str, object]:
        wanted = CalibrationConfig().to_json()
        configuration = self.mapping(raw, "configuration", wanted)
        horizons = self.mapping(configuration["horizons"], "configuration.horizons", ("initial", "maintenance"))
        for name, value in horizons.items():
            self.whole(value, f"configuration.horizons.{name}", 1)
        for name, value in configuration.items():
            if name != "horizons":
                self.number(value, f"configuration.{name}")
        return configuration

    def asset(self, raw: object, at: str) -> AssetParameters:
        wanted = [field.name for field in fields(AssetParameters)]
        asset = self.mapping(raw, at, wanted)
        volume = asset["average_daily_volume"]
        positive = {
            name: self.number(asset[name], f"{at}.{name}", 1e-9, 1e3)
            for name in wanted
            if name != "average_daily_volume"
        }
        if not positive["volatility_floor"] <= positive["volatility_stress"] <= positive["volatility_cap"]:
            raise self.fault(f"{at} does not have volatility floor ≤ stress ≤ cap")
        return AssetParameters(
            **positive,
            average_daily_volume=None if volume is None else self.number(volume, f"{at}.average_daily_volume", 0.0),
        )

    def correlation(self, raw: object, names: list[str]) -> tuple[CorrelationRange, ...]:
        ranges = []
        for index, value in enumerate(self.sequence(raw, "parameters.correlation")):
            at = f"parameters.correlation[{index}]"
            entry = self.mapping(value, at, ("pair", "low", "high"))
            pair = [self.text(name, f"{at}.pair") for name in self.sequence(entry["pair"], f"{at}.pair")]
            if len(pair) != 2:
                raise self.fault(f"{at}.pair does not name two assets")
            low = self.number(entry["low"], f"{at}.low", -1.0, 1.0)
            high = self.number(entry["high"], f"{at}.high", low, 1.0)
            ranges.append(CorrelationRange((pair[0], pair[1]), low, high))
        if [c.pair for c in ranges] != list(combinations(names, 2)):
            raise self.fault("parameters.correlation does not list each pair of assets once, in order")
        for side in ("low", "high"):
            matrix = np.eye(len(names))
            for c in ranges:
                i, j = names.index(c.pair[0]), names.index(c.pair[1])
                matrix[i, j] = matrix[j, i] = getattr(c, side)
            if float(np.linalg.eigvalsh(matrix)[0]) <= 0.0:
                raise self.fault(f"the {side} correlation matrix is not positive definite")
        return tuple(ranges)

    def evidence(self, raw: object, names: list[str]) -> dict[str, object]:
        evidence = self.mapping(raw, "evidence", ("assets", "correlation"))
        assets = self.mapping(evidence["assets"], "evidence.assets", names)
        for name in names:
            level = self.mapping(assets[name], f"evidence.assets.{name}").get("volatility_level")
            self.number(level, f"evidence.assets.{name}.volatility_level", 1e-9, 1e3)
        self.sequence(evidence["correlation"], "evidence.correlation")
        return evidence
