"""Speed of the margin mirror, into .build/bench/mirror.json: seconds, the best of several runs with the code compiled.

Dense: 10,000 accounts that hold all of 200 instruments, long and short. Sparse: 1,000,000 accounts with 8 positions.
Laying out the tables of a market, which is done once a block, is counted in.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numba
import numpy as np

from plimsoll.chain.toolchain import BUILD, ROOT
from plimsoll.margin.mirror import (
    CALL,
    PERPETUAL,
    PUT,
    Common,
    Instruments,
    Market,
    Positions,
    Shape,
    margins,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000.0
DAY = 86_400.0
PRICES = np.array([60_000.0, 3_000.0, 150.0, 0.5])
STRIKES = 12
NUMBERS = {
    "tail_initial": 2.9, "tail_maintenance": 3.3, "half_spread": 0.0005, "impact": 0.8, "average_daily_volume": 1e9,
    "open_interest_lower": 1e8, "open_interest_upper": 1e9, "open_interest_scale": 1.5, "carry": 0.03,
    "tier_rate_1": 0.02, "tier_rate_2": 0.04, "tier_rate_3": 0.1, "tier_rate_4": 0.2,
    "tier_notional_1": 1e7, "tier_notional_2": 5e7, "tier_notional_3": 2e8, "option_half_spread": 0.03,
    "surface_rho": -0.2, "surface_eta": 1.1, "surface_gamma": 0.4, "term_ratio": 0.9, "term_speed": 3.0,
    "volatility_shock_initial": 0.15, "volatility_shock_maintenance": 0.1, "volatility_shock_exponent": 0.45,
}  # fmt: skip
RUNS = 40


def make_market() -> Market:
    """Four underlyings, each with a perpetual, 24 options of one expiry and 25 of another: 200 instruments."""
    rows: list[tuple[int, int, float, float]] = []
    for u, price in enumerate(PRICES):
        rows.append((PERPETUAL, u, 0.0, 0.0))
        for days in (7, 45):
            for moneyness in np.linspace(0.7, 1.3, STRIKES):
                rows += [(kind, u, NOW + days * DAY, price * moneyness) for kind in (CALL, PUT)]
        rows.append((CALL, u, NOW + 45 * DAY, price * 1.5))
    kind, underlying, expiry, strike = (np.array(column) for column in zip(*rows, strict=True))
    ones = np.ones(len(PRICES))
    high = np.full((4, 4), 0.85) + 0.15 * np.eye(4)
    low = np.full((4, 4), 0.4) + 0.6 * np.eye(4)
    return Market(
        now=NOW,
        price=PRICES,
        age=30 * ones,
        volatility_mark=np.array([0.5, 0.6, 0.9, 1.0]),
        volatility_initial=np.array([0.55, 0.7, 1.0, 1.1]),
        volatility_maintenance=np.array([0.52, 0.65, 0.95, 1.0]),
        open_interest=3e8 / PRICES,
        shape=Shape(**{name: value * ones for name, value in NUMBERS.items()}),
        common=Common(
            horizon_initial=8 * 3600.0,
            horizon_maintenance=2 * 3600.0,
            offset=0.6,
            multiplier=1.0,
            extreme_weight=0.35,
            short_option_minimum=0.0005,
            volatility_fall=0.75,
            correlation_low=low,
            correlation_high=high,
        ),
        instruments=Instruments(kind, underlying, expiry, strike, np.full(len(kind), math.nan)),
    )


def best_of(runs: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest run, after one that compiles."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure() -> dict[str, object]:
    """All figures."""
    market, generator = make_market(), np.random.default_rng(1)
    instruments = len(market.instruments.kind)
    worth = 1e5 / market.price[market.instruments.underlying]
    dense = generator.normal(size=(10_000, instruments)) * worth
    accounts, held = 1_000_000, 8
    entries = generator.integers(instruments, size=accounts * held).astype(np.int32)
    offsets = np.arange(accounts + 1, dtype=np.int64) * held
    sparse = Positions(offsets, entries, generator.normal(size=accounts * held) * worth[entries])

    def run(positions: Positions | np.ndarray, *, initial_only: bool) -> object:
        # a market of its own, so that nothing is left over from the run before
        return margins(replace(market), positions, initial_only=initial_only)

    return {
        "instruments": instruments,
        "dense_accounts": len(dense),
        "dense_initial_seconds": best_of(RUNS, lambda: run(dense, initial_only=True)),
        "dense_both_seconds": best_of(RUNS, lambda: run(dense, initial_only=False)),
        "sparse_accounts": accounts,
        "sparse_positions": held,
        "sparse_initial_seconds": best_of(3, lambda: run(sparse, initial_only=True)),
        "sparse_both_seconds": best_of(3, lambda: run(sparse, initial_only=False)),
        "tables_seconds": best_of(RUNS, lambda: replace(market).house),
        "threads": numba.get_num_threads(),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, print and write."""
    figures = measure()
    path = BUILD / "bench" / "mirror.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        print(f"  {name:<24} {value:.4g}" if isinstance(value, float) else f"  {name:<24} {value:,}")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
