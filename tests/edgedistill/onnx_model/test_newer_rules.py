"""Rules that came with TensorRT 10.16 and 11.4, or that the node tests of onnx asked for."""

import inspect
import re

import numpy as np
import pytest
from onnx import TensorProto

from edgedistill.onnx_model import rules
from edgedistill.onnx_model.check import check
from edgedistill.onnx_model.rules import impossible
from hand_made import array, model, node, save
from rule_cases import CASES as OLDER
from rule_cases import CLEAN, breaks_one_rule
from small_graphs import SCALE, ZERO, Q, computed, input_of, pair, plain


def without_input():
    made = plain()
    del made.graph.input[:]
    return made


def without_output():
    made = plain()
    del made.graph.output[:]
    return made


def rotary():
    halves = [array("c", np.ones((1, 8, 4))), array("s", np.zeros((1, 8, 4)))]
    return model([node("RotaryEmbedding", "xcs")], halves, opset=23, ir=11)


def half(kind="Relu"):
    return model(
        [
            node("Cast", "x", ["h"], to=TensorProto.FLOAT16),
            node(kind, "h", ["r"]),
            node("Cast", "r", to=TensorProto.FLOAT),
        ]
    )


def conv(**attributes):
    return model([node("Conv", "xw", **attributes)], [array("w", np.ones((4, 3, 2, 2)))])


def reshape(sizes):
    return model([node("Reshape", "xr")], [array("r", sizes, np.int64)])


def padded(mode, opset):
    return model([node("Pad", "xp", mode=mode)], [array("p", [0, 0, 1, 1] * 2, np.int64)], opset=opset, ir=9)


def resized(axes, values, sizes=False):
    names, kind = (["x", "", "", "r"], np.int64) if sizes else (["x", "", "r"], np.float32)
    return model([node("Resize", names, axes=axes, mode="cubic")], [array("r", values, kind)], opset=18, ir=9)


def slice_axes():
    return computed(
        "Slice", "xbea", array("a", [2], np.int64), initializers=[array("b", [0], np.int64), array("e", [4], np.int64)]
    )


def volume():
    return model(
        [node("GridSample", "xg")], [array("g", np.zeros((1, 2, 2, 2, 3)))], shape=(1, 3, 2, 2, 2), opset=20, ir=9
    )


def scattered(shape):
    return model([node("TensorScatter", "xu")], [array("u", np.ones(shape))], shape=shape, opset=24, ir=12)


def attention(past, value=(1, 3, 8, 8), mask=None, **attributes):
    names = ["x", "x", "v", "m" if mask else "", *([past, past] if past else [])]
    stored = [array("past", np.ones((1, 3, 8, 8))), array("v", np.ones(value)), array("m", np.ones(mask or 1))]
    return model([node("Attention", names, **attributes)], stored, opset=23, ir=11)


# name -> (rule, level, TensorRT, what breaks it, its neighbour)
CASES = {
    "network type of 10": ("network-type", "error", "10.16", input_of(TensorProto.UINT16), input_of(TensorProto.INT64)),
    "no input": ("inputs", "error", "8.2", without_input(), CLEAN),
    "importer unread": ("importer-unread", "warning", "10.16", rotary(), model([node("Relu", "x")], opset=23, ir=11)),
    "typed": ("strong-typing", "warning", "11.4", CLEAN, half()),
    "typed and quantized": ("strong-typing", "warning", "11.4", pair(), half()),
    "no output": ("impossible", "error", "8.2", without_output(), CLEAN),
    "group of 0": ("impossible", "error", "10.3", conv(group=0), conv(group=1)),
    "channels": ("impossible", "error", "10.3", conv(group=3), conv(group=1)),
    "kernel shape": ("impossible", "error", "8.2", conv(kernel_shape=[5, 5]), conv(kernel_shape=[2, 2])),
    "auto pad": ("impossible", "error", "8.2", conv(auto_pad="SAME"), conv(auto_pad="SAME_UPPER")),
    "kernel of 0": ("impossible", "error", "8.2", model([node("MaxPool", "x", kernel_shape=[0, 0])]), CLEAN),
    "kernel beyond the image": (
        "impossible",
        "error",
        "8.2",
        model([node("MaxPool", "x", kernel_shape=[9, 9])]),
        model([node("MaxPool", "x", kernel_shape=[8, 8])]),
    ),
    "elements": ("impossible", "error", "8.2", reshape([7, 7]), reshape([0, -1])),
    "permutation": (
        "impossible",
        "error",
        "8.2",
        model([node("Transpose", "x", perm=[0, 1])]),
        model([node("Transpose", "x", perm=[0, 3, 1, 2])]),
    ),
    "value of a later opset": ("impossible", "error", "10.3", padded("wrap", 13), padded("wrap", 19)),
    "int8 without Q": (
        "operator-type",
        "error",
        "10.3",
        model([node("Add", "xx")], kind=TensorProto.INT8, output=TensorProto.INT8, opset=14),
        model(
            [Q, node("Reshape", "qr", ["f"]), node("DequantizeLinear", "fsz")],
            [SCALE, ZERO, array("r", [1, -1], np.int64)],
        ),
    ),
    "scales of an input": (
        "constant-input",
        "error",
        "10.3",
        model([node("Resize", ["x", "", "k"])], inputs=("x", "k")),
        computed("Resize", ["x", "", "r"], array("r", [1, 1, 2, 2])),
    ),
    "scales computed with axes": (
        "constant-input",
        "error",
        "10.3",
        computed("Resize", ["x", "", "r"], array("r", [2, 2]), attributes={"axes": [2, 3]}, opset=18),
        model([node("Resize", ["x", "", "r"], axes=[2, 3])], [array("r", [2, 2])], opset=18),
    ),
    "squeeze axes of an input": (
        "constant-input",
        "error",
        "10.16",
        model([node("Cast", "x", ["a"], to=TensorProto.INT64), node("Squeeze", "xa")]),
        computed("Squeeze", "xa", array("a", [0], np.int64)),
    ),
    "cubic of an outer axis that is named": (
        "resize",
        "error",
        "10.3",
        resized([1, -2], [2, 2]),
        resized([-1, 2], [2, 2]),
    ),
    "cubic to the sizes of named axes": (
        "resize",
        "error",
        "10.3",
        resized([3, 1], [4, 9], sizes=True),
        resized([3, 1], [4, 3], sizes=True),
    ),
    "slice axes before 10.3": ("constant-input", "error", "8.6", slice_axes(), model([node("Relu", "x")])),
    "vector times tensor": (
        "rank",
        "error",
        "8.6",
        model([node("MatMul", "xw")], [array("w", np.ones((2, 3, 4)))], shape=(3,)),
        model([node("MatMul", "xw")], [array("w", np.ones((3, 4)))], shape=(3,)),
    ),
    "volume": ("rank", "error", "10.16", volume(), model([node("Relu", "x")])),
    "tensor scatter": ("rank", "error", "10.16", scattered((1, 8, 8)), scattered((1, 3, 8, 8))),
    "attention with a past": ("rank", "error", "10.16", attention("past"), attention("")),
    "attention of unequal heads": ("rank", "error", "10.16", attention("", value=(1, 3, 8, 4)), attention("")),
    "attention with mask and causal": (
        "rank",
        "error",
        "10.16",
        attention("", mask=(8, 8), is_causal=1),
        attention("", mask=(8, 8)),
    ),
    "celu of halves": ("operator-type", "error", "10.3", half("Celu"), half("Relu")),
    "random double": (
        "attribute-value",
        "error",
        "10.3",
        model([node("RandomUniformLike", "x", dtype=11)], output=TensorProto.DOUBLE),
        model([node("RandomUniformLike", "x", dtype=1)]),
    ),
    "mod of floats": (
        "operator-type",
        "error",
        "10.16",
        model([node("Mod", "xx")]),
        model([node("Mod", "xx", fmod=1)]),
    ),
    "ellipsis": (
        "attribute-value",
        "error",
        "10.3",
        model([node("Einsum", "xx", equation="...i,...i->...")]),
        model([node("Einsum", "xx", equation="abcd,abcd->abc")]),
    ),
}
MORE = {  # rules that the broken file breaks besides
    "int8 without Q": {"input-type"},
    "no input": {"schema"},
    "scales of an input": {"inputs"},
    "squeeze axes of an input": {"cast"},
    "celu of halves": {"impossible"},
}


@pytest.mark.parametrize("name", CASES)
def test_one_rule(tmp_path, name):
    breaks_one_rule(CASES[name], MORE.get(name, set()), tmp_path)


def test_no_rule_is_without_a_test():
    """Names of all rules, read from the source."""
    modules = (
        rules.versions,
        impossible,
        rules.operators,
        rules.attributes,
        rules.types,
        rules.parameters,
        rules.quantization,
        rules.tensors,
    )
    text = "".join(inspect.getsource(module) for module in modules)
    named = set(re.findall(r'Finding\(\s*(?:"error"|"warning"|level),\s*"([\w-]+)"', text))
    elsewhere = {"no-int8-hardware", "size"}
    assert named == {case[0] for case in (CASES | OLDER).values()} | elsewhere


@pytest.mark.parametrize("equation", ["...i,...i->...", "aabc,aabc->abc", "abcd, abcd -> abc"])
def test_from_10_16_an_equation_may_have_an_ellipsis_or_a_diagonal(tmp_path, equation):
    path = save(tmp_path / "m.onnx", [node("Einsum", "xx", equation=equation)], shape=(3, 3, 3, 3))
    fits = [name for name in ("8.6", "10.3", "10.16") if check(path, "orin-nano-8gb", name)["fits"]]
    assert fits == (["8.6", "10.3", "10.16"] if "d" in equation else ["10.16"])


def test_the_answer_says_what_its_rules_were_read_from(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Relu", "x")])
    assert "rules read from 10.3-GA;" in check(path, "orin-nano-8gb")["basis"]
    assert "not the source of 11.4" in check(path, "orin-nano-8gb", "11.4")["basis"]
    assert "importers of 10.10" in check(path, "orin-nano-8gb", "10.16")["basis"]


def test_11_has_no_int8_but_q_dq(tmp_path):
    (tmp_path / "m.onnx").write_bytes(plain().SerializeToString())
    answer = check(tmp_path / "m.onnx", "orin-nano-8gb", "11.4")
    assert answer["fits"]
    assert "no calibrators and no calibration cache" in answer["findings"][0]["why"]
    assert "Q/DQ nodes" in answer["findings"][0]["mend"]
