"""Refusals that need the recipe's networks or the classes alone, before hours of training instead of after them.

Each is the one that the stage itself makes, asked for stages that are to be run.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgedistill.config.recipe import Recipe
from edgedistill.core.distributed import share_of
from edgedistill.errors import DataError, RecipeError

_BY_STUDENT = frozenset(("baseline", "distill", "curve"))  # stages that train it
_OF_VIEWS = _BY_STUDENT | {"teacher", "schedule", "logits", "assist"}  # stages that make training views


def refuse_what_fits_no_stage(recipe: Recipe, stages: Collection[str]) -> None:
    """Called before the first stage.

    Args:
        stages: that will be run.

    Raises:
        RecipeError: transforms that do not give training views; taps that a network does not have; under `torchrun` a
            batch that its processes cannot share.
        TeacherError: `data_free`, and the teacher has no BatchNorm; a probe of a network without one linear head.
        DataError: the images of decide.unknown are not there.
    """
    unknown = recipe.decide.unknown
    if "decide" in stages and unknown is not None and not Path(unknown).exists():
        raise DataError(f"decide.unknown = {unknown!r}: no such folder or file")
    if "teacher" in stages and recipe.first_teacher.epochs > 0:
        share_of(recipe.first_teacher.batch_size)
    if "teacher" in stages and "probe" in recipe.first_teacher.tries:
        from edgedistill.distillation.probe import refuse_without_linear_head  # which imports PyTorch

        refuse_without_linear_head(recipe.first_teacher.model)
    if _BY_STUDENT.intersection(stages):
        share_of(recipe.distill.batch_size)
    if _OF_VIEWS.intersection(stages):
        from edgedistill.data.augment import refuse_unfit_transforms  # which imports albumentations

        refuse_unfit_transforms(recipe.data.size, recipe.augment)
    if "synthesise" in stages:
        from edgedistill.distillation.inversion import refuse_without_batch_norm  # which imports PyTorch

        refuse_without_batch_norm(recipe.first_teacher.model)
    if recipe.distill.matches_maps and not {"distill", "curve"}.isdisjoint(stages):
        from edgedistill.distillation.feature_objective import refuse_other_taps

        refuse_other_taps(recipe)


def refuse_for_classes(recipe: Recipe, stages: Collection[str], classes: int) -> None:
    """Called when the images are known.

    Args:
        stages: that will be run.

    Raises:
        RecipeError: `progressive`, and no network lies between teacher and student.
    """
    distill = recipe.distill
    if "assist" not in stages or distill.method != "progressive" or distill.assistants:
        return
    from edgedistill.models.assistants import choose_assistants

    try:
        choose_assistants(recipe.teacher.model, recipe.student, classes)
    except RecipeError as error:
        raise RecipeError(f"distill.method = 'progressive': {error}") from None
