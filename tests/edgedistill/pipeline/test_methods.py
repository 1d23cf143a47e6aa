"""Ensemble, chain, generations, seeds and losses, each as a user runs it."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from end_to_end import RECIPE, edgedistill, write_images, write_project

pytestmark = pytest.mark.slow

PLAIN = ("--set", "distill.feature_weight=0.0")
ONE_EPOCH = ("--set", "teacher.epochs=1", "--set", "distill.epochs=1", "--set", "distill.views=1")
SECOND_TEACHER = 'distill.teachers=[{model = "test_byobnet", weights = "scratch"}]'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("methods"), per_class=30)


def evaluated(place, *words):
    done = edgedistill("evaluate", "r.toml", *PLAIN, *ONE_EPOCH, *words, cwd=place)
    return done, json.loads((place / "runs/r/evaluate/evaluate.json").read_text())


def test_an_ensemble_teaches_with_the_mean_of_its_logits(place):
    _, found = evaluated(place, "--set", "distill.method=ensemble", "--set", SECOND_TEACHER)
    assert [link["model"] for link in found["links"]] == ["test_byobnet", "mean of the ensemble"]
    run = place / "runs" / "r"
    assist = json.loads((run / "assist/assist.json").read_text())
    assert len(assist["belongs_to"]) == 2
    mean, first, second = (
        np.load(run / folder / "shard-00000.npy")["logits"].astype(np.float32)
        for folder in ("assist/cache", "logits", "assist/cache-1")
    )
    assert np.abs(mean - (first + second) / 2).max() <= 2e-3 * np.abs(mean).max()
    assert not np.array_equal(first, second)


def test_a_chain_chooses_its_assistant_by_size(place):
    _, found = evaluated(place, "--set", "distill.method=progressive", "--set", "teacher.model=resnet10t")
    (link,) = found["links"]
    student = load_file(place / "runs/r/distill/weights.safetensors")
    smallest = sum(v.size for k, v in student.items() if "running" not in k and "num_" not in k)
    assert smallest < link["parameters"] < 4.9e6


def test_generations_follow_each_other_and_the_teacher_is_the_student(place):
    done, found = evaluated(place, "--set", "distill.method=self", "--set", "distill.generations=3")
    assert [link["model"] for link in found["links"]] == ["mobilenetv3_small_050"] * 2
    teacher = json.loads((place / "runs/r/teacher/teacher.json").read_text())
    assert teacher["model"] == "mobilenetv3_small_050"
    folder = place / "runs/r/assist"
    first, second = (load_file(folder / f"weights-{n}.safetensors") for n in (1, 2))
    assert any(not np.array_equal(first[key], second[key]) for key in first)


def test_seeds_train_both_networks_and_the_first_is_the_single_run(place):
    _, one = evaluated(place, "--set", "distill.loss=wttm")
    single = (place / "runs/r/distill/weights.safetensors").read_bytes()
    _, two = evaluated(place, "--set", "distill.loss=wttm", "--seeds", "2")
    assert (place / "runs/r/distill/weights.safetensors").read_bytes() == single
    assert [row["seed"] for row in two["seeds"]] == [0, 1]
    assert two["seeds"][0] == one["seeds"][0]
    other = (place / "runs/r/distill/weights-1.safetensors").read_bytes()
    assert other != single


@pytest.fixture(scope="module")
def cached(place):
    """Words of `distill` on a cached teacher, and when that cache was written."""
    words = ("r.toml", *PLAIN, "--run-dir", "runs/losses", "--set", "teacher.epochs=4")  # 2 teach next to nothing
    edgedistill("logits", *words, cwd=place)
    return words, (place / "runs/losses/logits/shard-00000.npy").stat().st_mtime_ns


@pytest.mark.parametrize(
    "setting",
    [
        "distill.loss=dkd",
        "distill.loss=dist",
        "distill.loss=mse",
        "distill.standardise=true",
        "distill.kd_weight=1.0",
    ],
)
def test_every_loss_trains_and_keeps_the_teachers_cache(place, cached, setting):
    words, written = cached
    edgedistill("distill", *words, "--set", setting, cwd=place)
    assert (place / "runs/losses/logits/shard-00000.npy").stat().st_mtime_ns == written
    history = json.loads((place / "runs/losses/distill/distill.json").read_text())["history"]
    assert history[-1]["terms"]["kd"] < history[0]["terms"]["kd"]
    assert ("label" in history[0]["terms"]) == (setting != "distill.kd_weight=1.0")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("distill.method=ensemble", "needs distill.teachers"),
        ('distill.assistants=[{model="resnet18"}]', "is for distill.method = 'progressive'"),
    ],
)
def test_methods_say_what_they_need(place, setting, said):
    done = edgedistill("evaluate", "r.toml", "--set", setting, cwd=place, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_the_method_does_not_have_is_named(place):
    done = edgedistill("assist", "r.toml", cwd=place, check=False)
    assert done.returncode == 1
    assert "distill.method = 'kd' and" in done.stderr
    assert "has no stage 'assist'; it has: data, teacher" in done.stderr


def test_standardised_logits_of_two_classes_are_refused(tmp_path):
    write_images(tmp_path / "images", per_class=20, kinds=("disc", "stripes"))
    (tmp_path / "r.toml").write_text(RECIPE)
    done = edgedistill("distill", "r.toml", *PLAIN, "--set", "distill.standardise=true", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "distill.loss = 'kd':" in done.stderr
    assert "standardising needs 3 classes" in done.stderr


def test_no_assistant_between_neighbours_is_said():
    from edgedistill.config.training import StudentConfig
    from edgedistill.errors import RecipeError
    from edgedistill.models.assistants import choose_assistants

    with pytest.raises(RecipeError, match="no assistant lies between"):
        choose_assistants("mobilenetv3_small_100", StudentConfig(), 3)
    far = choose_assistants("resnet152", StudentConfig(model="mobilenetv3_small_050"), 3)
    assert len(far) == 2
