"""Graphs of one or two nodes, whole or broken in one place, for the rules of the pre-flight check."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from hand_made import array, model, node

WEIGHT = array("w", np.ones((2, 3, 1, 1)))
SCALE, ZERO = array("s", 0.1), array("z", 0, np.int8)
Q, DQ = node("QuantizeLinear", "xsz", ["q"]), node("DequantizeLinear", "qsz")
AXES = array("a", [2, 3], np.int64)


def plain(**more):
    return model([node("Relu", "x")], **more)


def computed(kind, inputs, given, **more):
    """The named input comes out of a Mul of initializers: computed as the parser sees it."""
    source = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(given), "k0")
    made = node("Mul", ["k0", "k0"], [given.name])
    outputs = ("y", "i") if kind == "TopK" else ("y",)
    return model(
        [made, node(kind, inputs, outputs, **more.pop("attributes", {}))],
        [source, *more.pop("initializers", ())],
        **more,
    )


def resize(scales, mode, kind=np.float32, **more):
    return model([node("Resize", "xor", mode=mode)], [array("o", []), array("r", scales, kind)], **more)


def resize_to(sizes, **more):
    return model([node("Resize", "xoor", mode="linear")], [array("o", []), array("r", sizes, np.int64)], **more)


def weights(axis_of_scale, stored=np.float32, **attributes):
    """Per-channel Q and DQ on a kernel, then Conv."""
    many = [array("s", np.full(axis_of_scale, 0.1)), array("z", np.zeros(axis_of_scale), np.int8)]
    kernel = array("w", np.ones((2, 3, 1, 1)), stored)
    chain = [
        node("QuantizeLinear", "wsz", ["q"], **attributes),
        node("DequantizeLinear", "qsz", ["d"], **attributes),
        node("Conv", "xd"),
    ]
    return model(
        chain if stored == np.float32 else [node("DequantizeLinear", "wsz", ["d"], **attributes), chain[2]],
        [kernel, *many],
    )


def pair(scale=SCALE, zero=ZERO, **more):
    return model([Q, DQ], [scale, zero], **more)


def bias(stored):
    chain = [node("DequantizeLinear", "bsz", ["f"]), node("Conv", "xwf")]
    return model(chain, [WEIGHT, SCALE, array("z", 0, stored), array("b", [1, 2], stored)])


def external():
    made = model([node("Conv", "xw")], [WEIGHT])
    tensor = made.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "w.bin")
    tensor.ClearField("raw_data")
    return made


def in_branch(*inner):
    """The nodes inside both branches of an If."""
    branches = [
        helper.make_graph(
            [*inner[:-1], helper.make_node(inner[-1].op_type, list(inner[-1].input), [out])],
            out,
            [],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        )
        for out in ("i", "j")
    ]
    chosen = node("If", ["c"], then_branch=branches[0], else_branch=branches[1])
    return model([chosen], [array("c", True, bool)])


def own_function():
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 13)]
    )
    return model([node("Twice", "x", domain="own")], domain="own", functions=[body])


def relabelled():
    made = model([node("ReduceMean", "xa")], [AXES], opset=18)
    made.opset_import[0].version = 13
    return made


def two_outputs(names):
    return model([node("MaxPool", "x", list(names), kernel_shape=[2, 2]), node("Relu", "m")])


def of_int32(kind):
    return model(
        [
            node("Cast", "x", ["i"], to=TensorProto.INT32),
            node(kind, "ii", ["r"]),
            node("Cast", "r", to=TensorProto.FLOAT),
        ]
    )


def top_k(**attributes):
    return model([node("TopK", "xk", ["y", "i"], **attributes)], [array("k", [2], np.int64)])


def dilated(step):
    return model([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[step, step])])


def float_range(first):
    """0 to 7 from `first`: `b` is stored, `k` computed."""
    made = node("Mul", "bb", ["k"])
    chain = [node("Range", [first, "e", "d"], ["r"]), node("Add", "xr")]
    return model([made, *chain] if first == "k" else chain, [array("b", 0.0), array("e", 8.0), array("d", 1.0)])


def dropout(training):
    return model([node("Dropout", ["x", "r", "t"])], [array("r", 0.5), array("t", training, bool)])


def constant(**value):
    return model([node("Constant", (), ["k"], **value), node("Add", "xk")])


def norm(statistics):
    """BatchNormalization with its mean as an initializer, or computed."""
    rest = [array(name, [1, 1, 1]) for name in "sbv"]
    if statistics == "stored":
        return model([node("BatchNormalization", "xsbmv")], [*rest, array("m", [0, 0, 0])])
    return computed("BatchNormalization", "xsbmv", array("m", [0, 0, 0]), initializers=rest)


def sparse():
    made = model([node("Add", "xk")])
    values, places = array("k", [2.0]), array("", [0], np.int64)
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [8]))
    return made


def input_of(kind):
    return model([node("Cast", "x", to=TensorProto.FLOAT)], kind=kind)


def cast(to, opset=13):
    back = node("Cast", ["c"], to=TensorProto.FLOAT)
    return model([node("Cast", "x", ["c"], to=to), back], opset=opset)


def table(values, kind=np.int64):
    return model([node("Gather", ["x", "i"], axis=0)], [array("i", values, kind)])


def added(tensor):
    return model([node("Cast", ["k"], ["c"], to=TensorProto.FLOAT), node("Add", "xc")], [tensor])
