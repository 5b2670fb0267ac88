"""Tables from files: reading parquet and CSV, and columns as arrays. Every fault names file, column, row and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray


def read_frame(path: Path) -> pl.DataFrame:
    """A .parquet, .csv or .csv.gz file as a table; CSV cells stay text until a column is read as numbers."""
    try:
        import polars as pl
    except ImportError as missing:
        raise PlimsollError("reading price files needs polars; install plimsoll[calibration]") from missing
    if not path.is_file():
        raise PlimsollError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise PlimsollError(f"{path}: is empty; give a file with prices")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        if path.suffix == ".csv" or path.name.endswith(".csv.gz"):
            return pl.read_csv(path, infer_schema=False)  # as text: a bad cell is then found by its row
    except (OSError, pl.exceptions.PolarsError) as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise PlimsollError(f"{path}: cannot be read ({reason}); give a valid parquet or CSV file") from fault
    raise PlimsollError(f"{path}: is neither .parquet nor .csv; convert it")


def require_columns(path: Path, frame: pl.DataFrame, columns: Iterable[str]) -> None:
    """Raise PlimsollError unless the table has these columns."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        found = ascii(", ".join(frame.columns))[1:-1][:60] or "none"  # a file of rubbish has rubbish for names
        raise PlimsollError(
            f"{path}: has no column {' and no column '.join(missing)} (found: {found}); rename or add it"
        )


def seconds(path: Path, frame: pl.DataFrame, column: str) -> NDArray[np.int64]:
    """A column of whole unix seconds, shape (n,). float64 on the way holds every second exactly."""
    return _cells(path, frame, column, whole=True, optional=False).astype(np.int64)


def numbers(path: Path, frame: pl.DataFrame, column: str, *, optional: bool = False) -> NDArray[np.float64]:
    """A column of numbers, shape (n,); where `optional`, a missing cell is NaN and no fault."""
    return _cells(path, frame, column, whole=False, optional=optional)


def _cells(path: Path, frame: pl.DataFrame, column: str, *, whole: bool, optional: bool) -> NDArray[np.float64]:
    import polars as pl

    raw = frame[column]
    if not (raw.dtype.is_numeric() or raw.dtype == pl.String):
        raise PlimsollError(
            f"{path}: column {column} holds {raw.dtype}, not {'unix seconds' if whole else 'numbers'}; convert it"
        )
    values = raw.cast(pl.Float64, strict=False)
    bad = values.is_null() & raw.is_not_null() if optional else values.is_null()
    if whole:
        bad = bad | ~values.is_finite().fill_null(False) | (values != values.floor()).fill_null(True)
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        if raw[row] is None:
            raise PlimsollError(f"{path}: row {row + 1}: {column} is missing; fill or drop the row")
        kind = "a whole number of unix seconds" if whole else "a number"
        raise PlimsollError(f"{path}: row {row + 1}: {column} is {str(raw[row])[:40]!r}, not {kind}; correct the row")
    return np.asarray(values.to_numpy(), dtype=np.float64)
