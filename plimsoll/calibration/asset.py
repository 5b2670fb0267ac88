"""One asset: its level, tails, regime, liquidity, surface and haircut, from what is in `Work` alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration.extremes import fit_pareto
from plimsoll.calibration.filtered import PARETO_SHARE, residuals
from plimsoll.calibration.haircuts import haircut, jump_floor
from plimsoll.calibration.implied import FittedSurface, VolatilityShock, calibrate_surface
from plimsoll.calibration.level import level_path, running_volatility
from plimsoll.calibration.liquidity import LiquidityConfig, estimate_liquidity
from plimsoll.calibration.regime import (
    ENTER,
    FIRST_FIT,
    LEAVE,
    MINIMUM_STAY,
    fit_hidden_markov,
    hamilton_filter,
    hysteresis,
    observations,
    tail_scales,
)
from plimsoll.calibration.report import AssetParameters, significant
from plimsoll.calibration.surface import ShapeLimits
from plimsoll.calibration.tails import Moves, Tail, devolatilised_moves, fit_tail, out_of_sample, worse_tail
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from plimsoll.calibration.backtest import Study
    from plimsoll.calibration.configuration import CalibrationConfig
    from plimsoll.calibration.rule import MarginRule
    from plimsoll.market.chains import Chain
    from plimsoll.market.depth import Depth
    from plimsoll.market.series import Flags, Floats, Series

HORIZONS = (3_600, 4 * 3_600, 86_400)
"""Seconds at which tails are measured besides the two that are pushed."""
REGIMES = ("calm", "tense", "stressed")


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """All that `fit` needs of one asset, so that it can run anywhere.

    chains: in order of time. book: of this asset. pegs: histories of stablecoins. shocks: of an index of volatility, by
    the name of a horizon.
    """

    series: Series
    study: Study
    rule: MarginRule
    config: CalibrationConfig
    shocks: Mapping[str, VolatilityShock] = field(default_factory=dict)
    chains: Sequence[Chain] = ()
    book: Depth | None = None
    pegs: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One asset's part of a report. coverage: the lower of the two horizons'. level: annualised volatility at every row
    of its series, shape (n,), 0 where not `usable`."""

    parameters: AssetParameters
    evidence: dict[str, object]
    coverage: float
    level: Floats
    usable: Flags


def fit(work: Work) -> Fitted:
    """Parameters and evidence of one asset. Raises PlimsollError where its history cannot support a number."""
    series, config = work.series, work.config
    level = level_path(series, work.study.history, work.study.sigma, config.half_life, work.rule)
    usable = np.isfinite(level)
    if not usable.any():
        raise PlimsollError(f"{series.name}: no forecast can be made from this history; give a longer one")
    history = level[usable]
    worst = np.sort(history)[-max(1, math.ceil(config.stress_share * len(history))) :]
    level = np.where(usable, level, 0.0)

    evidence: dict[str, object] = {
        "volatility_level": float(history[-1]),
        "volatility_highest": float(history.max()),
        "volatility_lowest": float(history.min()),
        "rule_multiplier": work.rule.multiplier,
    }
    tails: dict[str, Tail] = {}
    coverage = 1.0
    for purpose, horizon in config.horizons().items():
        moves = devolatilised_moves(series, level, usable, horizon)
        tails[purpose] = _enough(series.name, moves, worse_tail(moves, config.confidence), config)
        facts, covered = _tail_evidence(series.name, purpose, moves, tails[purpose], config)
        evidence |= facts
        coverage = min(coverage, covered)
    evidence["tails"] = _other_tails(series, level, usable, config)
    evidence["regime"] = _regime(work.study)
    liquidity, facts = _liquidity(work)
    evidence |= facts
    # the level keeps to its limits, but what is realised does not, and the cap is for what is realised
    ewma = running_volatility(series.ts, series.close, config.half_life)
    cap = config.cap_multiple * float(np.max(ewma[usable]))
    floor = float(np.quantile(history, config.floor_quantile))
    surface = _surface(work, floor, cap)
    evidence["surface"] = None if surface is None else asdict(surface.evidence)
    evidence["haircut"] = asdict(
        haircut(
            float(history[-1]),
            tails["initial"].expected_shortfall,
            config.initial_horizon,
            jump_floor(work.pegs, config.initial_horizon) if work.pegs else None,
        )
    )
    shocks = {f"volatility_shock_{purpose}": shock.rise for purpose, shock in work.shocks.items()}
    numbers = (
        {
            "tail_initial": tails["initial"].expected_shortfall,
            "tail_maintenance": tails["maintenance"].expected_shortfall,
            "volatility_stress": float(np.mean(worst)),
            "volatility_floor": floor,
            "volatility_cap": cap,
        }
        | liquidity
        | ({} if surface is None else asdict(surface.parameters) | shocks)
    )
    parameters = AssetParameters(**{name: significant(value) for name, value in numbers.items()})
    return Fitted(parameters, evidence, coverage, level, usable)


def _tail_evidence(
    name: str, purpose: str, moves: Moves, tail: Tail, config: CalibrationConfig
) -> tuple[dict[str, object], float]:
    """What a pushed tail rests on, and its coverage out of sample."""
    exceedances, returns = out_of_sample(moves, config.confidence, config.fit_fraction)
    if returns == 0:
        raise PlimsollError(f"{name}: no returns are left for the out-of-sample check; give a longer history")
    coverage = 1.0 - exceedances / returns
    return {
        f"returns_{purpose}": len(moves.start),
        f"tail_{purpose}_side": tail.side,
        f"tail_{purpose}_standard_error": tail.standard_error,
        f"tail_{purpose}_count": tail.tail_count,
        f"tail_{purpose}_episodes": tail.episodes,
        f"out_of_sample_{purpose}": returns,
        f"exceedances_{purpose}": exceedances,
        f"coverage_{purpose}": coverage,
        f"extreme_value_{purpose}": _extreme_value(moves, tail.side, config),
    }, coverage


def _extreme_value(moves: Moves, side: str, config: CalibrationConfig) -> dict[str, object] | None:
    """The check by extreme values: the same shortfall from a fit to the worst losses. None where there are too few."""
    losses = -moves.standardised if side == "long" else moves.standardised
    try:
        fit = fit_pareto(losses, PARETO_SHARE)
    except PlimsollError:
        return None
    return {
        "shape": fit.shape,
        "shape_error": fit.shape_error,
        "expected_shortfall": fit.expected_shortfall(config.confidence),
        "count": fit.count,
    }


def _other_tails(series: Series, level: Floats, usable: Flags, config: CalibrationConfig) -> list[dict[str, object]]:
    """Both sides at horizons that are measured and not pushed."""
    out: list[dict[str, object]] = []
    for horizon in HORIZONS:
        if horizon < series.bar_seconds:
            continue
        moves = devolatilised_moves(series, level, usable, horizon)
        out.append(
            {"horizon": horizon}
            | {
                side: {"expected_shortfall": tail.expected_shortfall, "standard_error": tail.standard_error}
                for side in ("long", "short")
                for tail in (fit_tail(moves, config.confidence, side),)
            }
        )
    return out


def _enough(name: str, moves: Moves, tail: Tail, config: CalibrationConfig) -> Tail:
    if tail.episodes < config.minimum_episodes:
        raise PlimsollError(
            f"{name}: {tail.episodes} separate moves lie beyond the {config.confidence:.0%} quantile over "
            f"{moves.horizon} s and {config.minimum_episodes} are needed; give a longer history or a shorter horizon"
        )
    if tail.expected_shortfall <= 0.0:
        raise PlimsollError(f"{name}: prices never move over {moves.horizon} s; check the data")
    return tail


def _regime(one: Study) -> dict[str, object] | None:
    """The regime now, and what a regime-dependent margin would be multiplied by: evidence, not pushed (see the loss of
    model `hmm` in a comparison). None for a history too short to tell regimes apart."""
    seen = observations(one.history)[1:]
    if len(seen) < FIRST_FIT:
        return None
    probability, _ = hamilton_filter(seen, fit_hidden_markov(seen))
    label = hysteresis(probability, ENTER, LEAVE, MINIMUM_STAY, 0, 0)  # of rows 1, 2, …
    standardised = residuals(one.history, one.sigma)
    rows = np.flatnonzero(np.isfinite(standardised))
    scales = tail_scales(standardised[rows], label[rows - 2])  # by the regime when it was forecast
    return {
        "label": REGIMES[int(label[-1])],
        "probability": [float(p) for p in probability[-1]],
        "multiplier": max(1.0, float(scales[label[-1]])),
        "share": [float(np.mean(label == k)) for k in range(len(REGIMES))],
    }


def _liquidity(work: Work) -> tuple[dict[str, float], dict[str, object]]:
    """(parameters, evidence); no parameters without volume, or from a history too short, and the evidence says why."""
    if work.series.volume is None or work.series.bar_seconds > 86_400:
        return {}, {"liquidity": None, "liquidity_missing": "there is no volume by the day"}
    config = LiquidityConfig()
    try:
        found = estimate_liquidity(work.series, work.book, config)
    except PlimsollError as fault:
        return {}, {"liquidity": None, "liquidity_missing": str(fault)}
    return found.parameters(config), {"liquidity": asdict(found) | {"half_spread": found.half_spread}}


def _surface(work: Work, floor: float, cap: float) -> FittedSurface | None:
    """Fitted where the asset has chains; free of arbitrage between the floor and the cap that go with it."""
    if not work.chains:
        return None
    config = work.config
    shocks = tuple(shock.rise for shock in work.shocks.values()) or config.volatility_shocks()
    limits = ShapeLimits(floor, cap, shocks, config.shock_exponent)
    return calibrate_surface(list(work.chains), limits)
