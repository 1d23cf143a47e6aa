"""Class names: cleaned, put in order, and told from quantities."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from unicodedata import category, normalize

from edgedistill.errors import DataError

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)  # pandas writes whole numbers so beside a gap


def clean(name: str) -> str:
    """Without spaces around it, composed (NFC): a Mac writes the accent as a character of its own."""
    return normalize("NFC", name.strip(" \t\r\n\u00a0\ufeff"))


def refuse_unfit(names: Iterable[str], what: str = "class names") -> None:
    """
    Raises:
        DataError: a name that no line of a file can hold, or a terminal show.
    """
    for name in names:
        if not _is_one_line(name):
            raise DataError(f"{what} must be one line of text in any script, got {name!r}; rename it")


@cache
def _is_one_line(name: str) -> bool:
    return name.splitlines() == [name] and not any(category(letter) in {"Cc", "Cs"} for letter in name)


def in_order(names: Iterable[str]) -> list[str]:
    """Sorted; by number when all are integers, so that 10 comes after 9."""
    names = set(names)
    if all(_INTEGER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def whole_numbers(names: Iterable[str]) -> dict[str, str]:
    """`1.0` -> `1` for every name, when all are whole numbers and one is written so; else empty."""
    names = set(names)
    written = {name: _WHOLE.fullmatch(name) for name in names}
    if not any(written.values()) or not all(match or _INTEGER.fullmatch(name) for name, match in written.items()):
        return {}
    return {name: match[1] if match else name for name, match in written.items()}


def are_quantities(names: Iterable[str]) -> bool:
    """Whether all are numbers and one is no integer: 0.37 is measured, not a class."""
    try:
        values = [float(name) for name in set(names)]
    except ValueError:
        return False
    return any(not value.is_integer() for value in values)
