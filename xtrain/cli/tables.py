"""Tables for the terminal."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from textwrap import wrap

import click

_GAP = "  "


def show(
    title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print a table; columns `right` are aligned right. Into a pipe nothing is folded or cut."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    text = "\n".join(lines(title, headers, rows, right, width))
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))  # names of classes may be in any script


def lines(
    title: str,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[int] = (),
    width: int | None = None,
) -> list[str]:
    """A table as lines; where a `width` is given, the widest cells are folded to keep within it."""
    table = [[cell.splitlines() or [""] for cell in row] for row in (headers, *rows)]
    widths = [max(len(line) for row in table for line in row[place]) for place in range(len(headers))]
    _shrink(widths, width)

    def drawn(row: Sequence[Sequence[str]]) -> Iterable[str]:
        folded = [
            [part for line in cell for part in (wrap(line, size) if len(line) > size else [line])]
            for cell, size in zip(row, widths, strict=True)
        ]
        for pieces in zip_longest(*folded, fillvalue=""):
            cells = (
                piece.rjust(size) if place in right else piece.ljust(size)
                for place, (piece, size) in enumerate(zip(pieces, widths, strict=True))
            )
            yield (_GAP + _GAP.join(cells)).rstrip()

    rule = _GAP[:1] + "─" * (sum(widths) + len(_GAP) * len(widths))
    head, *body = table
    above = [title, ""] if title else []
    return [*above, *drawn(head), rule, *(line for row in body for line in drawn(row)), ""]


def _shrink(widths: list[int], width: int | None) -> None:
    """Make the widest columns narrower, one character at a time, until the table fits."""
    room = None if width is None else width - len(_GAP) * len(widths) - 1
    while room is not None and sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
