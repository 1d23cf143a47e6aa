"""A student that is no better than chance is not bundled, unless that is asked for."""

import pytest

from edgedistill.cli.main import main
from edgedistill.config.recipe import Recipe
from edgedistill.errors import StudentError
from edgedistill.pipeline.gates import student_beats_chance
from edgedistill.pipeline.table import STAGES
from edgedistill.records.evaluation import Chance, EvaluationRecord
from record_factories import record_with


def asked(metric: str = "top1_fraction", **deploy) -> Recipe:
    return Recipe.model_validate({"data": {"train": "images", "metric": metric}, "deploy": deploy})


def evaluated(**student: float) -> EvaluationRecord:
    """Two classes of 60 and 40 images."""
    chance = {"majority_class": "good", "top1_fraction": 0.6, "balanced_accuracy_fraction": 0.5}
    return record_with(EvaluationRecord, {"images": 100, "student": student, "chance": chance})


@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_above_chance_it_goes_on_and_at_chance_it_does_not(metric):
    chance = evaluated().chance.metric(metric)
    other = {"top1_fraction": 0.0, "balanced_accuracy_fraction": 0.0}
    student_beats_chance(asked(metric), evaluated(**{**other, metric: chance + 0.01}))
    for value in (chance, chance - 0.1):
        with pytest.raises(
            StudentError, match=rf"reached {metric} {value:.3f} on 100 .*'good', gives {chance:.3f}; it"
        ):
            student_beats_chance(asked(metric), evaluated(**{**other, metric: value}))


def test_who_asks_for_it_gets_it():
    student_beats_chance(asked(allow_below_chance=True), evaluated(top1_fraction=0.1))


def test_an_embedding_is_asked_like_a_classifier():
    recipe = {"data": {"train": "images"}, "student": {"output": "embedding"}, "distill": {"feature_weight": 1.0}}
    recipe["distill"]["feature_loss"] = "pooled"
    with pytest.raises(StudentError, match="is not usable"):
        student_beats_chance(Recipe.model_validate(recipe), evaluated(top1_fraction=0.0))


def test_the_test_comes_before_the_bundle():
    names = [stage.name for stage in STAGES]
    (stage,) = (stage for stage in STAGES if stage.gate is student_beats_chance)
    assert stage.name == "evaluate"
    assert names.index("evaluate") < names.index("bundle")


@pytest.mark.slow
def test_a_finished_run_is_asked_again_and_ends_in_one_line(finished_run, monkeypatch, capsys):
    """Its stages are up to date; the gate is not part of what makes them so."""
    monkeypatch.chdir(finished_run)
    monkeypatch.setattr(Chance, "reaches", lambda chance, scores, metric: True)
    refused = ["--set", "deploy.allow_below_chance=false"]
    assert main(["bundle", "r.toml", *refused]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("edgedistill bundle: the student is not usable: ")
    assert "deploy.allow_below_chance=true" in said[-1]
    assert not any("bundle: " in line and "up to date" in line for line in said)
    assert main(["bundle", "r.toml"]) == 0
