"""`plimsoll push`: what a report would change on-chain and whom it would touch, then the change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from eth_utils.address import is_address, to_checksum_address
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plimsoll.calibration.report import Report
from plimsoll.chain.plan import CALIBRATOR
from plimsoll.commands.options import Place, with_place, with_sender
from plimsoll.commands.tables import print_table
from plimsoll.config import WAD
from plimsoll.errors import PlimsollError
from plimsoll.governance.payloads import calldata_document, safe_document, through_timelock, write_document
from plimsoll.governance.pending import execute
from plimsoll.governance.push import PushPlan, plan_push, ready
from plimsoll.governance.rehearsal import Fate, Rehearsal, rehearse
from plimsoll.governance.rows import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.client import Sender
    from plimsoll.chain.system import System
    from plimsoll.governance.effect import Standing

PATIENCE = 300
"""Seconds of chain time after which a rehearsal is made again before anything is sent."""
LISTED = 30
"""Accounts listed in the table."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Where to write a push that others send."""

    calldata: Path | None
    safe: Path | None
    timelock: str | None

    @property
    def is_wanted(self) -> bool:
        return self.calldata is not None or self.safe is not None


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@with_place
@with_sender
@click.option("--yes", is_flag=True, help="Send without asking.")
@click.option("--dry-run", is_flag=True, help="Show and rehearse only.")
@click.option(
    "--alive", is_flag=True, help="Push even if no number changes: it ends the ageing of the last calibration."
)
@click.option(
    "--calldata", type=click.Path(path_type=Path), metavar="FILE", help="Write the transactions, send nothing."
)
@click.option(
    "--safe", type=click.Path(path_type=Path), metavar="FILE", help="Write them for Safe's Transaction Builder."
)
@click.option("--timelock", metavar="ADDRESS", help="What is written goes through this TimelockController.")
@click.option("--calibrator", metavar="ADDRESS", help="Who will send what is written. Default: as deployed.")
def command(
    report: Path,
    place: Place,
    find_sender: Callable[[Place], Sender],
    yes: bool,
    dry_run: bool,
    alive: bool,
    calldata: Path | None,
    safe: Path | None,
    timelock: str | None,
    calibrator: str | None,
) -> None:
    """Show what REPORT would change on-chain, rehearse it on a fork, then send it through the steward."""
    console = Console()
    document = Report.load(report)
    system = place.system()
    payload = Payload(calldata, safe, _address("--timelock", timelock))
    if payload.timelock is not None and not payload.is_wanted:
        raise PlimsollError("--timelock says how what is written is sent: give --calldata or --safe too")
    others = payload.timelock or _address("--calibrator", calibrator)
    if dry_run or payload.is_wanted:
        _show(console, system, document, others or _calibrator(system), alive, payload)
        if dry_run:
            console.print("nothing was sent (--dry-run)")
        return
    if calibrator is not None:
        raise PlimsollError("--calibrator is for --dry-run, --calldata and --safe; a push is sent by the key given")
    sender = find_sender(place)
    _execute_ready(console, system, document, sender, yes)
    while True:
        head = system.chain.block()
        rehearsal = _show(console, system, document, sender.address, alive, payload)
        if rehearsal is None:
            return
        count = len(rehearsal.plan.tightening) + len(rehearsal.plan.loosening)
        if not yes and not click.confirm(f"Send {count} changes as {sender.address}?"):
            console.print("nothing was sent")
            return
        if _is_still_so(system, document, rehearsal) and system.chain.block().timestamp - head.timestamp <= PATIENCE:
            break
        console.print("the chain has moved meanwhile; here is the plan anew")
    _send(console, system, rehearsal.plan, sender, alive)


def _address(option: str, text: str | None) -> str | None:
    if text is not None and not is_address(text):
        raise PlimsollError(f"{option} {text} is not an address")
    return None if text is None else str(to_checksum_address(text))


def _calibrator(system: System) -> str:
    """Who was made calibrator by the deployment."""
    for step in system.manifest.steps.values():
        if step.function == "grantRole" and step.arguments[0] == CALIBRATOR:
            return str(step.arguments[1])
    raise PlimsollError("the deployment names no calibrator: give --calibrator")


def _execute_ready(console: Console, system: System, report: Report, sender: Sender, yes: bool) -> None:
    """Execute the bundle that waits, if it is ready."""
    waiting = ready(system, plan_push(system, report))
    if waiting is None:
        return
    if not yes and not click.confirm(
        f"Execute the {len(waiting.changes)} changes of {waiting.report[:18]}… that waited?"
    ):
        return
    receipt = execute(system, waiting, sender)
    console.print(f"executed {len(waiting.changes)} changes that waited, in block {receipt.block}", highlight=False)


def _show(
    console: Console, system: System, report: Report, sender: str, alive: bool, payload: Payload
) -> Rehearsal | None:
    """Print the plan and its rehearsal, and write what is to be written; None where there is nothing to send.

    PlimsollError where the push would hurt."""
    plan = plan_push(system, report)
    title = f"{report.market}: report {report.hash[:18]}…"
    if not plan.is_empty or alive:
        rehearsal = rehearse(system, plan, sender, alive=alive)
        plan = rehearsal.plan
    print_table(console, diff_table(plan, title))
    for line in remarks(plan):
        console.print(line, highlight=False)
    if plan.is_empty and not alive:
        console.print("nothing to change")
        return None
    print_table(console, impact_table(system, rehearsal))
    fates = rehearsal.fates
    touched = [fate for fate in fates if fate.is_called or fate.is_hurt]
    if touched:
        print_table(console, account_table(touched[:LISTED]))
    called, hurt = sum(fate.is_called for fate in fates), sum(fate.is_hurt for fate in fates)
    console.print(
        f"{len(fates)} accounts rehearsed: {called} get a margin call, {hurt} become liquidatable", highlight=False
    )
    rehearsal.require_harmless()
    if payload.is_wanted:
        _write(console, system, rehearsal, report, payload, sender, alive)
    else:
        console.print(f"{len(plan.tightening)} numbers would change at once, {len(plan.loosening)} after a delay")
    return rehearsal


def _write(
    console: Console, system: System, rehearsal: Rehearsal, report: Report, payload: Payload, sender: str, alive: bool
) -> None:
    head = system.chain.block()
    calls = rehearsal.plan.calls(system, alive=alive)
    parts = {"": calls}
    if payload.timelock is not None:
        locked = through_timelock(system, payload.timelock, calls)
        parts = {"": (locked.schedule,), "-execute": (locked.execute,)}
        console.print(f"{payload.timelock} wants {locked.delay:,} s between scheduling and executing", highlight=False)
    about = f"Margin parameters from the calibration report {report.hash}"
    for suffix, part in parts.items():
        if payload.calldata is not None:
            path = payload.calldata.with_stem(payload.calldata.stem + suffix)
            by = sender if payload.timelock is None else "whoever the timelock lets"
            write_document(path, calldata_document(system, head, part, by))
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
        if payload.safe is not None:
            path = payload.safe.with_stem(payload.safe.stem + suffix)
            safe = sender if payload.timelock is None else ""
            write_document(path, safe_document(system, head, part, safe, about))
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _is_still_so(system: System, report: Report, rehearsal: Rehearsal) -> bool:
    """Whether the plan would be the same now: parameters, limits, what waits."""
    return plan_push(system, report) == rehearsal.planned


def _send(console: Console, system: System, plan: PushPlan, sender: Sender, alive: bool) -> None:
    for call in plan.calls(system, alive=alive):
        receipt = system.chain.send(call, sender)
        if call.function.name == "push":
            console.print(f"pushed {len(plan.tightening)} changes in block {receipt.block}", highlight=False)
        else:
            pending = system.chain.read(system.steward.pending(), receipt.block)
            ready = datetime.fromtimestamp(pending.readyAt, UTC)
            console.print(
                f"announced {len(plan.loosening)} changes: they may be executed from {ready:%Y-%m-%d %H:%M} UTC",
                highlight=False,
            )
        console.print(f"transaction {receipt.transaction}", highlight=False, soft_wrap=True)


# ─── Tables


def diff_table(plan: PushPlan, title: str) -> Table:
    """Every number: old, new, change, how it gets there, what the steward allows now, what the window leaves, and the
    report's target where this push stops short of it."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("parameter", no_wrap=True)
    for column in ("old", "new", "change", "when", "allowed", "window leaves", "target"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in plan.rows:
        field, allowed = row.key.field, row.allowed
        change = "" if not row.is_moving or row.change is None else f"{row.change:+.1%}"
        when = "" if not row.is_moving else "waits" if row.is_loosening else "at once"
        target = "" if row.target == row.new else shown(field, row.target)
        limits = ["", ""]
        if allowed is not None and allowed.minimum <= allowed.maximum:
            limits[0] = f"{shown(field, allowed.minimum)} … {shown(field, allowed.maximum)}"
        if allowed is not None and allowed.budget is not None:
            limits[1] = " … ".join(shown(field, end) for end in allowed.budget)
        style = None if row.is_moving else "dim"
        table.add_row(
            row.label, shown(field, row.old), shown(field, row.new), change, when, *limits, target, style=style
        )
    return table


def remarks(plan: PushPlan) -> list[str]:
    """Why numbers do not go all the way, a line each, the step limit once for all; and what waits."""
    limited = sum(row.is_limited for row in plan.rows)
    lines = [f"{row.label}: {row.note}" for row in plan.rows if row.target != row.new and not row.is_limited]
    if limited:
        lines.append(f"{limited} go one step towards their target; push again after their interval")
    if plan.waiting is not None:
        ready = datetime.fromtimestamp(plan.waiting.ready_at, UTC)
        what = f"{len(plan.waiting.changes)} changes wait until {ready:%Y-%m-%d %H:%M} UTC"
        lines.append(what + (": the report wants tighter numbers, so this push replaces them" * plan.is_overtaken))
    return lines


def impact_table(system: System, rehearsal: Rehearsal) -> Table:
    """What the push does to the steward's reference portfolios, ramps over: at once, and then what waits."""
    title = "reference portfolios, at the end of the ramp"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("portfolio", no_wrap=True)
    for column in ("initial", "at once", "waits", "maintenance", "at once", "waits", "limits"):
        table.add_column(column, justify="right", no_wrap=True)
    for impact in rehearsal.impacts:
        old, new, last = impact.before, impact.after, impact.loosened or impact.after
        cells = [_dollars(old.initial), _moved(old.initial, new.initial), _moved(new.initial, last.initial)]
        cells += [
            _dollars(old.maintenance),
            _moved(old.maintenance, new.maintenance),
            _moved(new.maintenance, last.maintenance),
        ]
        one = impact.portfolio
        name = f"{system.names.get(one.underlying, str(one.underlying))} {one.name}"
        table.add_row(name, *cells, f"-{one.maximum_fall:.0%} … +{one.maximum_rise:.0%}")
    return table


def account_table(fates: list[Fate]) -> Table:
    """Accounts whose standing the push changes."""
    table = Table(title="accounts", title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("account", "equity", "maintenance", "at the end", "before", "now", "at the end", "without the push"):
        table.add_column(column, justify="right", no_wrap=True)
    for fate in fates:
        equity, held = ("", "") if fate.before is None else map(_dollars, (fate.before.equity, fate.before.maintenance))
        needed = "" if fate.end is None else _dollars(fate.end.maintenance)
        standings = map(_status, (fate.before, fate.now, fate.end, fate.without))
        table.add_row(str(fate.account), equity, held, needed, *standings, style="red" if fate.is_hurt else None)
    return table


def _moved(old: int, new: int) -> str:
    return "" if old in (0, new) else f"{new / old - 1:+.1%}"


def _status(standing: Standing | None) -> str:
    return "no price" if standing is None else standing.status


def _dollars(value: int) -> str:
    return f"{value / WAD:,.0f}"
