"""The front of what costs something and is worth something: one meaning for every picture and table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def pareto_front(items: Iterable[T], cost: Callable[[T], float], value: Callable[[T], float]) -> list[T]:
    """Items that no other one beats in cost (less is better) and value (more is better) alike.

    Returns:
        Cheapest first; of equals the first one alone.
    """
    front: list[T] = []
    for item in sorted(items, key=lambda item: (cost(item), -value(item))):
        if not front or value(item) > value(front[-1]):
            front.append(item)
    return front
