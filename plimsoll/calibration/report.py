"""The calibration report: a canonical JSON document whose keccak256 goes on-chain with the parameters it justifies.

The same report always has the same bytes: keys sorted, floats at 12 significant digits, one trailing newline. A file
is untrusted: `Report.load` accepts only a complete, canonical, consistent one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from eth_utils.crypto import keccak

from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.errors import PlimsollError
from plimsoll.market.series import combined_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = "plimsoll.calibration/2"

_LARGEST_FILE = 4_000_000  # bytes; a report of a hundred assets is a tenth of it
_RANGES = {
    "average_daily_volume": (0.0, 1e15),
    "half_spread": (0.0, 1.0),
    "surface_rho": (-1.0, 1.0),
    "term_speed": (0.0, 1e3),
    "carry": (-10.0, 10.0),
}
"""What a number may be where that is not 1e-9 to 1e3."""
_HASH = re.compile(r"0x[0-9a-f]{64}")


def significant(value: float) -> float:
    """Rounded to 12 significant digits: beyond them machines may differ."""
    return float(f"{value:.12g}")


def plain(value: Any) -> Any:
    """Dataclasses, tuples and numpy numbers as JSON has them, floats at 12 significant digits and never NaN.

    Raises PlimsollError for a number that is not finite.
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        raise PlimsollError("calibration: a figure is not a finite number; check the data")
    return significant(number)


def report_hash(document: bytes) -> str:
    """keccak256 of a report's bytes, 0x-hex: its name on-chain."""
    return "0x" + keccak(document).hex()


@dataclass(frozen=True, slots=True)
class AssetParameters:
    """Fitted shape of one asset, each number by its name in RiskParameters and in its unit there. None where the data
    says nothing of it: volume, spread and impact need volume, the surface needs option chains, its shocks an index."""

    tail_initial: float
    tail_maintenance: float
    volatility_stress: float
    volatility_floor: float
    volatility_cap: float
    average_daily_volume: float | None = None
    half_spread: float | None = None
    impact: float | None = None
    option_half_spread: float | None = None
    surface_rho: float | None = None
    surface_eta: float | None = None
    surface_gamma: float | None = None
    term_ratio: float | None = None
    term_speed: float | None = None
    carry: float | None = None
    volatility_shock_initial: float | None = None
    volatility_shock_maintenance: float | None = None


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
        data = self.mapping(raw, "data", ("hash", "assets", "sources"))
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
        for name, value in self.mapping(data["sources"], "data.sources").items():
            at = f"data.sources.{name}"
            hashes[name] = self.digest(self.mapping(value, at).get("hash"), f"{at}.hash")
        if self.digest(data["hash"], "data.hash") != combined_hash(hashes):
            raise self.fault("data.hash is not the hash of data.assets and data.sources")
        return data

    def configuration(self, raw: object) -> dict[str, object]:
        default = CalibrationConfig().to_json()
        configuration = self.mapping(raw, "configuration", [*default, "compare"])
        horizons = self.mapping(configuration["horizons"], "configuration.horizons", ("initial", "maintenance"))
        for name, value in horizons.items():
            self.whole(value, f"configuration.horizons.{name}", 1)
        for name, value in configuration.items():
            if isinstance(default.get(name), int):
                self.whole(value, f"configuration.{name}", 1)
            elif name not in ("horizons", "compare"):
                self.number(value, f"configuration.{name}")
        if not isinstance(configuration["compare"], bool):
            raise self.fault("configuration.compare is neither true nor false")
        return configuration

    def asset(self, raw: object, at: str) -> AssetParameters:
        asset = self.mapping(raw, at, [field.name for field in fields(AssetParameters)])
        numbers = {
            field.name: self.number(asset[field.name], f"{at}.{field.name}", *_RANGES.get(field.name, (1e-9, 1e3)))
            for field in fields(AssetParameters)
            if field.default is not None or asset[field.name] is not None
        }
        parameters = AssetParameters(**numbers)
        if not parameters.volatility_floor <= parameters.volatility_stress <= parameters.volatility_cap:
            raise self.fault(f"{at} does not have volatility floor ≤ stress ≤ cap")
        return parameters

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
        evidence = self.mapping(raw, "evidence", ("assets", "correlation", "rule", "validation", "fund"))
        assets = self.mapping(evidence["assets"], "evidence.assets", names)
        for name in names:
            level = self.mapping(assets[name], f"evidence.assets.{name}").get("volatility_level")
            self.number(level, f"evidence.assets.{name}.volatility_level", 1e-9, 1e3)
        self.sequence(evidence["correlation"], "evidence.correlation")
        rule = self.mapping(evidence["rule"], "evidence.rule")
        for name in ("memory_days", "fast", "slow", "below"):
            self.number(rule.get(name), f"evidence.rule.{name}", 0.0, 1e4)
        return evidence
