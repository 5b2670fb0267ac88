"""`plimsoll verify`: recompute a report from its data and say where it differs; compare it with what a chain holds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plimsoll.calibration.report import Report
from plimsoll.commands.inputs import Inputs, status, with_inputs, with_sources, with_work
from plimsoll.errors import PlimsollError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.chain.system import System
    from plimsoll.governance.rows import Row

_MOST_LINES = 40
_ABSENT = "nothing"


@click.command("verify")
@click.argument("report", type=click.Path(path_type=Path))
@with_inputs
@with_sources
@with_work
@click.option("--network", "network_name", help="Also compare with this network of plimsoll.toml.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Default: plimsoll.toml.")
@click.option("--rpc", metavar="URL", help="Endpoint, instead of the network's.")
@click.option("--manifest", type=click.Path(path_type=Path), help="Default: deployments/<chain id>.json.")
def command(
    report: Path,
    inputs: Inputs,
    jobs: int,
    scheduler: str | None,
    network_name: str | None,
    config_path: Path | None,
    rpc: str | None,
    manifest: Path | None,
) -> None:
    """Recompute REPORT from its data, with its own configuration, and say equal or where it differs.

    The data is FILE..., or the named market that the report is of. With --network, also compare every number with what
    the chain holds now; a report of files that are not at hand can be compared with a chain alone. Exits with 1 if
    anything differs.
    """
    console = Console()
    document = Report.load(report)
    click.echo(f"report {report}  keccak256 {document.hash}")
    faults = []
    given = _inputs_of(document, inputs)
    if given is not None:
        if differences := _recompute(document, given, jobs, scheduler, console):
            faults.append(f"{differences} values differ from what the data gives")
    elif network_name is None:
        raise PlimsollError(
            f"the report is of {document.market}; give its price files, or --data FOLDER for a named market"
        )
    else:
        console.print("data: not recomputed, no data was given")
    if network_name is not None:
        faults += _compare(document, _system(network_name, config_path, rpc, manifest), console)
    if faults:
        raise PlimsollError(f"{report} is not verified: {'; '.join(faults)}")


# ─── The data


def _inputs_of(report: Report, inputs: Inputs) -> Inputs | None:
    """What to recompute from: the files that were given, or the market that the report names. None without data."""
    from plimsoll.market.markets import DATA_VARIABLE, MARKETS

    if inputs.files or inputs.market:
        return inputs
    market = MARKETS.get(report.market)
    if market is None or not (market.files is None or inputs.data or os.environ.get(DATA_VARIABLE)):
        return None
    return replace(inputs, market=report.market)


def _recompute(report: Report, inputs: Inputs, jobs: int, scheduler: str | None, console: Console) -> int:
    """Print equal, or the differences; return how many there are."""
    from plimsoll.calibration import CalibrationConfig, calibrate

    loaded = inputs.load()
    if set(loaded.assets) != set(report.assets):
        raise PlimsollError(
            f"the report is of {', '.join(sorted(report.assets))}; the data is of {', '.join(sorted(loaded.assets))}: "
            "give the report's, named with NAME=FILE"
        )
    with status(f"recomputing {', '.join(loaded.assets)}"):
        again = calibrate(
            report.market,
            loaded.assets,
            CalibrationConfig.from_json(report.configuration),
            report.as_of,
            loaded.sources,
            compare=bool(report.configuration["compare"]),
            jobs=jobs,
            scheduler=scheduler,
        )
    if again.to_bytes() == report.to_bytes():
        console.print(f"data: equal, every byte recomputed from {again.data_hash}", highlight=False, soft_wrap=True)
        return 0
    found = sorted(differences(report.to_json(), again.to_json()), key=_importance)
    table = _table("data: where the report differs from what its data gives", "value", "report", "recomputed")
    for path, old, new in found[:_MOST_LINES]:
        table.add_row(Text(path), _shown(old), _shown(new))
    console.print(table)
    if len(found) > _MOST_LINES:
        console.print(f"and {len(found) - _MOST_LINES} more")
    return len(found)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(JSON path, old value, new value) of every value that differs; one that is missing is "nothing"."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        for i in range(max(len(old), len(new))):
            one, other = (values[i] if i < len(values) else _ABSENT for values in (old, new))
            yield from differences(one, other, f"{path}[{i}]")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, old, new


def _importance(difference: tuple[str, Any, Any]) -> tuple[int, str]:
    """What explains the rest comes first: the data, the code, then the numbers that are pushed."""
    path = difference[0]
    order = ("data.", "code_version", "model_version", "configuration", "parameters", "coverage")
    return next((i for i, start in enumerate(order) if path.startswith(start)), len(order)), path


def _shown(value: object) -> Text:
    text = str(value)
    return Text(text if len(text) <= 40 else f"{text[:37]}…")


# ─── The chain


def _system(network_name: str, config_path: Path | None, rpc: str | None, manifest: Path | None) -> System:
    from plimsoll.chain.manifest import manifest_path
    from plimsoll.commands.options import Place
    from plimsoll.config import Config

    config = Config.load(config_path)
    network = config.network(network_name)
    return Place(config, network, rpc or network.url(), manifest or manifest_path(network.chain_id)).system()


def _compare(report: Report, system: System, console: Console) -> list[str]:
    """Print the chain's numbers beside the report's; return what is wrong with them."""
    from plimsoll.governance.push import plan_push
    from plimsoll.governance.rows import shown

    plan = plan_push(system, report)
    latest = system.chain.read(system.risk_parameters.latest())
    is_last = latest.provenance.report == plan.provenance.report
    if latest.count == 0:
        console.print("chain: no report was ever pushed")
    else:
        last = "this report" if is_last else f"another report, 0x{latest.provenance.report.hex()}"
        console.print(f"chain: the last push was of {last}", highlight=False, soft_wrap=True)
    outcomes = [(row, *outcome(row, is_last=is_last)) for row in plan.rows]
    table = _table("chain: where it differs from the report", "parameter", "chain", "report", "outcome")
    for row, verdict, why in outcomes:
        if verdict != "equal":
            text = Text(f"{verdict}{f', {why}' if why else ''}", "bold red" if verdict == "different" else "yellow")
            table.add_row(Text(row.label), shown(row.key.field, row.old), shown(row.key.field, row.target), text)
    if table.row_count:
        console.print(table)
    counts = {name: sum(verdict == name for _, verdict, _ in outcomes) for name in ("equal", "on the way", "different")}
    console.print(f"chain: {', '.join(f'{count} {name}' for name, count in counts.items())}", highlight=False)
    faults = [] if is_last else ["the chain's last push was not of this report"]
    if counts["different"]:
        faults.append(f"{counts['different']} numbers on the chain are not the report's nor on the way there")
    return faults


def outcome(row: Row, *, is_last: bool) -> tuple[str, str]:
    """("equal", "on the way" or "different", and why): the rest of a number comes with the next pushes, if the report
    is the last that was pushed and the steward lets it get there."""
    if row.old == row.target:
        return "equal", ""
    if not row.minimum <= row.target <= row.maximum:
        if row.old == min(max(row.target, row.minimum), row.maximum):
            return "on the way", "held by its absolute bound"
        return "different", "beyond its absolute bounds"
    if row.note == "governance alone may move it" or not is_last:
        return "different", row.note if not row.is_limited else ""
    return "on the way", "step limit" if row.is_limited else row.note


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
