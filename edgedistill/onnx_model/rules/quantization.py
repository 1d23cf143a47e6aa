"""The one form of QuantizeLinear / DequantizeLinear that each release takes.

8.2 to 8.6: three inputs, zero point INT8, all 0 and sized like the scale (QuantDequantLinearHelper);
INT8 weight constants are refused (NVIDIA/TensorRT#2163, onnxruntime#11535). 10: the zero point may
be left out, and UINT8 is computed as INT8 with a log line only; weights, and only they, may be INT4, a matrix of
them with a scale for each block ("Block quantization is supported only for 2D inputs", and only for kINT4: TensorRT
10.3 and 10.7). 11: Q/DQ are the only way to INT8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import Finding, Graph, attribute, given, node_name, type_name

_TYPES = {"int8", "float8_e4m3fn", "int4"}  # of a zero point; before 10 the first alone
_SIGNED = {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT8E4M3FN, onnx.TensorProto.INT4}
_MODERN = (10,)


def _hardware(graph: Graph, target: Target) -> Iterator[Finding]:
    first = next(graph.of_type("QuantizeLinear", "DequantizeLinear"), None)
    if first is not None and "int8" not in target.precisions:
        yield Finding(
            "error",
            "no-int8-hardware",
            node_name(first),
            f"{target.title} has no INT8 hardware and refuses Q/DQ nodes",
            "give it the float model",
        )


def _form(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("QuantizeLinear", "DequantizeLinear"):
        fault = next(
            (reason for part in (_scale, _zero_point, _stored, _int4, _axis) if (reason := part(graph, target, node))),
            None,
        )
        if fault:
            yield Finding(
                "error", "q-dq", node_name(node), fault, "write symmetric INT8 Q/DQ with float weights and bias"
            )


def _scale(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    scale = graph.array(given(node, 1))
    if scale is None or not scale.size or not (scale > 0).all():
        return "its scale must be a positive constant"
    return None


def _zero_point(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    name = given(node, 2)
    modern = target.needed_release.number >= _MODERN
    if not name:
        if not modern:
            return f"it has no zero point; TensorRT {target.tensorrt} wants three inputs"
        unsigned = attribute(node, "output_dtype", 0) not in _SIGNED
        if node.op_type == "QuantizeLinear" and unsigned:
            return "without a zero point ONNX means UINT8, TensorRT computes INT8"
        return None
    zero, scale = graph.array(name), graph.array(given(node, 1))
    if zero is None:
        return "its zero point is computed"
    if str(zero.dtype) not in _TYPES or (zero.dtype != np.int8 and not modern):
        effect = "computes INT8 in its place, silently" if modern and zero.dtype == np.uint8 else "refuses it"
        return f"its zero point must be INT8, got {zero.dtype}: TensorRT {target.tensorrt} {effect}"
    if np.asarray(zero, np.float32).any():
        return f"its zero point must be 0, got {zero.ravel()[:3]}"
    if scale is None:  # the fault of `_scale`
        return None
    if zero.size != scale.size:
        return f"its zero point has {zero.size} values, its scale {scale.size}"
    return None


def _stored(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    stored = graph.array(given(node, 0))
    if stored is None or node.op_type != "DequantizeLinear":
        return None
    if stored.dtype == np.int32:
        return "its bias is stored as INT32; a DequantizeLinear must not take that"
    if stored.dtype == np.uint8:
        return "its weights are stored as UINT8"
    if stored.dtype == np.int8 and target.needed_release.number < _MODERN:
        return f"its weights are stored as INT8, which TensorRT {target.tensorrt} refuses"
    return None


def _quantized(graph: Graph, node: onnx.NodeProto) -> str:
    """Name of the float tensor that a pair of Q and DQ quantizes, or of the integers that a DequantizeLinear reads."""
    source = given(node, 0)
    maker = graph.producers.get(source)
    between = source not in graph.constants and maker is not None and maker.op_type == "QuantizeLinear"
    return given(maker, 0) if maker is not None and between else source


def _is_int4(graph: Graph, node: onnx.NodeProto) -> bool:
    integers = node.output[0] if node.op_type == "QuantizeLinear" else given(node, 0)
    return graph.types.get(integers) == onnx.TensorProto.INT4


def _int4(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    if _is_int4(graph, node) and _quantized(graph, node) not in graph.constants:
        return "it makes an activation INT4; only weights may be"
    return None


def _axis(graph: Graph, target: Target, node: onnx.NodeProto) -> str | None:
    scale = graph.array(given(node, 1))
    if scale is None or scale.size == 1:
        return None
    source = _quantized(graph, node)
    if source not in graph.constants:
        return f"it quantizes an activation per axis ({scale.size} scales); only weights may be"
    axis, shape = attribute(node, "axis", None), graph.shapes.get(source, ())
    if axis is None:
        return "its axis is not written: ONNX means 1, TensorRT takes 0"
    if shape and not -len(shape) <= axis < len(shape):
        return f"{scale.size} scales on axis {axis} of {tuple(shape)}"
    if shape and scale.ndim == len(shape) > 1 and target.needed_release.number >= _MODERN:
        return _blocks(graph, node, scale.shape, shape, axis)
    return f"{scale.size} scales on axis {axis} of {tuple(shape)}" if shape and shape[axis] != scale.size else None


def _blocks(
    graph: Graph, node: onnx.NodeProto, scales: tuple[int, ...], shape: tuple[int, ...], axis: int
) -> str | None:
    """A scale for each block of weights along the axis."""
    if not _is_int4(graph, node) or len(shape) != 2:
        return "it has a scale for each block; TensorRT takes that of INT4 matrices only"
    block, covered = attribute(node, "block_size", 0), list(scales)
    covered[axis] *= block
    if tuple(covered) != tuple(shape):
        return f"scales {list(scales)} of blocks of {block} on axis {axis} do not cover {list(shape)}"
    return None


def _operators(graph: Graph, target: Target) -> Iterator[Finding]:
    """Quantized tensors may only be what Q and DQ exchange."""
    for node in graph.of_type("Conv", "Gemm", "MatMul"):
        for position in (0, 1):
            tensor = graph.initializers.get(given(node, position))
            integer = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
            if tensor is not None and tensor.data_type in integer:
                yield Finding(
                    "error",
                    "q-dq",
                    node_name(node),
                    f"{tensor.name} is {type_name(tensor.data_type)} without a DequantizeLinear",
                    "write symmetric INT8 Q/DQ with float weights and bias",
                )


def _strong_typing(graph: Graph, target: Target) -> Iterator[Finding]:
    """11 computes each tensor in the file's type: flags, calibrators and calibration caches are gone.

    Source: docs.nvidia.com/deeplearning/tensorrt, "TensorRT 10.x to 11.x" (removed APIs and trtexec options).
    """
    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    typed = half & {*graph.types.values(), *(tensor.data_type for tensor in graph.initializers.values())}
    if target.needed_release.number < (11,) or typed:
        return
    quantized = next(graph.of_type("QuantizeLinear", "DequantizeLinear"), None) is not None
    what = "what its Q/DQ nodes do not quantize" if quantized else "all of this file"
    yield Finding(
        "warning",
        "strong-typing",
        "model",
        f"TensorRT {target.tensorrt} has no precision flags, no "
        f"calibrators and no calibration cache: {what} runs in FLOAT",
        "for INT8 give it a file with Q/DQ nodes, for FP16 one whose tensors are FLOAT16; a run whose recipe has "
        "this release as target.tensorrt makes both",
    )


RULES = (_hardware, _form, _operators, _strong_typing)
