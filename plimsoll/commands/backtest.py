"""`plimsoll backtest`: walk models and the margin rule forward over price files, and pass or fail every asset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plimsoll.commands.inputs import Duration, Inputs, duration, status, with_inputs, with_work
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.calibration.backtest import Backtest, Check, Row
    from plimsoll.calibration.frontier import Frontier

_LABEL_WIDTH, _CELL_WIDTH = 32, 19


@click.command("backtest")
@with_inputs
@click.option("--horizon", type=Duration(), default="1d", show_default=True, help="Step of the forecasts.")
@click.option("--model", metavar="NAME", help="Whose forecasts are tested (default: the lowest loss).")
@click.option("--only", "models", multiple=True, metavar="NAME", help="Compare these models only.")
@with_work
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def command(
    inputs: Inputs,
    horizon: int,
    model: str | None,
    models: tuple[str, ...],
    jobs: int,
    scheduler: str | None,
    *,
    as_json: bool,
) -> None:
    """Forecast every step of price files from the steps before it, and test the forecasts and the margin.

    FILE is parquet or CSV with columns ts (unix seconds) and close, and optionally open, high, low and volume; NAME
    defaults to the file's stem, and several files of one name are joined. Exits with 1 if an asset, or the model, does
    not pass.
    """
    from plimsoll.calibration.backtest import backtest
    from plimsoll.calibration.report import plain

    loaded = inputs.load()
    index = loaded.sources.index
    with status(f"testing forecasts of {', '.join(loaded.assets)}"):
        found = backtest(
            loaded.assets,
            horizon=horizon,
            implied=None if index is None else index.series,
            model=model,
            models=models,
            jobs=jobs,
            scheduler=scheduler,
        )
    if as_json:
        click.echo(json.dumps(plain(found.to_json()), indent=1, sort_keys=True, allow_nan=False))
    else:
        show(found, Console())
    if found.failed:
        raise PlimsollError(f"not passed: {_reason(found)}")


def _reason(found: Backtest) -> str:
    """What failed, on one line."""
    reasons = [f"{row.asset} ({', '.join(row.failed)})" for row in found.rows if row.failed]
    return "; ".join(reasons + list(found.model_faults))


def show(found: Backtest, console: Console) -> None:
    """Print checks an asset a column, models, and the rule beside the standard tools."""
    fit = max(1, (console.width - _LABEL_WIDTH) // _CELL_WIDTH)
    step = duration(found.horizon)
    for first in range(0, len(found.rows), fit):
        console.print(_checks(found.rows[first : first + fit], f"{found.model} over steps of {step}"))
    console.print(_models(found))
    if found.frontier is None:
        console.print("margin: no asset has more than a year of forecasts, so the rule is not judged")
    else:
        console.print(_tools(found.frontier))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _checks(rows: Sequence[Row], title: str) -> Table:
    """An asset a column: a terminal of 80 columns shows two, of 150 six."""
    table = _table(title, "figure, limit", *(row.asset for row in rows))
    table.add_row("steps tested", *(str(row.days) for row in rows))
    names = list(dict.fromkeys(check.name for row in rows for check in row.checks))
    for name in names:
        own = [next((check for check in row.checks if check.name == name), None) for row in rows]
        table.add_row(name, *(Text("–") if check is None else _cell(check) for check in own))
    table.add_row("", *(Text("failed", "bold red") if row.failed else Text("passed", "green") for row in rows))
    return table


def _cell(check: Check) -> Text:
    layout = _layout(check.name)
    limit = ""
    if check.least is not None and check.most is not None:
        limit = f" {layout.format(check.least)}…{layout.format(check.most)}"
    elif check.least is not None:
        limit = f" ≥ {layout.format(check.least)}"
    elif check.most is not None:
        limit = f" ≤ {layout.format(check.most)}"
    mark = {True: " ✓", False: " ✗", None: ""}[check.passed]
    return Text(layout.format(check.value) + limit + mark, "bold red" if check.passed is False else "")


def _layout(name: str) -> str:
    if "exceedances" in name or name == "margin days":
        return "{:.0f}"
    if name in ("average margin", "worst 1-day rise", "worst 5-day rise"):
        return "{:.1%}"
    return "{:.2f}" if "margin" in name or name in ("1-year peak to trough", "at equal shortfall") else "{:.3f}"


def _models(found: Backtest) -> Table:
    table = _table("models over all assets", "model", "FZ0", "p better than benchmark", "p in confidence set")
    for score in found.scores:
        cells = (f"{score.loss:.4f}", f"{score.better_p_value:.2g}", f"{score.confidence_set_p_value:.3f}")
        table.add_row(score.model, *cells, style="bold" if score.model == found.model else None)
    return table


def _tools(frontier: Frontier) -> Table:
    """Ratios are geometric means over the assets; swings are the worst of any asset."""
    columns = ("margin", "at equal ES", "peak", "1-day", "5-day", "passed")
    table = _table("average margin against expanding static 99% ES, worst swings", "tool", *columns)
    for one in frontier.summaries:
        own = [outcome for outcome in frontier.outcomes if outcome.tool == one.tool]
        table.add_row(
            one.tool,
            f"{one.relative:.3f}",
            "–" if one.equal is None else f"{one.equal:.3f}",
            f"{max(outcome.peak_to_trough for outcome in own):.2f}",
            f"{max(outcome.worst_1_day_rise for outcome in own):.0%}",
            f"{max(outcome.worst_5_day_rise for outcome in own):.0%}",
            f"{one.passed}/{one.assets}",
            style="bold" if one.tool == "solved" else None,
        )
    return table
