"""Choosing the margin rule from the past: the least average margin for a given shortfall, over all assets at once.

At each date of choice every candidate is run over what was known by then. Candidates differ in average margin and in
shortfall, mean of max(|return| − margin, 0); so each is scaled to the shortfall of a constant margin, c times the
expected shortfall of the asset's own past, for several c: one c would let a single crash decide. The objective is
the mean over c and assets of ln(average margin/constant margin). What is chosen is the candidates' average, each
weighted by how well it did (as in Vovk 1990): the best of near equals changes with every crash.

The multiplier is the expected shortfall of return/margin, the worse side. One asset's own past has too few tails and
the pool of all is ruled by the wildest, so it is a credibility estimate (Bühlmann 1967), in logs: weight n/(n + k) on
the asset's own over n rows, the rest on the median of all assets weighted by their rows.

Nothing after the date is seen: a return counts once `end`, when it was known, has passed.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from plimsoll.calibration.rule import DAY, Limits, MarginRule, margins, project, targets
from plimsoll.calibration.tails import expected_shortfall
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Flags, Floats, Integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.calibration.history import History

SHARES = (0.6, 0.7, 0.85, 1.0)
"""c: from a constant margin near the 99% value at risk to the 99% expected shortfall."""
WARM_UP = 365 * DAY
"""Seconds of an asset's history before its margin is judged, and before its past counts in a choice."""
CHOICE, REFIT = 182 * DAY, 30 * DAY
"""Seconds between two choices among the candidates, and between two estimates of the multipliers."""
CREDIBILITY = 365.0
"""k: rows at which an asset's own tail counts as much as that of the others."""
SHARPNESS = 100.0
"""How fast a candidate's weight falls with its objective: by e for each percent of margin it needs more."""


@dataclass(frozen=True, slots=True, eq=False)
class RiskPath:
    """Forecasts of one asset and what came. Arrays of shape (n,), steps in order of time that don't overlap.

    ts, end: unix seconds, when the forecast was made and when its return was known. forecast: standard deviation of the
    return as a fraction of price, or any measure in proportion to it, > 0. realised: simple return from ts to end.
    """

    name: str
    ts: Integers
    end: Integers
    forecast: Floats
    realised: Floats

    def __post_init__(self) -> None:
        if not len(self.ts) == len(self.end) == len(self.forecast) == len(self.realised):
            raise PlimsollError(f"{self.name}: times, forecasts and returns differ in length; give one of each a row")
        if not np.all(np.isfinite(self.realised)):
            raise PlimsollError(f"{self.name}: a return is not a finite number; check the prices")

    @property
    def judged(self) -> Flags:
        """Rows after the warm-up, shape (n,)."""
        return np.asarray(self.ts >= self.ts[0] + WARM_UP)


def risk_path(history: History, forecast: Floats) -> RiskPath:
    """Pair forecasts of shape (n,), NaN before the model knew enough, with the returns that followed."""
    rows = np.flatnonzero(np.isfinite(forecast[:-1]))
    if len(rows) < 2:
        raise PlimsollError(f"{history.name}: no forecasts to set margin from; give a longer history")
    return RiskPath(history.name, history.ts[rows], history.ts[rows + 1], forecast[rows], history.change[rows + 1])


def candidates(limits: Limits) -> tuple[MarginRule, ...]:
    """The rules that are compared: a small grid round the one that follows its forecast in full, mid-band."""
    plain = MarginRule(limits=limits)
    powers = ((1.0, 1.0), (1.0, 0.5), (1.5, 0.5), (1.5, 0.75), (1.5, 1.5), (2.0, 0.5), (2.0, 1.0), (3.0, 2.0))
    grid = [
        replace(plain, fast=fast, slow=slow, below=below) for below, (fast, slow) in product((0.5, 0.4, 0.3), powers)
    ]
    return tuple(grid)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen at ts (unix seconds), from `rows` of all assets.

    rule: with the multiplier of an asset without a past. multipliers: of each asset that had a year of it. objectives:
    of every candidate, in their order, ln of average margin over a constant margin of the same shortfall; empty where
    they were not compared and only the multipliers are new.
    """

    ts: int
    rule: MarginRule
    multipliers: dict[str, float]
    rows: int
    objectives: tuple[float, ...]

    def of(self, name: str) -> MarginRule:
        """The rule of one asset."""
        return replace(self.rule, multiplier=self.multipliers.get(name, self.rule.multiplier))


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """choices: in order of time, the last one made with all the data: the one to push. margin: for each asset, on the
    `judged` rows of its path, what the rules of their time gave: out of sample."""

    limits: Limits
    candidates: tuple[MarginRule, ...]
    choices: tuple[Choice, ...]
    margin: dict[str, Floats]

    def rule(self, name: str) -> MarginRule:
        """The newest choice, for one asset."""
        return self.choices[-1].of(name)


@njit(cache=True)
def scales_to_shortfalls(losses: Floats, margin: Floats, shortfalls: Floats) -> Floats:
    """Factors k, shape (m,), with mean max(losses − k·margin, 0) = each of shortfalls (m,), which fall and are > 0.

    losses ≥ 0, margin > 0 of shape (n,). Exact: with losses/margin sorted downwards the sum is linear in k between
    neighbours. 0 where no margin at all has a smaller shortfall.
    """
    ratio = losses / margin
    order = np.argsort(-ratio)
    out = np.zeros(len(shortfalls))
    wanted = len(shortfalls) - 1
    loss = held = 0.0
    for j in range(len(order)):
        loss += losses[order[j]]
        held += margin[order[j]]
        following = ratio[order[j + 1]] if j + 1 < len(order) else 0.0
        while wanted >= 0 and loss - following * held >= shortfalls[wanted] * len(losses):
            out[wanted] = (loss - shortfalls[wanted] * len(losses)) / held
            wanted -= 1
        if wanted < 0:
            break
    return out


def relative_margin(losses: Floats, margin: Floats, reference: Floats, shares: Sequence[float] = SHARES) -> Floats:
    """Average margin relative to that of `reference`, at the shortfall of shares·reference, shape (len(shares),).

    losses ≥ 0, margin and reference > 0, shape (n,). 0.9 is a tenth less margin. NaN where the reference has no
    shortfall, and so nothing to equal.
    """
    shortfalls = np.array([np.mean(np.maximum(losses - share * reference, 0.0)) for share in shares])
    usable = shortfalls > 0.0
    out = np.full(len(shares), np.nan)
    scale = scales_to_shortfalls(losses, margin, shortfalls[usable])
    out[usable] = scale * np.mean(margin) / (np.array(shares)[usable] * np.mean(reference))
    return out


def worse_side(returns: Floats, confidence: float) -> float:
    """Expected shortfall of losses of longs (−returns) or shorts (returns), the larger: one margin serves both."""
    return max(expected_shortfall(-returns, confidence)[1], expected_shortfall(returns, confidence)[1])


def solve(
    paths: Sequence[RiskPath], limits: Limits | None = None, rules: Sequence[MarginRule] | None = None
) -> Solution:
    """Choose among `rules` (default: `candidates`) by the past of all `paths`, again and again, and at the end.

    The first choice falls `WARM_UP` after the first forecast. Raises PlimsollError where nothing is that long.
    """
    limits = limits or Limits()
    rules = tuple(rules or candidates(limits))
    if not paths:
        raise PlimsollError("no assets to choose a margin rule for; give at least one history")
    start, last = min(int(path.ts[0]) for path in paths) + WARM_UP, max(int(path.end[-1]) for path in paths)
    if start >= last:
        raise PlimsollError("a margin rule needs more than a year of forecasts; give a longer history")
    units = {path.name: [margins(rule, path.ts, path.forecast) for rule in rules] for path in paths}
    choices: list[Choice] = []
    due, rule, unit = start, rules[0], dict[str, Floats]()
    for date in [*range(start, last, REFIT), last]:
        past = _Past(date, paths)
        objectives = tuple[float, ...]()
        if date >= due or date == last:
            due = date + CHOICE
            objectives = past.objectives(units, limits.confidence)
            rule = average(rules, objectives)
            unit = {path.name: margins(rule, path.ts, path.forecast) for path in paths}
        multipliers, pooled = past.multipliers(unit, limits.confidence)
        choices.append(Choice(date, replace(rule, multiplier=pooled), multipliers, past.rows, objectives))
    margin = {path.name: _walk(path, choices, limits) for path in paths}
    return Solution(limits, rules, tuple(choices), margin)


def average(rules: Sequence[MarginRule], objectives: Sequence[float]) -> MarginRule:
    """The mean of the rules' parameters, weighted exp(−`SHARPNESS`·objective); powers and memory in logs. Rounded to
    four decimals, so that the last bits of a sum, which differ between machines, are not part of a rule."""
    score = np.array(objectives)
    weight = np.exp(-SHARPNESS * (score - np.min(score)))
    weight /= np.sum(weight)

    def mean(name: str) -> float:
        return round(float(weight @ np.array([getattr(rule, name) for rule in rules])), 4)

    def geometric(name: str) -> float:
        return round(float(np.exp(weight @ np.log([getattr(rule, name) for rule in rules]))), 4)

    return replace(
        rules[0],
        memory_days=geometric("memory_days"),
        fast=geometric("fast"),
        slow=geometric("slow"),
        below=mean("below"),
    )


class _Past:
    """Returns known at ts, of the assets that had a year of history by then and moved at all."""

    def __init__(self, ts: int, paths: Sequence[RiskPath]) -> None:
        known = [(path, int(np.searchsorted(path.end, ts, side="right"))) for path in paths]
        self.realised = {
            path.name: path.realised[:n]
            for path, n in known
            if ts >= int(path.ts[0]) + WARM_UP and np.any(path.realised[:n])
        }
        self.rows = sum(len(realised) for realised in self.realised.values())
        if not self.rows:
            raise PlimsollError("no price moved in a whole year, so no margin can be set from it; check the data")

    def objectives(self, units: dict[str, list[Floats]], confidence: float) -> tuple[float, ...]:
        """Of each candidate. units: margins of each asset under each of them with multiplier 1."""
        total = np.zeros(len(next(iter(units.values()))))
        for name, realised in self.realised.items():
            losses = np.abs(realised)
            constants = worse_side(realised, confidence) * np.array(SHARES)
            shortfalls = np.array([np.mean(np.maximum(losses - constant, 0.0)) for constant in constants])
            usable = shortfalls > 0.0
            for number, unit in enumerate(units[name]):
                margin = unit[: len(realised)]
                scaled = scales_to_shortfalls(losses, margin, shortfalls[usable]) * np.mean(margin)
                total[number] += len(realised) / self.rows * np.mean(np.log(scaled / constants[usable]))
        return tuple(float(score) for score in total)

    def multipliers(self, units: dict[str, Floats], confidence: float) -> tuple[dict[str, float], float]:
        """Of each asset, and of one without a past. units: margins of each asset with multiplier 1."""
        own, rows = {}, []
        for name, realised in self.realised.items():
            own[name] = worse_side(realised / units[name][: len(realised)], confidence)
            rows.append(len(realised))
        pooled = _weighted_median(list(zip(own.values(), rows, strict=True)))
        weights = [n / (n + CREDIBILITY) for n in rows]
        shrunk = {
            name: value**weight * pooled ** (1.0 - weight)
            for (name, value), weight in zip(own.items(), weights, strict=True)
        }
        return shrunk, pooled


def _weighted_median(values: list[tuple[float, int]]) -> float:
    """The least value at which half the weight is reached, of (value, weight)."""
    ordered = sorted(values)
    reached = np.cumsum([weight for _, weight in ordered])
    return ordered[int(np.searchsorted(reached, reached[-1] / 2.0))][0]


def _walk(path: RiskPath, choices: Sequence[Choice], limits: Limits) -> Floats:
    """Margins of one asset on its judged rows, each by the choice in force at its time."""
    judged = path.judged
    if not judged.any():
        return np.empty(0)
    current = np.searchsorted([choice.ts for choice in choices], path.ts, side="right") - 1
    target = np.empty(len(path.ts))
    for number in np.unique(current[judged]):
        rows = current == number
        target[rows] = targets(choices[number].of(path.name), path.ts, path.forecast)[rows]
    return project(path.ts[judged], target[judged], limits)
