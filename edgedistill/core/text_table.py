"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Container, Iterable

from edgedistill.core.text import printable


def table_lines(rows: Iterable[tuple[str, ...]], right: Container[int] = ()) -> list[str]:
    """A line for each row, each column as wide as its widest cell, two spaces between them.

    Args:
        rows: equally long, the head among them; cells may hold names that were written elsewhere.
        right: positions of the columns that stand at their right edge.
    """
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
