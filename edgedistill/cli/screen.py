"""Print results for a person."""

from __future__ import annotations

from edgedistill.core.text_table import terminal_width, wrapped


def show(text: str) -> None:
    """Print lines; on a terminal those that are too long go on below, and no word is broken."""
    print(wrapped(text, terminal_width()), flush=True)
