"""Networks that nothing can compute: the file keeps to the schemas, its sizes and values do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.findings import Finding, Graph, attribute, given, is_standard, node_name
from edgedistill.onnx_model.older_form import refuse_unless_known

_MEND = "export it again; ONNX Runtime cannot run this either"
# attributes that count something, so that 0 and less means nothing
_COUNTS = {
    ("Conv", "group"),
    ("ConvTranspose", "group"),
    ("DeformConv", "group"),
    ("LRN", "size"),
    ("GroupNormalization", "num_groups"),
    ("DepthToSpace", "blocksize"),
    ("SpaceToDepth", "blocksize"),
}
_AUTO_PADS = (b"NOTSET", b"SAME_UPPER", b"SAME_LOWER", b"VALID")


def impossible(graph: Graph, in_order: onnx.ModelProto) -> Iterator[Finding]:
    """
    Args:
        graph: that onnx.checker took.
        in_order: its model with the nodes in an order in which they can be computed.
    """
    if not graph.model.graph.output:
        yield Finding("error", "impossible", "model", "it has no output", "export it again")
    if graph.opset <= onnx.defs.onnx_opset_version():
        yield from _inference(graph, in_order)
        yield from _attributes(graph)
        yield from _sizes(graph)
        yield from _slopes(graph)


def _inference(graph: Graph, in_order: onnx.ModelProto) -> Iterator[Finding]:
    """ONNX's own shape inference, strict; what the file says of its inner tensors and outputs is left out."""
    if graph.model.functions or not all(is_standard(node.domain) for node in graph.nodes):
        return
    plain = onnx.ModelProto()
    plain.CopyFrom(in_order)
    plain.graph.ClearField("value_info")
    for value in plain.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    try:
        onnx.shape_inference.infer_shapes(plain, check_type=True, strict_mode=True)
    except Exception as error:  # its C++ side raises several types
        reason = " ".join(str(error).replace("[ShapeInferenceError]", "").split()).removeprefix("Inference error(s): ")
        if "Inference error(s)" in reason:  # within a function body that ONNX publishes, not within the file
            return
        yield Finding("error", "impossible", "model", f"its sizes or types do not fit: {reason[:200]}", _MEND)


def _attributes(graph: Graph) -> Iterator[Finding]:
    """Values that no opset has, or not yet the file's."""
    for node in graph.nodes:
        if not is_standard(node.domain):
            continue
        fault = _counts(node)
        if fault is None:
            try:
                refuse_unless_known(node, graph.opset)
            except PreflightError as error:
                fault = f"at opset {graph.opset}, {error}"
        if fault:
            yield Finding("error", "impossible", node_name(node), fault, "export it again")


def _counts(node: onnx.NodeProto) -> str | None:
    for item in node.attribute:
        value = onnx.helper.get_attribute_value(item)
        if (node.op_type, item.name) in _COUNTS and value < 1:
            return f"{item.name} must be 1 or more, got {value}"
        if item.name == "auto_pad" and value not in _AUTO_PADS:
            return f"auto_pad must be one of {', '.join(p.decode() for p in _AUTO_PADS)}, got {value!r}"
    return None


def _sizes(graph: Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if not is_standard(node.domain) or _counts(node):
            continue
        fault = _convolution(graph, node) if node.op_type == "Conv" else None
        fault = _reshape(graph, node) if node.op_type == "Reshape" else fault
        fault = _transpose(graph, node) if node.op_type == "Transpose" else fault
        if fault := fault or _window(graph, node):
            yield Finding("error", "impossible", node_name(node), fault, _MEND)


def _convolution(graph: Graph, node: onnx.NodeProto) -> str | None:
    image, kernel = graph.shapes.get(given(node, 0), ()), graph.shapes.get(given(node, 1), ())
    groups = attribute(node, "group", 1)
    written = attribute(node, "kernel_shape", None)
    if len(image) < 3 or len(kernel) != len(image) or not image[1] or not all(kernel):
        return None
    if kernel[1] * groups != image[1]:
        return f"its kernel takes {kernel[1]} x {groups} groups of channels, the image has {image[1]}"
    if kernel[0] % groups:
        return f"{kernel[0]} output channels do not divide into {groups} groups"
    if written is not None and tuple(written) != kernel[2:]:
        return f"kernel_shape is {list(written)}, its kernel is {list(kernel[2:])}"
    return None


def _window(graph: Graph, node: onnx.NodeProto) -> str | None:
    """A kernel that is larger than its padded image gives an output without elements."""
    if node.op_type not in ("Conv", "MaxPool", "AveragePool", "LpPool"):
        return None
    image = graph.shapes.get(given(node, 0), ())[2:]
    kernel = attribute(node, "kernel_shape", None) or graph.shapes.get(given(node, 1), ())[2:]
    if not image or len(kernel) != len(image) or not all(image) or not all(kernel):
        return None
    if attribute(node, "auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return None
    count = len(kernel)
    pads, steps = attribute(node, "pads", [0] * 2 * count), attribute(node, "dilations", [1] * count)
    for axis, size in enumerate(image):
        padded = size + pads[axis] + pads[axis + count]
        reach = (kernel[axis] - 1) * steps[axis] + 1
        if reach > padded:
            return f"its kernel covers {reach} pixels, the padded image has {padded}"
    return None


def _reshape(graph: Graph, node: onnx.NodeProto) -> str | None:
    before, wanted = graph.shapes.get(given(node, 0), ()), graph.array(given(node, 1))
    if wanted is None or not before or not all(before) or attribute(node, "allowzero", 0):
        return None
    sizes = [before[n] if size == 0 and n < len(before) else int(size) for n, size in enumerate(wanted.ravel())]
    rest = prod(size for size in sizes if size > 0)
    fits = prod(before) % rest == 0 if -1 in sizes else prod(before) == rest
    return None if fits else f"{list(before)} cannot become {[int(size) for size in wanted.ravel()]}"


def _transpose(graph: Graph, node: onnx.NodeProto) -> str | None:
    order, rank = attribute(node, "perm", None), len(graph.shapes.get(given(node, 0), ()))
    fits = order is None or not rank or sorted(order) == list(range(rank))
    return None if fits else f"perm {list(order)} is no order of {rank} dimensions"


def _slopes(graph: Graph) -> Iterator[Finding]:
    """Before opset 7 a slope of PRelu was a list of channels."""
    for node in graph.of_type("PRelu") if graph.opset >= 7 else ():
        image, slope = (graph.shapes.get(given(node, position), ()) for position in (0, 1))
        if not image or not all((*image, *slope)):
            continue
        beyond = slope[: max(len(slope) - len(image), 0)]
        pairs = zip(reversed(image), reversed(slope), strict=False)
        if any(size != 1 for size in beyond) or any(size not in (1, wanted) for wanted, size in pairs):
            why = f"its slope {list(slope)} cannot be broadcast to its input {list(image)}"
            channels = [image[1], *[1] * (len(image) - 2)] if len(image) > 1 else [1]
            yield Finding("error", "impossible", node_name(node), why, f"reshape the slopes, of channels to {channels}")
