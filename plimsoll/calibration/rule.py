"""The margin rule: from a forecast of risk to a margin that is cheap and cannot be procyclical.

A margin that follows its forecast saves most of the time and then calls for cash when cash is scarce; one that does not
must be high always. The rule follows news, inside a band that it cannot leave:

1. x = ln of the forecast; s its average over `memory_days`, a its average over all the past. The answer to news is
   y = fast·(x − s) + slow·(s − a): what is new and what has lasted count apart.
2. The target is multiplier · exp(a + y), y clipped to [−below·ln D, (1 − below)·ln D], where D is the peak to trough
   that is allowed. The band has exactly the width that a year may use and stands still with a, so the level that a
   crisis needs can be reached from the calm before it.
3. The margin is the target, brought into [highest/D, min(lowest·D, lowest of a day·(1 + rise), lowest of five
   days·(1 + five))] of the margins in force over the past 365 days, 1 day and 5 days. Every pair of those margins keeps
   highest ≤ D·lowest, so highest/D ≤ lowest ≤ each of the upper bounds: the interval is never empty, and the limits
   hold on every path, whatever the forecast does.

Why this is efficient: the last unit of margin saves P(loss > margin) of shortfall, so the cheapest margin keeps that
probability the same at all times; within limits the cheapest is a clipped one. Powers above one start a rise
early, where its speed is limited. Minimising margin for a given shortfall is the trade-off of Rockafellar & Uryasev
(2000); procyclicality limits as in Murphy, Vasios & Vause (2014).
"""

# mypy: allow-untyped-decorators
# numba's decorator has no types.

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, field

import numpy as np
from numba import njit

from plimsoll.errors import PlimsollError
from plimsoll.market.series import Floats, Integers

DAY = 86_400
SLACK = 1.0 - 1e-9
"""Bounds are met with a hair to spare, so that a ratio measured in other arithmetic does not read as a breach."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a path of margin must keep to.

    peak_to_trough: highest over lowest margin within any 365 days. rise_1_day, rise_5_days: largest rises, fractions of
    the lower margin. confidence: share of steps that either side's loss stays within margin.
    """

    peak_to_trough: float = 1.7
    rise_1_day: float = 0.12
    rise_5_days: float = 0.60
    confidence: float = 0.99

    def __post_init__(self) -> None:
        if not (math.isfinite(self.peak_to_trough) and self.peak_to_trough > 1.0):
            raise PlimsollError(f"peak to trough of {self.peak_to_trough:g} leaves no room; give a ratio above 1")
        for rise in (self.rise_1_day, self.rise_5_days):
            if not (math.isfinite(rise) and rise > 0.0):
                raise PlimsollError(f"a margin that may rise by {rise:g} never rises; give a fraction above 0")
        if not 0.5 < self.confidence < 1.0:
            raise PlimsollError(f"confidence {self.confidence:g} is not a tail's; give a fraction in (0.5, 1)")

    @property
    def bounds(self) -> tuple[tuple[int, float], ...]:
        """(seconds, factor): margin is at most factor · its lowest over the last `seconds`. The first is the year's."""
        return (
            (365 * DAY, self.peak_to_trough),
            (DAY, 1.0 + self.rise_1_day),
            (5 * DAY, 1.0 + self.rise_5_days),
        )


@dataclass(frozen=True, slots=True)
class MarginRule:
    """Parameters of the rule in this module's text. Margin and forecast are fractions of price over one horizon.

    multiplier: margin over forecast where the forecast is its own long-run mean; the tail. memory_days: of s. fast,
    slow: powers on what is new and on what has lasted; 1 and 1 follow the forecast in full. below: the share of the
    band, in logs, that lies below the long-run mean; ½ is the middle.
    """

    multiplier: float = 1.0
    memory_days: float = 10.0
    fast: float = 1.0
    slow: float = 1.0
    below: float = 0.5
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("multiplier", "memory_days", "fast", "slow"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise PlimsollError(f"margin rule: {name} is {value:g}; give a number above 0")
        if not 0.0 <= self.below <= 1.0:
            raise PlimsollError(f"margin rule: below is {self.below:g}; give a share from 0 to 1")

    @property
    def band(self) -> tuple[float, float]:
        """Least and greatest y of the target."""
        width = math.log(self.limits.peak_to_trough)
        return -self.below * width, (1.0 - self.below) * width


@dataclass(slots=True)
class RuleState:
    """One asset's memory of the rule, updated online; `margins` gives the same numbers for a whole path.

    Work per update is O(1) amortised and memory at most a year of updates: for each bound a monotone queue (Knuth's
    "ascending minima") of [time it ended, margin], in which only margins that can still be the extreme stay.
    `rule` may be replaced at any time, as parameters are pushed; its limits then hold across the change too (where they
    are tighter than those of the past and can't all hold, the limits on rises win).
    """

    rule: MarginRule
    ts: int | None = None
    weight: float = 0.0
    weighted: float = 0.0
    count: int = 0
    total: float = 0.0
    highest: deque[list[float]] = field(default_factory=deque)
    lowest: tuple[deque[list[float]], deque[list[float]], deque[list[float]]] = field(
        default_factory=lambda: (deque(), deque(), deque())
    )

    def update(self, ts: int, forecast: float) -> float:
        """The margin from ts (unix seconds) on, a fraction of price, from the forecast made at ts (> 0)."""
        if self.ts is not None and ts <= self.ts:
            raise PlimsollError(
                f"margin rule: an update at {ts} is not after the last at {self.ts}; give them in order"
            )
        if not (math.isfinite(forecast) and forecast > 0.0):
            raise PlimsollError(f"margin rule: a forecast of {forecast} is no volatility; keep the last margin instead")
        x = math.log(forecast)
        decay = 0.0 if self.ts is None else math.exp((self.ts - ts) / (self.rule.memory_days * DAY))
        self.weight = decay * self.weight + 1.0
        self.weighted = decay * self.weighted + x
        self.count += 1
        self.total += x
        recent, mean = self.weighted / self.weight, self.total / self.count
        low, high = self.rule.band
        answer = min(max(self.rule.fast * (x - recent) + self.rule.slow * (recent - mean), low), high)
        margin = self._project(ts, self.rule.multiplier * math.exp(mean + answer))
        self.ts = ts
        return margin

    def _project(self, ts: int, target: float) -> float:
        limits = self.rule.limits
        least, most = 0.0, math.inf
        queues = (self.highest, *self.lowest)
        for queue, (seconds, factor) in zip(queues, (limits.bounds[0], *limits.bounds), strict=True):
            if queue:
                queue[-1][0] = float(ts)  # the margin in force until now
                while queue[0][0] <= ts - seconds:
                    queue.popleft()
                if queue is self.highest:
                    least = queue[0][1] / (factor * SLACK)
                else:
                    most = min(most, queue[0][1] * (factor * SLACK))
        margin = min(max(target, least), most)
        for queue in queues:
            sign = 1.0 if queue is self.highest else -1.0
            while queue and sign * queue[-1][1] <= sign * margin:
                queue.pop()
            queue.append([math.inf, margin])
        return margin

    def to_json(self) -> dict[str, object]:
        """Plain values (strict JSON) from which `from_json` makes the same state. The newest margin has no end yet."""
        return {
            "rule": asdict(self.rule),
            "ts": self.ts,
            "weight": self.weight,
            "weighted": self.weighted,
            "count": self.count,
            "total": self.total,
            "queues": [
                [[None if end == math.inf else end, margin] for end, margin in queue]
                for queue in (self.highest, *self.lowest)
            ],
        }

    @classmethod
    def from_json(cls, raw: dict[str, object]) -> RuleState:
        """Raises PlimsollError where `raw` is not what `to_json` gave."""
        try:
            rule = dict(raw["rule"])  # type: ignore[call-overload]
            limits = Limits(**rule.pop("limits"))
            queues = [
                deque([math.inf if end is None else float(end), float(margin)] for end, margin in queue)
                for queue in raw["queues"]  # type: ignore[attr-defined]
            ]
            highest, year, day, five_days = queues
            return cls(
                rule=MarginRule(**rule, limits=limits),
                ts=None if raw["ts"] is None else int(raw["ts"]),  # type: ignore[call-overload]
                weight=float(raw["weight"]),  # type: ignore[arg-type]
                weighted=float(raw["weighted"]),  # type: ignore[arg-type]
                count=int(raw["count"]),  # type: ignore[call-overload]
                total=float(raw["total"]),  # type: ignore[arg-type]
                highest=highest,
                lowest=(year, day, five_days),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise PlimsollError(f"margin rule: not a saved state ({fault}); start it again from history") from fault


@njit(cache=True)
def _targets(
    ts: Integers, forecast: Floats, memory: float, fast: float, slow: float, low: float, high: float
) -> Floats:
    out = np.empty(len(ts))
    weight = weighted = total = 0.0
    for i in range(len(ts)):
        x = math.log(forecast[i])
        decay = math.exp((ts[i - 1] - ts[i]) / memory) if i else 0.0
        weight = decay * weight + 1.0
        weighted = decay * weighted + x
        total += x
        recent, mean = weighted / weight, total / (i + 1)
        out[i] = math.exp(mean + min(max(fast * (x - recent) + slow * (recent - mean), low), high))
    return out


@njit(cache=True)
def _project(ts: Integers, target: Floats, seconds: Integers, factors: Floats) -> Floats:
    n, m = len(ts), len(seconds)
    out = np.empty(n)
    queues = np.empty((m, n), dtype=np.int64)
    first = np.zeros(m, dtype=np.int64)
    end = np.zeros(m, dtype=np.int64)
    for i in range(n):
        margin = target[i]
        if i:
            least, most = 0.0, np.inf
            for k in range(m):
                while ts[queues[k, first[k]] + 1] <= ts[i] - seconds[k]:
                    first[k] += 1
                extreme = out[queues[k, first[k]]]
                if k == 0:
                    least = extreme / factors[0]
                else:
                    most = min(most, extreme * factors[k])
            margin = min(max(margin, least), most)
        out[i] = margin
        for k in range(m):
            sign = 1.0 if k == 0 else -1.0
            while end[k] > first[k] and sign * out[queues[k, end[k] - 1]] <= sign * margin:
                end[k] -= 1
            queues[k, end[k]] = i
            end[k] += 1
    return out


def targets(rule: MarginRule, ts: Integers, forecast: Floats) -> Floats:
    """Targets before limits, shape (n,), of forecasts (n,) > 0 made at rising ts (unix seconds)."""
    ts, forecast = _checked(ts, forecast)
    return rule.multiplier * _targets(ts, forecast, rule.memory_days * DAY, rule.fast, rule.slow, *rule.band)


def project(ts: Integers, target: Floats, limits: Limits) -> Floats:
    """The path that follows `target`, shape (n,), as closely as `limits` let it, by step 3 of this module's text."""
    ts, target = _checked(ts, target)
    bounds = (limits.bounds[0], *limits.bounds)
    seconds = np.array([one[0] for one in bounds], dtype=np.int64)
    return np.asarray(_project(ts, target, seconds, np.array([one[1] * SLACK for one in bounds])))


def margins(rule: MarginRule, ts: Integers, forecast: Floats) -> Floats:
    """Margins of a whole path, shape (n,): what `RuleState.update` gives row by row."""
    return project(ts, targets(rule, ts, forecast), rule.limits)


def _checked(ts: Integers, values: Floats) -> tuple[Integers, Floats]:
    times, levels = np.ascontiguousarray(ts, dtype=np.int64), np.ascontiguousarray(values, dtype=np.float64)
    if times.shape != levels.shape or times.ndim != 1 or len(times) == 0 or np.any(np.diff(times) <= 0):
        raise PlimsollError("margin rule: give a time for every forecast, in unix seconds, strictly rising")
    if not np.all(np.isfinite(levels) & (levels > 0.0)):
        row = int(np.argmax(~(np.isfinite(levels) & (levels > 0.0))))
        raise PlimsollError(f"margin rule: forecast {row} is {levels[row]}; leave out rows without a forecast above 0")
    return times, levels
