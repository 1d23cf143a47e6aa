"""What stage `export` hands over: two ONNX files, proved, and the pre-flight for the board."""

from __future__ import annotations

from typing import ClassVar, Literal

from edgedistill.records.base import ArtifactRecord, Fraction, Number, Record


class Proof(Record):
    """ONNX Runtime against PyTorch on the probe images."""

    max_abs_difference: Number
    max_relative_difference: Number
    """Over the largest output."""
    top1_agreement_fraction: Fraction
    opset: int
    ir: int
    """Version of ONNX's own format."""
    file_bytes: int


class ExportedNetwork(Proof):
    """One ONNX file."""

    file: str
    sha256: str
    parameters: int
    macs: int
    """Multiply-accumulates of one image."""
    normalise_in_graph: bool = False


class PreflightFinding(Record):
    """What the board's parser would refuse (error) or may change (warning)."""

    level: Literal["error", "warning"]
    rule: str
    node: str
    why: str
    mend: str


class Preflight(Record):
    """The student's file against the rules of the target's TensorRT."""

    target: str
    tensorrt: str | None
    """Release; None of a target without TensorRT."""
    findings: list[PreflightFinding]


class ExportRecord(ArtifactRecord):
    """Student and teacher as ONNX."""

    stage: ClassVar[str] = "export"

    probe_images: int
    student: ExportedNetwork
    teacher: ExportedNetwork
    preflight: Preflight
