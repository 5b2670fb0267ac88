"""Extreme value fit: the generalised Pareto distribution of losses beyond a high threshold.

P(X > x) = p·(1 + ξ(x − u)/β)^(−1/ξ) for x > u, p the share of losses beyond u (Pickands 1975, Balkema & de Haan 1974).
At 99% a few hundred residuals hold a handful of points, so the empirical quantile jumps with every one of them; the fit
to the worst 6% smooths it (McNeil & Frey 2000). ξ of so few points is a guess as well, hence the prior: financial
tails have ξ of 0.1 to 0.4 nearly everywhere (McNeil, Frey & Embrechts 2015, section 5.2), which enters as penalty
(ξ − 0.2)²/(2·0.1²) on the likelihood (generalised maximum likelihood, Martins & Stedinger 2000).
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats

SHAPE_PRIOR = (0.2, 0.1)
"""Mean and deviation of ξ beforehand."""
LEAST_SHAPE, MOST_SHAPE = -0.4, 0.9
"""Below −½ the likelihood has no regular maximum, from 1 the mean is infinite; both are far from any price."""
_GOLDEN = 0.6180339887498949
_SECTIONS = 30  # leaves 1.3/1.62^30 < 1e−6 of ξ
MINIMUM_EXCESSES = 10


@dataclass(frozen=True, slots=True)
class GeneralisedPareto:
    """A fitted tail. threshold u and scale β in the units of the losses; exceedance p: share of losses beyond u.

    shape_error, scale_error: standard errors from the curvature of the penalised likelihood. count: excesses used.
    """

    threshold: float
    shape: float
    scale: float
    exceedance: float
    shape_error: float
    scale_error: float
    count: int

    def value_at_risk(self, confidence: float) -> float:
        """u + β/ξ·(((1 − c)/p)^(−ξ) − 1), for 1 − c ≤ p. McNeil & Frey (2000), equation 7."""
        return pareto_risk(self.threshold, self.shape, self.scale, (1.0 - confidence) / self.exceedance)[0]

    def expected_shortfall(self, confidence: float) -> float:
        """(VaR + β − ξ·u)/(1 − ξ). McNeil & Frey (2000), equation 16."""
        return pareto_risk(self.threshold, self.shape, self.scale, (1.0 - confidence) / self.exceedance)[1]


def fit_pareto(losses: Floats, share: float, prior: tuple[float, float] | None = None) -> GeneralisedPareto:
    """Fit to the worst `share` of losses, shape (n,). `prior`: (mean, deviation) of ξ; None: plain likelihood.

    Raises PlimsollError where fewer than 10 distinct losses lie beyond the threshold.
    """
    ordered = np.sort(losses)[::-1]
    count = int(share * len(ordered))
    if count < MINIMUM_EXCESSES or ordered[0] == ordered[count]:
        raise PlimsollError(
            f"an extreme value fit needs {MINIMUM_EXCESSES} distinct losses beyond the threshold and {count} of "
            f"{len(ordered)} are; give a longer history"
        )
    threshold = float(ordered[count])
    excess, weight = ordered[:count] - threshold, np.ones(count)
    mean, deviation = prior or (0.0, math.inf)
    shape, scale = pareto_fit(excess, weight, mean, deviation)
    errors = _standard_errors(excess, shape, scale, deviation)
    return GeneralisedPareto(threshold, shape, scale, count / len(ordered), *errors, count)


@njit(cache=True)
def pareto_risk(threshold: float, shape: float, scale: float, ratio: float) -> tuple[float, float]:
    """(VaR, ES) where `ratio` = (1 − confidence) / share beyond the threshold, in (0, 1]."""
    if abs(shape) < 1e-9:
        quantile = threshold - scale * math.log(ratio)
    else:
        quantile = threshold + scale * math.expm1(-shape * math.log(ratio)) / shape
    return quantile, (quantile + scale - shape * threshold) / (1.0 - shape)


@njit(cache=True)
def pareto_fit(excess: Floats, weight: Floats, mean: float, deviation: float) -> tuple[float, float]:
    """(ξ, β) of largest weighted log-likelihood less (ξ − mean)²/(2·deviation²); excess ≥ 0, not all 0, shape (k,).

    β solves its own equation for each ξ, and ξ is found by golden section on what remains.
    """
    low, high = LEAST_SHAPE, MOST_SHAPE
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    scale = np.sum(weight * excess) / np.sum(weight)
    value_left, scale = _profile(excess, weight, left, scale, mean, deviation)
    value_right, scale = _profile(excess, weight, right, scale, mean, deviation)
    for _ in range(_SECTIONS):
        if value_left > value_right:
            high, right, value_right = right, left, value_left
            left = high - _GOLDEN * (high - low)
            value_left, scale = _profile(excess, weight, left, scale, mean, deviation)
        else:
            low, left, value_left = left, right, value_right
            right = low + _GOLDEN * (high - low)
            value_right, scale = _profile(excess, weight, right, scale, mean, deviation)
    shape = 0.5 * (low + high)
    return shape, _profile(excess, weight, shape, scale, mean, deviation)[1]


@njit(cache=True)
def _profile(
    excess: Floats, weight: Floats, shape: float, scale: float, mean: float, deviation: float
) -> tuple[float, float]:
    """(penalised log-likelihood, β) at the best β for this ξ: Σ w·(1 + ξ)·y/(β + ξy) = Σ w, by Newton from `scale`."""
    total = float(np.sum(weight))
    floor = max(-shape * float(np.max(excess)), 0.0)  # the density ends at −β/ξ when ξ < 0
    scale = max(scale, 1.01 * floor)
    for _ in range(60):
        value = slope = 0.0
        for j in range(len(excess)):
            part = excess[j] / (scale + shape * excess[j])
            value += weight[j] * part
            slope -= weight[j] * part / (scale + shape * excess[j])
        step = ((1.0 + shape) * value - total) / ((1.0 + shape) * slope)
        # the left side falls and is convex in β: from the left Newton never passes the root, from the right it may
        new = max(scale - step, floor + 0.3 * (scale - floor))
        done = abs(new - scale) < 1e-10 * scale
        scale = new
        if done:
            break
    value = -total * math.log(scale)
    for j in range(len(excess)):
        ratio = excess[j] / scale
        tail = ratio if abs(shape) < 1e-9 else math.log1p(shape * ratio) / shape
        value -= weight[j] * (1.0 + shape) * tail
    return value - 0.5 * ((shape - mean) / deviation) ** 2, scale


def _standard_errors(excess: Floats, shape: float, scale: float, deviation: float) -> tuple[float, float]:
    """Of (ξ, β): root of the diagonal of the inverse observed information, by central differences of the gradient."""

    def gradient(x: float, b: float) -> Floats:
        ratio = excess / (b + x * excess)
        log = np.log1p(x * excess / b)
        return np.array(
            [np.sum(log / x**2 - (1.0 + 1.0 / x) * ratio) - x / deviation**2, np.sum((1.0 + x) * ratio - 1.0) / b]
        )

    step = 1e-4
    x = shape if abs(shape) > 2e-2 else math.copysign(2e-2, shape)  # the formula divides by ξ²
    information = -np.column_stack(
        [
            (gradient(x + step, scale) - gradient(x - step, scale)) / (2.0 * step),
            (gradient(x, scale * (1.0 + step)) - gradient(x, scale * (1.0 - step))) / (2.0 * step * scale),
        ]
    )
    covariance = np.linalg.inv((information + information.T) / 2.0)
    shape_error, scale_error = np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist()
    return shape_error, scale_error
