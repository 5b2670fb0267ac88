"""How assets move together: shrunk EWMA correlation of devolatilised returns, and stress matrices on both sides of it.

Correlations drift, so old returns fade (EWMA); few returns then count, so the estimate is noisy and is shrunk to where
all pairs are alike, by as much as its sampling error asks: Ledoit & Wolf (2004), "Honey, I shrunk the sample covariance
matrix", whose target this is, in the form of Schäfer & Strimmer (2005, eq. 7), which holds for any weights. Walked
forward over real assets the two together predict next month's correlation better than either alone; shrinking to
the identity, as Ledoit & Wolf (2004, "A well-conditioned estimator") do, predicts it worse than not shrinking at all,
since no two of these assets are unrelated.

The stress matrices play the part of ISDA SIMM's low and high correlation scenarios, but their distance is measured: the
larger of the sampling error and the range through which a running correlation has moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration.tails import block_standard_error
from plimsoll.errors import PlimsollError
from plimsoll.market.series import YEAR_SECONDS, Flags, Floats, Integers, Series

if TYPE_CHECKING:
    from plimsoll.calibration.configuration import CalibrationConfig

EIGENVALUE_FLOOR = 1e-4
"""Smallest eigenvalue a stress matrix may have: it stays positive definite after on-chain rounding."""

HALF_LIFE = 60 * 86_400
"""Seconds, of the central correlation. Next month's is predicted best with 45 to 90 days, and hardly worse with 120."""

_MINIMUM_RETURNS = 30


@dataclass(frozen=True, slots=True)
class Correlations:
    """Matrices of shape (p, p) in the order of `names`, unit diagonal; `low` ≤ `central` ≤ `high` elementwise.

    shrinkage: δ of `shrunk_correlation`, 0 for two assets. observations: returns in common, before weighting.
    """

    names: tuple[str, ...]
    central: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    shrinkage: float
    observations: int


def shrunk_correlation(x: Floats, weights: Floats) -> tuple[Floats, Floats, float]:
    """(correlation (p, p), its standard errors (p, p), intensity δ in [0, 1]) of observations x of shape (n, p).

    weights: shape (n,), not negative. The columns have mean zero. With r the weighted correlations, r̄ their mean over
    pairs, and ψ_t = x_i·x_j − r_ij·(x_i² + x_j²)/2 what observation t of unit variance adds to the error of r_ij:
        R = (1 − δ)·r + δ·r̄,  δ = Σ (Var r_ij − Cov(r̄, r_ij)) / Σ (r_ij − r̄)²,  Var r_ij = Σ_t w_t²ψ_t²
    over pairs. Standard errors are those of r in blocks of √n.
    """
    n, p = x.shape
    w = weights / np.sum(weights)
    # einsum without BLAS: the order of summation, and so the last bit, does not depend on the number of threads
    x = x / np.sqrt(np.einsum("t,ti->i", w, x**2))
    i, j = np.triu_indices(p, 1)
    product, square = x[:, i] * x[:, j], x**2
    r = np.einsum("t,tk->k", w, product)
    influence = w[:, None] * (product - r * (square[:, i] + square[:, j]) / 2.0)
    centre = float(np.mean(r))
    noise = float(np.sum(influence**2) - len(r) * np.sum(np.mean(influence, axis=1) ** 2))
    spread = float(np.sum((r - centre) ** 2))
    intensity = min(max(noise / spread, 0.0), 1.0) if spread > 0.0 else 0.0
    correlation, error = np.eye(p), np.zeros((p, p))
    correlation[i, j] = correlation[j, i] = (1.0 - intensity) * r + intensity * centre
    block = math.isqrt(n)
    error[i, j] = error[j, i] = [block_standard_error(n * column, block) for column in influence.T]
    return correlation, error, intensity


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
    few times. The central matrix is repaired to be positive definite by the least step towards the identity.
    """
    names = tuple(sorted(assets))
    returns, ends = _common_returns(assets, volatility, usable, config.correlation_step)
    scaled = (returns - np.mean(returns, axis=0)) / np.std(returns, axis=0)
    running = running_correlations(ends, scaled, config.correlation_half_life, config.warm_up_weight)
    quantiles = (config.correlation_quantile, 1.0 - config.correlation_quantile)
    least, most = np.quantile(running, quantiles, axis=0)

    weights = np.exp2((ends - ends[-1]) / HALF_LIFE)
    shrunk, error, shrinkage = shrunk_correlation(scaled, weights)
    central = toward(np.eye(len(names)), shrunk, 2.0 * EIGENVALUE_FLOOR)
    margin = config.correlation_errors * error
    limit = np.maximum(config.correlation_limit, np.abs(central))
    low = np.maximum(np.minimum(central - margin, least), -limit)
    high = np.minimum(np.maximum(central + margin, most), limit)
    np.fill_diagonal(low, 1.0)
    np.fill_diagonal(high, 1.0)
    return Correlations(names, central, toward(central, low), toward(central, high), error, shrinkage, len(scaled))


def running_correlations(ts: Integers, x: Floats, half_life: float, warm_up_weight: float) -> Floats:
    """EWMA correlations of p series of mean zero, x of shape (n, p), after each ts, from where the weight reaches
    `warm_up_weight`.

    Shape (m, p, p), m ≤ n. Second moments share one weight, so it cancels in the ratio.
    """
    decays = np.exp2(-np.diff(ts, prepend=2 * ts[0] - ts[1]) / half_life)
    moments, weight = np.zeros((x.shape[1], x.shape[1])), 0.0
    out: list[Floats] = []
    for decay, row in zip(decays.tolist(), x, strict=True):
        moments = decay * moments + (1.0 - decay) * np.multiply.outer(row, row)
        weight = decay * weight + (1.0 - decay)
        if weight >= warm_up_weight:
            deviation = np.sqrt(np.diagonal(moments))
            out.append(moments / np.multiply.outer(deviation, deviation))
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
