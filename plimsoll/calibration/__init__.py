"""Calibration: from market data to one report of parameters, evidence and provenance."""

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
