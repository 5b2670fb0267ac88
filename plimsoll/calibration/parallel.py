"""One function over many assets: here, on this machine's cores, or on a Dask cluster, with identical results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT = 10
"""Seconds a scheduler has to answer."""


def map_all(function: Callable[[T], R], items: Sequence[T], jobs: int = 1, scheduler: str | None = None) -> list[R]:
    """`function` of every item, in their order: its results do not depend on where or in what order they are computed.

    jobs: processes on this machine; 0 for as many as it has cores, 1 for none but this one. scheduler: address of a
    Dask scheduler (tcp://host:port) whose workers can import this package; `jobs` does not count then. `function` and
    items must be picklable. Raises PlimsollError where the scheduler does not answer, and whatever `function` raises.
    """
    if jobs < 0:
        raise PlimsollError(f"jobs is {jobs}; give 0 for all cores, or a number of processes")
    workers = jobs or os.cpu_count() or 1
    if scheduler is None and (workers == 1 or len(items) == 1):
        return [function(item) for item in items]
    from joblib import Parallel, delayed, parallel_config

    place: AbstractContextManager[Any]
    if scheduler is None:
        place = parallel_config(backend="loky", n_jobs=min(workers, len(items)), inner_max_num_threads=1)
    else:
        place = _cluster(scheduler)
    with place:
        results: list[R] = Parallel()(delayed(function)(item) for item in items)
    return results


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Joblib's work goes to the cluster at that address meanwhile."""
    try:
        from distributed import Client
    except ImportError as missing:
        raise PlimsollError("a Dask cluster needs the distributed package; install plimsoll[cluster]") from missing
    from joblib import parallel_config

    try:
        client = Client(address, timeout=CONNECT_TIMEOUT)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as fault:
        raise PlimsollError(
            f"no Dask scheduler answers at {address} ({fault or type(fault).__name__}); start one (dask scheduler) "
            "or leave --scheduler out"
        ) from fault
    with client, parallel_config(backend="dask", n_jobs=-1, wait_for_workers_timeout=CONNECT_TIMEOUT):
        yield
