"""Times as files write them: numbers in any unit, dates with or without an offset. Faults are named, not guessed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plimsoll.market.defects import Finding, bad_cells, found

if TYPE_CHECKING:
    import polars as pl

    from plimsoll.market.defects import Integers

_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_BOUNDS = np.array([1e11, 1e14, 1e17])
"""Where one unit ends and the next begins: as seconds, 1e11 is the year 5138; as milliseconds, 1973."""
_MICROS = (1_000_000, 1_000, 1, -1_000)
"""Microseconds in a unit; negative: units in a microsecond."""
_OFFSET = r"(Z|z|UTC|[+-]\d{2}:?\d{2})$"
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def read_times(raw: pl.Series) -> tuple[Integers | None, list[Finding]]:
    """A column as microseconds since 1970 UTC, shape (n,), and what is wrong; None where a fault leaves no reading."""
    import polars as pl

    name = raw.name
    if raw.dtype == pl.Date or isinstance(raw.dtype, pl.Datetime):
        return _dates(raw)
    if raw.dtype == pl.String:
        numeric = raw.cast(pl.Float64, strict=False).is_not_null()
        dated = raw.str.contains(r"^\s*\d{4}-\d\d-\d\d").fill_null(False)
        if dated.any() and numeric.any():
            message = f"{name} is a number in {int(numeric.sum())} rows and a date in {int(dated.sum())}; give one"
            fewer = dated if int(dated.sum()) <= int(numeric.sum()) else numeric
            return None, found("mixed units", name, fewer.to_numpy(), message)
        if dated.any():
            return _text(raw)
    return _numbers(raw)


def _numbers(raw: pl.Series) -> tuple[Integers | None, list[Finding]]:
    import polars as pl

    name = raw.name
    values, findings = bad_cells(raw)
    if findings:
        return None, findings
    findings = found("negative", name, values < 0, f"{name} is before 1970; give unix seconds")
    if findings:
        return None, findings
    units = np.digitize(values, _BOUNDS)
    kinds, counts = np.unique(units, return_counts=True)
    if len(kinds) > 1:
        shown = ", ".join(f"{_UNITS[kind]} in {count} rows" for kind, count in zip(kinds, counts, strict=True))
        rarer = units != kinds[np.argmax(counts)]
        return None, found("mixed units", name, rarer, f"{name} is {shown}; give seconds throughout")
    unit = int(kinds[0])
    if unit:
        message = f"{name} is in {_UNITS[unit]} throughout"
        findings = found("other unit", name, np.ones(len(values), dtype=bool), message, "repaired", "seconds")
    exact = raw.cast(pl.Int64, strict=False)  # nanoseconds do not fit a float's 53 bits
    micros = _MICROS[unit]
    if exact.null_count() == 0 and bool((exact.cast(pl.Float64) == pl.Series(values)).all()):
        whole = exact.to_numpy().astype(np.int64)
        return (whole * micros if micros > 0 else whole // -micros), findings
    scaled = np.round(values * micros) if micros > 0 else np.floor(values / -micros)
    return scaled.astype(np.int64), findings


def _dates(raw: pl.Series) -> tuple[Integers | None, list[Finding]]:
    import polars as pl

    name = raw.name
    findings = found("missing", name, raw.is_null().to_numpy(), f"{name} is missing; fill or drop the rows")
    if findings:
        return None, findings
    zone = raw.dtype.time_zone if isinstance(raw.dtype, pl.Datetime) else None
    everything = np.ones(len(raw), dtype=bool)
    if zone is None:
        findings = found("no time zone", name, everything, f"{name} has dates without a time zone", "repaired", "utc")
    elif zone != "UTC":
        findings = found("time zone", name, everything, f"{name} has dates in {zone}", "repaired", "utc")
    # polars keeps an aware column's moments in UTC, so the cast needs no conversion
    return raw.cast(pl.Datetime("us", zone)).to_physical().to_numpy().astype(np.int64), findings


def _text(raw: pl.Series) -> tuple[Integers | None, list[Finding]]:
    import polars as pl

    name = raw.name
    text = raw.str.strip_chars()
    offset = text.str.extract(_OFFSET)
    bare = text.str.replace(_OFFSET, "").str.strip_chars().str.replace("T", " ", literal=True)
    parsed = bare.str.to_datetime(_FORMATS[0], time_unit="us", strict=False)
    for form in _FORMATS[1:]:
        parsed = parsed.zip_with(parsed.is_not_null(), bare.str.to_datetime(form, time_unit="us", strict=False))
    unread = parsed.is_null().to_numpy()
    if unread.any():
        example = str(raw[int(np.argmax(unread))])[:40]
        message = f"{name} is {example!r}, not a time; give unix seconds or dates as 2024-01-31T12:00:00Z"
        return None, found("bad cells", name, unread, message)
    naive = offset.is_null().to_numpy()
    if naive.any() and not naive.all():
        message = f"{name} has dates without an offset from UTC between dates with one; write it in all"
        rarer = naive if naive.mean() <= 0.5 else ~naive
        return None, found("mixed time zones", name, rarer, message)
    micros = parsed.to_physical().to_numpy().astype(np.int64)
    if naive.all():
        message = f"{name} has dates without a time zone, from {raw[0]!r}"
        return micros, found("no time zone", name, naive, message, "repaired", "utc")
    shift = offset.map_elements(_seconds_east, return_dtype=pl.Int64).to_numpy()
    zones, counts = np.unique(shift, return_counts=True)
    findings = []
    if len(zones) > 1:
        shown = ", ".join(f"{zone / 3600:+g} h in {count} rows" for zone, count in zip(zones, counts, strict=True))
        rarer = shift != zones[np.argmax(counts)]
        message = f"{name} has dates with several offsets from UTC: {shown}"
        findings = found("mixed time zones", name, rarer, message, "repaired", "utc")
    elif zones[0] != 0:
        message = f"{name} has dates {zones[0] / 3600:+g} h from UTC"
        findings = found("time zone", name, np.ones(len(shift), dtype=bool), message, "repaired", "utc")
    return micros - shift * 1_000_000, findings


def _seconds_east(offset: str) -> int:
    if offset[0] not in "+-":
        return 0
    digits = offset[1:].replace(":", "")
    return (1 if offset[0] == "+" else -1) * (int(digits[:2]) * 3_600 + int(digits[2:]) * 60)
