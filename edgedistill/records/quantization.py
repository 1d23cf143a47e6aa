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


class QadRecord(Record):
    """The student trained once more for INT8, on validation images."""

    epochs: int
    before: PrecisionStep
    after: PrecisionStep
    kept: bool


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
