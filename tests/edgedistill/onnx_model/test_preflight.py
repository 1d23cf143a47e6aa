"""Each rule on the smallest graph that breaks it, and on one that does not."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.check import check, text_from_check
from edgedistill.errors import RecipeError
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.target import executed_precision, load_target, target_names


def array(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, kind), name)


def save(
    path,
    nodes,
    initializers=(),
    opset=13,
    ir=7,
    shape=(1, 3, 8, 8),
    kind=TensorProto.FLOAT,
    domain=None,
):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("a", "b", "c", "d"))], list(initializers),
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    onnx.save(model, str(path))
    return path


def node(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), name=f"n_{kind}", **attributes)


WEIGHT = array("w", np.ones((2, 3, 1, 1)))
SCALE = array("s", 0.1)
ZERO8, ZERO_U8, THREE = array("z", 0, np.int8), array("z", 0, np.uint8), array("z", 3, np.int8)
Q, DQ = node("QuantizeLinear", "xsz", ["q"]), node("DequantizeLinear", "qsz")

CASES = {
    "clean": ([node("Conv", "xw")], [WEIGHT], {}, None),
    "opset": ([node("Relu", "x")], [], {"opset": 17}, "opset"),
    "ir": ([node("Relu", "x")], [], {"ir": 9}, "ir"),
    "domain": ([node("Relu", "x")], [], {"domain": "com.microsoft"}, "domain"),
    "operator": ([node("HardSwish", "x")], [], {"opset": 14}, "operator"),
    "reduce-axes": ([node("ReduceMean", "xa")], [array("a", [2, 3], np.int64)], {"opset": 18}, "reduce-axes"),
    "conv bias": (
        [node("Relu", ["b0"], ["b"]), node("Conv", "xwb")], [WEIGHT, array("b0", [1, 2])], {}, "constant-input",
    ),
    "identity": (
        [node("Identity", ["k0"], ["k"]), node("Add", "xk")], [array("k0", 1.0)], {}, "identity-on-initializer",
    ),
    "resize": (
        [node("Resize", ["x", "", "r"], mode="cubic")], [array("r", [1, 1, 2, 2])], {}, "resize",
    ),
    "zero point": ([Q, DQ], [SCALE, THREE], {}, "q-dq"),
    "unsigned": ([Q, DQ], [SCALE, ZERO_U8], {}, "q-dq"),
    "no zero point": ([node("QuantizeLinear", "xs", ["q"]), node("DequantizeLinear", "qs")], [SCALE], {}, "q-dq"),
    "scale": ([Q, DQ], [array("s", 0.0), ZERO8], {}, "q-dq"),
    "int8 weight": (
        [node("DequantizeLinear", "wsz", ["d"]), node("Add", ["x", "d"])],
        [array("w", [[[[1]]]], np.int8), SCALE, ZERO8], {}, "q-dq",
    ),
    "dynamic": ([node("Relu", "x")], [], {"shape": ("n", 3, 8, 8)}, "dynamic-shape"),
    "input type": ([node("Cast", "x", to=1)], [], {"kind": TensorProto.UINT8}, "input-type"),
    "range": ([node("Cast", ["k"], ["c"], to=1), node("Add", "xc")], [array("k", [2**40], np.int64)], {}, "range"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_rule(tmp_path, name):
    nodes, initializers, more, rule = CASES[name]
    path = save(tmp_path / "m.onnx", nodes, initializers, **more)
    # Xavier's TensorRT 8.5 has INT8 hardware; the Nano's 8.2 is asked for what only it lacks.
    quantized = rule == "q-dq"
    findings = check_onnx(path, load_target("xavier-nx" if quantized else "jetson-nano"))
    rules = {finding.rule for finding in findings}
    if rule is None:
        assert findings == []
    else:
        assert rule in rules
        finding = next(f for f in findings if f.rule == rule)
        assert finding.why
        assert finding.mend
        assert finding.level == ("warning" if rule in ("ir", "range") else "error")
    allowed = {rule, "opset"} if more.get("opset", 13) > 13 else {rule}
    assert rules - allowed == set()


def test_q_dq_is_refused_where_there_is_no_int8(tmp_path):
    path = save(tmp_path / "m.onnx", [Q, DQ], [SCALE, ZERO8])
    assert {f.rule for f in check_onnx(path, load_target("jetson-nano"))} == {"no-int8-hardware"}
    assert check_onnx(path, load_target("xavier-nx")) == []


def test_later_releases_take_more(tmp_path):
    path = save(tmp_path / "m.onnx", [node("HardSwish", "x")], opset=14)
    verdicts = {name: check(path, name)["fits"] for name in target_names()}
    assert verdicts == {"jetson-nano": False, "xavier-nx": True, "orin-nano-4gb": True,
                        "orin-nano-8gb": True, "local": True}  # fmt: skip
    text = text_from_check(check(path, "jetson-nano"))
    assert "n_HardSwish: TensorRT 8.2 has no importer for HardSwish" in text
    assert text.splitlines()[-1].endswith("not a run of the board's parser)")


def test_int8_on_a_nano_is_served_as_fp16_with_the_reason():
    executed, reason = executed_precision(load_target("jetson-nano"), "int8")
    assert executed == "fp16"
    assert "no INT8 hardware (sm_53)" in reason
    assert executed_precision(load_target("orin-nano-8gb"), "int8") == ("int8", "")
    assert executed_precision(load_target("local"), "fp16")[0] == "fp32"


def test_an_unknown_board_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'jetson-nano'"):
        load_target("jetson_nano")
