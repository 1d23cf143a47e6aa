"""Is INT8 worth it for a network on a board: its predicted speed-up against FP16 beside what it costs in top-1.

Depthwise convolutions and everything that is no convolution or product gain next to nothing, so a MobileNet gains a
few percent where a ResNet gains half (1.52 on an Orin Nano in TensorRT 10.3: onnxsim/onnxsim,
scripts/nvidia/README.md). `int8` in constants.json says on how many published pairs the verdict is right.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.config.target import load_target
from edgedistill.config.task import CLASSIFICATION, Task
from edgedistill.prediction.features import Features
from edgedistill.prediction.latency import constants, hardware, latency_ms, mode_of, stored

LEAST_SPEEDUP = 1.2  # below it another batch of images or a smaller student gains as much
MOST_DROP_POINTS = 1.0  # where no recipe says what may be lost


@dataclass(frozen=True)
class Int8Worth:
    """
    Attributes:
        speedup: predicted, of one image; None where the board has no INT8 or nothing is predicted for it.
        drop_points: simulated loss of top-1; None where it was not measured.
        worth: None where it cannot be said.
        sentence: what is said of it, with the reason.
    """

    speedup: float | None
    drop_points: float | None
    worth: bool | None
    sentence: str


def int8_speedup(features: Features, target: str, mode: str | None = None) -> float | None:
    """FP16's predicted time over INT8's, for one image; None where the board has no INT8 or nothing is predicted.

    Args:
        mode: power mode, the board's usual one when None.

    Raises:
        RecipeError: the board has no such power mode.
    """
    if "int8" not in load_target(target).precisions or target not in hardware() or target not in stored()["boards"]:
        return None
    wanted, fitted = mode_of(target, mode), constants()
    half, whole = (latency_ms(features, target, wanted, precision, fitted) for precision in ("fp16", "int8"))
    return half / whole


def int8_worth(
    target: str,
    speedup: float | None,
    drop_points: float | None = None,
    most_points: float | None = None,
    task: Task = CLASSIFICATION,
) -> Int8Worth:
    """
    Args:
        task: says what the points are of.
        speedup: of `int8_speedup`.
        drop_points: top-1 that INT8 loses, simulated; None where it was not measured.
        most_points: the most that may be lost, MOST_DROP_POINTS when None.
    """
    board, limit = load_target(target), MOST_DROP_POINTS if most_points is None else most_points
    title = board.title
    if not board.tensorrt:
        return Int8Worth(None, drop_points, None, f"{title} is no board, and what INT8 gains there is not predicted")
    if "int8" not in board.precisions:
        return Int8Worth(None, drop_points, None, f"{title} has no INT8 hardware, so there is nothing to gain")
    if speedup is None:
        return Int8Worth(None, drop_points, None, f"its speed-up on {title} is not predicted")
    reasons = []
    if speedup < LEAST_SPEEDUP:
        reasons.append(f"it gains less than {LEAST_SPEEDUP:g} x")
    if drop_points is not None and drop_points > limit:
        reasons.append(f"it loses more than {limit:g} points")
    worth = False if reasons else None if drop_points is None else True
    verdict = {True: "worth it", False: f"not worth it: {' and '.join(reasons)}", None: "worth it if top-1 holds"}[
        worth
    ]
    if drop_points is None:
        lost = ""
    elif task.vectors:
        lost = f", a loss of {drop_points:.1f} {task.points} (simulated)"
    else:
        lost = f", {task.points.removeprefix('points of ')} {-drop_points:+.1f} points (simulated)"
    sentence = f"{speedup:.2f} x FP16's speed for one image on {title} (predicted){lost}; {verdict}"
    return Int8Worth(speedup, drop_points, worth, sentence)
