"""What the teacher was worth: student minus baseline, with what the test images leave open."""

from __future__ import annotations

from statistics import fmean

from edgedistill.evaluation.intervals import balanced_interval, over_seeds, paired_interval
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.report import Gain, OverSeeds


def gain_of(evaluated: EvaluationRecord, metric: str) -> Gain:
    """Student minus baseline in the recipe's metric and in top-1, each with its 95 % interval.

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


def _sentence(interval: list[float]) -> str:
    low, high = interval
    if low > 0:
        return f"the teacher helped: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    if high < 0:
        return f"the teacher did harm: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    return f"no gain shown: the 95 % interval, {low:+.1f} to {high:+.1f} points, holds zero"
