"""What the axes of the drawings say."""

import itertools
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


def names_of(*points: tuple[str, float, float]) -> dict[str, tuple[float, float]]:
    """Where each name stands in the drawing: x of its middle, and y of its line, downwards."""
    rows = [{"name": name, "role": "link", "size": size, "value": value} for name, size, value in points]
    svg = pareto_figure.pareto_figure(rows, "top-1", "size")
    placed = re.findall(r'<text[^>]*text-anchor[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    return {name: (float(x), float(y)) for x, y, name in placed if name in {point[0] for point in points}}


def test_the_name_of_the_better_of_two_points_at_one_place_stands_above():
    for first, second in ((0.688, 0.694), (0.694, 0.688)):
        names = names_of(("teacher", 3.4, 0.83), ("baseline", 0.57, first), ("student", 0.57, second))
        assert (names["student"][1] < names["baseline"][1]) == (second > first)


def test_names_of_points_that_are_close_stand_apart():
    close = [(f"number_{n}", 1 + 0.02 * n, 0.70 + 0.04 * n) for n in range(3)]
    names = names_of(*close, ("far", 9.0, 0.95))
    assert len(names) == 4
    for one, other in itertools.combinations(names.values(), 2):
        assert abs(one[0] - other[0]) > 45 or abs(one[1] - other[1]) > 8, names


def test_a_short_axis_of_sizes_has_more_than_one_tick():
    rows = [{"name": "", "role": "link", "size": size, "value": 0.5} for size in (1.1, 1.3)]
    svg = pareto_figure.pareto_figure(rows, "top-1", "size")
    assert len([number for number in numbers(svg) if 1 <= number <= 1.5]) >= 3


def percent_at(svg: str, x: str) -> float:
    """The value at a place of the horizontal axis, by its first and last tick."""
    style = r'style="(?=[^"]*text-anchor: middle)(?=[^"]*fill: var\(--muted\))[^"]*"'  # their order is Matplotlib's
    ticks = re.findall(style + r' x="([\d.]+)"[^>]*>([\d.]+)<', svg)
    (left, low), (right, high) = ((float(place), float(value)) for place, value in (ticks[0], ticks[-1]))
    return low + (high - low) * (float(x) - left) / (right - left)


@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_the_metric_that_judges_the_run_is_filled_and_has_the_interval_and_the_chance(stages_to_read, recipe, metric):
    table = recipe.model_dump(mode="json")
    table["data"]["metric"] = metric
    report = report_of(stages_to_read, type(recipe).model_validate(table))
    svg = accuracy_figures.accuracy_figure(ReportRecord.from_json(report, "report.json"))
    (other,) = {"top1_fraction", "balanced_accuracy_fraction"} - {metric}
    for net in ("teacher", "baseline", "student"):
        (filled,) = re.findall(rf'<use [^>]* x="([\d.]+)" y="[\d.]+" style="fill: var\(--{net}\)', svg)
        (hollow,) = re.findall(
            rf'<use [^>]* x="([\d.]+)" y="[\d.]+" style="fill-opacity: 0; stroke: var\(--{net}\)', svg
        )
        assert percent_at(svg, filled) == pytest.approx(100 * report[net][metric], abs=0.01)
        assert percent_at(svg, hollow) == pytest.approx(100 * report[net][other], abs=0.01)
        assert f"{100 * report[net][metric]:.1f} %" in [text.replace("\xa0", " ") for text in texts(svg)]
    bar = r'd="M ([\d.]+) [\d.]+ \nL ([\d.]+) [\d.]+ \n"[^>]*stroke: var\(--student\); stroke-width: 3;'
    ends = [percent_at(svg, x) for x in re.search(bar, svg).groups()]
    assert ends == pytest.approx([100 * end for end in report["student_interval"]], abs=0.01)
    if metric == "top1_fraction":
        assert ends == pytest.approx([100 * end for end in report["student"]["top1_interval"]], abs=0.01)
    (chance,) = re.findall(r'd="M ([\d.]+) [\d.]+ \nL [\d.]+ [\d.]+ \n"[^>]*stroke-dasharray', svg)
    counts = report["data"]["counts"]["test"].values()
    expected = max(counts) / sum(counts) if metric == "top1_fraction" else 1 / len(counts)
    assert percent_at(svg, chance) == pytest.approx(100 * expected, abs=0.01)
