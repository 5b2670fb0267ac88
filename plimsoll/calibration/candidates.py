"""The candidates: walk-forward models of 99% value at risk and expected shortfall, each a function of a History.

`CANDIDATES` lists those that apply to any history; a further model is one more entry. `candidates_for` says which of
them a given history supports. All forecast from the same row on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from plimsoll.calibration.boosting import boosted
from plimsoll.calibration.filtered import Tail, filtered_risk, normal_risk, student_risk, to_forecasts
from plimsoll.calibration.history import History
from plimsoll.calibration.regime import hmm
from plimsoll.calibration.volatility import (
    DAY,
    combination_sigma,
    ewma_realised_sigma,
    ewma_sigma,
    har_sigma,
    rule_sigma,
    sigma_paths,
)
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats
from plimsoll.validation.forecasts import Forecasts, Side

Candidate = Callable[[History], Forecasts]

CONFIDENCE = 0.99
BENCHMARK = "ewma-normal"
SIGMAS: dict[str, Callable[[History], Floats]] = {
    "ewma": ewma_sigma,
    "ewma-rv": ewma_realised_sigma,
    "har": har_sigma,
    "combination": combination_sigma,
    "rule": rule_sigma,
}
"""One by one, not from `sigma_paths`: a calibration needs two of them, and GARCH costs more than all else."""


def ewma_normal(history: History) -> Forecasts:
    """RiskMetrics with normal quantiles: the benchmark."""
    risk, shortfall = normal_risk(ewma_sigma(history), CONFIDENCE)
    return to_forecasts(history, BENCHMARK, CONFIDENCE, _both(risk), _both(shortfall))


def gjr_t(history: History) -> Forecasts:
    """GJR-GARCH with the quantiles of its own Student-t. Raises PlimsollError on a grid finer than a day."""
    if history.horizon < DAY:
        raise PlimsollError(f"{history.name}: gjr-t is for a horizon of a day or more, not {history.horizon} s")
    paths = sigma_paths(history)
    risk, shortfall = student_risk(paths["gjr"], paths["gjr-nu"], CONFIDENCE)
    return to_forecasts(history, "gjr-t", CONFIDENCE, _both(risk), _both(shortfall))


def filtered(history: History, model: str, path: str, tail: Tail) -> Forecasts:
    """Filtered historical simulation around one volatility path, by its name in SIGMAS."""
    return to_forecasts(history, model, CONFIDENCE, *filtered_risk(history, SIGMAS[path](history), CONFIDENCE, tail))


def implied(history: History) -> Forecasts:
    """log-HAR with an index of implied volatility beside it, and without wherever the index is silent."""
    paths = sigma_paths(history)
    if "har-implied" not in paths:
        raise PlimsollError(f"{history.name}: candidate implied needs an index of implied volatility; give one")
    sigma = np.where(np.isfinite(paths["har-implied"]), paths["har-implied"], paths["har"])
    return to_forecasts(history, "implied", CONFIDENCE, *filtered_risk(history, sigma, CONFIDENCE, "pareto"))


def _both(values: Floats) -> dict[Side, Floats]:
    return {"long": values, "short": values}


CANDIDATES: dict[str, Candidate] = {
    BENCHMARK: ewma_normal,
    "ewma-fhs": partial(filtered, model="ewma-fhs", path="ewma", tail="sample"),
    "ewma-rv-fhs": partial(filtered, model="ewma-rv-fhs", path="ewma-rv", tail="sample"),
    "gjr-t": gjr_t,
    "har-fhs": partial(filtered, model="har-fhs", path="har", tail="sample"),
    "rule-evt": partial(filtered, model="rule-evt", path="rule", tail="pareto"),
    "combination-fhs": partial(filtered, model="combination-fhs", path="combination", tail="sample"),
    "combination-evt": partial(filtered, model="combination-evt", path="combination", tail="pareto"),
    "hmm": hmm,
    "boosted": boosted,
}


def candidates_for(history: History) -> dict[str, Candidate]:
    """Those of CANDIDATES that this history supports, and `implied` where it has an index."""
    found = {name: model for name, model in CANDIDATES.items() if history.horizon >= DAY or name != "gjr-t"}
    return found | ({"implied": implied} if history.implied is not None else {})
