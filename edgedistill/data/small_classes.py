"""Classes with too few images: refused, dropped, or made one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from edgedistill.config.data import DataConfig
from edgedistill.core.text import plural
from edgedistill.data.items import Item
from edgedistill.data.table import SPLITS
from edgedistill.errors import DataError

MERGED = "other"  # the class that small ones become


def without_small_classes(
    items: list[Item], given: list[str], data: DataConfig
) -> tuple[list[tuple[str, Item]], str | None]:
    """(split, image) of the classes that stay, and a line for people where one does not.

    Args:
        items: all labelled images.
        given: the split each came from.
        data: `small_classes` and `min_class_images`.

    Raises:
        DataError: a class is smaller than data.min_class_images, and they are refused.
    """
    jobs = list(zip(given, items, strict=True))
    fewest = data.min_class_images or len(SPLITS)
    counts = Counter(item.label for item in items)
    small = {name: count for name, count in counts.items() if count < fewest}
    if not small:
        return jobs, None
    rarest = sorted(small, key=lambda name: (small[name], name))
    shown = ", ".join(f"{name} ({small[name]})" for name in rarest[:5])
    shown += f" and {len(small) - 5} more" if len(small) > 5 else ""
    classes = plural(len(small), "class", "classes")
    if data.small_classes == "refuse":
        if not data.min_class_images:
            return jobs, None  # the split says what it needs
        have = plural(len(small), "class has", "classes have")
        raise DataError(
            f"{have} less than data.min_class_images = {fewest} images: {shown}; add images, or "
            'set data.small_classes = "drop" or "merge"'
        )
    lost = plural(sum(small.values()), "image")
    if data.small_classes == "drop":
        large_enough = [(name, item) for name, item in jobs if item.label not in small]
        return large_enough, f"dropped: {classes} of less than {fewest} images, {lost}: {shown}"
    merged = [(name, replace(item, label=MERGED) if item.label in small else item) for name, item in jobs]
    return merged, f"merged into {MERGED!r}: {classes} of less than {fewest} images, {lost}: {shown}"
