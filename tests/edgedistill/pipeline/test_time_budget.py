"""`distill.minutes`: planned once, taken by student and baseline alike."""

import json

import pytest

from edgedistill.config.loading import load_recipe, recipe_from_table
from edgedistill.config.training import DistillConfig
from edgedistill.errors import RecipeError
from edgedistill.pipeline.runner import plan_run, run_stages
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.stages import schedule as stage
from edgedistill.training.schedule import Pace
from end_to_end import RECIPE, write_images

PACE = Pace(step_seconds=1.0, validation_seconds=0.5)


@pytest.mark.parametrize(
    ("keys", "planned", "fitting", "asked"),
    [
        ({"minutes": 1, "epochs": 2}, 54, 54, 10),  # 5.5 s for an epoch of 5 steps
        ({"minutes": 1, "epochs": 30}, 54, 54, 150),
        ({"minutes": 1, "steps": 40}, 40, 54, 40),
        ({"minutes": 1, "steps": 4000}, 54, 54, 4000),
        ({"minutes": 1, "min_steps": 123, "epochs": 1}, 54, 54, 125),
    ],
)
def test_the_plan(keys, planned, fitting, asked):
    record = stage.plan(DistillConfig(**keys), PACE, 5)
    assert (record.steps, record.fitting_steps, record.asked_steps) == (planned, fitting, asked)
    line = stage.line_from_plan(record)
    assert line.startswith(f"{fitting} steps fit into 1 minutes on this computer")
    assert f"the recipe asked for {asked}; {planned} are planned" in line


def test_a_time_that_holds_no_step_is_refused():
    with pytest.raises(RecipeError, match="not one fits; give it more minutes"):
        stage.plan(DistillConfig(minutes=0.01), PACE, 5)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"method": "self"}, "distill.minutes plans one training, distill.method = 'self' has several in turn"),
        ({"method": "progressive"}, "has several in turn; set distill.steps"),
        ({"feature_weight": 0.1, "feature_loss": "fitnet"}, "the teacher runs beside it; set distill.steps"),
    ],
)
def test_what_it_cannot_plan_is_refused(keys, said):
    with pytest.raises(RecipeError, match=said):
        recipe_from_table({"data": {"train": "x"}, "distill": {"minutes": 1, **keys}}, "r.toml")


def test_a_recipe_without_it_is_that_of_before():
    recipe = recipe_from_table({"data": {"train": "x"}}, "r.toml")
    assert "steps" not in recipe.teaching
    assert "distill.length" not in recipe_values(stage_named("distill"), recipe)
    longer = recipe.model_copy(update={"distill": DistillConfig(steps=5)})
    assert recipe_values(stage_named("distill"), longer)["distill.length"] == {"steps": 5}
    assert not stage_named("schedule").applies(recipe)


@pytest.mark.slow
def test_student_and_baseline_take_the_planned_steps_and_it_is_planned_once(tmp_path, monkeypatch):
    write_images(tmp_path / "images", per_class=12)
    (tmp_path / "r.toml").write_text(RECIPE)
    measured = []
    measure = stage.measured_pace

    def pace(*given):
        measured.append(measure(*given))  # the real one; how fast this machine is decides nothing here
        return PACE

    monkeypatch.setattr(stage, "measured_pace", pace)

    def recipe(*settings):
        keys = ("distill.minutes=0.09", "distill.batch_size=8", "distill.feature_weight=0", "teacher.epochs=1")
        return load_recipe(tmp_path / "r.toml", (*keys, *settings))

    def made(name):
        run_stages(recipe(), tmp_path / "run", Talk(quiet=True), only=name)
        return json.loads((tmp_path / f"run/{name}/{name}.json").read_text())

    def actions(*settings):
        return {planned.stage: planned.action for planned in plan_run(recipe(*settings), tmp_path / "run", "distill")}

    student, baseline, schedule = made("distill"), made("baseline"), made("schedule")
    assert len(measured) == 1
    assert measured[0].step_seconds > 0
    assert schedule["steps_per_epoch"] == 3
    assert schedule["steps"] == student["steps"] == baseline["steps"] == 4  # of 5.4 s; an epoch takes 3.5
    assert [row["epoch"] for row in student["history"]] == [1, 2]
    assert actions()["distill"] == "keep"
    other_teacher = actions("teacher.seed=5", "distill.temperature=3", "distill.peak_lr=1e-4")
    assert (other_teacher["schedule"], other_teacher["distill"]) == ("keep", "run")
    assert actions("distill.minutes=0.2")["schedule"] == actions("distill.batch_size=4")["schedule"] == "run"
