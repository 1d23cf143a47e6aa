"""One operator as an older opset writes it: attributes without effect go, inputs become attributes.

Sources: the operators' versions in onnx/docs/Changelog.md. Attribute values that came later than their
attribute are not in onnx's schemas, so they stand here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.findings import Graph, attribute, given
from edgedistill.onnx_model.index_operators import wrapped

# (operator, attribute, value) -> opset that brought the value
_VALUES_SINCE = {
    ("Pad", "mode", b"wrap"): 19,
    ("Resize", "coordinate_transformation_mode", b"half_pixel_symmetric"): 19,
    ("ScatterElements", "reduction", b"max"): 18,
    ("ScatterElements", "reduction", b"min"): 18,
    ("ScatterND", "reduction", b"max"): 18,
    ("ScatterND", "reduction", b"min"): 18,
}
_GRID_MODES = {b"linear": b"bilinear", b"cubic": b"bicubic"}  # of GridSample from 20 -> before
_POOL_SHAPE_SINCE = 19  # from here a window that would begin in the padding behind the image is left out


def schema_of(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema | None:
    """None where that opset has no such operator, or took it back (GroupNormalization of 18)."""
    try:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=opset)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def needed_schema(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema:
    """
    Raises:
        PreflightError: that opset has no such operator.
    """
    schema = schema_of(node, opset)
    if schema is None:
        raise PreflightError(f"there is no {node.op_type}")
    return schema


def in_older_form(node: onnx.NodeProto, graph: Graph, now: int, opset: int) -> list[onnx.NodeProto]:
    """
    Args:
        node: of an operator that `opset` has too; it is changed.
        now: opset that the node is written for.

    Raises:
        PreflightError: the older form cannot say it; the text follows "at opset N, ".
    """
    special = _FORMS.get(node.op_type) or (_reduce if node.op_type.startswith("Reduce") else None)
    nodes = special(node, graph, opset) if special else [node]
    for one in nodes:
        if one.op_type == node.op_type:
            _drop_defaults(one, now, opset)
        refuse_unless_known(one, opset)
    return nodes


def drop(node: onnx.NodeProto, *names: str) -> None:
    for item in [item for item in node.attribute if item.name in names]:
        node.attribute.remove(item)


def _drop_defaults(node: onnx.NodeProto, now: int, opset: int) -> None:
    """An attribute that came later does nothing while it stands at its default."""
    newer, older = needed_schema(node, now), needed_schema(node, opset)
    for item in list(node.attribute):
        if item.name in older.attributes or item.name not in newer.attributes:
            continue
        default = newer.attributes[item.name].default_value
        value = helper.get_attribute_value(item)
        if default.type == item.type and helper.get_attribute_value(default) == value:
            node.attribute.remove(item)


def refuse_unless_known(node: onnx.NodeProto, opset: int) -> None:
    """Attributes, their values and the numbers of inputs and outputs against the schema of that opset.

    Raises:
        PreflightError: the first that it does not have.
    """
    schema, kind = needed_schema(node, opset), node.op_type
    for item in node.attribute:
        if item.name not in schema.attributes:
            raise PreflightError(f"{kind} has no {item.name!r}")
        value = helper.get_attribute_value(item)
        if isinstance(value, bytes) and _VALUES_SINCE.get((kind, item.name, value), 0) > opset:
            raise PreflightError(f"{kind} has no {item.name} {value.decode()!r}")
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise PreflightError(f"{kind} takes {schema.max_input} inputs, not {len(node.input)}")
    if len(node.output) > schema.max_output:
        raise PreflightError(f"{kind} gives {schema.max_output} outputs, not {len(node.output)}")


def _reduce(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """Axes became an input with 18, of ReduceSum with 13."""
    if opset >= (13 if node.op_type == "ReduceSum" else 18):
        return [node]
    name = given(node, 1)
    axes = graph.array(name) if name else None
    if name and axes is None:
        raise PreflightError(f"{node.op_type} wants constant axes")
    if axes is not None and axes.size:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes.ravel()]))
    elif attribute(node, "noop_with_empty_axes", 0):
        return [helper.make_node("Identity", [node.input[0]], list(node.output), name=node.name)]
    del node.input[1:]
    drop(node, "noop_with_empty_axes")
    return [node]


def _reshape(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """`allowzero` is about zeros in the shape; without one it has no effect."""
    shape = graph.array(given(node, 1))
    if opset < 14 and attribute(node, "allowzero", 0):
        if shape is None:
            raise PreflightError("Reshape has no 'allowzero', and its shape is computed")
        if not np.all(shape):
            raise PreflightError("Reshape has no 'allowzero', and a size of its shape is 0")
        drop(node, "allowzero")
    return [node]


def _split(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """No sizes mean equal parts before 18; with `num_outputs` the last one may be smaller."""
    parts = attribute(node, "num_outputs", 0)
    if opset >= 18 or not parts:
        return [node]
    drop(node, "num_outputs")
    shape = graph.shapes.get(node.input[0], ())
    axis = attribute(node, "axis", 0)
    length = shape[axis] if -len(shape) <= axis < len(shape) else 0
    if not length:
        raise PreflightError("Split has no 'num_outputs', and the length of its axis is not known")
    if length % parts:
        each = math.ceil(length / parts)
        sizes = np.array([each] * (parts - 1) + [length - each * (parts - 1)], np.int64)
        del node.input[1:]
        node.input.append(_constant(graph, node, "sizes", sizes))
    return [node]


def _pad(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """Axes became an input with 18; before, all of them are padded. `wrap` came with 19."""
    if opset < 18:
        if name := given(node, 3):
            _pad_all_axes(node, graph, name)
        del node.input[3:]
    if opset < 19 and attribute(node, "mode", b"constant") == b"wrap":
        return wrapped(node, graph) or [node]
    return [node]


def _pad_all_axes(node: onnx.NodeProto, graph: Graph, name: str) -> None:
    axes, pads = graph.array(name), graph.array(node.input[1])
    rank = len(graph.shapes.get(node.input[0], ()))
    if axes is None or pads is None or not rank:
        raise PreflightError("Pad has no axes, and they, the pads or the rank are not constant")
    whole = np.zeros((2, rank), np.int64)
    whole[:, axes.ravel()] = pads.reshape(2, -1)
    node.input[1] = _constant(graph, node, "pads", whole.ravel())


def _resize(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """Axes came with 18; before, scales and sizes are of all axes."""
    axes = attribute(node, "axes", None)
    if opset >= 18 or axes is None:
        return [node]
    shape = graph.shapes.get(node.input[0], ())
    for position in (2, 3):  # scales, sizes
        name = given(node, position)
        values = graph.array(name) if name else None
        if name and (values is None or not all(shape)):
            raise PreflightError("Resize has no 'axes', and its scales, sizes or shape are not constant")
        if values is not None and values.size:
            whole = np.array(shape if position == 3 else [1] * len(shape), values.dtype)
            whole[list(axes)] = values
            node.input[position] = _constant(graph, node, ("scales", "sizes")[position - 2], whole)
    drop(node, "axes")
    return [node]


def part_of_shape(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """Start and end came with 15; before, a Slice of all sizes."""
    start, end = attribute(node, "start", 0), attribute(node, "end", None)
    if opset >= 15:
        return [node]
    drop(node, "start", "end")
    if start == 0 and end is None:
        return [node]
    whole = f"{node.output[0]}/sizes"
    last = np.iinfo(np.int32).max if end is None else end
    bounds = [
        _constant(graph, node, name, np.array([value], np.int64)) for name, value in (("start", start), ("end", last))
    ]
    sliced = helper.make_node("Slice", [whole, *bounds], [node.output[0]], name=f"{whole}/Slice")
    node.output[0] = whole
    return [node, sliced]


def _grid_sample(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """20 renamed the modes and took volumes in."""
    if opset < 20:
        if len(graph.shapes.get(node.input[0], (0,) * 4)) != 4:
            raise PreflightError("GridSample takes images only")
        mode = attribute(node, "mode", b"linear")
        drop(node, "mode")
        node.attribute.append(helper.make_attribute("mode", _GRID_MODES.get(mode, mode)))
    return [node]


def _roi_align(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    """Before 16 there is one mode, which from 16 on is not the default."""
    if opset < 16:
        mode = attribute(node, "coordinate_transformation_mode", b"half_pixel")
        if mode != b"output_half_pixel":
            raise PreflightError(f"RoiAlign has no coordinate_transformation_mode {mode.decode()!r}")
        drop(node, "coordinate_transformation_mode")
    return [node]


def _pool(node: onnx.NodeProto, graph: Graph, opset: int) -> list[onnx.NodeProto]:
    older = needed_schema(node, opset)
    if "dilations" not in older.attributes and all(step == 1 for step in attribute(node, "dilations", [])):
        drop(node, "dilations")
    if opset < _POOL_SHAPE_SINCE and attribute(node, "ceil_mode", 0) and _window_in_padding(node, graph):
        raise PreflightError(f"{node.op_type} with ceil_mode gives one more row or column here")
    return [node]


def _window_in_padding(node: onnx.NodeProto, graph: Graph) -> bool:
    """Whether a last window would begin behind the image: the older rule counts it. True if not known."""
    sizes = graph.shapes.get(node.input[0], ())[2:]
    kernel = attribute(node, "kernel_shape", [])
    if not all(sizes) or len(sizes) != len(kernel):
        return True
    count = len(kernel)
    steps = attribute(node, "strides", [1] * count)
    widths = attribute(node, "dilations", [1] * count)
    pads = attribute(node, "pads", [0] * 2 * count)
    for axis, size in enumerate(sizes):
        before, behind = pads[axis], pads[axis + count]
        reach = (kernel[axis] - 1) * widths[axis] + 1
        windows = math.ceil((size + before + behind - reach) / steps[axis]) + 1
        if (windows - 1) * steps[axis] >= size + before:
            return True
    return False


def _constant(graph: Graph, node: onnx.NodeProto, what: str, values: np.ndarray) -> str:
    return graph.store(f"{node.output[0]}/{what}", values)


_FORMS: dict[str, Callable[[onnx.NodeProto, Graph, int], list[onnx.NodeProto]]] = {
    "AveragePool": _pool,
    "GridSample": _grid_sample,
    "LpPool": _pool,
    "MaxPool": _pool,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Shape": part_of_shape,
    "Split": _split,
}
