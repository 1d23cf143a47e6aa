"""What stage `curve` hands over: the student's accuracy against how much of the pool it learnt from."""

from __future__ import annotations

from typing import ClassVar

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record
from edgedistill.records.evaluation import Scores


class PoolPoint(Scores):
    """One training of the student, on the test images."""

    share: Fraction
    """Of the images without a label."""
    pool_images: int
    images: int
    """That it learnt from, with and without a label."""
    seed: int


class ExpectedScore(Record):
    """What a pool of another size would bring, by the fitted curve."""

    times: int
    """The images without a label that there are."""
    pool_images: int
    fraction: Fraction
    """In the curve's metric."""
    interval: Interval
    """95 %, of one further training; fractions."""


class PoolCurve(Record):
    """The student against the size of the pool."""

    metric: str
    labelled_images: int
    points: list[PoolPoint]
    """From the smallest share of the pool to the whole of it."""
    exponent: Number | None
    """The error falls as the number of images to this power; None where no curve was fitted."""
    expected: list[ExpectedScore]
    """Empty without a curve."""


class CurveRecord(PoolCurve, ArtifactRecord):
    """The same as the artifact of its stage."""

    stage: ClassVar[str] = "curve"
