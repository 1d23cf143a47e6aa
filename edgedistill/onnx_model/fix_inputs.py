"""Mends of a network's inputs: what the board's runner gives is one float32 tensor of a fixed shape."""

from __future__ import annotations

import re

import onnx
from onnx import TensorProto, helper

from edgedistill.config.target import Target
from edgedistill.errors import PreflightError
from edgedistill.onnx_model.findings import Graph
from edgedistill.onnx_model.rewrite import copy_of

_WEIGHTS_ARE_NO_INPUTS = 4  # IR version


def with_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Outputs without a shape get the one that shape inference finds: the checker asks for it."""
    if all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
        return model
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # a faulty model; what is wrong with it, the pre-flight says
        return model
    inferred.graph.ClearField("value_info")
    return inferred


def unused_inputs(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """The board gives one input; what nothing reads need not be given."""
    graph = Graph(model, 0)
    unused = [value.name for value in graph.inputs() if value.name not in graph.used]
    if not unused or len(unused) == len(graph.inputs()):
        return model, ""
    made = copy_of(model)
    for value in [value for value in made.graph.input if value.name in unused]:
        made.graph.input.remove(value)
    return made, f"inputs that nothing reads removed: {', '.join(unused)}"


def float_inputs(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """The board gives float32; a Cast takes it to the half or double precision that follows."""
    made, changed = copy_of(model), []
    for value in Graph(made, 0).inputs():
        kind = value.type.tensor_type
        if kind.elem_type not in (TensorProto.FLOAT16, TensorProto.DOUBLE):
            continue
        inside = f"{value.name}/cast"
        for node in Graph(made, 0).nodes:
            for position, name in enumerate(node.input):
                node.input[position] = inside if name == value.name else name
        cast = helper.make_node("Cast", [value.name], [inside], name=inside, to=kind.elem_type)
        kind.elem_type = TensorProto.FLOAT
        made.graph.node.insert(0, cast)
        changed.append(value.name)
    return (made, f"float32 input with a Cast: {', '.join(changed)}") if changed else (model, "")


def batch(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """An open batch becomes 1, in inputs and wherever its name stands. Of images it is the first dimension;
    elsewhere the first may be a length, which is fixed only when its name says that it is a batch."""
    made = copy_of(model)
    named, fixed = set(), []
    for value in Graph(made, 0).inputs():
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value <= 0 and (len(dims) >= 4 or _is_batch(dims[0].dim_param)):
            named |= {dims[0].dim_param} - {""}
            dims[0].dim_value = 1
            fixed.append(value.name)
    if not fixed:
        return model, ""
    return _reshaped(made, dict.fromkeys(named, 1)), f"batch of {', '.join(fixed)} fixed to 1"


def _is_batch(name: str) -> bool:
    words = re.split(r"[^a-z]+", name.lower())
    return name == "N" or bool({"batch", "bs", "batchsize", "unk"} & set(words))


def with_shapes(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The same model with inputs of these shapes.

    Raises:
        PreflightError: no such input, another rank, or another size than the file fixes.
    """
    made = copy_of(model)
    inputs = {value.name: value for value in Graph(made, 0).inputs()}
    named: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise PreflightError(f"--shape {name}: no such input; the file has {', '.join(inputs)}")
        dims = inputs[name].type.tensor_type.shape.dim
        kind = inputs[name].type.tensor_type
        if kind.HasField("shape") and len(dims) != len(shape):
            raise PreflightError(f"--shape {name}: expected {len(dims)} sizes, got {len(shape)}")
        if not kind.HasField("shape"):
            dims.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
        for dim, size in zip(dims, shape, strict=True):
            if dim.dim_value not in (0, size):
                raise PreflightError(f"--shape {name}: the file fixes {dim.dim_value} where {size} was given")
            if dim.dim_param:
                named[dim.dim_param] = size
            dim.dim_value = size
    return _reshaped(made, named)


def _reshaped(model: onnx.ModelProto, named: dict[str, int]) -> onnx.ModelProto:
    """Dimensions of these names fixed, and all shapes in between inferred again."""
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in named:
                dim.dim_value = named[dim.dim_param]
    model.graph.ClearField("value_info")
    return onnx.shape_inference.infer_shapes(model)


def first_ir(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """Up to IR 3 weights are inputs too, which no folding touches."""
    if model.ir_version >= _WEIGHTS_ARE_NO_INPUTS:
        return model, ""
    before, made = model.ir_version, copy_of(model)
    weights = {tensor.name for tensor in made.graph.initializer}
    for value in [value for value in made.graph.input if value.name in weights]:
        made.graph.input.remove(value)
    made.ir_version = target.needed_release.ir_max
    return made, f"IR {before} -> {made.ir_version}"
