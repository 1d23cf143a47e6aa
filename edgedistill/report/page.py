"""report.json -> one self-contained HTML page that opens offline."""

from __future__ import annotations

import base64
import json
from typing import Any

import jinja2
from markupsafe import Markup

from edgedistill.report import figures, ladder_figures


def html_from_report(report: dict[str, Any], synthesised: bytes | None = None) -> str:
    """The whole page: figures inline, no script, nothing fetched. Equal input, equal bytes.

    Args:
        report: as `report_from_stages` makes it; it also stands whole in the page, as JSON in the
            element `#report`.
        synthesised: PNG of the images that a data-free student was taught on.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgedistill.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, words, points, kind, millions, times, megabytes)
    environment.filters |= {function.__name__: function for function in filters}
    drawn = {
        "accuracy": figures.accuracy_figure(report),
        "recall": figures.recall_figure(report),
        "ladder": ladder_figures.ladder_figure(report),
        "rescue": ladder_figures.rescue_figure(report),
        "latency": figures.latency_figure(report),
        "curves": figures.curves_figure(report),
        "terms": figures.terms_figure(report),
    }
    return environment.get_template("page.html.j2").render(
        report=report,
        # matplotlib escapes the text in its SVG
        figures={name: Markup(svg) for name, svg in drawn.items() if svg},
        raw=_json_in_html(report),
        worst=figures.WORST,
        synthesised=synthesised and base64.b64encode(synthesised).decode(),
    )


def percent(fraction: float | None) -> str:
    return "unknown" if fraction is None else f"{100 * fraction:.1f} %"


def points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def times(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.1f}\N{MULTIPLICATION SIGN}"


def millions(count: float) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def words(metric: str) -> str:
    """`balanced_accuracy_fraction` -> `balanced accuracy`."""
    return metric.removesuffix("_fraction").replace("_", " ").replace("top1", "top-1 accuracy")


def kind(provenance: str) -> str:
    """`stand-in: ONNX Runtime ...` -> `stand-in`."""
    return provenance.partition(":")[0]


def _json_in_html(report: dict[str, Any]) -> Markup:
    """JSON that no value can break out of: `</script>` and `<!--` need a `<`."""
    text = json.dumps(report, ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
