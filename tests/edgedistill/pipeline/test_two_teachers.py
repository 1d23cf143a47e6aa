"""teacher.mode = "both" and teacher.tta: the student learns from the mean of several answers about a view."""

import json

import numpy as np
import pytest
import torch

from edgedistill.cli.main import main
from edgedistill.config.loading import load_recipe, recipe_from_table
from edgedistill.errors import RecipeError
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.plan import Planned
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.runner import plan_run
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import normalised
from edgedistill.training.fit import spec_for


@pytest.fixture(scope="module")
def run_dir(finished_run, tmp_path_factory):
    return tmp_path_factory.mktemp("both") / "r"


@pytest.fixture(scope="module")
def keys(finished_run):
    known = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"  # features that were learnt on these images
    ours = (
        f"teacher.weights={known}",
        "teacher.mode=both",
        "teacher.tta=flip",
        "teacher.epochs=1",
        "teacher.peak_lr=1e-3",
    )
    return (*ours, "distill.epochs=1", "distill.views=1", "run.precision=fp32")  # compared to the last digits


def actions(finished_run, run_dir, *keys):
    planned: tuple[Planned, ...] = plan_run(load_recipe(finished_run / "r.toml", keys), run_dir, "evaluate")
    return {stage.stage: stage.action for stage in planned}


def test_the_cache_holds_the_mean_of_all_answers(finished_run, run_dir, keys):
    words = [word for key in keys for word in ("--set", key)]
    assert main(["evaluate", str(finished_run / "r.toml"), "--run-dir", str(run_dir), *words]) == 0
    teacher = json.loads((run_dir / "teacher" / "teacher.json").read_text())
    files = ["weights.safetensors", teacher["second"]]
    assert sorted(teacher["artifact"]["files"]) == sorted(files)
    recipe = load_recipe(finished_run / "r.toml", keys)
    context = StageContext("logits", recipe, RunFolder(run_dir), run_dir, Talk(quiet=True))
    images = open_images(context)
    taught = taught_images(context, images)
    batch = taught.batch(np.arange(8), np.zeros(8, np.int64)).images
    spec, answers = spec_for(teacher["model"], recipe), []
    for file in files:
        model, _ = load_weights(run_dir / "teacher" / file)
        for view in (batch, torch.from_numpy(batch.numpy()[..., ::-1].copy())):
            with torch.no_grad():
                answers.append(model(normalised(view, spec)).numpy())
    cached = np.load(run_dir / "logits" / "shard-00000.npy")["logits"][:8].astype(np.float32)
    expected = np.mean(answers, axis=0)
    assert cached == pytest.approx(expected, abs=2e-3 * float(np.abs(expected).max()))
    for one in answers:
        assert np.abs(one - expected).max() > 0.01, "each of them says something else"
    tried = teacher["tried"]
    assert teacher["mode"] == ("finetune" if tried["interval"][0] > 0 else "probe")
    assert 0.3 < tried["mean"] <= 1
    evaluated = json.loads((run_dir / "evaluate" / "evaluate.json").read_text())
    other = "probe" if teacher["mode"] == "finetune" else "finetune"
    assert [link["model"] for link in evaluated["links"]] == [f"test_resnet ({other})", "mean of the teacher's answers"]


def test_how_it_is_asked_leaves_the_teacher_and_the_baseline_as_they_are(finished_run, run_dir, keys):
    assert set(actions(finished_run, run_dir, *keys).values()) == {"keep"}
    others = actions(finished_run, run_dir, *(key for key in keys if "tta" not in key))
    assert (others["teacher"], others["baseline"], others["logits"]) == ("keep", "keep", "run")


def test_two_in_one_are_refused_as_a_member_of_an_ensemble():
    table = {"data": {"train": "x"}, "teacher": {"mode": "both"}}
    table["distill"] = {"method": "ensemble", "teachers": [{"model": "resnet18"}]}
    with pytest.raises(RecipeError, match="teacher.mode = 'both' is a mean of two teachers already"):
        recipe_from_table(table, "r.toml")


def test_a_recipe_of_before_is_asked_as_before():
    recipe = recipe_from_table({"data": {"train": "x"}}, "r.toml")
    assert recipe.teacher.answers is None
    assert (
        "tta" not in recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"tta": "flip"})}).teaching
    )
