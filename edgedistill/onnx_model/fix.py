"""Mends that do not change what a network computes, one a step, each said in a line.

A step that cannot do its part leaves the model as it is; the pre-flight of the result says what is
left. Whether the result is the same network is `equal.prove_equal`'s to say, not ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxslim
from onnx import TensorProto, helper, numpy_helper

from edgedistill.config.target import Target
from edgedistill.errors import PreflightError
from edgedistill.onnx_model import fix_inputs, functions, sort
from edgedistill.onnx_model.downgrade_opset import lower, with_plain_shapes, without_importer
from edgedistill.onnx_model.findings import Graph, attribute, given, is_standard, node_name
from edgedistill.onnx_model.resize_as_matmul import as_matmul
from edgedistill.onnx_model.rewrite import copy_of, rewritten
from edgedistill.onnx_model.rules import attributes, operators
from edgedistill.onnx_model.rules.tables import importers

_INT32 = np.iinfo(np.int32)
_REFUSED_FORMS = {"resize", "unread-attribute", "attribute-value"}  # rules about the form of a Resize


class _Partly(Exception):
    """A step that did a part: the model so far, what was done, and a line for each thing that was not."""

    def __init__(self, model: onnx.ModelProto, what: str, left: list[str]):
        super().__init__(what)
        self.model, self.what, self.left = model, what, left


# A step: (model, target) -> the mended model and what was done, or the same model and "".
Step = Callable[[onnx.ModelProto, Target], tuple[onnx.ModelProto, str]]


def mended(
    path: Path, target: Target, shapes: dict[str, tuple[int, ...]] | None = None
) -> tuple[onnx.ModelProto, list[str], list[str]]:
    """
    Args:
        shapes: of inputs whose dimensions are open.

    Returns:
        The model, what was mended, and why something could not be.

    Raises:
        PreflightError: its external data cannot be read.
    """
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf, OSError, onnx's own for paths that leave the folder
        reason = " ".join(str(error).split())[:160]
        raise PreflightError(f"{path}: cannot be read with its weights: {reason}") from None
    done, failed = [], []
    if Graph(onnx.load(str(path), load_external_data=False), 0).external:
        done.append("weights of other files taken in")
    in_order = sort.sorted_model(model)
    if in_order is not None and in_order is not model:
        model = in_order
        done.append("nodes put in the order in which they are computed")
    if shapes:
        model = fix_inputs.with_shapes(model, shapes)
        fixed = [f"{name} fixed to {list(shape)}" for name, shape in shapes.items()]
        done.append(f"shape of {', '.join(fixed)}")
    model = fix_inputs.with_output_shapes(model)
    for step in STEPS:
        try:
            model, what = step(model, target)
        except _Partly as part:
            model = part.model
            done += [part.what] if part.what else []
            failed += [f"{_title(step)}: {line}" for line in part.left]
        except Exception as error:  # onnxslim and onnx raise many types; the model stays as it was
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            failed.append(f"{_title(step)}: {reason}")
        else:
            done += [what] if what else []
    return model, done, failed


def _title(step: Step) -> str:
    return step.__name__.strip("_").replace("_", " ")


def _functions(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    if not model.functions:
        return model, ""
    return functions.inlined(model), f"{len(model.functions)} functions inlined"


def _fold(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    try:
        slim = onnxslim.slim(with_plain_shapes(model))
    except Exception as error:  # of its many passes, on files that it did not foresee
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise PreflightError(f"onnxslim cannot fold the constants of this file ({reason})") from None
    if slim is None:
        raise PreflightError("onnxslim cannot fold the constants of this file")
    slim.graph.ClearField("value_info")  # onnxslim's own inference does not know the newest forms
    for field in ("input", "output"):  # nor keeps it what it has found to be constant
        slim.graph.ClearField(field)
        getattr(slim.graph, field).extend(getattr(model.graph, field))
    onnx.checker.check_model(slim)
    if not slim.metadata_props:
        slim.metadata_props.extend(model.metadata_props)
    before, after = len(model.graph.node), len(slim.graph.node)
    return slim, f"constants folded (onnxslim): {before} nodes -> {after}" if after < before else ""


def _fold_again(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """What the bodies of operators brought with them."""
    return _fold(model, target)


def _opset(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    before, limit = Graph(model, 0).opset, target.needed_release.opset_max
    if before <= limit:
        return model, ""
    made, stuck = lower(model, limit)
    after = Graph(made, 0).opset
    made = _without_unused(made) if after < before else made
    if stuck:
        raise _Partly(made, f"opset {before} -> {after}" if after < before else "", stuck)
    return made, f"opset {before} -> {after}"


def _resizes(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """Linear and cubic Resize in a form that the release does not take: matrices instead."""
    graph = Graph(model, 0)
    refused = {
        finding.node
        for rule in (*operators.RULES, *attributes.RULES)
        for finding in rule(graph, target)
        if finding.rule in _REFUSED_FORMS
    }

    def parts_of(node: onnx.NodeProto, graph: Graph) -> list[onnx.NodeProto] | None:
        wanted = node.op_type == "Resize" and is_standard(node.domain) and node_name(node) in refused
        return as_matmul(node, graph) if wanted else None

    made, count = rewritten(model, parts_of)
    return (_without_unused(made), f"{count} Resize as two MatMul each") if count else (model, "")


def _operators(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    made, count = without_importer(model, importers(target.needed_release.operators))
    return made, f"{count} operators without an importer written with others" if count else ""


def _int8_constants(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """DequantizeLinear on stored integers: biases become float, kernels float + Q + DQ, exactly."""
    made = copy_of(model)
    graph = Graph(made, 0)
    readers = {name: node.op_type for node in graph.nodes for name in node.input[2:3]}
    biases = kernels = 0
    nodes = []
    for node in made.graph.node:
        stored = graph.array(given(node, 0)) if node.op_type == "DequantizeLinear" else None
        kinds = (np.dtype(np.int8), np.dtype(np.int32))
        if stored is None or stored.dtype not in kinds:
            nodes.append(node)
        elif readers.get(node.output[0]) in ("Conv", "ConvTranspose", "Gemm"):
            _store(made, node.output[0], _dequantized(node, stored, graph))
            biases += 1
        elif stored.dtype == np.int8 and target.needed_release.number < (10,):
            float_name, quantized = f"{node.output[0]}/float", f"{node.output[0]}/quantized"
            _store(made, float_name, _dequantized(node, stored, graph))
            pair = [float_name, *node.input[1:]]
            nodes.append(helper.make_node("QuantizeLinear", pair, [quantized], name=quantized))
            nodes[-1].attribute.extend(node.attribute)
            node.input[0] = quantized
            nodes.append(node)
            kernels += 1
        else:
            nodes.append(node)
    if not biases + kernels:
        return model, ""
    made.graph.ClearField("node")
    made.graph.node.extend(nodes)
    changes = [f"{kernels} INT8 kernels stored as float + Q"] if kernels else []
    changes += [f"{biases} quantized biases stored as float"] if biases else []
    return _without_unused(made), " and ".join(changes)


def _dequantized(node: onnx.NodeProto, stored: np.ndarray, graph: Graph) -> np.ndarray:
    scale = graph.array(node.input[1])
    zero = graph.array(given(node, 2)) if given(node, 2) else np.zeros_like(scale, np.int64)
    if scale is None or zero is None:
        raise PreflightError(f"{node_name(node)}: its scale or zero point is computed")
    if scale.size > 1:
        axis = attribute(node, "axis", 1)
        shape = [1] * stored.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return ((stored.astype(np.int64) - zero.astype(np.int64)) * scale).astype(np.float32)


def _slices(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """Exporters write "to the end" as the largest INT64; no dimension is beyond INT32."""
    made = copy_of(model)
    read: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for node in Graph(made, 0).nodes:
        for position, name in enumerate(node.input):
            read[name].add((node.op_type, position))
    clipped = 0
    for tensor in made.graph.initializer:
        readers = read[tensor.name]
        if tensor.data_type == TensorProto.INT64 and readers and readers <= {("Slice", 1), ("Slice", 2)}:
            values = numpy_helper.to_array(tensor)
            narrow = np.clip(values, _INT32.min, _INT32.max)
            if (values != narrow).any():
                tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
                clipped += 1
    return (made, f"{clipped} Slice bounds brought into INT32") if clipped else (model, "")


def _imports(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    used = {node.domain for node in Graph(model, 0).nodes}
    imports = [entry for entry in model.opset_import if is_standard(entry.domain) or entry.domain in used]
    dropped = len(model.opset_import) - len(imports)
    if not dropped:
        return model, ""
    made = copy_of(model)
    made.ClearField("opset_import")
    made.opset_import.extend(imports)
    return made, f"{dropped} unused operator domains removed"


def _ir(model: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, str]:
    """The IR is the container: what IR 8 to 10 added, the steps before have taken out."""
    before, limit = model.ir_version, target.needed_release.ir_max
    if before <= limit:
        return model, ""
    made = copy_of(model)
    made.ir_version = limit
    onnx.checker.check_model(made, full_check=True)
    return made, f"IR {before} -> {limit}"


STEPS: tuple[Step, ...] = (
    fix_inputs.first_ir,
    _functions,
    fix_inputs.unused_inputs,
    fix_inputs.batch,
    fix_inputs.float_inputs,
    _fold,
    _resizes,
    _opset,
    _operators,
    _fold_again,
    _int8_constants,
    _slices,
    _imports,
    _ir,
)


def _store(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(values, name))


def _without_unused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drops initializers that nothing reads, in place."""
    used = Graph(model, 0).used
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    return model
