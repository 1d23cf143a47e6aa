"""What each verb prints, in 80 columns and in 60; summary and comparison: tests/edgedistill/reporting."""

import functools

import pytest

from edgedistill.api.questions import choose, doctor, estimate, published, students
from edgedistill.cli.predict import text_from_rows
from edgedistill.cli.published import text_from_published
from edgedistill.core.text_table import wrapped
from edgedistill.deployment.fleet import table_from_fleet
from edgedistill.environment.doctor import text_from_checks
from edgedistill.models.students import text_from_students
from edgedistill.pipeline.sweep_comparison import text_from_sweep
from edgedistill.prediction.choose import Budget, Candidate
from edgedistill.prediction.model import Prediction
from edgedistill.prediction.text import text_from_candidates, text_from_prediction
from edgedistill.records.deployment import FleetRecord, FleetRow
from edgedistill.records.sweep import SweepRecord, TrialResult
from terminal_text import assert_fits


def chosen(width, **asked):
    candidates = [Candidate.from_dict(row) for row in choose("orin-nano-8gb", fps=600, **asked)]
    return text_from_candidates(candidates, Budget(600), 100, width)


def fleet(width):
    row = FleetRow(
        name="line-3",
        host="nano-3.factory.local",
        group="line",
        canary=True,
        state="failed",
        reason="the board refuses it: its root holds a release with a higher serial than this bundle has",
        executed="fp16",
        provenance=None,
        p50_ms=4.31,
        fps=200.0,
        seconds=None,
    )
    return FleetRecord.model_construct(boards=[row, row]), width


def swept(width, folder):
    own = TrialResult(settings={}, value=0.75, state="complete", epochs=30)
    trials = [
        TrialResult(
            settings={"distill.temperature": 4, "distill.kd_weight": 0.5, "student.model": "mobilenetv3_small_100"},
            value=0.76,
            state="complete",
            epochs=30,
            against_own_points=[-3.0, 5.0],
        ),
        TrialResult(settings={"distill.temperature": 1}, value=0.5, state="pruned", epochs=3),
    ]
    sweep = SweepRecord(
        metric="validation balanced_accuracy_fraction",
        images="validation, never test",
        seeds=1,
        trials=trials,
        best=trials[0],
        own=own,
        sentences=["no trial beats your recipe beyond chance: the best is +1.0 (-3.0 to +5.0) points"],
    )
    return text_from_sweep(sweep, folder, width)


def predicted(width):
    top = [{"class": "stripes", "probability": 0.9}, {"class": "a very round disc", "probability": 0.1}]
    rows = [
        {"path": "images/somewhere/below/a/long/way/000.png", "top": top, "reason": None},
        {"path": "b.png", "top": [], "reason": "no image"},
    ]
    return "\n".join(text_from_rows(rows, width))


@functools.cache
def examined():
    return tuple(doctor())  # once: free memory is another the next time


TEXTS = {
    "choose": chosen,
    "choose, several sizes": lambda width: chosen(width, sizes=(224, 160)),
    "students": lambda width: text_from_students(students("jetson-nano"), width),
    "estimate": lambda width: text_from_prediction(Prediction.from_dict(estimate("mobilenetv3_small_100"))),
    "deploy --fleet": lambda width: table_from_fleet(*fleet(width)),
    "predict": predicted,
    "published": lambda width: text_from_published(published("jetson-nano", "mobilenet"), width),
    "doctor": lambda width: text_from_checks(list(examined())),
}


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("name", TEXTS)
def test_it_fits_a_terminal_and_breaks_no_word(name, width):
    assert_fits(wrapped(TEXTS[name](width), width), TEXTS[name](None), width)


@pytest.mark.parametrize("width", [80, 60])
def test_a_sweep_fits(width, tmp_path):
    assert_fits(wrapped(swept(width, tmp_path), width), swept(None, tmp_path), width)


def test_at_80_columns_rows_are_lines_and_no_paragraphs(tmp_path):
    heads = [
        chosen(80).splitlines()[1],
        TEXTS["students"](80).splitlines()[0],
        TEXTS["deploy --fleet"](80).splitlines()[0],
        swept(80, tmp_path).splitlines()[1],
    ]
    assert [head.split()[:2] for head in heads] == [
        ["model", "FPS"],
        ["model", "params"],
        ["board", "state"],
        ["value", "against"],
    ]
