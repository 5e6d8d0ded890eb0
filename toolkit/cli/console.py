"""Two rich consoles: stdout for results, stderr for messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from toolkit.words import printable

PIPED_WIDTH = 160
"""Width of tables that are not printed on a terminal."""


def _on_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class _Console(Console):
    """A console on which names from files and videos cannot give orders to the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


# Markup is off because square brackets in messages name extras.
out = _Console(markup=False, highlight=False, emoji=False, width=None if _on_terminal(sys.stdout) else PIPED_WIDTH)
err = _Console(
    stderr=True, markup=False, highlight=False, emoji=False, width=None if _on_terminal(sys.stderr) else PIPED_WIDTH
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
    """Print rows of plain text. On a terminal, words of `STYLES` are coloured."""
    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD if out.is_terminal else None)
    for row in rows:
        table.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in row))
    out.print(table)
