"""Speed of calibration and backtest, into .build/bench/calibration.json: seconds by the clock and of
processors.

calibration: 20 made-up assets with 5 years of hourly prices and volume, the whole report, on one process and on two.
backtest: 6 assets with 4 years, every model and the margin rule, likewise. Compiled code is loaded beforehand.
"""

from __future__ import annotations

import json
import math
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from plimsoll.calibration import calibrate
from plimsoll.calibration.backtest import backtest
from plimsoll.chain.toolchain import BUILD, ROOT
from plimsoll.market import YEAR_SECONDS, Series, make_series

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR, DAY = 3_600, 86_400
YEAR_ROWS = 365 * 24


def made_up(assets: int, years: int) -> dict[str, Series]:
    """Prices with a common factor, fat tails, and volatility that wanders with a memory of 20 days."""
    random, n = np.random.default_rng(11), years * YEAR_ROWS
    decay, wander = math.exp(-HOUR / (20 * DAY)), np.zeros(n)
    for i, shock in enumerate(random.normal(0.0, 0.5 * math.sqrt(1.0 - decay**2), n - 1)):
        wander[i + 1] = decay * wander[i] + shock
    common, ts = random.standard_t(4, n), 1_577_836_800 + HOUR * np.arange(1, n + 1)
    series = {}
    for number in range(assets):
        moves = (common + random.standard_t(4, n)) / 2.0 * 0.7 * np.exp(wander) * math.sqrt(HOUR / YEAR_SECONDS)
        close, volume = 100.0 * np.exp(np.cumsum(moves)), np.exp(random.normal(10.0, 0.5, n))
        name = f"A{number:02d}"
        series[name] = make_series(name, ts, close, volume=volume)
    return series


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and of processors in this process alone: helpers of several jobs live on."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - used}


def measure() -> dict[str, object]:
    """All figures."""
    many, six = made_up(20, 5), made_up(6, 4)
    two = dict(list(many.items())[:2])
    for jobs in (1, 2):
        calibrate("warm", two, jobs=jobs)
    backtest(two, jobs=2)
    return {
        "calibration_assets": len(many),
        "calibration_rows": 5 * YEAR_ROWS,
        "calibration_1_job": timed(lambda: calibrate("bench", many)),
        "calibration_2_jobs": timed(lambda: calibrate("bench", many, jobs=2)),
        "backtest_assets": len(six),
        "backtest_rows": 4 * YEAR_ROWS,
        "backtest_1_job": timed(lambda: backtest(six)),
        "backtest_2_jobs": timed(lambda: backtest(six, jobs=2)),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, print and write."""
    figures = measure()
    path = BUILD / "bench" / "calibration.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
