"""report.json -> one self-contained HTML page that opens offline."""

from __future__ import annotations

import json
from typing import Any

import jinja2
from markupsafe import Markup

from edgedistill.report import figures


def html_from_report(report: dict[str, Any]) -> str:
    """The whole page; figures inline, no script, no address of anything outside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgedistill.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {
        name: Markup(svg)  # noqa: S704 - matplotlib escapes the text in its SVG
        for name, svg in {
            "accuracy": figures.accuracy_figure(report),
            "ladder": figures.ladder_figure(report),
            "curves": figures.curves_figure(report),
            "recall": figures.recall_figure(report),
            "latency": figures.latency_figure(report),
        }.items()
        if svg
    }
    # `</script>` in a class name must not end the block, so `<` is written as its escape.
    raw = Markup(json.dumps(report, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["words"] = lambda name: name.removesuffix("_fraction").replace("_", " ")
    return environment.get_template("page.html.j2").render(report=report, figures=drawn, raw=raw)
