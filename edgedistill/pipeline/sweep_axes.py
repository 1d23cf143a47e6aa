"""What a sweep varies: keys and their values, and which of them one cached teacher can serve."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from edgedistill.config.loading import value_from_text
from edgedistill.config.recipe import Recipe
from edgedistill.errors import RecipeError
from edgedistill.pipeline.table import recipe_values, stages_of

STUDENT = ("student.model", "student.weights")  # keys beside [distill] that a sweep may vary
_BEFORE = frozenset(("data", "schedule", "teacher", "synthesise", "logits", "assist"))  # stages before the student


def axes_from_text(over: Iterable[str]) -> dict[str, list[Any]]:
    """`section.key=a,b,c` each, as `Sweep` takes them.

    Values are TOML, so that lists and quoted strings keep their commas; words need no quotes.

    Raises:
        RecipeError: not of that form.
    """
    axes = {}
    for text in over:
        name, equals, values = text.partition("=")
        if not (equals and values.strip()):
            raise RecipeError(f"--over {text}: expected section.key=a,b,c, like distill.temperature=2,4")
        parsed = value_from_text(f"[{values}]")
        if not isinstance(parsed, list):
            parsed = [value_from_text(value.strip()) for value in values.split(",")]
        axes[name.strip()] = parsed
    return axes


def checked_values(key: str, values: Any) -> list[Any]:
    """The values of one axis as a list.

    Raises:
        RecipeError: a key that no sweep may vary, or no list of values.
    """
    if not key.startswith("distill.") and key not in STUDENT:
        raise RecipeError(
            f"--over {key}: expected a key of [distill], {' or '.join(STUDENT)}; the teacher is the same for all"
        )
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise RecipeError(f"--over {key}: expected a list of values to try, got {values!r}")
    return [os.fspath(value) if isinstance(value, os.PathLike) else value for value in values]


def refuse_other_teachers(recipes: Sequence[Recipe]) -> None:
    """Every stage before the student must come out the same for all trials.

    Raises:
        RecipeError: it would not, or what is named is no student.
    """
    for recipe in recipes[1:]:
        for stage in stages_of(recipe):
            if stage.name not in _BEFORE:
                continue
            ours, theirs = (recipe_values(stage, r) for r in (recipes[0], recipe))
            # Of the student's name only its size of images matters there.
            served = {"distill.cache_features", *(STUDENT if stage.name == "data" else ())}
            differing = [key for key in ours if ours[key] != theirs.get(key) and key not in served]
            if differing and stage.name == "schedule":
                raise RecipeError(
                    f"--over: the steps that fit into distill.minutes depend on {differing[0]}; give all trials as "
                    "many: set distill.steps, and distill.minutes to 0"
                )
            if differing:
                raise RecipeError(
                    f"--over: the stage {stage.name!r} depends on {differing[0]}; a sweep tries "
                    "what one cached teacher can serve: loss, temperature, weights, learning "
                    "rate, epochs, the student; run this one as recipes of their own"
                )
    if len({recipe.student.model for recipe in recipes}) > 1:
        _refuse_other_sizes(recipes)


def _refuse_other_sizes(recipes: Sequence[Recipe]) -> None:
    """The images are decoded once, for all of them."""
    from edgedistill.models.build import refuse_unless_student, resize_px_of

    sizes = {}
    for recipe in recipes:
        refuse_unless_student(recipe.student.model)
        data = recipe.data
        sizes[resize_px_of(recipe.student.model, data.image_px, data.crop_fraction, data.fit)] = recipe.student.model
    if len(sizes) > 1:
        sizes_by_model = ", ".join(f"{model} from {px} px" for px, model in sizes.items())
        raise RecipeError(
            f"--over student.model: these crop their images differently: {sizes_by_model}; one "
            "data.crop_fraction in the recipe makes them alike"
        )
