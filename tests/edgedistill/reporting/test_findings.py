"""What makes a report's figures doubtful, at its limits."""

import pytest

from edgedistill.records.report import ReportData
from edgedistill.reporting.findings import image_warnings, rare_warnings
from record_factories import record_with


def said(images, **data):
    """The sentences about so many test images, as one text."""
    return " ".join(image_warnings(record_with(ReportData, data), images))


@pytest.mark.parametrize(
    ("groups", "images", "told"),
    [({"test": 300}, 600, True), ({"test": 301}, 600, False), ({"test": 600}, 600, False), ({}, 600, False)],
)
def test_groups_of_two_and_more_are_told(groups, images, told):
    """An image that stands alone is a group of one: of as many groups as images nothing need be said."""
    assert ("too narrow" in said(images, groups=groups)) == told


def test_few_test_images_are_told():
    assert said(200) == ""
    assert said(199) == "Only 199 test images: rely on the intervals."


def test_the_rarest_class_is_named_and_all_rare_ones_are_counted():
    counts = {"wide": 400, "edge": 20, "rare": 19, "rarest": 2, "odd": 7}
    (line,) = rare_warnings(counts, "Recall", "class", "classes")
    assert line == "Recall is imprecise of 3 classes with fewer than 20 test images (rarest: 2)."
    assert not [*rare_warnings({"wide": 400, "edge": 20}, "Recall", "class", "classes")]
