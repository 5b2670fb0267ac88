"""The regime of an asset, calm, tense or stressed, from a hidden Markov model of its volatility.

The model sees x, the log of an average of realised volatility: in state k it is normal with mean μ_k and
deviation s_k, and states follow a Markov chain P (Hamilton 1989). It is fitted by Baum–Welch (Baum, Petrie, Soules &
Weiss 1970; scaling as Rabiner 1989, §V) on an expanding window, and read by the Hamilton filter alone: the smoother
looks ahead. The label moves with hysteresis, so that a probability that wavers round a threshold moves no margin.

A regime counts for margin by what it does to tails: the expected shortfall of standardised residuals while it
reigned, against that of all of them, shrunk to 1 as long as there are few.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from plimsoll.calibration.filtered import filtered_risk, residuals, to_forecasts
from plimsoll.calibration.history import History
from plimsoll.calibration.tails import expected_shortfall
from plimsoll.calibration.volatility import combination_sigma, ewma, step_variance
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers
from plimsoll.validation.forecasts import Forecasts

CALM, TENSE, STRESSED = range(3)
STATES = 3

OBSERVATION_DECAY = 0.94
"""Of the average of realised variance (J.P. Morgan 1996). Faster ones tell states no better and change them two or
three times as often; one row of daily bars alone is one squared return, too rough to tell states by."""
FIRST_FIT = 120
"""Rows before the first fit: four months for 14 parameters. More would leave young assets without a regime."""
REFIT = 30
"""Rows between two fits."""
ENTER, LEAVE, MINIMUM_STAY = 0.8, 0.3, 10
"""Up when states above have the first probability; down when those from here on have less than the second, at the
earliest after so many rows."""

TAIL_CONFIDENCE = 0.975
"""Of the tails that regimes are compared by: at 99% a regime of a hundred days would be judged by a single one."""
SHRINKAGE = 250.0
"""Rows in a regime at which its own tail and 1 weigh the same."""

_VARIANCE_FLOOR = 1e-4
_ITERATIONS = 200
_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class HiddenMarkov:
    """K states in order of rising mean. mean, deviation, initial: shape (K,); transition: (K, K), rows sum to 1."""

    mean: Floats
    deviation: Floats
    transition: Floats
    initial: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """What was known row by row, from row `first` of a history on. probability: filtered, shape (n − first, K).
    label: CALM, TENSE or STRESSED, shape (n − first,)."""

    first: int
    probability: Floats
    label: Integers


@njit(cache=True)
def _emission(x: Floats, mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """Normal densities of x in each state over the largest of their row, (n, K), and the logs of the largest, (n,)."""
    n, states = len(x), len(mean)
    density, largest = np.empty((n, states)), np.empty(n)
    for t in range(n):
        for k in range(states):
            u = (x[t] - mean[k]) / deviation[k]
            density[t, k] = -0.5 * u * u - math.log(deviation[k]) - 0.5 * math.log(2.0 * math.pi)
        largest[t] = np.max(density[t])
        density[t] = np.exp(density[t] - largest[t])
    return density, largest


@njit(cache=True)
def _forward(density: Floats, transition: Floats, initial: Floats) -> tuple[Floats, Floats]:
    """Filtered probabilities, (n, K), and the scale of each row, (n,)."""
    n, states = density.shape
    filtered, scale = np.empty((n, states)), np.empty(n)
    for t in range(n):
        for k in range(states):
            predicted = initial[k]
            if t > 0:
                predicted = 0.0
                for j in range(states):
                    predicted += filtered[t - 1, j] * transition[j, k]
            filtered[t, k] = predicted * density[t, k]
        scale[t] = np.sum(filtered[t])
        filtered[t] /= scale[t]
    return filtered, scale


@njit(cache=True)
def _filter(x: Floats, mean: Floats, deviation: Floats, transition: Floats, initial: Floats) -> tuple[Floats, float]:
    density, largest = _emission(x, mean, deviation)
    filtered, scale = _forward(density, transition, initial)
    return filtered, float(np.sum(np.log(scale)) + np.sum(largest))


@njit(cache=True)
def _baum_welch(
    x: Floats, mean: Floats, deviation: Floats, transition: Floats, initial: Floats, iterations: int, tolerance: float
) -> None:
    """Improve the parameters in place until a pass gains less than tolerance·n of log-likelihood."""
    n, states = len(x), len(mean)
    before = -np.inf
    smoothed = np.empty((n, states))
    for _ in range(iterations):
        density, largest = _emission(x, mean, deviation)
        filtered, scale = _forward(density, transition, initial)
        likelihood = np.sum(np.log(scale)) + np.sum(largest)
        if likelihood - before < tolerance * n:
            return
        before = likelihood
        backward, pairs = np.ones(states), np.zeros((states, states))
        smoothed[n - 1] = filtered[n - 1]
        for t in range(n - 2, -1, -1):
            ahead = density[t + 1] * backward / scale[t + 1]
            for j in range(states):
                backward[j] = 0.0
                for k in range(states):
                    step = transition[j, k] * ahead[k]
                    backward[j] += step
                    pairs[j, k] += filtered[t, j] * step
            smoothed[t] = filtered[t] * backward
        initial[:] = smoothed[0]
        for k in range(states):
            weight = max(np.sum(smoothed[:, k]), 1e-12)
            mean[k] = np.sum(smoothed[:, k] * x) / weight
            deviation[k] = math.sqrt(max(np.sum(smoothed[:, k] * (x - mean[k]) ** 2) / weight, _VARIANCE_FLOOR))
            transition[k] = pairs[k] / max(np.sum(pairs[k]), 1e-12)


def hamilton_filter(x: Floats, model: HiddenMarkov) -> tuple[Floats, float]:
    """(P(state at t | x up to t), shape (n, K); log-likelihood) of observations x, shape (n,). Hamilton (1989), §4."""
    filtered, likelihood = _filter(x, model.mean, model.deviation, model.transition, model.initial)
    return filtered, float(likelihood)


def fit_hidden_markov(x: Floats, states: int = STATES) -> HiddenMarkov:
    """Baum–Welch on x, shape (n,), from one start: states are the parts of the sorted sample, and last twenty rows.

    The start makes it deterministic; it finds the maximum nearest to that start, not always the highest. Variances
    stop at 1e-4, where the likelihood of a state on one repeated value would have no bound. Raises PlimsollError where
    x has fewer than ten rows for each state, a value that is not finite, or one value only.
    """
    if len(x) < 10 * states:
        raise PlimsollError(f"regime: {len(x)} rows, and {10 * states} are needed for {states} states; give more")
    if not np.all(np.isfinite(x)):
        raise PlimsollError("regime: an observation is not a finite number; repair the series first")
    if np.ptp(x) == 0.0:
        raise PlimsollError("regime: volatility never changes, so it has no regimes; give real prices")
    parts = np.array_split(np.sort(x), states)
    mean = np.array([np.mean(part) for part in parts])
    deviation = np.array([max(float(np.std(part)), math.sqrt(_VARIANCE_FLOOR)) for part in parts])
    transition = np.full((states, states), 0.05 / max(states - 1, 1))
    np.fill_diagonal(transition, 0.95)
    initial = np.full(states, 1.0 / states)
    _baum_welch(x, mean, deviation, transition, initial, _ITERATIONS, _TOLERANCE)
    order = np.argsort(mean, kind="stable")
    return HiddenMarkov(mean[order], deviation[order], transition[np.ix_(order, order)].copy(), initial[order])


@njit(cache=True)
def hysteresis(probability: Floats, enter: float, leave: float, minimum_stay: int, label: int, stayed: int) -> Integers:
    """Labels, shape (n,), of filtered probabilities, (n, K), from a label that has stood for `stayed` rows.

    Up, at once and by several steps, to the highest state that it or one above has with a probability ≥ enter; down by
    one step where P(this one or above) < leave and the label has stood for `minimum_stay` rows.
    """
    n, states = probability.shape
    labels = np.empty(n, np.int64)
    for t in range(n):
        stayed += 1
        above, upper = 0.0, label
        for k in range(states - 1, label, -1):
            above += probability[t, k]
            if above >= enter:
                upper = k
                break
        if upper > label:
            label, stayed = upper, 0
        elif label > 0 and stayed >= minimum_stay and np.sum(probability[t, label:]) < leave:
            label, stayed = label - 1, 0
        labels[t] = label
    return labels


def observations(history: History) -> Floats:
    """½·log of the average of realised variance, shape (n,); row 0 is NaN."""
    average = ewma(step_variance(history), OBSERVATION_DECAY)
    # a row in a market that stood still is as quiet as the quietest price step that can be told from none
    return np.asarray(0.5 * np.log(np.maximum(average, 1e-16)), dtype=np.float64)


def walk_forward_regimes(history: History, states: int = STATES, refit: int = REFIT) -> Regimes:
    """Filtered probabilities and labels from row FIRST_FIT on, refitted every `refit` rows on all rows by then.

    Raises PlimsollError where the history is not longer than FIRST_FIT rows.
    """
    n = len(history)
    if n <= FIRST_FIT:
        raise PlimsollError(
            f"{history.name}: {n} rows, and the regime model needs more than {FIRST_FIT}; give a longer history"
        )
    x = observations(history)[1:]
    rows, label, stayed = [], CALM, 0
    labels = []
    for start in range(FIRST_FIT, n, refit):
        stop = min(start + refit, n)
        model = fit_hidden_markov(x[:start], states)  # x[start - 1] is row `start`, the first that is labelled
        probability = hamilton_filter(x[: stop - 1], model)[0][start - 1 :]
        part = hysteresis(probability, ENTER, LEAVE, MINIMUM_STAY, label, stayed)
        changed = np.flatnonzero(np.diff(part, prepend=label))
        stayed = stayed + len(part) if len(changed) == 0 else len(part) - 1 - int(changed[-1])
        label = int(part[-1])
        rows.append(probability)
        labels.append(part)
    return Regimes(FIRST_FIT, np.concatenate(rows), np.concatenate(labels))


def tail_scales(standardised: Floats, label: Integers, states: int = STATES) -> Floats:
    """How much longer the tail is within each regime than over all rows, shape (K,).

    standardised: returns over the forecast deviation, shape (m,); label: the regime when each was forecast, (m,). The
    97.5% expected shortfall of |z| in regime k over that of all, shrunk to 1: (n_k·ratio + n₀)/(n_k + n₀), n₀ = 250.
    """
    size = np.abs(standardised)
    scales = np.ones(states)
    least = math.ceil(1.0 / (1.0 - TAIL_CONFIDENCE))
    if len(size) < least:
        return scales
    overall = expected_shortfall(size, TAIL_CONFIDENCE)[1]
    for k in range(states):
        own = size[label == k]
        if len(own) >= least:
            ratio = expected_shortfall(own, TAIL_CONFIDENCE)[1] / overall
            scales[k] = (len(own) * ratio + SHRINKAGE) / (len(own) + SHRINKAGE)
    return scales


def walk_forward_scales(history: History, sigma: Floats, regimes: Regimes) -> Floats:
    """The scale of the tail that row i's regime had shown by row i, shape (n − first,), measured every REFIT rows.

    sigma: forecast deviation of the next step as a fraction of the price, shape (n,), NaN before it is known.
    """
    n, first = len(history), regimes.first
    standardised = residuals(history, sigma)[1:]  # row j's forecast, and what came of it, known at row j + 1
    out = np.ones(n - first)
    for start in range(first, n, REFIT):
        known = np.arange(first, start)
        known = known[np.isfinite(standardised[known])]
        scales = tail_scales(standardised[known], regimes.label[known - first])
        rows = slice(start - first, min(start + REFIT, n) - first)
        out[rows] = scales[regimes.label[rows]]
    return out


def regime_multiplier(history: History, sigma: Floats, regimes: Regimes) -> Floats:
    """By what to multiply margin in the regime of each row from `regimes.first` on: ≥ 1, shape (n − first,).

    The scale of the regime's tail where it is longer than usual; a calm regime gives nothing back, since a floor under
    margin in calm times is what lets it rise less in stress.
    """
    return np.maximum(walk_forward_scales(history, sigma, regimes), 1.0)


def hmm(history: History, confidence: float = 0.99) -> Forecasts:
    """Value at risk and expected shortfall of both sides: filtered historical simulation of returns over σ times the
    regime's scale, both as known when each was forecast.

    Raises PlimsollError where the history is too short for a forecast.
    """
    sigma = combination_sigma(history)
    regimes = walk_forward_regimes(history)
    scaled = sigma.copy()
    scaled[regimes.first :] *= walk_forward_scales(history, sigma, regimes)
    return to_forecasts(history, "hmm", confidence, *filtered_risk(history, scaled, confidence, "pareto"))
