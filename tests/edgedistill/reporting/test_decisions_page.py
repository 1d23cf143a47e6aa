"""The report's part on confidence: what always stands, and what stands where the recipe asks."""

import re

import pytest

from edgedistill.records.report import ReportRecord
from edgedistill.reporting.page import html_from_report
from record_factories import report_of
from report_pages import undrawn

POINT = {
    "class": "b<i>",
    "promise": "recall",
    "asked": 0.99,
    "confidence": 0.95,
    "threshold": 0.12,
    "validation": {"hits": 310, "images": 311, "lower": 0.9904},
    "most": 0.9935,
    "images_needed": 299,
    "by_threshold": {
        "right": 99,
        "images": 100,
        "answers": 120,
        "recall": 0.99,
        "recall_interval": [0.9455, 0.9997],
        "precision": 0.825,
        "precision_interval": [0.7455, 0.8882],
    },
    "by_probability": {
        "right": 90,
        "images": 100,
        "answers": 92,
        "recall": 0.9,
        "recall_interval": [0.8238, 0.951],
        "precision": 0.978,
        "precision_interval": [0.9237, 0.9974],
    },
    "curve": [[0.1, 1.0], [0.9, 0.97], [1.0, 0.4]],
    "cost": {"miss": 50.0, "false_alarm": 2.0, "per_1000_images": 184.0, "by_probability_per_1000_images": 1008.0},
}
UNKNOWN = {
    "coverage": 0.95,
    "threshold": 3.2,
    "validation_images": 300,
    "images_needed": 19,
    "test_images": 400,
    "test_kept": 384,
    "test_kept_interval": [0.936, 0.977],
    "others": {"images": 50, "refused": 41, "refused_interval": [0.686, 0.914], "auroc": 0.943},
}


@pytest.fixture
def page(stages, recipe):
    """The function that makes the page with these decisions beside those that always stand; None: an older report."""

    def make(**asked):
        stages["decide"]["figures"] |= asked
        report = report_of(stages, recipe)
        if asked.get("calibration", True) is None and len(asked) == 1:
            del report["decisions"]
        with undrawn():  # but for the figures of this part
            return html_from_report(ReportRecord.from_json(report, "report.json"))

    return make


def part_of(page):
    return page.partition('<h2 id="decisions">')[2].partition("<h2 ")[0]


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL))


def test_temperature_and_calibration_always_stand_and_nothing_else(page):
    html = page()
    part = text_of(part_of(html))
    assert '<a href="#decisions">' in html
    assert "a temperature of 1.7" in part
    assert "8.3 % 0.512" in part
    assert "2.1 % 0.437" in part
    assert "Promised" not in part
    assert "unknown" not in part


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, False),
        ({"loss_after": 0.52}, True),
        ({"loss_after": 0.512}, True),
        ({"loss_after": 0.512, "temperature": 1.0, "fitted": False}, False),
    ],
)
def test_a_temperature_that_does_not_help_on_test_images_is_said(page, stages, change, said):
    calibration = stages["decide"]["figures"]["calibration"] | change
    sentence = "On the test images the temperature does not improve the negative log likelihood."
    assert (sentence in text_of(part_of(page(calibration=calibration)))) == said


def test_a_report_of_before_has_no_such_part(page):
    html = page(calibration=None)
    assert "#decisions" not in html
    assert 'id="decisions"' not in html


def test_a_promise_has_its_point_curve_and_price(page):
    html = part_of(page(points=[POINT], currency="EUR"))
    part = text_of(html)
    assert html.count("<svg") == 1
    assert "b&lt;i&gt;" in html
    assert "b<i>" not in html
    assert "is promised with 95 % confidence, from a probability of 0.12" in part
    assert "99.0 % 94.5 % to 100.0 % 82.5 %" in part
    assert "1 21 184.00" in part
    assert "10 2 1,008.00" in part
    assert "A miss costs 50 EUR" in part


def test_what_cannot_be_promised_says_how_many_images_would(page):
    short = POINT | {"threshold": None, "validation": {"hits": 40, "images": 40, "lower": 0.928}, "cost": None}
    part = text_of(part_of(page(points=[short])))
    assert "cannot be promised with 95 % confidence, no threshold is set" in part
    assert "at least 299 images of it are needed, all right" in part
    assert "EUR" not in part


def test_the_answer_unknown_has_its_coverage_and_what_it_refuses(page):
    part = text_of(part_of(page(unknown=UNKNOWN)))
    assert "keeps 384 of 400 test images and refuses 41 of 50 others" in part
    assert "400 96.0 % 4.0 % 93.6 % to 97.7 %" in part
    assert "50 18.0 % 82.0 % 68.6 % to 91.4 %" in part
    assert "94.3 % of the pairs (AUROC; 50 % is chance)" in part
    alone = text_of(part_of(page(unknown=UNKNOWN | {"others": None})))
    assert "name a folder of some with decide.unknown" in alone
