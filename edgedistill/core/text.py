"""Text that was written elsewhere, made fit for a terminal and for a page: the one place of this computer.

A report, an ONNX file, a board, a file name may hold terminal escapes, which move the cursor and repaint
what we said, direction overrides, which reorder it, and line breaks, which add a line in our name. And how counts and
limits are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

_MOST_DECIMALS = 17  # of a float below 1


def printable(text: str, most: int | None = None, instead: str | None = None) -> str:
    """One line without control, format and direction characters, in any script.

    Args:
        most: characters of `text` that are shown; "..." tells of more.
        instead: what stands for each of those characters; its escape in Python's notation when None.
    """
    shown = text if most is None or len(text) <= most else text[:most] + "..."
    if shown.isprintable():
        return shown
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() if instead is None else instead for c in shown
    )


def printable_lines(text: str) -> str:
    """The same of several lines that are ours."""
    return "\n".join(map(printable, text.split("\n")))


def printable_values(value: Any, most: int | None = None, instead: str | None = None) -> Any:
    """JSON of which every text, keys too, is one printable line.

    Args:
        most, instead: as of `printable`.
    """
    if isinstance(value, str):
        return printable(value, most, instead)
    if isinstance(value, list):
        return [printable_values(item, most, instead) for item in value]
    if isinstance(value, dict):
        return {printable(key, most, instead): printable_values(item, most, instead) for key, item in value.items()}
    return value


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 class`, `3 classes`.

    Args:
        nouns: of more than one; `noun` with an s when None.
    """
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def nearest_name(typed: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that was meant: the shortest one that begins with what was typed, else the most similar one.

    Args:
        cutoff: similarity that a name must have, 0..1, as of `difflib`.
    """
    import difflib  # only of use after a mistake

    names = list(names)
    beginning = sorted((name for name in names if typed and name.startswith(typed)), key=len)
    return next(iter(beginning or difflib.get_close_matches(typed, names, n=1, cutoff=cutoff)), None)


def limit_text(limit: float, decimals: int = 0) -> str:
    """A limit that somebody set: with so many decimals, and with more where it has more, up to ten digits."""
    rounded, whole = f"{limit:.{decimals}f}", f"{limit:.10g}"
    return rounded if float(rounded) == float(whole) else whole


def beside_limit(value: float, limit: float, met: bool, decimals: int) -> str:
    """A figure with so many decimals, and with more until it does not belie what is said of its limit.

    Rounded, a figure that misses its limit may be equal to it, and one that meets it may lie beyond it.

    Args:
        limit: shown beside it by `limit_text`.
        met: whether the figure keeps the limit.
    """
    shown = float(limit_text(limit))
    own = _side(value, shown)
    if met and math.isclose(value, shown):  # a limit has ten digits
        own = 0
    sides = (own, 0) if met else (own,)
    for digits in range(decimals, _MOST_DECIMALS):
        text = f"{value:.{digits}f}"
        if _side(float(text), shown) in sides:
            return text
    return repr(value)


def _side(value: float, limit: float) -> int:
    """1 above the limit, -1 below, 0 at it."""
    return (value > limit) - (value < limit)


def on_page(value: Any) -> Any:
    """`finalize` of Jinja's environments: text may have several lines there, and markup is ours."""
    return printable_lines(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
