"""Limits of TensorRT's layers: what the rules say of the last form that is taken and the first that is not, and what
the parser of TensorRT for RTX says of both, which needs no GPU."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgedistill.onnx_model.check import check
from edgedistill.onnx_model.compile import compile_onnx, compiler_here
from edgedistill.onnx_model.compile_child import PARSES
from hand_made import array, model, node, typed
from optional_tools import lacking


def lrn(shape=(1, 3, 8, 8), **attributes):
    return model([node("LRN", "x", **{"size": 5, **attributes})], shape=shape)


def slopes(*shape, **more):
    return model([node("PRelu", "xs")], [array("s", np.ones(shape))], **more)


def reshaped(*sizes):
    return model([node("Reshape", "xs", ["r"]), node("Flatten", "r")], [array("s", sizes, np.int64)])


# name -> (rule, its node, what is refused, what is taken)
CASES = {
    "lrn of an even size": ("attribute-value", "n_LRN", lrn(size=4), lrn(size=3)),
    "lrn of a large size": ("attribute-value", "n_LRN", lrn(size=17), lrn(size=15)),
    "lrn of a large power": ("attribute-value", "n_LRN", lrn(beta=1.5e5), lrn(beta=1e5)),
    "lrn of a large bias": ("attribute-value", "n_LRN", lrn(bias=1.5e10), lrn(bias=1e10)),
    "lrn without a power": ("attribute-value", "n_LRN", lrn(beta=0.0), lrn(beta=0.01)),
    "lrn without a bias": ("attribute-value", "n_LRN", lrn(bias=0.0), lrn(bias=1e-5)),
    "lrn of 3 dimensions": ("rank", "n_LRN", lrn(shape=(3, 8, 8)), lrn(shape=(1, 3, 8, 8))),
    "9 dimensions inside": (
        "rank",
        "n_Reshape_r",
        reshaped(1, 3, 2, 2, 2, 2, 2, 2, 1),
        reshaped(1, 3, 2, 2, 2, 2, 2, 2),
    ),
    "an input of 9": (
        "rank",
        "x",
        model([node("Relu", "x")], shape=[1] * 9),
        model([node("Relu", "x")], shape=[1] * 8),
    ),
    "slopes of channels": ("impossible", "n_PRelu", slopes(3), slopes(3, 1, 1)),
    "slopes of a batch": ("impossible", "n_PRelu", slopes(2, 3, 1, 1), slopes(1, 1, 3, 1, 1)),
}


def saved(made, path):
    made.graph.output[0].type.tensor_type.ClearField("shape")
    path.write_bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())
    return path


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("release", ["8.2", "10.3", "11.4"])
def test_the_rule(tmp_path, name, release):
    rule, where, refused, taken = CASES[name]
    findings = check(saved(refused, tmp_path / "m.onnx"), "orin-nano-8gb", release)["findings"]
    errors = [(f["rule"], f["node"]) for f in findings if f["level"] == "error"]
    assert errors[0] == (rule, where)
    assert {name for name, _ in errors} == {rule}
    assert check(saved(taken, tmp_path / "n.onnx"), "orin-nano-8gb", release)["fits"]


def test_slopes_of_unknown_channels_are_not_refused(tmp_path):
    chain = [node("Odd", "x", ["o"], domain="own"), node("PRelu", "os")]
    behind_a_foreign_node = model(chain, [array("s", np.ones((3, 1, 1)))], domain="own")
    for made in (slopes(3, 1, 1, shape=(1, "c", 8, 8)), behind_a_foreign_node):
        onnx.save(made, tmp_path / "m.onnx")
        findings = check(tmp_path / "m.onnx", "orin-nano-8gb", "10.3")["findings"]
        assert "impossible" not in {finding["rule"] for finding in findings}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_parser_says_the_same(tmp_path, name):
    if compiler_here() is None:
        lacking("tensorrt or tensorrt_rtx", "pip install -e '.[compile]'")
    *_, refused, taken = CASES[name]
    assert compile_onnx(saved(refused, tmp_path / "m.onnx"), only_parse=True)["verdict"] == "refused by the parser"
    assert compile_onnx(saved(taken, tmp_path / "n.onnx"), only_parse=True)["verdict"] == PARSES


def int4(shape=(64, 4), scales=(2, 4), axis=0, block=32, kind=TensorProto.INT4, zero=False):
    """A product of x and a stored INT4 matrix."""
    stored = typed("w", kind, shape, [n % 7 for n in range(math.prod(shape))])
    many = [array("s", np.full(scales, 0.1)), typed("z", kind, scales, [0] * math.prod(scales))]
    blocks = {"block_size": block} if block else {}
    chain = [node("DequantizeLinear", "wsz" if zero else "ws", ["d"], axis=axis, **blocks), node("MatMul", "xd")]
    return model(chain, [stored, *many[: 1 + zero]], shape=(1, shape[-2]), opset=21, ir=10)


def quantized_float():
    """The same from a float matrix."""
    more = {"axis": 0, "block_size": 32}
    chain = [node("QuantizeLinear", "ws", ["q"], output_dtype=TensorProto.INT4, **more)]
    chain += [node("DequantizeLinear", "qs", ["d"], **more), node("MatMul", "xd")]
    stored = [array("w", np.ones((64, 4))), array("s", np.full((2, 4), 0.1))]
    return model(chain, stored, shape=(1, 64), opset=21, ir=10)


def activation():
    chain = [node("QuantizeLinear", "xsz", ["q"]), node("DequantizeLinear", "qsz")]
    return model(chain, [array("s", 0.1), typed("z", TensorProto.INT4, (), [0])], opset=21, ir=10)


TAKEN = {
    "blocks of rows": int4(),
    "blocks of columns": int4(scales=(64, 2), axis=1, block=2),
    "blocks with zero points": int4(zero=True),
    "blocks of a float matrix": quantized_float(),
    "a scale for each column": int4(scales=(4,), axis=1, block=0),
    "a scale for each column, zero points": int4(scales=(4,), axis=1, block=0, zero=True),
}
REFUSED = {
    "too few blocks": (int4(block=16), "scales [2, 4] of blocks of 16 on axis 0 do not cover [64, 4]"),
    "block size left out": (int4(block=0), "scales [2, 4] of blocks of 0 on axis 0"),
    "more than a matrix": (int4(shape=(1, 64, 4), scales=(1, 2, 4), axis=1), "INT4 matrices only"),
    "blocks of INT8": (int4(kind=TensorProto.INT8), "INT4 matrices only"),
    "scales of half the rows": (int4(scales=(2,)), "2 scales on axis 0 of (64, 4)"),
    "an activation": (activation(), "makes an activation INT4; only weights may be"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_int4_weights_are_taken_from_10_on(tmp_path, name):
    path = saved(TAKEN[name], tmp_path / "m.onnx")
    assert [f for f in check(path, "orin-nano-8gb", "10.16")["findings"] if f["level"] == "error"] == []
    assert {f["rule"] for f in check(path, "orin-nano-8gb", "10.3")["findings"]} == {"opset"}
    assert "q-dq" in {f["rule"] for f in check(path, "orin-nano-8gb", "8.6")["findings"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_a_parser_takes_int4_weights_too(tmp_path, name):
    if compiler_here() is None:
        lacking("tensorrt or tensorrt_rtx", "pip install -e '.[compile]'")
    assert compile_onnx(saved(TAKEN[name], tmp_path / "n.onnx"), only_parse=True)["verdict"] == PARSES


@pytest.mark.parametrize("name", REFUSED)
def test_other_forms_of_int4_are_refused(tmp_path, name):
    made, why = REFUSED[name]
    findings = check(saved(made, tmp_path / "m.onnx"), "orin-nano-8gb", "10.16")["findings"]
    assert {f["rule"] for f in findings if f["level"] == "error"} >= {"q-dq"}, findings
    assert any(why in f["why"] for f in findings), findings
