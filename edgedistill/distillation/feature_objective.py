"""The feature part of a student's loss: pooled features from the cache, or maps of the teacher.

Feature maps are too big to be cached for every view, so losses on maps run the teacher's forward
pass beside the student, on the very views that the student sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgedistill.config.methods import feature_loss_row
from edgedistill.config.recipe import Recipe
from edgedistill.config.training import DistillConfig
from edgedistill.core.distributed import gathered
from edgedistill.distillation.feature_losses import CACHED_LOSSES, matcher_between
from edgedistill.distillation.logit_cache import LogitCache
from edgedistill.models.build import build_model, outputs
from edgedistill.models.taps import Pair, Tapped, find_taps, lines_from_pairs, named_taps, pair_taps
from edgedistill.models.weights import load_weights
from edgedistill.training.autotune import speed_of
from edgedistill.training.batches import Batch, TrainingSet, normalised, sent
from edgedistill.training.fit import Lesson, spec_for
from edgedistill.training.loop import Outputs, Term


def feature_lesson(
    recipe: Recipe,
    taught: TrainingSet,
    terms: Mapping[str, Term],
    cache: LogitCache,
    teacher_weights: Path,
    model: nn.Module,
    seed: int,
    device: torch.device,
    say: Callable[[str], None],
) -> Lesson:
    """`terms` and the recipe's feature term, with whatever is trained along.

    Raises:
        RecipeError: a tap that the network does not have.
    """
    if recipe.distill.matches_maps:
        return _of_maps(recipe, taught, terms, teacher_weights, model, seed, device, say)
    student_width = _feature_width(model, recipe.data.size)
    loss, projector = CACHED_LOSSES[recipe.distill.feature_loss](student_width, cache.feature_width, seed)
    whole_batch = feature_loss_row(recipe.distill.feature_loss).whole_batch

    def cached(outputs: Outputs, batch: Batch) -> Tensor:
        # All images share most of a feature vector, and a cosine with that in it says little of one image.
        features = (outputs.features, sent(cache.features(batch) - cache.mean_feature, device))
        return loss(*(map(gathered, features) if whole_batch else features))

    return Lesson(taught, {**terms, "feature": _term(recipe.distill, cached)}, extra=projector)


def _of_maps(
    recipe: Recipe,
    taught: TrainingSet,
    terms: Mapping[str, Term],
    teacher_weights: Path,
    model: nn.Module,
    seed: int,
    device: torch.device,
    say: Callable[[str], None],
) -> Lesson:
    distill = recipe.distill
    teacher, about = load_weights(teacher_weights)
    spec = spec_for(about["model"], recipe)
    pairs = _pairs(recipe, model, teacher)
    for line in lines_from_pairs(pairs):
        say(f"  {line}")
    matcher = matcher_between(distill.feature_loss, pairs, seed)
    student_taps, teacher_taps = zip(*pairs, strict=True)
    teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks this pair of arguments

    def read(net: nn.Module, images: Tensor) -> Outputs:
        with Tapped(net, student_taps) as tapped:
            logits, features, maps = tapped(images)
        return Outputs(logits, features, tuple(maps))

    speed = speed_of(recipe.run.precision, device)

    def matched(outputs: Outputs, batch: Batch) -> Tensor:
        with torch.no_grad(), speed.autocast(device), Tapped(teacher, teacher_taps) as tapped:
            maps = tapped(normalised(batch.images, spec))[2]
        return matcher(outputs.maps, maps)

    return Lesson(taught, {**terms, "feature": _term(distill, matched)}, extra=matcher, read=read)


def refuse_other_taps(recipe: Recipe) -> None:
    """Of networks that are not trained yet, for a recipe with a loss on maps.

    Raises:
        RecipeError: as of `feature_lesson`.
    """
    student, teacher = (build_model(name, 2) for name in (recipe.student.model, recipe.first_teacher.model))
    matcher_between(recipe.distill.feature_loss, _pairs(recipe, student, teacher), seed=0)


def _pairs(recipe: Recipe, student: nn.Module, teacher: nn.Module) -> list[Pair]:
    distill, size = recipe.distill, recipe.data.size
    named = bool(distill.student_taps and distill.teacher_taps)
    return pair_taps(
        _taps(student, distill.student_taps, size), _taps(teacher, distill.teacher_taps, size), in_order=named
    )


def _term(distill: DistillConfig, value: Callable[[Outputs, Batch], Tensor]) -> Term:
    return Term(value, distill.feature_weight, distill.feature_warmup_fraction)


def _taps(model: nn.Module, names: tuple[str, ...], size: tuple[int, int]):
    return named_taps(model, names, size) if names else find_taps(model, size)


def _feature_width(model: nn.Module, size: tuple[int, int]) -> int:
    with torch.no_grad():
        return outputs(model.eval(), torch.zeros(1, 3, *size))[1].shape[1]
