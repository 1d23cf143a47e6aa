"""The students of a sweep in the report of its run: cost, front, and what is not drawn."""

import json

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.core.pareto import pareto_front
from edgedistill.errors import RunFolderError
from edgedistill.prediction.model import predict
from edgedistill.prediction.user_measurements import NOTHING
from edgedistill.records.sweep import SweepRecord
from edgedistill.reporting.pareto_figure import students_figure
from edgedistill.reporting.sweep_results import COUNTED, load_sweep, swept_of
from record_factories import page_of, records_of, report_of
from report_pages import undrawn
from terminal_text import FORGED, assert_terminal_safe

OLD_TRIAL = {"settings": {"distill.temperature": 2}, "value": 0.75, "state": "complete", "epochs": 3}
OLD_SWEEP = {  # of the first release that swept: neither networks nor artifacts are named
    "metric": "validation top1_fraction",
    "images": "validation, never test",
    "seeds": 1,
    "trials": [OLD_TRIAL],
    "best": OLD_TRIAL,
}


def test_the_front_is_what_comparing_all_pairs_gives(rng):
    points = [tuple(pair) for pair in rng.random((60, 2)).round(1).tolist()]
    front = pareto_front(points, lambda point: point[0], lambda point: point[1])
    for x, y in points:
        beaten = any(a <= x and b >= y and (a, b) != (x, y) for a, b in points)
        assert ((x, y) in front) != beaten
    assert front == sorted(set(front)), "cheapest first, equals once"


def test_trials_and_the_run_s_own_student_by_predicted_time(stages, recipe, swept):
    found = swept(recipe, stages)
    assert (found["cost"], found["not_predicted"], found["reason"]) == ("latency_ms", "", "")
    assert found["cost_provenance"].startswith("predicted: ")
    rows = found["students"]
    (own,) = (row for row in rows if row["own"])
    assert own["value"] == stages["distill"]["validation"]["top1_fraction"]
    assert rows[-1]["state"] == "pruned"
    assert not rows[-1]["front"]
    for row in rows:
        alone = predict(row["model"], "jetson-nano", "int8", 224, 6, NOTHING)
        assert (row["latency_ms"], row["latency_ms_high"]) == (alone.latency_ms, alone.latency_ms_high)
        assert row["extrapolated"] == alone.extrapolated
    assert {row["extrapolated"] for row in rows} == {True, False}
    assert next(row for row in rows if row["model"] == "mobilenetv3_large_100")["front"], "nothing is as accurate"
    whole = [row for row in rows if row["state"] == "complete"]
    for row in whole:
        beaten = any(other["latency_ms"] <= row["latency_ms"] and other["value"] > row["value"] for other in whole)
        assert row["front"] != beaten


def test_what_is_not_predicted_goes_by_parameters(stages, recipe, swept):
    other = recipe.model_dump(mode="json")
    other["target"]["device"] = "thor"
    found = swept(Recipe.model_validate(other), stages)
    assert (found["cost"], found["cost_provenance"]) == ("parameters", COUNTED)
    assert {row["latency_ms"] for row in found["students"]} == {None}
    page = page_of(report_of(stages, recipe, swept=found))
    section = page[page.index('id="students"') :]
    assert "parameters, million" in section
    assert "no prediction for thor" in found["not_predicted"]
    assert f"not predicted for all of them: {found['not_predicted']}" in section


def test_the_best_stand_first_the_own_before_its_equals_and_what_was_stopped_on_no_front(stages, recipe):
    own = stages["distill"]["validation"]["top1_fraction"]
    alike = {"epochs": 3, "model": "squeezenet1_1", "parameters": 725_600}
    trials = [
        {**alike, "value": value, "state": state, "settings": {"distill.seed": number}}
        for number, (value, state) in enumerate(
            [(0.99, "pruned"), (own - 0.1, "complete"), (own, "complete"), (own + 0.01, "complete"), (own, "complete")]
        )
    ]
    sweep = SweepRecord.from_json({**OLD_SWEEP, "artifacts": {}, "trials": trials}, "sweep")
    rows = swept_of(sweep, {}, records_of(stages), recipe).students
    assert [row.settings.get("distill.seed") for row in rows] == [3, None, 2, 4, 1, 0]
    assert [row.own for row in rows] == [False, True, False, False, False, False]
    assert [row.front for row in rows] == [True, False, False, False, False, False], "all are as fast"


@pytest.mark.slow
def test_trials_of_another_teacher_or_metric_are_not_shown(stages, recipe):
    ours, balanced = {"teacher": "a"}, "validation balanced_accuracy_fraction"
    for differing in (
        {"metric": "validation top1_fraction"},
        {"metric": "validation top1_fraction", "artifacts": {"teacher": "b"}},
        {"metric": balanced, "artifacts": ours},
    ):
        found = swept_of(SweepRecord(**{**OLD_SWEEP, **differing}), ours, records_of(stages), recipe)
        assert found.students == []
        assert students_figure(found, "top-1") is None
        with undrawn():
            page = page_of(report_of(stages, recipe, swept=found))
        assert "it is not shown, because its trials were taught by another teacher" in page
    assert swept_of(None, ours, records_of(stages), recipe) is None
    with undrawn():
        page = page_of(report_of(stages, recipe))
    assert "edgedistill sweep RECIPE.toml --over student.model=A,B" in page
    assert 'href="#students"' not in page


@pytest.mark.parametrize("content", ["{", "[]", '{"trials": 3}', json.dumps({**OLD_SWEEP, "seeds": f"one{FORGED}"})])
def test_a_damaged_sweep_is_one_line(tmp_path, content):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text(content)
    with pytest.raises(RunFolderError, match="is not a sweep.*run the sweep again") as refused:
        load_sweep(tmp_path)
    assert_terminal_safe(str(refused.value), lines=0)
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(OLD_SWEEP))
    assert load_sweep(tmp_path).to_json() == OLD_SWEEP
    assert load_sweep(tmp_path / "none") is None
