"""The figures of a network whose answer is no class: what stages hand over where `Task.vectors` is set.

They stand in for the records of the same stages with figures of classes; `records/artifacts.py` says which.
"""

from __future__ import annotations

from typing import ClassVar

from edgedistill.records.base import ArtifactRecord, Interval, Number, Record
from edgedistill.records.provenance import ProvenanceField
from edgedistill.records.quantization import Int8Gate, QuantizationRecord
from edgedistill.records.training import (
    BaselineRecord,
    DistillRecord,
    EpochRow,
    Probe,
    SeedRun,
    TeacherRecord,
    TrainedNetwork,
)

LABEL_CHANGE = "ap_change"  # name of the figures by which a precision changes labels


class Figure(Record):
    """One figure of one output."""

    name: str
    """Of a value `mae`, `rmse`, `bias`, `r2`; of a label `ap`, `precision`, `recall`, `f1`; over all labels `map`,
    `f1_macro`, `f1_micro`, `exact_match`."""
    output: str | None
    """Name of the value or label; None over all of them, values each in standard deviations of its training values."""
    value: Number
    interval: Interval
    """95 %, about which images were tested."""
    unit: str


class RangeError(Record):
    """The error over the images whose true value lies in one range."""

    output: str
    low: Number
    """In the unit, as what follows."""
    high: Number
    images: int
    mae: Number
    bias: Number
    """Mean of answer minus truth."""


class OutputFigures(Record):
    """One network on one set of images."""

    images: int
    figures: list[Figure]
    ranges: list[RangeError] = []

    def figure(self, name: str, output: str | None = None) -> Figure:
        """
        Raises:
            ValueError: there is no such figure.
        """
        found = self.get(name, output)
        if found is not None:
            return found
        raise ValueError(f"no figure {name!r} of {output!r}; there are: {', '.join(f.name for f in self.figures)}")

    def named(self, name: str) -> list[Figure]:
        """That figure of each output that has it."""
        return [one for one in self.figures if one.name == name and one.output is not None]

    def get(self, name: str, output: str | None = None) -> Figure | None:
        """The figure, or None where the images determine none."""
        return next((one for one in self.figures if (one.name, one.output) == (name, output)), None)

    def metric(self, name: str) -> float:
        """A figure over all outputs."""
        return self.figure(name).value


class OutputValidation(OutputFigures):
    """A trained network on the validation images."""

    loss: Number
    """Mean squared error, standard deviations of the training values; of labels the binary cross-entropy, nats."""


class OutputEpoch(EpochRow):
    """A row of a training's history, with the figure of its task."""

    eval_r2: Number | None = None
    eval_map: Number | None = None

    def metric(self, name: str) -> float:
        return getattr(self, f"eval_{name}")


class OutputSeedRun(SeedRun):
    """One of the trainings that differ in their seed."""

    validation: OutputValidation  # type: ignore[assignment]  # stands in for the figures of classes


class RidgeProbe(Record):
    """How the ridge head of a teacher was fitted."""

    views: int
    """Augmented views of each training image, beside the plain one."""
    folds: int
    l2: Number
    squared_error_by_l2: dict[str, Number]
    """Half the mean squared error on the folds left out, standard deviations of the values."""


class OutputNetwork(TrainedNetwork):
    """One training."""

    validation: OutputValidation  # type: ignore[assignment]
    history: list[OutputEpoch]  # type: ignore[assignment]
    probe: RidgeProbe | Probe | None = None  # type: ignore[assignment]


class OutputTeacherRecord(OutputNetwork, TeacherRecord):
    """The teacher."""


class OutputBaselineRecord(OutputNetwork, BaselineRecord):
    """The student trained without a teacher."""

    seeds: list[OutputSeedRun]  # type: ignore[assignment]


class OutputDistillRecord(OutputNetwork, DistillRecord):
    """The student trained against the teacher."""

    seeds: list[OutputSeedRun]  # type: ignore[assignment]


class OutputGain(Record):
    """The student's figure against another network's on the same images, over all outputs."""

    points: Number
    """Above 0, a gain. Of values the other one's mean absolute error minus the student's, hundredths of a standard
    deviation; of labels the student's mean average precision minus the other one's, percentage points."""
    interval_points: Interval
    """95 %, by the bootstrap over images, which stay paired."""
    by_output: list[Figure]
    """Name `mae_gain` or `ap_gain`: the same for each output, in its unit; of labels a fraction."""

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return not self.interval_points[0] <= 0 <= self.interval_points[1]


class OutputSeeds(Record):
    """The task's primary figure over all outputs, of the trainings that share a seed."""

    seed: int
    baseline: Number
    student: Number


class OutputEvaluationRecord(ArtifactRecord):
    """Teacher, baseline and student on the test images, and what always answering alike gives."""

    stage: ClassVar[str] = "evaluate"

    images: int
    teacher: OutputFigures
    baseline: OutputFigures
    student: OutputFigures
    constant: OutputFigures
    """A network that always answers the mean of the training images; of labels their frequencies."""
    gain: OutputGain
    """Student over baseline."""
    over_constant: OutputGain
    """Student over that constant."""
    seeds: list[OutputSeeds]

    def network(self, name: str) -> OutputFigures:
        """`teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]


class OutputStep(Record):
    """A precision against the float network on the same images."""

    drop_points: Number
    """What the primary figure loses against float, over all outputs: mean absolute error, hundredths of a standard
    deviation, or mean average precision, percentage points."""
    drop_interval_points: Interval
    """95 %, by the bootstrap over images, which stay paired."""
    changes: list[Figure]
    """Name `mae_change` or `ap_change`: this minus float for each output, in its unit; of labels a fraction."""
    sqnr_db: Number | None
    """Signal to quantization noise of the outputs; None without noise, or where it is not finite."""

    @property
    def change(self) -> str:
        """In words, with its interval."""
        low, high = self.drop_interval_points
        verdict = "a loss" if low > 0 else "a gain" if high < 0 else "no loss"
        if any(one.name == LABEL_CHANGE for one in self.changes):
            return (
                f"shows {verdict}: mean average precision {-self.drop_points:+.2f} points ({-high:+.2f} to {-low:+.2f})"
            )
        parts = [
            f"{one.output} {one.value:+.3g}{' ' + one.unit if one.unit else ''} "
            f"({one.interval[0]:+.3g} to {one.interval[1]:+.3g})"
            for one in self.changes
        ]
        return f"shows {verdict}: mean absolute error {', '.join(parts)}"


class OutputPrecision(OutputStep, OutputFigures):
    """All figures of a precision."""

    max_relative_logit_difference: Number | None
    """Largest difference of an output from float, over the largest output; None where it is not finite."""
    finite: bool
    """Else an output that is NaN or infinite counts as the mean of the training images, of a label as the smallest."""


class OutputLadderStep(OutputPrecision):
    """A precision on the test images."""

    provenance: ProvenanceField


class OutputGateStep(OutputStep):
    """INT8 with some layers left in float, on the validation images."""

    float_layers: int


class OutputGate(Int8Gate):
    """INT8 against `quantize.max_int8_drop_points`."""

    curve: list[OutputGateStep]  # type: ignore[assignment]


class OutputQuantizationRecord(QuantizationRecord):
    """INT8 ranges, and what each precision costs."""

    ladder: dict[str, OutputLadderStep]  # type: ignore[assignment]
    int8_gate: OutputGate
