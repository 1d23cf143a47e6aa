"""Each guard speaks on the figures it is for, with a command, and is silent on good ones."""

import copy

import numpy as np
import pytest

from edgedistill.config import Recipe
from edgedistill.measure import calibration_error
from edgedistill.report.guards import guards_of
from edgedistill.report.uncertainty import over_seeds


def net(top1, parameters=1e6, recall=0.9, error=0.02):
    figures = {"top1_fraction": top1, "balanced_accuracy_fraction": top1,
               "per_class_recall": {"a": 0.9, "b": recall}, "calibration_error": error}  # fmt: skip
    row = {"epoch": 1, "train_loss": 1.0, "terms": {"kd": 0.5, "feature": 1.0},
           "eval_top1_fraction": top1, "eval_balanced_accuracy_fraction": top1}  # fmt: skip
    return {"validation": figures, "parameters": parameters, "epochs": 5, "history": [row]}


GOOD = {
    "teacher": net(0.95, 2e7),
    "baseline": net(0.85),
    "distill": {**net(0.9), "teacher_top_probability": 0.8},
}


def recipe(**distill):
    return Recipe.model_validate({"data": {"train": "x"}, "distill": distill})


def test_good_figures_raise_nothing():
    assert guards_of(GOOD, recipe()) == []


@pytest.mark.parametrize(("change", "settings", "said"), [
    (("teacher", net(0.8, 2e7)), {}, "not better than the student"),
    (("teacher", net(0.95, 2e7, error=0.3)), {}, "poorly calibrated"),
    (("teacher", net(0.95, 2e7, recall=0.3)), {}, "recall of b: 0.30"),
    (("teacher", net(0.95, 2e8)), {}, "distill.method=progressive"),
    (("distill", {**net(0.9), "teacher_top_probability": 0.999}), {}, "as hard as the labels"),
    (("distill", {**net(0.9), "teacher_top_probability": 0.51}), {}, "say little"),
    (("distill", net(0.9)), {"feature_weight": 0.8}, "distill.feature_weight=0.08"),
])  # fmt: skip
def test_each_guard_speaks_alone(change, settings, said):
    stages = {**copy.deepcopy(GOOD), change[0]: change[1]}
    (line,) = guards_of(stages, recipe(**settings))
    assert said in line
    assert "edgedistill" in line


def test_a_student_that_fell_from_its_best_is_overfitting():
    stages = copy.deepcopy(GOOD)
    last = stages["distill"]["history"][0]
    stages["distill"]["history"] = [{**last, "eval_top1_fraction": 0.97}, last]
    (line,) = guards_of(stages, recipe())
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
    def rows(pairs):
        return [{"baseline": {"m": b}, "student": {"m": s}} for b, s in pairs]

    none = over_seeds(rows([(0.80, 0.81), (0.86, 0.85), (0.83, 0.84)]), "m")
    assert not none["shown"]
    assert "no gain shown" in none["sentence"]
    some = over_seeds(rows([(0.80, 0.90), (0.81, 0.92), (0.82, 0.91)]), "m")
    assert some["shown"]
    assert some["gain"]["mean_points"] == pytest.approx(10)
    assert some["baseline"]["sd_points"] == pytest.approx(1)
    assert over_seeds(rows([(0.8, 0.9)]), "m")["shown"] is None
