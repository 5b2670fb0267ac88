"""The solved margin rule against the standard tools: what each costs, covers and swings by, out of sample.

Every tool is walked forward on the same steps: its multiplier is the 99% expected shortfall, the worse side, of the
asset's own past, estimated anew at every step. Tools against procyclicality are those of EMIR (RTS 153/2013 art. 28(1):
a 25% buffer that is spent in stress, 25% weight on stress, a floor from the long run) as compared by Murphy, Vasios &
Vause (2014), and limits on rises and falls; "limited" is a tool that is held to the limits at every step as the
rule is. A tool is compared twice: with its own multiplier, and scaled in hindsight to the shortfall of the expanding
static one, since anybody can need less margin by covering less.
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from plimsoll.calibration.rule import DAY, Limits, project
from plimsoll.calibration.solve import SHARES, RiskPath, Solution, relative_margin
from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers
from plimsoll.validation.coverage import kupiec_band
from plimsoll.validation.procyclicality import procyclicality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BENCHMARK, SOLVED = "static", "solved"
BUFFER, STRESS_WEIGHT = 0.25, 0.25
"""EMIR's least buffer and least weight of stressed observations."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One tool on one asset, out of sample.

    rows: steps. average: of margin, fraction of price. shortfall: mean of max(|return| − margin, 0). exceedances_long,
    exceedances_short: steps whose loss was above margin; most: as many as Kupiec's one-sided 5% test accepts. The next
    three as `Procyclicality` has them. relative: average over the static's. equal: the same after scaling to the
    static's shortfall, None where that has none; frontier: geometric mean of the same at the shortfalls of 60%, 70%,
    85% and 100% of the static margin. failed: limits that it breaks.
    """

    tool: str
    asset: str
    rows: int
    average: float
    shortfall: float
    exceedances_long: int
    exceedances_short: int
    most: int
    peak_to_trough: float
    worst_1_day_rise: float
    worst_5_day_rise: float
    relative: float
    equal: float | None
    frontier: float | None
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """One tool over all assets: geometric means of `Outcome`'s ratios over the assets that have them, and how many
    assets pass every limit."""

    tool: str
    relative: float
    equal: float | None
    frontier: float | None
    passed: int
    assets: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """outcomes: by tool, then asset. summaries: by tool, in the same order."""

    outcomes: tuple[Outcome, ...]
    summaries: tuple[Summary, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "outcomes": [asdict(one) for one in self.outcomes],
            "summaries": [asdict(one) for one in self.summaries],
        }


@njit(cache=True)
def expanding_worse_side(returns: Floats, confidence: float) -> Floats:
    """Expected shortfall of the first i returns, the worse side, for i = 0 … n, shape (n + 1,); 0 of nothing.

    As `tails.expected_shortfall` defines it, over sorted tails that grow by insertion.
    """
    n = len(returns)
    deepest = int((1.0 - confidence) * n) + 2
    out = np.zeros(n + 1)
    for side in (-1.0, 1.0):
        tail = np.zeros(deepest)  # largest first
        held = 0
        for i in range(n):
            x = side * returns[i]
            if held < deepest or x > tail[held - 1]:
                j = min(held, deepest - 1)
                while j > 0 and tail[j - 1] < x:
                    tail[j] = tail[j - 1]
                    j -= 1
                tail[j] = x
                held = min(held + 1, deepest)
            mass = (1.0 - confidence) * (i + 1)
            whole = math.floor(mass + 1e-9)
            total = max(mass - whole, 0.0) * tail[min(whole, held - 1)]
            for j in range(whole):
                total += tail[j]
            out[i + 1] = max(out[i + 1], total / mass)
    return out


def standard_tools(path: RiskPath, limits: Limits) -> dict[str, Floats]:
    """Margins of each tool on the judged rows of `path`, by name. `path.forecast` is the risk model that they scale."""
    known = np.searchsorted(path.end, path.ts, side="right")  # returns known at each step
    judged = path.judged
    tail = expanding_worse_side(path.realised / path.forecast, limits.confidence)[known]
    raw = tail * path.forecast
    mean = _expanding_mean(path.forecast)
    calm = tail * mean
    long_run = tail * np.sqrt(_expanding_mean(path.forecast**2))
    stressed = tail * np.maximum.accumulate(_rolling_mean(path.ts, path.forecast, 365 * DAY))
    buffered = np.maximum(raw, np.minimum((1.0 + BUFFER) * raw, (1.0 + BUFFER) * calm))
    weighted = (1.0 - STRESS_WEIGHT) * raw + STRESS_WEIGHT * stressed
    tools = {
        BENCHMARK: expanding_worse_side(path.realised, limits.confidence)[known],
        "raw": raw,
        "buffer": buffered,
        "stress weight": weighted,
        "floor": np.maximum(raw, long_run),
        "buffer, stress weight, floor": np.maximum(
            (1.0 - STRESS_WEIGHT) * buffered + STRESS_WEIGHT * stressed, long_run
        ),
    }
    out = {name: margin[judged] for name, margin in tools.items()}
    return out | {f"{name}, limited": project(path.ts[judged], margin, limits) for name, margin in out.items()}


def compare(paths: Sequence[RiskPath], solution: Solution, standard: Mapping[str, RiskPath] | None = None) -> Frontier:
    """Every tool and the solved rule on every asset that has rows after its warm-up.

    standard: by asset, the forecasts that the standard tools scale (EWMA, say); by default the rule's own. Their first
    row must not be later, so that all are judged on the same rows. Raises PlimsollError where they aren't.
    """
    outcomes: list[Outcome] = []
    for path in paths:
        judged = path.judged
        if np.count_nonzero(judged) < 2:
            continue
        base = (standard or {}).get(path.name, path)
        rows = np.isin(base.ts[base.judged], path.ts[judged])
        if np.count_nonzero(rows) != np.count_nonzero(judged):
            raise PlimsollError(f"{path.name}: the standard tools' forecasts start later than the rule's; give as many")
        tools = {name: margin[rows] for name, margin in standard_tools(base, solution.limits).items()}
        tools[SOLVED] = solution.margin[path.name]
        outcomes += [
            outcome(name, path.name, path.ts[judged], path.realised[judged], margin, tools[BENCHMARK], solution.limits)
            for name, margin in tools.items()
        ]
    if not outcomes:
        raise PlimsollError("no asset has more than a year of forecasts to compare margin on; give a longer history")
    by_tool: dict[str, list[Outcome]] = {}
    for one in outcomes:
        by_tool.setdefault(one.tool, []).append(one)
    return Frontier(
        outcomes=tuple(one for group in by_tool.values() for one in group),
        summaries=tuple(_summary(group) for group in by_tool.values()),
    )


def outcome(
    tool: str, asset: str, ts: Integers, realised: Floats, margin: Floats, benchmark: Floats, limits: Limits
) -> Outcome:
    """What a path of margin came to. Arrays of shape (n,): margin is in force from its ts until realised is known."""
    losses = np.abs(realised)
    path = procyclicality(ts, margin)
    long, short = int(np.count_nonzero(-realised > margin)), int(np.count_nonzero(realised > margin))
    most = kupiec_band(len(ts), limits.confidence, alternative="greater")[1]
    relative = relative_margin(losses, margin, benchmark)
    failed = {
        "coverage": max(long, short) > most,
        "peak to trough": path.peak_to_trough > limits.peak_to_trough,
        "1-day rise": path.worst_1_day_rise > limits.rise_1_day,
        "5-day rise": path.worst_5_day_rise > limits.rise_5_days,
    }
    return Outcome(
        tool=tool,
        asset=asset,
        rows=len(ts),
        average=float(np.mean(margin)),
        shortfall=float(np.mean(np.maximum(losses - margin, 0.0))),
        exceedances_long=long,
        exceedances_short=short,
        most=most,
        peak_to_trough=path.peak_to_trough,
        worst_1_day_rise=path.worst_1_day_rise,
        worst_5_day_rise=path.worst_5_day_rise,
        relative=float(np.mean(margin) / np.mean(benchmark)),
        equal=float(relative[SHARES.index(1.0)]) if np.isfinite(relative[SHARES.index(1.0)]) else None,
        frontier=_geometric([float(one) for one in relative if np.isfinite(one)]),
        failed=tuple(name for name, broken in failed.items() if broken),
    )


def _summary(outcomes: Sequence[Outcome]) -> Summary:
    return Summary(
        tool=outcomes[0].tool,
        relative=math.exp(math.fsum(math.log(one.relative) for one in outcomes) / len(outcomes)),
        equal=_geometric([one.equal for one in outcomes if one.equal is not None]),
        frontier=_geometric([one.frontier for one in outcomes if one.frontier is not None]),
        passed=sum(not one.failed for one in outcomes),
        assets=len(outcomes),
    )


def _geometric(values: Sequence[float]) -> float | None:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None


def _expanding_mean(x: Floats) -> Floats:
    """Mean of the first i + 1, shape (n,)."""
    return np.cumsum(x) / np.arange(1, len(x) + 1)


def _rolling_mean(ts: Integers, x: Floats, seconds: int) -> Floats:
    """Mean over the last `seconds`, shape (n,)."""
    first = np.searchsorted(ts, ts - seconds, side="right")
    total = np.concatenate([[0.0], np.cumsum(x)])
    row = np.arange(len(x))
    return np.asarray((total[row + 1] - total[first]) / (row + 1 - first))
