"""Render report.json as one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from edgedistill.records.evaluation import LinkScores
from edgedistill.records.report import ReportNetwork, ReportRecord
from edgedistill.records.report_speed import ReportDevice
from edgedistill.reporting import accuracy_figures, device_figures, device_tables, ladder_figures, training_figures
from edgedistill.reporting.decision_figures import point_figures_of
from edgedistill.reporting.devices import board_mib, is_stand_in, place_of, spot_of
from edgedistill.reporting.disagreements import MOST
from edgedistill.reporting.formats import FILTERS, words
from edgedistill.reporting.pareto_figure import pareto_figure, students_figure
from edgedistill.reporting.pool_figure import pool_figure
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.reporting.rendering import json_in_html, rendered
from edgedistill.reporting.target_speed import boards_of, fps_range, target_speed

MATRIX_CLASSES = 12  # with more, the confusions are a list
CONFUSIONS = 20  # of that list
EMBEDDED = 100  # most classes whose confusion counts the page holds; 1000 classes take 6 MB
PAGE_FILTERS: dict[str, Callable[..., Any]] = {
    **FILTERS,
    "place": place_of,
    "spot": spot_of,
    "mib": board_mib,
    "stand_in": is_stand_in,
    "fps_range": fps_range,
}
_SECTIONS = (
    ("nearest", "Nearest image"),
    ("budget", "Budget"),
    ("ladder", "Precision"),
    ("training", "Training"),
    ("recall", "Accuracy and classes"),
    ("decisions", "Confidence"),
    ("students", "Students"),
    ("confusion", "Confusion"),
    ("look", "Images to look at"),
    ("disagreements", "Disagreements"),
    ("speed", "Speed and memory"),
    ("cost", "Cost"),
    ("advice", "What to try"),
    ("data", "Data"),
    ("provenance", "Provenance"),
    ("labels", "Labels"),
)


def html_from_report(
    report: ReportRecord,
    synthesised: bytes | None = None,
    thumbnails: dict[str, bytes] | None = None,
    heat: dict[str, bytes] | None = None,
) -> str:
    """Render the whole page with inline figures and no external resources. Equal input gives equal bytes.

    A content security policy inside the page allows its own script, by hash, and nothing else;
    reading needs no script.

    Args:
        report: the page also holds it as JSON in the element `#report`, without confusion counts
            if there are more than EMBEDDED classes.
        synthesised: PNG of training images of a data-free student.
        thumbnails: sha256 of an image -> JPEG, of those in report.disagreements and report.look_closer.
        heat: the same of their heat maps.
    """
    absent = {"cost"} if report.running_cost is None else set()
    absent |= set() if report.advice else {"advice"}
    absent |= {"students"} if report.swept is None else set()
    absent |= {"decisions"} if report.decisions is None else set()
    absent |= {"look"} if report.look_closer is None else set()
    absent |= set() if report.nearest else {"nearest"}
    few = len(report.data.classes) <= MATRIX_CLASSES
    return rendered(
        "page.html.j2",
        PAGE_FILTERS,
        report=report,
        boards=boards_of(report),
        on_target=target_speed(report),
        figures=_figures(report),
        point_figures=point_figures_of(report.decisions),
        hosts=[host_rows(device, number) for number, device in enumerate(report.devices)],
        sections=[one for one in _SECTIONS if one[0] not in absent],
        matrices=few,
        confused=[] if few else _confused(report),
        raw=json_in_html(report.to_json() if len(report.data.classes) <= EMBEDDED else _small(report)),
        other_metric=accuracy_figures.other_metric(report),
        worst=accuracy_figures.WORST,
        most=MOST,
        recipe_toml=toml_from_recipe(report.provenance.recipe),
        synthesised=synthesised and _base64(synthesised),
        thumbnails={name: _base64(jpeg) for name, jpeg in (thumbnails or {}).items()},
        heat={name: _base64(jpeg) for name, jpeg in (heat or {}).items()},
        cells=_cells(report),
    )


def _figures(report: ReportRecord) -> dict[str, Markup]:
    """Draw the figures; those without data are left out."""
    metric = words(report.metric).removesuffix(" accuracy")
    drawn = {
        "accuracy": accuracy_figures.accuracy_figure(report),
        "recall": accuracy_figures.recall_figure(report),
        "ladder": ladder_figures.ladder_figure(report),
        "rescue": ladder_figures.rescue_figure(report),
        "curves": training_figures.curves_figure(report),
        "terms": training_figures.terms_figure(report),
        "pareto": pareto_figure(network_points(report), metric, "parameters, million"),
        "pool": pool_figure(report),
        "students": students_figure(report.swept, metric),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def network_points(report: ReportRecord) -> list[dict[str, Any]]:
    """Return one point for each tested network of the run: parameters in millions and the metric."""
    metric = report.metric
    nets: list[tuple[str, str, ReportNetwork | LinkScores]] = [
        (name, name, report.network(name)) for name in ("teacher", "baseline", "student")
    ]
    nets += [(link.model, "link", link) for link in report.links]
    return [
        {"name": name, "role": role, "size": net.parameters / 1e6, "value": net.metric(metric)}
        for name, role, net in nets
        if net.parameters
    ]


def host_rows(device: ReportDevice, number: int) -> dict[str, Any]:
    """Return the figures and tables of one host."""
    memory = device.memory
    before, peak = memory.process_before_mib, memory.process_peak_mib
    grown = None if before is None or peak is None else peak - before
    rows = [
        ("process, resident, peak", before, peak, grown),
        (
            "system, available, least",
            memory.available_before_mib,
            memory.available_least_mib,
            memory.available_delta_mib,
        ),
        (
            "GPU driver (NvMap), most",
            memory.nvmap_before_mib,
            memory.nvmap_most_mib,
            memory.nvmap_delta_mib,
        ),
    ]
    return {
        "histogram": device_figures.histogram_figure(device, number),
        "trace": device_figures.trace_figure(device, number),
        "memory": [row for row in rows if any(value is not None for value in row[1:])],
        "layers": device_tables.layer_rows(device),
        "loops": device_tables.loop_rows(device),
    }


def _confused(report: ReportRecord) -> list[dict[str, Any]]:
    """Return pairs of true and predicted class, the student's most frequent confusions first."""
    classes, student = report.data.classes, report.student.confusion
    pairs = [(count, i, j) for i, row in enumerate(student) for j, count in enumerate(row) if i != j and count]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    return [
        {
            "label": classes[i],
            "predicted": classes[j],
            **{name: report.network(name).confusion[i][j] for name in ("teacher", "baseline", "student")},
        }
        for _, i, j in pairs[:CONFUSIONS]
    ]


def _cells(report: ReportRecord) -> dict[tuple[str, str], int]:
    """Number of the list of images of a confusion, by true class and answer."""
    cells = report.look_closer.confusions if report.look_closer else []
    return {(cell.label, cell.predicted): number for number, cell in enumerate(cells)}


def _small(report: ReportRecord) -> dict[str, Any]:
    """Leave out the confusion counts, which grow with the square of the classes; report.json has them."""
    nets = ("teacher", "baseline", "student")
    values = report.to_json()
    return values | {name: {key: value for key, value in values[name].items() if key != "confusion"} for name in nets}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
