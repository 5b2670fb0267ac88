"""Is expected shortfall as large as promised? Acerbi & Székely's three tests, and a loss that ranks models.

Losses are positive, as fractions of price; value at risk V and expected shortfall E are forecasts of them, V > 0 and
E ≥ V. A statistic Z is 0 on average under the null and negative where shortfall was forecast too small.

The null is a predictive distribution a row. Where a model has one (filtered historical simulation: a sample of
standardised losses times a scale) give it by `sampled_predictive`. Where only V and E are known, `student_predictive`
takes the Student-t whose tail has their ratio E/V, scaled to both: the fatter the tail the forecasts admit, the more
shortfall may vary before it is held against them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtr, ndtri, stdtr, stdtrit

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers
from plimsoll.validation.checks import finite, tail_probability
from plimsoll.validation.coverage import rare_events

LEVEL = 0.05

_INVERSE_DEGREES = np.arange(97) / 128.0
"""1/ν of the Student shapes that are tried, 0 (normal) to 0.75 (ν = 4/3, whose E/V is 4 at 99%)."""

_LOG_GRID = (np.arange(2_000) + 0.5) * 0.05
"""−ln(survival probability), 0 to 100: beyond it a tail of ν = 4/3 has e⁻²⁵ of its mean."""


class Shape(Protocol):
    """A distribution of standardised losses, by its survival function and the inverse of that."""

    def survival(self, x: Floats) -> Floats: ...

    def inverse_survival(self, u: Floats) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Student:
    """Student-t of location 0 and scale 1; degrees = inf is the standard normal."""

    degrees: float

    def survival(self, x: Floats) -> Floats:
        return np.asarray(ndtr(-x) if math.isinf(self.degrees) else stdtr(self.degrees, -x))

    def inverse_survival(self, u: Floats) -> Floats:
        return np.asarray(-ndtri(u) if math.isinf(self.degrees) else -stdtrit(self.degrees, u))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An observed sample, shape (m,), falling: the i-th largest has survival (i − ½)/m, straight lines between.

    Beyond its largest and smallest value it knows nothing: losses there count as the largest or smallest.
    """

    falling: Floats

    def _positions(self) -> Floats:
        return (np.arange(len(self.falling)) + 0.5) / len(self.falling)

    def survival(self, x: Floats) -> Floats:
        return np.asarray(np.interp(x, self.falling[::-1], self._positions()[::-1]))

    def inverse_survival(self, u: Floats) -> Floats:
        return np.asarray(np.interp(u, self._positions(), self.falling))


@dataclass(frozen=True, slots=True, eq=False)
class Predictive:
    """Distribution of the loss of each row: location + scale · a loss of shapes[shape]. Arrays of shape (n,)."""

    shapes: tuple[Shape, ...]
    shape: Integers
    location: Floats
    scale: Floats

    def _each(self, rows: Integers) -> list[tuple[Shape, Integers]]:
        chosen = self.shape[rows]
        return [(self.shapes[j], np.flatnonzero(chosen == j)) for j in np.unique(chosen)]

    def survival(self, rows: Integers, losses: Floats) -> Floats:
        """P(loss of row > losses), for pairs of a row and a loss, shape (m,)."""
        standard = (losses - self.location[rows]) / self.scale[rows]
        result = np.empty(len(rows))
        for shape, at in self._each(rows):
            result[at] = shape.survival(standard[at])
        return result

    def inverse_survival(self, rows: Integers, u: Floats) -> Floats:
        """The loss of each row that is exceeded with probability u, for pairs, shape (m,)."""
        result = np.empty(len(rows))
        for shape, at in self._each(rows):
            result[at] = shape.inverse_survival(u[at])
        return self.location[rows] + self.scale[rows] * result


@dataclass(frozen=True, slots=True)
class ShortfallTest:
    """critical_value: 5% quantile of the statistic under the null; below it the forecast is rejected. p_value:
    (1 + simulated statistics as small) / (1 + simulations)."""

    statistic: float
    critical_value: float
    p_value: float


@dataclass(frozen=True, slots=True)
class AcerbiSzekely:
    """z1: size of losses beyond V, given their number. z2: size and number. z3: the whole tail by ranks."""

    z1: ShortfallTest
    z2: ShortfallTest
    z3: ShortfallTest


def _forecasts(value_at_risk: ArrayLike, expected_shortfall: ArrayLike, n: int | None = None) -> tuple[Floats, Floats]:
    risk = finite("value at risk", value_at_risk, n)
    shortfall = finite("expected shortfall", expected_shortfall, len(risk))
    if np.any(risk <= 0.0) or np.any(shortfall < risk * (1.0 - 1e-12)):
        row = int(np.flatnonzero((risk <= 0.0) | (shortfall < risk * (1.0 - 1e-12)))[0])
        raise PlimsollError(
            f"row {row}: value at risk {risk[row]:g} and expected shortfall {shortfall[row]:g} are not 0 < VaR ≤ ES; "
            "give both as positive fractions of price"
        )
    return risk, shortfall


def student_predictive(value_at_risk: ArrayLike, expected_shortfall: ArrayLike, confidence: float) -> Predictive:
    """For each row the Student-t with the nearest E/V on a grid of 1/ν, moved and scaled to have exactly V and E.

    With q the quantile and e = f(q)(ν + q²)/((ν − 1)(1 − c)) the shortfall of the standard t (McNeil, Frey & Embrechts
    2015, chapter 2): scale = (E − V)/(e − q), location = V − scale·q. The location is next to 0 while E/V is that of
    a t with ν ≥ 4/3; tails thinner than the normal's are the normal's, moved.
    """
    p = tail_probability(confidence)
    risk, shortfall = _forecasts(value_at_risk, expected_shortfall)
    shapes = tuple(Student(1.0 / inverse if inverse > 0.0 else math.inf) for inverse in _INVERSE_DEGREES)
    quantile = np.array([float(shape.inverse_survival(np.asarray(p))) for shape in shapes])
    beyond = np.array([_student_shortfall(shape.degrees, q, p) for shape, q in zip(shapes, quantile, strict=True)])
    shape = np.argmin(np.abs(shortfall[:, None] / risk[:, None] - beyond / quantile), axis=1)
    scale = np.maximum((shortfall - risk) / (beyond - quantile)[shape], 1e-12 * risk)
    return Predictive(shapes, shape, risk - scale * quantile[shape], scale)


def _student_shortfall(degrees: float, quantile: float, p: float) -> float:
    if math.isinf(degrees):
        return math.exp(-(quantile**2) / 2.0) / math.sqrt(2.0 * math.pi) / p
    log_density = math.lgamma((degrees + 1.0) / 2.0) - math.lgamma(degrees / 2.0) - 0.5 * math.log(degrees * math.pi)
    log_density -= (degrees + 1.0) / 2.0 * math.log1p(quantile**2 / degrees)
    return math.exp(log_density) / p * (degrees + quantile**2) / (degrees - 1.0)


def sampled_predictive(standardised_losses: ArrayLike, scale: ArrayLike) -> Predictive:
    """Losses of row t are scale_t, shape (n,), times a draw of standardised_losses, shape (m,); losses positive."""
    sample, scales = finite("standardised losses", standardised_losses), finite("scale", scale)
    if np.any(scales <= 0.0):
        raise PlimsollError("scale: one is not above zero; give the volatility of each forecast")
    n = len(scales)
    return Predictive((Sample(np.sort(sample)[::-1]),), np.zeros(n, dtype=np.int64), np.zeros(n), scales)


def _rank_profile(predictive: Predictive, k: int) -> Floats:
    """G on the grid of −ln u, such that Z3 = 1 − mean of G over the k smallest survival probabilities of n.

    Z3 compares, at every row t, the mean of the k worst losses Q_t(u₍₁₎) … Q_t(u₍ₖ₎) with what it is on average, E_t
    (Acerbi & Székely 2014: the weight of u is (n/k)·P(Binomial(n − 1, u) < k)). Ranks are common to all
    rows, so the average over t moves inside: G(u) = mean over t of Q_t(u)/E_t, a function of one variable.
    """
    n = len(predictive.scale)
    u = np.exp(-_LOG_GRID)
    weight = bdtr(k - 1, n - 1, u) * u
    weight /= np.sum(weight)
    profile = np.zeros(len(u))
    for j in np.unique(predictive.shape):
        quantiles = predictive.shapes[j].inverse_survival(u)
        rows = predictive.shape == j
        location, scale = predictive.location[rows], predictive.scale[rows]
        average = location + scale * float(np.sum(weight * quantiles))
        profile += np.sum(location / average) + np.sum(scale / average) * quantiles
    return profile / n


def _judge(statistic: float, simulated: Floats) -> ShortfallTest:
    as_small = int(np.count_nonzero(simulated <= statistic + 1e-12))
    return ShortfallTest(statistic, float(np.quantile(simulated, LEVEL)), (1 + as_small) / (1 + len(simulated)))


def acerbi_szekely(
    losses: ArrayLike,
    value_at_risk: ArrayLike,
    expected_shortfall: ArrayLike,
    confidence: float,
    *,
    seed: int,
    predictive: Predictive | None = None,
    simulations: int = 2_000,
) -> AcerbiSzekely:
    """Z1, Z2 and Z3 of Acerbi & Székely (2014) with simulated critical values. Arrays of shape (n,).

    With I_t = 1 where L_t > V_t, N = ΣI_t and p = 1 − confidence, their tests 1, 2 and 3 written in losses:
        Z1 = 1 − (1/N)·Σ L_t·I_t/E_t,   Z2 = 1 − (1/(n·p))·Σ L_t·I_t/E_t,
        Z3 = 1 − (1/n)·Σ_t [mean of the ⌊n·p⌋ worst losses of row t's distribution at the observed ranks] / [its mean].
    Z1 is 0 where N = 0, of the data as of the simulations. At least one rank is taken where n·p < 1.

    predictive: the null; the default is `student_predictive(value_at_risk, expected_shortfall, confidence)`. Draws for
    Z3 are of the smallest ranks alone (Rényi 1953) and independent of those for Z1 and Z2.
    """
    p = tail_probability(confidence)
    loss = finite("losses", losses)
    n = len(loss)
    risk, shortfall = _forecasts(value_at_risk, expected_shortfall, n)
    null = student_predictive(risk, shortfall, confidence) if predictive is None else predictive
    if len(null.scale) != n:
        raise PlimsollError(f"the predictive distribution has {len(null.scale)} rows where losses have {n}")
    rng = np.random.default_rng(seed)

    def first_two(path: Integers, severity: Floats, paths: int) -> tuple[Floats, Floats]:
        total, count = np.bincount(path, weights=severity, minlength=paths), np.bincount(path, minlength=paths)
        return np.where(count > 0, 1.0 - total / np.maximum(count, 1), 0.0), 1.0 - total / (n * p)

    hit = np.flatnonzero(loss > risk)
    z1, z2 = first_two(np.zeros(len(hit), dtype=np.int64), loss[hit] / shortfall[hit], 1)

    # losses beyond V are drawn, the rest never matter: trials at the largest chance of any row, then thinned to its own
    chance = null.survival(np.arange(n), risk)
    most = min(max(float(np.max(chance)), 1e-12), 1.0)
    events = rare_events(n * simulations, most, rng)
    u = most * (1.0 - rng.random(len(events)))
    kept = u < chance[events % n]
    path, row, u = events[kept] // n, events[kept] % n, u[kept]
    simulated1, simulated2 = first_two(path, null.inverse_survival(row, u) / shortfall[row], simulations)

    k = max(1, math.floor(n * p + 1e-9))
    profile = _rank_profile(null, k)

    def third(ranks: Floats) -> Floats:
        depth = -np.log(np.maximum(ranks, 1e-300))
        return np.asarray(1.0 - np.mean(np.interp(depth, _LOG_GRID, profile), axis=-1))

    observed = np.partition(null.survival(np.arange(n), loss), k - 1)[:k]
    sums = np.cumsum(rng.standard_exponential((simulations, k)), axis=1)
    simulated3 = third(sums / (sums[:, -1] + rng.standard_gamma(n + 1 - k, simulations))[:, None])
    return AcerbiSzekely(
        _judge(float(z1[0]), simulated1), _judge(float(z2[0]), simulated2), _judge(float(third(observed)), simulated3)
    )


def fissler_ziegel(
    losses: ArrayLike, value_at_risk: ArrayLike, expected_shortfall: ArrayLike, confidence: float
) -> Floats:
    """FZ0 loss of each row, shape (n,): smaller is better, and on average smallest for the true (VaR, ES).

    Fissler & Ziegel (2016) in the form homogeneous of degree zero (Patton, Ziegel & Chen 2019, equation 6), with their
    Y = −L, v = −V, e = −E:  (L − V)⁺/((1 − confidence)·E) + V/E + ln E − 1.
    """
    p = tail_probability(confidence)
    loss = finite("losses", losses)
    risk, shortfall = _forecasts(value_at_risk, expected_shortfall, len(loss))
    return np.asarray(np.maximum(loss - risk, 0.0) / (p * shortfall) + risk / shortfall + np.log(shortfall) - 1.0)
