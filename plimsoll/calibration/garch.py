"""GJR-GARCH(1,1) with Student-t innovations, by maximum likelihood fast enough to refit along a history.

    v_{t+1} = ω + (α + γ·[r_t < 0])·r_t² + β·v_t,   r_t = √v_t·e_t,  e_t ~ Student-t(ν) of variance 1
(Glosten, Jagannathan & Runkle 1993; Bollerslev 1987). Mean zero: over a day it is a hundredth of the deviation. The
likelihood and its gradient run in one compiled pass; package arch has the
same model and is what the tests compare with.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from plimsoll.market.series import Floats

BOUNDS = ((1e-6, 5.0), (0.5, 0.9999), (1e-4, 0.6), (0.0, 0.3), (2.5, 100.0))
"""Of what is searched: ω in units of the sample's variance; persistence π = α + γ/2 + β; the shares α/π and γ/2π; ν.

Crypto-assets are often fitted best at π = 1, so the limit is a bound of the search, where the optimiser can follow it,
and not a penalty. As ν falls to 2 the variance ceases to exist, and a single day of a short history sets the scale of
every forecast: hence 2.5.
"""
BACKCAST_ROWS = 75
"""Rows whose weighted squares start the recursion, with decay 0.94, as arch does."""
_START = np.array([0.05, 0.97, 0.08, 0.01, 5.0])


@dataclass(frozen=True, slots=True)
class Gjr:
    """Fitted parameters, in units of the returns given. first: variance before the first row."""

    omega: float
    alpha: float
    gamma: float
    beta: float
    nu: float
    first: float
    log_likelihood: float

    def variance(self, returns: Floats) -> Floats:
        """Variance of each of `returns`, shape (n,), and of the one after them: shape (n + 1,)."""
        return np.asarray(gjr_variance(returns, np.array([self.omega, self.alpha, self.gamma, self.beta]), self.first))


@njit(cache=True)
def gjr_variance(returns: Floats, parameters: Floats, first: float) -> Floats:
    """The recursion above, from a step before of variance `first`; parameters: ω, α, γ, β. Shape (n,) → (n + 1,)."""
    variance = np.empty(len(returns) + 1)
    variance[0] = parameters[0] + (parameters[1] + 0.5 * parameters[2] + parameters[3]) * first
    for t in range(len(returns)):
        slope = parameters[1] + (parameters[2] if returns[t] < 0.0 else 0.0)
        variance[t + 1] = parameters[0] + slope * returns[t] ** 2 + parameters[3] * variance[t]
    return variance


@njit(cache=True)
def _kernel(parameters: Floats, returns: Floats, first: float) -> tuple[float, Floats]:
    """Mean negative log-likelihood less the terms of ν alone, and its gradient, by forward sensitivities."""
    omega, alpha, gamma, beta, nu = parameters
    gradient = np.zeros(5)
    by_omega, by_alpha, by_gamma, by_beta = 1.0, first, 0.5 * first, first
    variance = omega + (alpha + 0.5 * gamma + beta) * first
    total = 0.0
    for t in range(len(returns)):
        square = returns[t] ** 2
        q = square / (variance * (nu - 2.0))
        log = math.log1p(q)
        share = q / (1.0 + q)
        total += math.log(variance) + (nu + 1.0) * log
        slope = (1.0 - (nu + 1.0) * share) / variance
        gradient[0] += slope * by_omega
        gradient[1] += slope * by_alpha
        gradient[2] += slope * by_gamma
        gradient[3] += slope * by_beta
        gradient[4] += log - (nu + 1.0) * share / (nu - 2.0)
        fell = 1.0 if returns[t] < 0.0 else 0.0
        by_omega = 1.0 + beta * by_omega
        by_alpha = square + beta * by_alpha
        by_gamma = square * fell + beta * by_gamma
        by_beta = variance + beta * by_beta
        variance = omega + (alpha + gamma * fell) * square + beta * variance
    half = 0.5 / len(returns)
    return total * half, gradient * half


def _objective(unknowns: Floats, returns: Floats, first: float) -> tuple[float, Floats]:
    """Mean negative log-likelihood and its gradient, of (ln ω, π, α/π, γ/2π, ln ν)."""
    omega, alpha, gamma, beta, nu = parameters = _parameters(unknowns)
    value, by = _kernel(parameters, returns, first)
    value += 0.5 * math.log(math.pi * (nu - 2.0)) + float(gammaln(nu / 2.0) - gammaln((nu + 1.0) / 2.0))
    by[4] += 0.5 / (nu - 2.0) + 0.5 * float(digamma(nu / 2.0) - digamma((nu + 1.0) / 2.0))
    persistence = unknowns[1]
    by_persistence = (alpha * by[1] + gamma * by[2] + beta * by[3]) / persistence
    shares = persistence * np.array([by[1] - by[3], 2.0 * by[2] - by[3]])
    return value, np.array([omega * by[0], by_persistence, *shares, nu * by[4]])


def _parameters(unknowns: Floats) -> Floats:
    """ω, α, γ, β, ν."""
    log_omega, persistence, shock, fall, log_nu = unknowns.tolist()
    slopes = persistence * np.array([shock, 2.0 * fall, 1.0 - shock - fall])
    return np.array([math.exp(log_omega), *slopes, math.exp(log_nu)])


def fit_gjr(returns: Floats, start: Gjr | None = None) -> Gjr:
    """Maximum likelihood on returns of shape (n,), not all zero. `start`: a fit to nearly the same returns,
    tried beside the usual one: near persistence 1 the likelihood is flat and a search may stop early."""
    scale = math.sqrt(float(np.mean(returns**2)))
    scaled = returns / scale
    rows = min(BACKCAST_ROWS, len(scaled))
    weights = 0.94 ** np.arange(rows)
    first = float(np.sum(weights * scaled[:rows] ** 2) / np.sum(weights))
    first = max(first, 1e-4)  # a history that begins with silence
    guesses = [_START]
    if start is not None:
        persistence = start.alpha + start.gamma / 2.0 + start.beta
        shares = start.alpha / persistence, start.gamma / 2.0 / persistence
        guesses.append(np.array([start.omega / scale**2, persistence, *shares, start.nu]))
    low, high = np.transpose(BOUNDS)
    best = min(
        (
            minimize(
                _objective,
                _logarithms(np.clip(guess, low, high)),
                (scaled, first),
                "L-BFGS-B",
                jac=True,
                bounds=list(zip(_logarithms(low), _logarithms(high), strict=True)),
                options={"ftol": 1e-8},  # of the mean log-likelihood
            )
            for guess in guesses
        ),
        key=lambda found: float(found.fun),
    )
    omega, alpha, gamma, beta, nu = _parameters(best.x).tolist()
    likelihood = -len(returns) * (float(best.fun) + math.log(scale))
    return Gjr(omega * scale**2, alpha, gamma, beta, nu, first * scale**2, likelihood)


def _logarithms(searched: Floats) -> Floats:
    """ω and ν by their logarithms: on those the optimiser's steps are alike."""
    return np.array([math.log(searched[0]), *searched[1:4], math.log(searched[4])])
