"""Every network and its weights that a recipe names, looked up before the first stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from edgedistill.config.recipe import Recipe
from edgedistill.config.values import size_text
from edgedistill.environment.requirements import install_command
from edgedistill.errors import EdgeDistillError, RecipeError, TeacherError, WeightsError
from edgedistill.models import hub_access
from edgedistill.models.assistants import choose_assistants
from edgedistill.models.build import head_names, outputs, refuse_unless_student, without_values
from edgedistill.models.checkpoints import read_class_names
from edgedistill.models.families import STUDENT_PREFIXES
from edgedistill.models.heads import UNNAMED
from edgedistill.models.packaged import FIRST, PACKAGED, is_installed, packaged_path, word_of
from edgedistill.models.weights import fitting_body, refuse_other_model, source_state

TRAINED_BY = {"teacher": ("teacher",), "student": ("baseline", "distill", "curve"), "chain": ("assist",)}


class Wanted(NamedTuple):
    """One network of a recipe.

    Attributes:
        key: where it stands in the recipe.
        model, weights, classes: as there.
    """

    key: str
    model: str
    weights: str
    classes: str | None


def missing_weights(recipe: Recipe, stages: Collection[str] | None = None) -> list[str]:
    """One line for each network or weights that a run would miss; hub weights in one line together.

    Takes at most ten seconds when no hub answers; nothing is downloaded.

    Args:
        stages: that will be run, all of them when None: what is done already needs no weights.
    """
    lines, from_hub = [], []
    for wanted in _wanted(recipe, stages):
        try:
            _refuse_name(wanted, recipe.data.size)
            trained = recipe.teacher.learns_head or not wanted.key.startswith(("teacher", "distill.teachers"))
            if not trained:
                _refuse_untrained_head(wanted)
            if wanted.weights == "hub":
                from_hub.append(wanted)
            elif wanted.weights != "scratch":
                _refuse_file(wanted, trained)
        except EdgeDistillError as error:
            reason = str(error)
            lines.append(reason if reason.startswith(f"{wanted.key}.") else f"{wanted.key}.weights: {reason}")
    why = hub_access.why_out_of_reach(wanted.model for wanted in from_hub)
    absent = [wanted for wanted in from_hub if wanted.model in why]
    if absent:
        lines.append(_hub_line(absent, why[absent[0].model]))
    return lines


def require_weights(recipe: Recipe, stages: Collection[str]) -> None:
    """
    Raises:
        WeightsError: `missing_weights` names something.
    """
    lines = missing_weights(recipe, stages)
    if lines:
        raise WeightsError("\n".join(lines))


def require_students(recipes: Iterable[Recipe]) -> None:
    """Of every student of a sweep, before the teacher is trained.

    Raises:
        WeightsError: as `require_weights`, of the first that misses something.
    """
    for recipe in {recipe.student: recipe for recipe in recipes}.values():
        require_weights(recipe, ("distill",))


def fetch_weights(recipe: Recipe, stages: Collection[str], say: Callable[[str], None]) -> None:
    """Bring hub weights into the cache now: the network may be gone when the student's turn comes.

    Raises:
        WeightsError: the hub does not give them.
    """
    names = dict.fromkeys(wanted.model for wanted in _wanted(recipe, stages) if wanted.weights == "hub")
    for name in names:
        if not hub_access.is_cached(name):
            say(f"  fetching the weights of {name} from the hub")
            source_state(name, "hub")


def _wanted(recipe: Recipe, stages: Collection[str] | None) -> list[Wanted]:
    """Networks that these stages build, each key once."""
    distill, student, teacher = recipe.distill, recipe.student, recipe.teacher

    def needed(who: str) -> bool:
        return stages is None or any(stage in stages for stage in TRAINED_BY[who])

    own = Wanted("student", student.model, student.weights, student.classes)
    wanted = []
    if needed("teacher"):
        wanted.append(
            own if distill.method == "self" else Wanted("teacher", teacher.model, teacher.weights, teacher.classes)
        )
    if needed("student"):
        wanted.append(own)
    if needed("chain"):
        for key in ("teachers", "assistants"):
            wanted += [
                Wanted(f"distill.{key}[{number}]", net.model, net.weights, net.classes)
                for number, net in enumerate(getattr(distill, key))
            ]
        if distill.method == "progressive" and not distill.assistants:
            wanted += _chosen(recipe)
    return list(dict.fromkeys(wanted))


def _chosen(recipe: Recipe) -> list[Wanted]:
    """Assistants that the stage `assist` will choose; heads are small, so the class count matters little."""
    try:
        nets = choose_assistants(recipe.teacher.model, recipe.student, 10)
    except RecipeError:  # a name is wrong, which is said elsewhere, or the stage will say it
        return []
    return [Wanted("distill.assistants", net.model, net.weights, None) for net in nets]


def _refuse_name(wanted: Wanted, size: tuple[int, int]) -> None:
    try:
        model = without_values(wanted.model)
        if not wanted.model.startswith(STUDENT_PREFIXES):  # whose outputs the tests compare
            with torch.device("meta"):
                _refuse_outputs(model, wanted.model, size)
    except RecipeError as error:
        raise RecipeError(f"{wanted.key}.model = {wanted.model!r}: {error}") from None
    if wanted.key == "student":
        refuse_unless_student(wanted.model)


def _refuse_outputs(model: nn.Module, name: str, size: tuple[int, int]) -> None:
    """One forward pass, which costs next to nothing on the meta device.

    Args:
        model: on the meta device, with a head of 2 classes, in eval mode.
        size: (height, width) of the images, pixels.

    Raises:
        RecipeError: the network takes no images of this size, or its head is of a kind that `outputs` cannot read.
    """
    images = torch.zeros(2, 3, *size)
    with torch.no_grad():
        try:
            expected = model(images)
        except AssertionError as error:  # timm's own, of the image size
            raise RecipeError(
                f"it takes no images of {size_text(size)} px: {str(error).partition(chr(10))[0]}"
            ) from None
        except Exception:  # of an operator that the meta device lacks; nothing is known then
            return
        try:
            logits, features = outputs(model, images)
            layers: list[Any] = [model.get_submodule(head) for head in head_names(name)]
            fits = logits.shape == expected.shape and features.ndim == 2
            fits = fits and all(layer.weight.shape[0] == 2 and layer.bias is not None for layer in layers)
        except Exception:  # any: the network is not of timm's usual form
            fits = False
    if not fits:
        raise RecipeError("its head is of a kind that is not supported here; take another network")


def _refuse_file(wanted: Wanted, trained: bool) -> None:
    """Weights from a package or a file: there, readable, of this network; `trained`: training follows."""
    if wanted.classes is not None:
        read_class_names(Path(wanted.classes))
    if wanted.weights.startswith("package:"):
        packaged_path(wanted.model, wanted.weights)
        return
    source = source_state(wanted.model, wanted.weights)
    refuse_other_model(source, wanted.weights, wanted.model, trained, wanted.key)
    own = without_values(wanted.model).state_dict()
    fitting_body(source.state, own, head_names(wanted.model), wanted.weights, wanted.model)


def _refuse_untrained_head(wanted: Wanted) -> None:
    """
    Raises:
        TeacherError: the classes of its head are not known; whether they are those of the data is checked later.
    """
    if wanted.weights == "hub" or wanted.weights.startswith("package:"):
        raise TeacherError(
            f"{wanted.key}.weights = {wanted.weights!r}: its head is ImageNet's, and teacher.epochs = 0: a foreign "
            "head cannot teach; set teacher.epochs to at least 1, or name a file with a head for your classes"
        )
    if wanted.classes is None and source_state(wanted.model, wanted.weights).classes is None:
        raise TeacherError(f"{wanted.key}.weights: {UNNAMED.format(source=wanted.weights, section=wanted.key)}")


def _hub_line(absent: list[Wanted], why: str) -> str:
    named = " and ".join(f"{one.key}.weights = 'hub' ({one.model})" for one in absent)
    ways = [_way_out(one) for one in absent]
    ready = " ".join(dict.fromkeys(way for way in ways if way.startswith("--set")))
    others = [way for way in dict.fromkeys(ways) if not way.startswith("--set")]
    return (
        f"{named}: not in the cache, and the hub is out of reach ({why}); go online once, name files"
        + "".join(f", {way}" for way in others)
        + (f", or take {ready}" if ready else "")
    )


def _way_out(one: Wanted) -> str:
    """Settings that need no hub, or words where none fit."""
    if one.key.startswith("distill."):
        return f'write weights = "scratch" for {one.model} in {one.key.partition("[")[0]}'
    word = word_of(one.model)
    if word is not None and is_installed(word):
        return f"--set {one.key}.weights={word}"
    if one.key != "teacher":
        return f"--set {one.key}.weights=scratch"
    first = PACKAGED[FIRST]
    other = "" if one.model == first.model else f"--set teacher.model={first.model} "
    way = f"{other}--set teacher.weights={FIRST}"
    return way if is_installed(FIRST) else f"{install_command(first.package)} for {way}"
