"""What the report shows of single images: which a person should look at, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Fraction, Number, Record


class Said(Record):
    """What a network says of an image."""

    class_name: str = Field(alias="class")
    probability: Fraction


class LookedAt(Record):
    """An image."""

    split: Literal["train", "test"]
    position: int
    """Among the images of its split."""
    sha256: str
    """Of the image file."""
    file: str
    """The end of its path: below the folder that the images of its split have in common, at most three names."""
    label: str
    student: list[Said]
    """The two most probable classes, calibrated; none of a training image."""
    teacher: Said | None
    """Null where the teacher's answer is not at hand."""


class ConfusionCell(Record):
    """Test images of one class that the student takes for another one."""

    label: str
    predicted: str
    images: int
    shown: list[LookedAt]
    """At most 12, those with the least probable label first."""


class SuspectLabels(Record):
    """Images whose label the teacher contradicts, at least as sure as it usually is of the class that it names."""

    test_images: int
    train_images: int | None
    """Null where the teacher's answers on them are not of one label each, see `why`."""
    why: str
    shown: list[LookedAt]
    """At most 20, the clearest first."""


class HeatMaps(Record):
    """How the heat maps follow from the student's last feature map."""

    kind: Literal["exact", "first order"]
    """Exact: the head is linear, a place's score is the head's of that place; first order: the head's slope is used."""
    rows: int
    columns: int
    """Places of that map."""


class LookCloser(Record):
    """Images that a person should look at."""

    temperature: Number
    """That calibrates the student's probabilities here."""
    worst: list[LookedAt]
    """At most 10 test images with a wrong answer, those with the least probable label first."""
    doubtful: list[LookedAt]
    """At most 10 test images, those whose two most probable classes are closest first."""
    confusions: list[ConfusionCell]
    """The most frequent first, at most 60."""
    suspects: SuspectLabels
    heat: HeatMaps | None
    """Of `worst` and `doubtful`; null: there are none."""
    heat_reason: str
    """Why there are none."""
