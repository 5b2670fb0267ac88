"""A file that is fetched piece by piece and continues where it stopped.

While it is incomplete it is a folder `<file>.partial` that holds the request and the pieces, each written at once or
not at all; the file itself appears when all of it is there. So neither a reader nor a later run can take a part for the
whole, or one request's pieces for another's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl


class Download:
    """The pieces of one file so far. Made by `open_download`, which lets one process at a time have it."""

    def __init__(self, out: Path, folder: Path, fixed: dict[str, Any]) -> None:
        self.out = out
        self.fixed = fixed
        """What the first run found out and later ones keep to, such as where the request ends."""
        self._folder = folder

    def pieces(self) -> list[Path]:
        """The files of the pieces, in order."""
        return sorted(self._folder.glob("[0-9]*.parquet"))

    def last(self) -> pl.DataFrame | None:
        """The last piece; None at the start."""
        pieces = self.pieces()
        return _read(pieces[-1]) if pieces else None

    def add(self, piece: pl.DataFrame) -> None:
        """Keep one more piece, whatever happens after."""
        number = len(self.pieces())
        write_at_once(self._folder / f"{number:08d}.parquet", piece)

    def whole(self) -> pl.DataFrame | None:
        """All pieces together; None if there are none."""
        import polars as pl

        pieces = [_read(path) for path in self.pieces()]
        return pl.concat(pieces) if pieces else None

    def finish(self, frame: pl.DataFrame) -> None:
        """Write the file and drop the pieces."""
        write_at_once(self.out, frame)
        shutil.rmtree(self._folder)


@contextmanager
def open_download(out: Path, request: Mapping[str, Any], fixed: Mapping[str, Any]) -> Iterator[Download]:
    """The download of `request` (plain values) into `out`, new or continued. `fixed` is used where it is new.

    Raises PlimsollError if `out` exists, if its pieces are another request's, or if another process has it.
    """
    if out.suffix != ".parquet":
        raise PlimsollError(f"{out}: fetched data are written as parquet; name a .parquet file")
    if out.exists():
        raise PlimsollError(f"{out}: exists; name another file or remove it")
    if not out.parent.is_dir():
        raise PlimsollError(f"{out.parent}: no such folder; make it first")
    folder = out.with_name(out.name + ".partial")
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            raise PlimsollError(f"{folder}: another process is fetching into it; wait for it") from held
        download = Download(out, folder, _settle(folder, dict(request), dict(fixed)))
        try:
            yield download
        finally:
            if folder.exists() and not download.pieces():
                shutil.rmtree(folder)  # nothing to continue: the next request may be another one
    finally:
        os.close(lock)


def _settle(folder: Path, request: dict[str, Any], fixed: dict[str, Any]) -> dict[str, Any]:
    """Write the request, or compare it with the one that is there. Returns what is fixed."""
    path = folder / "request.json"
    if path.exists():
        try:
            stored = json.loads(path.read_text())
            earlier, kept = dict(stored["request"]), dict(stored["fixed"])
        except (ValueError, TypeError, KeyError) as fault:
            raise PlimsollError(f"{path}: is damaged; remove {folder} and fetch again") from fault
        if earlier != request:
            changed = ", ".join(sorted(key for key in {*earlier, *request} if earlier.get(key) != request.get(key)))
            raise PlimsollError(
                f"{folder}: holds a part of another request ({changed} differ); repeat that one, or remove the folder"
            )
        return kept
    spare = path.with_suffix(".tmp")
    spare.write_text(json.dumps({"request": request, "fixed": fixed}, sort_keys=True))
    spare.replace(path)
    return fixed


def write_at_once(path: Path, frame: pl.DataFrame) -> None:
    """Write parquet so that `path` is either all there or not there, whenever the machine stops."""
    spare = path.with_name(path.name + ".tmp")
    with spare.open("wb") as file:
        frame.write_parquet(file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    spare.replace(path)


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise PlimsollError(f"{path}: is damaged; remove it and those after it, then fetch again") from fault
