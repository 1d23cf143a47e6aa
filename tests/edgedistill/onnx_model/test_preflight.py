"""Each rule on the smallest graph that breaks it, and on its neighbour that does not."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedistill.config.target import load_target, releases, target_names
from edgedistill.errors import PreflightError, RecipeError
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.onnx_model.check import check, text_from_check
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.rules.tables import importers
from hand_made import array, model, node, save, typed

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
    return model([node("Resize", ["x", "", "r"], mode=mode)], [array("r", scales, kind)], **more)


def resize_to(sizes):
    return model([node("Resize", ["x", "", "", "r"], mode="linear")], [array("r", sizes, np.int64)])


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
    "range": ("range", "warning", "8.6", table([BIG]), table([0])),
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


@pytest.mark.parametrize("name", CASES)
def test_one_rule(tmp_path, name):
    breaks_one_rule(CASES[name], MORE.get(name, set()), tmp_path)


def test_weights_in_another_file_are_found_wanting_by_their_size(tmp_path):
    made = external()
    made.graph.initializer[0].dims[:] = [1 << 15, 1 << 15, 1, 1]
    (tmp_path / "w.bin").touch()
    rules = {f.rule for f in found(made, tmp_path / "m.onnx", "8.2")}
    assert {"external-data", "size"} <= rules


def test_a_file_of_more_than_two_gib_is_not_read(tmp_path):
    with open(tmp_path / "m.onnx", "wb") as file:
        file.truncate((2 << 30) + 1)  # sparse: takes no room
    findings = check_onnx(tmp_path / "m.onnx", load_target("jetson-nano"))
    assert [finding.rule for finding in findings] == ["size"]


@pytest.mark.parametrize("content", [b"", b"no", b"\x08\x07"])
def test_a_file_that_is_no_onnx(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(PreflightError, match="not a readable ONNX model"):
        check_onnx(tmp_path / "m.onnx", load_target("jetson-nano"))


def test_q_dq_is_refused_where_there_is_no_int8(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(pair().SerializeToString())
    assert {f.rule for f in check_onnx(path, load_target("jetson-nano"))} == {"no-int8-hardware"}
    assert check_onnx(path, load_target("xavier-nx")) == []


def test_later_releases_take_more(tmp_path):
    path = save(tmp_path / "m.onnx", [node("HardSwish", "x")], opset=14)
    verdicts = {name: check(path, name)["fits"] for name in target_names()}
    assert verdicts == {
        **dict.fromkeys(("jetson-nano", "jetson-nano-2gb", "tx2"), False),
        **dict.fromkeys(("agx-xavier", "orin-nx-8gb", "orin-nx-16gb", "agx-orin", "thor"), True),
        "xavier-nx": True,
        "orin-nano-4gb": True,
        "orin-nano-8gb": True,
        "local": True,
    }
    text = text_from_check(check(path, "jetson-nano"))
    assert "n_HardSwish: TensorRT 8.2 has no importer for HardSwish" in text
    assert text.splitlines()[-1].endswith("not a run of the board's parser)")


def test_the_release_of_another_jetpack(tmp_path):
    path = save(tmp_path / "m.onnx", [node("ReduceMean", "xa")], [AXES], opset=18, ir=9)
    found = {name: {f["rule"] for f in check(path, "orin-nano-8gb", name)["findings"]} for name in releases()}
    assert found == {
        "8.2": {"opset", "ir", "reduce-axes"},
        "8.5": {"opset", "ir", "reduce-axes"},
        "8.6": {"opset", "ir", "reduce-axes"},
        "10.3": set(),
        "10.16": set(),
        "11.4": {"strong-typing"},
    }
    with pytest.raises(RecipeError, match=r"TensorRT '9.0' is not known; known: 8.2, 8.5"):
        check(path, "orin-nano-8gb", "9.0")


def test_the_operator_table_knows_when_an_importer_came():
    first = {
        "HardSwish": "8.5",
        "Mod": "8.5",
        "LayerNormalization": "8.6",
        "Gelu": "10.3",
        "STFT": "10.16",
        "RMSNormalization": "10.16",
        "Swish": "11.4",
        "DFT": "11.4",
    }
    for operator, release in first.items():
        has = [name for name, r in releases().items() if operator in importers(r.operators)]
        assert has == list(releases())[list(releases()).index(release) :]
    for release in releases().values():
        assert not {"QLinearConv", "DynamicQuantizeLinear"} & importers(release.operators)


def test_the_findings_are_json(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Mod", "xx", fmod=1)])
    finding = json.loads(json.dumps(check(path, "jetson-nano")))["findings"][0]
    assert set(finding) == {"level", "rule", "node", "why", "mend"}


def test_int8_on_a_nano_is_served_as_fp16_with_the_reason():
    executed, reason = executed_precision(load_target("jetson-nano"), "int8")
    assert executed == "fp16"
    assert "no INT8 hardware (sm_53)" in reason
    assert executed_precision(load_target("orin-nano-8gb"), "int8") == ("int8", "")
    assert executed_precision(load_target("local"), "fp16")[0] == "fp32"


def test_an_unknown_board_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'jetson-nano'"):
        load_target("jetson_nano")
