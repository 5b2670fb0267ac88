"""Validation: tests of forecasts and of margin, on arrays alone; they know no model."""

from plimsoll.validation.comparison import (
    ConfidenceSet,
    DieboldMariano,
    diebold_mariano,
    model_confidence_set,
)
from plimsoll.validation.coverage import (
    TestResult,
    TrafficLight,
    christoffersen,
    christoffersen_independence,
    dynamic_quantile,
    kupiec,
    kupiec_band,
    traffic_light,
)
from plimsoll.validation.forecasts import SIDES, Forecasts, Side
from plimsoll.validation.procyclicality import (
    Procyclicality,
    StepResponse,
    peak_to_trough,
    procyclicality,
    step_response,
    worst_rise,
)
from plimsoll.validation.shortfall import (
    AcerbiSzekely,
    Predictive,
    ShortfallTest,
    acerbi_szekely,
    fissler_ziegel,
    sampled_predictive,
    student_predictive,
)

__all__ = [
    "SIDES",
    "AcerbiSzekely",
    "ConfidenceSet",
    "DieboldMariano",
    "Forecasts",
    "Predictive",
    "Procyclicality",
    "ShortfallTest",
    "Side",
    "StepResponse",
    "TestResult",
    "TrafficLight",
    "acerbi_szekely",
    "christoffersen",
    "christoffersen_independence",
    "diebold_mariano",
    "dynamic_quantile",
    "fissler_ziegel",
    "kupiec",
    "kupiec_band",
    "model_confidence_set",
    "peak_to_trough",
    "procyclicality",
    "sampled_predictive",
    "step_response",
    "student_predictive",
    "traffic_light",
    "worst_rise",
]
