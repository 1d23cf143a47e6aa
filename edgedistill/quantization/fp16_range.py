"""Will FP16 hold every value of this network? From the ranges that calibration has seen anyway.

CPU kernels may sum in float32, so a run here cannot show an overflow on the board; ranges can.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import onnx

from edgedistill.errors import QuantizeError
from edgedistill.quantization.half import LARGEST
from edgedistill.quantization.observe import Observer, Plan, pieces, plan_of, shaped
from edgedistill.records.quantization import Fp16Finding

CLOSE = 16000.0  # from where a warning is due
TOLD = 5  # overflows that are told one by one
LOOKED_AT = 32  # images of which every tensor is looked at, those without a histogram too
MEANS = {"ReduceMean", "GlobalAveragePool", "AveragePool"}


def largest_of_every_tensor(path: Path, image: Callable[[int], np.ndarray], count: int) -> dict[str, float]:
    """Float tensor -> largest |x| over the first LOOKED_AT images, before any ReLU cuts it.

    Args:
        image: position -> (1, 3, H, W) float32.
        count: images there are.

    Raises:
        QuantizeError: a tensor that is NaN or infinite in float32 already.
    """
    model = shaped(path)
    plan = plan_of(model)
    names = tuple(dict.fromkeys([*plan.observed, *plan.same_as, *plan.bounded]))
    largest = dict.fromkeys(names, 0.0)
    with Observer(model, Plan(names, {}, {}, plan.shapes)) as observer:
        for values in observer.stream(image, pieces(min(count, LOOKED_AT), 0, observer.piece)):
            for name, tensor in values.items():
                largest[name] = float(np.max([largest[name], tensor.max(), -tensor.min()]))  # NaN stays, unlike in max
    for name, value in largest.items():
        if not np.isfinite(value):
            raise QuantizeError(f"tensor {name} is NaN or infinite in float32; train again, lower peak_lr")
    return largest


def fp16_findings(path: Path, largest: dict[str, float]) -> list[Fp16Finding]:
    """What may overflow, the worst first.

    Args:
        path: float ONNX.
        largest: float tensor -> largest |x| seen.

    Returns:
        Rows: level, `error` above LARGEST and `warning` above CLOSE; layer, the node that
        makes the value. A mean over height and width is summed before it is
        divided, so its rows hold largest |x| times the summed elements, an upper bound: never
        more than a warning.
    """
    model = shaped(path)
    shapes = plan_of(model).shapes
    makers = {name: node for node in model.graph.node for name in node.output}
    rows = []
    for name, value in largest.items():
        layer = _layer(makers.get(name))
        if value > CLOSE:
            rows.append(
                Fp16Finding(
                    level="error" if value > LARGEST else "warning",
                    tensor=name,
                    layer=layer,
                    value=value,
                    why=f"|x| reaches {value:.0f}, float16 ends at {LARGEST:.0f}",
                    mend=f"keep {layer} in FP32 on the board, or train with more weight decay",
                )
            )
    for node in model.graph.node:
        if node.op_type in MEANS and node.input[0] in largest:
            elements = summed(node, shapes)
            value = largest[node.input[0]] * elements
            if value > LARGEST:
                rows.append(
                    Fp16Finding(
                        level="warning",
                        tensor=node.output[0],
                        layer=_layer(node),
                        value=value,
                        why=f"a sum of {elements} values up to {largest[node.input[0]]:.1f} may reach "
                        f"{value:.0f} before it is divided, float16 ends at {LARGEST:.0f}",
                        mend=f"keep {_layer(node)} in FP32 on the board if parity fails there",
                    )
                )
    return sorted(rows, key=lambda row: (row.level, -row.value))


def lines_from_findings(findings: list[Fp16Finding]) -> list[str]:
    """What a person should hear before the board does it: overflows each, the rest in one line."""
    errors = [row for row in findings if row.level == "error"]
    lines = [f"FP16 OVERFLOW in {row.layer}: {row.why}; {row.mend}" for row in errors[:TOLD]]
    if len(errors) > TOLD:
        lines.append(f"FP16 OVERFLOW in {len(errors) - TOLD} more tensors: see fp16_findings")
    close = findings[len(errors) :]
    if close:
        lines.append(f"FP16: {len(close)} tensors may come close to overflow, first {close[0].layer}: {close[0].why}")
    return lines


def summed(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Elements that a mean sums up for one output."""
    kernel = next((list(a.ints) for a in node.attribute if a.name == "kernel_shape"), None)
    if kernel:
        return prod(kernel)
    return prod(shapes[node.input[0]]) // max(1, prod(shapes[node.output[0]]))


def _layer(node: onnx.NodeProto | None) -> str:
    return "the input" if node is None else f"{node.op_type} {node.name or node.output[0]}"
