"""`edgedistill sweep` on a finished run: grid, resume, pruning, refusal, the best recipe."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
import tomllib

import pytest

from edgedistill.errors import RecipeError
from edgedistill.pipeline.sweep import Sweep
from edgedistill.pipeline.sweep_axes import axes_from_text
from edgedistill.pipeline.sweep_trials import Trials
from edgedistill.progress.reporter import Talk
from edgedistill.records.sweep import SweepRecord
from edgedistill.records.training import Epoch
from end_to_end import ROOT, command_words, edgedistill

pytestmark = pytest.mark.slow

OVER = ("--over", "distill.temperature=1,4", "distill.kd_weight=0.5,0.9")


@pytest.fixture
def run(finished_run, tmp_path):
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    return tmp_path / "r"


def sweep(finished_run, run, *words, check=True):
    return edgedistill("sweep", finished_run / "r.toml", "--run-dir", run, *words, cwd=run, check=check)


def test_a_grid_is_trained_once_and_the_best_recipe_runs(finished_run, run):
    before = (run / "logits" / "shard-00000.npy").stat().st_mtime_ns
    done = sweep(finished_run, run, *OVER)
    assert "best.toml" in done.stdout
    assert (run / "logits" / "shard-00000.npy").stat().st_mtime_ns == before
    result = json.loads((run / "sweep" / "sweep.json").read_text())
    assert len(result["trials"]) == 4
    complete = [row for row in [result["own"], *result["trials"]] if row["state"] == "complete"]
    assert result["best"] == max(complete, key=lambda row: row["value"]), "of equal ones the recipe as it is"
    assert result["own"]["settings"] == {}, "2.0 and 0.9 are no pair of the grid"
    assert all(len(row["against_own_points"]) == 2 for row in complete[1:])
    assert "trial 2 of 4: temperature 1, kd_weight 0.9: " in done.stderr
    assert " left\n" in done.stderr
    assert "your recipe: " not in done.stderr, "the run has it: it is not trained again"
    assert " your recipe beyond chance: the best is " in done.stdout
    with open(run / "sweep" / "table.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 5
    assert (run / "sweep" / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    best = tomllib.loads((run / "sweep" / "best.toml").read_text())
    assert best["distill"]["temperature"] == result["best"]["settings"].get("distill.temperature", 2.0)
    again = sweep(finished_run, run, *OVER)
    assert again.stderr.count("done already") == 4
    followed = edgedistill("distill", run / "sweep" / "best.toml", "--run-dir", run, cwd=run)
    assert "] logits: up to date" in followed.stderr


def test_a_trial_is_the_stages_own_training(finished_run, run):
    """Same settings, same bits as `edgedistill distill`; the run's own student is taken, or trained if it is gone."""
    taken = sweep(finished_run, run, "--over", "distill.temperature=2.0")
    assert "trial 1 of 1: temperature 2.0: done already" in taken.stderr
    first = (run / "sweep" / "sweep.json").read_bytes()
    shutil.move(run / "distill", run / "kept")
    shutil.rmtree(run / "sweep")
    sweep(finished_run, run, "--over", "distill.temperature=2.0")
    assert (run / "sweep" / "sweep.json").read_bytes() == first
    (trial,) = (run / "sweep" / "trials").iterdir()
    ours, theirs = (folder / "weights.safetensors" for folder in (trial, run / "kept"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_killed_and_run_again_it_finishes(finished_run, run):
    command = [*command_words(), "sweep", str(finished_run / "r.toml"), "--run-dir", str(run), *OVER]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    # The recipe's own student is one of the two.
    while len(list(run.glob("sweep/trials/*/trial.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before the kill"
    done = sweep(finished_run, run, *OVER)
    assert 1 <= done.stderr.count("done already") <= 3, "some trials were lost, not all and not none"
    assert len(json.loads((run / "sweep" / "sweep.json").read_text())["trials"]) == 4


def test_a_hopeless_trial_is_pruned(finished_run, run, monkeypatch):
    """Four trials start the median rule; the fifth's curve lies below it. The curves are drawn."""

    def drawn(self, context, images, subject, told):
        top = 0.2 if context.recipe.distill.peak_lr < 1e-6 else 0.8
        for epoch in range(1, 9):
            accuracy = top * epoch / 8
            told(
                Epoch(
                    epoch=epoch,
                    train_loss=1.0,
                    terms={},
                    lr=1e-3,
                    eval_top1_fraction=accuracy,
                    eval_balanced_accuracy_fraction=accuracy,
                )
            )
        return top, 8, images.labels("val") >= 0

    monkeypatch.setattr(Trials, "_trained", drawn)
    over = {"distill.peak_lr": [3e-3, 4e-3, 5e-3, 6e-3, 1e-9]}
    Sweep(finished_run / "r.toml", [], over, run, Talk(quiet=True)).run(None, None)
    *whole, pruned = json.loads((run / "sweep" / "sweep.json").read_text())["trials"]
    assert [row["state"] for row in whole] == ["complete"] * 4
    assert pruned["state"] == "pruned"
    assert pruned["settings"] == {"distill.peak_lr": 1e-9}
    assert pruned["epochs"] < 8


def test_tpe_tries_as_many_as_asked(finished_run, run):
    sweep(finished_run, run, *OVER, "--trials", "2")
    assert 1 <= len(json.loads((run / "sweep" / "sweep.json").read_text())["trials"]) <= 2


def test_values_keep_their_commas_and_lists_stay_lists(finished_run, tmp_path):
    over = {
        "distill.student_taps": [["blocks.1", "blocks.3"], ["blocks.2", "blocks.4"]],
        "student.weights": ["scratch", "mine, the second.safetensors"],
    }
    text = [
        'distill.student_taps=["blocks.1", "blocks.3"], ["blocks.2", "blocks.4"]',
        'student.weights="scratch", "mine, the second.safetensors"',
    ]
    assert axes_from_text(text) == over
    assert axes_from_text(["distill.loss=kd, dist", "distill.epochs=1,2"]) == {
        "distill.loss": ["kd", "dist"],
        "distill.epochs": [1, 2],
    }
    (tmp_path / "r.toml").write_text((finished_run / "r.toml").read_text())
    made = Sweep(tmp_path / "r.toml", [], over, tmp_path / "r", Talk(quiet=True))
    recipes = [made.recipe_of(settings) for settings in made.grid]
    assert [(recipe.distill.student_taps, recipe.student.weights) for recipe in recipes] == [
        (tuple(taps), weights)
        for taps in over["distill.student_taps"]
        for weights in ("scratch", str(tmp_path / "mine, the second.safetensors"))
    ]
    (tmp_path / "r.toml").write_text((finished_run / "r.toml").read_text().replace("crop_fraction = 1.0", ""))
    with pytest.raises(RecipeError, match="mobilenetv3_small_050 from 37 px, tf_efficientnet_lite1 from 36 px"):
        Sweep(tmp_path / "r.toml", [], {"student.model": ["tf_efficientnet_lite1"]}, tmp_path / "r", Talk(True))
    for wrong in ("kd", [], None):
        with pytest.raises(RecipeError, match="distill.loss: expected a list of values to try, got"):
            Sweep(tmp_path / "r.toml", [], {"distill.loss": wrong}, tmp_path / "r", Talk(quiet=True))


def test_students_on_one_teacher_lists_and_another_grid_in_the_same_folder(finished_run, run, monkeypatch):
    """Optuna refuses other values of a key, and lists, in one study; the curves are drawn."""

    epoch = Epoch(
        epoch=1, train_loss=1.0, terms={}, lr=0.1, eval_top1_fraction=0.5, eval_balanced_accuracy_fraction=0.5
    )

    def drawn(self, context, images, subject, on_epoch):
        on_epoch(epoch)
        return 0.5 + len(context.recipe.distill.student_taps) / 10, 1, images.labels("val") >= 0

    monkeypatch.setattr(Trials, "_trained", drawn)
    before = (run / "data" / "data.json").read_bytes()

    def sweep(over):
        made = Sweep(finished_run / "r.toml", [], over, run, Talk(quiet=True))
        result = made.run(None, None).to_json()
        written = (run / "sweep" / "sweep.json").read_text(encoding="utf-8")
        assert written == json.dumps(result, indent=1) + "\n"
        assert SweepRecord.from_json(json.loads(written), "sweep.json").to_json() == result
        return result

    found = sweep({"student.model": ["mobilenetv3_small_050", "lcnet_035"]})
    assert {row["model"]: row["parameters"] > 1e5 for row in found["trials"]} == {
        "mobilenetv3_small_050": True,
        "lcnet_035": True,
    }
    assert (run / "data" / "data.json").read_bytes() == before, "the images were decoded again"
    assert len(sweep({"student.model": ["lcnet_035", "lcnet_050"]})["trials"]) == 3
    found = sweep({"distill.student_taps": [[], ["blocks.1"]], "distill.teacher_taps": [[], ["layer1"]]})
    assert found["best"]["value"] == 0.6
    assert len(found["trials"]) == 6, "without taps, the trial is the one that the first sweep made"
    other = json.loads((run / "teacher" / "teacher.json").read_text())
    other["artifact"]["digest"] = "0" * 64
    (run / "teacher" / "teacher.json").write_text(json.dumps(other))
    assert [row["settings"] for row in sweep({"distill.temperature": [2.0]})["trials"]] == [
        {"distill.temperature": 2.0}
    ], "trials of another teacher"


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("distill.views=1,2", "the stage 'logits' depends on distill.views"),
        ("teacher.epochs=1,2", "expected a key of [distill], student.model or student.weights"),
        ("distill.temperature", "expected section.key=a,b,c"),
        ("distill.temperature= []", "distill.temperature: input should be a valid number, got []"),
        ("student.model=mobilenetv3_small_050,resnet50", "'resnet50' is not a student family"),
        ("distill.temperature=0,1", "distill.temperature"),
        ("distill.temprature=1,2", "did you mean 'temperature'"),
    ],
)
def test_what_cannot_be_swept_is_one_line(finished_run, run, over, said):
    done = sweep(finished_run, run, "--over", over, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
