"""`plimsoll history`: every push, announcement, execution and veto, from the chain's events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from plimsoll.chain.plan import market_hash
from plimsoll.commands.options import Place, with_place
from plimsoll.governance.history import Entry, Kind, read_history
from plimsoll.governance.rows import label, shown

if TYPE_CHECKING:
    from plimsoll.chain.system import System
    from plimsoll.governance.history import Change

DONE = {
    Kind.PUSH: "pushed",
    Kind.SCHEDULE: "announced",
    Kind.EXECUTE: "executed",
    Kind.VETO: "vetoed",
    Kind.GOVERNANCE: "set by governance:",
}


@click.command()
@with_place
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything in full.")
@click.option("--report", metavar="HASH", help="Only what comes from reports whose hash begins so.")
def command(place: Place, as_json: bool, report: str | None) -> None:
    """Tell what has been done to the parameters, oldest first, and from which reports."""
    system = place.system()
    entries = [entry for entry in read_history(system) if report is None or entry.report.startswith(report.lower())]
    if as_json:
        click.echo(json.dumps([to_json(system, entry) for entry in entries], indent=1))
        return
    console = Console()
    for entry in entries:
        for line in lines_of(system, entry):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    if not entries:
        console.print("nothing has been done to the parameters")


def lines_of(system: System, entry: Entry) -> list[str]:
    """What one entry says to a person."""
    at = datetime.fromtimestamp(entry.timestamp, UTC)
    lines = [
        f"{at:%Y-%m-%d %H:%M} UTC  block {entry.block}  {DONE[entry.kind]} {len(entry.changes)} changes"
        f"  by {entry.sender}"
    ]
    if int(entry.report, 16):
        lines.append(
            f"  report {entry.report}  data {entry.data}  market {_market(system, entry)}"
            f"  model {entry.model_version}  coverage {entry.coverage:.2%}"
        )
    if entry.ready_at is not None:
        lines.append(f"  may be executed from {datetime.fromtimestamp(entry.ready_at, UTC):%Y-%m-%d %H:%M} UTC")
    lines += [f"  {_change(system, change)}" for change in entry.changes]
    return [*lines, f"  transaction {entry.transaction}"]


def _change(system: System, change: Change) -> str:
    field = change.key.field
    was = "" if change.previous is None else f"{shown(field, change.previous)} "
    return f"{label(change.key, system.names)}: {was}→ {shown(field, change.value)}"


def _market(system: System, entry: Entry) -> str:
    name = system.manifest.market
    return name if entry.market == "0x" + market_hash(name).hex() else entry.market


def to_json(system: System, entry: Entry) -> dict[str, Any]:
    """An entry as plain values, parameters in the units a person would write."""
    return {
        "kind": str(entry.kind),
        "block": entry.block,
        "timestamp": entry.timestamp,
        "transaction": entry.transaction,
        "sender": entry.sender,
        "report": entry.report,
        "data": entry.data,
        "market": _market(system, entry),
        "model_version": entry.model_version,
        "coverage": entry.coverage,
        "ready_at": entry.ready_at,
        "changes": [
            {
                "name": label(change.key, system.names),
                "previous": None if change.previous is None else float(change.key.field.decode(change.previous)),
                "value": float(change.key.field.decode(change.value)),
            }
            for change in entry.changes
        ],
    }
