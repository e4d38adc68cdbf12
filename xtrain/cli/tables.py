"""Tables for the terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(
    title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print a table; columns `right` are aligned right. Into a pipe nothing is wrapped or cut."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
