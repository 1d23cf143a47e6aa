"""Render the comparison of several runs as one self-contained page."""

from __future__ import annotations

from typing import Any

from edgedistill.core.text import printable_values
from edgedistill.reporting.formats import FILTERS, words
from edgedistill.reporting.pareto_figure import pareto_figure
from edgedistill.reporting.rendering import json_in_html, rendered


def html_from_comparison(comparison: dict[str, Any]) -> str:
    """Render sortable tables and a plot of accuracy against multiply-adds; equal input gives equal bytes.

    Args:
        comparison: from `comparison.compared`; the page also holds it in the element `#comparison`.
    """
    comparison = printable_values(comparison)  # reports may come from anywhere
    runs = comparison["runs"]
    points = [
        {"name": run["name"], "role": "student", "size": run["macs"] / 1e6, "value": run["student_fraction"]}
        for run in runs
    ]
    figure = None
    if comparison["comparable"]:  # on one axis there is one metric, on the same test images
        metric = words(runs[0]["metric"]).removesuffix(" accuracy")
        figure = pareto_figure(points, metric, "multiply-adds, million")
    return rendered(
        "compare.html.j2",
        FILTERS,
        comparison=comparison,
        figure=figure,
        raw=json_in_html(comparison),
    )
