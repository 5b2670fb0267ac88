"""`plimsoll deploy`: the whole house onto a network, or what is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from plimsoll.chain.deploy import deploy
from plimsoll.commands.options import Place, with_place, with_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.chain.client import Sender
    from plimsoll.chain.plan import Step


@click.command()
@with_place
@with_sender
@click.option("--profile", "profile_name", help="What to deploy. Default: the network's profile.")
@click.option("--market", help="Whose calibration reports to accept. Default: the profile's first market.")
@click.option("--fresh", is_flag=True, help="Forget an earlier deployment on this chain.")
def command(
    place: Place,
    find_sender: Callable[[Place], Sender],
    profile_name: str | None,
    market: str | None,
    fresh: bool,
) -> None:
    """Deploy the system, or finish a deployment that stopped halfway. Done twice, the second time sends nothing."""
    console = Console()
    profile = place.config.profile(profile_name or place.network.profile)
    if market is not None:
        profile = profile.for_market(market)
    sender = find_sender(place)
    chain = place.chain()
    for address in profile.unverified():
        console.print(f"not verified by anyone: {address}", style="yellow", highlight=False, soft_wrap=True)
    sent = 0

    def on_step(step: Step, number: int, count: int) -> None:
        nonlocal sent
        sent += 1
        console.print(f"{number:>3}/{count} {step.id}", highlight=False, soft_wrap=True)

    manifest = deploy(chain, profile, sender, place.manifest, fresh=fresh, on_step=on_step)
    table = Table("contract", "address", "block", title=f"{profile.title}: chain {chain.chain_id}, {sent} transactions")
    for name, step in manifest.steps.items():
        if not step.function:
            table.add_row(name, step.address, str(step.block))
    console.print(table)
    console.print(f"manifest: {place.manifest}", soft_wrap=True)
