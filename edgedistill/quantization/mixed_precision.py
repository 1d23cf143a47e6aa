"""When INT8 costs too much: which layers to leave in float, and how few of them.

Ranked on calibration images, chosen on validation images; the test images are asked once, after.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.task import CLASSIFICATION, Task
from edgedistill.core.text import plural
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.accuracy import short_step, sqnr_db, step_of
from edgedistill.quantization.qdq import layers_of, qdq_from_onnx
from edgedistill.records.outputs import OutputGateStep
from edgedistill.records.quantization import GateStep, LayerSensitivity
from edgedistill_device.value_spec import Value

RANKED_ON = 32  # calibration images; a layer's noise needs few
STEPS = (1, 2, 4, 8, 16, 32)  # layers left in float that are tried in turn


def sensitivity(
    path: Path, amax: dict[str, float], images: np.ndarray, float_path: Path | None = None
) -> list[LayerSensitivity]:
    """Layers by the logit noise when each alone is INT8, the worst first.

    Args:
        path: float ONNX.
        amax: ranges kept.
        images: (N, 3, H, W) float32 calibration images.
        float_path: the float network, where `path` has other weights, for INT8.

    Returns:
        A row for each; `sqnr_db` None is no noise at all.
    """
    layers = layers_of(path)
    with OnnxSession(float_path or path) as session:
        reference = session.logits(images)
    rows = []
    for layer in layers:
        outputs = int8_logits(path, amax, images, [other for other in layers if other != layer], float_path)
        rows.append(LayerSensitivity(layer=layer, sqnr_db=sqnr_db(reference, outputs)))
    return sorted(rows, key=lambda row: np.inf if row.sqnr_db is None else row.sqnr_db)


def fewest_float_layers(
    path: Path,
    amax: dict[str, float],
    ranked: list[str],
    validation: tuple[Iterable[np.ndarray], np.ndarray, list[str]],
    max_drop_points: float,
    say: Callable[[str], None] = lambda line: None,
    task: Task = CLASSIFICATION,
    float_path: Path | None = None,
    values: Sequence[Value] = (),
) -> tuple[list[str] | None, list[Any]]:
    """Leave the k most sensitive layers in float, k from STEPS, until the gate holds.

    Args:
        ranked: layers, the most sensitive first.
        validation: (3, H, W) float32 images, iterated once for each k; (N,) labels; class names.
        max_drop_points: of the task's primary figure (top-1) on those.
        task: of the network.
        float_path: the float network, where `path` has other weights, for INT8.
        values: what the outputs of a regression are.

    Returns:
        The layers left in float, or None when no k passes; and the curve, one row for each k tried,
        0 first.
    """
    images, labels, classes = validation
    with OnnxSession(float_path or path) as session:
        reference = session.logits(images)
    curve: list[Any] = []
    kind = OutputGateStep if task.vectors else GateStep
    for count in (0, *(step for step in STEPS if step < len(ranked))):
        outputs = int8_logits(path, amax, images, ranked[:count], float_path)
        step = step_of(outputs, reference, labels, classes, task, values)
        curve.append(kind(float_layers=count, **short_step(step).given()))
        say(f"  {plural(count, 'layer')} in float: INT8 {step.change} on validation images")
        if step.drop_points <= max_drop_points:
            return ranked[:count], curve
    return None, curve


def int8_logits(
    path: Path,
    amax: dict[str, float],
    images: Iterable[np.ndarray],
    keep_float: Collection[str] = (),
    float_path: Path | None = None,
) -> np.ndarray:
    """(N, C) logits of the INT8 twin with these layers left in float."""
    with tempfile.TemporaryDirectory() as folder:
        int8 = Path(folder) / "int8.onnx"
        qdq_from_onnx(path, amax, int8, keep_float, float_path=float_path)
        with OnnxSession(int8) as session:
            return session.logits(images)
