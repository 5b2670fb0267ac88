"""`plimsoll calibrate`: fit the parameters of a market, or of any price files, and write the report."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.console import Console
from rich.table import Table

from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.calibration import AssetParameters, Report
    from plimsoll.market import Series

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType):
    """A time such as 90s, 30m, 8h or 10d, as whole seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9]\d{0,8})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 8h or 10d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


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


@click.command("calibrate")
@click.argument("files", nargs=-1, metavar="[[NAME=]FILE]...")
@click.option("--market", help="A named market instead of files; sp500-nasdaq needs no data folder.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="PLIMSOLL_DATA",
    help="Folder with the named markets' price files.  [env: PLIMSOLL_DATA]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write the report (default: .build/calibration/)."
)
@click.option("--initial-horizon", type=Duration(), help="Horizon of initial margin (files: 8h).")
@click.option("--maintenance-horizon", type=Duration(), help="Horizon of maintenance margin (files: 2h).")
@click.option("--half-life", type=Duration(), help="Half-life of the volatility EWMA (files: 10d).")
@click.option("--as-of", type=Moment(), help="Use nothing known after this time.")
@click.option(
    "--stamp",
    type=click.Choice(["open", "close"]),
    default="close",
    show_default=True,
    help="Which end of its bar a file's ts marks.",
)
def command(
    files: tuple[str, ...],
    market: str | None,
    data: Path | None,
    out: Path | None,
    initial_horizon: int | None,
    maintenance_horizon: int | None,
    half_life: int | None,
    as_of: int | None,
    stamp: str,
) -> None:
    """Fit margin parameters to price history and write a report.

    FILE is parquet or CSV with columns ts (unix seconds) and close; NAME defaults to the file's stem.
    """
    # numpy and the readers load here, so that other commands start at once
    from dataclasses import replace

    from plimsoll.calibration import CalibrationConfig, calibrate
    from plimsoll.market import load_market

    if bool(files) == bool(market):
        raise PlimsollError("give either price files or --market NAME")
    if market:
        loaded = load_market(market, data)
        name, assets, config = market, loaded.histories(), CalibrationConfig.for_market(loaded.market)
    else:
        assets, config = load_files(files, stamp), CalibrationConfig()
        name = "-".join(sorted(assets))
    given = {
        "initial_horizon": initial_horizon,
        "maintenance_horizon": maintenance_horizon,
        "half_life": half_life,
    }
    config = replace(config, **{key: value for key, value in given.items() if value is not None})
    report = calibrate(name, assets, config, as_of)
    path = out or Path(".build") / "calibration" / f"{name}.json"
    report.save(path)
    show(report, Console())
    click.echo(f"report {path}  keccak256 {report.hash}")


def load_files(files: tuple[str, ...], stamp: str) -> dict[str, Series]:
    """Price files as a command line names them; `stamp`: open or close. PlimsollError for the first fault."""
    from plimsoll.market import load_series

    assets: dict[str, Series] = {}
    for argument in files:
        name, _, path = (
            argument.rpartition("=") if "=" in argument and not Path(argument).exists() else ("", "", argument)
        )
        series = load_series(path, name or None, stamp="open" if stamp == "open" else "close")
        if series.name in assets:
            raise PlimsollError(f"two files are named {series.name}; name them apart with NAME=FILE")
        assets[series.name] = series
    return assets


def show(report: Report, console: Console) -> None:
    """Print a report as tables."""
    as_of = datetime.fromtimestamp(report.as_of, UTC)
    horizons = cast("dict[str, int]", report.configuration["horizons"])
    evidence = cast("dict[str, dict[str, float]]", report.evidence["assets"])
    table = Table(title=f"{report.market} as of {as_of:%Y-%m-%d %H:%M} UTC", title_justify="left")
    table.add_column("")
    for name in report.assets:  # an asset a column: a terminal of 80 columns shows five
        table.add_column(name, justify="right")

    def row(label: str, show_asset: Callable[[AssetParameters, dict[str, float]], str]) -> None:
        table.add_row(label, *(show_asset(asset, evidence[name]) for name, asset in report.assets.items()))

    row("volatility", lambda _, facts: f"{facts['volatility_level']:.1%}")
    row("  stress", lambda asset, _: f"{asset.volatility_stress:.1%}")
    row("  floor", lambda asset, _: f"{asset.volatility_floor:.1%}")
    row("  cap", lambda asset, _: f"{asset.volatility_cap:.1%}")
    row(
        f"tail z, initial {_duration(horizons['initial'])}",
        lambda asset, facts: f"{asset.tail_initial:.2f} ± {facts['tail_initial_standard_error']:.2f}",
    )
    row(
        f"tail z, maintenance {_duration(horizons['maintenance'])}",
        lambda asset, facts: f"{asset.tail_maintenance:.2f} ± {facts['tail_maintenance_standard_error']:.2f}",
    )
    row("coverage", lambda _, facts: f"{min(facts['coverage_initial'], facts['coverage_maintenance']):.2%}")
    row("volume a day", lambda asset, _: _millions(asset.average_daily_volume))
    console.print(table)
    for pair in report.correlation:
        console.print(f"correlation {' / '.join(pair.pair)}: {pair.low:.2f} to {pair.high:.2f}")


def _millions(dollars: float | None) -> str:
    return "unknown" if dollars is None else f"${dollars / 1e6:,.1f}m"


def _duration(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
