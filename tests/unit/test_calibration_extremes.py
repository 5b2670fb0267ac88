"""The generalised Pareto fit against scipy, against asymptotic theory, and its formulas against integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from plimsoll.calibration.extremes import (
    SHAPE_PRIOR,
    GeneralisedPareto,
    fit_pareto,
    pareto_fit,
    pareto_risk,
)
from plimsoll.errors import PlimsollError

NO_PRIOR = (0.0, np.inf)


@pytest.mark.parametrize(("shape", "seed"), [(0.35, 1), (0.1, 2), (0.0, 3), (-0.2, 4), (0.6, 5)])
def test_paretoFit_isAsLikelyAsScipys(shape, seed):
    excess = stats.genpareto.rvs(shape, scale=1.7, size=400, random_state=seed)
    found = pareto_fit(excess, np.ones(400), *NO_PRIOR)
    theirs = stats.genpareto.fit(excess, floc=0.0)
    mine = stats.genpareto.logpdf(excess, found[0], scale=found[1]).sum()
    assert mine >= stats.genpareto.logpdf(excess, theirs[0], scale=theirs[2]).sum() - 1e-6
    assert found == pytest.approx((theirs[0], theirs[2]), abs=2e-3)


def test_paretoFit_weightsCountAsRepetitions():
    excess = stats.genpareto.rvs(0.2, size=100, random_state=8)
    weight = np.where(np.arange(100) < 40, 3.0, 1.0)
    repeated = np.concatenate([excess, excess[:40], excess[:40]])
    weighted = pareto_fit(excess, weight, *SHAPE_PRIOR)
    assert weighted == pytest.approx(pareto_fit(repeated, np.ones(180), *SHAPE_PRIOR), rel=1e-5)


def test_paretoFit_maximisesThePenalisedLikelihood():
    """Against a grid around the fit, with scipy's density."""
    excess = stats.genpareto.rvs(0.5, size=30, random_state=11)

    def penalised(shape: float, scale: float) -> float:
        density = stats.genpareto.logpdf(excess, shape, scale=scale).sum()
        return density - (shape - SHAPE_PRIOR[0]) ** 2 / (2 * SHAPE_PRIOR[1] ** 2)

    shape, scale = pareto_fit(excess, np.ones(30), *SHAPE_PRIOR)
    best = penalised(shape, scale)
    around = [
        penalised(shape + a, scale * (1 + b)) for a in np.linspace(-0.1, 0.1, 21) for b in np.linspace(-0.2, 0.2, 21)
    ]
    assert best >= max(around) - 1e-8
    free = pareto_fit(excess, np.ones(30), *NO_PRIOR)[0]
    assert min(free, SHAPE_PRIOR[0]) < shape < max(free, SHAPE_PRIOR[0])


def test_standardErrors_agreeWithTheoryOnManyExcesses():
    """Smith (1987): n·variance of (ξ, β) tends to (1 + ξ)² and 2β²(1 + ξ)."""
    losses = stats.genpareto.rvs(0.25, scale=2.0, size=40_000, random_state=5)
    fit = fit_pareto(losses, 0.5)
    assert fit.count == 20_000
    assert fit.exceedance == 0.5
    assert fit.shape_error == pytest.approx((1 + fit.shape) / np.sqrt(fit.count), rel=0.03)
    assert fit.scale_error == pytest.approx(fit.scale * np.sqrt(2 * (1 + fit.shape) / fit.count), rel=0.03)
    assert abs(fit.shape - 0.25) < 4 * fit.shape_error


def test_prior_narrowsTheErrorOfTheShape():
    losses = stats.t.rvs(4, size=500, random_state=9)
    free, held = fit_pareto(losses, 0.06), fit_pareto(losses, 0.06, SHAPE_PRIOR)
    assert held.shape_error < SHAPE_PRIOR[1] < free.shape_error


@pytest.mark.parametrize("shape", [-0.2, 0.0, 1e-12, 0.3])
def test_risk_isQuantileAndMeanBeyondIt(shape):
    fit = GeneralisedPareto(1.5, shape, 0.8, 0.1, 0.0, 0.0, 100)
    law = stats.genpareto(shape, loc=1.5, scale=0.8)
    quantile = law.ppf(1 - 0.01 / 0.1)
    assert fit.value_at_risk(0.99) == pytest.approx(quantile, rel=1e-9)
    area = integrate.quad(law.isf, 0.0, 0.1)[0]
    assert fit.expected_shortfall(0.99) == pytest.approx(area / 0.1, rel=1e-6)
    assert pareto_risk(1.5, shape, 0.8, 1.0)[0] == pytest.approx(1.5)


def test_fitPareto_findsTheQuantileOfAStudent():
    losses = stats.t.rvs(4, size=50_000, random_state=21)
    fit = fit_pareto(losses, 0.06, SHAPE_PRIOR)
    quantile = stats.t.ppf(0.99, 4)
    shortfall = stats.t.pdf(quantile, 4) / 0.01 * (4 + quantile**2) / 3
    assert fit.value_at_risk(0.99) == pytest.approx(quantile, rel=0.02)
    assert fit.expected_shortfall(0.99) == pytest.approx(shortfall, rel=0.03)


@pytest.mark.parametrize("losses", [np.arange(100.0), np.ones(1000)])
def test_fitPareto_revertsIfThereIsNothingToFit(losses):
    with pytest.raises(PlimsollError, match="needs 10 distinct losses beyond the threshold"):
        fit_pareto(losses, 0.06)
