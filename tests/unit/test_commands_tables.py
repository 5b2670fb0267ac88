"""Tables of the command line keep every figure, however narrow the terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table

from plimsoll.commands.tables import print_table


def test_print_table_cutsNoFigure() -> None:
    console = Console(file=StringIO(), width=20)
    table = Table("number", "old", "new")
    cells = ["BTC average_daily_volume", "1,000,000,000", "750,000,000"]
    table.add_row(*cells)
    print_table(console, table)
    said = console.file.getvalue()
    assert all(cell in said for cell in cells)
    assert "…" not in said
    assert console.width == 20
