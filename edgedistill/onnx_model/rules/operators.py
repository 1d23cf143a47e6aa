"""Operators without importer, and forms of an operator that its importer refuses."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import (
    Finding,
    Graph,
    attribute,
    given,
    is_standard,
    node_name,
)
from edgedistill.onnx_model.rules.tables import importers, unread_importers

_MOST_DIMENSIONS = 8  # Dims::MAX_DIMS of NvInferRuntimeBase.h, in every release
_VOLUMES_FROM = (11, 2)  # of GridSample: NVIDIA's release notes of 11.2.1
_RESIZE_AXES_FROM = (10,)  # before, `axes` is never read: `unread-attribute`
_INNERMOST = {"linear": 3, "cubic": 2}  # axes that a mode may change


def _operators(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.nodes:
        if is_standard(node.domain) and node.op_type not in importers(target.needed_release.operators):
            yield Finding(
                "error",
                "operator",
                node_name(node),
                f"TensorRT {target.tensorrt} has no importer for {node.op_type}",
                "export at a lower opset, or replace the layer",
            )


def _unread(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type(*unread_importers(target.needed_release.operators)):
        yield Finding(
            "warning",
            "importer-unread",
            node_name(node),
            f"TensorRT {target.tensorrt} documents "
            f"{node.op_type}, but the source of its importer could not be read: its limits are not checked",
            "ask a real parser: check --parse",
        )


def _resize(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("Resize", "Upsample"):
        mode = attribute(node, "mode", b"nearest").decode()
        factors = _factors(graph, node)
        if mode == "cubic" and target.needed_release.number < (8, 5):
            yield Finding(
                "error",
                "resize",
                node_name(node),
                f"cubic Resize has no importer in TensorRT {target.tensorrt}",
                "use linear or nearest",
            )
        elif factors and mode in _INNERMOST:
            outer = factors[: -_INNERMOST[mode]]
            if any(factor != 1 for factor in outer):
                yield Finding(
                    "error",
                    "resize",
                    node_name(node),
                    f"{mode} Resize of more than the last {_INNERMOST[mode]} axes, by {factors}",
                    "resize only height and width",
                )
        scales = graph.array(given(node, scales_position(graph, node)))
        if scales is not None and scales.size:
            axes = attribute(node, "axes", ()) if target.needed_release.number >= _RESIZE_AXES_FROM else ()
            rank = len(axes or graph.shapes.get(node.input[0], ())) or scales.size
            if scales.dtype != "float32" or scales.size != rank:
                yield Finding(
                    "error",
                    "resize-scales",
                    node_name(node),
                    f"scales must be {rank} float32 values, got {scales.size} {scales.dtype}",
                    "export with float32 scales, one for each axis",
                )


def scales_position(graph: Graph, node) -> int:
    """Position of `scales`: `roi` came before it with opset 11."""
    return 2 if node.op_type == "Resize" and graph.opset >= 11 else 1


def _factors(graph: Graph, node) -> list[float]:
    """How much each axis grows, or [] when that is not known."""
    before = graph.shapes.get(node.input[0], ())
    named = attribute(node, "axes", None)
    axes = [axis % len(before) for axis in (range(len(before)) if named is None else named)] if before else []
    scales = graph.array(given(node, scales_position(graph, node)))
    if scales is not None and scales.size:
        factors = [float(value) for value in scales]
    else:
        sizes = graph.array(given(node, 3)) if graph.opset >= 11 else None
        sides = [before[axis] for axis in axes]
        if sizes is None or len(sides) != len(sizes) or not all(sides):
            return []
        factors = [float(after) / side for after, side in zip(sizes, sides, strict=True)]
    if named is None:
        return factors
    by_axis = dict(zip(axes, factors, strict=False))
    return [by_axis.get(axis, 1.0) for axis in range(len(before))]


def _ranks(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("MatMul", "GridSample", "LRN", "TensorScatter", "Attention"):
        why = _attention(graph, node) if node.op_type == "Attention" else _rank(graph, target, node)
        if why:
            yield Finding("error", "rank", node_name(node), why, "reshape what goes in, or use other layers")


def _rank(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    """Why the importer refuses the ranks of what goes in, or None; 0 of an input whose rank is not known."""
    kind = node.op_type
    first, second = (len(graph.shapes.get(given(node, position), ())) for position in (0, 1))
    if kind == "MatMul" and first == 1 and second > 2:  # a 1 goes before the vector, the first axis goes
        return f"a vector times a tensor of {second} dimensions; the importers remove the wrong axis of the product"
    if kind == "GridSample" and first > 4 and target.needed_release.number < _VOLUMES_FROM:
        return f"its input has {first} dimensions; TensorRT {target.tensorrt} takes images, which have 4"
    if kind == "LRN" and 0 < first < 4:
        return f"its input has {first} dimensions, the layer wants 4 or more"
    if kind == "TensorScatter" and first and (first != 4 or attribute(node, "axis", -2) not in (-2, 2)):
        return "the importer wants 4 dimensions and writes along axis -2"
    return None


def _most_dimensions(graph: Graph, target: Target) -> Iterator[Finding]:
    for name, shape in graph.shapes.items():
        if len(shape) > _MOST_DIMENSIONS:
            maker = graph.producers.get(name)
            yield Finding(
                "error",
                "rank",
                name if maker is None else node_name(maker),
                f"{name} has {len(shape)} dimensions; a tensor of TensorRT has at most {_MOST_DIMENSIONS}",
                "merge dimensions that stay beside each other",
            )


def _attention(graph: Graph, node: onnx.NodeProto) -> str | None:
    """operators.md and onnxOpImporters.cpp of 10.16; equal K and V and the mask: said by TensorRT for RTX 1.7."""
    key, value, mask = (graph.shapes.get(given(node, position), ()) for position in (1, 2, 3))
    if any(node.input[4:]):
        return "the importer refuses past_key and past_value, and does not document nonpad_kv_seqlen"
    if key and value and key != value:
        return f"its key {list(key)} and value {list(value)} must have the same shape"
    if given(node, 3) and attribute(node, "is_causal", 0):
        return "a mask and is_causal exclude each other"
    if mask and key and mask[-1] not in (1, key[-2]):
        return f"its mask covers {mask[-1]} keys of {key[-2]}"
    return None


def _dropout(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("Dropout"):
        training = given(node, 2)
        value = graph.array(training) if training else None
        if training and (value is None or value.any()):
            yield Finding("error", "dropout", node_name(node), "it drops values in inference", "export in eval mode")


def _constant_form(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("Constant"):
        odd = {a.name for a in node.attribute} & {"sparse_value", "value_string", "value_strings"}
        if odd:
            yield Finding(
                "error",
                "constant-form",
                node_name(node),
                f"a Constant given as {odd.pop()}; only dense numbers are read",
                "store it as a dense tensor",
            )
    for part in graph.graphs:
        for sparse in part.sparse_initializer:
            yield Finding(
                "error",
                "constant-form",
                sparse.values.name,
                "a sparse initializer; only dense ones are read",
                "store it as a dense tensor",
            )


def _control_flow(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("If", "Loop", "Scan"):
        yield Finding(
            "warning",
            "control-flow",
            node_name(node),
            "control flow slows or stops the builder",
            "fold constants (onnxslim)",
        )
        if node.op_type == "If" and target.needed_release.number < (8, 5):
            yield from _branch_names(node)


def _branch_names(node: onnx.NodeProto) -> Iterator[Finding]:
    branches = [[value.name for value in item.g.output] for item in node.attribute if item.HasField("g")]
    same = [names[0] for names in zip(*branches, strict=False) if len(set(names)) < len(names)]
    if len(branches) == 2 and same:
        yield Finding(
            "error",
            "control-flow",
            node_name(node),
            f"both branches call their output {same[0]}",
            "give the outputs of the branches different names",
        )


def _scratch(graph: Graph, target: Target) -> Iterator[Finding]:
    """ArgMax, ArgMin and TopK are one layer, for which a Nano's builder found no memory: NVIDIA/TensorRT#3677."""
    if target.needed_release.number >= (8, 5):
        return
    for node in graph.of_type("ArgMax", "ArgMin", "TopK"):
        yield Finding(
            "warning",
            "scratch-memory",
            node_name(node),
            f'{node.op_type} needs much workspace; with little memory the builder says "Could not '
            'find any implementation"',
            "take the largest on the CPU, from the logits",
        )


RULES = (_operators, _unread, _resize, _ranks, _most_dimensions, _dropout, _constant_form, _control_flow, _scratch)
