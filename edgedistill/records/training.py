"""What the stages hand over that train a network or prepare what it is trained against."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record
from edgedistill.records.evaluation import METRICS, ValidationFigures


class EpochRow(Record):
    """What every row of a training's history has."""

    epoch: int
    """From 1."""
    train_loss: Number
    terms: dict[str, Number]
    """Parts of the loss before their weights, by name."""
    lr: Number
    """At the end of the epoch."""
    eval_loss: Number | None = None
    """On the validation images; None of an embedding."""

    def metric(self, name: str) -> float:
        """A figure that `data.metric` can name, on the validation images."""
        raise NotImplementedError


class Epoch(EpochRow):
    """A row of a training's history; figures on the validation images."""

    eval_top1_fraction: Fraction
    eval_balanced_accuracy_fraction: Fraction

    def metric(self, name: str) -> float:
        """The value of one of `evaluation.METRICS` on the validation images.

        Raises:
            ValueError: the name is none of them.
        """
        if name not in METRICS:
            raise ValueError(f"a metric is one of {', '.join(METRICS)}; got {name!r}")
        return getattr(self, f"eval_{name}")


class WentBack(Record):
    """A loss that was not finite, and the step that the training went on from."""

    from_step: int
    to_step: int
    why: str
    batch: str | None
    """Names of the files that hold the batch."""
    lr_scale: Number
    """Of the learning rate afterwards."""


class BestEpoch(Record):
    """The epoch whose weights are kept, where `distill.keep` is `best`."""

    epoch: int
    value: Number
    """The recipe's metric on the validation images."""


class Probe(Record):
    """How the logistic head of a teacher was fitted."""

    views: int
    """Augmented views of each training image, beside the plain one."""
    folds: int
    l2: Number
    log_loss_by_l2: dict[str, Number]


class Tried(Record):
    """The two ways to make a teacher, in the recipe's metric, on images that neither has learnt from."""

    probe: Number
    finetune: Number
    mean: Number | None = None
    """Of both, where the student learns from that."""
    images: int | None = None
    """Absent of older releases, as what follows."""
    interval: Interval | None = None
    """Of fine-tuned minus probe, paired, fractions."""
    folds: int | None = None
    """Parts of the training and validation images that were left out in turn; None: the validation images."""


class TrainedNetwork(Record):
    """One training, and the weights that are kept of it."""

    model: str
    weights: str
    """Source of the first weights, as in the recipe."""
    parameters: int
    training_images: int
    class_weights: dict[str, Number] | None = None
    """Class name -> weight in the loss; None where all weigh the same."""
    preprocess: dict[str, Any] = {}
    """As in the bundle's manifest; edgedistill_device.preprocess_spec reads it."""
    validation: ValidationFigures
    seed: int
    epochs: int
    """0 of a network that is taken as it is."""
    steps: int | None = None
    """Of the optimizer; absent of older releases."""
    history: list[Epoch]
    went_back: WentBack | None = None
    best: BestEpoch | None = None
    mode: Literal["probe", "finetune"] | None = None
    """Of a teacher where a probe was tried: what is kept."""
    probe: Probe | None = None
    tried: Tried | None = None
    second: str | None = None
    """Weights of the other of two teachers that the student learns the mean of, in the stage's folder."""


class SeedRun(Record):
    """One of the trainings that differ in their seed."""

    seed: int
    weights: str
    """File in the stage's folder."""
    validation: ValidationFigures


class TeacherRecord(TrainedNetwork, ArtifactRecord):
    """The teacher."""

    stage: ClassVar[str] = "teacher"


class BaselineRecord(TrainedNetwork, ArtifactRecord):
    """The student trained without a teacher; `seeds` has a row for each training, the record's own first."""

    stage: ClassVar[str] = "baseline"

    seeds: list[SeedRun]


class PoolUse(Record):
    """The images without a label by what the last teacher says of them: its mean over their cached views."""

    images: int
    kept: int
    """With at least `distill.pool_min_confidence`."""
    mean_confidence: Fraction
    """Of the largest probability, at temperature 1."""
    confidence_quantiles: dict[str, Fraction]
    kept_by_class: dict[str, int]
    """By the class that the teacher names, which need not be the true one."""


class DistillRecord(TrainedNetwork, ArtifactRecord):
    """The student trained against the teacher; `seeds` as in `BaselineRecord`."""

    stage: ClassVar[str] = "distill"

    seeds: list[SeedRun]
    teacher_top_probability: Number | None = None
    """Mean of the largest soft label at the recipe's temperature; None where it is not known."""
    pool: PoolUse | None = None
    """None where there is none, and of older releases."""


class Link(Record):
    """A network of stage `assist`."""

    model: str
    weights: str
    parameters: int
    epochs: int
    steps: int
    validation: ValidationFigures
    file: str
    """Weights, in the stage's folder."""


class AssistRecord(ArtifactRecord):
    """Further teachers of an ensemble, or the chain between teacher and student."""

    stage: ClassVar[str] = "assist"

    links: list[Link]
    cache: str
    """Folder of the outputs that the student is taught by, in the stage's folder."""
    belongs_to: str | list[str]
    """SHA-256 of the weights that made the cache; of an ensemble all of them."""


class LogitsRecord(ArtifactRecord):
    """The cache of the teacher's outputs."""

    stage: ClassVar[str] = "logits"

    images: int
    views: int
    """Of each image."""
    bytes: int
    classes: int
    train_top1_fraction: Fraction | None
    """How often the teacher gives the label, over all views; None where views have no single label."""


class ScheduleRecord(ArtifactRecord):
    """How many steps each training of student and baseline takes, planned once from first steps on this computer."""

    stage: ClassVar[str] = "schedule"

    minutes: Number
    """The recipe's."""
    steps: int
    """Planned."""
    fitting_steps: int
    """That fit into the minutes."""
    asked_steps: int
    """By the recipe's `steps`, or else by its epochs."""
    steps_per_epoch: int
    measured_steps: int
    step_seconds: Number
    """Mean of the measured ones."""
    validation_seconds: Number
    """Mean of the validations among them."""


class SynthesisRecord(ArtifactRecord):
    """Images made from the teacher's weights."""

    stage: ClassVar[str] = "synthesise"

    images: int
    wanted_fraction: Fraction
    """Share that the teacher classifies as the class that they were made for."""
    bn_loss_first: Number
    """Distance from the teacher's batch-norm statistics at the first step, of the first batch."""
    bn_loss_last: Number
    sha256: list[str]
    """Of each image's pixels."""
