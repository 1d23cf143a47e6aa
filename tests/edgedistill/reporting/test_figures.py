"""What the axes of the drawings say."""

import re

import pytest

from edgedistill.records.report import ReportRecord
from edgedistill.reporting import accuracy_figures, device_figures, ladder_figures, pareto_figure, training_figures
from record_factories import report_of


def texts(svg: str) -> list[str]:
    return [text.replace("\N{MINUS SIGN}", "-") for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def numbers(svg: str) -> list[float]:
    return [float(text) for text in texts(svg) if re.fullmatch(r"-?\d+(\.\d+)?", text)]


@pytest.fixture(scope="module")
def perfect(stages_to_read, recipe) -> ReportRecord:
    """Networks of 96 to 100 %, where a margin reaches beyond all of them; and a large memory that hardly changes."""
    report = report_of(stages_to_read, recipe)
    for name, top1 in (("teacher", 1.0), ("baseline", 0.4), ("student", 1.0)):
        report[name] |= {"top1_fraction": top1, "top1_interval": [top1 - 0.04, top1]}
    for step in report["accuracy_ladder"].values():
        step |= {"top1_fraction": 1.0, "balanced_accuracy_fraction": 0.99}
    for row in report["histories"]["student"]:
        row["eval_top1_fraction"] = 1.0
    (device,) = report["devices"]
    count = len(device["trace"]["at_s"])
    device["trace"]["available_mib"] = [22760.0 + number / count for number in range(count)]
    device["samples_ms"] = {"host_ms": [3.0] * 200, "end_to_end_ms": [5.0] * 200}
    return ReportRecord.from_json(report, "report.json")


POINTS = [
    {"name": "", "role": "teacher", "size": 3.0, "value": 1.0},
    {"name": "", "role": "student", "size": 1.0, "value": 0.2},
]
DRAWN = {
    "accuracy": lambda report: accuracy_figures.accuracy_figure(report),
    "recall": lambda report: accuracy_figures.recall_figure(report),
    "ladder": lambda report: ladder_figures.ladder_figure(report),
    "curves": lambda report: training_figures.curves_figure(report),
    "histogram": lambda report: device_figures.histogram_figure(report.devices[0], 0),
    "pareto": lambda report: pareto_figure.pareto_figure(POINTS, "top-1", "size"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_axis_of_percentages_goes_beyond_a_hundred(perfect, name):
    svg = DRAWN[name](perfect)
    assert any("%" in text for text in texts(svg))
    assert len(numbers(svg)) >= 3
    assert max(numbers(svg)) <= 100
    assert min(numbers(svg)) >= 0


def test_ticks_are_whole_numbers_without_an_offset(perfect):
    svg = device_figures.trace_figure(perfect.devices[0], 0)
    assert not [text for text in texts(svg) if "e+" in text or re.search(r"\de\d", text)]
    assert any(22759 <= number <= 22762 for number in numbers(svg)), "the memory's own axis"
