"""Which record a stage's JSON is."""

from __future__ import annotations

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, Task
from edgedistill.records.base import ArtifactRecord
from edgedistill.records.bundle import BundleRecord
from edgedistill.records.data import DataRecord
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.deployment import DeployRecord
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.pool_curve import CurveRecord
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.report import ReportRecord
from edgedistill.records.training import (
    AssistRecord,
    BaselineRecord,
    DistillRecord,
    LogitsRecord,
    ScheduleRecord,
    SynthesisRecord,
    TeacherRecord,
)

_KINDS: tuple[type[ArtifactRecord], ...] = (
    DataRecord,
    ScheduleRecord,
    TeacherRecord,
    SynthesisRecord,
    LogitsRecord,
    BaselineRecord,
    AssistRecord,
    DistillRecord,
    EvaluationRecord,
    CurveRecord,
    ExportRecord,
    QuantizationRecord,
    DecisionRecord,
    BundleRecord,
    DeployRecord,
    ReportRecord,
)
ARTIFACTS = {kind.stage: kind for kind in _KINDS}
"""Stage name -> its record."""
_OF_TASK: dict[tuple[str, str], type[ArtifactRecord]] = {("evaluate", EMBEDDING.name): EmbeddingEvaluationRecord}


def artifact_kind(stage: str, task: Task = CLASSIFICATION) -> type[ArtifactRecord]:
    """The record of a stage.

    Args:
        stage: a key of ARTIFACTS.
        task: of the recipe's student.
    """
    return _OF_TASK.get((stage, task.name), ARTIFACTS[stage])
