"""Calibration: from market data to one report of parameters, evidence and provenance.

Names are imported when they are first used: reading a report needs no scientific package but numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plimsoll.calibration.configuration import CalibrationConfig
    from plimsoll.calibration.model import MODEL_VERSION, calibrate
    from plimsoll.calibration.report import SCHEMA, AssetParameters, CorrelationRange, Report, report_hash

__all__ = [
    "MODEL_VERSION",
    "SCHEMA",
    "AssetParameters",
    "CalibrationConfig",
    "CorrelationRange",
    "Report",
    "calibrate",
    "report_hash",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "configuration" if name == "CalibrationConfig" else "report"
    if name in ("MODEL_VERSION", "calibrate"):
        module = "model"
    return getattr(import_module(f"{__name__}.{module}"), name)
