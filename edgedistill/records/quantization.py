"""What stage `quantize` hands over: the cost of each precision, and the gate of INT8."""

from __future__ import annotations

from typing import ClassVar, Literal

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record
from edgedistill.records.evaluation import Scores
from edgedistill.records.provenance import ProvenanceField


class PrecisionStep(Record):
    """A precision against the float network on the same images."""

    top1_fraction: Fraction
    drop_points: Number
    """Top-1 of float minus this, of 100."""
    drop_standard_error_points: Number
    drop_interval_points: Interval = []
    """Low and high, 95 %; absent of older releases."""
    agreement_fraction: Fraction
    """Share of the images with the same class as float."""
    sqnr_db: Number | None
    """Signal to quantization noise of the logits; None without noise, or where it is not finite."""
    mean_cosine: Number | None = None
    """Of an embedding, over the images, with float's of the same image; top-1 is the recall at 1 then."""
    lowest_cosine: Number | None = None

    @property
    def figure_name(self) -> str:
        """What `top1_fraction` is."""
        return "top-1" if self.mean_cosine is None else "recall at 1"

    @property
    def change_points(self) -> Number:
        """Top-1 of this minus float."""
        return 0 - self.drop_points

    @property
    def change_interval_points(self) -> list[Number]:
        """Low and high, 95 %; empty of older releases."""
        return [0 - end for end in reversed(self.drop_interval_points)]

    @property
    def change(self) -> str:
        """In words the change with its interval: a gain is no negative loss, and zero may lie inside."""
        cosine = "" if self.mean_cosine is None else f", mean cosine with float {self.mean_cosine:.4f}"
        if not self.drop_interval_points:
            error = f"standard error {self.drop_standard_error_points:.1f}"
            return f"changes {self.figure_name} by {self.change_points:+.1f} points ({error}){cosine}"
        low, high = self.change_interval_points
        verdict = "a loss" if high < 0 else "a gain" if low > 0 else "no loss"
        points = f"{self.change_points:+.1f} points of {self.figure_name}"
        return f"shows {verdict}: {points} (95 % interval {low:+.1f} to {high:+.1f}){cosine}"


class PrecisionFigures(PrecisionStep, Scores):
    """All figures of a precision."""

    top1_interval: Interval
    """Low and high of the 95 % Wilson interval, fractions."""
    max_relative_logit_difference: Number | None = None
    """Largest difference of a logit from float, over the largest logit; None where it is not finite."""
    finite: bool


class LadderStep(PrecisionFigures):
    """A precision on the test images."""

    provenance: ProvenanceField


class GateStep(PrecisionStep):
    """INT8 with some layers left in float, on the validation images."""

    float_layers: int


class QadRecord(Record):
    """The student trained once more for INT8, on validation images."""

    epochs: int
    steps: int | None = None
    """Of the optimizer; absent of older releases."""
    before: PrecisionStep
    after: PrecisionStep
    kept: bool


class LayerSensitivity(Record):
    """A layer that alone is INT8."""

    layer: str
    sqnr_db: Number | None


class Int8Gate(Record):
    """INT8 against `quantize.max_int8_drop_points`."""

    max_drop_points: Number | None
    """None without a gate."""
    passed: bool | None
    """None without a gate."""
    kept_float: list[str]
    """Layers."""
    curve: list[GateStep]
    sensitivity: list[LayerSensitivity]
    """The most sensitive layer first; empty where the ranking was not needed."""
    images: str
    """The split."""

    def deciding_step(self, qad: QadRecord | None) -> GateStep:
        """The step by which the gate is judged: the file that is kept, or of several that miss the gate the closest.

        Args:
            qad: of the same record; its file, where it is kept, takes the place of those of the curve.
        """
        if qad is not None and qad.kept:
            return GateStep(float_layers=0, **qad.after.given())
        return self.curve[-1] if self.passed else min(self.curve, key=lambda step: step.drop_points)


StepName = Literal["equalisation", "bias correction", "rounding"]


class PtqStep(Record):
    """One way to better INT8 weights."""

    name: StepName
    kept: bool
    sqnr_db: Number | None = None
    """Of the logits with it, on calibration images that it has not seen; None where nothing could be changed, or
    where it is not finite."""
    gain_db: Number | None = None
    """Against the best without it; equalisation is compared with biases corrected on both sides."""

    @property
    def line(self) -> str:
        """In words, with its gain."""
        gain = "" if self.gain_db is None else f" ({self.gain_db:+.1f} dB)"
        return f"{self.name} {'kept' if self.kept else 'not kept'}{gain}"


class PtqRecord(Record):
    """What was tried on the float weights that INT8 is made from."""

    fitted_images: int
    """Calibration images that the steps learnt from."""
    held_out_images: int
    """Others, which judged."""
    sqnr_db: Number | None
    """Of the logits before, on those; None where it is not finite."""
    steps: list[PtqStep]
    """In the order in which they were tried."""

    @property
    def line(self) -> str:
        """For people."""
        return "PTQ: " + ", ".join(step.line for step in self.steps)


class Fp16Finding(Record):
    """A tensor whose values FP16 may not hold."""

    level: Literal["error", "warning"]
    tensor: str
    layer: str
    value: Number
    """Largest |x| seen, or the bound of a sum."""
    why: str
    mend: str


class WidestRange(Record):
    """The tensor with the largest INT8 range."""

    tensor: str
    amax: Number


class TypedFile(Record):
    """An ONNX file with its precision typed in, for a TensorRT without precision flags, and its proof.

    ONNX Runtime computes it with every rounding to FP16, on validation images and then training images.
    """

    precision: Literal["fp16", "int8"]
    passed: bool
    """Only then it is in the bundle."""
    why: str
    """Why it did not pass, or ""."""
    limit: Number
    """Of `max_relative_logit_difference`."""
    images: int = 0
    max_relative_logit_difference: Number | None = None
    """Largest difference of a logit from float, over the largest logit; None where it is not finite."""
    agreement_fraction: Fraction | None = None
    """Share of the images with the same class as float."""
    ties: int = 0
    """Images whose two largest float logits are closer than FP16's step at the largest logit."""
    other_class: int = 0
    """Images of another class than float's, ties left out."""
    source_relative_logit_difference: Number | None = None
    """The same of the Q/DQ file that an INT8 file was made from; absent of FP16 and of older releases."""
    source_other_class: int | None = None
    float32_layers: list[str] = []
    """Layers that stay float32, by their first output."""
    file_bytes: int | None = None


class QuantizationRecord(ArtifactRecord):
    """INT8 ranges, and what each precision costs."""

    stage: ClassVar[str] = "quantize"

    calibration_images: int
    threshold: str
    ladder: dict[str, LadderStep]
    """By precision: `float`, `onnx`, `fp16`, `int8`."""
    int8_gate: Int8Gate
    qad: QadRecord | None
    """None without quantization-aware distillation."""
    ptq: PtqRecord | None = None
    """None where the target has no INT8, or `quantize.ptq_images` is 0; absent of older releases."""
    fp16_findings: list[Fp16Finding]
    """The worst first."""
    requested: str
    """Precision that the recipe asks for."""
    executed: str
    """Precision that the target executes."""
    reason: str
    """Why the two differ, or ""."""
    int8_file_bytes: int
    fp16_file_bytes: int
    typed: list[TypedFile] = []
    """For a target whose TensorRT takes its types from the file; empty for others, and absent of older releases."""
    widest_range: WidestRange
