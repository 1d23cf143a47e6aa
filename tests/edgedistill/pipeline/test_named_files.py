"""A stage is redone when a file that its recipe names holds something else, wherever the recipe names it."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest

from edgedistill.config.loading import load_recipe
from edgedistill.pipeline.plan import inputs_of
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.table import stage_named
from edgedistill.records.result import Result

NAMED = {  # stage -> the key that its first reason names, and the file
    "teacher": ("teaching.weights", "t.pth"),
    "baseline": ("student.weights", "s.pth"),
    "assist": ("distill.teachers[1].weights", "second.pth"),
    "decide": ("decide.unknown", "strange/deep/a.png"),
}
RECIPE = """
[data]
train = "images"
[teacher]
weights = "t.pth"
classes = "names.txt"
[student]
weights = "s.pth"
[distill]
method = "ensemble"
teachers = [{ model = "resnet18", weights = "hub" }, { model = "resnet10t", weights = "second.pth" }]
[decide]
unknown_coverage = 0.9
unknown = "strange"
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "strange" / "deep").mkdir(parents=True)
    for name in (*(file for _, file in NAMED.values()), "names.txt"):
        (tmp_path / name).write_text(f"first {name}")
    return tmp_path


def finished(place, stage):
    """The run folder, in which the stage was made from the files as they are, and why it is stale now."""
    run = RunFolder(place / "run")

    def inputs():
        recipe = load_recipe(place / "r.toml")
        return inputs_of(stage_named(stage), recipe, run, lambda: "", lambda name: "a digest")

    with run:
        run.begin(stage, inputs())
        run.finish(stage, inputs(), Result({}, []), 1.0)
    return SimpleNamespace(why=lambda: run.why_stale(stage, inputs()), run=run)


@pytest.mark.parametrize("stage", NAMED)
def test_a_file_with_other_content_makes_its_stage_stale(place, stage):
    left, (key, file) = finished(place, stage), NAMED[stage]
    assert left.why() is None
    (place / file).write_text("second " + file)
    assert left.why().startswith(f"named files: {key} was ")


def test_a_list_of_classes_that_was_corrected_makes_the_teacher_stale(place):
    left = finished(place, "teacher")
    (place / "names.txt").write_text("other")
    assert "classes" in left.why()


def test_another_image_of_no_class_makes_the_decision_stale(place):
    left = finished(place, "decide")
    (place / "strange" / "b.png").write_text("one more")
    assert "decide.unknown" in left.why()


def test_a_copied_file_is_the_same_file(place):
    left = finished(place, "teacher")
    shutil.copy(place / "t.pth", place / "copy.pth")
    os.replace(place / "copy.pth", place / "t.pth")
    assert left.why() is None


def test_a_finished_run_needs_its_files_no_longer(place):
    left = finished(place, "teacher")
    (place / "t.pth").unlink()
    assert left.why() is None


def test_a_run_of_a_release_that_did_not_look_into_them_stays_finished(place):
    left = finished(place, "teacher")
    record = place / "run" / "teacher" / "teacher.json"
    value = json.loads(record.read_text())
    assert value["artifact"]["inputs"].pop("named files")
    record.write_text(json.dumps(value))
    assert left.why() is None


CHOSEN = {"epoch_chosen_by": "baseline", "way_chosen_by": "teacher"}


@pytest.mark.parametrize("key", CHOSEN)
@pytest.mark.parametrize("earlier", [False, True])
def test_another_metric_makes_stale_what_the_metric_chose(place, key, earlier):
    """But for an artifact of an earlier release, which does not say by which it was chosen."""
    text = (place / "r.toml").read_text().replace('[distill]\nmethod = "ensemble"', '[distill]\nkeep = "best"')
    text = text.replace("[teacher]\n", '[teacher]\nmode = "auto"\n').partition("teachers =")[0]
    (place / "r.toml").write_text(text)
    left = finished(place, CHOSEN[key])
    record = place / "run" / CHOSEN[key] / f"{CHOSEN[key]}.json"
    if earlier:
        value = json.loads(record.read_text())
        del value["artifact"]["inputs"]["named files"]
        assert value["artifact"]["inputs"]["recipe"].pop(key) == "top1_fraction"
        value["artifact"]["inputs"]["recipe"].pop("epoch_chosen_by", None)
        record.write_text(json.dumps(value))
        assert left.why() is None
    (place / "r.toml").write_text(text.replace("[data]\n", '[data]\nmetric = "balanced_accuracy_fraction"\n'))
    assert (left.why() is None) == earlier
