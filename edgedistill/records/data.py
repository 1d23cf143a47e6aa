"""What stage `data` hands over: counts, duplicates, groups and leaks of the images."""

from __future__ import annotations

from typing import Any, ClassVar

from edgedistill.records.base import ArtifactRecord, Fraction, Number, Record


class Spread(Record):
    """Of a side of the pictures, pixels."""

    min: int
    median: int
    max: int


class ValueSummary(Record):
    """A value of a regression; `edgedistill_device.value_spec.Value` with what the training images show."""

    name: str
    unit: str
    mean: Number
    """Of the training images, in the unit, as what follows."""
    std: Number
    """Standard deviation."""
    low: Number | None
    """Smallest possible value; None: no limit."""
    high: Number | None
    smallest: Number
    """Of the training images."""
    largest: Number


class NamedGroups(Record):
    """Groups that the user named; all keys are absent where there are none."""

    named_images: int = 0
    """Images with a name."""
    named_groups: int = 0
    unnamed_first: str | None = None
    """Path of the first image without a name."""
    torn_groups: int = 0
    """Groups that stand in several given splits."""
    torn_first: str | None = None
    """One of them, with its splits."""


class DataSummary(NamedGroups):
    """The labelled images; splits are `train`, `val` and `test`."""

    classes: list[str]
    """Of a regression the names of its values."""
    images: dict[str, int]
    """By split, without exact copies in val and test."""
    counts: dict[str, dict[str, int]]
    """Split -> class -> images; of a regression by range of the first value."""
    quantities: list[ValueSummary] = []
    """Of a regression; absent of classes."""
    labels_per_image: Number | None = None
    """Mean number of labels; absent where an image has one class, or figures."""
    copies_left_out: dict[str, int] = {}
    """By split; absent of older releases."""
    groups: dict[str, int] = {}
    """By split; absent of older releases."""
    majority_fraction: Fraction
    """Share of the largest class in the test images."""
    test_sha256: str = ""
    """Hex, over the bytes of the test images and what each shows, in no order; absent of older releases."""
    unreadable_count: int
    unreadable: list[str] = []
    """The first of them, each with its reason."""
    exact_duplicates: int
    near_duplicate_groups: int
    images_in_groups: int
    near_duplicate_similarity: Number = 0
    """From where on two images count as alike, 0..1."""
    leak_count: int
    """Pairs of alike images in different splits."""
    leak_counts: dict[str, int] = {}
    """By pair of splits."""
    leaks: list[list[Any]]
    """The first of them: path, path, similarity."""
    grey_images: int = 0
    height_px: Spread | None = None
    width_px: Spread | None = None
    seen_fraction: Fraction = 1
    """Mean share of a picture's area that the network is shown."""
    sixteen_bit_images: int = 0
    """Absent with the two keys below where there are none."""
    sixteen_bit_values: list[int] = []
    """Smallest and largest."""
    grey_levels: int = 0
    """That are left of 16 bits."""
    pool_images: int = 0
    """Unlabelled images; absent with the keys below without a pool."""
    pool_of_train: int = 0
    """Of them, labelled images whose labels are not used."""
    pool_dropped_copies: int = 0
    pool_dropped_alike: int = 0
    pool_alike_counts: dict[str, int] = {}
    """By pair of splits."""
    pool_alike: list[list[Any]] = []
    """The first of them: path, path, similarity."""
    pool_unreadable_count: int = 0
    pool_unreadable: list[str] = []


class DataRecord(DataSummary, ArtifactRecord):
    """The images, and the sizes that they are kept in."""

    stage: ClassVar[str] = "data"

    resize_px: int
    """Short side of the board's resize."""
    training_px: int
    """Short side that training crops are cut from."""
