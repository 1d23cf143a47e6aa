"""Classes of too few images: refused by name, dropped, or made one."""

from pathlib import Path

import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.items import Item
from edgedistill.data.small_classes import without_small_classes
from edgedistill.errors import DataError

ITEMS = [Item(Path(f"/{label}{n}.png"), label) for label, count in (("a", 9), ("b", 2), ("c", 1)) for n in range(count)]
GIVEN = ["train"] * len(ITEMS)


def kept(**keys):
    jobs, line = without_small_classes(ITEMS, GIVEN, DataConfig(train="x", **keys))
    labels = [item.label for _, item in jobs]
    return {label: labels.count(label) for label in labels}, line


def test_by_default_nothing_is_changed():
    assert kept() == ({"a": 9, "b": 2, "c": 1}, None)


def test_dropped_and_merged_are_told():
    assert kept(small_classes="drop") == ({"a": 9}, "dropped: 2 classes of less than 3 images, 3 images: c (1), b (2)")
    counts, line = kept(small_classes="merge", min_class_images=2)
    assert counts == {"a": 9, "b": 2, "other": 1}
    assert line == "merged into 'other': 1 class of less than 2 images, 1 image: c (1)"


def test_refused_by_the_number_that_was_asked_for():
    with pytest.raises(DataError, match=r"2 classes have less than data.min_class_images = 5 images: c \(1\), b \(2\)"):
        kept(min_class_images=5)
