"""Find classes that the student recognises badly although its overall metric may be good."""

from __future__ import annotations

from typing import NamedTuple

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import CLASSIFICATION, task_of
from edgedistill.core.text import plural, printable
from edgedistill.evaluation.intervals import CONFIDENCE, paired_interval
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.report import ReportFigures
from edgedistill.reporting.formats import percent

SMALL_CLASS = 20  # test images of one class; one image is then 5 points of its recall
WEAK_RECALL = 0.5  # of a network on one class
WORSE = 0.1  # of the recall, student below baseline


class ClassRecall(NamedTuple):
    """Recall of one class on the test images, 0..1."""

    name: str
    images: int
    student: float
    baseline: float
    above: float
    """Upper end of the interval of student minus baseline."""

    @property
    def got_worse(self) -> bool:
        """Whether the student is below its baseline by more than WORSE, and by more than chance explains."""
        return self.student < self.baseline - WORSE and self.above < 0

    @property
    def is_weak(self) -> bool:
        """Whether the student misses most images of the class."""
        return self.student < WEAK_RECALL


def class_warnings(evaluated: EvaluationRecord, classes: list[str], recipe: Recipe) -> list[str]:
    """Return a sentence on the class whose recall fell most, and one on the weakest of the others.

    Classes of fewer than SMALL_CLASS test images are not judged. The level of the intervals is shared out among the
    classes (Bonferroni), so that many classes do not make an alarm by chance.

    Args:
        evaluated: the networks on the test images.
        classes: names, in the order of the logits.
        recipe: of the run.
    """
    judged = _judged(evaluated, classes)
    worse = sorted((one for one in judged if one.got_worse), key=lambda one: one.student - one.baseline)
    weak = sorted((one for one in judged if one.is_weak and not one.got_worse), key=lambda one: one.student)
    teaching = "by learning from itself" if recipe.distill.method == "self" else "with the teacher"
    sentences = []
    if worse:
        others = f" and {plural(len(worse) - 1, 'other', 'others')}" if worse[1:] else ""
        sentences.append(f"{_figures(worse[0])}: {teaching} this class{others} got worse.{_hint(worse[0], recipe)}")
    if weak:
        others = f", as of {plural(len(weak) - 1, 'other class', 'other classes')}" if weak[1:] else ""
        sentences.append(f"{_figures(weak[0])}: less than half{others}.{_hint(weak[0], recipe)}")
    return sentences


def weakest_class(report: ReportFigures) -> str | None:
    """Say which class the student recognises worst; None where none has SMALL_CLASS test images."""
    counts, recalls = report.data.counts["test"], report.student.per_class_recall
    judged = {
        name: recall for name, recall in recalls.items() if recall is not None and counts.get(name, 0) >= SMALL_CLASS
    }
    if not judged:
        return None
    name = min(judged, key=judged.__getitem__)
    baseline = report.baseline.per_class_recall[name] or 0.0
    return (
        f"{printable(name)}: recall {judged[name]:.1%} on {plural(counts[name], 'test image')}, the baseline's "
        f"{baseline:.1%} (measured)"
    )


def _judged(evaluated: EvaluationRecord, classes: list[str]) -> list[ClassRecall]:
    student, baseline = evaluated.student.per_class_recall, evaluated.baseline.per_class_recall
    pairs = zip(classes, evaluated.only_correct_by_class, strict=True)
    rows = [(name, counts) for name, counts in pairs if counts[2] >= SMALL_CLASS]
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(rows))
    return [
        ClassRecall(
            name,
            images,
            student[name] or 0.0,
            baseline[name] or 0.0,
            paired_interval(student_only, baseline_only, images, confidence)[1],
        )
        for name, (student_only, baseline_only, images) in rows
    ]


def _hint(one: ClassRecall, recipe: Recipe) -> str:
    """What helps, unless the recipe has it or its student has no classes."""
    if one.name in recipe.decide.promises or task_of(recipe).name != CLASSIFICATION.name:
        return ""
    return " `[decide] recall` trades it against false alarms."


def _figures(one: ClassRecall) -> str:
    return (
        f"The student finds {percent(one.student)} of the test images of {one.name!r} ({one.images}), its baseline "
        f"{percent(one.baseline)}"
    )
