"""teacher.image_px: the teacher sees the student's views enlarged, wherever it is asked."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch.nn.functional import interpolate

from edgedistill.cli.main import main
from edgedistill.config.loading import load_recipe
from edgedistill.models.build import build_model
from edgedistill.models.checkpoints import read_checkpoint
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.runner import plan_run
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import normalised, validation_images
from edgedistill.training.fit import spec_for

pytestmark = pytest.mark.slow

SMALL, LARGE = 32, 64


@pytest.fixture(scope="module")
def keys(finished_run):
    weights = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"
    return (
        f"teacher.weights={weights}",
        f"teacher.image_px={LARGE}",
        "teacher.mode=both",
        "teacher.epochs=1",
        "distill.epochs=1",
        "distill.views=1",
        "run.precision=fp32",  # on every computer, for a comparison to the last digits that float16 keeps
    )


@pytest.fixture(scope="module")
def run_dir(finished_run, keys, tmp_path_factory):
    path = tmp_path_factory.mktemp("larger") / "r"
    words = [word for key in keys for word in ("--set", key)]
    assert main(["run", str(finished_run / "r.toml"), "--run-dir", str(path), *words]) == 0
    return path


@pytest.fixture
def images(finished_run, run_dir, keys):
    recipe = load_recipe(finished_run / "r.toml", keys)
    return open_images(StageContext("logits", recipe, RunFolder(run_dir), run_dir, Talk(quiet=True)))


def by_hand(weights, images, batch):
    """(N, 2) logits of the plain network on pixels that are normalised, then enlarged."""
    model = build_model("test_resnet", len(images.classes)).eval()
    model.load_state_dict(read_checkpoint(weights).state)
    with torch.no_grad():
        pixels = normalised(batch, spec_for("test_resnet", images.recipe))
        return model(interpolate(pixels, size=(LARGE, LARGE), mode="bicubic", align_corners=False)).numpy()


def test_the_cached_answers_are_those_about_enlarged_views(run_dir, images):
    context = StageContext("logits", images.recipe, RunFolder(run_dir), run_dir, Talk(quiet=True))
    batch = taught_images(context, images).batch(np.arange(8), np.zeros(8, np.int64)).images
    assert batch.shape[-1] == SMALL
    teacher = json.loads((run_dir / "teacher" / "teacher.json").read_text())
    files = [run_dir / "teacher" / name for name in ("weights.safetensors", teacher["second"])]
    expected = np.mean([by_hand(file, images, batch) for file in files], axis=0)
    cached = np.load(run_dir / "logits" / "shard-00000.npy")["logits"][:8].astype(np.float32)
    assert cached == pytest.approx(expected, abs=2e-3 * float(np.abs(expected).max()))


def test_it_is_measured_on_enlarged_test_images(run_dir, images):
    frames = np.concatenate(list(validation_images(images.pixels, images.rows("test"))))
    logits = by_hand(run_dir / "teacher" / "weights.safetensors", images, torch.from_numpy(frames).permute(0, 3, 1, 2))
    kept = np.load(run_dir / "evaluate" / "test_logits.npz")["teacher"]
    np.testing.assert_allclose(kept, logits, atol=1e-4)


def test_its_graph_takes_the_students_pixels_and_counts_the_larger_ones(run_dir, finished_run):
    graph = onnx.load(run_dir / "export" / "teacher.onnx").graph
    assert [side.dim_value for side in graph.input[0].type.tensor_type.shape.dim[2:]] == [SMALL, SMALL]
    plain, larger = (
        json.loads((run / "export" / "export.json").read_text()) for run in (finished_run / "runs" / "r", run_dir)
    )
    assert larger["student"]["macs"] == plain["student"]["macs"]
    assert larger["teacher"]["macs"] == pytest.approx((LARGE / SMALL) ** 2 * plain["teacher"]["macs"], rel=0.01)


def test_people_are_told(run_dir):
    told = f"test_resnet on images enlarged to {LARGE} px"
    page = (run_dir / "report" / "report.html").read_text(encoding="utf-8").replace("<wbr>", "")
    card = (run_dir / "bundle" / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"Teacher: {told}." in page
    assert f"test_resnet on the same images enlarged to {LARGE} px" in " ".join(card.split()).replace("\\", "")


def test_only_what_depends_on_the_teacher_is_made_again(finished_run, run_dir, keys):
    def actions(*settings):
        planned = plan_run(load_recipe(finished_run / "r.toml", settings), run_dir, "evaluate")
        return {stage.stage: stage.action for stage in planned}

    assert set(actions(*keys).values()) == {"keep"}
    others = actions(*(key for key in keys if "image_px" not in key))
    assert {name for name, action in others.items() if action == "keep"} == {"data", "baseline"}


def test_weights_that_are_taken_as_they_are_keep_their_size(finished_run, run_dir, tmp_path, capsys):
    weights = run_dir / "teacher" / "weights.safetensors"
    words = ["--run-dir", str(tmp_path / "r"), "--set", f"teacher.weights={weights}", "--set", "teacher.epochs=0"]
    assert main(["teacher", str(finished_run / "r.toml"), *words]) == 1
    assert f"was trained on images enlarged to {LARGE} px" in (told := capsys.readouterr().err)
    setting = told.strip().rpartition(": --set ")[2]
    assert main(["teacher", str(finished_run / "r.toml"), *words, "--set", setting]) == 0
    kept, again = (
        json.loads((run / "teacher" / "teacher.json").read_text())["validation"] for run in (run_dir, tmp_path / "r")
    )
    assert again["top1_fraction"] == kept["top1_fraction"]
