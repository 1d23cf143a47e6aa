"""What can be expected of a student before it is trained, from the networks that are."""

from __future__ import annotations

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.pipeline.gates import better_teacher
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.records.training import BaselineRecord, TeacherRecord


def expectation(recipe: Recipe, run: RunFolder) -> str | None:
    """A sentence where the teacher is no better than the student without it on the same validation images; else None.

    Of a run without either, of a student that is taught by itself, and of figures nothing is said.

    Source: docs/experiments.md, 2026-12-01: under a teacher of 90.8 % a student of 92.8 % gained nothing, under one of
    76.9 % a student of 91.2 % lost 4.9 points.
    """
    taught_by_it = recipe.distill.method in {"kd", "ensemble", "progressive"} and not task_of(recipe).vectors
    stages = (TeacherRecord.stage, BaselineRecord.stage)
    if not taught_by_it or not all((run.folder(stage) / f"{stage}.json").exists() for stage in stages):
        return None
    teacher, metric = run.read(TeacherRecord), recipe.data.metric
    own, other = (trained.validation.metric(metric) for trained in (teacher, run.read(BaselineRecord)))
    if own > other:
        return None
    return (
        f"the teacher has {metric} {own:.3f} on {teacher.validation.images} validation images, the student without it "
        f"{other:.3f}: expect no gain from this teacher, or a loss; "
        f"{better_teacher(teacher, recipe)}, or take a bigger one"
    )
