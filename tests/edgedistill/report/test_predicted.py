"""What is predicted stands on the page as that, and answers for nothing."""

import json
import re
from importlib import resources

import pytest

from edgedistill.config import Recipe
from edgedistill.report.assemble import report_from_stages
from edgedistill.report.devices import predicted_of
from edgedistill.report.formats import fps
from edgedistill.report.page import html_from_report


def with_target(recipe, **keys):
    table = recipe.model_dump(mode="json")
    return Recipe.model_validate({**table, "target": {**table["target"], **keys}})


def test_a_prediction_is_a_card_with_its_interval_and_answers_no_budget(stages, recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # none of the user's own measurements
    stages["quantize"]["executed"] = "fp32"  # nothing is published for it
    predicted = predicted_of(recipe.student.model, recipe)
    page = html_from_report(report_from_stages(stages, recipe, predicted=predicted))
    low, high = predicted["fps_low"], predicted["fps_high"]
    assert 0 < low < predicted["fps"] < high
    words = " ".join(re.sub("<[^>]*>", " ", page).split())
    said = f"{fps(predicted['fps'])} FPS predicted are expected of the network alone"
    assert f"{said} ({fps(low)} to {fps(high)})" in words
    beyond = html_from_report(report_from_stages(stages, recipe, predicted={**predicted, "extrapolated": True}))
    assert not predicted["extrapolated"]
    assert beyond.count("extrapolated") > page.count("extrapolated")
    assert "the interval may not hold" in beyond
    assert "mean error on a network that was left out" in words
    report = report_from_stages(stages, with_target(recipe, fps=1.0), predicted=predicted)
    (row,) = [row for row in report["verdict"]["rows"] if row["what"].startswith("FPS")]
    assert (row["found"], row["outcome"]) == (None, "not measured")
    assert "predicted" in row["provenance"]
    schema = json.loads((resources.files("edgedistill.report") / "report.schema.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema).validate(report)


def test_a_board_that_nobody_published_for_has_no_prediction(recipe):
    other = with_target(recipe, device="xavier-nx")
    found = predicted_of(recipe.student.model, other)
    assert found["fps"] is None
    assert "xavier-nx" in found["reason"]
