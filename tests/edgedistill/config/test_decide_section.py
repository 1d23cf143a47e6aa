"""[decide]: what a recipe may promise, and the gate on its class names."""

from types import SimpleNamespace

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import RecipeError
from edgedistill.pipeline.gates import promised_classes_exist


def recipe(**tables):
    return recipe_from_table({"data": {"train": "x"}, **tables}, "r")


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"decide": {"recall": {"a": 1.0}}}, "decide.recall.a"),
        ({"decide": {"recall": {"a": 0.9}, "precision": {"b": 0.9}}}, "take images from each other"),
        ({"decide": {"recall": {"a": 0.9}, "miss_cost": {"b": 3}}}, "decide.miss_cost names 'b', of which"),
        ({"decide": {"recall": {"a": 0.9}, "miss_cost": {"a": 3}}}, "need cost.currency"),
        ({"decide": {"confidence": 0.3}}, "decide.confidence"),
        ({"decide": {"unknown": "others"}}, "decide.unknown needs decide.unknown_coverage"),
    ],
)
def test_what_is_refused_in_one_line(tables, line):
    with pytest.raises(RecipeError) as error:
        recipe(**tables)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_class_that_is_none_is_named_before_anything_is_trained():
    classes = SimpleNamespace(classes=["crack", "dent", "good"])
    promised_classes_exist(recipe(decide={"recall": {"crack": 0.9}}), classes)
    with pytest.raises(RecipeError, match="decide.precision names 'crak', which is no class; did you mean 'crack'"):
        promised_classes_exist(recipe(decide={"precision": {"crak": 0.9}}), classes)
    with pytest.raises(RecipeError, match="decide.recall names every class"):
        promised_classes_exist(recipe(decide={"recall": dict.fromkeys(classes.classes, 0.9)}), classes)


def test_a_class_cannot_have_the_name_of_the_answer():
    classes = SimpleNamespace(classes=["crack", "unknown"])
    promised_classes_exist(recipe(), classes)
    with pytest.raises(RecipeError, match="rename the class"):
        promised_classes_exist(recipe(decide={"unknown_coverage": 0.9}), classes)
