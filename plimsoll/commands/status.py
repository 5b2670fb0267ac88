"""`plimsoll status`: how governance stands, in tables or as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plimsoll.chain.fields import Scope
from plimsoll.commands.options import Place, with_place
from plimsoll.commands.tables import print_table
from plimsoll.governance.rows import label, shown
from plimsoll.governance.status import Status, read_status

if TYPE_CHECKING:
    from plimsoll.governance.status import Number


@click.command()
@with_place
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every limit.")
def command(place: Place, as_json: bool) -> None:
    """Show parameters in force, ramps, age, coverage, limits left, what waits and what is frozen."""
    status = read_status(place.system())
    if as_json:
        click.echo(json.dumps(status.to_json(), indent=1))
        return
    console = Console()
    for line in headlines(status):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for table in (parameter_table(status), coverage_table(status), portfolio_table(status), limit_table(status)):
        console.print()
        print_table(console, table)


def headlines(status: Status) -> list[str]:
    """Block, calibration, what waits, what is frozen."""
    one = status.calibration
    lines = [f"chain {status.chain_id}, block {status.block}, {_at(status.timestamp)}"]
    grace = f"the multiplier rises {one.rate:.1%} a day from {one.grace / 86_400:g} days, to {one.cap:g} at most"
    what = f"report {one.report}" if int(one.report, 16) else "by governance, without a report"
    lines.append(f"calibrated {_at(one.at)}, {one.age / 86_400:.1f} days ago: {what}, bundle {one.bundles}")
    lines.append(f"age multiplies margin by {one.multiplier:.4g}; {grace}")
    waiting = status.waiting
    if waiting is None:
        lines.append("no bundle waits")
    else:
        expiry = "expired" if waiting.is_expired(status.timestamp) else "expires"
        when = "ready since" if waiting.is_ready(status.timestamp) else "ready"
        lines.append(
            f"{len(waiting.changes)} changes wait: {when} {_at(waiting.ready_at)}, {expiry} "
            f"{_at(waiting.expires_at)}, report {waiting.report}"
        )
        lines += [f"  {label(c.key, status.names)} → {shown(c.field, c.value)}" for c in waiting.changes]
    frozen = [f"field {field.key}" for field in status.frozen_fields]
    frozen += [f"market {name}" for name in status.frozen_markets]
    lines.append(f"frozen: {', '.join(frozen) or 'nothing'}")
    return lines


def parameter_table(status: Status) -> Table:
    """A field a row, an underlying or pair a column: what is in force, and what was pushed where that is another."""
    columns = {"": "all"} | {owner: owner for owner in _owners(status)}
    table = _table("parameters in force (→ as pushed, and when the ramp ends)", "parameter", *columns.values())
    cells: dict[str, dict[str, str]] = {}
    for number in status.numbers:
        owner, _, _ = label(number.key, status.names).rpartition(" ")
        cells.setdefault(number.key.field.key, {})[owner] = _value(number)
    for field, row in cells.items():
        table.add_row(field, *(row.get(owner, "") for owner in columns))
    return table


def _owners(status: Status) -> list[str]:
    """Underlyings, then pairs."""
    found: dict[str, None] = {}
    for number in status.numbers:
        if number.key.field.scope is not Scope.COMMON:
            found[label(number.key, status.names).rpartition(" ")[0]] = None
    return list(found)


def _value(number: Number) -> str:
    field = number.key.field
    text = shown(field, number.in_force)
    if number.in_force != number.pushed:
        text += f" → {shown(field, number.pushed)}"
    return text + ("" if number.ramp_ends is None else f" {_short(number.ramp_ends)}")


def coverage_table(status: Status) -> Table:
    """Observations and exceptions of each underlying and horizon."""
    table = _table("coverage", "horizon", "observations", "exceptions", "multiplier", "next due")
    for one in status.coverage:
        due = "to be opened" if one.due_at is None else _at(one.due_at)
        name = f"{status.names[one.underlying]} {one.horizon}"
        table.add_row(name, str(one.observations), str(one.exceptions), f"{one.multiplier:.4g}", due)
    return table


def portfolio_table(status: Status) -> Table:
    """What the reference portfolios need, and how far pushes have moved it."""
    columns = ("portfolio", "initial", "maintenance", "moved in its window", "limits", "window ends")
    table = _table("reference portfolios", *columns)
    for one in status.portfolios:
        about = one.portfolio
        money = ("no price" if value is None else f"{value:,.0f}" for value in (one.initial, one.maintenance))
        moved = "" if one.window_ends is None else f"{one.initial_effect - 1:+.1%} / {one.maintenance_effect - 1:+.1%}"
        name = f"{status.names.get(about.underlying, str(about.underlying))} {about.name}"
        limits = f"-{about.maximum_fall:.0%} … +{about.maximum_rise:.0%}"
        table.add_row(name, *money, moved, limits, "" if one.window_ends is None else _at(one.window_ends))
    return table


def limit_table(status: Status) -> Table:
    """Numbers whose window runs: where they may go, from when, and what the window leaves."""
    table = _table("limits left", "parameter", "pushed", "may go to", "from", "window leaves", "window ends")
    for number in status.numbers:
        may, field = number.allowed, number.key.field
        if may is None or number.window_ends is None:
            continue
        reach = "nowhere" if may.minimum > may.maximum else f"{shown(field, may.minimum)} … {shown(field, may.maximum)}"
        since = "now" if may.at <= status.timestamp else _at(may.at)
        left = "" if may.budget is None else " … ".join(shown(field, end) for end in may.budget)
        name = label(number.key, status.names)
        table.add_row(name, shown(field, number.pushed), reach, since, left, _at(number.window_ends))
    if not table.row_count:
        table.add_row("no window runs: a whole budget is left everywhere")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _at(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC"


def _short(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%m-%d %H:%M}"
