"""`plimsoll`: the one command line. Each subcommand lives in plimsoll.commands and is imported only when it is used."""

from __future__ import annotations

import importlib
import sys

import click

from plimsoll import __version__
from plimsoll.errors import PlimsollError

COMMANDS = {
    "build": "Compile the contracts into .build/artifacts.",
    "node": "Run a local chain (anvil) until interrupted.",
    "deploy": "Deploy the system, or finish a deployment that stopped halfway.",
    "data": "Check market data files, and fetch them.",
    "calibrate": "Fit margin parameters to market data and write a report.",
    "backtest": "Test forecasts and margin walk-forward on price files.",
    "verify": "Recompute a report from its data, and compare it with a chain.",
    "push": "Show what a report would change on-chain, then send it.",
    "status": "Show parameters in force, ramps, age, coverage, limits left.",
    "history": "Tell every push, announcement, execution and veto.",
    "watch": "Recalibrate, push and keep the chain's backtest, unattended.",
    "margin": "Show an account's margin, component by component.",
    "whatif": "Show what an account's margin would be after a trade.",
    "keeper": "Watch accounts, flag, bid and settle liquidations.",
    "demo": "Replay a crash on a live local chain and report on it.",
}
"""Subcommands and their help, in the order of use."""


class LazyGroup(click.Group):
    """Lists `COMMANDS` without importing them, so that `plimsoll --help` needs no scientific package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"plimsoll.commands.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"plimsoll.commands.{cmd_name}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plimsoll", message="%(prog)s %(version)s")
@click.pass_context
def plimsoll(ctx: click.Context) -> None:
    """Perpetual-futures margin that follows volatility: calibrated, pushed, liquidated, proven."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line: 0 when done, 1 with one `error:` line for what a user can put right, 130 on Ctrl-C."""
    try:
        status = plimsoll.main(standalone_mode=False)
    except PlimsollError as fault:
        _fail(str(fault))
    except click.ClickException as fault:
        _fail(fault.format_message())
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(1)
