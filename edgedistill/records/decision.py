"""What stage `decide` hands over: how the board turns logits into an answer, and how that does on the test images."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record
from edgedistill.records.outputs import OutputFigures


class BoardDecision(Record):
    """What the bundle carries for one precision; the fields of `edgedistill_device.decision_spec.Decision`."""

    temperature: Number
    """Logits are divided by it before the softmax; 1 of several labels an image."""
    thresholds: list[list[str | Number]]
    """Class and the probability from which it is the answer; the first that is reached wins. Of several labels an image
    each label, by itself."""
    unknown_below: Number | None
    """Largest logit below which the answer is `unknown`, where no threshold is reached; None: nothing is refused."""


class CalibrationFigures(Record):
    """Confidence on the test images, at the executed precision, before and after the temperature."""

    temperature: Number
    fitted: bool
    """Whether the validation images determine a temperature; else it is 1."""
    validation_images: int
    test_images: int
    calibration_error_before: Fraction
    """Expected calibration error, 15 bins of equal width."""
    calibration_error_after: Fraction
    loss_before: Number
    """Mean negative log likelihood, nats."""
    loss_after: Number

    @property
    def helped(self) -> bool:
        """Whether the temperature makes the labels of the test images more likely, as it does on validation images."""
        return self.loss_after < self.loss_before


class Shown(Record):
    """What validation images show of a promise."""

    hits: int
    images: int
    """Of the class for a recall, of its answers for a precision."""
    lower: Fraction
    """Exact lower limit of the share, with the confidence of the promise."""


class PointFigures(Record):
    """A class on the test images."""

    right: int
    images: int
    """Of the class."""
    answers: int
    """Images that are answered with it."""
    recall: Fraction | None
    """None without images."""
    recall_interval: Interval
    """Exact, 95 %."""
    precision: Fraction | None
    """None without answers."""
    precision_interval: Interval
    """Exact, 95 %."""


class ClassFigures(Record):
    """A class on the test images, answered as the board does."""

    class_name: str = Field(alias="class")
    images: int
    answers: int
    """Images that are answered with it."""
    precision: Fraction | None
    """None without answers."""
    recall: Fraction | None
    """None without images."""
    f1: Fraction | None
    """Harmonic mean of both: twice the right answers over images and answers; None without either."""
    threshold: Number | None = None
    """Of several labels an image, the probability from which on it is answered; absent of classes."""


class PointCost(Record):
    """Expected price of a class's misses and false alarms, at the shares of the test images."""

    miss: Number
    false_alarm: Number
    per_1000_images: Number
    by_probability_per_1000_images: Number
    """Without a threshold."""


class OperatingPoint(Record):
    """A promise of the recipe for a class."""

    class_name: str = Field(alias="class")
    promise: Literal["recall", "precision"]
    asked: Fraction
    confidence: Fraction
    """That the promise holds, over the draw of the validation images."""
    threshold: Number | None
    """Of the class's probability; None where the validation images cannot show what is asked."""
    validation: Shown
    most: Fraction
    """That as many validation images could show, all right."""
    images_needed: int
    """Of the same kind, that could show what is asked, all right."""
    by_threshold: PointFigures
    """On the test images, answered as the board does."""
    by_probability: PointFigures
    """The same, answered with the most likely class; of several labels an image from the threshold with the best F1."""
    curve: list[list[Number]]
    """Recall and precision on the test images for thresholds from high to low."""
    cost: PointCost | None
    """None without prices."""
    best_f1_threshold: Number | None = None
    """Of several labels an image, what is taken where nothing can be promised; absent of classes."""

    @property
    def sentence(self) -> str:
        """What is promised, or why nothing is."""
        seen, what = self.validation, f"a {self.promise} of {self.asked:.4g} of {self.class_name!r}"
        sure = f"with {100 * self.confidence:.4g} % confidence"
        kind = "images of it" if self.promise == "recall" else "answers with it"
        if self.threshold is not None:
            return (
                f"{what} is promised {sure}, from a probability of {self.threshold:.3g} "
                f"on: {seen.hits} of {seen.images} validation {kind} are right and show at least {seen.lower:.3f}"
            )
        few = seen.images < self.images_needed
        mend = f"at least {self.images_needed} {kind} are needed, all right" if few else "promise less, or train longer"
        instead = "no threshold is set"
        if self.best_f1_threshold is not None:
            instead = f"its threshold is that of the best F1, {self.best_f1_threshold:.3g}"
        return (
            f"{what} cannot be promised {sure}, {instead}: {seen.hits} of "
            f"{seen.images} validation {kind} can be right and show {seen.lower:.3f}; {mend}"
        )


class OtherImages(Record):
    """Images of none of the classes."""

    images: int
    refused: int
    """Answered `unknown`."""
    refused_interval: Interval
    """Of that share, exact, 95 %."""
    auroc: Fraction | None
    """How often the largest logit of a test image is above that of one of these; None where one is no number."""


class UnknownFigures(Record):
    """The answer `unknown`."""

    coverage: Fraction
    """Share of known images that is kept, on average over the draw of the validation images."""
    threshold: Number | None
    """Largest logit below which an image is refused; None where the validation images are too few to refuse any."""
    validation_images: int
    images_needed: int
    """Validation images with which something can be refused."""
    test_images: int
    test_kept: int
    test_kept_interval: Interval
    """Of that share, exact, 95 %."""
    others: OtherImages | None
    """None where the recipe names no such images."""

    @property
    def sentence(self) -> str:
        """What is refused, or why nothing is."""
        if self.threshold is None:
            return (
                f"nothing is refused as unknown: {self.validation_images} validation images are too few for a coverage "
                f"of {self.coverage:.4g}, {self.images_needed} are needed"
            )
        others = f" and refuses {self.others.refused} of {self.others.images} others" if self.others else ""
        return (
            f"a coverage of {self.coverage:.4g} keeps {self.test_kept} of {self.test_images} test images{others}; "
            f"below a largest logit of {self.threshold:.3g} the answer is unknown"
        )


class DecisionFigures(Record):
    """How the answers do on images that nothing was fitted on."""

    precision: str
    """That the figures are of: the one that the target executes."""
    calibration: CalibrationFigures | None
    """None where a test image's logits are not finite."""
    classes: list[ClassFigures]
    points: list[OperatingPoint] = []
    currency: str | None = None
    """Of all prices."""
    unknown: UnknownFigures | None = None
    """None where nothing is to be refused."""
    by_label: OutputFigures | None = None
    """Of several labels an image, all figures with intervals at the board's thresholds; absent of classes."""


class DecisionRecord(ArtifactRecord):
    """Fitted on validation images, separately for each precision."""

    stage: ClassVar[str] = "decide"

    board: dict[str, BoardDecision]
    """By precision: `fp32`, `fp16`, `int8`."""
    figures: DecisionFigures
