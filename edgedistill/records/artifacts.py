"""Which record a stage's JSON is."""

from __future__ import annotations

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, TASKS, Task
from edgedistill.records.base import ArtifactRecord
from edgedistill.records.bundle import BundleRecord
from edgedistill.records.data import DataRecord
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.deployment import DeployRecord
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.outputs import (
    OutputBaselineRecord,
    OutputDistillRecord,
    OutputEpoch,
    OutputEvaluationRecord,
    OutputNetwork,
    OutputQuantizationRecord,
    OutputSeedRun,
    OutputTeacherRecord,
)
from edgedistill.records.pool_curve import CurveRecord
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.report import ReportRecord
from edgedistill.records.training import (
    AssistRecord,
    BaselineRecord,
    DistillRecord,
    Epoch,
    EpochRow,
    LogitsRecord,
    ScheduleRecord,
    SeedRun,
    SynthesisRecord,
    TeacherRecord,
    TrainedNetwork,
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
_OF_VECTORS: tuple[type[ArtifactRecord], ...] = (
    OutputTeacherRecord,
    OutputBaselineRecord,
    OutputDistillRecord,
    OutputEvaluationRecord,
    OutputQuantizationRecord,
    OutputReportRecord,
)
_OF_TASK: dict[tuple[str, str], type[ArtifactRecord]] = {
    **{(kind.stage, EMBEDDING.name): kind for kind in (EmbeddingEvaluationRecord, GalleryRecord)},
    **{(kind.stage, task.name): kind for task in TASKS if task.vectors for kind in _OF_VECTORS},
}


def artifact_kind(stage: str, task: Task = CLASSIFICATION) -> type[ArtifactRecord]:
    """The record of a stage.

    Args:
        stage: a key of ARTIFACTS.
        task: of the recipe's student.
    """
    return _OF_TASK.get((stage, task.name), ARTIFACTS[stage])


def network_kind(task: Task) -> type[TrainedNetwork]:
    """What is noted of one training."""
    return OutputNetwork if task.vectors else TrainedNetwork


def epoch_kind(task: Task) -> type[EpochRow]:
    """A row of its history."""
    return OutputEpoch if task.vectors else Epoch


def seed_kind(task: Task) -> type[SeedRun]:
    """What is noted of one of several trainings."""
    return OutputSeedRun if task.vectors else SeedRun
