"""`plimsoll build`: compile the contracts."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from plimsoll.chain import compiler


@click.command()
@click.option("--force", is_flag=True, help="Compile even where nothing has changed.")
def command(force: bool) -> None:
    """Compile the contracts into .build/artifacts, and show how much of the size limit each one takes."""
    result = compiler.build(force)
    console = Console()
    if not result.compiled:
        console.print("contracts are up to date")
        return
    for warning in result.warnings:
        console.print(warning, style="yellow", markup=False, highlight=False)
    table = Table("contract", title="runtime code")
    table.add_column("bytes", justify="right")
    table.add_column("of the limit", justify="right")
    for name, size in sorted(result.runtime_sizes.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{size:,}", f"{size / compiler.RUNTIME_CODE_LIMIT:.0%}")
    console.print(table)
