"""The network's inputs, the types and ranges of what is stored, and where it is stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import (
    Finding,
    Graph,
    attribute,
    given,
    node_name,
    tensor_bytes,
    type_name,
)

MAX_BYTES = 2 << 30  # of one protobuf message, so of what a parser reads

_READ = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.DOUBLE,
    TensorProto.BOOL,
}
# type -> first release that knows it
_LATER: dict[int, tuple[int, ...]] = {
    TensorProto.UINT8: (8, 5),
    TensorProto.BFLOAT16: (10,),
    TensorProto.FLOAT8E4M3FN: (10,),
    TensorProto.INT4: (10,),
    TensorProto.FLOAT4E2M1: (10, 8),
}


def _inputs(graph: Graph, target: Target) -> Iterator[Finding]:
    for value in graph.inputs():
        kind = value.type.tensor_type
        if not _known(kind.elem_type, target):
            why = f"TensorRT {target.tensorrt} has no inputs of type {type_name(kind.elem_type)}"
            yield Finding("error", "network-type", value.name, why, "give the network float32")
        elif kind.elem_type != TensorProto.FLOAT:
            why = f"{type_name(kind.elem_type)} input; the board's runner gives float32"
            yield Finding("error", "input-type", value.name, why, "cast before the network")
        if not kind.HasField("shape") or any(dim.dim_value <= 0 for dim in kind.shape.dim):
            shown = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
            sizes = ",".join(str(dim.dim_value or "N") for dim in kind.shape.dim) or "1,3,H,W"
            why = f"its shape {shown} is not fixed" if kind.HasField("shape") else "it has no shape"
            yield Finding(
                "error",
                "dynamic-shape",
                value.name,
                why.replace("'", ""),
                f"export with a static shape, or: edgedistill check FILE --fix OUT.onnx --shape {value.name}={sizes}",
            )
    if not graph.inputs():
        yield Finding(
            "error", "inputs", "model", "no input; the board's runner gives one", "export with an image as input"
        )
    if len(graph.inputs()) > 1:
        names = ", ".join(value.name for value in graph.inputs())
        yield Finding(
            "warning",
            "inputs",
            "model",
            f"{len(graph.inputs())} inputs ({names}); the board's runner gives one",
            "make the others constants",
        )


def _known(kind: int, target: Target) -> bool:
    return kind in _READ or (kind in _LATER and target.needed_release.number >= _LATER[kind])


def _types(graph: Graph, target: Target) -> Iterator[Finding]:
    zero_points = {given(n, 2) for n in graph.of_type("QuantizeLinear", "DequantizeLinear")}
    for name, tensor in graph.initializers.items():
        if not _known(tensor.data_type, target) and name not in zero_points:
            yield Finding(
                "error",
                "initializer-type",
                name,
                f"{type_name(tensor.data_type)} is not a type of TensorRT {target.tensorrt}",
                "store it as FLOAT or INT32",
            )


def _casts(graph: Graph, target: Target) -> Iterator[Finding]:
    narrowed = {TensorProto.DOUBLE: "FLOAT"}
    if target.needed_release.number < (10,):
        narrowed[TensorProto.INT64] = "INT32"
    for node in graph.of_type("Cast"):
        to = attribute(node, "to", 0)
        if not _known(to, target):
            yield Finding(
                "error",
                "cast",
                node_name(node),
                f"casts to {type_name(to)}, which TensorRT {target.tensorrt} does not know",
                "cast to FLOAT or INT32",
            )
        elif to in narrowed:
            yield Finding(
                "warning",
                "cast",
                node_name(node),
                f"a cast to {type_name(to)} becomes one to {narrowed[to]}",
                "fold constants (onnxslim), or keep to 32 bits",
            )
        elif to == TensorProto.UINT8:
            yield Finding(
                "warning",
                "cast",
                node_name(node),
                "UINT8 is taken only at the network's own inputs and outputs",
                "cast to INT32",
            )


def _ranges(graph: Graph, target: Target) -> Iterator[Finding]:
    limits: dict[int, float] = {
        TensorProto.INT64: 2**31 - 1,
        TensorProto.DOUBLE: float(np.finfo(np.float32).max),
    }
    if target.needed_release.number >= (10,):
        limits.pop(TensorProto.INT64)  # native from 10.0
    named = {node.output[0]: node_name(node) for node in graph.of_type("Constant")}
    kinds = {name: tensor.data_type for name, tensor in graph.initializers.items()}
    for name in (*kinds, *named):
        if name in kinds and kinds[name] not in limits:
            continue  # float weights are many and need no look
        values = graph.array(name)
        limit = None if values is None else _limit(values, limits)
        if values is not None and limit is not None and values.size and _largest(values) > limit:
            yield Finding(
                "warning", "range", named.get(name, name), "values beyond 32 bits are clamped", "store 32-bit values"
            )


def _limit(values: np.ndarray, limits: dict[int, float]) -> float | None:
    kind = {"int64": TensorProto.INT64, "float64": TensorProto.DOUBLE}.get(str(values.dtype))
    return None if kind is None else limits.get(kind)


def _largest(values: np.ndarray) -> float:
    if values.dtype == np.int64:  # abs() of the smallest int64 is negative; whole numbers reach one further below 0
        return max(int(values.max()), -1 - int(values.min()))
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _storage(graph: Graph, target: Target) -> Iterator[Finding]:
    outside = graph.external
    if outside:
        yield Finding(
            "error",
            "external-data",
            outside[0][0],
            f"{len(outside)} tensors lie in another file",
            "save the model in one file",
        )
    total = graph.file_bytes + sum(tensor_bytes(tensor) for _, tensor in outside)
    if total > MAX_BYTES:
        yield Finding(
            "error",
            "size",
            "model",
            f"{total / 2**30:.1f} GiB with its weights; a parser reads at most 2 GiB",
            "take a smaller model",
        )


RULES = (_inputs, _types, _casts, _ranges, _storage)
