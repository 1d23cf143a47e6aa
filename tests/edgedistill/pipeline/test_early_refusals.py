"""What needs the networks or the classes alone is refused before a training, not by the stage hours later."""

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.core import distributed
from edgedistill.errors import DataError, EdgeDistillError, RecipeError, TeacherError
from edgedistill.pipeline.early_refusals import refuse_for_classes, refuse_what_fits_no_stage
from edgedistill.pipeline.gates import recipe_suits_the_classes
from edgedistill.pipeline.runner import plan_run, run_stages
from edgedistill.pipeline.sweep import Sweep
from edgedistill.pipeline.table import stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.data import DataRecord
from end_to_end import write_project
from record_factories import record_with

SMALL = {
    "teacher": {"model": "resnet10t", "weights": "scratch"},
    "student": {"model": "mobilenetv3_small_050", "weights": "scratch"},
}
FITNET = {"feature_weight": 0.1, "feature_loss": "fitnet"}


def recipe(distill=None, **sections):
    table = {"data": {"train": "x", "image_px": 64}, **SMALL, "distill": distill or {}, **sections}
    return recipe_from_table(table, "r.toml")


@pytest.mark.parametrize(
    ("asked", "stage", "error", "said"),
    [
        (recipe({**FITNET, "student_taps": ["blocks.77"]}), "distill", RecipeError, "blocks.77.*no such module"),
        (recipe({**FITNET, "teacher_taps": ["layer9"]}), "curve", RecipeError, "layer9.*no such module"),
        (
            recipe({**FITNET, "student_taps": ["blocks.1", "blocks.2"], "teacher_taps": ["layer1"]}),
            "distill",
            RecipeError,
            "2 student taps and 1 teacher taps",
        ),
        (recipe(augment={"transforms": [{"name": "Normalize"}]}), "baseline", RecipeError, "Normalize gives float32"),
        (recipe(augment={"transforms": [{"name": "HorizontalFlop"}]}), "teacher", RecipeError, "HorizontalFlip"),
        (
            recipe({"method": "data_free"}, teacher={"model": "convnext_atto", "weights": "hub"}),
            "synthesise",
            TeacherError,
            "has no BatchNorm",
        ),
        (
            recipe(decide={"unknown_coverage": 0.9, "unknown": "/nowhere"}),
            "decide",
            DataError,
            "unknown.*no such",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_if_it_is_to_be_run(asked, stage, error, said):
    with pytest.raises(error, match=said):
        refuse_what_fits_no_stage(asked, {"export", stage})
    refuse_what_fits_no_stage(asked, {"export", "evaluate"})


def test_what_fits_is_not_refused():
    every = {"teacher", "synthesise", "distill", "curve", "decide", "assist"}
    refuse_what_fits_no_stage(recipe(FITNET), every)
    refuse_what_fits_no_stage(recipe({**FITNET, "student_taps": ["blocks.1"]}), every)
    refuse_what_fits_no_stage(recipe({"method": "data_free"}), every)
    refuse_for_classes(recipe({"method": "progressive"}, teacher={"model": "resnet50", "weights": "hub"}), every, 3)
    refuse_for_classes(recipe(), every, 3)


def test_a_batch_that_processes_cannot_share(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 3)
    asked = recipe({"batch_size": 9}, teacher={"batch_size": 16})
    with pytest.raises(RecipeError, match="batch of 16 images does not divide by 3"):
        refuse_what_fits_no_stage(asked, {"teacher"})
    refuse_what_fits_no_stage(asked, {"baseline"})
    with pytest.raises(RecipeError, match="batch of 16 images does not divide by 3"):
        refuse_what_fits_no_stage(recipe({"batch_size": 16}), {"baseline"})


def test_no_network_between_teacher_and_student():
    asked = recipe({"method": "progressive"}, teacher={"model": "mobilenetv3_small_050"})
    with pytest.raises(RecipeError, match="no assistant lies between"):
        refuse_for_classes(asked, {"teacher", "assist"}, 3)
    refuse_for_classes(asked, {"report"}, 3)


@pytest.mark.parametrize(("standardise", "classes", "refused"), [(True, 2, True), (True, 3, False), (False, 2, False)])
def test_standardised_logits_of_two_classes_are_refused_when_the_images_are_known(standardise, classes, refused):
    assert stage_named("data").gate is recipe_suits_the_classes
    data = record_with(DataRecord, {"classes": [f"c{number}" for number in range(classes)]})
    asked = recipe({"standardise": standardise})
    if not refused:
        recipe_suits_the_classes(asked, data)
        return
    with pytest.raises(RecipeError, match="standardising needs 3 classes"):
        recipe_suits_the_classes(asked, data)


EMBEDDING = {
    "student": {**SMALL["student"], "output": "embedding"},
    "distill": {"feature_weight": 1.0, "feature_loss": "pooled"},
}


@pytest.mark.parametrize("split", ["val", "test"])
def test_embeddings_need_two_images_of_a_class_to_be_measured(split):
    """Of one image of each class, the nearest other image is never of its class."""
    counts = {name: {"a": 2, "b": 1, "c": 1} for name in ("train", "val", "test")}
    enough = record_with(DataRecord, {"classes": ["a", "b", "c"], "counts": counts})
    recipe_suits_the_classes(recipe(**EMBEDDING), enough)
    lone = record_with(DataRecord, {"classes": ["a", "b", "c"], "counts": {**counts, split: {"a": 1, "b": 1, "c": 1}}})
    with pytest.raises(DataError, match=rf"3 classes has at most 1: add images, or raise data\.{split}_fraction"):
        recipe_suits_the_classes(recipe(**EMBEDDING), lone)
    recipe_suits_the_classes(recipe(), lone)


@pytest.mark.slow
def test_a_run_of_embeddings_with_one_test_image_of_each_class_trains_nothing(tmp_path):
    write_project(tmp_path, per_class=6)
    data = {"train": str(tmp_path / "images"), "image_px": 32, "crop_fraction": 1.0}
    with pytest.raises(DataError, match="nearest other validation image of the same class"):
        run_stages(recipe(data=data, **EMBEDDING), tmp_path / "r", Talk(quiet=True))
    assert [path.name for path in (tmp_path / "r").iterdir() if path.is_dir()] == ["data"]


@pytest.mark.slow
def test_a_run_of_them_trains_no_teacher(tmp_path):
    write_project(tmp_path, per_class=6)
    data = {"train": str(tmp_path / "images"), "image_px": 32, "crop_fraction": 1.0}
    taps = recipe({**FITNET, "student_taps": ["blocks.77"]}, data=data)
    for ask in (lambda: plan_run(taps, tmp_path / "a"), lambda: run_stages(taps, tmp_path / "a", Talk(quiet=True))):
        with pytest.raises(EdgeDistillError, match="no such module"):
            ask()
    floats = recipe(data=data, augment={"transforms": [{"name": "ToFloat"}]})
    for ask in (lambda: plan_run(floats, tmp_path / "a"), lambda: run_stages(floats, tmp_path / "a", Talk(quiet=True))):
        with pytest.raises(RecipeError, match="ToFloat gives float32"):
            ask()
    assert not [path for path in (tmp_path / "a").iterdir() if path.is_dir()]
    between = recipe({"method": "progressive"}, teacher=SMALL["student"], data=data)
    with pytest.raises(RecipeError, match="no assistant lies between"):
        run_stages(between, tmp_path / "b", Talk(quiet=True))
    assert [path.name for path in (tmp_path / "b").iterdir() if path.is_dir()] == ["data"]


@pytest.mark.slow
def test_a_sweep_over_taps_that_are_not_there_trains_no_teacher(tmp_path):
    write_project(tmp_path, per_class=6)
    made = Sweep(
        tmp_path / "r.toml",
        ["distill.feature_loss=fitnet"],
        {"distill.student_taps": [["blocks.1"], ["blocks.77"]]},
        tmp_path / "run",
        Talk(quiet=True),
    )
    with pytest.raises(RecipeError, match="no such module"):
        made.run(None, None)
    assert not (tmp_path / "run").exists()
