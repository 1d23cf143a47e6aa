"""Limits of TensorRT's layers: what the rules say of the last form that is taken and the first that is not, and what
the parser of TensorRT for RTX says of both, which needs no GPU."""

import numpy as np
import onnx
import pytest

from edgedistill.onnx_model.check import check
from edgedistill.onnx_model.compile import compile_onnx, compiler_here
from edgedistill.onnx_model.compile_child import PARSES
from hand_made import array, model, node
from optional_tools import lacking


def lrn(shape=(1, 3, 8, 8), **attributes):
    return model([node("LRN", "x", **{"size": 5, **attributes})], shape=shape)


def slopes(*shape):
    return model([node("PRelu", "xs")], [array("s", np.ones(shape))])


def reshaped(*sizes):
    return model([node("Reshape", "xs", ["r"]), node("Flatten", "r")], [array("s", sizes, np.int64)])


# name -> (rule, its node, what is refused, what is taken)
CASES = {
    "lrn of an even size": ("attribute-value", "n_LRN", lrn(size=4), lrn(size=3)),
    "lrn of a large size": ("attribute-value", "n_LRN", lrn(size=17), lrn(size=15)),
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


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_parser_says_the_same(tmp_path, name):
    if compiler_here() is None:
        lacking("tensorrt or tensorrt_rtx", "pip install -e '.[compile]'")
    *_, refused, taken = CASES[name]
    assert compile_onnx(saved(refused, tmp_path / "m.onnx"), only_parse=True)["verdict"] == "refused by the parser"
    assert compile_onnx(saved(taken, tmp_path / "n.onnx"), only_parse=True)["verdict"] == PARSES
