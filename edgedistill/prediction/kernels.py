"""The kernels that TensorRT launches for an ONNX graph: its layers after fusion, and what each costs.

Followed (NVIDIA, TensorRT 8.2 Developer Guide, "Types of Fusions"): a convolution takes in its bias,
BatchNormalization, one addition of a tensor (residual) and one ReLU, Clip or LeakyReLU; every other
chain of pointwise operations becomes one kernel; reshapes are free, and so is a concatenation, whose
inputs are written where it wants them. What is not in that guide (other activations after a convolution,
splits) is counted as a kernel of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import onnx

from edgedistill.errors import PreflightError
from edgedistill.onnx_model import functions, sort
from edgedistill.onnx_model.findings import (
    Graph,
    attribute,
    is_standard,
    looking_into,
    node_name,
    reading,
)
from edgedistill.onnx_model.graph import macs_of

COMPUTING = ("dense3x3", "dense", "pointwise", "depthwise", "grouped", "gemm", "matmul")
# Quantization is part of the kernels around it: what it saves is in the precision.
_FREE = {
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Dropout",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
}
_FUSED_ACTIVATIONS = {"Relu", "Clip", "LeakyRelu"}
_POINTWISE = {
    "Relu",
    "Clip",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Softplus",
    "Softsign",
    "Erf",
    "Gelu",
    "Mish",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Sqrt",
    "Exp",
    "Log",
    "Abs",
    "Neg",
    "Min",
    "Max",
    "Reciprocal",
    "Floor",
    "Ceil",
    "Round",
    "Where",
    "BatchNormalization",
}
_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_SOFTMAX = {"Softmax", "LogSoftmax"}
_CONVOLUTIONS = {"Conv", "ConvTranspose"}
# They compute and are not counted: a network with one would be predicted far too fast.
_NOT_COUNTED = {
    "Attention",
    "ConvInteger",
    "DFT",
    "DeformConv",
    "Einsum",
    "GRU",
    "LSTM",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
    "STFT",
}
_REPEATED = "what it costs depends on how often its body runs, which is not counted; export the network without it"
_CONTROL_FLOW = {
    "If": "what it costs depends on the branch it takes, which is not counted; where its condition is constant, "
    "`edgedistill check MODEL.onnx --fix OUT.onnx` puts that branch in its place; else export the network without it",
    "Loop": _REPEATED,
    "Scan": _REPEATED,
}
_CHANNELS = {1, 3, 4}  # of an image
_WIDE_GROUP = 32  # channels, from which a group is computed as a convolution of its own
_NORMS = {"LayerNormalization", "InstanceNormalization", "GroupNormalization"}


@dataclass
class Kernel:
    """One launch.

    Attributes:
        kind: of COMPUTING, or elementwise, pool, reduce, softmax, copy.
        macs: multiply-accumulates.
        weights: elements of constants read.
        moved: elements of activations read and written.
    """

    kind: str
    macs: int = 0
    weights: int = 0
    output: str = ""
    inputs: set[str] = field(default_factory=set)
    activated: bool = False
    moved: int = 0


def kernels_from_file(path: Path) -> list[Kernel]:
    """
    Raises:
        PreflightError: not a readable ONNX file, shapes that are not static, an operator that computes and is not
            counted.
    """
    with reading(path):
        model = onnx.load(str(path), load_external_data=False)
    return kernels_from_model(model, path)


def kernels_from_model(model: onnx.ModelProto, path: Path) -> list[Kernel]:
    """
    Args:
        model: whose weights need not have data.
        path: for messages.

    Raises:
        PreflightError: as `kernels_from_file`.
    """
    with looking_into(model, path):
        plain = functions.inlined(model) if model.functions else model
        in_order = sort.sorted_model(plain)
        if in_order is None:
            raise PreflightError(f"{path}: its nodes form a cycle, so nothing can be computed first; export it again")
        graph = Graph(in_order, 0, path)
        _refuse_what_is_not_counted(graph, path)
        kernels = kernels_from_graph(graph)
    if not kernels:
        raise PreflightError(f"{path}: it has no operator that computes, so there is nothing to count")
    return kernels


def batch_of_file(path: Path) -> tuple[int, str]:
    """How many images an ONNX file takes at once, and a note where its inputs disagree, or "".

    The first input of 4 dimensions that has 1, 3 or 4 channels says it, NCHW before NHWC; without one the first of 4
    dimensions; 1 image where none has 4.

    Raises:
        PreflightError: not a readable ONNX file.
    """
    with reading(path):
        model = onnx.load(str(path), load_external_data=False)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in Graph(model, 0, path).inputs()
    }
    batches = {name: sizes[0] or 1 for name, sizes in shapes.items() if len(sizes) == 4}
    if not batches:
        return 1, ""
    nchw, nhwc = ([name for name in batches if shapes[name][axis] in _CHANNELS] for axis in (1, 3))
    image = [*nchw, *nhwc, *batches][0]
    others = [f"{name} has {count}" for name, count in batches.items() if count != batches[image]]
    note = (
        f"its inputs disagree on how many images it takes at once: {image} has {batches[image]}, which is counted, "
        f"{', '.join(others)}"
    )
    return batches[image], note if others else ""


def _refuse_what_is_not_counted(graph: Graph, path: Path) -> None:
    known = _known_names(graph)
    for node in graph.nodes:
        if node.op_type in _CONTROL_FLOW and not known.issuperset(node.output):
            raise PreflightError(f"{path}: {node_name(node)}: {_CONTROL_FLOW[node.op_type]}")
        if not is_standard(node.domain):
            kind = f"{node.op_type} of the domain {node.domain!r}"
        elif node.op_type in _NOT_COUNTED:
            kind = node.op_type
        else:
            continue
        raise PreflightError(
            f"{path}: {node_name(node)}: the cost of {kind} is not known; give the float network "
            "with standard convolutions, Gemm and MatMul"
        )


def _known_names(graph: Graph) -> set[str]:
    """Tensors that depend on constants and sizes alone, so that nothing is computed for them on the board.

    Args:
        graph: its nodes in order.
    """
    known = set(graph.constants)
    for node in graph.model.graph.node:
        if node.op_type in {"Constant", "Shape"} or sort.reads(node) <= known:
            known.update(node.output)
    return known


def kernels_from_graph(graph: Graph) -> list[Kernel]:
    """
    Raises:
        PreflightError: a shape that is not static, because then nothing can be counted.
    """
    return _Fusion(graph).kernels()


class _Fusion:
    """One pass over the nodes in their order, each joined to the kernel before it or opening one."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._nodes = list(graph.model.graph.node)  # bodies belong to control flow, which has a constant result here
        self._alias: dict[str, str] = {}  # a reshaped tensor -> the tensor whose memory it is
        self._maker: dict[str, Kernel] = {}
        self._made: list[Kernel] = []
        self._readers = Counter(name for node in self._nodes for name in node.input if node.op_type not in _FREE)
        self._readers.update(value.name for value in graph.model.graph.output)
        # TensorRT, as the exporter's clean-up, gives padding to the convolution that alone reads it.
        convolved = Counter(node.input[0] for node in self._nodes if node.op_type in _CONVOLUTIONS)
        self._padded = {
            node.output[0]
            for node in self._nodes
            if node.op_type == "Pad" and self._readers[node.output[0]] == convolved[node.output[0]]
        }
        for node in reversed(self._nodes):  # who reads a reshape reads what was reshaped
            if node.op_type in _FREE and node.input:
                self._readers[node.input[0]] += self._readers[node.output[0]]

    def kernels(self) -> list[Kernel]:
        constants = _known_names(self._graph)
        for node in self._nodes:
            if constants.issuperset(node.output):
                continue
            self._add(
                node,
                [name for name in node.input if name and name not in constants],
                [name for name in node.input if name and name in constants],
            )
        for kernel in self._made:
            kernel.moved += sum(map(self._size, {*kernel.inputs, kernel.output}))
        return self._made

    def _add(self, node: onnx.NodeProto, inputs: list[str], constants: list[str]) -> None:
        kind, out = node.op_type, node.output[0]
        sources = [self._alias.get(name, name) for name in inputs]
        takes_all = kind == "Slice" and self._size(out) == self._size(inputs[0])
        if kind in _FREE or takes_all or out in self._padded:
            self._alias[out] = sources[0]
        elif kind in _POINTWISE:
            self._pointwise(node, sources, constants)
        elif kind == "Concat":
            self._maker.pop(out, None)  # its inputs were written there
        elif kind in {"Split", "Slice"}:
            for part in node.output:
                self._open(Kernel("copy"), part, sources=[], moved=2 * self._size(part))
        else:
            weights = sum(prod(self._graph.shapes.get(name, ())) for name in constants)
            kernel = Kernel(self._kind(node, constants), macs_of(node, self._shape), weights)
            self._open(kernel, out, sources)

    def _open(self, kernel: Kernel, out: str, sources: list[str], moved: int = 0) -> Kernel:
        kernel.inputs, kernel.output = set(sources), out
        if moved:
            kernel.output, kernel.moved = "", moved
        self._made.append(kernel)
        self._maker[out] = kernel
        return kernel

    def _pointwise(self, node: onnx.NodeProto, sources: list[str], constants: list[str]) -> None:
        out = node.output[0]
        # Only a kernel whose result nobody else reads can take in the operation on it.
        before = [
            self._maker[name]
            for name in dict.fromkeys(sources)
            if name in self._maker and self._maker[name].output == name and self._readers[name] == sources.count(name)
        ]
        computing = [kernel for kernel in before if kernel.kind in COMPUTING and not kernel.activated]
        if computing and self._taken_in(node, computing[0], sources, constants):
            return
        chain = [kernel for kernel in before if kernel.kind == "elementwise"]
        weights = sum(prod(self._graph.shapes.get(name, ())) for name in constants)
        joined = Kernel("elementwise", weights=weights + sum(kernel.weights for kernel in chain))
        for kernel in chain:
            self._made = [other for other in self._made if other is not kernel]
        inner = {kernel.output for kernel in chain}
        outer = {name for kernel in chain for name in kernel.inputs} | (set(sources) - inner)
        self._open(joined, out, sorted(outer))

    def _taken_in(self, node: onnx.NodeProto, kernel: Kernel, sources: list[str], constants: list[str]) -> bool:
        """Whether a computing kernel absorbs this operation on its result."""
        activation = node.op_type in _FUSED_ACTIVATIONS
        residual = node.op_type == "Add" and len(set(sources)) == 2
        per_channel = node.op_type == "BatchNormalization" or (
            node.op_type in {"Add", "Mul"}
            and len(sources) == 1
            and all(self._size(name) < self._size(kernel.output) for name in constants)
        )
        if residual and self._size(node.output[0]) != self._size(kernel.output):
            return False
        if not (activation or residual or per_channel):
            return False
        if node.op_type == "BatchNormalization":
            kernel.weights += self._size(constants[0])  # it becomes the bias
        kernel.activated = activation or kernel.activated
        kernel.inputs |= {name for name in sources if name != kernel.output}
        kernel.output = node.output[0]
        self._maker[kernel.output] = kernel
        return True

    def _kind(self, node: onnx.NodeProto, constants: list[str]) -> str:
        if node.op_type in _CONVOLUTIONS:
            return self._convolution(node)
        if node.op_type == "Gemm" or (node.op_type == "MatMul" and constants):
            return "gemm"
        if node.op_type in {"MatMul", "Einsum"}:
            return "matmul"
        if node.op_type in _POOLS:
            return "pool"
        if node.op_type in _SOFTMAX:
            return "softmax"
        if node.op_type in _NORMS or node.op_type.startswith(("Reduce", "Global", "Arg")):
            return "reduce"
        return "copy"

    def _convolution(self, node: onnx.NodeProto) -> str:
        groups = attribute(node, "group", 1)
        kernel = self._shape(node.input[1])[2:]
        if groups == 1 or self._shape(node.input[0])[1] >= _WIDE_GROUP * groups:
            strided = prod(attribute(node, "strides", [1])) > 1 or node.op_type != "Conv"
            if tuple(kernel) == (3, 3) and not strided:
                return "dense3x3"  # the one shape that Winograd's algorithm is for
            return "pointwise" if prod(kernel) == 1 else "dense"
        return "depthwise" if groups == self._shape(node.input[0])[1] else "grouped"

    def _size(self, name: str) -> int:
        return prod(self._shape(name)) if name else 0

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self._graph.shapes.get(name)
        if shape is None or 0 in shape:
            raise PreflightError(
                f"tensor {name!r} has no static shape, so its cost cannot be counted; "
                "`edgedistill check MODEL.onnx --fix OUT.onnx` folds shapes where it can"
            )
        return shape
