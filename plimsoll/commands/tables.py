"""Tables for people: as wide as their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.measure import Measurement

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDEST = 1_000
"""Columns."""


def print_table(console: Console, table: Table) -> None:
    """Print a table at its own width: where the terminal is narrower the lines go on, and no figure is cut."""
    narrow = console.width
    console.width = max(narrow, Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum)
    console.print(table)
    console.width = narrow
