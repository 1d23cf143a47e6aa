"""`run.precision = "mixed"`, the default: which artifacts it keeps, made on which device and by which release."""

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.pipeline.plan import MIXED_BF16, as_computed, inputs_of
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill.records.result import Result

ON_CPU, ON_GPU = {"speed": "float32, channels last"}, {"speed": "bfloat16, channels last"}
STAGE = stage_named("teacher")


def recipe(precision=None):
    run = {} if precision is None else {"run": {"precision": precision}}
    return recipe_from_table({"data": {"train": "x"}, **run}, "r")


def inputs(run, precision=None):
    return inputs_of(STAGE, recipe(precision), run, lambda: "", lambda name: name)


def finish(run, cost, precision=None):
    made_from = inputs(run, precision)
    run.begin(STAGE.name, made_from)
    run.finish(STAGE.name, as_computed(made_from, recipe(precision), cost), Result({}, (), cost), 1.0)


def test_it_is_the_default_and_stands_as_what_older_releases_wrote():
    assert recipe().run.precision == "mixed"
    assert recipe_values(STAGE, recipe()) == recipe_values(STAGE, recipe("fp32"))


@pytest.mark.parametrize(
    ("made_with", "cost", "kept", "redone"),
    [
        (None, ON_CPU, [None, "mixed", "fp32"], ["bf16", "auto"]),
        ("fp32", ON_CPU, [None, "mixed", "fp32"], ["bf16", "auto"]),  # and every artifact of an older release
        (None, ON_GPU, [None, "mixed"], ["fp32", "bf16", "auto"]),  # also in a folder that was copied to a CPU
        ("bf16", ON_GPU, ["bf16"], [None, "fp32", "auto"]),
        ("auto", ON_GPU, ["auto"], [None, "fp32", "bf16"]),
    ],
)
def test_what_is_kept(tmp_path, made_with, cost, kept, redone):
    with RunFolder(tmp_path) as run:
        finish(run, cost, made_with)
        for precision in kept:
            assert run.why_stale(STAGE.name, inputs(run, precision)) is None
        for precision in redone:
            assert run.why_stale(STAGE.name, inputs(run, precision)).startswith("recipe: run.precision was ")


def test_an_artifact_that_is_made_again_on_a_cpu_says_so(tmp_path):
    with RunFolder(tmp_path) as run:
        finish(run, ON_GPU)
        assert run.stamp(STAGE.name).inputs["recipe"]["run.precision"] == MIXED_BF16
        finish(run, ON_CPU)
        assert run.stamp(STAGE.name).inputs["recipe"]["run.precision"] == "fp32"
        assert run.why_stale(STAGE.name, inputs(run, "fp32")) is None
