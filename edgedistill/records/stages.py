"""All that a report is made from: the record of every stage before it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from edgedistill.records.base import ArtifactRecord, ArtifactStamp
from edgedistill.records.bundle import BundleRecord
from edgedistill.records.data import DataRecord
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.training import (
    AssistRecord,
    BaselineRecord,
    DistillRecord,
    LogitsRecord,
    SynthesisRecord,
    TeacherRecord,
)


@dataclass(frozen=True)
class StageRecords:
    """By the name of the stage, in the order of the pipeline; None where the recipe has no such stage.

    Attributes:
        deploy: the JSON of the stage, which has no record yet.
    """

    data: DataRecord
    teacher: TeacherRecord
    synthesise: SynthesisRecord | None
    logits: LogitsRecord
    baseline: BaselineRecord
    assist: AssistRecord | None
    distill: DistillRecord
    evaluate: EvaluationRecord
    export: ExportRecord
    quantize: QuantizationRecord
    bundle: BundleRecord
    deploy: dict[str, Any]

    def stamps(self) -> dict[str, ArtifactStamp]:
        """Stage -> what the run folder noted of its artifact, of the stages that there are."""
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _stamp(record) for name, record in stored.items() if record is not None}


def _stamp(record: ArtifactRecord | dict[str, Any]) -> ArtifactStamp:
    return record.stamp if isinstance(record, ArtifactRecord) else ArtifactStamp.model_validate(record["artifact"])
