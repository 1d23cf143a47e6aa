"""Format the short table at the end of a run."""

from __future__ import annotations

import textwrap

from edgedistill.core.text_table import table_lines
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.report import Gain, ReportRecord
from edgedistill.reporting.class_recall import weakest_class
from edgedistill.reporting.devices import spot_of
from edgedistill.reporting.formats import fps, kind, networks, words
from edgedistill.reporting.output_report import output_summary
from edgedistill.reporting.status import status_of
from edgedistill.reporting.target_speed import target_speed

WIDTH = 80  # columns, where the terminal does not have fewer


def summary_table(report: ReportRecord | OutputReportRecord, width: int | None = None) -> str:
    """Format the results as plain text, each figure with its provenance.

    Args:
        width: columns of the terminal; WIDTH when None, and at most so many.
    """
    width = min(width or WIDTH, WIDTH)
    if isinstance(report, OutputReportRecord):
        rows, facts = output_summary(report)
        facts += [
            *_images(report),
            *_hosts(report),
            *_on_target(report),
            ("budget", report.verdict.sentence),
            ("time", _time(report)),
        ]
        return "\n".join([*table_lines(rows, range(2, len(rows[0])), width), "", *_fact_lines(facts, report, width)])
    gain = report.gain
    metric, retained = words(report.metric), report.retention_fraction
    status, weakest = status_of(report, report.verdict), weakest_class(report)
    facts = [
        ("status", f"{status.line}. {status.sentences[0]}"),
        ("networks", networks(report)),
        *_images(report),
        (
            "retention",
            "unknown: the teacher classifies no image correctly"
            if retained is None
            else f"{retained:.1%} of the teacher's {metric} (measured)",
        ),
        (
            "gain",
            f"{gain.points:+.1f} points of {metric} over the baseline (measured, "
            f"{_seeds(gain.seeds)}); {gain.sentence}",
        ),
        *_over_seeds(gain),
        *([("weakest class", weakest)] if weakest else []),
        *_links(report),
        (
            "smaller",
            f"file {report.size_ratio:.1f} x, MACs {report.macs_ratio:.1f} x, teacher over student (counted)",
        ),
        ("precision", _ladder(report)),
        *([("gallery", report.nearest.gallery.sentence)] if report.nearest else []),
        *([("int8", report.int8.sentence)] if report.int8 else []),
        *_hosts(report),
        *_on_target(report),
        ("budget", report.verdict.sentence),
        ("time", _time(report)),
    ]
    return "\n".join([*_networks(report, width), "", *_fact_lines(facts, report, width)])


def _fact_lines(facts: list[tuple[str, str]], report: ReportRecord | OutputReportRecord, width: int) -> list[str]:
    """The facts, then notes and advice."""
    notes = [("note", line) for line in report.warnings]
    notes += [("try", f"{step.idea}: {step.command}") for step in report.advice]
    indent = max(len(name) for name, _ in facts) + 2
    return [_wrapped(name, text, indent, width) for name, text in [*facts, *notes]]


def _networks(report: ReportRecord, width: int) -> list[str]:
    by = f"by {report.nearest.neighbours} nearest" if report.nearest else "top-1"
    rows = [("", by, "95 % interval", "balanced", "parameters", "MACs", "ONNX file")]
    for name in ("teacher", "baseline", "student"):
        net = report.network(name)
        low, high = net.top1_interval
        rows.append(
            (
                name,
                f"{net.top1_fraction:.1%}",
                f"{low:.1%} to {high:.1%}",
                f"{net.balanced_accuracy_fraction:.1%}",
                f"{net.parameters / 1e6:.2f} M",
                f"{net.macs / 1e6:.1f} M",
                f"{net.file_bytes / 1e6:.1f} MB",
            )
        )
    return table_lines(rows, range(1, len(rows[0])), width)


def _images(report: ReportRecord | OutputReportRecord) -> list[tuple[str, str]]:
    """What the student learnt from and its baseline could not."""
    taught = report.taught
    if not taught.pool_images:
        return []
    pool, withheld = taught.pool_images, taught.pool_of_train
    without = f"{pool} without" + (f", {withheld} of them by data.train_labels" if withheld else "")
    if withheld == pool:
        without = f"{pool} whose labels are not used (data.train_labels)"
    return [
        (
            "images",
            f"{report.data.images['train']} with a label; {without}, which the student alone learns from, with the "
            f"teacher's answers; {report.data.images['test']} to test on (counted)",
        )
    ]


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"first of {count} seeds"


def _over_seeds(gain: Gain) -> list[tuple[str, str]]:
    spread = gain.over_seeds
    if spread.seeds == 1:
        return []
    parts = [
        f"{name} {of.mean_points:.1f} +- {of.sd_points:.1f}"
        for name, of in (("baseline", spread.baseline), ("student", spread.student))
    ]
    change = spread.gain
    return [
        (
            f"{spread.seeds} seeds",
            f"{', '.join(parts)}, gain {change.mean_points:+.1f} +- "
            f"{change.sd_points:.1f} points (measured, mean and standard deviation); "
            f"{spread.sentence}",
        )
    ]


def _links(report: ReportRecord) -> list[tuple[str, str]]:
    metric = report.metric
    shown = ", ".join(f"{link.model} {link.metric(metric):.1%}" for link in report.links)
    return [(report.method, f"{shown} {words(metric)} (measured)")] if shown else []


def _time(report: ReportRecord | OutputReportRecord) -> str:
    stages = {name: seconds for name, seconds in report.cost.items() if not isinstance(seconds, str)}
    before = {name: f" (begun before, training {seconds:.0f})" for name, seconds in report.trained_before.items()}
    shown = ", ".join(f"{name} {seconds:.0f}{before.get(name, '')}" for name, seconds in stages.items())
    return f"{sum(stages.values()):.0f} s: {shown}"


def _ladder(report: ReportRecord) -> str:
    steps = [
        f"{name} {step.top1_fraction:.1%} ({kind(step.provenance)})" for name, step in report.accuracy_ladder.items()
    ]
    int8 = report.accuracy_ladder["int8"]
    return f"{int8.figure_name}: {', '.join(steps)}; int8 {int8.change}"


def _hosts(report: ReportRecord | OutputReportRecord) -> list[tuple[str, str]]:
    """Return a row for each host; the teacher is timed on this computer only."""
    if not report.devices:
        return [("speed", "unknown: nothing was timed, deploy.hosts is empty")]
    rows = []
    for device in report.devices:
        here = spot_of(device) == "this computer"
        text = f"{device.fps.host:.0f} FPS the network alone, {device.fps.end_to_end:.0f} FPS from the image file"
        if here and report.speedup.ratio is not None:
            text += f", {report.speedup.ratio:.1f} x the teacher's speed"
        rows.append(("here" if here else spot_of(device), f"{text} ({device.provenance})"))
    return rows


def _on_target(report: ReportRecord | OutputReportRecord) -> list[tuple[str, str]]:
    """Return the published or predicted speed on the board when no board was timed; `_hosts` has timed boards."""
    speed, title = target_speed(report), report.target.title
    if speed.kind == "measured":
        return []
    if speed.kind == "unknown":
        return [(title, f"unknown: {speed.reason}")]
    if speed.kind == "published":
        figures = [f"{fps(figure.fps)} FPS (published: {figure.source.partition(' (')[0]})" for figure in speed.figures]
        return [(title, "; ".join(figures))]
    (figure,) = speed.figures
    beyond = ", extrapolated" if speed.extrapolated else ""
    return [
        (
            title,
            f"{fps(figure.fps)} FPS, {fps(figure.low)} to {fps(figure.high)}{beyond}, the network "
            f"alone ({figure.provenance})",
        )
    ]


def _wrapped(name: str, text: str, indent: int, width: int) -> str:
    first, later = name.ljust(indent), " " * indent
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
