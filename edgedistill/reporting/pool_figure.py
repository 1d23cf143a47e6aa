"""Draw the student's accuracy against the number of images that it learnt from."""

from __future__ import annotations

from markupsafe import Markup

from edgedistill.records.report import ReportRecord
from edgedistill.reporting.chart import MUTED, STUDENT, STYLED, new_figure, plain_decades, svg_of, within_percent
from edgedistill.reporting.formats import words


@STYLED
def pool_figure(report: ReportRecord) -> Markup | None:
    """Draw each training, and the predictions with their 95 % intervals; None without stage `curve`."""
    curve = report.taught.pool_curve
    if curve is None:
        return None
    figure, axes = new_figure(2.9)
    images = [point.images for point in curve.points]
    axes.plot(
        images, [100 * point.metric(curve.metric) for point in curve.points], "o", color=STUDENT, label="measured"
    )
    for number, row in enumerate(curve.expected):
        at = curve.labelled_images + row.pool_images
        axes.plot([at, at], [100 * end for end in row.interval], color=MUTED, linewidth=2)
        axes.plot([at], [100 * row.fraction], "o", color=MUTED, fillstyle="none", label="" if number else "predicted")
    axes.set_xscale("log")
    plain_decades(axes.xaxis)
    axes.set_xlabel("images learnt from, with and without a label")
    axes.set_ylabel(f"{words(curve.metric)}, %")
    within_percent(axes.yaxis)
    axes.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1))
    return svg_of(figure, "pool", "Accuracy of the student by the images that it learnt from")
