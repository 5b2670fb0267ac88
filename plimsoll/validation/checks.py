"""What every test asks of its arrays before it starts, so that no statistic is ever NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats


def finite(name: str, values: ArrayLike, length: int | None = None) -> Floats:
    """`values` as floats of shape (n,), n ≥ 1. Raises PlimsollError where one is not finite or n is not `length`."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise PlimsollError(f"{name}: give one number a row, and at least one row, not an array of shape {array.shape}")
    if length is not None and len(array) != length:
        raise PlimsollError(f"{name}: {len(array)} rows where the other columns have {length}; give one a row")
    if not np.all(np.isfinite(array)):
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise PlimsollError(f"{name}: row {row} is not a finite number; drop or repair it")
    return array


def tail_probability(confidence: float) -> float:
    """1 − confidence. Raises PlimsollError where confidence is not in (0.5, 1)."""
    if not 0.5 < confidence < 1.0:
        raise PlimsollError(f"confidence {confidence} is not above 0.5 and below 1; 0.99 is meant by 99%")
    return 1.0 - confidence
