"""What the rules of the pre-flight share: a finding, and a model with the look-ups they need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgedistill.core.text import printable
from edgedistill.errors import PreflightError

_MOST_SHOWN = 1000  # characters of a text; a name may be as long as the file


@dataclass(frozen=True)
class Finding:
    """One fault: `error` stops the board's parser or gives a wrong net, `warning` may.

    Its texts repeat names of the file, which may be anybody's: they are made printable here.
    """

    level: str
    rule: str
    node: str
    why: str
    mend: str

    def __post_init__(self) -> None:
        for name in ("node", "why", "mend"):
            object.__setattr__(self, name, printable(getattr(self, name), most=_MOST_SHOWN))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A context around code that opens and parses a file.

    Raises:
        PreflightError: it is not there, or no ONNX file.
    """
    if path.is_dir() or (path.suffix == ".toml" and path.is_file()):
        raise PreflightError(
            f"{path}: {'a folder' if path.is_dir() else 'a recipe'}, not an ONNX model; a run's exported file is "
            f"RUN/export/student.onnx, as in runs/{path.stem}/export/student.onnx"
        )
    try:
        yield
    except FileNotFoundError:
        raise PreflightError(f"{path}: no such file") from None
    except Exception as error:  # protobuf and OSError: both mean a bad file
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise PreflightError(f"{path}: not a readable ONNX model: {reason}") from None


@contextmanager
def looking_into(model: onnx.ModelProto, path: Path) -> Iterator[None]:
    """A context around code that reads the nodes of a model.

    Raises:
        PreflightError: it has none, or they are malformed.
    """
    if not model.graph.node:  # protobuf reads many a foreign file, an empty one too, as nothing
        raise PreflightError(f"{path}: not a readable ONNX model: it has no nodes")
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]  # names that are no text, tensors without data
        raise PreflightError(f"{path}: a malformed ONNX model: {reason}") from error


class Graph:
    """An ONNX model with the look-ups that the rules need.

    Bodies of If, Loop and Scan are read along: names are unique across them by the standard.
    """

    def __init__(self, model: onnx.ModelProto, file_bytes: int, path: Path | None = None):
        self.model, self.file_bytes, self.path = model, file_bytes, path
        self.graphs = list(with_bodies(model.graph))
        self.nodes = [node for graph in self.graphs for node in graph.node]

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        return {tensor.name: tensor for graph in self.graphs for tensor in graph.initializer}

    @cached_property
    def external(self) -> list[tuple[str, onnx.TensorProto]]:
        """(name, tensor) of those whose data lie in another file; one of an attribute has the name of its node."""
        return [(name, tensor) for name, tensor in self._tensors() if is_external(tensor)]

    def _tensors(self) -> Iterator[tuple[str, onnx.TensorProto]]:
        """All that are stored: initializers, and those of attributes, as of Constant nodes."""
        yield from self.initializers.items()
        for node in self.nodes:
            for item in node.attribute:
                for tensor in (*([item.t] if item.HasField("t") else []), *item.tensors):
                    yield node_name(node), tensor

    @cached_property
    def constants(self) -> set[str]:
        """Names whose value the parser knows: initializers and Constant nodes."""
        made = {node.output[0] for node in self.of_type("Constant") if node.output}
        return made | set(self.initializers)

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def used(self) -> set[str]:
        """Names that a node or the caller reads."""
        read = {name for node in self.nodes for name in node.input}
        return read | {value.name for graph in self.graphs for value in graph.output}

    @cached_property
    def opset(self) -> int:
        return next((o.version for o in self.model.opset_import if is_standard(o.domain)), 1)

    @cached_property
    def _inferred(self) -> onnx.GraphProto:
        try:
            return onnx.shape_inference.infer_shapes(self.model).graph
        except Exception:  # a faulty model has no shapes; what is wrong with it, `schema` says
            return self.model.graph

    @cached_property
    def types(self) -> dict[str, int]:
        """Name -> element type of TensorProto; absent where nothing is known."""
        types: dict[str, int] = {}
        for graph in with_bodies(self._inferred):
            types |= {
                value.name: value.type.tensor_type.elem_type
                for value in (*graph.value_info, *graph.input, *graph.output)
            }
        return types | {name: tensor.data_type for name, tensor in self.initializers.items()}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape, 0 for a dimension that is not fixed; absent where nothing is known."""
        graph = self._inferred
        shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        return shapes | {name: tuple(tensor.dims) for name, tensor in self.initializers.items()}

    def of_type(self, *types: str) -> Iterator[onnx.NodeProto]:
        return (node for node in self.nodes if node.op_type in types and is_standard(node.domain))

    def store(self, name: str, values: np.ndarray) -> str:
        """Add an initializer to the model; its name."""
        tensor = numpy_helper.from_array(values, name)
        self.model.graph.initializer.append(tensor)
        self.initializers[name] = tensor
        return name

    def array(self, name: str) -> np.ndarray | None:
        """The value of an initializer or Constant node; None if computed or in another file."""
        tensor = self.initializers.get(name)
        if tensor is not None:
            return None if is_external(tensor) else numpy_helper.to_array(tensor)
        node = self.producers.get(name)
        return constant_value(node) if node is not None and node.op_type == "Constant" else None

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What the caller feeds: up to IR 3, initializers are listed among the inputs too."""
        return [v for v in self.model.graph.input if v.name not in self.initializers]


def standard_fault(model: onnx.ModelProto | str, full_check: bool = False) -> str | None:
    """Why onnx.checker refuses a model, in one line; None where it takes it.

    Args:
        model: or its path, where weights lie beside it.
        full_check: infer shapes too.
    """
    try:
        onnx.checker.check_model(model, full_check=full_check)
    except Exception as error:  # its C++ side raises several types
        return " ".join(str(error).split("\n==>")[0].split())[:200] or type(error).__name__
    return None


def is_standard(domain: str) -> bool:
    return domain in ("", "ai.onnx")


def node_name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} -> {node.output[0] if node.output else '?'}"


def given(node: onnx.NodeProto, position: int) -> str:
    """Name of an input, or "" when it is left out."""
    return node.input[position] if position < len(node.input) else ""


def attribute(node: onnx.NodeProto, name: str, default):
    matching = next((a for a in node.attribute if a.name == name), None)
    return default if matching is None else onnx.helper.get_attribute_value(matching)


def constant_value(node: onnx.NodeProto) -> np.ndarray | None:
    """The value of a Constant node; None where it is no dense tensor of numbers, or in another file."""
    for item in node.attribute:
        if item.name == "value":
            return None if is_external(item.t) else numpy_helper.to_array(item.t)
        if item.name in ("value_int", "value_ints"):
            return np.array(onnx.helper.get_attribute_value(item), np.int64)
        if item.name in ("value_float", "value_floats"):
            return np.array(onnx.helper.get_attribute_value(item), np.float32)
    return None


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether its data lie in another file."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """What its elements take, wherever they lie."""
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        return 0
    return math.prod(tensor.dims) * width


def type_name(kind: int) -> str:
    return onnx.TensorProto.DataType.Name(kind)


def with_bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies of its If, Loop and Scan, outer ones first."""
    yield graph
    for node in graph.node:
        for item in node.attribute:
            for body in bodies_of(item):
                yield from with_bodies(body)


def bodies_of(item: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([item.g] if item.HasField("g") else []), *item.graphs]
