"""Inputs that the importers want as constants, and axes that old ones read as attribute only."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.config.target import Target
from edgedistill.onnx_model.findings import Finding, Graph, attribute, given, node_name
from edgedistill.onnx_model.rules.operators import scales_position

# operator -> ((positions of inputs that the importer wants as constants, release that takes them computed), ...)
_NEVER = (99,)
# operator -> release from which the builder may compute them from constants (operators.md, ONNX-TensorRT changelog)
_AT_BUILD_TIME = {
    "CumSum": (10, 8),
    "OneHot": (10,),
    "Resize": (8, 5),
    "Squeeze": (10, 7),
    "Unsqueeze": (10, 7),
    "Upsample": (8, 5),
}  # of Resize and Upsample the scales
CONSTANT_INPUTS = {
    "Conv": (((2,), (8, 5)),),
    "ConvTranspose": (((2,), (8, 5)),),
    "TopK": (((1,), (8, 6)),),
    "Squeeze": (((1,), _NEVER),),
    "Unsqueeze": (((1,), _NEVER),),
    "CumSum": (((1,), _NEVER),),
    "Slice": (((3,), (10, 3)),),
    "InstanceNormalization": (((1, 2), (10,)),),
    "OneHot": (((1,), _NEVER),),
    "NonMaxSuppression": (((2, 3, 4), (8, 5)),),
    "ReduceSum": (((1,), _NEVER),),
    "Pad": (((3,), (10, 4)),),
    "STFT": (((1, 2, 3), _NEVER),),
}
_BATCH_NORM = (1, 2, 3, 4)


def _constant_inputs(graph: Graph, target: Target) -> Iterator[Finding]:
    release = target.needed_release.number
    wanted = [
        (node, position)
        for node in graph.of_type(*CONSTANT_INPUTS)
        for positions, computed_from in CONSTANT_INPUTS[node.op_type]
        if release < computed_from
        for position in positions
    ]
    wanted += [(n, scales_position(graph, n)) for n in graph.of_type("Resize", "Upsample")]
    for node, position in wanted:
        name = given(node, position)
        if not name or name in graph.constants:
            continue
        axes = node.op_type == "Resize" and attribute(node, "axes", None) is not None
        if axes or release < _AT_BUILD_TIME.get(node.op_type, _NEVER) or not _known_at_build_time(graph, name):
            yield Finding(
                "error",
                "constant-input",
                node_name(node),
                f"input {position} ({name}) is computed, the importer wants a constant",
                "fold constants (onnxslim)",
            )


def _known_at_build_time(graph: Graph, name: str) -> bool:
    """Whether it depends on constants and on sizes only, which are fixed (see `dynamic-shape`)."""
    seen, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if not name or name in seen or name in graph.constants:
            continue
        seen.add(name)
        maker = graph.producers.get(name)
        if maker is None:
            return False  # an input of the network
        if maker.op_type not in ("Shape", "Size"):
            waiting += maker.input
    return True


def _batch_norm(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.of_type("BatchNormalization"):
        computed = [name for p in _BATCH_NORM if (name := given(node, p)) not in graph.constants]
        if computed:
            yield Finding(
                "warning",
                "batch-norm",
                node_name(node),
                f"{computed[0]} is computed, so it becomes several layers instead of one scale",
                "fold constants (onnxslim)",
            )


def _conv_weights(graph: Graph, target: Target) -> Iterator[Finding]:
    """From 10 a computed kernel is a matter of the builder; before, only Q/DQ may stand there."""
    if target.needed_release.number >= (10,):
        return
    for node in graph.of_type("Conv", "ConvTranspose"):
        name = given(node, 1)
        maker = graph.producers.get(name)
        if name not in graph.constants and (maker is None or maker.op_type != "DequantizeLinear"):
            yield Finding(
                "error",
                "constant-input",
                node_name(node),
                f"its kernel ({name}) is neither a constant nor out of a DequantizeLinear",
                "fold constants (onnxslim)",
            )


def _reduce_axes(graph: Graph, target: Target) -> Iterator[Finding]:
    for node in graph.nodes:
        name = given(node, 1)
        if not node.op_type.startswith("Reduce") or node.op_type == "ReduceSum" or not name:
            continue
        if target.needed_release.number < (10,):
            yield Finding(
                "error",
                "reduce-axes",
                node_name(node),
                "`axes` is an input; TensorRT 8.2 to "
                "8.6 read only the attribute and would reduce over everything, silently",
                "export at opset 13, where `axes` is an attribute",
            )
        elif name not in graph.constants:
            yield Finding(
                "error",
                "constant-input",
                node_name(node),
                f"input 1 ({name}) is computed, the importer wants a constant",
                "fold constants (onnxslim)",
            )


def _identity_on_initializer(graph: Graph, target: Target) -> Iterator[Finding]:
    """From 10 Conv takes a computed bias and Q/DQ look through an Identity at their zero point."""
    level = "error" if target.needed_release.number < (10,) else "warning"
    for node in graph.of_type("Identity"):
        if given(node, 0) in graph.initializers:
            yield Finding(
                level,
                "identity-on-initializer",
                node_name(node),
                f"{node.input[0]} is an initializer hidden behind an Identity, which makes a computed tensor of it",
                "fold constants (onnxslim)",
            )


RULES = (_constant_inputs, _batch_norm, _conv_weights, _reduce_axes, _identity_on_initializer)
