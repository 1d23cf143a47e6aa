"""GridSample of one image as Gather: the pixels around each point, weighed by how near they are."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from edgedistill.onnx_model.findings import Graph, attribute
from edgedistill.onnx_model.writer import Writer

_LINEAR, _NEAREST = (b"linear", b"bilinear"), b"nearest"  # 20 renamed the first


def gathered(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
    """The nodes that take its place, or None: cubic, reflected, more than one image, or sizes not known.

    Coordinates are float32 in an FP16 network too: indices beyond 2048 are no FP16 numbers.
    """
    image, points = (graph.shapes.get(name, ()) for name in node.input)
    kind = graph.types.get(node.input[0], TensorProto.FLOAT)
    mode, padding = attribute(node, "mode", b"linear"), attribute(node, "padding_mode", b"zeros")
    is_fixed = len(image) == len(points) == 4 and all(image) and all(points) and image[0] == 1
    if not is_fixed or mode not in (*_LINEAR, _NEAREST) or padding not in (b"zeros", b"border"):
        return None
    write = Writer(node, graph)
    axes = [_places(write, node, axis, side, padding) for axis, side in ((1, image[2]), (0, image[3]))]
    flat = write("Reshape", node.input[0], _whole(write, [1, image[1], image[2] * image[3]]))
    parts = []
    for row, row_weight in axes[0]:
        for column, column_weight in axes[1]:
            index = write("Add", write("Mul", row, _number(write, image[3])), column)
            pixels = write("Gather", flat, write("Cast", index, to=TensorProto.INT32), axis=2)
            weight = write("Cast", write("Mul", row_weight, column_weight), to=kind)
            parts.append(write("Mul", pixels, weight))
    while len(parts) > 1:
        parts = [write("Add", parts[0], parts[1]), *parts[2:]]
    write("Reshape", parts[0], _whole(write, [1, image[1], *points[1:3]]), out=node.output[0])
    return write.nodes


def _places(write: Writer, node: onnx.NodeProto, axis: int, side: int, padding: bytes) -> list[tuple[str, str]]:
    """(place inside the image, weight) of the pixels that an axis takes: float tensors of all points.

    Args:
        axis: 0 of the grid's last dimension is the column, 1 the row.
    """
    coordinates = write("Gather", node.input[1], write.array(np.array(axis, np.int64)), axis=3)
    coordinates = write("Reshape", write("Cast", coordinates, to=TensorProto.FLOAT), _whole(write, [-1]))
    corners = attribute(node, "align_corners", 0)
    factor = (side - 1) / 2 if corners else side / 2
    shift = factor if corners else factor - 0.5  # -1 and 1 are centres of pixels, or their outer edges
    place = write("Add", write("Mul", coordinates, _number(write, factor)), _number(write, shift))
    limits = _number(write, 0), _number(write, side - 1)
    if padding == b"border":
        place = write("Clip", place, *limits)
    if attribute(node, "mode", b"linear") == _NEAREST:
        pairs: list[tuple[str, str | None]] = [(write("Round", place), None)]
    else:
        first = write("Floor", place)
        part = write("Sub", place, first)
        pairs = [(first, write("Sub", _number(write, 1), part)), (write("Add", first, _number(write, 1)), part)]
    made = []
    for pixel, weight in pairs:
        inside = write("Clip", pixel, *limits)
        seen = write("Cast", write("Equal", inside, pixel), to=TensorProto.FLOAT)
        made.append((inside, seen if weight is None else write("Mul", weight, seen)))
    return made


def _number(write: Writer, value: float) -> str:
    return write.array(np.array(value, np.float32))


def _whole(write: Writer, values: list[int]) -> str:
    return write.array(np.array(values, np.int64))
