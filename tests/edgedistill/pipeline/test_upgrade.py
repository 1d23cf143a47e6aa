"""A run folder that an earlier release left (tests/upgrade) is read, reported and compared by this one."""

import json
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgedistill.cli.main import main
from edgedistill.config.recipe import Recipe
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import Wanted, _Deployment
from edgedistill.deployment.request import bundle_in
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.plan import inputs_of
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.table import stages_of, stages_read
from edgedistill.progress.reporter import Talk
from edgedistill.records.base import ArtifactStamp
from edgedistill.records.decision import DecisionRecord
from edgedistill.stages import report
from edgedistill_device.manifest import read_manifest
from record_factories import record_with

NEW_STAGES = {"decide"}
RUN = Path(__file__).parents[2] / "upgrade" / "earlier_release.tar.xz"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upgrade")
    with tarfile.open(RUN) as tar:
        tar.extractall(folder, filter="data")
    return folder / "run"


@pytest.fixture(scope="module")
def recipe(run):
    """As it was validated then; a key that came later has its default."""
    return Recipe.model_validate(json.loads((run / "recipe.json").read_text()))


def test_no_stage_is_redone_but_for_a_newer_version_of_its_code(run, recipe):
    """A new key in a recipe must not make a finished run stale; a new stage is done, and what reads it."""
    reasons, redone = {}, []
    with RunFolder(run) as opened:
        images = opened.artifact("data")["artifact"]["inputs"]["source files"]  # they are not there any more
        for stage in stages_of(recipe):
            if stage.name in NEW_STAGES or NEW_STAGES & set(stages_read(stage, recipe)):
                redone.append(stage.name)
                continue
            inputs = inputs_of(stage, recipe, opened, lambda: images)
            if opened.stamp(stage.name).inputs["stage version"] == stage.version:
                reasons[stage.name] = opened.why_stale(stage.name, inputs)
    assert {name: why for name, why in reasons.items() if why} == {}
    assert redone == ["decide", "bundle", "report"]


@pytest.mark.slow
def test_the_report_of_its_artifacts_says_the_same(run, recipe, tmp_path):
    """All that was measured; how the page words it may change. What is new has no figures here."""
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "decide").mkdir()
    stamp = record_with(ArtifactStamp, {}).to_json()
    plain = {"temperature": 1.0, "thresholds": [], "unknown_below": None}
    new = record_with(DecisionRecord, {"board": {"fp32": plain}, "artifact": stamp})
    (copy / "decide" / "decide.json").write_text(json.dumps(new.to_json()))
    with RunFolder(copy) as opened:
        found = report.run(StageContext("report", recipe, opened, tmp_path, Talk(quiet=True))).values
    stored = json.loads((run / "report" / "report.json").read_text())
    assert found["data"].pop("name") == "images"  # reports of before had none
    for key in ("student", "teacher", "baseline", "gain", "ladder", "data"):
        assert key not in stored or found[key] == stored[key], key
    assert found.keys() >= stored.keys() - {"artifact"}
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_it_is_compared(run, tmp_path, capsys):
    assert main(["compare", str(run), str(run / "report" / "report.json"), "--out", str(tmp_path / "c.html")]) == 0
    assert (tmp_path / "c.html").exists()
    assert str(run.parent) not in capsys.readouterr().err


def test_its_weights_are_read(run, recipe):
    for stage, model in (("teacher", recipe.teacher.model), ("distill", recipe.student.model)):
        _, about = load_weights(run / stage / "weights.safetensors")
        assert about["model"] == model


def test_its_bundle_is_whole(run):
    bundle = bundle_in(run)
    assert bundle == run / "bundle" / "bundle"
    assert read_manifest(str(bundle)).model == "mobilenetv3_small_050"


def test_the_record_of_its_deployment_is_believed(run):
    """A rerun of `deploy` does not do again what was done before the upgrade."""
    path = run / "deployments" / "board.json"
    stored = json.loads(path.read_text())["key"]
    board = Board(SimpleNamespace(name=stored["host"]), stored["root"], "python3", print)
    deployment = _Deployment(board, SimpleNamespace(id=stored["id"]), Wanted(), path, Talk(quiet=True))
    assert set(deployment._steps.given()) >= {"build", "verify", "bench"}
