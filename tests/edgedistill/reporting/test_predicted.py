"""What is predicted stands on the page as that, and answers for nothing."""

import re

from edgedistill.config.recipe import Recipe
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.devices import predicted_of
from edgedistill.reporting.formats import fps
from edgedistill.reporting.target_speed import target_speed
from record_factories import page_of, report_of, summary_of
from report_pages import undrawn
from report_schemas import schema_validator


def with_target(recipe, **keys):
    table = recipe.model_dump(mode="json")
    return Recipe.model_validate({**table, "target": {**table["target"], **keys}})


def test_a_prediction_is_a_card_with_its_interval_and_answers_no_budget(stages, recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # none of the user's own measurements
    stages["quantize"]["executed"] = "fp32"  # nothing is published for it
    predicted = predicted_of(recipe.student.model, recipe)
    beyond = predicted.model_copy(update={"extrapolated": True})
    with undrawn():
        page, beyond = (page_of(report_of(stages, recipe, predicted=found)) for found in (predicted, beyond))
    low, high = predicted.fps_low, predicted.fps_high
    assert 0 < low < predicted.fps < high
    words = " ".join(re.sub("<[^>]*>", " ", page).split())
    said = f"{fps(predicted.fps)} FPS predicted are expected of the network alone"
    assert f"{said} ({fps(low)} to {fps(high)})" in words
    assert not predicted.extrapolated
    assert beyond.count("extrapolated") > page.count("extrapolated")
    assert "the interval may not hold" in beyond
    assert "median error on a network that was left out" in words
    report = report_of(stages, with_target(recipe, fps=1.0), predicted=predicted)
    (row,) = [row for row in report["verdict"]["rows"] if row["what"].startswith("FPS")]
    assert (row["found"], row["outcome"]) == (None, "not measured")
    assert "predicted" in row["provenance"]
    schema_validator().validate(report)


def test_a_board_s_own_figure_goes_before_a_published_one_and_that_before_a_prediction(stages, recipe, board):
    """One answer, and the summary and the verdict give it alike; the page, where no other test reads it."""
    predicted = predicted_of(recipe.student.model, recipe)

    def found(guess=predicted):
        report = report_of(stages, with_target(recipe, fps=1.0), predicted=guess)
        row = next(row for row in report["verdict"]["rows"] if row["what"].startswith("FPS"))
        speed = target_speed(ReportRecord.from_json(report, "report"))
        return speed, row["provenance"], " ".join(summary_of(report).split()), report

    speed, verdict, summary, _ = found()
    assert (speed.kind, [one.fps for one in speed.figures]) == ("published", [248.0, 229.0])
    assert "others published 248 FPS and 229 FPS" in verdict
    assert "Jetson Nano 4GB 248 FPS (published: https://" in summary
    stages["quantize"]["executed"] = "fp32"  # nothing is published for it
    speed, verdict, summary, _ = found()
    assert (speed.kind, speed.reason.split()[0]) == ("predicted", "no")
    assert speed.figures[0].low < speed.figures[0].fps < speed.figures[0].high
    assert f"predicted {fps(predicted.fps)} FPS" in verdict
    assert f"Jetson Nano 4GB {fps(predicted.fps)} FPS, " in summary
    speed, verdict, summary, _ = found(None)
    assert (speed.kind, speed.figures) == ("unknown", ())
    assert "no published measurement" in verdict
    assert "Jetson Nano 4GB unknown: no published measurement" in summary
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    speed, verdict, summary, report = found()
    with undrawn():
        page = page_of(report)
    assert (speed.kind, [one.fps for one in speed.figures]) == ("measured", [107.0])
    assert verdict.startswith("measured")
    assert "Jetson Nano 4GB unknown" not in summary
    assert "predicted" not in summary
    assert "107 FPS the network alone" in summary
    assert "Its speed on" not in page
    assert "are expected of" not in page


def test_a_board_that_nobody_published_for_has_no_prediction(recipe):
    other = with_target(recipe, device="thor")
    found = predicted_of(recipe.student.model, other)
    assert found.fps is None
    assert "no prediction for thor" in found.reason
