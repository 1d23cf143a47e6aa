"""FP16 files of a network, and what they compute: every value between two layers rounded to FP16.

ONNX Runtime's CPU kernels compute FP16 in float32 and drop the Casts between two of them, so a value that overflows on
the board is finite there (1.32.0: two Convs, 1.2e5 between them). `logits_in_fp16` therefore runs the same file with
its roundings written out as Casts that stay. Sums within a kernel are float32 all the same, as in most of TensorRT's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgedistill.core.files import write_bytes
from edgedistill.errors import QuantizeError
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.half import half_model, types_of

_QDQ_OPSET, _QDQ_IR = 19, 9  # from which QuantizeLinear and DequantizeLinear take FP16; IR of ONNX 1.14, which has it


def fp16_from_onnx(path: Path, out_path: Path, keep_float: Collection[str] = ()) -> None:
    """The file with weights and activations in FP16, inputs and outputs float32.

    Args:
        path: float ONNX, or one with Q/DQ nodes: what they do not quantize becomes FP16, and the opset 19.
        keep_float: layers (their first output) that stay float32.

    Raises:
        QuantizeError: see `half_model`.
    """
    model = onnx.load(str(path))
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        model = _at_qdq_opset(model)
    write_bytes(out_path, half_model(model, keep_float).SerializeToString(deterministic=True))


def _at_qdq_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        converted = version_converter.convert_version(model, _QDQ_OPSET)
    except (RuntimeError, ValueError) as error:  # an operator that its adapters do not know
        reason = str(error).strip().splitlines()[0]
        raise QuantizeError(f"onnx does not convert the model to opset {_QDQ_OPSET}: {reason}") from None
    converted.ir_version = _QDQ_IR
    del converted.metadata_props[:]
    converted.metadata_props.extend(model.metadata_props)
    return converted


def logits_in_fp16(path: Path, images: Iterable[np.ndarray]) -> np.ndarray:
    """(N, C) float32 logits of a file of `fp16_from_onnx`; images: (3, H, W) float32 each."""
    with tempfile.TemporaryDirectory() as folder:
        rounded = Path(folder) / path.name
        write_bytes(rounded, with_roundings(onnx.load(str(path))).SerializeToString())
        with OnnxSession(rounded) as session:
            return session.logits(images)


def with_roundings(model: onnx.ModelProto) -> onnx.ModelProto:
    """A typed model as float32 nodes, with a Cast to FP16 and back after each tensor that is FP16."""
    types, written = types_of(model), onnx.ModelProto()
    written.CopyFrom(model)
    graph = written.graph
    del graph.node[:], graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for source in model.graph.node:
        node = graph.node.add()
        node.CopyFrom(source)
        for at, name in enumerate(source.output):
            if types.get(name) == TensorProto.FLOAT16:
                node.output[at] = f"{name}/wide"
                narrow = helper.make_node("Cast", [f"{name}/wide"], [f"{name}/narrow"], to=TensorProto.FLOAT16)
                graph.node.extend([narrow, helper.make_node("Cast", [f"{name}/narrow"], [name], to=TensorProto.FLOAT)])
    return written
