"""The smallest ONNX files by hand, so that what is wrong with them is in sight."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def array(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


def typed(name, kind, dims, values):
    """An initializer of a type that numpy does not have."""
    return helper.make_tensor(name, kind, dims, values)


def node(kind, inputs, outputs=("y",), **attributes):
    name = f"n_{kind}" if outputs[0] == "y" else f"n_{kind}_{outputs[0]}"
    return helper.make_node(kind, list(inputs), list(outputs), name=name, **attributes)


def model(
    nodes,
    initializers=(),
    *,
    opset=13,
    ir=7,
    shape=(1, 3, 8, 8),
    kind=TensorProto.FLOAT,
    domain=None,
    inputs=("x",),
    functions=(),
    output=TensorProto.FLOAT,
):
    """One or more inputs `x`, output `y`."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("y", output, ("a", "b", "c", "d"))],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=ir, functions=list(functions), producer_name="hand"
    )


def save(path, *args, **more):
    onnx.save(model(*args, **more), str(path))
    return path
