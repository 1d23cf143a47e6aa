"""All that a report is made from: the record of every stage before it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgedistill.records.base import ArtifactStamp
from edgedistill.records.bundle import BundleRecord
from edgedistill.records.data import DataRecord
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.deployment import DeployRecord
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.pool_curve import CurveRecord
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.training import (
    AssistRecord,
    BaselineRecord,
    DistillRecord,
    LogitsRecord,
    ScheduleRecord,
    SynthesisRecord,
    TeacherRecord,
)


@dataclass(frozen=True)
class StageRecords:
    """By the name of the stage, in the order of the pipeline; None where the recipe has no such stage."""

    data: DataRecord
    schedule: ScheduleRecord | None
    teacher: TeacherRecord
    synthesise: SynthesisRecord | None
    logits: LogitsRecord
    baseline: BaselineRecord
    assist: AssistRecord | None
    distill: DistillRecord
    evaluate: EvaluationRecord
    curve: CurveRecord | None
    export: ExportRecord
    quantize: QuantizationRecord
    decide: DecisionRecord | GalleryRecord | None
    bundle: BundleRecord
    deploy: DeployRecord

    def stamps(self) -> dict[str, ArtifactStamp]:
        """Stage -> what the run folder noted of its artifact, of the stages that there are."""
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: record.stamp for name, record in stored.items() if record is not None}
