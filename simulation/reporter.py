"""What an honest volatility reporter knows in a replay: each asset's level at every print of the window.

It is the level that the tails are fitted to (`plimsoll.calibration.level`), by the margin rule that the first
calibration found: margin is tail times level, and fits only if both speak of the same level. A path is worked out
once, from history and all prints; it is causal, so what it says at a print depends on nothing later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from plimsoll.calibration import CalibrationConfig, Report
from plimsoll.calibration.history import make_history
from plimsoll.calibration.level import level_path
from plimsoll.calibration.rule import MarginRule
from plimsoll.calibration.volatility import rule_sigma
from plimsoll.errors import PlimsollError
from plimsoll.market import MarketData, make_series
from simulation.house import known


def level_paths(data: MarketData, report: Report) -> dict[str, dict[int, float]]:
    """{asset: {unix seconds of a print: level}}, levels annualised; `report` is what says the rule.

    Forecasts are made on the history's own bars, as in a calibration, and carried by every print: the sum of squares
    of the four prints of a session would not be the variance that daily bars have. Raises PlimsollError for a print
    before the first forecast.
    """
    config = CalibrationConfig.from_json(report.configuration)
    rule, implied = _rule(report, config), None if data.index is None else data.index.series
    bars, levels = known(data, data.market.end), {}
    for name, asset in data.assets.items():
        history = make_history(bars[name], config.grid, implied)
        ts = np.concatenate([asset.history.ts, asset.prints.ts])
        series = make_series(name, ts, np.concatenate([asset.history.close, asset.prints.close]))
        path = level_path(series, history, rule_sigma(history), config.half_life, rule)[len(asset.history) :]
        if not np.isfinite(path).all():
            raise PlimsollError(f"{name}: no level can be said of its first prints; give a longer history")
        levels[name] = dict(zip(asset.prints.ts.tolist(), path.tolist(), strict=True))
    return levels


def level_at(path: Mapping[int, float], ts: int) -> float:
    """The level at a moment: that of the last print, of which there must be one."""
    return path[max(printed for printed in path if printed <= ts)]


def _rule(report: Report, config: CalibrationConfig) -> MarginRule:
    """The rule that the report was fitted with; its shape is every asset's."""
    found: Any = report.evidence["rule"]  # numbers, as the report's own reader requires
    return MarginRule(
        memory_days=found["memory_days"],
        fast=found["fast"],
        slow=found["slow"],
        below=found["below"],
        limits=config.limits,
    )
