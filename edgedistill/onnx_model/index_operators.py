"""Operators that move, choose or count elements, written with those that TensorRT 8.2 imports.

Each returns None where it would have to know a shape or a constant that the file does not fix.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgedistill.onnx_model.findings import Graph, attribute, given
from edgedistill.onnx_model.writer import Writer


def _trilu(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """A Where, not a product: what is cut away may be infinite."""
    sides = graph.shapes.get(node.input[0], ())[-2:]
    diagonal = graph.array(given(node, 1)) if given(node, 1) else np.array(0)
    if len(sides) < 2 or not all(sides) or diagonal is None:
        return None
    ones, k = np.ones(sides, bool), int(diagonal.ravel()[0])
    mask = np.triu(ones, k) if attribute(node, "upper", 1) else np.tril(ones, k)
    write = Writer(node, graph)
    write("Where", write.array(mask), node.input[0], write.constant(0), out=node.output[0])
    return write.nodes


def _mod(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    """The remainder has the sign of x with `fmod`, else of y; Div of whole numbers cuts toward 0."""
    write, (x, y) = Writer(node, graph), node.input
    fmod = attribute(node, "fmod", 0)
    if graph.types.get(x) in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        quotient = write("Div", x, y)
        whole = write("Mul", write("Sign", quotient), write("Floor", write("Abs", quotient)))
        write("Sub", x, write("Mul", whole, y), out=node.output[0])
        return write.nodes
    rest = write("Sub", x, write("Mul", write("Div", x, y), y), out=node.output[0] if fmod else None)
    if not fmod:
        positive = write("Add", rest, y)
        write("Sub", positive, write("Mul", write("Div", positive, y), y), out=node.output[0])
    return write.nodes


def _col2im(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """Overlapping blocks summed are a ConvTranspose, whose kernels are the places of a block."""
    shape = graph.shapes.get(node.input[0], ())
    image, block = (graph.array(node.input[position]) for position in (1, 2))
    if len(shape) != 3 or not all(shape) or image is None or block is None or image.size != 2:
        return None
    sides, kernel = [int(size) for size in image], [int(size) for size in block]
    steps = list(attribute(node, "strides", [1, 1]))
    widths = list(attribute(node, "dilations", [1, 1]))
    pads = list(attribute(node, "pads", [0] * 4))
    reach = [(k - 1) * w + 1 for k, w in zip(kernel, widths, strict=True)]
    room = [sides[axis] + pads[axis] + pads[axis + 2] - reach[axis] for axis in (0, 1)]
    windows = [space // step + 1 for space, step in zip(room, steps, strict=True)]
    if math.prod(windows) != shape[2]:
        return None
    # Rows and columns that no window reaches: room behind the last one.
    behind = [space % step for space, step in zip(room, steps, strict=True)]
    more = {"output_padding": behind} if any(behind) else {}
    channels = shape[1] // math.prod(kernel)
    places = np.eye(math.prod(kernel)).reshape(-1, 1, *kernel)
    kind = helper.tensor_dtype_to_np_dtype(graph.types.get(node.input[0], TensorProto.FLOAT))
    write = Writer(node, graph)
    maps = write("Reshape", node.input[0], write.array(np.array([shape[0], shape[1], *windows], np.int64)))
    write(
        "ConvTranspose",
        maps,
        write.array(np.tile(places, (channels, 1, 1, 1)).astype(kind)),
        group=channels,
        kernel_shape=kernel,
        strides=steps,
        dilations=widths,
        pads=pads,
        out=node.output[0],
        **more,
    )
    return write.nodes


def wrapped(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """Pad of mode `wrap`, all axes in its pads: the opposite ends of each axis beside it."""
    sizes = graph.shapes.get(node.input[0], ())
    pads = graph.array(given(node, 1))
    if pads is None or not all(sizes) or pads.size != 2 * len(sizes) or (pads < 0).any():
        return None
    write, x = Writer(node, graph), node.input[0]
    padded = [axis for axis in range(len(sizes)) if pads[axis] or pads[axis + len(sizes)]]
    for axis in padded:
        before, behind = int(pads[axis]), int(pads[axis + len(sizes)])
        if max(before, behind) > sizes[axis]:
            return None  # more than once around
        ends = [(sizes[axis] - before, sizes[axis]), (0, behind)]
        left, right = (
            [write("Slice", x, *(write.array(np.array([value], np.int64)) for value in (*bounds, axis)))]
            if bounds[0] < bounds[1]
            else []
            for bounds in ends
        )
        x = write("Concat", *left, x, *right, axis=axis, out=node.output[0] if axis == padded[-1] else None)
    return write.nodes or [helper.make_node("Identity", [x], list(node.output), name=node.name)]


def _one_hot(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """Indices beside 0, 1, 2 ...; negative ones count from the end."""
    depth, values = graph.array(node.input[1]), graph.array(node.input[2])
    rank = len(graph.shapes.get(node.input[0], ()))
    whole = graph.types.get(node.input[0]) in (TensorProto.INT32, TensorProto.INT64)
    if depth is None or values is None or not rank or not whole:
        return None
    count, axis = int(depth.ravel()[0]), attribute(node, "axis", -1) % (rank + 1)
    kind = helper.tensor_dtype_to_np_dtype(graph.types[node.input[0]])
    along = np.arange(count, dtype=kind).reshape([-1 if place == axis else 1 for place in range(rank + 1)])
    write = Writer(node, graph)
    indices = write("Unsqueeze", node.input[0], write.array(np.array([axis], np.int64)))
    same = [write("Equal", indices, write.array(numbers)) for numbers in (along, along - kind.type(count))]
    off, on = (write.array(values[place]) for place in (0, 1))
    write("Where", write("Or", *same), on, off, out=node.output[0])
    return write.nodes


def _xor(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto]:
    write, (a, b) = Writer(node, graph), node.input
    write("And", write("Or", a, b), write("Not", write("And", a, b)), out=node.output[0])
    return write.nodes


def _is_inf(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """Equal to infinity, of the signs that are asked for."""
    write, x = Writer(node, graph), node.input[0]
    negative, positive = (attribute(node, f"detect_{sign}", 1) for sign in ("negative", "positive"))
    if not negative and not positive:
        return None
    side = write("Abs", x) if negative and positive else x
    write("Equal", side, write.constant(math.inf if positive else -math.inf), out=node.output[0])
    return write.nodes


BY_HAND = {
    "Col2Im": _col2im,
    "IsInf": _is_inf,
    "Mod": _mod,
    "OneHot": _one_hot,
    "Trilu": _trilu,
    "Xor": _xor,
}
