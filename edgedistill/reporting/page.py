"""report.json -> one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from edgedistill.records.evaluation import LinkScores
from edgedistill.records.report import ReportNetwork, ReportRecord
from edgedistill.records.report_speed import ReportDevice
from edgedistill.reporting import accuracy_figures, device_figures, device_tables, ladder_figures, training_figures
from edgedistill.reporting.chart import short
from edgedistill.reporting.devices import board_mib, place_of, spot_of
from edgedistill.reporting.disagreements import MOST
from edgedistill.reporting.formats import (
    breakable,
    fps,
    kind,
    megabytes,
    millions,
    number,
    percent,
    points,
    times,
    words,
)
from edgedistill.reporting.pareto_figure import pareto_figure, students_figure
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.reporting.target_speed import target_speed

MATRIX_CLASSES = 12  # with more, the confusions are a list
CONFUSIONS = 20  # of that list
EMBEDDED = 100  # classes whose confusion counts stand in the page; 1000 would weigh 6 MB
_SECTIONS = (
    ("budget", "Budget"),
    ("ladder", "Precision"),
    ("training", "Training"),
    ("recall", "Accuracy and classes"),
    ("students", "Students"),
    ("confusion", "Confusion"),
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
) -> str:
    """The whole page: figures inline, nothing fetched. Equal input, equal bytes.

    A content security policy inside the page allows its own script, by hash, and nothing else;
    reading needs no script.

    Args:
        report: it also stands in the page, as JSON in the element
            `#report`, whole but for the confusion counts of very many classes.
        synthesised: PNG of the images that a data-free student was taught on.
        thumbnails: sha256 of a test image -> JPEG, of those in report.disagreements.
    """
    absent = {"cost"} if report.running_cost is None else set()
    absent |= set() if report.advice else {"advice"}
    absent |= {"students"} if report.swept is None else set()
    few = len(report.data.classes) <= MATRIX_CLASSES
    return rendered(
        "page.html.j2",
        report=report,
        on_target=target_speed(report),
        figures=_figures(report),
        hosts=[_host(device, number) for number, device in enumerate(report.devices)],
        sections=[one for one in _SECTIONS if one[0] not in absent],
        matrices=few,
        confused=[] if few else _confused(report),
        raw=json_in_html(report.to_json() if len(report.data.classes) <= EMBEDDED else _small(report)),
        worst=accuracy_figures.WORST,
        most=MOST,
        recipe_toml=toml_from_recipe(report.provenance.recipe),
        synthesised=synthesised and _base64(synthesised),
        thumbnails={name: _base64(jpeg) for name, jpeg in (thumbnails or {}).items()},
    )


def rendered(template: str, **values: Any) -> str:
    """A template of this folder with our script in it, and the hash that allows it to run."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgedistill.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, percent, words, points, kind, millions, times, megabytes, fps, short, breakable)
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters |= {"place": place_of, "spot": spot_of, "mib": board_mib}
    script = (resources.files("edgedistill.reporting") / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(script=script, script_hash=f"sha256-{digest}", **values)


def json_in_html(value: Any) -> Markup:
    """JSON that no value can break out of: `</script>` and `<!--` need a `<`."""
    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))


def _figures(report: ReportRecord) -> dict[str, Markup]:
    """What there is nothing to draw of is left out."""
    metric = words(report.metric).removesuffix(" accuracy")
    drawn = {
        "accuracy": accuracy_figures.accuracy_figure(report),
        "recall": accuracy_figures.recall_figure(report),
        "ladder": ladder_figures.ladder_figure(report),
        "rescue": ladder_figures.rescue_figure(report),
        "curves": training_figures.curves_figure(report),
        "terms": training_figures.terms_figure(report),
        "pareto": pareto_figure(network_points(report), metric, "parameters, million"),
        "students": students_figure(report.swept, metric),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def network_points(report: ReportRecord) -> list[dict[str, Any]]:
    """Every network of the run that was tested: by parameters, in millions."""
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


def _host(device: ReportDevice, number: int) -> dict[str, Any]:
    """What the page shows of one host beside its figures."""
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
    """Pairs of true and named class, the ones the student confuses most first."""
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


def _small(report: ReportRecord) -> dict[str, Any]:
    """Without the counts that grow with the square of the classes; report.json has them."""
    nets = ("teacher", "baseline", "student")
    values = report.to_json()
    return values | {name: {key: value for key, value in values[name].items() if key != "confusion"} for name in nets}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
