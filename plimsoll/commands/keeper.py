"""`plimsoll keeper open`: an account to bid from. `plimsoll keeper run`: watch, flag, bid, settle, until stopped."""

from __future__ import annotations

import logging
import signal
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click

from plimsoll.commands.options import Place, with_place, with_sender
from plimsoll.config import wad
from plimsoll.errors import PlimsollError
from plimsoll.keeper.decide import Policy
from plimsoll.keeper.run import Keeper, Outcome, open_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.client import Sender


@click.group()
def command() -> None:
    """Watch accounts, flag, bid and settle liquidations."""


@command.command("open")
@with_place
@with_sender
@click.option("--deposit", default="0", show_default=True, help="Cash to put in, dollars.")
@click.option("--mint", is_flag=True, help="Mint the cash first; test tokens only.")
def open_(place: Place, find_sender: Callable[[Place], Sender], deposit: str, mint: bool) -> None:
    """Open an account for a keeper: it bids from it and must hold margin for what it takes."""
    try:
        dollars = Decimal(deposit)
    except InvalidOperation:
        raise PlimsollError(f"--deposit {deposit} is no number of dollars") from None
    if not dollars.is_finite():
        raise PlimsollError(f"--deposit {deposit} is no number of dollars")
    account = open_account(place.system(), find_sender(place), dollars, mint=mint)
    click.echo(f"account {account} opened with {dollars:,f} dollars")


@command.command()
@with_place
@with_sender
@click.option("--account", required=True, type=click.IntRange(1), help="The keeper's own account: bids and is paid.")
@click.option("--once", is_flag=True, help="One round, then end.")
@click.option("--interval", default=12.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between rounds.")
@click.option("--minimum-discount", default=0.02, show_default=True, type=click.FloatRange(0, 1))
@click.option("--minimum-reward", default=5.0, show_default=True, type=click.FloatRange(0), help="Dollars.")
@click.option("--headroom-share", default=0.8, show_default=True, type=click.FloatRange(0, 1))
def run(
    place: Place,
    find_sender: Callable[[Place], Sender],
    account: int,
    once: bool,
    interval: float,
    minimum_discount: float,
    minimum_reward: float,
    headroom_share: float,
) -> None:
    """Run until interrupted; a fault of the endpoint is waited out."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("web3").setLevel(logging.WARNING)
    policy = Policy(account, wad(minimum_discount), wad(minimum_reward), wad(headroom_share))
    keeper = Keeper(place.system(), find_sender(place), policy)
    keeper.require_permission()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: keeper.stop())
    click.echo(f"keeper of account {account} on chain {keeper.system.chain.chain_id}, as {keeper.sender.address}")
    if once:
        _report(keeper.step())
        return
    keeper.run(interval, _report)
    click.echo("stopped")


def _report(outcomes: list[Outcome]) -> None:
    done = sum(outcome.receipt is not None for outcome in outcomes)
    click.echo(f"round: {done} done, {len(outcomes) - done} refused")
