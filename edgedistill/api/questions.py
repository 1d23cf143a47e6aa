"""What needs no run and no board, as Python functions: will it fit, how fast, which student, what is here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.api.types import PathLike

if TYPE_CHECKING:
    from edgedistill.environment.doctor import Check


def check(
    model: PathLike,
    target: str = "jetson-nano",
    *,
    tensorrt: str | None = None,
    fix: PathLike | None = None,
) -> dict[str, Any]:
    """Whether the board's TensorRT will take an ONNX file: `edgedistill check`.

    Args:
        tensorrt: release of another JetPack than the target's, like "8.6".
        fix: a file to write a mended copy to, proved equal in ONNX Runtime.

    Returns:
        `fits`, `findings` (`level`, `node`, `why`, `mend` each), `target`, `tensorrt`, `basis`; of a
        mended file `fix` too.

    Raises:
        RecipeError: no such target or release.
        PreflightError: not an ONNX file, or one that cannot be mended.
    """
    from edgedistill.onnx_model.check import check as check_file
    from edgedistill.onnx_model.check import fix as fix_file

    if fix is not None:
        return fix_file(Path(model), target, Path(fix), tensorrt)
    return check_file(Path(model), target, tensorrt)


def students(target: str = "jetson-nano") -> dict[str, Any]:
    """Networks that can be students: `edgedistill students`.

    Returns:
        `rows` with `model`, `parameters`, `macs`, and verdicts `export`, `preflight`, `compile`; and
        when and with what they were made. No board was asked.
    """
    from edgedistill.models.students import students as table

    return table(target)


def predict(
    model: PathLike,
    target: str,
    precision: str = "fp16",
    *,
    image_px: int | None = None,
    classes: int = 1000,
) -> dict[str, Any]:
    """How fast a network would be on a board, without the board: `edgedistill predict`.

    Args:
        model: an ONNX file, or the name of a network of the catalogue.
        precision: asked for.
        image_px: of a named network, 224 when None; a file knows its own.
        classes: of a named network.

    Returns:
        `latency_ms` with its interval `latency_ms_low` and `latency_ms_high`, `fps`, `memory_mib`,
        `provenance`, ...

    Raises:
        RecipeError: no such network, board or size, or nothing published to predict from.
    """
    from edgedistill.prediction.model import predict as predict_network

    network = model if isinstance(model, str) else Path(model)
    return predict_network(network, target, precision, image_px, classes).as_dict


def choose(
    target: str,
    precision: str = "fp16",
    *,
    fps: float | None = None,
    memory_mib: float | None = None,
    sizes: Sequence[int] = (224,),
    classes: int = 1000,
) -> list[dict[str, Any]]:
    """Students for a board and a budget, best first: `edgedistill choose`.

    Args:
        fps, memory_mib: the budget; None is no limit.
        sizes: image_px.

    Raises:
        RecipeError: nothing is predicted for this board, or a size is not in the catalogue.
    """
    from edgedistill.prediction.choose import choose as choose_students

    found = choose_students(target, precision, fps, memory_mib, tuple(sizes), classes)
    return [candidate.as_dict for candidate in found]


def doctor() -> list[Check]:
    """What of the toolchain is here, and what a missing part costs: `edgedistill doctor`."""
    from edgedistill.environment.doctor import examine

    return examine()
