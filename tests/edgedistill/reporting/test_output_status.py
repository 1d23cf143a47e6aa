"""The status of figures and of several labels heeds groups, few images and seeds, as that of classes does."""

import math
import statistics

import numpy as np
import pytest
import scipy.stats

from edgedistill.config.loading import recipe_from_table
from edgedistill.config.task import MULTILABEL, REGRESSION
from edgedistill.reporting.output_page import html_from_labels, html_from_values
from edgedistill.reporting.output_report import output_report
from output_stages import output_stages
from record_factories import report_of

LABELS = ["dent", "rust", "scratch"]
STEADY = [(0.40, 0.25), (0.41, 0.24), (0.39, 0.26)]  # baseline and student of each seed; an error
LUCKY = [(0.40, 0.25), (0.25, 0.50), (0.25, 0.52)]


def seeds_of(pairs):
    return [{"seed": seed, "baseline": baseline, "student": student} for seed, (baseline, student) in enumerate(pairs)]


def recipe_of(task):
    return recipe_from_table(
        {"data": {"train": "x", "task": task.name}, "target": {"device": "jetson-nano", "precision": "int8"}}, "made up"
    )


def of_figures(stages, images=300, seeds=STEADY, **data):
    """A student that is clearly better than its baseline on the test images."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(images, 1))
    noise = {"teacher": 0.1, "baseline": 0.8, "student": 0.3}
    outputs = {name: truth + scale * rng.normal(size=truth.shape) for name, scale in noise.items()}
    outputs["constant"] = np.zeros_like(truth)
    made = output_stages(
        stages, REGRESSION, outputs, 10 + 2 * truth, ["width"], **{"seeds": seeds_of(seeds), "groups": {}, **data}
    )
    return output_report(made, recipe_of(REGRESSION), None, "r")


def of_labels(stages, images=300, seeds=STEADY, **data):
    rng = np.random.default_rng(4)
    truth = (rng.random((images, len(LABELS))) < 0.3).astype(float)
    truth[0] = 1
    clear = 4.0 * (2 * truth - 1)
    noise = {"teacher": 0.5, "baseline": 8.0, "student": 3.0}
    outputs = {name: clear + scale * rng.normal(size=truth.shape) for name, scale in noise.items()}
    outputs["constant"] = np.full_like(truth, -0.85)
    turned = [(1 - baseline, 1 - student) for baseline, student in seeds]
    made = output_stages(
        stages, MULTILABEL, outputs, truth, LABELS, **{"seeds": seeds_of(turned), "groups": {}, **data}
    )
    return output_report(made, recipe_of(MULTILABEL), None, "r")


KINDS = pytest.mark.parametrize("made", [of_figures, of_labels])


@KINDS
def test_a_steady_gain_is_good(stages, made):
    assert made(stages).status.line == "good"


@KINDS
def test_torn_groups_and_similar_images_put_it_in_doubt(stages, made):
    for found, words in (({"torn_groups": 40}, "40 named groups"), ({"leak_count": 1}, "1 pair of similar images")):
        report = made(stages, **found)
        assert report.status.line == "in doubt: test images are not apart"
        assert f"too good: {words} in several splits." in report.status.sentences[0]
        assert f"The test figures are too good: {words.removesuffix(' images')[:9]}" in " ".join(report.warnings)


@KINDS
def test_a_gain_that_one_seed_alone_shows_is_none(stages, made):
    """The t interval written out with scipy: points of the task, above 0 where the student is better."""
    report = made(stages, seeds=LUCKY)
    gains = [100 * (baseline - student) for baseline, student in LUCKY]  # of labels both figures are turned round
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    low, high = scipy.stats.t.interval(0.95, len(gains) - 1, loc=statistics.fmean(gains), scale=error)
    unit = (
        "hundredths of a standard deviation of the values" if made is of_figures else "points of mean average precision"
    )
    assert report.status.line == "no gain shown"
    said = f"No gain shown over 3 seeds: the 95 % interval of the mean gain is {low:+.1f} to {high:+.1f} {unit}"
    assert report.status.sentences == [f"{said}."]
    truth = np.zeros((300, 1))
    page = html_from_values(report, truth, truth) if made is of_figures else html_from_labels(report)
    assert said.replace("-", "\N{MINUS SIGN}") in page.replace("\N{NO-BREAK SPACE}", " ")


@KINDS
def test_one_seed_says_nothing_of_the_others(stages, made):
    assert made(stages, seeds=STEADY[:1]).status.line == "good"


@KINDS
def test_what_narrows_the_intervals_is_said_as_of_classes(stages, recipe, made):
    """Word for word what a report of classes says of the same images."""
    found = {"groups": {"test": 3}, "copies_left_out": {"test": 2}, "unreadable_count": 1, "torn_groups": 4}
    mine = made(stages, images=120, **found).warnings
    stages["data"] |= found
    stages["evaluate"]["images"] = 120
    theirs = report_of(stages, recipe)["warnings"]
    shared = [line for line in theirs if line in mine]
    for part in ("4 named groups", "belong to 3 groups", "2 exact copies", "Only 120 test images", "1 unreadable"):
        assert any(part in line for line in shared), part


def test_rare_labels_are_named_and_ranges_of_a_figure_are_not(stages):
    counts = {name: {"dent": 40, "rust": 3, "scratch": 19, "(no label)": 1} for name in ("train", "val", "test")}
    said = " ".join(of_labels(stages, counts=counts).warnings)
    assert "Average precision is imprecise of 2 labels with fewer than 20 test images (rust: 3)." in said
    few = {name: {"1 to 2": 4} for name in ("train", "val", "test")}
    assert "imprecise" not in " ".join(of_figures(stages, counts=few).warnings)


def test_a_limit_that_is_just_missed_is_not_shown_as_met(stages):
    stages["quantize"]["int8_gate"] |= {"max_drop_points": 0.5, "passed": False, "curve": [{"drop_points": 0.5004}]}
    (row,) = of_figures(stages).verdict.rows
    assert (row.limit, row.found) == ("at most 0.5 hundredths of a standard deviation of the values", "0.5004")


def test_so_few_images_that_a_bootstrap_shows_nothing(stages):
    assert of_figures(stages, images=9).status.line == "in doubt: too few test images"
    assert "too few" not in of_figures(stages, images=10).status.line
