"""Compute the gain from the teacher: student minus baseline, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from edgedistill.config.task import Task
from edgedistill.evaluation.intervals import balanced_interval, over_seeds, paired_interval
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.outputs import OutputSeeds
from edgedistill.records.report import Gain, OverSeeds


def gain_of(evaluated: EvaluationRecord, metric: str) -> Gain:
    """Compute student minus baseline in the recipe's metric and in top-1, each with its 95 % interval.

    Args:
        evaluated: of stage `evaluate`.
        metric: `top1_fraction` or `balanced_accuracy_fraction`.
    """
    student, baseline = evaluated.student, evaluated.baseline
    better, worse = evaluated.student_only_correct, evaluated.baseline_only_correct
    top1_interval = [100 * v for v in paired_interval(better, worse, evaluated.images)]
    if metric == "top1_fraction":
        interval, method = top1_interval, "paired, from the images on which the two differ"
        step = 100 / evaluated.images
    else:
        interval = [100 * v for v in balanced_interval(evaluated.only_correct_by_class)]
        method = "paired, from the images of each class on which the two differ"
        step = 100 * fmean(1 / images for *_, images in evaluated.only_correct_by_class if images)
        step /= sum(1 for *_, images in evaluated.only_correct_by_class if images)
    seeds = evaluated.seeds
    points = 100 * (student.metric(metric) - baseline.metric(metric))
    spread = over_seeds(
        [seed.baseline.metric(metric) for seed in seeds], [seed.student.metric(metric) for seed in seeds], step
    )
    return Gain(
        metric=metric,
        points=points,
        interval_points=interval,
        interval_method=method,
        shown=not interval[0] <= 0 <= interval[1],
        sentence=_sentence(interval),
        top1_points=100 * (student.top1_fraction - baseline.top1_fraction),
        top1_points_interval=top1_interval,
        student_only_correct=better,
        baseline_only_correct=worse,
        mcnemar_p=evaluated.mcnemar_p,
        seeds=len(seeds),
        over_seeds=OverSeeds.model_validate(spread),
    )


def gain_over_output_seeds(seeds: Sequence[OutputSeeds], task: Task) -> OverSeeds:
    """Compute what the spread over trainings shows of the gain of a student that answers with figures or labels.

    Args:
        seeds: the task's primary figure of each training.
        task: says whether that figure is an error, and what its points are.

    Returns:
        Points of the task; of an error the figures of baseline and student are negative, so that a gain is above 0.
    """
    sign = -1 if task.lower_is_better else 1
    spread = over_seeds([sign * one.baseline for one in seeds], [sign * one.student for one in seeds])
    if len(seeds) > 1:
        spread["sentence"] = spread["sentence"].removesuffix("points") + task.points
    return OverSeeds.model_validate(spread)


def _sentence(interval: list[float]) -> str:
    low, high = interval
    if low > 0:
        return f"the teacher helped: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    if high < 0:
        return f"the teacher lowered the accuracy: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    return f"no gain shown: the 95 % interval, {low:+.1f} to {high:+.1f} points, holds zero"
