"""Which networks stand between teacher and student: by sizes that are easy to reckon with."""

import pytest

from edgedistill.config.training import StudentConfig
from edgedistill.errors import RecipeError
from edgedistill.models import assistants
from edgedistill.models.assistants import choose_assistants


def chosen(monkeypatch, student, teacher, weights="scratch", **sizes):
    """Names of the assistants between networks of these sizes; candidates that are not named are tiny."""
    known = {"mobilenetv3_small_050": student, "resnet152": teacher, **sizes}
    monkeypatch.setattr(assistants, "_parameters", lambda name, classes: known.get(name, 0.01))
    return choose_assistants("resnet152", StudentConfig(model="mobilenetv3_small_050", weights=weights), 3)


def test_one_assistant_is_nearest_to_the_geometric_mean(monkeypatch):
    """sqrt(1 * 64) = 8: 12 is 1.5 times as many, 5 is 1.6 times as few, though nearer by the difference."""
    (one,) = chosen(monkeypatch, 1, 64, mobilenetv2_100=5, resnet18=12, resnet50=30)
    assert one.model == "resnet18"


@pytest.mark.parametrize(
    ("teacher", "models"), [(125, ["resnet34", "mobilenetv2_100"]), (99, ["tf_efficientnet_lite0"])]
)
def test_two_assistants_part_a_large_gap_in_three_equal_factors_the_biggest_first(monkeypatch, teacher, models):
    """125 = 5 * 5 * 5, so about 25 and 5 are wanted; below a factor of 100 one of about 10."""
    sizes = {"mobilenetv2_100": 5.2, "tf_efficientnet_lite0": 10, "resnet34": 23, "resnet101": 60}
    assert [one.model for one in chosen(monkeypatch, 1, teacher, **sizes)] == models


def test_the_second_is_another_network_and_one_candidate_is_one_assistant(monkeypatch):
    assert [one.model for one in chosen(monkeypatch, 1, 1000, resnet18=90, resnet34=110)] == ["resnet34", "resnet18"]
    assert [one.model for one in chosen(monkeypatch, 1, 1000, resnet18=31)] == ["resnet18"]


def test_nothing_within_a_fifth_of_teacher_or_student_is_between_them(monkeypatch):
    with pytest.raises(RecipeError, match=r"no assistant lies between resnet152 \(24.0 M parameters\)"):
        chosen(monkeypatch, 10e6, 24e6, resnet18=11.9e6, resnet34=20.1e6)
    (one,) = chosen(monkeypatch, 10e6, 24e6, resnet18=12.1e6)
    assert one.model == "resnet18"


@pytest.mark.parametrize(("weights", "theirs"), [("scratch", "scratch"), ("hub", "hub"), ("student.pth", "hub")])
def test_assistants_start_as_the_student_does_unless_it_has_a_file_of_its_own(monkeypatch, weights, theirs):
    assert [one.weights for one in chosen(monkeypatch, 1, 64, weights, resnet18=8)] == [theirs]
