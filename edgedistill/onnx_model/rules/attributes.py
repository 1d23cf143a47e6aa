"""Attributes that an importer never reads, values that it refuses, and outputs that it does not give.

What an importer does not read has no effect on the board: the file means one thing there and another
in ONNX Runtime. So every attribute of the ONNX schema is read by the importer (attributes.csv), stands
at a value that means the same, or is reported. Values come from the assertions of the same sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import Finding, Graph, attribute, is_standard, node_name
from edgedistill.onnx_model.rules.tables import column, importers, unread_importers

_NO_EFFECT = {  # attributes that change nothing in inference, whatever their value
    ("BatchNormalization", "momentum"),
    ("Dropout", "ratio"),
    ("Dropout", "seed"),
    ("MaxPool", "storage_order"),  # of the indices, which no release gives
    ("TopK", "sorted"),  # 0 allows any order, and TensorRT's is one
    ("Cast", "saturate"),
    ("CastLike", "saturate"),
    ("QuantizeLinear", "saturate"),  # of 8-bit floats
    ("DequantizeLinear", "block_size"),
    ("QuantizeLinear", "block_size"),  # the shape of the scale says it
}
_HAS_EFFECT: dict[tuple[str, str], Callable[[onnx.NodeProto], bool]] = {
    ("Resize", "cubic_coeff_a"): lambda node: _mode(node) == b"cubic",
    ("Resize", "exclude_outside"): lambda node: _mode(node) == b"cubic",
    ("Resize", "extrapolation_value"): lambda node: (
        attribute(node, "coordinate_transformation_mode", b"half_pixel") == b"tf_crop_and_resize"
    ),
}

# (operator, attribute) -> (first release, values that its importer takes)
_TAKEN: dict[tuple[str, str], tuple[tuple[int, ...], tuple[Any, ...]]] = {
    ("Attention", "qk_matmul_output_mode"): ((10, 14), (0,)),
    ("Attention", "softcap"): ((10, 14), (0.0,)),
    ("Attention", "softmax_precision"): ((10, 14), ()),
    ("BatchNormalization", "training_mode"): ((8, 5), (0,)),
    ("BlackmanWindow", "output_datatype"): ((10, 4), (1,)),
    ("GRU", "layout"): ((10,), (0,)),
    ("HammingWindow", "output_datatype"): ((10, 4), (1,)),
    ("HannWindow", "output_datatype"): ((10, 4), (1,)),
    ("LSTM", "input_forget"): ((8,), (0,)),
    ("LSTM", "layout"): ((10,), (0,)),
    ("LpNormalization", "p"): ((8,), (1, 2)),
    ("LpPool", "p"): ((8,), (1, 2)),
    ("RNN", "layout"): ((10,), (0,)),
    ("RandomNormal", "dtype"): ((8,), (1, 10)),
    ("RandomNormalLike", "dtype"): ((8,), (1, 10)),  # FLOAT, FLOAT16
    ("RandomUniform", "dtype"): ((8,), (1, 10)),
    ("RandomUniformLike", "dtype"): ((8,), (1, 10)),
    ("Resize", "antialias"): ((8,), (0,)),
    ("Resize", "keep_aspect_ratio_policy"): ((8,), (b"stretch",)),
    ("Resize", "coordinate_transformation_mode"): (
        (8,),
        (b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric", b"align_corners"),
    ),
    ("Resize", "mode"): ((8,), (b"nearest", b"linear", b"cubic")),
    ("RoiAlign", "mode"): ((8, 5), (b"avg", b"max")),
    ("RoiAlign", "coordinate_transformation_mode"): ((8, 5), (b"half_pixel", b"output_half_pixel")),
    ("ScatterND", "reduction"): ((10, 9), (b"none",)),
    ("TensorScatter", "mode"): ((10, 15), (b"linear",)),
    ("Upsample", "mode"): ((8,), (b"nearest", b"linear", b"bilinear")),
}
_PAD_MODES = (b"constant", b"reflect", b"edge")  # and wrap from 10
_GRID_MODES = (b"nearest", b"bilinear", b"bicubic")  # linear and cubic of opset 20 are not known

_EINSUM_WHOLE = (10, 12)  # ellipsis, diagonal and broadcasting: ONNX-TensorRT changelog

# (smallest, largest) that TensorRT's ILRNLayer takes: NvInfer.h; `size` must be odd besides
_LRN_LIMITS = {"size": (1, 15), "beta": (0.01, 1e5), "bias": (1e-5, 1e10)}
_LRN_DEFAULTS = {"size": 1, "beta": 0.75, "bias": 1.0}

# Outputs that the importer gives, where the schema has more. Dropout gives its mask.
_OUTPUTS = {"Attention": 1, "BatchNormalization": 1, "LayerNormalization": 1, "MaxPool": 1}


def _unread(graph: Graph, target: Target) -> Iterator[Finding]:
    reads = column("attributes.csv", target.needed_release.operators)
    for node in _imported(graph, target):
        for item in node.attribute:
            key = (node.op_type, item.name)
            is_read = item.name in reads.get(node.op_type, frozenset()) or key in _NO_EFFECT
            is_read = is_read or _taken(*key, target.needed_release.number) is not None  # then it is refused
            if is_read or not _HAS_EFFECT.get(key, lambda node: True)(node) or _is_default(graph, node, item):
                continue
            yield Finding(
                "error",
                "unread-attribute",
                node_name(node),
                f"the importer of TensorRT {target.tensorrt} never reads {item.name}, so "
                f"{item.name} = {_shown(onnx.helper.get_attribute_value(item))} has no effect on the board",
                f"export without {item.name}, or compute it with other operators",
            )


def _values(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in _imported(graph, target):
        for item in node.attribute:
            taken = _taken(node.op_type, item.name, target.needed_release.number)
            value = onnx.helper.get_attribute_value(item)
            if taken is not None and value not in taken:
                yield Finding(
                    "error",
                    "attribute-value",
                    node_name(node),
                    f"{item.name} = {_shown(value)}; TensorRT {target.tensorrt} takes "
                    f"{' or '.join(_shown(one) for one in taken)}",
                    "use another value, or replace the layer",
                )


def _taken(kind: str, name: str, release: tuple[int, ...]) -> tuple[Any, ...] | None:
    if (kind, name) == ("Pad", "mode"):
        return (*_PAD_MODES, b"wrap") if release >= (10,) else _PAD_MODES
    if (kind, name) == ("GridSample", "mode"):
        return _GRID_MODES
    first, values = _TAKEN.get((kind, name), ((99,), ()))
    return values if release >= first else None


def _combinations(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in _imported(graph, target):
        why = _combination(node, target)
        if why:
            yield Finding("error", "attribute-value", node_name(node), why, "use another form of the layer")


def _combination(node: onnx.NodeProto, target: Target) -> str | None:
    """Why the importer refuses attributes that are each taken alone, or None."""
    release, kind = target.needed_release.number, node.op_type
    if kind == "Resize" and attribute(node, "coordinate_transformation_mode", b"") == b"tf_half_pixel_for_nn":
        rounding = attribute(node, "nearest_mode", b"round_prefer_floor")
        if rounding != b"round_prefer_floor":
            return f"tf_half_pixel_for_nn with nearest_mode {_shown(rounding)}; only round_prefer_floor is taken"
    if kind == "ScatterND" and (10,) <= release < (10, 9) and any(a.name == "reduction" for a in node.attribute):
        return f"TensorRT {target.tensorrt} refuses the attribute reduction, whatever its value"
    if kind in ("GRU", "LSTM", "RNN") and attribute(node, "direction", b"forward") == b"bidirectional":
        for name in ("activations", "activation_alpha", "activation_beta"):
            values = list(attribute(node, name, []))
            half = len(values) // 2
            if values[:half] != values[half:]:
                return f"{name} of the reverse pass differ from those of the forward pass"
    if kind == "Einsum":
        return _einsum(attribute(node, "equation", b"").decode("utf-8", "replace"), release)
    if kind == "LRN":
        return _lrn(node)
    if kind in ("MaxPool", "AveragePool", "LpPool") and any(d != 1 for d in attribute(node, "dilations", [])):
        return f"dilated pooling is refused by TensorRT {target.tensorrt}"
    return None


def _lrn(node: onnx.NodeProto) -> str | None:
    for name, (smallest, largest) in _LRN_LIMITS.items():
        value = attribute(node, name, _LRN_DEFAULTS[name])
        if not np.float32(smallest) <= np.float32(value) <= largest or (name == "size" and value % 2 == 0):
            odd = "an odd number " if name == "size" else ""
            return f"{name} = {value:g}; TensorRT takes {odd}from {smallest:g} to {largest:g}"
    return None


def _einsum(equation: str, release: tuple[int, ...]) -> str | None:
    if "..." in equation and release < _EINSUM_WHOLE:
        return "an ellipsis in the equation is not supported"
    odd = sorted(set(equation) - set("abcdefghijklmnopqrstuvwxyz->., "))
    if odd:
        return f"the equation has {odd[0]!r}; only lower-case letters are taken"
    if release >= _EINSUM_WHOLE:
        return None
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    repeated = next((term for term in terms if len(set(term)) < len(term)), None)
    return f"a diagonal ({repeated!r}) is not supported" if repeated else None


def _outputs(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in _imported(graph, target):
        given = _OUTPUTS.get(node.op_type)
        if given is not None and len(node.output) > given:
            yield Finding(
                "error",
                "outputs",
                node_name(node),
                f"{len(node.output)} outputs are named, the importer gives {given}",
                "remove the further outputs, or the layers that read them",
            )


def _imported(graph: Graph, target: Target) -> Iterator[onnx.NodeProto]:
    """Standard nodes with an importer that was read; others are a finding of another rule."""
    column_name = target.needed_release.operators
    imported = importers(column_name) - unread_importers(column_name)
    return (node for node in graph.nodes if is_standard(node.domain) and node.op_type in imported)


def _is_default(graph: Graph, node: onnx.NodeProto, item: onnx.AttributeProto) -> bool:
    """Also for an attribute that the schema of this opset does not have: `schema` reports that."""
    try:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=graph.opset)
    except onnx.defs.SchemaError:
        return True
    described = schema.attributes.get(item.name)
    if described is None:
        return True
    default = described.default_value
    return default.type == item.type and (
        onnx.helper.get_attribute_value(default) == onnx.helper.get_attribute_value(item)
    )


def _mode(node: onnx.NodeProto) -> bytes:
    return attribute(node, "mode", b"nearest")


def _shown(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)[:60]


RULES = (_unread, _values, _combinations, _outputs)
