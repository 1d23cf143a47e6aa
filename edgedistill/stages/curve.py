"""Stage `curve`: the student once more on parts of the pool, and its accuracy against the size of the pool.

The parts hold each other, and each training takes as many steps as the student itself, so that what differs is the
number of different images. The whole pool's points are the trainings of stage `distill`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedistill.config.task import task_of
from edgedistill.evaluation.power_law import PowerLaw, fit_power_law
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.student import last_teacher, links_before, planned_distill, student_lesson
from edgedistill.records.evaluation import METRICS
from edgedistill.records.pool_curve import CurveRecord, ExpectedScore, PoolPoint
from edgedistill.records.result import Result
from edgedistill.records.training import DistillRecord
from edgedistill.training.batches import TrainingSet
from edgedistill.training.fit import Subject, device_of, logits_of, new_network, spec_for, train_and_save
from edgedistill.training.images import Images

TIMES = (2, 5)  # the pool that there is: what is foretold


def run(context: StageContext) -> Result:
    recipe, images = context.recipe, open_images(context)
    distill, student, device = planned_distill(context), recipe.student, device_of(recipe.run)
    task, cache = task_of(recipe), last_teacher(context, images)
    taught = taught_images(context, images, links_before(context))
    labelled = int((taught.labels >= 0).sum())
    points, files = [], []
    for number, share in enumerate(sorted(distill.pool_shares)):
        model = new_network(student, images.classes, distill.seed, task, context.talk.say)
        lesson = student_lesson(context, images, cache, model, distill.seed, device)
        chosen = of_share(taught, lesson.chosen, share)
        title = f"student, {share:.0%} of the pool"
        subject = Subject(
            student.model, student.weights, model, replace(lesson, chosen=chosen), number, title, task=task
        )
        trained = train_and_save(images, subject, distill, distill.views, device, context.out, context.talk)
        files.append(trained.file)
        points.append(_point(context, images, context.out / trained.file, share, len(chosen), labelled, distill.seed))
    whole = context.read(DistillRecord)
    for training in whole.seeds:
        weights = context.file("distill", training.weights)
        points.append(_point(context, images, weights, 1.0, whole.training_images, labelled, training.seed))
    record = curve_record(points, recipe.data.metric, labelled, len(images.rows("test")))
    for line in lines_from_curve(record):
        context.talk.say(f"  {line}")
    return Result(record, tuple(files), trained.cost)


def of_share(taught: TrainingSet, chosen: np.ndarray | None, share: float) -> np.ndarray:
    """Positions of the labelled images and of a share of the others; a larger share holds the smaller one.

    Args:
        chosen: positions that the student learns from; None for all.
        share: 0..1; the images are taken in the order of their hashes, which is that of no one's folder.
    """
    seen = np.arange(len(taught)) if chosen is None else chosen
    pool = sorted(seen[taught.labels[seen] < 0], key=lambda position: taught.sha256s[position])
    kept = np.array(pool[: round(share * len(pool))], dtype=np.int64)
    return np.sort(np.concatenate([seen[taught.labels[seen] >= 0], kept]))


def curve_record(points: list[PoolPoint], metric: str, labelled: int, test_images: int) -> CurveRecord:
    """The curve through the points, and what TIMES the whole pool would bring."""
    errors = [1 - point.metric(metric) for point in points]
    law = fit_power_law([point.images for point in points], errors, test_images)
    pool = points[-1].pool_images
    return CurveRecord(
        metric=metric,
        labelled_images=labelled,
        points=points,
        exponent=None if law is None else law.exponent,
        expected=[] if law is None else [_expected(law, labelled, pool, times) for times in TIMES],
    )


def lines_from_curve(curve: CurveRecord) -> list[str]:
    """For people."""
    lines = [f"{point.pool_images} images of the pool: {point.metric(curve.metric):.1%}" for point in curve.points]
    lines += [
        f"predicted for {row.pool_images}, {row.times} times the pool: {row.fraction:.1%} "
        f"({row.interval[0]:.1%} to {row.interval[1]:.1%})"
        for row in curve.expected
    ]
    return lines


def _expected(law: PowerLaw, labelled: int, pool: int, times: int) -> ExpectedScore:
    error, low, high = law.expected(labelled + times * pool)
    return ExpectedScore(times=times, pool_images=times * pool, fraction=1 - error, interval=[1 - high, 1 - low])


def _point(
    context: StageContext, images: Images, weights: Path, share: float, seen: int, labelled: int, seed: int
) -> PoolPoint:
    model, about = load_weights(weights)
    device = device_of(context.recipe.run)
    logits = logits_of(model, spec_for(about["model"], context.recipe), images.frames("test"), device)
    measures = evaluator_of(task_of(context.recipe)).measures
    figures = measures(logits, images.labels("test"), images.classes)
    scores = {name: figures.metric(name) for name in METRICS}
    return PoolPoint(share=share, pool_images=seen - labelled, images=seen, seed=seed, **scores)
