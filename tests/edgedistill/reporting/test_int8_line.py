"""Whether INT8 is worth it, in report.json, on the page and in the summary of `run`."""

import html

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.reporting.devices import predicted_of
from record_factories import page_of, report_of, summary_of
from report_pages import undrawn


@pytest.mark.parametrize(
    ("speedup", "drop", "most", "worth", "words"),
    [
        (1.62, 0.3, None, True, "1.62 x FP16's speed for one image on Jetson Orin Nano 8GB (predicted), top-1 -0.3"),
        (1.62, 0.3, 0.1, False, "not worth it: it loses more than 0.1 points"),
        (1.05, 0.0, None, False, "not worth it: it gains less than 1.2 x"),
        (None, 0.0, None, None, "its speed-up on Jetson Orin Nano 8GB is not predicted"),
    ],
)
def test_predicted_gain_beside_simulated_drop(stages, recipe, speedup, drop, most, worth, words):
    table = recipe.model_dump(mode="json")
    recipe = Recipe.model_validate({**table, "target": {**table["target"], "device": "orin-nano-8gb"}})
    stages["quantize"]["ladder"]["int8"]["drop_points"] = drop
    stages["quantize"]["int8_gate"]["max_drop_points"] = most
    guess = predicted_of(recipe.student.model, recipe).model_copy(update={"int8_speedup": speedup})
    report = report_of(stages, recipe, predicted=guess)
    assert (report["int8"]["worth"], report["int8"]["speedup"]) == (worth, speedup)
    assert report["int8"]["drop_points"] == drop
    assert words in report["int8"]["sentence"]
    with undrawn():
        assert words in html.unescape(page_of(report))
    assert words in " ".join(summary_of(report).split())


def test_a_board_without_int8_says_so(stages, recipe):
    assert recipe.target.device == "jetson-nano"
    report = report_of(stages, recipe, predicted=predicted_of(recipe.student.model, recipe))
    assert report["int8"]["worth"] is None
    said = "Jetson Nano 4GB has no INT8 hardware, so there is nothing to gain"
    assert report["int8"]["sentence"] == said
    with undrawn():
        assert said in page_of(report)
    assert said in " ".join(summary_of(report).split())


def test_the_file_of_a_run_has_its_speed_up(recipe, finished_run):
    """The exported student of a whole run; a name has none, since no stage has its file."""
    table = recipe.model_dump(mode="json")
    orin = Recipe.model_validate({**table, "target": {**table["target"], "device": "orin-nano-8gb"}})
    exported = finished_run / "runs" / "r" / "export" / "student.onnx"
    found = predicted_of(exported, orin)
    assert found.int8_speedup is not None
    assert 0.8 < found.int8_speedup < 2.5
    assert predicted_of(exported, recipe).int8_speedup is None
    assert predicted_of("resnet18", orin).int8_speedup is None
