"""Will the board's TensorRT take this ONNX file? Known before anything is copied there.

The rules come from the importers' source (onnx/onnx-tensorrt, branches 8.2-GA to 10.1-GA), not
from a run of the board's parser: passing them is no proof.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgedistill.errors import PreflightError
from edgedistill.target import Target


@dataclass(frozen=True)
class Finding:
    """One fault: `error` stops the board's parser or gives a wrong net, `warning` may."""

    level: str
    rule: str
    node: str
    why: str
    mend: str


class Graph:
    """An ONNX model with the look-ups that the rules need."""

    def __init__(self, model: onnx.ModelProto, file_bytes: int):
        self.model, self.file_bytes = model, file_bytes
        self.nodes = list(model.graph.node)

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def constants(self) -> set[str]:
        """Names whose value the parser knows: initializers and Constant nodes."""
        made = {node.output[0] for node in self.nodes if node.op_type == "Constant"}
        return made | set(self.initializers)

    @cached_property
    def opset(self) -> int:
        return next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 0)

    def of_type(self, *types: str) -> Iterator[onnx.NodeProto]:
        return (node for node in self.nodes if node.op_type in types)


def check_onnx(path: Path, target: Target) -> list[Finding]:
    """Every rule on every node.

    Raises:
        PreflightError: not a readable ONNX file.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model, full_check=False)
        graph = Graph(model, path.stat().st_size)
    except FileNotFoundError:
        raise PreflightError(f"{path}: no such file") from None
    except Exception as error:  # protobuf, onnx.checker and OSError: all mean a bad file
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise PreflightError(f"{path}: not a readable ONNX model: {reason}") from None
    if not target.operators:
        return []
    return [finding for rule in RULES for finding in rule(graph, target)]


@cache
def _importers(column: str) -> frozenset[str]:
    text = (resources.files("edgedistill.onnx_model") / "operators.csv").read_text(encoding="utf-8")
    return frozenset(row["op"] for row in csv.DictReader(text.splitlines()) if row[column] == "Y")


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} -> {node.output[0] if node.output else '?'}"


def _opset(graph: Graph, target: Target) -> Iterator[Finding]:
    if graph.opset > target.opset_max:
        yield Finding("error", "opset", "model", f"opset {graph.opset}; TensorRT {target.tensorrt} "
                      f"documents up to {target.opset_max}", f"export at opset {target.opset_max}")  # fmt: skip
    for entry in graph.model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            yield Finding("error", "domain", "model", f"operator domain {entry.domain!r}",
                          "export with standard operators only")  # fmt: skip
    if graph.model.ir_version > target.ir_max:
        yield Finding("warning", "ir", "model", f"IR {graph.model.ir_version}, the parser was built "
                      f"with {target.ir_max} and does not check", f"set ir_version to {target.ir_max}")  # fmt: skip


def _operators(graph: Graph, target: Target) -> Iterator[Finding]:
    known = _importers(target.operators) | {"Constant"}
    for node in graph.nodes:
        if node.op_type not in known:
            yield Finding("error", "operator", _name(node),
                          f"TensorRT {target.tensorrt} has no importer for {node.op_type}",
                          "export at a lower opset, or replace the layer")  # fmt: skip


def _reduce_axes(graph: Graph, target: Target) -> Iterator[Finding]:
    if not target.tensorrt.startswith("8."):
        return
    for node in graph.nodes:
        if (
            node.op_type.startswith("Reduce")
            and node.op_type != "ReduceSum"
            and len(node.input) > 1
        ):
            yield Finding("error", "reduce-axes", _name(node), "`axes` is an input; TensorRT 8.2 to "
                          "8.6 read only the attribute and would reduce over everything, silently",
                          "export at opset 13, where `axes` is an attribute")  # fmt: skip


# operator -> positions of inputs that the importers want as constants
_CONSTANT_INPUTS = {
    "Conv": (2,), "ConvTranspose": (2,), "TopK": (1,), "Squeeze": (1,), "Unsqueeze": (1,),
    "CumSum": (1,), "Slice": (3,), "Resize": (2,), "InstanceNormalization": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
}  # fmt: skip


def _constant_inputs(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type(*_CONSTANT_INPUTS):
        for position in _CONSTANT_INPUTS[node.op_type]:
            given = node.input[position] if position < len(node.input) else ""
            if given and given not in graph.constants:
                yield Finding("error", "constant-input", _name(node),
                              f"input {position} ({given}) is computed, the importer wants a constant",
                              "fold constants (onnxslim)")  # fmt: skip


def _identity_on_initializer(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("Identity"):
        if node.input[0] in graph.initializers:
            yield Finding("error", "identity-on-initializer", _name(node),
                          f"{node.input[0]} is an initializer hidden behind an Identity",
                          "fold constants (onnxslim)")  # fmt: skip


def _resize(graph: Graph, target: Target) -> Iterator[Finding]:
    if target.tensorrt != "8.2":
        return
    for node in graph.of_type("Resize"):
        if any(a.name == "mode" and a.s == b"cubic" for a in node.attribute):
            yield Finding("error", "resize", _name(node), "cubic Resize has no importer before 8.5",
                          "use linear or nearest")  # fmt: skip


def _quantized(graph: Graph, target: Target) -> Iterator[Finding]:
    nodes = list(graph.of_type("QuantizeLinear", "DequantizeLinear"))
    if nodes and "int8" not in target.precisions:
        yield Finding("error", "no-int8-hardware", _name(nodes[0]),
                      f"{target.title} has no INT8 hardware and refuses Q/DQ nodes",
                      "give it the float model")  # fmt: skip
    for node in nodes:
        scale = _value(graph, node.input[1])
        zero = _value(graph, node.input[2]) if len(node.input) > 2 else None
        stored = graph.initializers.get(node.input[0])
        fault = None
        if zero is None:
            fault = "its zero point is missing or computed"
        elif zero.dtype != np.int8 or zero.any():
            fault = f"its zero point must be INT8 and 0, got {zero.dtype} {zero.ravel()[:3]}"
        elif scale is None or not (scale > 0).all():
            fault = "its scale must be a positive constant"
        elif stored is not None and stored.data_type == onnx.TensorProto.INT32:
            fault = "its bias is stored as INT32"
        elif stored is not None and stored.data_type == onnx.TensorProto.INT8 \
                and target.tensorrt.startswith("8."):  # fmt: skip
            fault = "its weights are stored as INT8, which TensorRT 8 refuses"
        if fault:
            yield Finding("error", "q-dq", _name(node), fault,
                          "write symmetric Q/DQ with float weights and bias")  # fmt: skip


def _value(graph: Graph, name: str) -> np.ndarray | None:
    tensor = graph.initializers.get(name)
    return None if tensor is None else numpy_helper.to_array(tensor)


def _inputs(graph: Graph, target: Target) -> Iterator[Finding]:
    for value in graph.model.graph.input:
        if value.name in graph.initializers:
            continue
        kind = value.type.tensor_type
        if kind.elem_type != onnx.TensorProto.FLOAT:
            yield Finding("error", "input-type", value.name,
                          f"{onnx.TensorProto.DataType.Name(kind.elem_type)} input; we promise float32",
                          "cast before the network")  # fmt: skip
        if any(dim.dim_value <= 0 for dim in kind.shape.dim):
            yield Finding("error", "dynamic-shape", value.name, "a dimension is not fixed",
                          "export with a static shape")  # fmt: skip


def _storage(graph: Graph, target: Target) -> Iterator[Finding]:
    external = [t.name for t in graph.initializers.values()
                if t.data_location == onnx.TensorProto.EXTERNAL]  # fmt: skip
    if external:
        yield Finding("error", "external-data", external[0], "weights lie in another file",
                      "save the model in one file")  # fmt: skip
    if graph.file_bytes > 2 << 30:
        yield Finding("error", "size", "model", "larger than 2 GiB", "take a smaller model")


def _ranges(graph: Graph, target: Target) -> Iterator[Finding]:
    limits = {
        onnx.TensorProto.INT64: 2**31 - 1,
        onnx.TensorProto.DOUBLE: float(np.finfo(np.float32).max),
    }
    if target.tensorrt.startswith("10"):
        limits.pop(onnx.TensorProto.INT64)  # native from 10.0
    for name, tensor in graph.initializers.items():
        limit = limits.get(tensor.data_type)
        if limit is not None and tensor.data_location != onnx.TensorProto.EXTERNAL:
            values = numpy_helper.to_array(tensor)
            if values.size and max(abs(int(values.max())), abs(int(values.min()))) > limit:
                yield Finding("warning", "range", name, "values beyond 32 bits are clamped",
                              "store 32-bit values")  # fmt: skip
    for node in graph.of_type("If", "Loop"):
        yield Finding("warning", "control-flow", _name(node), "control flow slows or stops the builder",
                      "fold constants (onnxslim)")  # fmt: skip


RULES: tuple[Callable[[Graph, Target], Iterator[Finding]], ...] = (
    _opset, _operators, _reduce_axes, _constant_inputs, _identity_on_initializer, _resize,
    _quantized, _inputs, _storage, _ranges,
)  # fmt: skip
