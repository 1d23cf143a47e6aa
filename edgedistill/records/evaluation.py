"""What stage `evaluate` hands over, and the figures of one network that other stages share."""

from __future__ import annotations

from typing import ClassVar

from edgedistill.config.task import CLASSIFICATION
from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record

METRICS = CLASSIFICATION.metrics


class Scores(Record):
    """Both metrics on one set of images, 0..1."""

    top1_fraction: Fraction
    balanced_accuracy_fraction: Fraction

    def metric(self, name: str) -> float:
        """The value of one of METRICS.

        Raises:
            ValueError: the name is none of them.
        """
        if name not in METRICS:
            raise ValueError(f"a metric is one of {', '.join(METRICS)}; got {name!r}")
        return getattr(self, name)


class MeasuredNetwork(Scores):
    """One network on one set of labelled images."""

    top1_interval: Interval
    """Low and high of the 95 % Wilson interval, fractions."""
    per_class_recall: dict[str, Fraction | None]
    """Class name -> fraction; None where the class has no image."""
    confusion: list[list[int]]
    """A row for each true class: images by predicted class, in the order of the classes."""


class NetworkFigures(MeasuredNetwork):
    """The same with the number of images."""

    images: int


class ValidationFigures(NetworkFigures):
    """A trained network on the validation images."""

    loss: Number | None
    """Mean cross-entropy, nats; None of an embedding."""
    calibration_error: Fraction | None = None
    """Expected calibration error, 0..1; absent of an embedding."""


class Chance(Scores):
    """A network that always says the largest class of the test images."""

    majority_class: str

    def reaches(self, scores: Scores, metric: str) -> bool:
        """Whether it is as good as a network's scores in this metric."""
        return scores.metric(metric) <= self.metric(metric)


class SeedScores(Record):
    """Test scores of both trainings that share a seed."""

    seed: int
    baseline: Scores
    student: Scores


class LinkScores(Scores):
    """Test scores of a network of stage `assist`, of a second teacher, or of a mean of teachers."""

    model: str
    parameters: int | None
    """None of a mean."""


class EvaluationRecord(ArtifactRecord):
    """Teacher, baseline and student on the test images."""

    stage: ClassVar[str] = "evaluate"

    teacher: NetworkFigures
    baseline: NetworkFigures
    student: NetworkFigures
    images: int
    teacher_agreement_fraction: Fraction
    """Share of the test images that student and teacher give the same class."""
    student_only_correct: int
    """Images that the student has right and the baseline has not."""
    baseline_only_correct: int
    only_correct_by_class: list[list[int]]
    """For each class: right by the student alone, by the baseline alone, images of the class."""
    mcnemar_p: Number
    chance: Chance
    seeds: list[SeedScores]
    links: list[LinkScores] = []
    """Of a recipe whose student learns from more than one network, or from a chain of them."""

    def network(self, name: str) -> NetworkFigures:
        """`teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]


class RecallAt1(Record):
    """How often the nearest other image is of the same class."""

    recall_at_1_fraction: Fraction
    images: int
    """That were asked about."""
    interval: Interval = []
    """Low and high of the 95 % Wilson interval, fractions; absent of older releases."""
    left_out_images: int
    """Alone in their class."""


class EmbeddingFigures(NetworkFigures):
    """One network by the nearest neighbours of its embeddings."""

    width: int
    """Numbers of an embedding."""
    neighbours: int
    """That vote for the class of a test image."""
    recall_at_1: RecallAt1


class EmbeddingEvaluationRecord(EvaluationRecord):
    """The same of a student without classes, which its nearest training images give."""

    teacher: EmbeddingFigures
    baseline: EmbeddingFigures
    student: EmbeddingFigures

    def network(self, name: str) -> EmbeddingFigures:
        """`teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]
