"""The calibration: a pure function of data, configuration and code version.

For every asset a volatility level and its stress, floor and cap; a tail multiplier per horizon; for every pair a low
and a high correlation. All of it, with its evidence, goes into one `Report`.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from plimsoll import __version__
from plimsoll.calibration.configuration import CalibrationConfig
from plimsoll.calibration.correlation import Correlations, estimate_correlations
from plimsoll.calibration.report import AssetParameters, CorrelationRange, Report, significant
from plimsoll.calibration.tails import Moves, Tail, devolatilised_moves, out_of_sample, worse_tail
from plimsoll.errors import PlimsollError
from plimsoll.market.markets import average_daily_volume
from plimsoll.market.series import Flags, Floats, Series, combined_hash, data_hash
from plimsoll.market.volatility import ewma_volatility

MODEL_VERSION = 1
"""Raised whenever the same data and configuration would give other numbers."""


def calibrate(
    market: str, assets: dict[str, Series], config: CalibrationConfig | None = None, as_of: int | None = None
) -> Report:
    """Fit every parameter to `assets`, keyed by name, using rows with ts ≤ as_of only (None: all rows).

    Raises PlimsollError where the data cannot support a number: too short, too coarse, too few tail events.
    """
    config = config or CalibrationConfig()
    if not assets:
        raise PlimsollError("calibration: no series; give at least one")
    known = {name: assets[name].between(end=None if as_of is None else as_of + 1) for name in sorted(assets)}

    parameters: dict[str, AssetParameters] = {}
    evidence: dict[str, dict[str, object]] = {}
    volatility: dict[str, Floats] = {}
    usable: dict[str, Flags] = {}
    coverages: list[float] = []
    for name, series in known.items():
        volatility[name], weight = ewma_volatility(series, config.half_life)
        usable[name] = weight >= config.warm_up_weight
        parameters[name], evidence[name], coverage = _calibrate_asset(series, volatility[name], usable[name], config)
        coverages.append(coverage)

    pairs: list[CorrelationRange] = []
    pair_evidence: list[dict[str, object]] = []
    if len(known) > 1:
        correlations = estimate_correlations(known, volatility, usable, config)
        pairs, pair_evidence = _pairs(correlations)

    hashes = {name: data_hash(series) for name, series in known.items()}
    return Report(
        market=market,
        as_of=max(int(series.ts[-1]) for series in known.values()) if as_of is None else as_of,
        model_version=MODEL_VERSION,
        code_version=__version__,
        data={
            "hash": combined_hash(hashes),
            "assets": {
                name: {
                    "rows": len(series),
                    "first": int(series.ts[0]),
                    "last": int(series.ts[-1]),
                    "bar_seconds": series.bar_seconds,
                    "hash": hashes[name],
                }
                for name, series in known.items()
            },
        },
        configuration=config.to_json(),
        assets=parameters,
        correlation=tuple(pairs),
        evidence={"assets": evidence, "correlation": pair_evidence},
        coverage=significant(min(coverages)),
    )


def _calibrate_asset(
    series: Series, volatility: Floats, usable: Flags, config: CalibrationConfig
) -> tuple[AssetParameters, dict[str, object], float]:
    """(parameters, evidence, the lower coverage of the two horizons) of one asset."""
    if not usable.any():
        raise PlimsollError(
            f"{series.name}: the history is shorter than two half-lives of {config.half_life} s; give a longer one"
        )
    history = volatility[usable]
    if not np.all(history > 0.0):
        raise PlimsollError(f"{series.name}: the price stands still for the whole history; check the data")
    worst = np.sort(history)[-max(1, math.ceil(config.stress_share * len(history))) :]

    evidence: dict[str, object] = {
        "volatility_level": significant(float(volatility[-1])),
        "volatility_highest": significant(float(history.max())),
        "volatility_lowest": significant(float(history.min())),
    }
    tails: dict[str, Tail] = {}
    lowest_coverage = 1.0
    for purpose, horizon in config.horizons().items():
        moves = devolatilised_moves(series, volatility, usable, horizon)
        tails[purpose] = _enough(series.name, moves, worse_tail(moves, config.confidence), config)
        exceedances, returns = out_of_sample(moves, config.confidence, config.fit_fraction)
        if returns == 0:
            raise PlimsollError(
                f"{series.name}: no returns are left for the out-of-sample check; give a longer history"
            )
        tail, coverage = tails[purpose], 1.0 - exceedances / returns
        lowest_coverage = min(lowest_coverage, coverage)
        evidence |= {
            f"returns_{purpose}": len(moves.start),
            f"tail_{purpose}_side": tail.side,
            f"tail_{purpose}_standard_error": significant(tail.standard_error),
            f"tail_{purpose}_count": tail.tail_count,
            f"tail_{purpose}_episodes": tail.episodes,
            f"out_of_sample_{purpose}": returns,
            f"exceedances_{purpose}": exceedances,
            f"coverage_{purpose}": significant(coverage),
        }
    volume = average_daily_volume(series, config.volume_days)
    parameters = AssetParameters(
        tail_initial=significant(tails["initial"].expected_shortfall),
        tail_maintenance=significant(tails["maintenance"].expected_shortfall),
        volatility_stress=significant(float(np.mean(worst))),
        volatility_floor=significant(float(np.quantile(history, config.floor_quantile))),
        volatility_cap=significant(config.cap_multiple * float(history.max())),
        average_daily_volume=None if volume is None else significant(volume),
    )
    return parameters, evidence, lowest_coverage


def _enough(name: str, moves: Moves, tail: Tail, config: CalibrationConfig) -> Tail:
    if tail.episodes < config.minimum_episodes:
        raise PlimsollError(
            f"{name}: {tail.episodes} separate moves lie beyond the {config.confidence:.0%} quantile over "
            f"{moves.horizon} s and {config.minimum_episodes} are needed; give a longer history or a shorter horizon"
        )
    if tail.expected_shortfall <= 0.0:
        raise PlimsollError(f"{name}: prices never move over {moves.horizon} s; check the data")
    return tail


def _pairs(correlations: Correlations) -> tuple[list[CorrelationRange], list[dict[str, object]]]:
    ranges, evidence = [], []
    for i, j in combinations(range(len(correlations.names)), 2):
        pair = (correlations.names[i], correlations.names[j])
        low, high = float(correlations.low[i, j]), float(correlations.high[i, j])
        ranges.append(CorrelationRange(pair, significant(low), significant(high)))
        evidence.append(
            {
                "pair": list(pair),
                "central": significant(float(correlations.central[i, j])),
                "standard_error": significant(float(correlations.standard_error[i, j])),
                "shrinkage": significant(correlations.shrinkage),
                "observations": correlations.observations,
            }
        )
    return ranges, evidence
