"""How assets move together: shrunk correlation of devolatilised returns, and a low and a high stress matrix around it.

Shrinkage: Ledoit & Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices". The stress
matrices play the part of ISDA SIMM's low and high correlation scenarios, but their distance is measured: the larger
of the sampling error and the range through which a running correlation has moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration.tails import block_standard_error
from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Flags, Floats, Integers, Series

if TYPE_CHECKING:
    from plimsoll.calibration.configuration import CalibrationConfig

EIGENVALUE_FLOOR = 1e-4
"""Smallest eigenvalue a stress matrix may have: it stays positive definite after on-chain rounding."""

_MINIMUM_RETURNS = 30


@dataclass(frozen=True, slots=True)
class Correlations:
    """Matrices of shape (p, p) in the order of `names`, unit diagonal; `low` ≤ `central` ≤ `high` elementwise."""

    names: tuple[str, ...]
    central: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    shrinkage: float
    observations: int


def ledoit_wolf(x: Floats) -> tuple[Floats, float]:
    """(shrunk covariance (p, p), intensity in [0, 1]) of observations x of shape (n, p).

    Σ = (1 − δ)S + δμI with μ = tr S/p, d² = ‖S − μI‖²/p, b² = min(d², Σ_t‖x_t x_tᵀ − S‖²/(n²p)), δ = b²/d².
    Columns are centred here; S divides by n.
    """
    n, p = x.shape
    centred = x - np.mean(x, axis=0)
    # einsum without BLAS: the order of summation, and so the last bit, does not depend on the number of threads
    sample = np.einsum("ti,tj->ij", centred, centred) / n
    mean_variance = float(np.trace(sample)) / p
    distance = float(np.sum((sample - mean_variance * np.eye(p)) ** 2)) / p
    fourth = float(np.sum(np.sum(centred**2, axis=1) ** 2)) / n
    spread = (fourth - float(np.sum(sample**2))) / (n * p)
    intensity = min(max(spread, 0.0), distance) / distance if distance > 0.0 else 0.0
    return (1.0 - intensity) * sample + intensity * mean_variance * np.eye(p), intensity


def toward(central: Floats, target: Floats, floor: float = EIGENVALUE_FLOOR) -> Floats:
    """The matrix nearest to `target` on the line from `central` to it whose eigenvalues are ≥ floor.

    Moving along the line keeps the unit diagonal and every element between the two: a repair by clipping eigenvalues
    would keep neither the order low ≤ central ≤ high. Raises PlimsollError if `central` itself is below the floor.
    """

    def definite(share: float) -> bool:
        return float(np.linalg.eigvalsh(central + share * (target - central))[0]) >= floor

    if definite(1.0):
        return target
    if not definite(0.0):
        raise PlimsollError("correlation: two assets move as one; leave one of them out")
    low, high = 0.0, 1.0
    for _ in range(40):  # bisection to 1e-12: the smallest eigenvalue is concave along a line
        middle = (low + high) / 2.0
        low, high = (middle, high) if definite(middle) else (low, middle)
    return central + low * (target - central)


def estimate_correlations(
    assets: dict[str, Series], volatility: dict[str, Floats], usable: dict[str, Flags], config: CalibrationConfig
) -> Correlations:
    """Central, low and high correlation of the assets' devolatilised returns on their common times.

    volatility and usable: per asset, shape (n,), as known at each row. Raises PlimsollError if the assets share too
    few times.
    """
    names = tuple(sorted(assets))
    returns, ends = _common_returns(assets, volatility, usable, config.correlation_step)
    scaled = (returns - np.mean(returns, axis=0)) / np.std(returns, axis=0)
    central, shrinkage = ledoit_wolf(scaled)
    low, high = np.eye(len(names)), np.eye(len(names))
    error = np.zeros_like(central)
    block = math.isqrt(len(scaled))
    for i, j in combinations(range(len(names)), 2):
        x, y, rho = scaled[:, i], scaled[:, j], float(central[i, j])
        error[i, j] = error[j, i] = block_standard_error(x * y - rho * (x * x + y * y) / 2.0, block)
        running = running_correlation(ends, x, y, config.correlation_half_life, config.warm_up_weight)
        quantiles = (config.correlation_quantile, 1.0 - config.correlation_quantile)
        least, most = (float(q) for q in np.quantile(running, quantiles))
        margin = config.correlation_errors * float(error[i, j])
        limit = max(config.correlation_limit, abs(rho))
        low[i, j] = low[j, i] = max(min(rho - margin, least), -limit)
        high[i, j] = high[j, i] = min(max(rho + margin, most), limit)
    return Correlations(names, central, toward(central, low), toward(central, high), error, shrinkage, len(scaled))


def running_correlation(ts: Integers, x: Floats, y: Floats, half_life: float, warm_up_weight: float) -> Floats:
    """EWMA correlation of two series of mean zero after each ts, from where the weight reaches `warm_up_weight`.

    Shape (m,), m ≤ n. Second moments share one weight, so it cancels in the ratio.
    """
    xx = xy = yy = weight = 0.0
    out: list[float] = []
    decays = np.exp2(-np.diff(ts, prepend=2 * ts[0] - ts[1]) / half_life).tolist()
    for decay, a, b in zip(decays, x.tolist(), y.tolist(), strict=True):
        gain = 1.0 - decay
        xx, xy, yy = decay * xx + gain * a * a, decay * xy + gain * a * b, decay * yy + gain * b * b
        weight = decay * weight + gain
        if weight >= warm_up_weight:
            out.append(xy / math.sqrt(xx * yy))
    if not out:
        raise PlimsollError("correlation: the common history is shorter than two of its half-lives; give a longer one")
    return np.array(out)


def _common_returns(
    assets: dict[str, Series], volatility: dict[str, Floats], usable: dict[str, Flags], step: int
) -> tuple[Floats, Integers]:
    """Devolatilised returns, shape (n, p), between the last common times of each step, and their end times."""
    names = sorted(assets)
    common = assets[names[0]].ts[usable[names[0]]]
    for name in names[1:]:
        common = np.intersect1d(common, assets[name].ts[usable[name]], assume_unique=True)
    bucket = (common - 1) // step  # a row at the step's very end belongs to it
    common = common[np.flatnonzero(np.diff(bucket, append=bucket[-1:] + 1))]
    if len(common) <= _MINIMUM_RETURNS:
        raise PlimsollError(
            f"correlation: {' and '.join(names)} share {len(common)} steps of {step} s, more than {_MINIMUM_RETURNS} "
            "are needed; give histories that overlap for longer"
        )
    years = np.diff(common) / YEAR_SECONDS
    columns = []
    for name in names:
        row = np.searchsorted(assets[name].ts, common)
        close = assets[name].close[row]
        columns.append((close[1:] / close[:-1] - 1.0) / (volatility[name][row][:-1] * np.sqrt(years)))
    return np.stack(columns, axis=1), common[1:]
