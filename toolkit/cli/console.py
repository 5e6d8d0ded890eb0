"""One rich console for results and one for everything said about them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 160
"""Columns of a table that is not shown on a terminal."""

# Plain text only: square brackets in messages are names of extras, not markup.
out = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(
    stderr=True, markup=False, highlight=False, emoji=False, width=None if sys.stderr.isatty() else PIPED_WIDTH
)

STYLES = {
    "ok": "green",
    "missing": "yellow",
    "conflict": "yellow",
    "future": "yellow",
    "broken": "red",
    "failed": "red",
}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print rows of plain text; a cell that is a word of `STYLES` is coloured on a terminal."""
    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD if out.is_terminal else None)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    out.print(table)
