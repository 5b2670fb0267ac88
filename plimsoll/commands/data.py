"""`plimsoll data`: check market data files, and fetch them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from plimsoll.commands.inputs import Moment
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from plimsoll.market.checks import Check

_SUFFIXES = (".parquet", ".csv", ".csv.gz")
_STYLES = {"refused": "bold red", "repaired": "yellow", "kept": None}


@click.group("data")
def command() -> None:
    """Check market data files, and fetch them."""


@command.command("check")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--kind", help="bars, volatility, chain, option book, depth, funding or rounds (default: by columns).")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@click.pass_context
def check(ctx: click.Context, paths: tuple[Path, ...], kind: str | None, *, as_json: bool) -> None:
    """Name every defect of files, or of all files of folders, and what a loader does about it.

    A defect is refused (no loader takes the file), repaired by a stated rule, or kept because it may be true. Exits
    with 1 if anything is refused.
    """
    from plimsoll.market.checks import KINDS, check_file

    if kind is not None and kind not in KINDS:
        raise PlimsollError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    console = Console()
    documents: list[dict[str, Any]] = []
    refused = 0
    for path in _files(paths):
        try:
            found = check_file(path, kind)
        except PlimsollError as fault:
            documents.append({"path": str(path), "passed": False, "error": str(fault)})
            refused += 1
            if not as_json:
                console.print(f"[bold red]refused[/] {escape(str(fault))}", highlight=False, soft_wrap=True)
            continue
        documents.append(found.as_dict())
        refused += not found.passed
        if not as_json:
            _show(found, console)
    if as_json:
        click.echo(json.dumps({"passed": not refused, "files": documents}, indent=2, ensure_ascii=False))
    else:
        console.print(f"{len(documents)} files, {refused} refused", highlight=False)
    ctx.exit(1 if refused else 0)


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(inner for inner in path.rglob("*") if inner.is_file() and inner.name.endswith(_SUFFIXES))
        if not inside:
            raise PlimsollError(f"{path}: has no .parquet or .csv file; give files")
        yield from inside


def _show(found: Check, console: Console) -> None:
    from plimsoll.market.defects import RULES, duration, moment

    facts = [f"{found.kind}, {found.rows:,} rows"]
    if found.start is not None and found.end is not None:
        facts.append(f"{moment(found.start)} to {moment(found.end)}")
    if found.step is not None:
        facts.append(f"a step of {duration(found.step)}")
    console.print(f"[bold]{escape(found.path)}[/]: {', '.join(facts)}", highlight=False, soft_wrap=True)
    if not found.findings:
        console.print("  nothing found", style="green")
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("defect", no_wrap=True)
    for column in ("first row", "rows"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what")
    table.add_column("outcome", max_width=16)
    for finding in found.findings:
        style = _STYLES[finding.action]
        table.add_row(
            finding.kind, str(finding.row), str(finding.count), escape(finding.message), finding.outcome, style=style
        )
    console.print(table, highlight=False)
    for rule in sorted({finding.rule for finding in found.findings if finding.rule}):
        console.print(f"  rule {rule}: {RULES[rule]}", highlight=False, soft_wrap=True)


@command.group("fetch")
def fetch() -> None:
    """Fetch market data into a parquet file; run the same command again to continue one that stopped."""


_OUT = click.option("--out", required=True, type=click.Path(path_type=Path), help="The .parquet file to write.")


@fetch.command("bars")
@click.argument("exchange")
@click.argument("symbol")
@click.option("--timeframe", default="1h", show_default=True, help="Length of a bar, as the exchange names it.")
@click.option("--since", required=True, type=Moment(), help="First bar's opening.")
@click.option("--until", type=Moment(), help="Bars open before this time (default: now).")
@click.option("--endpoint", metavar="URL", help="Scheme and host instead of the exchange's own (a proxy, a mirror).")
@_OUT
def bars(
    exchange: str, symbol: str, timeframe: str, since: int, until: int | None, endpoint: str | None, out: Path
) -> None:
    """Fetch price bars by ccxt: plimsoll data fetch bars binance BTC/USDT --since 2021-01-01 --out BTC.parquet.

    Their ts is the end of the bar, when its close was known.
    """
    from plimsoll.market.fetch import fetch_bars

    with _progress(f"{exchange} {symbol}") as report:
        frame = fetch_bars(exchange, symbol, timeframe, since, out, until=until, endpoint=endpoint, report=report)
    _tell(frame, "ts", out)


@fetch.command("rounds")
@click.argument("feed")
@click.option("--network", "network_name", help="As in plimsoll.toml.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Default: plimsoll.toml.")
@click.option("--rpc", metavar="URL", help="Endpoint, instead of a network's.")
@click.option("--since", default="0", type=Moment(), help="First round's time (default: all rounds).")
@_OUT
def rounds(
    feed: str, network_name: str | None, config_path: Path | None, rpc: str | None, since: int, out: Path
) -> None:
    """Fetch the rounds of the Chainlink feed at address FEED (its proxy, or any feed with round history)."""
    from eth_utils.address import is_address

    from plimsoll.chain.client import Chain
    from plimsoll.config import Config
    from plimsoll.market.fetch import fetch_rounds

    if not is_address(feed):
        raise PlimsollError(f"{feed!r} is not an address; give the feed's, 0x and 40 hexadecimal digits")
    if network_name is None and rpc is None:
        raise PlimsollError("give --network NAME or --rpc URL")
    network = None if network_name is None else Config.load(config_path).network(network_name)
    url = rpc or (network.url() if network else "")
    chain = Chain.connect(url, chain_id=network.chain_id if network else None)
    with _progress(f"rounds of {feed[:8]}…") as report:
        frame = fetch_rounds(chain, feed, out, since=since, report=report)
    _tell(frame, "updatedAt", out)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr that is gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda part, last: progress.update(task, completed=part, description=f"{what}, {last}")


def _tell(frame: pl.DataFrame, time: str, out: Path) -> None:
    from plimsoll.market.defects import moment

    click.echo(f"{out}: {frame.height:,} rows, {moment(frame[time][0])} to {moment(frame[time][-1])}")
    click.echo(f"plimsoll data check {out} names its gaps and spikes")
