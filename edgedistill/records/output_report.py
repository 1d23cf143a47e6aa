"""report.json of a run whose student answers with figures. Fields that it shares with `ReportFigures` mean the same."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import WithJsonSchema

from edgedistill.records.base import ArtifactRecord, Number, Record
from edgedistill.records.decision import DecisionFigures
from edgedistill.records.export import Preflight
from edgedistill.records.outputs import (
    OutputEpoch,
    OutputFigures,
    OutputGain,
    OutputGate,
    OutputLadderStep,
    OutputSeeds,
)
from edgedistill.records.provenance import ProvenanceField
from edgedistill.records.quantization import Fp16Finding, PtqRecord, TypedFile
from edgedistill.records.report import (
    VERSION,
    Absent,
    Advice,
    ReportData,
    ReportFigures,
    ReportProvenance,
    Status,
    StudentProof,
    Taught,
    Verdict,
)
from edgedistill.records.report_speed import (
    Int8Verdict,
    Predicted,
    Published,
    ReportDevice,
    ReportTarget,
    RunningCost,
    Speedup,
)


class OutputReportNetwork(OutputFigures):
    """A network on the test images."""

    model: str
    weights: str
    """Name of the file or source, without folders."""
    parameters: int
    macs: int
    """Multiply-adds of one image."""
    file_bytes: int
    """ONNX file, float32."""
    provenance: ProvenanceField


class OutputHistories(Record):
    """A row for each epoch."""

    teacher: list[OutputEpoch]
    baseline: list[OutputEpoch]
    student: list[OutputEpoch]


class OutputReportFigures(ArtifactRecord):
    """All figures of a report; what follows from them is in `OutputReportRecord`."""

    stage: ClassVar[str] = "report"

    version: Annotated[Literal[2], WithJsonSchema({"const": VERSION})]
    task: str
    """Name of the task; a report of classes has no such key."""
    teacher: OutputReportNetwork
    baseline: OutputReportNetwork
    student: OutputReportNetwork
    constant: OutputFigures
    """Always the mean of the training images; of labels their frequencies."""
    test_images: int
    gain: OutputGain
    """Student over baseline."""
    over_constant: OutputGain
    seeds: list[OutputSeeds]
    method: str
    taught: Taught
    size_ratio: Number
    macs_ratio: Number
    speedup: Speedup
    accuracy_ladder: dict[str, OutputLadderStep]
    int8_gate: OutputGate
    ptq: PtqRecord | None = None
    decisions: DecisionFigures | None = None
    """How answers are made, where the task has thresholds."""
    fp16_findings: list[Fp16Finding]
    target: ReportTarget
    devices: list[ReportDevice]
    device: ReportDevice | None
    published: Published
    predicted: Predicted | None
    int8: Int8Verdict | None = None
    preflight: Preflight
    proof: StudentProof
    typed: list[TypedFile] = []
    histories: OutputHistories
    data: ReportData
    cost: dict[str, Number | str]
    trained_before: dict[str, Number] = {}
    running_cost: RunningCost | None
    provenance: ReportProvenance

    def network(self, name: str) -> OutputReportNetwork:
        """`teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]


AnyReport = ReportFigures | OutputReportFigures
"""Whatever the student answers with."""


class OutputReportRecord(OutputReportFigures):
    """The figures, and what follows from them."""

    status: Status
    verdict: Verdict
    absent: list[Absent]
    warnings: list[str]
    advice: list[Advice] = []
