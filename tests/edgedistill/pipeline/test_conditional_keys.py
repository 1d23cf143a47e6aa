"""Keys that an artifact depends on only together with others: they count then, and make no other run stale."""

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.pipeline.table import STAGES, recipe_values

TRAINED = {"teacher", "baseline", "distill", "curve"}
BALANCED = {"metric": "balanced_accuracy_fraction"}


def recipe(data=None, **sections):
    return recipe_from_table({"data": {"train": "x", **(data or {})}, **sections}, "r.toml")


def moved(before, after):
    """Stages that would be done again."""
    names = {stage.name for stage in STAGES if recipe_values(stage, before) != recipe_values(stage, after)}
    return names - {"report"}  # it names the metric


@pytest.mark.parametrize(
    ("sections", "stages"),
    [
        ({}, {"curve"}),
        ({"distill": {"keep": "best"}}, TRAINED | {"assist"}),
        ({"teacher": {"mode": "auto"}}, {"teacher", "assist", "curve"}),
        ({"teacher": {"mode": "both"}}, {"teacher", "assist", "curve"}),
        ({"teacher": {"mode": "probe"}}, {"curve"}),
    ],
)
def test_another_metric_is_another_artifact_where_it_chooses(sections, stages):
    assert moved(recipe(**sections), recipe(BALANCED, **sections)) == stages


@pytest.mark.parametrize(
    ("teacher", "stages"),
    [
        ({"label_smoothing": 0.1}, {"teacher", "assist"}),
        ({}, set()),
        ({"label_smoothing": 0.1, "mode": "probe"}, set()),
        ({"label_smoothing": 0.1, "epochs": 0}, set()),
    ],
)
def test_a_teacher_of_smoothed_and_weighed_labels_is_trained_again(teacher, stages):
    made = recipe({"balance": "loss"}, teacher=teacher)
    named = {stage.name for stage in STAGES if "weighed_smoothing" in recipe_values(stage, made)}
    assert named == stages
    assert not any("weighed_smoothing" in recipe_values(stage, recipe(teacher=teacher)) for stage in STAGES)
