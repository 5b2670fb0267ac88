"""Work on several processes and on a Dask cluster: the same results as here."""

from __future__ import annotations

import os

import numpy as np
import pytest

from plimsoll.calibration import calibrate
from plimsoll.calibration.backtest import Task, study
from plimsoll.calibration.parallel import map_all
from plimsoll.errors import PlimsollError
from plimsoll.market import Series, make_series


def assets() -> dict[str, Series]:
    rng = np.random.default_rng(8)
    ts = 1_600_000_000 + 3_600 * np.arange(7_500)
    return {
        name: make_series(name, ts, 100.0 * np.exp(np.cumsum(0.006 * rng.standard_t(4, 7_500))))
        for name in ("AVAX", "BTC", "ETH")
    }


def test_mapAll_keepsTheOrderAndUsesTheProcesses():
    assert map_all(abs, [-3, 1, -2], jobs=2) == map_all(abs, [-3, 1, -2]) == [3, 1, 2]
    us = "/proc/self"  # a link to the number of the process that reads it
    assert map_all(os.readlink, [us, us]) == [str(os.getpid())] * 2
    assert str(os.getpid()) not in map_all(os.readlink, [us, us], jobs=2)


def test_mapAll_raisesWhatTheFunctionRaises():
    """From another process too, as one line."""
    one = assets()["BTC"]
    tasks = [Task(one.between(end=int(one.ts[hours]))) for hours in (24 * 20, 24 * 100)]
    with pytest.raises(PlimsollError, match=r"BTC: (19|20) steps of 86400 s, and 60 are needed"):
        map_all(study, tasks, jobs=2)


def test_calibrate_isTheSameOnACluster():
    """Two worker processes."""
    distributed = pytest.importorskip("distributed")
    series = assets()
    alone = calibrate("test", series).to_bytes()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        assert calibrate("test", series, scheduler=cluster.scheduler_address).to_bytes() == alone


def test_mapAll_saysWhatIsWrongWithAScheduler():
    pytest.importorskip("distributed")
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(PlimsollError, match=f"no Dask scheduler answers at {address}") as caught:
            map_all(abs, [1, 2], scheduler=address)
        assert "\n" not in str(caught.value)


def test_mapAll_refusesAnImpossibleNumberOfJobs():
    with pytest.raises(PlimsollError, match="jobs is -2; give 0 for all cores"):
        map_all(abs, [1, 2], jobs=-2)
