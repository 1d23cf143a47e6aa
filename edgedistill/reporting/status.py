"""Say in one line whether the student is of use; it is the first line of the page."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.evaluation.intervals import metric_interval
from edgedistill.records.evaluation import Scores
from edgedistill.records.report import Gain, ReportFigures, Status, Verdict
from edgedistill.reporting.findings import Finding, gain_not_shown, gain_shown, images_not_apart, missed_limits
from edgedistill.reporting.formats import percent, words
from edgedistill.reporting.target_speed import boards_of


def status_of(report: ReportFigures, verdict: Verdict) -> Status:
    """Judge a run by its figures. The gravest finding gives the word; the sentences of all follow.

    In this order: a student that is no better than always naming the largest class, or whose executed precision
    gives no numbers; figures that prove nothing; a limit of the recipe that is missed; a loss by the teacher; no gain
    that is shown. A run without any of these is good.

    Args:
        report: with every figure.
        verdict: on the recipe's limits.
    """
    gain, sentence = report.gain, _over_baseline(report.gain)
    no_gain = gain_not_shown(gain.interval_points, sentence, gain.over_seeds)
    findings = [*_unusable(report), *_doubts(report), *missed_limits(verdict), *no_gain]
    told = findings or [gain_shown(sentence, gain.over_seeds)]
    word, cause, _ = told[0]
    sentences = [each for *_, each in told]
    if not findings:
        sentences += [verdict.sentence] if verdict.rows else []
        sentences += [] if boards_of(report) else [f"Speed and memory on {report.target.title} were not measured."]
    return Status(word=word, line=f"{word}: {cause}" if cause else word, sentences=sentences)


def _unusable(report: ReportFigures) -> Iterator[Finding]:
    chance, metric, executed = report.chance, report.metric, report.target.executed
    scores: dict[str, Scores] = {"": report.student}
    if executed in report.accuracy_ladder:  # fp32 is the student's own
        step = report.accuracy_ladder[executed]
        if not step.finite:
            yield "not usable", f"{executed.upper()} gives NaN or infinity", f"{report.target.title} executes it."
        scores[f"{executed.upper()} "] = step
    for precision, measured in scores.items():
        if chance.reaches(measured, metric):
            below = "below" if measured.metric(metric) < chance.metric(metric) else "at"
            yield (
                "not usable",
                f"{precision}{below} chance",
                f"The student's {precision}{words(metric)} is {percent(measured.metric(metric))} on "
                f"{report.test_images} test images; always naming the largest class, {chance.majority_class!r}, gives "
                f"{percent(chance.metric(metric))}.",
            )
            return


def _doubts(report: ReportFigures) -> Iterator[Finding]:
    chance, metric = report.chance, report.metric
    low, high = metric_interval(report.student, metric)
    if low <= chance.metric(metric) < report.student.metric(metric):
        yield (
            "in doubt",
            "not shown to be better than chance",
            f"The 95 % interval of the student's {words(metric)}, {percent(low)} to {percent(high)}, holds the "
            f"{percent(chance.metric(metric))} of always naming the largest class, {chance.majority_class!r}.",
        )
    yield from images_not_apart(report.data)


def _over_baseline(gain: Gain) -> str:
    low, high = gain.interval_points
    return (
        f"With the teacher the student's {words(gain.metric)} changes by {gain.points:+.1f} points (95 % interval "
        f"{low:+.1f} to {high:+.1f})."
    )
