"""Each rule with the smallest graph that breaks it, and its neighbour that does not."""

import numpy as np
from onnx import TensorProto

from edgedistill.config.target import load_target
from edgedistill.onnx_model.preflight import check_onnx
from hand_made import array, model, node, typed
from small_graphs import (
    AXES,
    DQ,
    SCALE,
    WEIGHT,
    ZERO,
    Q,
    added,
    bias,
    cast,
    computed,
    constant,
    dilated,
    dropout,
    external,
    float_range,
    in_branch,
    input_of,
    norm,
    of_int32,
    own_function,
    pair,
    plain,
    relabelled,
    resize,
    resize_to,
    sparse,
    table,
    top_k,
    two_outputs,
    weights,
)

BIG = np.iinfo(np.int64).max
CLEAN = model([node("Conv", "xw")], [WEIGHT])

# name -> (rule, level, TensorRT, what breaks it, its neighbour)
CASES = {
    "opset": ("opset", "error", "8.2", plain(opset=14), plain(opset=13)),
    "opset of 8.6": ("opset", "error", "8.6", plain(opset=18), plain(opset=17)),
    "opset of 10": ("opset", "error", "10.3", plain(opset=21), plain(opset=20)),
    "old opset": ("opset", "warning", "8.2", plain(opset=6), plain(opset=7)),
    "ir": ("ir", "warning", "8.2", plain(ir=8), plain(ir=7)),
    "relabelled": ("schema", "error", "8.2", relabelled(), CLEAN),
    "domain": ("domain", "error", "8.2", model([node("Odd", "x", domain="own")], domain="own"), CLEAN),
    "unused domain": ("domain", "warning", "8.2", plain(domain="com.microsoft"), CLEAN),
    "functions": ("functions", "error", "8.2", own_function(), model([node("Add", "xx")])),
    "operator": ("operator", "error", "8.2", model([node("Mod", ["x", "k"], fmod=1)], [array("k", 2.0)]), CLEAN),
    "operator in a body": (
        "operator",
        "error",
        "8.2",
        in_branch(node("Mod", ["x", "x"], ["r"], fmod=1), node("Relu", ["r"], ["i"])),
        CLEAN,
    ),
    "control flow": ("control-flow", "warning", "8.2", in_branch(node("Relu", ["x"], ["i"])), CLEAN),
    "cubic": ("resize", "error", "8.2", resize([1, 1, 2, 2], "cubic"), resize([1, 1, 2, 2], "linear")),
    "cubic from 8.5": ("resize", "error", "8.5", resize([1, 2, 2, 2], "cubic"), resize([1, 1, 2, 2], "cubic")),
    "linear outside": ("resize", "error", "8.2", resize([2, 1, 2, 2], "linear"), resize([1, 2, 2, 2], "linear")),
    "linear by sizes": ("resize", "error", "8.2", resize_to([2, 3, 8, 8]), resize_to([1, 3, 9, 9])),
    "nearest outside": ("resize", "error", "8.2", resize([2, 1, 2, 2], "linear"), resize([2, 1, 2, 2], "nearest")),
    "resize scales": (
        "resize-scales",
        "error",
        "8.2",
        resize([1, 1, 2, 2], "linear", np.float64),
        resize([1, 1, 2, 2], "linear"),
    ),
    "resize scales count": (
        "resize-scales",
        "error",
        "8.2",
        resize([2, 2], "nearest"),
        resize([1, 1, 2, 2], "nearest"),
    ),
    "resize scales computed": (
        "constant-input",
        "error",
        "8.2",
        computed("Resize", ["x", "", "r"], array("r", [1, 1, 2, 2])),
        resize([1, 1, 2, 2], "nearest"),
    ),
    "indices": ("outputs", "error", "8.2", two_outputs("mi"), two_outputs("m")),
    "dilated pool": ("attribute-value", "error", "10.3", dilated(2), dilated(1)),
    "attribute that is not read": ("unread-attribute", "error", "8.2", top_k(largest=0), top_k(largest=1)),
    "scratch memory": ("scratch-memory", "warning", "8.2", top_k(), CLEAN),
    "type": ("operator-type", "error", "8.2", of_int32("Pow"), model([node("Pow", "xx")])),
    "range of computed floats": ("operator-type", "error", "8.2", float_range("k"), float_range("b")),
    "dropout": ("dropout", "error", "8.2", dropout(True), dropout(False)),
    "constant form": ("constant-form", "error", "8.2", constant(value_string=b"a"), constant(value_float=1.0)),
    "sparse": ("constant-form", "error", "8.2", sparse(), CLEAN),
    "conv bias": (
        "constant-input",
        "error",
        "8.2",
        computed("Conv", "xwb", array("b", [1, 2]), initializers=[WEIGHT]),
        model([node("Conv", "xwb")], [WEIGHT, array("b", [1, 2])]),
    ),
    "conv kernel": ("constant-input", "error", "8.6", computed("Conv", "xw", WEIGHT), CLEAN),
    "top k": (
        "constant-input",
        "error",
        "8.2",
        computed("TopK", "xk", array("k", [2], np.int64)),
        model([node("TopK", "xk", ["y", "i"])], [array("k", [2], np.int64)]),
    ),
    "squeeze axes": (
        "constant-input",
        "error",
        "8.2",
        computed("Squeeze", "xa", array("a", [0], np.int64)),
        model([node("Squeeze", "xa")], [array("a", [0], np.int64)]),
    ),
    "unsqueeze axes": (
        "constant-input",
        "error",
        "8.2",
        computed("Unsqueeze", "xa", array("a", [0], np.int64)),
        model([node("Constant", (), ["a"], value_ints=[0]), node("Unsqueeze", "xa")]),
    ),
    "cumsum axis": (
        "constant-input",
        "error",
        "8.2",
        computed("CumSum", "xa", array("a", 1, np.int64)),
        model([node("CumSum", "xa")], [array("a", 1, np.int64)]),
    ),
    "slice axes": (
        "constant-input",
        "error",
        "8.2",
        computed(
            "Slice",
            "xbea",
            array("a", [2], np.int64),
            initializers=[array("b", [0], np.int64), array("e", [4], np.int64)],
        ),
        model(
            [node("Slice", "xbea")], [array("b", [0], np.int64), array("e", [4], np.int64), array("a", [2], np.int64)]
        ),
    ),
    "instance norm": (
        "constant-input",
        "error",
        "8.2",
        computed("InstanceNormalization", "xsb", array("s", [1, 1, 1]), initializers=[array("b", [0, 0, 0])]),
        model([node("InstanceNormalization", "xsb")], [array("s", [1, 1, 1]), array("b", [0, 0, 0])]),
    ),
    "batch norm": ("batch-norm", "warning", "8.2", norm("computed"), norm("stored")),
    "reduce axes": (
        "reduce-axes",
        "error",
        "8.6",
        model([node("ReduceMean", "xa")], [AXES], opset=18),
        model([node("ReduceMean", "x", axes=[2, 3])]),
    ),
    "reduce sum": (
        "constant-input",
        "error",
        "8.2",
        computed("ReduceSum", "xa", AXES),
        model([node("ReduceSum", "xa")], [AXES]),
    ),
    "reduce axes of 10": (
        "constant-input",
        "error",
        "10.3",
        computed("ReduceMax", "xa", AXES, opset=18),
        model([node("ReduceMax", "xa")], [AXES], opset=18),
    ),
    "identity": (
        "identity-on-initializer",
        "error",
        "8.2",
        model([node("Identity", ["k0"], ["k"]), node("Add", "xk")], [array("k0", 1.0)]),
        model([node("Identity", ["x"], ["k"]), node("Add", "xk")]),
    ),
    "no zero point": (
        "q-dq",
        "error",
        "8.5",
        model([node("QuantizeLinear", "xs", ["q"]), node("DequantizeLinear", "qs")], [SCALE]),
        pair(),
    ),
    "no zero point in 10": (
        "q-dq",
        "error",
        "10.3",
        model([node("QuantizeLinear", "xs", ["q"]), node("DequantizeLinear", "qs")], [SCALE]),
        model([node("QuantizeLinear", "xsz", ["q"]), node("DequantizeLinear", "qs")], [SCALE, ZERO]),
    ),
    "zero point": ("q-dq", "error", "8.5", pair(zero=array("z", 3, np.int8)), pair()),
    "unsigned": ("q-dq", "error", "8.5", pair(zero=array("z", 0, np.uint8)), pair()),
    "unsigned in 8.2": ("q-dq", "error", "8.2", pair(zero=array("z", 0, np.uint8)), pair()),
    "unsigned in 10": ("q-dq", "error", "10.3", pair(zero=array("z", 0, np.uint8)), pair()),
    "zero point size": (
        "q-dq",
        "error",
        "8.5",
        pair(zero=array("z", [0, 0], np.int8)),
        pair(zero=array("z", [0], np.int8)),
    ),
    "zero point computed": (
        "q-dq",
        "error",
        "8.5",
        model([node("Identity", ["z0"], ["z"]), Q, DQ], [SCALE, array("z0", 0, np.int8)]),
        pair(),
    ),
    "scale": ("q-dq", "error", "8.5", pair(scale=array("s", 0.0)), pair()),
    "no scales": ("q-dq", "error", "8.5", weights(0, axis=0), weights(2, axis=0)),
    "scale computed": (
        "q-dq",
        "error",
        "8.5",
        model([node("Add", ["s0", "s0"], ["s"]), Q, DQ], [array("s0", 0.1), ZERO]),
        pair(),
    ),
    "int8 weight": ("q-dq", "error", "8.6", weights(2, np.int8, axis=0), weights(2, axis=0)),
    "int32 bias": ("q-dq", "error", "10.3", bias(np.int32), bias(np.int8)),
    "bare int8": (
        "q-dq",
        "error",
        "8.5",
        model([node("MatMul", "xw")], [array("w", np.ones((8, 8)), np.int8)]),
        model([node("MatMul", "xw")], [array("w", np.ones((8, 8)))]),
    ),
    "axis left out": ("q-dq", "error", "8.5", weights(2), weights(2, axis=0)),
    "axis of another size": ("q-dq", "error", "8.5", weights(2, axis=1), weights(3, axis=1)),
    "axis behind the last": ("q-dq", "error", "8.5", weights(2, axis=4), weights(3, axis=-3)),
    "axis before the first": ("q-dq", "error", "8.5", weights(2, axis=-5), weights(2, axis=-4)),
    "activation per axis": (
        "q-dq",
        "error",
        "8.5",
        model(
            [node("QuantizeLinear", "xsz", ["q"], axis=1), node("DequantizeLinear", "qsz", axis=1)],
            [array("s", [0.1] * 3), array("z", [0] * 3, np.int8)],
        ),
        pair(),
    ),
    "dynamic": ("dynamic-shape", "error", "8.2", plain(shape=("n", 3, 8, 8)), plain()),
    "no shape": ("dynamic-shape", "error", "8.2", plain(shape=None), plain()),
    "input type": ("input-type", "error", "8.5", input_of(TensorProto.UINT8), input_of(TensorProto.FLOAT)),
    "network type": ("network-type", "error", "8.2", input_of(TensorProto.UINT8), input_of(TensorProto.FLOAT)),
    "two inputs": ("inputs", "warning", "8.2", model([node("Add", "xk")], inputs=("x", "k")), CLEAN),
    "initializer type": (
        "initializer-type",
        "error",
        "8.2",
        added(array("k", 1, np.uint8)),
        added(array("k", 1, np.int32)),
    ),
    "half of 10": (
        "initializer-type",
        "error",
        "8.6",
        added(typed("k", TensorProto.BFLOAT16, [1], [1.0])),
        added(typed("k", TensorProto.FLOAT16, [1], [1.0])),
    ),
    "cast": ("cast", "warning", "8.6", cast(TensorProto.INT64), cast(TensorProto.INT32)),
    "cast to double": ("cast", "warning", "10.3", cast(TensorProto.DOUBLE), cast(TensorProto.INT64)),
    "cast to uint8": ("cast", "error", "8.2", cast(TensorProto.UINT8), cast(TensorProto.INT32)),
    "cast to uint8 inside": ("cast", "warning", "8.5", cast(TensorProto.UINT8), cast(TensorProto.INT32)),
    "cast to string": (
        "cast",
        "error",
        "10.3",
        model([node("Cast", "x", to=TensorProto.STRING)], output=TensorProto.STRING),
        cast(TensorProto.INT32),
    ),
    "range": ("range", "warning", "8.6", table([2**31]), table([2**31 - 1])),
    "range below": ("range", "warning", "8.6", table([-(2**31) - 1]), table([-(2**31)])),
    "lowest": ("range", "warning", "8.6", table([-BIG - 1]), table([-1])),
    "range of a Constant": (
        "range",
        "warning",
        "8.6",
        model([node("Constant", (), ["i"], value_int=BIG), node("Gather", "xi", axis=0)]),
        model([node("Constant", (), ["i"], value_int=0), node("Gather", "xi", axis=0)]),
    ),
    "double": ("range", "warning", "10.3", added(array("k", 1e300, np.float64)), added(array("k", 1.0, np.float64))),
    "external": ("external-data", "error", "8.2", external(), CLEAN),
}
MORE = {  # rules that the broken file breaks besides
    "attribute that is not read": {"scratch-memory"},
    "top k": {"scratch-memory"},
    "opset": {"opset"},
    "functions": {"domain"},
    "operator in a body": {"control-flow"},
    "relabelled": {"reduce-axes"},
    "reduce axes": {"opset"},
    "sparse": {"impossible"},
    "resize scales": {"impossible"},
    "resize scales count": {"impossible"},
    "bare int8": {"impossible", "operator-type"},
    "external": {"schema"},
    "no shape": {"schema"},
    "int32 bias": {"constant-input"},
    "zero point computed": {"identity-on-initializer"},
    "constant form": {"operator-type", "impossible"},
}


def found(made, path, tensorrt):
    path.write_bytes(made.SerializeToString())
    return check_onnx(path, load_target("xavier-nx", tensorrt))


def breaks_one_rule(case, more, folder):
    """The rule finds the broken file, at its level, and not its neighbour; no other does but `more`."""
    rule, level, tensorrt, broken, neighbour = case
    findings = found(broken, folder / "m.onnx", tensorrt)
    mine = [finding for finding in findings if finding.rule == rule]
    assert {finding.level for finding in mine} == {level}, findings
    assert all(finding.node and finding.why and finding.mend for finding in mine)
    assert {finding.rule for finding in findings} - {rule} <= more
    assert rule not in {f.rule for f in found(neighbour, folder / "n.onnx", tensorrt)}
