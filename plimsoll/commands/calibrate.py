"""`plimsoll calibrate`: fit the parameters of a market, or of any price files; write the report and its page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.table import Table

from plimsoll.commands.inputs import Duration, Inputs, Moment, duration, status, with_inputs, with_sources, with_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.calibration import AssetParameters, Report


@click.command("calibrate")
@with_inputs
@with_sources
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write the report (default: .build/calibration/)."
)
@click.option(
    "--previous", type=click.Path(path_type=Path), help="An earlier report: the page says what changed and why."
)
@click.option("--initial-horizon", type=Duration(), help="Horizon of initial margin (files: 8h).")
@click.option("--maintenance-horizon", type=Duration(), help="Horizon of maintenance margin (files: 2h).")
@click.option("--half-life", type=Duration(), help="Half-life of the volatility EWMA (files: 10d).")
@click.option("--as-of", type=Moment(), help="Use nothing known after this time.")
@click.option("--compare", is_flag=True, help="Judge all models, not only the one in use and the benchmark.")
@with_work
def command(
    inputs: Inputs,
    out: Path | None,
    previous: Path | None,
    initial_horizon: int | None,
    maintenance_horizon: int | None,
    half_life: int | None,
    as_of: int | None,
    jobs: int,
    scheduler: str | None,
    *,
    compare: bool,
) -> None:
    """Fit margin parameters to price history and write a report, with a page for people beside it.

    FILE is parquet or CSV with columns ts (unix seconds) and close, and optionally open, high, low and volume; NAME
    defaults to the file's stem, and several files of one name are joined.
    """
    # numpy and the readers load here, so that other commands start at once
    from dataclasses import replace

    from plimsoll.calibration import CalibrationConfig
    from plimsoll.calibration.model import run
    from plimsoll.calibration.page import render
    from plimsoll.calibration.report import Report

    before = None if previous is None else Report.load(previous)
    loaded = inputs.load()
    config = CalibrationConfig() if loaded.market is None else CalibrationConfig.for_market(loaded.market)
    given = {
        "initial_horizon": initial_horizon,
        "maintenance_horizon": maintenance_horizon,
        "half_life": half_life,
    }
    config = replace(config, **{key: value for key, value in given.items() if value is not None})
    name = inputs.market or "-".join(sorted(loaded.assets))
    with status(f"calibrating {', '.join(loaded.assets)}"):
        found = run(name, loaded.assets, config, as_of, loaded.sources, compare=compare, jobs=jobs, scheduler=scheduler)
    report = found.report
    path = out or Path(".build") / "calibration" / f"{name}.json"
    report.save(path)
    page = path.with_suffix(".html")
    page.write_text(render(found, before), encoding="utf-8")
    show(report, Console())
    click.echo(f"report {path}  keccak256 {report.hash}")
    click.echo(f"page   {page}")


def show(report: Report, console: Console) -> None:
    """Print a report as tables."""
    as_of = datetime.fromtimestamp(report.as_of, UTC)
    horizons = cast("dict[str, int]", report.configuration["horizons"])
    evidence = cast("dict[str, dict[str, Any]]", report.evidence["assets"])
    table = Table(title=f"{report.market} as of {as_of:%Y-%m-%d %H:%M} UTC", title_justify="left")
    table.add_column("")
    for name in report.assets:  # an asset a column: a terminal of 80 columns shows five
        table.add_column(name, justify="right")

    def row(label: str, show_asset: Callable[[AssetParameters, dict[str, Any]], str]) -> None:
        table.add_row(label, *(show_asset(asset, evidence[name]) for name, asset in report.assets.items()))

    row("volatility", lambda _, facts: f"{facts['volatility_level']:.1%}")
    row("  stress", lambda asset, _: f"{asset.volatility_stress:.1%}")
    row("  floor", lambda asset, _: f"{asset.volatility_floor:.1%}")
    row("  cap", lambda asset, _: f"{asset.volatility_cap:.1%}")
    row(
        f"tail z, initial {duration(horizons['initial'])}",
        lambda asset, facts: f"{asset.tail_initial:.2f} ± {facts['tail_initial_standard_error']:.2f}",
    )
    row(
        f"tail z, maintenance {duration(horizons['maintenance'])}",
        lambda asset, facts: f"{asset.tail_maintenance:.2f} ± {facts['tail_maintenance_standard_error']:.2f}",
    )
    row("coverage", lambda _, facts: f"{min(facts['coverage_initial'], facts['coverage_maintenance']):.2%}")
    row("volume a day", lambda asset, _: _millions(asset.average_daily_volume))
    row("half spread", lambda asset, _: _number(asset.half_spread, "{:.3%}"))
    row("impact", lambda asset, _: _number(asset.impact, "{:.2f}"))
    if any(asset.surface_rho is not None for asset in report.assets.values()):
        row("surface rho", lambda asset, _: _number(asset.surface_rho, "{:.2f}"))
        row("  eta", lambda asset, _: _number(asset.surface_eta, "{:.2f}"))
        row("  gamma", lambda asset, _: _number(asset.surface_gamma, "{:.2f}"))
    console.print(table)
    for pair in report.correlation:
        console.print(f"correlation {' / '.join(pair.pair)}: {pair.low:.2f} to {pair.high:.2f}", highlight=False)
    validation = cast("dict[str, Any] | None", report.evidence["validation"])
    if validation is None:
        console.print("no history is long enough to test its forecasts on")
        return
    failed = {
        f"{row['asset']} {check['name']}"
        for row in validation["rows"]
        for check in row["checks"]
        if check["passed"] is False
    }
    verdict = f"not passed: {', '.join(sorted(failed)) or 'models'}" if not validation["passed"] else "passed"
    console.print(f"walk-forward checks of {validation['model']}: {verdict}", highlight=False)


def _millions(dollars: float | None) -> str:
    return "unknown" if dollars is None else f"${dollars / 1e6:,.1f}m"


def _number(value: float | None, layout: str) -> str:
    return "unknown" if value is None else layout.format(value)
