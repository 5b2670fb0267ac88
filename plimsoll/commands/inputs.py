"""What the commands that read market data have in common: which files, which end of a bar they stamp, and where the
work is done."""

from __future__ import annotations

import functools
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click
from rich.console import Console

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.calibration.model import Sources
    from plimsoll.market import Chain, Market, Series, VolatilityIndex
    from plimsoll.market.depth import Depth

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType):
    """A time such as 90s, 30m, 8h or 10d, as whole seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9]\d{0,8})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 8h or 10d", param, ctx)
        return int(found[1]) * UNITS[found[2]]


class Moment(click.ParamType):
    """A date or time in UTC (2022-05-09 or 2022-05-09T12:00), or unix seconds, as unix seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) or str(value).isdigit():
            return int(str(value))
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a date such as 2022-05-09 nor unix seconds", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """assets: by name. market: where a named one was asked for."""

    assets: dict[str, Series]
    sources: Sources
    market: Market | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The data named on the command line."""

    files: tuple[str, ...] = ()
    market: str | None = None
    data: Path | None = None
    index: str | None = None
    chains: tuple[str, ...] = ()
    books: tuple[str, ...] = ()
    pegs: tuple[str, ...] = ()
    stamp: Literal["open", "close"] = "close"

    def require_prices(self) -> None:
        """PlimsollError unless prices are named, and once only."""
        if bool(self.files) == bool(self.market):
            raise PlimsollError("give either price files or --market NAME")

    def load(self) -> Loaded:
        """Read all of it. Raises PlimsollError for any fault of a file, and where nothing or too much is named."""
        from plimsoll.calibration.model import Sources
        from plimsoll.market import load_market

        self.require_prices()
        market = None
        if self.market:
            loaded = load_market(self.market, self.data)
            assets, index, market = loaded.histories(), loaded.index, loaded.market
        else:
            assets, index = self._assets(), None
        if self.index:
            index = self._index(self.index, tuple(assets))
        sources = Sources(
            index,
            _chains(self.chains, tuple(assets)),
            dict(_book(argument, tuple(assets)) for argument in self.books),
            tuple(self._series(argument) for argument in self.pegs),
        )
        return Loaded(assets, sources, market)

    def _assets(self) -> dict[str, Series]:
        """Files of one name, joined in the order they were given."""
        from plimsoll.market import join_series

        found: dict[str, list[Series]] = {}
        for argument in self.files:
            series = self._series(argument)
            found.setdefault(series.name, []).append(series)
        return {name: join_series(*parts) if len(parts) > 1 else parts[0] for name, parts in found.items()}

    def _series(self, argument: str) -> Series:
        from plimsoll.market import load_series

        name, path = _named(argument)
        return load_series(path, name, stamp=self.stamp)

    def _index(self, argument: str, assets: tuple[str, ...]) -> VolatilityIndex:
        """A volatility index: ts and close as a decimal, or Deribit's own file."""
        from plimsoll.market import VolatilityIndex, load_dvol
        from plimsoll.market.frames import read_frame

        name, path = _named(argument)
        if name is None and len(assets) > 1:
            raise PlimsollError(f"--index: say which asset it is of, as in --index {min(assets)}={path}")
        if name is not None and name not in assets:
            raise PlimsollError(f"--index: {name} is not among the assets ({', '.join(sorted(assets))})")
        series = load_dvol(path) if "dvol_close" in read_frame(path).columns else self._series(str(path))
        if series.close.max() > 20.0:
            raise PlimsollError(f"{path}: the index shows {series.close.max():g}, which looks like percent; give 0.8")
        return VolatilityIndex(name or assets[0], series)


def _named(argument: str) -> tuple[str | None, Path]:
    """NAME=FILE or FILE; a file that has an equals sign in its name is a file."""
    if "=" not in argument or Path(argument).exists():
        return None, Path(argument)
    name, _, path = argument.partition("=")
    return name or None, Path(path)


def _chains(files: tuple[str, ...], assets: tuple[str, ...]) -> dict[str, list[Chain]]:
    """Chains by asset, of all files, in order of time. A file may hold those of several assets."""
    import polars as pl

    from plimsoll.market import load_chains
    from plimsoll.market.frames import read_frame, require_columns

    found: dict[str, list[Chain]] = {}
    for file in files:
        path = Path(file)
        frame = read_frame(path)
        require_columns(path, frame, ("currency",))
        names = set(frame["currency"].cast(pl.String).to_list()) & set(assets)
        if not names:
            raise PlimsollError(f"{path}: has no options of {', '.join(sorted(assets))}; leave --chains out")
        for name in sorted(names):
            found.setdefault(name, []).extend(load_chains(path, name))
    for name, chains in found.items():
        chains.sort(key=lambda chain: chain.ts)
        if repeated := [a.ts for a, b in pairwise(chains) if a.ts == b.ts]:
            raise PlimsollError(f"--chains: two files have chains of {name} at {repeated[0]}; give one of them")
    return found


def _book(argument: str, assets: tuple[str, ...]) -> tuple[str, Depth]:
    from plimsoll.market.depth import load_depth

    name, path = _named(argument)
    if name not in assets:
        raise PlimsollError(f"--book {argument}: name its asset, as in --book {min(assets)}={path}")
    return name, load_depth(path, name)[0]


def with_inputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add FILES and the options that name prices and a volatility index; the command gets `inputs`."""

    @click.argument("files", nargs=-1, metavar="[[NAME=]FILE]...")
    @click.option("--market", help="A named market instead of files; sp500-nasdaq needs no data folder.")
    @click.option(
        "--data",
        type=click.Path(path_type=Path),
        envvar="PLIMSOLL_DATA",
        help="Folder with the named markets' price files.  [env: PLIMSOLL_DATA]",
    )
    @click.option("--index", metavar="[ASSET=]FILE", help="Volatility index (a market has its own).")
    @click.option(
        "--stamp",
        type=click.Choice(["open", "close"]),
        default="close",
        show_default=True,
        help="Which end of its bar a file's ts marks.",
    )
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        files: tuple[str, ...],
        market: str | None,
        data: Path | None,
        index: str | None,
        stamp: str,
        **options: Any,
    ) -> Any:
        end = cast("Literal['open', 'close']", stamp)
        return command(*arguments, inputs=Inputs(files, market, data, index, stamp=end), **options)

    return wrapped


def with_sources(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add, below `with_inputs`, the options that name other data; they go into `inputs`."""

    @click.option("--chains", multiple=True, metavar="FILE", help="Option chains, of any of the assets.")
    @click.option("--book", "books", multiple=True, metavar="ASSET=FILE", help="Order book over time, for spreads.")
    @click.option("--peg", "pegs", multiple=True, metavar="[NAME=]FILE", help="A stablecoin in dollars, for haircuts.")
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        inputs: Inputs,
        chains: tuple[str, ...],
        books: tuple[str, ...],
        pegs: tuple[str, ...],
        **options: Any,
    ) -> Any:
        return command(*arguments, inputs=replace(inputs, chains=chains, books=books, pegs=pegs), **options)

    return wrapped


def with_work(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --jobs and --scheduler."""
    command = click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler to work on (tcp://host:port).")(
        command
    )
    return click.option(
        "--jobs", type=click.IntRange(min=0), default=1, show_default=True, help="Processes; 0 for one a core."
    )(command)


@contextmanager
def status(what: str) -> Iterator[None]:
    """A line on stderr while it lasts, where someone is watching; silent otherwise."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def duration(seconds: int) -> str:
    """8h, 10d, 90s."""
    for unit in ("d", "h", "m"):
        if seconds % UNITS[unit] == 0:
            return f"{seconds // UNITS[unit]}{unit}"
    return f"{seconds}s"
