"""A linear or cubic Resize of fixed sizes is a matrix for each axis: two MatMul that every release takes.

The matrices are not derived here: ONNX Runtime resizes an identity matrix along one axis with the node's own
attributes, so they hold what it computes (anti-aliasing, half_pixel_symmetric, cubic coefficients).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgedistill.onnx_model.findings import Graph, attribute, given

MOST_PX = 4096  # of a side; the matrix has its square
_MODES = (b"linear", b"cubic")


def as_matmul(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """The nodes that take its place, or None: nearest, other axes than the last two, or sizes not known."""
    before = graph.shapes.get(node.input[0], ())
    after = graph.shapes.get(node.output[0], ())
    mode = attribute(node, "coordinate_transformation_mode", b"half_pixel")
    sides = (*before[-2:], *after[-2:])
    if attribute(node, "mode", b"nearest") not in _MODES or mode == b"tf_crop_and_resize" or len(before) < 3:
        return None
    if len(after) != len(before) or before[:-2] != after[:-2] or not all(sides) or max(sides) > MOST_PX:
        return None
    kind = helper.tensor_dtype_to_np_dtype(graph.types.get(node.input[0], TensorProto.FLOAT))
    x, made = node.input[0], []
    for axis in (-2, -1):
        matrix = _matrix(node, graph, before, after, axis).astype(kind)
        weight = graph.store(f"{node.output[0]}/{'rows' if axis == -2 else 'columns'}", matrix)
        out = node.output[0] if axis == -1 else f"{node.output[0]}/resized_rows"
        inputs = [weight, x] if axis == -2 else [x, weight]
        made.append(helper.make_node("MatMul", inputs, [out], name=out))
        x = out
    return made


def _matrix(node: onnx.NodeProto, graph: Graph, before: tuple, after: tuple, axis: int) -> np.ndarray:
    """(after, before) for axis -2, (before, after) for axis -1: float32."""
    size, new = before[axis], after[axis]
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    for item in [item for item in alone.attribute if item.name == "axes"]:
        alone.attribute.remove(item)
    whole = np.array([1, 1, size, size], np.int64)
    whole[axis] = new
    scales = _scale_of(node, graph, axis, len(before))
    alone.ClearField("input")
    alone.input.extend(["x", "", "", "sizes"] if scales is None else ["x", "", "scales"])
    alone.ClearField("output")
    alone.output.append("y")
    factors = np.ones(4, np.float32)
    factors[axis] = 1 if scales is None else scales
    stored = numpy_helper.from_array(whole, "sizes") if scales is None else numpy_helper.from_array(factors, "scales")
    made = helper.make_graph(
        [alone],
        "one_axis",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [stored],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.eye(size, dtype=np.float32)[None, None]})[0][0, 0]


def _scale_of(node: onnx.NodeProto, graph: Graph, axis: int, rank: int) -> float | None:
    """The factor of an axis, or None where the node gives sizes."""
    scales = graph.array(given(node, 2))
    if scales is None or not scales.size:
        return None
    axes = [one % rank for one in attribute(node, "axes", range(rank))]
    place = rank + axis
    return float(scales[axes.index(place)]) if place in axes else 1.0
