"""Are losses beyond value at risk as rare as promised, and do they come one by one?

Hits are booleans of shape (n,) in order of time: `losses > value_at_risk`. Under the null they are independent and each
is true with probability p = 1 − confidence.

With a dozen hits the χ² distributions of the textbooks are rough, so every test also gives a p-value that holds in a
finite sample: Kupiec's and Christoffersen's by counting all outcomes, the dynamic quantile test by Monte Carlo (Dufour
2006). Both count outcomes that tie with what was seen, so they err towards not rejecting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import gammaln, xlogy

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Flags, Floats, Integers
from plimsoll.validation.checks import finite, tail_probability

Alternative = Literal["two-sided", "greater"]
Zone = Literal["green", "yellow", "red"]

LAGS = 4
"""Lagged hits in the dynamic quantile test (Engle & Manganelli 2004)."""

BASEL_DAYS = 250
BASEL_CONFIDENCE = 0.99
BASEL_ADDITIONS = {5: 0.40, 6: 0.50, 7: 0.65, 8: 0.75, 9: 0.85}
"""Added to the capital multiplier by exceptions in 250 days: 0 up to 4, 1 from 10 (Basel Committee 1996, table 2)."""

_TIE = 1e-9  # likelihood ratios of the same counts differ by rounding
_NEGLIGIBLE = 1e-13  # counts of hits less likely than this are left out of the enumeration


@dataclass(frozen=True, slots=True)
class TestResult:
    """statistic; p_value from its asymptotic distribution; exact_p_value that holds in a finite sample."""

    __test__ = False  # not a class of tests, whatever pytest makes of its name

    statistic: float
    p_value: float
    exact_p_value: float


@dataclass(frozen=True, slots=True)
class TrafficLight:
    """cumulative_probability: of this many exceptions or fewer from a right model. yellow_from, red_from: the least
    counts of the zones. addition: to the multiplier; None unless 250 days at 99%, for which alone it is published."""

    zone: Zone
    cumulative_probability: float
    yellow_from: int
    red_from: int
    addition: float | None


def _hits(hits: ArrayLike) -> Flags:
    array = np.asarray(hits)
    if array.dtype != np.bool_ or array.ndim != 1 or len(array) < 2:
        raise PlimsollError("hits: give an array of at least two booleans, losses > value_at_risk")
    return array


def coverage_ratio(hits: int | Integers, n: int, p: float) -> Floats:
    """Kupiec's likelihood ratio, χ²(1): 2·ln[(x/n)^x (1 − x/n)^(n−x) / (p^x (1 − p)^(n−x))], x hits in n.

    Kupiec (1995); 0·ln 0 = 0.
    """
    x = np.asarray(hits, dtype=np.float64)
    free = xlogy(x, x / n) + xlogy(n - x, 1.0 - x / n)
    return np.asarray(np.maximum(2.0 * (free - xlogy(x, p) - xlogy(n - x, 1.0 - p)), 0.0))


def _accepted(n: int, p: float, level: float, alternative: Alternative) -> Flags:
    """Which counts 0 … n Kupiec's test accepts, shape (n + 1,)."""
    counts = np.arange(n + 1)
    ratio = coverage_ratio(counts, n, p)
    if alternative == "two-sided":
        return np.asarray(ratio < stats.chi2.isf(level, 1))
    return np.asarray((counts <= n * p) | (np.sqrt(ratio) < stats.norm.isf(level)))


def kupiec(hits: ArrayLike, confidence: float, alternative: Alternative = "two-sided") -> TestResult:
    """Unconditional coverage (Kupiec 1995): is the share of hits 1 − confidence?

    "greater" asks only for too many: its statistic is the signed root of the likelihood ratio, standard normal. The
    exact p-value sums binomial probabilities of counts whose statistic is as large.
    """
    array, p = _hits(hits), tail_probability(confidence)
    n, x = len(array), int(np.count_nonzero(array))
    counts = np.arange(n + 1)
    statistic = coverage_ratio(counts, n, p)
    if alternative == "greater":
        statistic = np.sign(counts - n * p) * np.sqrt(statistic)
    seen = float(statistic[x])
    p_value = stats.norm.sf(seen) if alternative == "greater" else stats.chi2.sf(seen, 1)
    exact = float(np.sum(stats.binom.pmf(counts[statistic >= seen - _TIE], n, p)))
    return TestResult(seen, float(p_value), min(exact, 1.0))


def kupiec_band(
    n: int, confidence: float, level: float = 0.05, alternative: Alternative = "two-sided"
) -> tuple[int, int]:
    """(least, most) hits in n that Kupiec's test does not reject at `level`, both included.

    The table of Kupiec (1995) has the same bands, save that it prints N < 7 for 255 days at 99% and so accepts no hit
    at all, whose ratio 5.13 is above 3.84: this follows the formula. "greater" has 0 as its least. Raises
    PlimsollError where no count is accepted (n of a few days).
    """
    if n < 1:
        raise PlimsollError(f"a band of exceedances for {n} days makes no sense; give one day or more")
    accepted = np.flatnonzero(_accepted(n, tail_probability(confidence), level, alternative))
    if len(accepted) == 0:
        raise PlimsollError(f"{n} days are too few for any count of exceedances to be accepted; give a longer history")
    return int(accepted[0]), int(accepted[-1])


def _independence_ratio(n00: Floats, n01: Floats, n10: Floats, n11: Floats) -> Floats:
    """Christoffersen's likelihood ratio of a first-order Markov chain to independence; n01: a hit after none."""
    one, pairs = n01 + n11, n00 + n01 + n10 + n11
    chain = 0.0
    for stay, leave in ((n00, n01), (n11, n10)):
        total = np.maximum(stay + leave, 1.0)
        chain = chain + xlogy(stay, stay / total) + xlogy(leave, leave / total)
    independent = xlogy(one, one / pairs) + xlogy(pairs - one, 1.0 - one / pairs)
    return np.asarray(np.maximum(2.0 * (chain - independent), 0.0))


def _arrangements(counts: Integers, n: int) -> tuple[Floats, Floats]:
    """(ratios, probabilities) of every kind of arrangement of x hits among n, all arrangements being equally likely.

    For each x of counts, shape (c,); results of shape (c, 4, largest x). x hits fall into R runs in C(x−1, R−1) ways
    and the runs into the n−x+1 gaps between misses; transitions depend only on R and on whether the first and the last
    gap are used, which leaves C(n−x−1, R − those used) ways for the others.
    """
    x = counts.astype(np.float64)[:, None, None]
    misses = n - x
    first, last = np.array([0.0, 0.0, 1.0, 1.0])[:, None], np.array([0.0, 1.0, 0.0, 1.0])[:, None]
    runs = np.arange(1.0, max(float(np.max(counts)), 1.0) + 1.0)
    inner = runs - first - last
    possible = (runs <= x) & (inner >= 0) & (inner <= misses - 1)
    r, k = np.where(possible, runs, 1.0), np.where(possible, inner, 0.0)
    x, misses = np.maximum(x, 1.0), np.maximum(misses, 1.0)
    log_ways = gammaln(x) - gammaln(r) - gammaln(np.maximum(x - r, 0.0) + 1.0)
    log_ways = log_ways + gammaln(misses) - gammaln(k + 1.0) - gammaln(np.maximum(misses - k, 1.0))
    log_total = gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(misses + 1.0)
    probability = np.where(possible, np.exp(log_ways - log_total), 0.0)
    n01, n10, n11 = (np.where(possible, value, 0.0) for value in (runs - first, runs - last, x - runs))
    ratio = _independence_ratio(n - 1.0 - n01 - n10 - n11, n01, n10, n11)
    probability[(counts == 0) | (counts == n), 0, 0] = 1.0  # one arrangement, of ratio 0
    return ratio, probability


def transitions(hits: ArrayLike) -> tuple[int, int, int, int]:
    """(n00, n01, n10, n11): how often one state followed another; n01 counts a hit after none."""
    array = _hits(hits)
    before, after = array[:-1], array[1:]
    n11 = int(np.count_nonzero(before & after))
    n01, n10 = int(np.count_nonzero(after)) - n11, int(np.count_nonzero(before)) - n11
    return len(before) - n01 - n10 - n11, n01, n10, n11


def christoffersen_independence(hits: ArrayLike) -> TestResult:
    """Does a hit make one on the next day likelier? Christoffersen (1998), section 3.2: LR_ind, χ²(1).

    The exact p-value is over all arrangements of the hits seen, equally likely under independence whatever their
    probability. Without a hit, or with nothing else, the ratio is 0 and both p-values are 1.
    """
    array = _hits(hits)
    counts = np.array(transitions(array), dtype=np.float64)
    seen = float(_independence_ratio(*counts))
    ratio, probability = _arrangements(np.array([np.count_nonzero(array)]), len(array))
    exact = float(np.sum(probability[ratio >= seen - _TIE]))
    return TestResult(seen, float(stats.chi2.sf(seen, 1)), min(exact, 1.0))


def christoffersen(hits: ArrayLike, confidence: float) -> TestResult:
    """Conditional coverage (Christoffersen 1998): LR_cc = LR_uc + LR_ind, χ²(2), both right share and independence.

    LR_uc is over all n rows, LR_ind over their n−1 pairs. The exact p-value is over all arrangements of every count of
    hits, weighed by its binomial probability.
    """
    array, p = _hits(hits), tail_probability(confidence)
    n = len(array)
    seen = float(coverage_ratio(int(np.count_nonzero(array)), n, p)) + christoffersen_independence(array).statistic
    weight = stats.binom.pmf(np.arange(n + 1), n, p)
    likely = np.flatnonzero(weight > _NEGLIGIBLE)
    ratio, probability = _arrangements(likely, n)
    above = ratio + coverage_ratio(likely, n, p)[:, None, None] >= seen - _TIE
    exact = float(weight[likely] @ np.sum(probability * above, axis=(1, 2)))
    return TestResult(seen, float(stats.chi2.sf(seen, 2)), min(exact, 1.0))


def _dynamic_quantile(positions: Integers, paths: int, value_at_risk: Floats, p: float) -> tuple[Floats, Integers]:
    """(statistics, ranks of the regressors) of many paths of hits at once, shapes (paths,).

    positions: sorted flat indices path·n + t of the hits. Hits are rare, so every entry of XᵀX and Xᵀ(hit − p) is a
    sum over them alone.
    """
    n = len(value_at_risk)
    path, t = positions // n, positions % n
    rows = n - LAGS
    spread = float(np.std(value_at_risk[LAGS:]))
    level = float(np.mean(value_at_risk[LAGS:]))
    # a constant forecast says what the constant says; scaling leaves the statistic as it is and the matrix regular
    scaled = (value_at_risk - level) / spread if spread > 1e-12 * abs(level) else np.zeros(n)

    def total(weights: Floats) -> Floats:
        return np.asarray(np.bincount(path, weights=weights, minlength=paths), dtype=np.float64)

    gram = np.zeros((paths, LAGS + 2, LAGS + 2))  # constant, lagged hits 1 … 4, value at risk
    score = np.zeros((paths, LAGS + 2))
    risk = LAGS + 1
    gram[:, 0, 0] = rows
    gram[:, 0, risk] = gram[:, risk, 0] = np.sum(scaled[LAGS:])
    gram[:, risk, risk] = np.sum(scaled[LAGS:] ** 2)
    for lag in range(LAGS + 1):  # lag 0 is the hit itself, the other side of the regression
        inside = (t + lag >= LAGS) & (t + lag < n)
        count = total(inside.astype(np.float64))
        product = total(np.where(inside, scaled[np.minimum(t + lag, n - 1)], 0.0))
        if lag == 0:
            score[:, 0] = count - p * rows
            score[:, risk] = product - p * gram[:, 0, risk]
            continue
        gram[:, lag, lag] = gram[:, 0, lag] = gram[:, lag, 0] = count
        gram[:, lag, risk] = gram[:, risk, lag] = product
        score[:, lag] -= p * count
        for nearer in range(lag):
            other = positions + (lag - nearer)
            found = np.searchsorted(positions, other)
            both = inside & (found < len(positions))
            both[both] = positions[found[both]] == other[both]
            pairs = total(both.astype(np.float64))
            if nearer == 0:
                score[:, lag] += pairs
            else:
                gram[:, lag, nearer] = gram[:, nearer, lag] = pairs
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-10 * values[:, -1:]
    along = np.einsum("pij,pi->pj", vectors, score)
    statistic = np.sum(np.where(kept, along**2 / np.where(kept, values, 1.0), 0.0), axis=1) / (p * (1.0 - p))
    return statistic, np.count_nonzero(kept, axis=1)


def dynamic_quantile(
    hits: ArrayLike, value_at_risk: ArrayLike, confidence: float, *, seed: int, simulations: int = 2_000
) -> TestResult:
    """Dynamic quantile test (Engle & Manganelli 2004): can anything known beforehand foretell a hit?

    hit_t − p is regressed on a constant, four lagged hits and the forecast value_at_risk_t, shape (n,):
        DQ = (hit − p)ᵀX(XᵀX)⁻¹Xᵀ(hit − p) / (p(1 − p)),  χ² with rank(X) degrees of freedom, 6 in general.
    Regressors that say the same as others drop out, of the statistic and of the degrees: without a hit the lags and
    with a constant forecast the forecast do, and both cases are thus defined.

    exact_p_value: (1 + how many of `simulations` draws of independent hits have a statistic as large) /
    (1 + simulations), on the forecasts given (Dufour 2006). Raises PlimsollError below 12 rows.
    """
    array, p = _hits(hits), tail_probability(confidence)
    n = len(array)
    risk = finite("value at risk", value_at_risk, n)
    if n < 2 * (LAGS + 2):
        raise PlimsollError(f"the dynamic quantile test needs {2 * (LAGS + 2)} rows, not {n}; give a longer history")
    statistic, rank = _dynamic_quantile(np.flatnonzero(array), 1, risk, p)
    simulated, _ = _dynamic_quantile(rare_events(n * simulations, p, np.random.default_rng(seed)), simulations, risk, p)
    seen = float(statistic[0])
    exact = (1 + int(np.count_nonzero(simulated >= seen - _TIE))) / (1 + simulations)
    return TestResult(seen, float(stats.chi2.sf(seen, int(rank[0]))), exact)


def rare_events(n: int, p: float, rng: np.random.Generator) -> Integers:
    """Sorted indices of the successes in n independent trials of probability p, by the gaps between them."""
    found = np.empty(0, dtype=np.int64)
    last = -1
    while last < n - 1:
        remaining = (n - 1 - last) * p
        gaps = rng.geometric(p, size=math.ceil(remaining + 4.0 * math.sqrt(remaining) + 8.0))
        found = np.concatenate([found, last + np.cumsum(gaps)])
        last = int(found[-1])
    return found[found < n]


def basel_addition(exceptions: int) -> float:
    """What so many exceptions in 250 days at 99% add to the capital multiplier (Basel Committee 1996, table 2)."""
    least = min(BASEL_ADDITIONS)
    return 0.0 if exceptions < least else BASEL_ADDITIONS.get(exceptions, 1.0)


def traffic_light(exceedances: int, n: int, confidence: float) -> TrafficLight:
    """Basel zones (Basel Committee 1996): yellow from where this many or fewer have 95%, red from 99.99%."""
    p = tail_probability(confidence)
    if not 0 <= exceedances <= n or n < 1:
        raise PlimsollError(f"{exceedances} exceedances in {n} days make no sense; count both over the same days")
    cumulative = stats.binom.cdf(np.arange(n + 1), n, p)
    yellow, red = (int(np.searchsorted(cumulative, bound)) for bound in (0.95, 0.9999))
    zone: Zone = "green" if exceedances < yellow else "yellow" if exceedances < red else "red"
    addition = None
    if n == BASEL_DAYS and math.isclose(confidence, BASEL_CONFIDENCE):
        addition = basel_addition(exceedances)
    return TrafficLight(zone, float(cumulative[exceedances]), yellow, red, addition)
