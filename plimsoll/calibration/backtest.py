"""The walk-forward backtest: every model and every margin judged on steps that it had not seen.

`study` is one asset's share of the work and runs anywhere; `backtest` puts the shares together: the models' forecasts
tested and compared, the margin rule solved again and again from the past of all assets, and one row of checks an asset,
each with its limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration.candidates import BENCHMARK, candidates_for
from plimsoll.calibration.frontier import SOLVED, Frontier, compare
from plimsoll.calibration.history import History, make_history
from plimsoll.calibration.parallel import map_all
from plimsoll.calibration.rule import DAY, Limits
from plimsoll.calibration.solve import RiskPath, Solution, risk_path, solve
from plimsoll.calibration.volatility import ewma_sigma, rule_sigma
from plimsoll.errors import PlimsollError
from plimsoll.validation import (
    SIDES,
    Forecasts,
    acerbi_szekely,
    christoffersen,
    diebold_mariano,
    dynamic_quantile,
    fissler_ziegel,
    kupiec,
    kupiec_band,
    model_confidence_set,
)

if TYPE_CHECKING:
    from plimsoll.market.series import Floats, Integers, Series

SEED = 20_260_101
"""Of every simulated critical value."""
LEVEL = 0.05
"""Of every test."""
SET_LEVEL = 0.10
"""A model with at least this p-value is in the 90% model confidence set."""
DEFAULT_MODEL = "rule-evt"
"""Judged in every calibration: it forecasts from the volatility that the margin rule follows. A comparison of all
models says whether another has a lower loss, and by how much."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What `study` needs of one asset. horizon: seconds. models: names; none for all that the history supports."""

    series: Series
    horizon: int = DAY
    implied: Series | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One asset: its grid, every model's forecasts, and σ of the next step as the margin rule and the benchmark's EWMA
    have it, shape (n,) with NaN before their first."""

    history: History
    sigma: Floats
    ewma: Floats
    forecasts: dict[str, Forecasts]


@dataclass(frozen=True, slots=True)
class Check:
    """A figure with its limits (None for none on that side); `passed` is None for a figure without either."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def passed(self) -> bool | None:
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


@dataclass(frozen=True, slots=True)
class Row:
    """One asset's checks. first, last: unix seconds, when its first forecast was made and the last return known."""

    asset: str
    model: str
    days: int
    first: int
    last: int
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks it did not pass."""
        return tuple(check.name for check in self.checks if check.passed is False)

    def value(self, name: str) -> float:
        """The figure of one check."""
        return next(check.value for check in self.checks if check.name == name)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "asset": self.asset,
            "model": self.model,
            "days": self.days,
            "first": self.first,
            "last": self.last,
            "passed": not self.failed,
            "checks": [{**asdict(check), "passed": check.passed} for check in self.checks],
        }


@dataclass(frozen=True, slots=True)
class Score:
    """A model over all assets: mean Fissler–Ziegel loss, the Diebold–Mariano p-value that it beats the benchmark, and
    its p-value in the model confidence set (in the 90% set from 0.10 on)."""

    model: str
    loss: float
    better_p_value: float
    confidence_set_p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """studies, paths: by asset. rows: in the order of the assets. scores: the lowest loss first. solution, frontier: of
    the margin rule; None where no asset has more than a year of forecasts."""

    horizon: int
    rows: tuple[Row, ...]
    scores: tuple[Score, ...]
    studies: dict[str, Study]
    paths: dict[str, RiskPath]
    solution: Solution | None
    frontier: Frontier | None

    @property
    def model(self) -> str:
        """Whose forecasts the rows test."""
        return self.rows[0].model

    @property
    def score(self) -> Score:
        """Of that model."""
        return next(score for score in self.scores if score.model == self.model)

    @property
    def failed(self) -> bool:
        """Whether a row fails, or the model has faults."""
        return any(row.failed for row in self.rows) or bool(self.model_faults)

    @property
    def model_faults(self) -> tuple[str, ...]:
        """That the model does not beat the benchmark over all assets, or is not among the best, in words."""
        faults = []
        if self.model != BENCHMARK and self.score.better_p_value > LEVEL:
            faults.append(f"{self.model} is not significantly better than {BENCHMARK}")
        if self.score.confidence_set_p_value < SET_LEVEL:
            faults.append(f"{self.model} is not in the 90% model confidence set")
        return tuple(faults)

    def to_json(self) -> dict[str, object]:
        """Plain values: what `plimsoll backtest --json` prints."""
        return {
            "horizon": self.horizon,
            "passed": not self.failed,
            "rows": [row.to_json() for row in self.rows],
            "models": [asdict(score) for score in self.scores],
            "frontier": None if self.frontier is None else self.frontier.to_json(),
        }


def study(task: Task) -> Study:
    """One asset's forecasts by every model. Raises PlimsollError where its history is too short, or a name unknown."""
    history = make_history(task.series, task.horizon, task.implied)
    known = candidates_for(history)
    names = task.models or tuple(known)
    _require_models(history, names)
    forecasts = {name: known[name](history) for name in sorted({*names, BENCHMARK})}
    return Study(history, rule_sigma(history), ewma_sigma(history), forecasts)


def _require_models(history: History, names: Sequence[str]) -> None:
    known = candidates_for(history)
    if unknown := [name for name in names if name not in known]:
        raise PlimsollError(f"{history.name}: no model {unknown[0]!r} for this history; known are {', '.join(known)}")


def backtest(
    assets: Mapping[str, Series],
    *,
    horizon: int = DAY,
    implied: Series | None = None,
    model: str | None = None,
    models: Sequence[str] = (),
    limits: Limits | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
) -> Backtest:
    """Walk every model and the margin rule forward over `assets`, keyed by name.

    horizon: seconds of a step. implied: an index of volatility. model: whose forecasts the rows test; None for the one
    with the lowest loss. models: those compared, none for all. jobs, scheduler: as `map_all` has them. Raises
    PlimsollError for data that can't be tested.
    """
    if not assets:
        raise PlimsollError("backtest: no series; give at least one")
    names = tuple(sorted({*models, *([model] if model else [])})) if models else ()
    if model is not None:  # before hours of work, not after
        _require_models(make_history(assets[min(assets)], horizon, implied), (model,))
    tasks = [Task(assets[name], horizon, implied, names) for name in sorted(assets)]
    return judge(map_all(study, tasks, jobs, scheduler), model, limits)


def judge(studies: Sequence[Study], model: str | None = None, limits: Limits | None = None) -> Backtest:
    """Put the studies of all assets together. model: as `backtest` has it."""
    limits = limits or Limits()
    by_name = {one.history.name: one for one in studies}
    losses = {name: fz_losses(one.forecasts) for name, one in by_name.items()}
    compared = scores(losses)
    model = model or compared[0].model
    paths = {name: risk_path(one.history, one.sigma) for name, one in by_name.items()}
    solution = frontier = None
    if any(np.count_nonzero(path.judged) > 1 for path in paths.values()):
        solution = solve(list(paths.values()), limits)
        standard = {name: risk_path(one.history, one.ewma) for name, one in by_name.items()}
        frontier = compare(list(paths.values()), solution, standard)
    rows = []
    for name, one in by_name.items():
        forecasts = one.forecasts[model]
        checks = (
            *forecast_checks(forecasts),
            *comparison_checks(model, losses[name].by_model),
            *margin_checks(name, frontier, limits),
        )
        rows.append(Row(name, model, len(forecasts), int(forecasts.ts[0]), int(forecasts.end[-1]), checks))
    return Backtest(studies[0].history.horizon, tuple(rows), compared, by_name, paths, solution, frontier)


# ─── Checks


def hits(forecasts: Forecasts, side: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Steps on which one side lost more than its value at risk, shape (n,)."""
    chosen = next(one for one in SIDES if one == side)
    return np.asarray(forecasts.losses(chosen) > forecasts.value_at_risk[chosen])


def forecast_checks(forecasts: Forecasts) -> list[Check]:
    """Coverage, independence and severity of each side. P-values in finite samples: exact, or simulated."""
    checks = []
    n = len(forecasts)
    both = hits(forecasts, "long") | hits(forecasts, "short")
    two_sided = 2.0 * forecasts.confidence - 1.0
    least, most = kupiec_band(n, two_sided)
    checks.append(Check("exceedances", float(np.count_nonzero(both)), least, most))
    checks.append(Check("Kupiec p", kupiec(both, two_sided).p_value, LEVEL))
    for side in SIDES:
        hit, risk = hits(forecasts, side), forecasts.value_at_risk[side]
        least, most = kupiec_band(n, forecasts.confidence)
        severity = acerbi_szekely(
            forecasts.losses(side), risk, forecasts.expected_shortfall[side], forecasts.confidence, seed=SEED
        )
        checks += [
            Check(f"exceedances {side}", float(np.count_nonzero(hit)), least, most),
            Check(f"Kupiec p {side}", kupiec(hit, forecasts.confidence).p_value, LEVEL),
            Check(f"Christoffersen p {side}", christoffersen(hit, forecasts.confidence).exact_p_value, LEVEL),
            Check(
                f"dynamic quantile p {side}",
                dynamic_quantile(hit, risk, forecasts.confidence, seed=SEED).exact_p_value,
                LEVEL,
            ),
            Check(f"Z1 {side}", severity.z1.statistic),
            Check(f"Z2 {side}", severity.z2.statistic, severity.z2.critical_value),
            Check(f"Z3 {side}", severity.z3.statistic),
        ]
    return checks


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Fissler–Ziegel losses of one asset's models, each the mean of both sides, on the steps that all of them forecast.
    ts and each of `by_model` have shape (n,)."""

    ts: Integers
    by_model: dict[str, Floats]


def fz_losses(forecasts: Mapping[str, Forecasts]) -> Losses:
    """What every model lost."""
    start = max(int(one.ts[0]) for one in forecasts.values())
    out: dict[str, Floats] = {}
    for name, one in forecasts.items():
        common = one.since(start)
        sides = [
            fissler_ziegel(
                common.losses(side), common.value_at_risk[side], common.expected_shortfall[side], common.confidence
            )
            for side in SIDES
        ]
        out[name] = np.mean(sides, axis=0)
    return Losses(next(iter(forecasts.values())).since(start).ts, out)


def comparison_checks(model: str, losses: Mapping[str, Floats]) -> list[Check]:
    """The model's loss, whether it beats the benchmark, and whether it is among the best."""
    loss, benchmark = float(np.mean(losses[model])), float(np.mean(losses[BENCHMARK]))
    checks = [Check("FZ0", loss, most=benchmark)]
    if model != BENCHMARK:
        # one asset has too few tails for significance: that is asked of all assets together (`Score`)
        better = diebold_mariano(losses[model], losses[BENCHMARK]).better_p_value
        checks.append(Check(f"p of FZ0 against {BENCHMARK}", better))
        if len(losses) > 2:
            best = model_confidence_set(losses, seed=SEED)
            checks.append(Check("p in the model confidence set", best.p_values[model], least=best.size))
    return checks


def margin_checks(asset: str, frontier: Frontier | None, limits: Limits) -> list[Check]:
    """What the margin rule came to, where the asset has a year of forecasts and more."""
    found = [one for one in (frontier.outcomes if frontier else ()) if (one.tool, one.asset) == (SOLVED, asset)]
    if not found:
        return []
    one = found[0]
    return [
        Check("margin days", float(one.rows)),
        Check("margin exceedances long", float(one.exceedances_long), most=one.most),
        Check("margin exceedances short", float(one.exceedances_short), most=one.most),
        Check("average margin", one.average),
        Check("average margin / static", one.relative),
        *([] if one.equal is None else [Check("at equal shortfall", one.equal)]),
        Check("1-year peak to trough", one.peak_to_trough, most=limits.peak_to_trough),
        Check("worst 1-day rise", one.worst_1_day_rise, most=limits.rise_1_day),
        Check("worst 5-day rise", one.worst_5_day_rise, most=limits.rise_5_days),
    ]


def scores(losses: Mapping[str, Losses]) -> tuple[Score, ...]:
    """Models compared over all assets, those that every asset has.

    Losses of one time are added up over the assets first: they fall together, and as one sum a crash counts once.
    """
    names = sorted(set.intersection(*(set(own.by_model) for own in losses.values())))
    ts, at = np.unique(np.concatenate([own.ts for own in losses.values()]), return_inverse=True)
    pooled = {}
    for name in names:
        every = np.concatenate([own.by_model[name] for own in losses.values()])
        pooled[name] = np.bincount(at, weights=every, minlength=len(ts)) * len(ts) / len(every)
    within = model_confidence_set(pooled, seed=SEED).p_values if len(names) > 2 else dict.fromkeys(names, 1.0)
    found = [
        Score(
            name,
            float(np.mean(pooled[name])),
            1.0 if name == BENCHMARK else diebold_mariano(pooled[name], pooled[BENCHMARK]).better_p_value,
            within[name],
        )
        for name in names
    ]
    return tuple(sorted(found, key=lambda score: (score.loss, score.model)))
