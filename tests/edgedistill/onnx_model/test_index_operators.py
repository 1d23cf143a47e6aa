"""Operators that 8.2 does not import, written with others: the result fits, and PyTorch computes the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto

from edgedistill.onnx_model.check import fix
from hand_made import array, model, node


def whole(name, values):
    return array(name, values, np.int64)


def integers(*after, factor=5):
    """x as whole numbers -factor..factor, then the nodes given."""
    return [
        node("Mul", ["x", "factor"], ["scaled"]),
        node("Cast", ["scaled"], ["i"], to=TensorProto.INT64),
        *after,
        node("Cast", ["z"], to=TensorProto.FLOAT),
    ], [array("factor", factor)]


def as_integers(x, factor=5):
    return (x * factor).long()


def one_hot(numbers):
    """Of three classes: -3..-1 count from the end, what is beyond is none."""
    known = (numbers >= -3) & (numbers < 3)
    return (F.one_hot(numbers % 3, 3) * known[..., None]).permute(0, 3, 1, 2)


def infinite(**signs):
    """Logarithms of what is 0 or more, 1 over what is 0: both infinities, and numbers."""
    cut = [
        node("Relu", "x", ["r"]),
        node("Log", "r", ["l"]),
        node("Reciprocal", "r", ["o"]),
        node("Concat", "lo", ["both"], axis=3),
        node("IsInf", ["both"], ["z"], **signs),
    ]
    return model([*cut, node("Cast", ["z"], to=TensorProto.FLOAT)], opset=20, ir=10)


def as_infinite(x):
    return torch.cat([x.relu().log(), 1 / x.relu()], 3)


def xor_graph():
    compare = [node("Less", ["x", "half"], ["a"]), node("Greater", ["x", "zero"], ["b"])]
    return [*compare, node("Xor", "ab", ["z"]), node("Cast", ["z"], to=TensorProto.FLOAT)]


MOD, MOD_CONSTANTS = integers(node("Mod", "im", ["z"]))
FMOD, _ = integers(node("Mod", "im", ["z"], fmod=1))
HOT, HOT_CONSTANTS = integers(node("OneHot", "idv", ["z"], axis=1), factor=2)
CUT = array("inf", -np.inf)

# name -> (model of opset 18 to 23, the same in PyTorch)
CASES = {
    "triu": (model([node("Trilu", "xk")], [whole("k", 1)], opset=18), lambda x: x.triu(1)),
    "tril": (model([node("Trilu", "x", upper=0)], opset=18), lambda x: x.tril()),
    "tril of another size": (
        model([node("Trilu", "xk", upper=0)], [whole("k", -2)], opset=18, shape=(1, 2, 5, 9)),
        lambda x: x.tril(-2),
    ),
    "triu beside infinity": (
        model(
            [
                node("Where", ["mask", "x", "inf"], ["w"]),
                node("Trilu", ["w"], ["t"], upper=0),
                node("Clip", ["t", "least"]),
            ],
            [array("mask", np.tri(8), bool), CUT, array("least", -9.0)],
            opset=18,
        ),
        lambda x: x.tril(),
    ),
    "fmod": (model([node("Mod", "xm", fmod=1)], [array("m", 0.7)], opset=18), lambda x: torch.fmod(x, 0.7)),
    "mod of whole numbers": (
        model(MOD, [*MOD_CONSTANTS, whole("m", [2, 3, -3, 4, -5, 6, 7, 8])], opset=18),
        lambda x: torch.remainder(as_integers(x), torch.tensor([2, 3, -3, 4, -5, 6, 7, 8])),
    ),
    "fmod of whole numbers": (
        model(FMOD, [*MOD_CONSTANTS, whole("m", [2, 3, -3, 4, -5, 6, 7, 8])], opset=18),
        lambda x: torch.fmod(as_integers(x), torch.tensor([2, 3, -3, 4, -5, 6, 7, 8])),
    ),
    "xor": (model(xor_graph(), [array("half", 0.5), array("zero", 0.0)], opset=18), lambda x: (x < 0.5) ^ (x > 0)),
    "infinite": (infinite(), lambda x: as_infinite(x).isinf()),
    "negative infinity": (infinite(detect_positive=0), lambda x: as_infinite(x).isneginf()),
    "positive infinity": (infinite(detect_negative=0), lambda x: as_infinite(x).isposinf()),
    "one hot": (
        model(
            [*HOT[:2], node("Gather", ["i", "first"], ["c"], axis=1), node("OneHot", "cdv", ["z"], axis=1), HOT[-1]],
            [*HOT_CONSTANTS, whole("first", 0), whole("d", 3), whole("v", [-1, 4])],
            opset=18,
        ),
        lambda x: one_hot(as_integers(x[:, 0], 2)) * 5 - 1,
    ),
    "wrap": (
        model([node("Pad", "xp", mode="wrap")], [whole("p", [0, 1, 2, 0, 0, 2, 1, 3])], opset=19),
        lambda x: torch.from_numpy(np.pad(x.numpy(), [(0, 0), (1, 2), (2, 1), (0, 3)], mode="wrap")),
    ),
    "wrap of named axes": (
        model(
            [node("Pad", ["x", "p", "", "a"], mode="wrap")], [whole("p", [1, 8, 0, 2]), whole("a", [3, 2])], opset=19
        ),
        lambda x: F.pad(x, (1, 0, 8, 2), mode="circular"),
    ),
}


def runs_as(tmp_path, made, expected):
    """The mended file fits 8.2, has its opset, and gives on random images what PyTorch gives."""
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    result = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx", "8.2")
    assert result["fits"], result
    assert onnx.load(str(tmp_path / "out.onnx")).opset_import[0].version == 13
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=session.get_inputs()[0].shape).astype(np.float32)
        got = session.run(None, {"x": x})[0]
        np.testing.assert_allclose(got, expected(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_it_is_written_with_operators_of_8_2(tmp_path, name):
    runs_as(tmp_path, *CASES[name])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "sides"),
    [
        ((2, 2), 2, 0, 1, (8, 8)),  # beside each other
        ((3, 3), 1, 1, 1, (8, 6)),  # overlapping
        ((3, 2), 2, 1, 1, (9, 8)),  # room behind the last window
        ((2, 2), 1, 0, 2, (7, 5)),  # dilated
    ],
)
def test_a_fold_is_a_transposed_convolution(tmp_path, kernel, stride, padding, dilation, sides):
    how = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    columns = F.unfold(torch.zeros(1, 3, *sides), **how).shape
    pair = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [padding] * 4}
    made = model(
        [node("Col2Im", ["x", "sides", "block"], **pair)],
        [whole("sides", sides), whole("block", kernel)],
        opset=18,
        shape=tuple(columns),
    )
    runs_as(tmp_path, made, lambda x: F.fold(x, sides, **how))


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_of_opset_23(tmp_path, causal):
    """Its body holds a CastLike whose type only the body knows, and a Trilu where it is causal."""
    made = model([node("Attention", "xxx", is_causal=causal)], opset=23, ir=10, shape=(1, 2, 6, 4))
    runs_as(tmp_path, made, lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=bool(causal)))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("corners", [0, 1])
def test_a_grid_sample_is_gathered(tmp_path, mode, padding, corners):
    """The points are the image's own first values: half of them lie outside."""
    how = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    made = model(
        [
            node("Slice", ["x", "from", "to", "axis"], ["two"]),
            node("Transpose", ["two"], ["grid"], perm=[0, 2, 3, 1]),
            node("GridSample", ["x", "grid"], **how),
        ],
        [whole("from", [0]), whole("to", [2]), whole("axis", [1])],
        opset=16,
        shape=(1, 3, 7, 5),
    )
    runs_as(tmp_path, made, lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), mode, padding, bool(corners)))


def test_what_stays_of_a_grid_sample_is_named(tmp_path):
    made = model([node("GridSample", "xg", mode="bicubic")], [array("g", np.zeros((1, 4, 4, 2)))], opset=16)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    result = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx", "8.2")
    assert not result["fits"]
    assert any("n_GridSample" in line for line in result["fix"]["not_mended"])
