"""Which networks stand between a teacher and a student that is far smaller.

Source: Mirzadeh et al. 2020, arXiv:1902.03393 (teacher assistants); sizes here are parameters.
"""

from __future__ import annotations

import math

import torch

from edgedistill.config.training import NetConfig, StudentConfig
from edgedistill.errors import RecipeError
from edgedistill.models.build import build_model, parameter_count
from edgedistill.models.families import ASSISTANTS

FAR = 100  # teacher over student, parameters; from here on two assistants


def choose_assistants(teacher: str, student: StudentConfig, classes: int) -> tuple[NetConfig, ...]:
    """One assistant near the geometric mean of both sizes, or two when they are FAR apart.

    Args:
        teacher: model name.
        student: its weights source is the assistants' too, unless it is a file.
        classes: of the head.

    Returns:
        Biggest first.

    Raises:
        RecipeError: no candidate lies between the two.
    """
    largest, smallest = _parameters(teacher, classes), _parameters(student.model, classes)
    between = {
        name: size for name in ASSISTANTS if smallest * 1.2 < (size := _parameters(name, classes)) < largest / 1.2
    }
    if not between:
        raise RecipeError(
            f"no assistant lies between {teacher} ({largest / 1e6:.1f} M parameters) and "
            f"{student.model} ({smallest / 1e6:.1f} M); name some in distill.assistants, or take "
            "distill.method = 'kd'"
        )
    count = 2 if largest / smallest >= FAR and len(between) > 1 else 1
    chosen: list[str] = []
    for step in range(count, 0, -1):
        wanted = smallest * (largest / smallest) ** (step / (count + 1))
        left = [name for name in between if name not in chosen]
        chosen.append(min(left, key=lambda name: abs(math.log(between[name] / wanted))))
    chosen.sort(key=between.__getitem__, reverse=True)
    weights = student.weights if student.weights in {"hub", "scratch"} else "hub"
    return tuple(NetConfig(model=name, weights=weights) for name in chosen)


def _parameters(name: str, classes: int) -> int:
    with torch.device("meta"):
        return parameter_count(build_model(name, classes))
