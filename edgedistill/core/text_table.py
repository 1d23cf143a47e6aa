"""Tables and long lines, laid out for the width of a terminal without breaking a word."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Container, Iterable

from edgedistill.core.text import printable

GAP = "  "  # between columns
_KEPT = "\xa0"  # a space that no line ends at


def terminal_width() -> int | None:
    """Columns of the terminal that shows results; None of a file or a pipe, whose lines have any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_lines(
    rows: Iterable[tuple[str, ...]], right: Container[int] = (), width: int | None = None, head: bool = True
) -> list[str]:
    """A line for each row, each column as wide as its widest cell, two spaces between them.

    Args:
        rows: equally long; cells may hold names that were written elsewhere. Columns with nothing below their head are
            left out.
        right: positions of the columns that stand at their right edge.
        width: columns of the terminal, None: any. Cells of the other columns are wrapped between words where a row is
            wider; where that is not enough, each row is a paragraph of its first cell, heads and cells.
        head: whether the first row is one.
    """
    table = [tuple(map(printable, row)) for row in rows]
    body = table[1:] if head else table
    kept = [place for place in range(len(table[0])) if not body or any(row[place] for row in body)]
    columns = [[row[place] for row in table] for place in kept]
    flush_right = [place in right for place in kept]
    widths = _fitting(columns, flush_right, width)
    table = list(zip(*columns, strict=True))
    if widths is None:
        return _paragraphs(table, flush_right, head, width or 0)
    return [line for row in table for line in _lines_of(row, widths, flush_right)]


def wrapped(text: str, width: int | None) -> str:
    """Lines that are too long for a terminal go on below, two spaces further in than they began.

    Args:
        width: columns; None leaves the text as it is. A word that is longer, such as a path, is not broken.
    """
    if width is None:
        return text
    return "\n".join(_wrapped(line, width) if len(line) > width else line for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return "\n".join(_pieces(line.lstrip(), width, indent, indent + "  "))


def _pieces(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """The text in lines; at least one, which may be empty."""
    return textwrap.wrap(
        text,
        max(width, len(later) + 1),
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _fitting(columns: list[list[str]], flush_right: list[bool], width: int | None) -> list[int] | None:
    """Widths of the columns, those with words narrowed as far as it takes; None when that is not enough."""
    widths = [max(map(len, column)) for column in columns]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - (width or 0)
    if width is None or excess <= 0:
        return widths
    for place in reversed(range(len(widths))):  # the last ones first: there are the remarks
        if not flush_right[place]:
            longest_word = max((len(word) for cell in columns[place] for word in cell.split()), default=0)
            narrowed = max(longest_word, widths[place] - excess)
            excess -= widths[place] - narrowed
            widths[place] = narrowed
        if excess <= 0:
            return widths
    return None


def _lines_of(row: tuple[str, ...], widths: list[int], flush_right: list[bool]) -> list[str]:
    cells = [[cell] if len(cell) <= width else _pieces(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        shown = (
            piece.rjust(width) if at_right else piece.ljust(width)
            for piece, width, at_right in zip(
                (cell[number] if number < len(cell) else "" for cell in cells), widths, flush_right, strict=True
            )
        )
        lines.append(GAP.join(shown).rstrip())
    return lines


def _paragraphs(table: list[tuple[str, ...]], flush_right: list[bool], head: bool, width: int) -> list[str]:
    """Each row as its first cell and, after it, `head cell, head cell`; a figure stays with its head and its unit."""
    heads, body = (table[0], table[1:]) if head else (("",) * len(table[0]), table)
    lines = []
    for first, *cells in body:
        pairs = [
            f"{name} {cell}".strip().replace(" ", _KEPT if whole else " ")
            for name, cell, whole in zip(heads[1:], cells, flush_right[1:], strict=True)
            if cell
        ]
        lines += _wrapped(f"{heads[0]} {first}: {', '.join(pairs)}".lstrip(), width).replace(_KEPT, " ").split("\n")
    return lines
