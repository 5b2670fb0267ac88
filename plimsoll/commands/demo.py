"""`plimsoll demo`: replay a crash on a live local chain and report on it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from plimsoll.chain.toolchain import BUILD
from plimsoll.errors import PlimsollError
from plimsoll.market import DEFAULT_MARKET

if TYPE_CHECKING:
    from simulation.recording import Recording


@click.command()
@click.option("--market", default=DEFAULT_MARKET, show_default=True, help="Which crash; see plimsoll.market.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=BUILD / "demo",
    help="Folder for the report.  [default: .build/demo]",
)
def command(market: str, out: Path) -> int:
    """Replay a crash on a chain of its own: trade perpetuals and options, report, calibrate, push, settle, liquidate,
    and check every invariant after every step. Exits with 0 only if all of them held and the house ended solvent."""
    try:
        # the one place where the library's command line uses the simulation, which is not part of the library
        from simulation.replay import replay
        from simulation.report import render
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] != "simulation":
            raise
        raise PlimsollError("the demo is in the checkout's simulation/ folder: run it from there") from None

    console, started = Console(), time.monotonic()
    with Progress(
        TextColumn(f"{market}"), BarColumn(), MofNCompleteColumn(), TextColumn("bars, {task.fields[words]}"),
        TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("replay", total=None, words="deploying")
        recording = replay(
            market,
            out,
            on_step=lambda done, most, words: progress.update(bar, completed=done, total=most, words=words),
        )
    for name, document in (("report.json", recording.result()), ("series.json", recording.series())):
        (out / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if len(recording.steps) > 1:
        (out / "report.html").write_text(render(recording), encoding="utf-8")
    _show(console, recording)
    console.print(
        f"{out / 'report.html'}, report.json and series.json, {time.monotonic() - started:.0f} s", highlight=False
    )
    for result in sorted(recording.invariants, key=lambda one: not one.violation):
        if not result.holds:
            why = result.violation or "was never checked"
            raise PlimsollError(f"invariant {result.id} ({result.statement}): {why}")
    if not recording.solvent:
        raise PlimsollError("the house did not end solvent: an account is below zero or a loss is still open")
    return 0


def _show(console: Console, recording: Recording) -> None:
    accounts = Table(
        title=f"{recording.title}: equity in thousand dollars, margin calls, bids of liquidators", title_justify="left"
    )
    accounts.add_column("account", no_wrap=True)
    for heading in ("start", "paid in", "end", "profit", "calls", "bids"):
        accounts.add_column(heading, justify="right", no_wrap=True)
    for one in recording.accounts:
        profit = one.equity_end - one.equity_start - one.flow
        accounts.add_row(
            one.name,
            f"{one.equity_start / 1000:,.1f}",
            f"{one.flow / 1000:+,.1f}" if round(one.flow) else "",
            f"{one.equity_end / 1000:,.1f}",
            f"[{'red' if profit < 0 else 'green'}]{profit / 1000:+,.1f}[/]" if round(profit) else "0.0",
            str(one.margin_calls or ""),
            str(one.liquidations or ""),
        )
    console.print(accounts)

    figures = Table.grid(padding=(0, 2))
    for symbol in recording.symbols:
        rate = recording.rate(symbol)
        figures.add_row(f"{symbol} initial margin", f"{rate['first']:.1%} at first, {rate['max']:.1%} at most")
    for account in recording.books():
        figures.add_row(f"{account}: margin", f"{recording.share(account):.1%} of what its parts would need one by one")
    paid = sum(one.received for one in recording.settlements)
    figures.add_row("expiries", f"{len(recording.settlements)} settled, ${paid:,.0f} from the short to the long")
    figures.add_row("parameter pushes", str(len(recording.pushes)))
    bidden_on = len({one.account for one in recording.liquidations})
    figures.add_row("liquidations", f"{len(recording.liquidations)} bids on {bidden_on} accounts")
    figures.add_row(
        "bad debt",
        f"${recording.bad_debt:,.2f}: ${recording.insurance_paid:,.2f} paid by the insurance fund, "
        f"${recording.claims_open:,.2f} owed, ${recording.shared_loss:,.2f} shared",
    )
    charges = recording.charges
    figures.add_row(
        "charges",
        f"flag fees ${charges.flag_fees:,.2f}, funding between traders ${charges.funding:,.2f}; to the fund: discounts "
        f"${charges.discounts:,.2f}, premium fees ${charges.premium_fees:,.2f}, interest ${charges.interest:,.2f}",
    )
    figures.add_row("attacks refused", f"{sum(recording.refused.values()):,}")
    figures.add_row("invariants", ", ".join(_verdict(one.id, one.holds, one.checks) for one in recording.invariants))
    console.print(figures)


def _verdict(identifier: str, holds: bool, checks: int) -> str:
    return f"[{'green' if holds else 'bold red'}]{identifier}[/] {'✓' if holds else '✗'} {checks:,}"
