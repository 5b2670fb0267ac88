"""Which model is better, and by more than luck? Losses of forecasts such as FZ0, smaller is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats
from plimsoll.validation.checks import finite


@dataclass(frozen=True, slots=True)
class DieboldMariano:
    """mean_difference: first model's loss less the second's. statistic: < 0 where the first is better. p_value:
    two-sided. better_p_value: small where the first is significantly better."""

    mean_difference: float
    statistic: float
    p_value: float
    better_p_value: float
    lags: int


@dataclass(frozen=True, slots=True)
class ConfidenceSet:
    """p_values by model: the largest level at which it stays in the set. included: those above `size`, best first."""

    p_values: dict[str, float]
    included: tuple[str, ...]
    size: float
    block_length: int


def newey_west_lags(n: int) -> int:
    """⌊4·(n/100)^(2/9)⌋, the usual choice for the Bartlett kernel (Newey & West 1994), less than n."""
    return min(int(4.0 * (n / 100.0) ** (2.0 / 9.0)), n - 1)


def long_run_variance(values: Floats, lags: int) -> float:
    """γ₀ + 2·Σ (1 − j/(lags + 1))·γ_j of a series, shape (n,): Newey & West (1987), never negative."""
    centred = values - np.mean(values)
    n = len(values)
    autocovariance = [float(centred[j:] @ centred[: n - j]) / n for j in range(lags + 1)]
    return autocovariance[0] + 2.0 * sum((1.0 - j / (lags + 1)) * autocovariance[j] for j in range(1, lags + 1))


def diebold_mariano(
    first: ArrayLike, second: ArrayLike, *, horizon: int = 1, lags: int | None = None
) -> DieboldMariano:
    """Diebold & Mariano (1995) on the losses of two models over the same rows, shape (n,), n ≥ 10.

    The mean difference over its Newey–West standard error, times √((n + 1 − 2h + h(h − 1)/n)/n) and against t(n − 1)
    (Harvey, Leybourne & Newbold 1997). horizon h: rows that one forecast spans. lags: by default `newey_west_lags(n)`,
    at least h − 1. Equal losses give statistic 0. Raises PlimsollError where losses differ by the same amount on every
    row, which no sample does.
    """
    a = finite("losses of the first model", first)
    b = finite("losses of the second model", second, len(a))
    n = len(a)
    if n < 10 or not 1 <= horizon <= n // 2:
        raise PlimsollError(f"{n} rows are too few to compare forecasts of {horizon} rows; give a longer history")
    lags = max(newey_west_lags(n), horizon - 1) if lags is None else lags
    if not 0 <= lags < n:
        raise PlimsollError(f"{lags} lags do not fit in {n} rows; give fewer")
    difference = a - b
    mean = float(np.mean(difference))
    if not np.any(difference):
        return DieboldMariano(0.0, 0.0, 1.0, 0.5, lags)
    variance = long_run_variance(difference, lags)
    if variance <= (1e-12 * mean) ** 2:
        raise PlimsollError(f"the losses differ by {mean:g} on every row; check that two models are compared")
    small_sample = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    statistic = small_sample * mean / math.sqrt(variance / n)
    return DieboldMariano(
        mean,
        statistic,
        float(2.0 * stats.t.sf(abs(statistic), n - 1)),
        float(stats.t.cdf(statistic, n - 1)),
        lags,
    )


def block_length(losses: Floats) -> int:
    """Expected block of the stationary bootstrap for losses of models, shape (n, k), in rows.

    The largest that Politis & White (2004, corrected by Patton, Politis & White 2009) find best for any model's loss
    less the models' average, at least ⌈n^(1/3)⌉ and at most n/4.
    """
    from arch.bootstrap import optimal_block_length

    n = len(losses)
    relative = losses - np.mean(losses, axis=1, keepdims=True)
    varying = relative[:, np.std(relative, axis=0) > 0.0]
    best = float(np.max(optimal_block_length(varying)["stationary"])) if varying.size else 1.0
    return max(1, min(math.ceil(max(best, float(np.cbrt(n)))), n // 4))


def model_confidence_set(
    losses: Mapping[str, ArrayLike],
    *,
    seed: int,
    size: float = 0.10,
    replications: int = 1_000,
    block: int | None = None,
) -> ConfidenceSet:
    """Models that are not significantly worse than the best (Hansen, Lunde & Nason 2011), by their range statistic.

    losses: by model, shape (n,) over the same rows, n ≥ 20. The stationary bootstrap draws blocks of `block` rows on
    average, by default `block_length`. Models with the same loss on every row count as one. size: 0.10 gives the 90%
    set. With one model, or none that differs, every p-value is 1.
    """
    from arch.bootstrap import MCS

    if not losses:
        raise PlimsollError("no model to compare; give the losses of one or more")
    names = list(losses)
    n = len(np.asarray(losses[names[0]]))
    columns = np.column_stack([finite(f"losses of {name}", losses[name], n) for name in names])
    if n < 20:
        raise PlimsollError(f"{n} rows are too few to bootstrap; give a longer history")
    if not 0.0 < size < 1.0:
        raise PlimsollError(f"size {size} is not between 0 and 1; 0.1 gives the 90% set")
    distinct, same_as = np.unique(columns, axis=1, return_inverse=True)
    same_as = np.ravel(same_as)
    block = block_length(columns) if block is None else block
    by_column = np.ones(distinct.shape[1])
    if distinct.shape[1] > 1:
        procedure = MCS(distinct, size, reps=replications, block_size=block, seed=seed)
        procedure.compute()
        by_column = procedure.pvalues["Pvalue"].sort_index().to_numpy()
    p_values = {name: float(by_column[same_as[i]]) for i, name in enumerate(names)}
    mean = dict(zip(names, np.mean(columns, axis=0), strict=True))
    included = sorted((name for name in names if p_values[name] > size), key=lambda name: (mean[name], name))
    return ConfidenceSet(p_values, tuple(included), size, block)
