"""`plimsoll push`: what a report would change on-chain, then the change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plimsoll.calibration.report import Report
from plimsoll.commands.options import Place, with_place, with_sender
from plimsoll.governance.push import PushPlan, plan_push, send_push, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.client import Sender


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@with_place
@with_sender
@click.option("--yes", is_flag=True, help="Send without asking.")
@click.option("--dry-run", is_flag=True, help="Show only.")
def command(report: Path, place: Place, find_sender: Callable[[Place], Sender], yes: bool, dry_run: bool) -> None:
    """Show what REPORT would change on-chain, then send it through the steward."""
    console = Console()
    document = Report.load(report)
    system = place.system()
    plan = plan_push(system, document)
    console.print(diff_table(plan, f"{document.market}: report {document.hash[:18]}…"))
    for line in remarks(plan):
        console.print(line, highlight=False)
    if not plan.changes:
        console.print("nothing to change")
        return
    if dry_run:
        console.print(f"{len(plan.changes)} numbers would change; nothing was sent (--dry-run)")
        return
    sender = find_sender(place)
    if not yes and not click.confirm(f"Send {len(plan.changes)} changes as {sender.address}?"):
        console.print("nothing was sent")
        return
    result = send_push(system, plan, sender)
    if result.receipt is not None:
        console.print(f"pushed {len(plan.changes)} changes in block {result.receipt.block}", highlight=False)
        console.print(f"transaction {result.receipt.transaction}", highlight=False, soft_wrap=True)


def diff_table(plan: PushPlan, title: str) -> Table:
    """Every number: old, new, change, absolute bounds, and the report's target where this push stops short of it."""
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("parameter", no_wrap=True)
    for column in ("old", "new", "change", "bounds", "target"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in plan.rows:
        field = row.key.field
        change = "" if not row.is_moving or row.change is None else f"{row.change:+.1%}"
        bounds = f"{shown(field, row.minimum)} … {shown(field, row.maximum)}"
        target = "" if row.target == row.new else shown(field, row.target)
        style = None if row.is_moving else "dim"
        table.add_row(row.label, shown(field, row.old), shown(field, row.new), change, bounds, target, style=style)
    return table


def remarks(plan: PushPlan) -> list[str]:
    """Why numbers do not go all the way, a line each; the step limit once for all."""
    limited = sum(row.is_limited for row in plan.rows)
    lines = [f"{row.label}: {row.note}" for row in plan.rows if row.target != row.new and not row.is_limited]
    if limited:
        lines.append(f"{limited} go one step towards their target; push again after their interval")
    return lines
