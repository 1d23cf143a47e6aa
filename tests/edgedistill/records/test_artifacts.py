"""The JSON of a stage comes back from its record byte for byte: of an earlier release's run, and of one made now."""

import json
import tarfile
from pathlib import Path

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.config.task import EMBEDDING
from edgedistill.errors import RunFolderError
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.table import STAGES, stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.artifacts import ARTIFACTS, artifact_kind
from edgedistill.records.data import DataRecord
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.training import TeacherRecord

LEFT = Path(__file__).parents[2] / "upgrade" / "earlier_release.tar.xz"
OPTIONAL = {"schedule", "synthesise", "assist", "curve"}  # stages that the stored and the finished run have not


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    folder = tmp_path_factory.mktemp("left")
    with tarfile.open(LEFT) as tar:
        tar.extractall(folder, filter="data")
    return folder / "run"


def checked(run: Path) -> set[str]:
    """Names of the stages whose JSON came back the same."""
    found = set()
    for stage, kind in ARTIFACTS.items():
        path = run / stage / f"{stage}.json"
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        record = kind.from_json(json.loads(text), str(path))
        assert json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n" == text
        values = {key: value for key, value in json.loads(text).items() if key != "artifact"}
        assert json.dumps(record.values()) == json.dumps(values)
        found.add(stage)
    return found


def test_every_stage_has_a_record():
    assert {stage.name for stage in STAGES} == ARTIFACTS.keys()
    assert artifact_kind("evaluate") is EvaluationRecord
    assert artifact_kind("evaluate", EMBEDDING) is EmbeddingEvaluationRecord
    assert artifact_kind("decide", EMBEDDING) is GalleryRecord


def test_the_run_of_an_earlier_release_comes_back_byte_for_byte(left):
    assert checked(left) == ARTIFACTS.keys() - OPTIONAL - {"decide"}  # which it did not have


def test_a_run_made_now_comes_back_byte_for_byte(finished_run):
    assert checked(finished_run / "runs" / "r") == ARTIFACTS.keys() - OPTIONAL


def test_a_stage_reads_what_its_row_declares_and_nothing_else(left, tmp_path):
    context = StageContext(
        "export",
        recipe_from_table({"data": {"train": "x"}}, "r"),
        RunFolder(left, lock=False),
        tmp_path,
        Talk(quiet=True),
    )
    assert context.read(DataRecord).classes == ["disc", "square", "stripes"]
    assert "evaluate" not in stage_named("export").reads
    for read in (lambda: context.read(EvaluationRecord), lambda: context.values("evaluate")):
        with pytest.raises(ValueError, match="'export' reads the artifact of 'evaluate', but its row"):
            read()
    with pytest.raises(ValueError, match="'export' reads the artifact of 'evaluate', but its row"):
        context.file("evaluate", "test_logits.npz")
    assert context.file("export", "student.onnx") == left / "export" / "student.onnx"


def test_an_artifact_that_is_not_there_or_of_a_newer_release_is_refused(left, tmp_path):
    with RunFolder(tmp_path) as run:
        with pytest.raises(RunFolderError, match="run `edgedistill teacher RECIPE` first"):
            run.read(TeacherRecord)
        values = json.loads((left / "export" / "export.json").read_text())
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "export.json").write_text(json.dumps(values | {"later": 1}))
        with pytest.raises(
            RunFolderError, match=r"export\.json: has the key 'later', which this release does not know"
        ):
            run.read(ExportRecord)
