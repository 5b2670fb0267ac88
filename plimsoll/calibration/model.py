"""The calibration: a pure function of data, configuration and code version.

In order: every asset is put on a grid and forecast (`backtest.study`); the forecasts are judged and the margin rule is
solved from the past of all assets (`backtest.judge`); each asset's level is what that rule makes of its forecasts
(`level`); its tails, one a horizon, are fitted to the level; then liquidity, correlation, surface, haircuts and the
size of the fund. All of it, with its evidence, goes into one `Report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from plimsoll import __version__
from plimsoll.calibration.asset import Fitted, Work, fit
from plimsoll.calibration.backtest import DEFAULT_MODEL, Backtest, Study, Task, judge, study
from plimsoll.calibration.candidates import BENCHMARK
from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.calibration.correlation import Correlations, estimate_correlations
from plimsoll.calibration.filtered import FIRST_FORECAST, residuals
from plimsoll.calibration.frontier import SOLVED
from plimsoll.calibration.fund import cover, default_book, simulated_day
from plimsoll.calibration.history import make_history
from plimsoll.calibration.implied import VolatilityShock, volatility_shock
from plimsoll.calibration.parallel import map_all
from plimsoll.calibration.report import CorrelationRange, Report, plain, significant
from plimsoll.calibration.rule import MarginRule, margins
from plimsoll.calibration.volatility import ewma_sigma, rule_sigma
from plimsoll.errors import PlimsollError
from plimsoll.market.defects import moment
from plimsoll.market.provenance import describe
from plimsoll.market.series import YEAR_SECONDS, Floats, Series, combined_hash
from plimsoll.market.volatility import VolatilityIndex
from plimsoll.validation import step_response

if TYPE_CHECKING:
    from plimsoll.market.chains import Chain
    from plimsoll.market.depth import Depth

MODEL_VERSION = 2
"""Raised whenever the same data and configuration would give other numbers."""
SEED = 20_260_102
"""Of the simulated day."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a calibration may use besides prices.

    index: of implied volatility, for forecasts and shocks. chains: option chains by asset, in order of time. books:
    order books by asset. pegs: histories of stablecoins in dollars, for the jump floor of haircuts.
    """

    index: VolatilityIndex | None = None
    chains: Mapping[str, Sequence[Chain]] = field(default_factory=dict)
    books: Mapping[str, Depth] = field(default_factory=dict)
    pegs: tuple[Series, ...] = ()

    def until(self, as_of: int) -> Sources:
        """What of it was known at `as_of`. Raises PlimsollError where that is nothing of a source that was given."""
        return Sources(
            None if self.index is None else VolatilityIndex(self.index.asset, _known(self.index.series, as_of)),
            {
                name: _some(f"option chains of {name}", [one for one in chains if one.ts <= as_of], as_of)
                for name, chains in self.chains.items()
            },
            {name: _book_until(book, as_of) for name, book in self.books.items()},
            tuple(_known(series, as_of) for series in self.pegs),
        )

    def describe(self) -> dict[str, dict[str, object]]:
        """Provenance by name: what, rows, first, last, hash."""
        out = {}
        if self.index is not None:
            out[f"index {self.index.series.name}"] = describe(self.index.series)
        out |= {f"chains {name}": describe(list(chains)) for name, chains in self.chains.items() if chains}
        out |= {f"book {name}": describe(book) for name, book in self.books.items()}
        return out | {f"peg {series.name}": describe(series) for series in self.pegs}


def _known(series: Series, as_of: int) -> Series:
    _some(series.name, series.ts[series.ts <= as_of][1:], as_of)
    return series.between(end=as_of + 1)


def _book_until(book: Depth, as_of: int) -> Depth:
    rows = slice(0, int(np.searchsorted(book.ts, as_of, side="right")))
    _some(f"the order book of {book.name}", book.ts[rows], as_of)
    columns = {one.name: getattr(book, one.name) for one in fields(book)}
    known: dict[str, Any] = {name: value[rows] for name, value in columns.items() if isinstance(value, np.ndarray)}
    return replace(book, **known)


def _some(what: str, known: Sized, as_of: int) -> Any:
    if len(known) == 0:
        raise PlimsollError(
            f"calibration: nothing of {what} was known at {moment(as_of)}, the last price or --as-of; "
            "leave it out or calibrate later"
        )
    return known


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A report, and the paths behind it, which a page draws and nothing else needs. backtest is None for a history too
    short to judge forecasts on; levels: by asset, one a row of its series."""

    report: Report
    backtest: Backtest | None
    series: dict[str, Series]
    levels: dict[str, Floats]


def calibrate(
    market: str,
    assets: Mapping[str, Series],
    config: CalibrationConfig | None = None,
    as_of: int | None = None,
    sources: Sources | None = None,
    **work: Any,
) -> Report:
    """The report of `run`."""
    return run(market, assets, config, as_of, sources, **work).report


def run(
    market: str,
    assets: Mapping[str, Series],
    config: CalibrationConfig | None = None,
    as_of: int | None = None,
    sources: Sources | None = None,
    *,
    compare: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
) -> Calibration:
    """Fit every parameter to `assets`, keyed by name, using rows with ts ≤ as_of only (None: all rows).

    compare: judge all models, not only the default one and the benchmark. jobs, scheduler: as `map_all` has them; no
    number depends on them. Raises PlimsollError where the data cannot support a number: too short, too coarse, too few
    tail events.
    """
    config = config or CalibrationConfig()
    if not assets:
        raise PlimsollError("calibration: no series; give at least one")
    known = {name: assets[name].between(end=None if as_of is None else as_of + 1) for name in sorted(assets)}
    last = max(int(series.ts[-1]) for series in known.values()) if as_of is None else as_of
    sources = (sources or Sources()).until(last)  # an index may go on after the prices
    implied = None if sources.index is None else sources.index.series
    models = () if compare else (DEFAULT_MODEL, BENCHMARK)
    tasks = [Task(series, config.grid, implied, models) for series in known.values()]
    long = [one for one in tasks if len(make_history(one.series, one.horizon)) >= FIRST_FORECAST + 2]
    judged = judge(map_all(study, long, jobs, scheduler), DEFAULT_MODEL, config.limits) if long else None
    studies = {} if judged is None else dict(judged.studies)
    studies |= {one.series.name: _untested(one) for one in tasks if one.series.name not in studies}
    rules = {name: _rule(name, judged, config) for name in known}
    shocks = _shocks(sources, config)
    works = [
        Work(
            series,
            studies[series.name],
            rules[series.name],
            config,
            shocks,
            sources.chains.get(series.name, ()),
            sources.books.get(series.name),
            sources.pegs,
        )
        for series in known.values()
    ]
    fitted = dict(zip(known, map_all(fit, works, jobs, scheduler), strict=True))

    pairs: list[CorrelationRange] = []
    pair_evidence: list[dict[str, object]] = []
    if len(known) > 1:
        correlations = estimate_correlations(
            known, {n: one.level for n, one in fitted.items()}, {n: one.usable for n, one in fitted.items()}, config
        )
        pairs, pair_evidence = _pairs(correlations)

    described = {name: describe(series) for name, series in known.items()}
    extra = sources.describe()
    rule = rules[next(iter(known))]
    report = Report(
        market=market,
        as_of=last,
        model_version=MODEL_VERSION,
        code_version=__version__,
        data={
            "hash": combined_hash({name: str(one["hash"]) for name, one in (described | extra).items()}),
            "assets": described,
            "sources": extra,
        },
        configuration=config.to_json() | {"compare": compare},
        assets={name: one.parameters for name, one in fitted.items()},
        correlation=tuple(pairs),
        evidence=plain(
            {
                "assets": {name: one.evidence for name, one in fitted.items()},
                "correlation": pair_evidence,
                "rule": _rule_evidence(rule, judged, studies),
                "validation": None if judged is None else _validation(judged),
                "fund": _fund(studies, fitted, config),
            }
        ),
        coverage=significant(min(one.coverage for one in fitted.values())),
    )
    return Calibration(report, judged, known, {name: one.level for name, one in fitted.items()})


# ─── The rule


def _untested(task: Task) -> Study:
    """An asset whose history is too short to judge forecasts on, though not to make them."""
    history = make_history(task.series, task.horizon, task.implied)
    return Study(history, rule_sigma(history), ewma_sigma(history), {})


def _rule(name: str, judged: Backtest | None, config: CalibrationConfig) -> MarginRule:
    """The newest choice; without a year of forecasts, the rule that follows its forecast."""
    if judged is None or judged.solution is None:
        return MarginRule(limits=config.limits)
    return judged.solution.rule(name)


def _rule_evidence(rule: MarginRule, judged: Backtest | None, studies: Mapping[str, Study]) -> dict[str, object]:
    """The rule, when it was last chosen and from how much, and how it answers a step of volatility to the double."""
    solved = None if judged is None else judged.solution

    def answer(volatility: Floats) -> Floats:
        step = next(iter(studies.values())).history.horizon
        return margins(rule, step * np.arange(1, len(volatility) + 1, dtype=np.int64), volatility)

    last = None if solved is None else next(one for one in reversed(solved.choices) if one.objectives)
    return {
        "memory_days": rule.memory_days,
        "fast": rule.fast,
        "slow": rule.slow,
        "below": rule.below,
        "solved": solved is not None,
        "choices": 0 if solved is None else len(solved.choices),
        "rows": 0 if last is None else last.rows,
        "gain": 0.0 if last is None else -min(last.objectives),
        "step_response": asdict(step_response(answer, 1.0, 2.0)),
    }


def _validation(judged: Backtest) -> dict[str, object]:
    """Rows of the backtest, models by loss, and the rule beside the standard tools."""
    frontier = judged.frontier
    return {
        "passed": not judged.failed,
        "model": judged.model,
        "rows": [row.to_json() for row in judged.rows],
        "models": [asdict(score) for score in judged.scores],
        "frontier": [] if frontier is None else [asdict(one) for one in frontier.summaries],
        "solved": [] if frontier is None else [asdict(one) for one in frontier.outcomes if one.tool == SOLVED],
    }


# ─── All assets together


def _shocks(sources: Sources, config: CalibrationConfig) -> dict[str, VolatilityShock]:
    """How far the index rises and falls over each horizon that its prints are fine enough for."""
    if sources.index is None:
        return {}
    series = sources.index.series
    return {
        purpose: volatility_shock(series, horizon, config.confidence)
        for purpose, horizon in config.horizons().items()
        if horizon >= series.bar_seconds
    }


def _pairs(correlations: Correlations) -> tuple[list[CorrelationRange], list[dict[str, object]]]:
    ranges, evidence = [], []
    for i, j in combinations(range(len(correlations.names)), 2):
        pair = (correlations.names[i], correlations.names[j])
        low, high = float(correlations.low[i, j]), float(correlations.high[i, j])
        ranges.append(CorrelationRange(pair, significant(low), significant(high)))
        evidence.append(
            {
                "pair": list(pair),
                "central": float(correlations.central[i, j]),
                "standard_error": float(correlations.standard_error[i, j]),
                "shrinkage": correlations.shrinkage,
                "observations": correlations.observations,
            }
        )
    return ranges, evidence


def _fund(
    studies: Mapping[str, Study], fitted: Mapping[str, Fitted], config: CalibrationConfig
) -> dict[str, object] | None:
    """What an insurance fund should hold for a book of a million dollars of open interest an asset: scale it to yours.

    Cover-2 over the worst joint steps of history, and the 99.9% day simulated from joint residuals. None where the
    assets share too few steps.
    """
    names = sorted(studies)
    common = studies[names[0]].history.ts
    for name in names[1:]:
        common = np.intersect1d(common, studies[name].history.ts, assume_unique=True)
    columns, moves = [], []
    for name in names:
        one = studies[name]
        rows = np.searchsorted(one.history.ts, common)
        columns.append(residuals(one.history, one.sigma)[rows])
        moves.append(one.history.change[rows])
    joint, changes = np.stack(columns, axis=1), np.stack(moves, axis=1)
    usable = np.all(np.isfinite(joint), axis=1)
    if np.count_nonzero(usable) < config.fund_rows:
        return None
    open_interest = np.full(len(names), 1e6)
    rates = np.array(
        [
            fitted[name].parameters.tail_initial
            * fitted[name].level[-1]
            * math.sqrt(config.initial_horizon / YEAR_SECONDS)
            for name in names
        ]
    )
    book = default_book(open_interest, rates)
    sigma = np.array([studies[name].sigma[-1] for name in names])
    day = simulated_day(
        book.positions,
        book.margins,
        np.ascontiguousarray(joint[usable]),
        sigma,
        seed=SEED,
        paths=config.fund_paths,
        replicates=config.fund_replicates,
    )
    two = cover(book.positions, book.margins, changes[usable])
    return {
        "open_interest": float(np.sum(open_interest)),
        "cover_2": two.amount,
        "cover_2_step": int(common[usable][two.scenario]),
        "simulated_day": asdict(day),
        "steps": int(np.count_nonzero(usable)),
    }
