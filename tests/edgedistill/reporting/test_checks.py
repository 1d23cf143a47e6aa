"""Each guard speaks on the figures it is for, with a command, and is silent on good ones."""

import copy

import numpy as np
import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.evaluation.classification import calibration_error
from edgedistill.evaluation.intervals import over_seeds
from edgedistill.reporting.checks import guards_of
from edgedistill.reporting.commands import Command
from record_factories import records_of


def net(top1, parameters=1e6, recall=0.9, error=0.02):
    figures = {
        "images": 200,
        "top1_fraction": top1,
        "balanced_accuracy_fraction": top1,
        "per_class_recall": {"a": 0.9, "b": recall},
        "calibration_error": error,
    }
    row = {
        "epoch": 1,
        "train_loss": 1.0,
        "terms": {"kd": 0.5, "feature": 1.0},
        "eval_top1_fraction": top1,
        "eval_balanced_accuracy_fraction": top1,
    }
    return {"validation": figures, "parameters": int(parameters), "epochs": 5, "history": [row]}


GOOD = {
    "teacher": net(0.95, 2e7),
    "baseline": net(0.85),
    "distill": {**net(0.9), "teacher_top_probability": 0.8},
}


def recipe(**distill):
    return Recipe.model_validate({"data": {"train": "x"}, "distill": distill})


def test_good_figures_raise_nothing():
    assert guards_of(records_of(GOOD), recipe()) == []


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (("teacher", net(0.8, 2e7)), {}, "not better than the student"),
        (("teacher", net(0.95, 2e7, error=0.3)), {}, "poorly calibrated"),
        (("teacher", net(0.95, 2e7, recall=0.3)), {}, "recall of b: 0.30"),
        (("teacher", net(0.95, 2e8)), {}, "distill.method=progressive"),
        (("distill", {**net(0.9), "teacher_top_probability": 0.999}), {}, "almost hard labels"),
        (("distill", {**net(0.9), "teacher_top_probability": 0.51}), {}, "carry little information"),
        (("distill", net(0.9)), {"feature_weight": 0.8}, "distill.feature_weight=0.08"),
    ],
)
def test_each_guard_speaks_alone(change, settings, said):
    stages = {**copy.deepcopy(GOOD), change[0]: change[1]}
    (line,) = guards_of(records_of(stages), recipe(**settings))
    assert said in line
    assert "edgedistill" in line


def test_a_student_that_fell_from_its_best_is_overfitting():
    stages = copy.deepcopy(GOOD)
    last = stages["distill"]["history"][0]
    stages["distill"]["history"] = [{**last, "eval_top1_fraction": 0.97}, last]
    (line,) = guards_of(records_of(stages), recipe())
    assert "fell from 97.0% (epoch 1) to 90.0%" in line


def test_calibration_error_against_a_loop(rng):
    logits, labels = rng.normal(size=(200, 4)) * 3, rng.integers(0, 4, 200)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    top, hit = p.max(axis=1), p.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (top >= low) & (top < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - top[inside].mean())
    assert calibration_error(logits, labels) == pytest.approx(expected, rel=1e-9)


def test_a_gain_within_the_spread_is_not_called_one():
    none = over_seeds([0.80, 0.86, 0.83], [0.81, 0.85, 0.84])
    assert not none["shown"]
    assert "no gain shown" in none["sentence"]
    some = over_seeds([0.80, 0.81, 0.82], [0.90, 0.92, 0.91])
    assert some["shown"]
    assert some["gain"]["mean_points"] == pytest.approx(10)
    assert some["baseline"]["sd_points"] == pytest.approx(1)
    assert over_seeds([0.8], [0.9])["shown"] is None


def curved(values, steps=100, loss=None, top1=None, images=1000):
    made = net(values[-1] if top1 is None else top1)
    row = made["history"][0]
    made["history"] = [
        {
            **row,
            "epoch": epoch,
            "eval_top1_fraction": value,
            "eval_balanced_accuracy_fraction": value,
            "eval_loss": loss,
        }
        for epoch, value in enumerate(values, start=1)
    ]
    made["validation"]["images"] = images
    return {**made, "steps": steps, "epochs": len(values)}


RISING = [0.5, 0.55, 0.6, 0.65, 0.7, 0.74, 0.78, 0.82, 0.86, 0.9]
FLAT = [0.5, 0.6, 0.7, 0.8, 0.85, 0.88, 0.9, 0.9, 0.91, 0.9]


@pytest.mark.parametrize(
    ("stage", "name", "key"),
    [
        ("teacher", "teacher", "teacher.min_steps=200"),
        ("baseline", "baseline", "distill.min_steps=200"),
        ("distill", "student", "distill.min_steps=200"),
    ],
)
def test_a_curve_that_still_rises_at_the_end_is_not_trained_yet(stage, name, key):
    stages = {**copy.deepcopy(GOOD), "teacher": net(0.95, 2e7)}
    stages[stage] = {**curved(RISING), "parameters": stages[stage]["parameters"]}
    lines = [line for line in guards_of(records_of(stages), recipe()) if "not trained yet" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"The {name} is not trained yet: after 100 steps its validation curve still rises")
    assert f"--set {key}" in lines[0]
    stages[stage] = {**curved(FLAT), "parameters": stages[stage]["parameters"]}
    assert not [line for line in guards_of(records_of(stages), recipe()) if "not trained yet" in line]


def test_a_training_of_few_epochs_that_still_rises_is_seen_too():
    stages = {**copy.deepcopy(GOOD), "teacher": {**curved([0.4, 0.6, 0.92], steps=6), "parameters": int(2e7)}}
    (line,) = guards_of(records_of(stages), recipe())
    assert line.startswith("The teacher is not trained yet: after 6 steps its validation curve still rises")


def test_a_rise_within_the_noise_of_few_validation_images_is_none():
    wobbling = [0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.68, 0.66, 0.72, 0.74]
    stages = {**copy.deepcopy(GOOD), "distill": curved(wobbling, images=30)}
    assert not [line for line in guards_of(records_of(stages), recipe()) if "not trained yet" in line]


def test_a_loss_near_that_of_a_guess_is_not_trained_yet():
    guessing = curved([0.51, 0.5, 0.52, 0.5, 0.51], steps=560, loss=0.69, top1=0.51)
    stages = {**copy.deepcopy(GOOD), "distill": guessing}
    (line,) = [line for line in guards_of(records_of(stages), recipe()) if "not trained yet" in line]
    assert "after 560 steps its validation loss is 0.69, that of a guess is 0.69" in line
    sure = curved([0.9] * 5, loss=0.9, top1=0.9)  # a high loss of one that is right is overconfidence
    assert not [
        line for line in guards_of(records_of({**stages, "distill": sure}), recipe()) if "not trained yet" in line
    ]


def test_what_is_set_is_not_advised_again():
    weak = {**copy.deepcopy(GOOD), "teacher": net(0.95, 2e7, recall=0.3)}
    (line,) = guards_of(records_of(weak), Recipe.model_validate({"data": {"train": "x", "balance": "loss"}}))
    assert "balance" not in line
    fallen = copy.deepcopy(GOOD)
    last = fallen["distill"]["history"][0]
    fallen["distill"]["history"] = [{**last, "eval_top1_fraction": 0.97}, last]
    (line,) = guards_of(records_of(fallen), recipe())
    assert "distill.keep=best" in line
    assert guards_of(records_of(fallen), recipe(keep="best")) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "edgedistill run mine/parts.toml --run-dir here",
            "edgedistill sweep mine/parts.toml --run-dir here --over distill.temperature=8,16",
        ),
        ("edgedistill quickstart", "edgedistill quickstart --set distill.temperature=8"),
    ],
)
def test_commands_are_those_of_this_run(typed, said):
    stages = {**copy.deepcopy(GOOD), "distill": {**net(0.9), "teacher_top_probability": 0.999}}
    (line,) = guards_of(records_of(stages), recipe(), Command(typed))
    assert said in line
    assert "RECIPE.toml" not in line


@pytest.mark.parametrize(("temperature", "other"), [(1.0, "4"), (2.0, "4"), (4.0, "2")])
def test_without_a_recipe_file_another_temperature_is_named_once(temperature, other):
    stages = {**copy.deepcopy(GOOD), "teacher": net(0.95, 2e7, error=0.3)}
    (line,) = guards_of(records_of(stages), recipe(temperature=temperature), Command("edgedistill quickstart"))
    assert line.endswith(f"`edgedistill quickstart --set distill.temperature={other}`.")


def with_feature(share):
    made = net(0.9)
    made["history"][0]["terms"] = {"kd": 0.5, "feature": share / 0.8}  # of a loss of 1, at a weight of 0.8
    return made


def fallen_to(last):
    made = net(last)
    row = made["history"][0]
    made["history"] = [{**row, "eval_top1_fraction": top1} for top1 in (0.9, last)]
    return made


@pytest.mark.parametrize(
    ("stage", "below", "above", "settings"),
    [
        ("teacher", net(0.95, 2e7, error=0.09), net(0.95, 2e7, error=0.11), {}),
        ("teacher", net(0.86, 2e7), net(0.85, 2e7), {}),  # as good as the baseline is not better than it
        ("teacher", net(0.95, 2e7, recall=0.5), net(0.95, 2e7, recall=0.49), {}),
        ("teacher", net(0.95, 9.9e7), net(0.95, 1e8), {}),
        ("distill", {**net(0.9), "teacher_top_probability": 0.99}, {**net(0.9), "teacher_top_probability": 0.991}, {}),
        ("distill", {**net(0.9), "teacher_top_probability": 0.58}, {**net(0.9), "teacher_top_probability": 0.57}, {}),
        ("distill", with_feature(0.49), with_feature(0.51), {"feature_weight": 0.8}),
        ("distill", fallen_to(0.86), fallen_to(0.84), {}),
    ],
)
def test_a_guard_is_silent_up_to_its_limit_and_speaks_beyond_it(stage, below, above, settings):
    for figures, lines in ((below, 0), (above, 1)):
        assert len(guards_of(records_of({**copy.deepcopy(GOOD), stage: figures}), recipe(**settings))) == lines


def test_a_guard_that_the_method_has_no_use_for_is_silent():
    own = {**copy.deepcopy(GOOD), "teacher": net(0.8)}
    assert guards_of(records_of(own), recipe(method="self")) == [], "it is its own teacher"
    sure = {**copy.deepcopy(GOOD), "distill": {**net(0.9), "teacher_top_probability": 0.999}}
    assert guards_of(records_of(sure), recipe(loss="mse")) == [], "no temperature"
