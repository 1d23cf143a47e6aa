"""Where advice begins, and which student comes next: held against the published accuracies, read here."""

import csv
from importlib import resources
from types import SimpleNamespace

import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.models.families import ADVISED
from edgedistill.records.training import DistillRecord
from edgedistill.reporting.advice import advice_of
from edgedistill.training.schedule import STUDENT_STEPS
from record_factories import record_with


def advised(model="squeezenet1_1", steps=0, retained=0.5):
    """Idea -> its settings."""
    recipe = recipe_from_table({"data": {"train": "x"}, "student": {"model": model}}, "made up")
    report = SimpleNamespace(retention_fraction=retained)
    return {row.idea: row.command for row in advice_of(report, recipe, record_with(DistillRecord, {"steps": steps}))}


def bigger(model):
    """The bigger student that is advised, or None."""
    command = advised(model).get("A bigger student")
    return command and command.partition("student.model=")[2].strip("'\" ")


def test_the_advised_students_are_a_ladder_of_accuracy_without_a_step_left_out():
    table = resources.files("edgedistill.prediction").joinpath("accuracy.csv").read_text(encoding="utf-8")
    published = {row["model"]: float(row["top1_percent"]) for row in csv.DictReader(table.splitlines())}
    ladder = [min(ADVISED, key=published.__getitem__)]
    while (following := bigger(ladder[-1])) is not None:
        ladder.append(following)
    assert sorted(ladder) == sorted(ADVISED)
    assert [published[model] for model in ladder] == sorted(published[model] for model in ADVISED)
    assert bigger("squeezenet1_1") == ladder[-2], "of one that is not on it"
    assert bigger(f"{ladder[0]}.tag_of_weights") == ladder[1]


@pytest.mark.parametrize(("retained", "some"), [(0.9, False), (0.95, False), (0.8999, True), (None, True)])
def test_advice_begins_below_what_is_well_retained(retained, some):
    assert bool(advised(retained=retained)) == some


def test_more_steps_are_advised_below_those_that_a_student_needs():
    assert not [idea for idea in advised(steps=STUDENT_STEPS) if "steps" in idea]
    few = advised(steps=STUDENT_STEPS - 1)
    assert f"More steps: it was trained for {STUDENT_STEPS - 1}" in few
