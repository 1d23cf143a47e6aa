"""What a file in FP16 computes, node by node: ONNX Runtime runs each alone in float32, numpy rounds what it gives."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def logits_of(path, inputs):
    """(N, C) float32 of a typed ONNX file for (N, 3, H, W) float32, one image at a time."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    halves = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    constants = {tensor.name: _wide(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    alone = {}
    rows = []
    for image in inputs:
        values = {"": None, **constants, graph.input[0].name: image[None]}
        for place, node in enumerate(graph.node):
            if node.op_type == "Cast":
                outputs = [values[node.input[0]].astype(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))]
            else:
                given = {name: values[name] for name in node.input if name}
                if place not in alone:
                    alone[place] = _session(node, given, model)
                outputs = alone[place].run(None, given)
            for name, output in zip(node.output, outputs, strict=True):
                values[name] = _wide(output.astype(np.float16) if name in halves else output)
        rows.append(values[graph.output[0].name])
    return np.concatenate(rows)


def _wide(array):
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _session(node, given, model):
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    alone = helper.make_model(helper.make_graph([node], "one", inputs, outputs), opset_imports=model.opset_import)
    alone.ir_version = model.ir_version
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(alone.SerializeToString(), options, providers=["CPUExecutionProvider"])
