"""What a report says of a student that answers with any number of labels."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.records.output_report import OutputReportFigures, OutputReportRecord
from edgedistill.records.outputs import OutputFigures
from edgedistill.reporting.findings import Finding
from edgedistill.reporting.formats import kind

_OVERALL = {"map": "mean average precision", "f1_macro": "F1 macro", "f1_micro": "F1 micro", "exact_match": "all right"}
_WEAKEST = 3  # labels that are named in the terminal


def no_better_than_alike(report: OutputReportFigures, precision: str, figures: OutputFigures) -> Finding | None:
    """`not usable` where the labels' frequencies rank the test images as well; `precision` as `INT8 ` or empty."""
    found, alike = figures.metric("map"), report.constant.metric("map")
    if found > alike:
        return None
    return (
        "not usable",
        f"{precision}no better than the labels' frequencies",
        f"The student's {precision}mean average precision is {found:.3f}; always answering the labels' frequencies "
        f"gives {alike:.3f}.",
    )


def label_doubts(report: OutputReportFigures) -> Iterator[Finding]:
    """Figures that prove nothing."""
    low, high = report.over_constant.interval_points
    if low <= 0 < report.over_constant.points:
        yield (
            "in doubt",
            "not shown to be better than the labels' frequencies",
            f"The 95 % interval of what it gains over always answering the labels' frequencies, {low:+.1f} to "
            f"{high:+.1f} points of mean average precision, holds zero.",
        )
    for one in report.student.named("ap"):
        alike = report.constant.figure("ap", one.output).value
        if one.value <= alike:
            yield (
                "in doubt",
                f"{one.output} is not learnt",
                f"The average precision of {one.output} is {one.value:.3f}, its frequency {alike:.3f}.",
            )


def label_gain_sentence(report: OutputReportFigures) -> str:
    """The student over the baseline."""
    return f"With the teacher the mean average precision changes by {label_gain_text(report)}."


def label_gain_text(report: OutputReportFigures) -> str:
    """`+1.2 points (95 % interval ...)`."""
    low, high = report.gain.interval_points
    return f"{report.gain.points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def label_rows(report: OutputReportRecord) -> list[tuple[str, ...]]:
    """The table at the end of a run."""
    rows: list[tuple[str, ...]] = [("", *_OVERALL.values(), "95 % interval of the first", "parameters")]
    for name in ("teacher", "baseline", "student"):
        net = report.network(name)
        low, high = net.figure("map").interval
        figures = (f"{net.metric(key):.3f}" for key in _OVERALL)
        rows.append((name, *figures, f"{low:.3f} to {high:.3f}", f"{net.parameters / 1e6:.2f} M"))
    return [*rows, ("frequencies", f"{report.constant.metric('map'):.3f}", "", "", "", "", "")]


def label_facts(report: OutputReportRecord) -> list[tuple[str, str]]:
    """Facts below it."""
    weakest = sorted(report.student.named("ap"), key=lambda one: one.value)[:_WEAKEST]
    return [
        ("gain", f"mean average precision {label_gain_text(report)} against the baseline (measured)"),
        ("weakest", ", ".join(f"{one.output} {one.value:.3f}" for one in weakest) + " (average precision)"),
    ]


def label_ladder(report: OutputReportRecord) -> str:
    """Each precision, in one line."""
    steps = [
        f"{name} {step.metric('map'):.3f} ({kind(step.provenance)})" for name, step in report.accuracy_ladder.items()
    ]
    steps += [f"{name} {step.change}" for name, step in report.accuracy_ladder.items() if name == "int8"]
    return f"mean average precision: {'; '.join(steps)}"
