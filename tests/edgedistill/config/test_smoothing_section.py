"""[smoothing] of a recipe: what the board reads of it, and that it touches nothing where it is absent."""

import json

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import RecipeError
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill_device.inference.smoothing import Rule, rule_from_json


def recipe_with(**smoothing):
    return recipe_from_table({"data": {"train": "images"}, "smoothing": smoothing}, source="r.toml")


@pytest.mark.parametrize("by", ["votes", "mean"])
def test_the_board_reads_what_the_bundle_declares(by):
    declared = json.loads(json.dumps(recipe_with(by=by, frames=9, margin=0.5).smoothing_rule.model_dump(mode="json")))
    assert rule_from_json(declared) == Rule(by, 9, 0.5, 3)


def test_without_a_way_nothing_is_declared_and_older_bundles_stay():
    plain, bundle = recipe_with(frames=9), stage_named("bundle")
    assert plain.smoothing_rule is None
    assert not [key for key in recipe_values(bundle, plain) if key.startswith("smoothing")]
    with_rule = recipe_values(bundle, recipe_with(by="votes"))
    assert {key: value for key, value in with_rule.items() if key.startswith("smoothing")} == {
        "smoothing_rule.by": "votes",
        "smoothing_rule.frames": 15,
        "smoothing_rule.hold": 3,
        "smoothing_rule.margin": 0.2,
    }


@pytest.mark.parametrize(
    "wrong", [{"by": "median"}, {"by": "mean", "frames": 1}, {"by": "mean", "margin": 1.0}, {"by": "mean", "hold": 0}]
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(RecipeError, match="smoothing"):
        recipe_with(**wrong)
