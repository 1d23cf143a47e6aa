"""Older forms of newer operators: the same numbers in ONNX Runtime, and a refusal where there is none."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.check import check, fix
from edgedistill.onnx_model.downgrade_opset import lower
from hand_made import array, model, node

I64 = np.int64


def run(content, feed):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def lowered(tmp_path, made, target="jetson-nano", tensorrt="8.2"):
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    result = fix(tmp_path / "m.onnx", target, tmp_path / "out.onnx", tensorrt)
    return result, onnx.load(str(tmp_path / "out.onnx"))


SAME = {
    "Reshape": model([node("Reshape", "xs", allowzero=1)], [array("s", [1, 3, 64], I64)], opset=14),
    "CastLike": model([node("Cast", "x", ["h"], to=TensorProto.INT32), node("CastLike", "hx")], opset=15),
    "Shape": model([node("Shape", "x", ["s"], start=1, end=3), node("Cast", "s", to=TensorProto.FLOAT)], opset=15),
    "Pad axes": model([node("Pad", ["x", "p", "", "a"])], [array("p", [1, 2], I64), array("a", [3], I64)], opset=18),
    "Split": model([node("Split", "x", ["y", "z"], axis=3, num_outputs=2)], opset=18, shape=(1, 3, 8, 7)),
    "Split by sizes": model(
        [node("Split", "xs", ["y", "z"], axis=3)], [array("s", [2, 6], I64)], opset=18, shape=(1, 3, 8, 8)
    ),
    "Split of a part": model(
        [
            node("Split", "x", ["l", "r"], axis=3, num_outputs=2),
            node("Concat", "rl", ["c"], axis=3),
            node("Split", "c", ["y", "z"], axis=3, num_outputs=2),
        ],
        opset=18,
        shape=(1, 3, 8, 6),
    ),
    "Resize axes": model([node("Resize", ["x", "", "s"], axes=[2, 3], mode="linear")], [array("s", [2, 2])], opset=18),
    "nearest axes": model(
        [
            node(
                "Resize",
                ["x", "", "", "s"],
                axes=[3, 2],
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        ],
        [array("s", [12, 16], I64)],
        opset=18,
    ),
    "no axes": model([node("ReduceMean", "x", noop_with_empty_axes=1, keepdims=1)], opset=18),
    "RMSNormalization": model([node("RMSNormalization", "xw")], [array("w", np.full(8, 2.0))], opset=23, ir=11),
    "GroupNormalization": model(
        [node("GroupNormalization", "xsb", num_groups=3)],
        [array("s", [1, 2, 3]), array("b", [0, 1, 2])],
        opset=21,
        ir=10,
    ),
    "Swish": model([node("Swish", "x", alpha=1.5)], opset=24, ir=11),
    "HardSwish": model([node("HardSwish", "x")], opset=22, ir=10),
    "AveragePool": model([node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], opset=19),
    "GridSample": model(
        [node("GridSample", "xg", mode="linear")], [array("g", np.linspace(-1, 1, 8).reshape(1, 2, 2, 2))], opset=20
    ),
    "antialias": model(
        [node("Resize", ["x", "", "", "s"], antialias=1, mode="cubic")], [array("s", [1, 3, 4, 5], I64)], opset=18
    ),
    "half_pixel_symmetric": model(
        [node("Resize", ["x", "", "s"], mode="linear", coordinate_transformation_mode="half_pixel_symmetric")],
        [array("s", [1, 1, 1.5, 2])],
        opset=19,
    ),
    "cubic": model([node("Resize", ["x", "", "s"], mode="cubic")], [array("s", [1, 1, 2, 2])]),
}
RANKS = {"Reshape": 3, "Shape": 1}  # of the output, else 4
AT_8_5 = {"GridSample"}  # 8.2 has no importer


@pytest.mark.parametrize("name", SAME)
def test_the_older_form_computes_the_same(tmp_path, name):
    made = SAME[name]
    made.graph.ClearField("output")
    sizes = "abcd"[: RANKS.get(name, 4)]
    outputs = {"y": sizes, "z": "efgh"} if name.startswith("Split") else {"y": sizes}
    made.graph.output.extend(
        helper.make_tensor_value_info(one, TensorProto.FLOAT, list(dims)) for one, dims in outputs.items()
    )
    tensorrt = "8.5" if name in AT_8_5 else "8.2"
    result, out = lowered(tmp_path, made, "xavier-nx", tensorrt)
    assert result["fits"], result
    assert out.opset_import[0].version <= (17 if name in AT_8_5 else 13)
    onnx.checker.check_model(out, full_check=True)
    shape = [dim.dim_value for dim in made.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    before, after = (run(one.SerializeToString(), {"x": x}) for one in (made, out))
    for expected, got in zip(before, after, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (model([node("Pad", "xp", mode="wrap")], [array("p", [0, 0, -1, 1] * 2, I64)], opset=19), "no mode 'wrap'"),
        (
            model(
                [node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1)],
                opset=19,
            ),
            "ceil_mode gives one more",
        ),
        (
            model(
                [node("Resize", ["x", "", "s"], mode="nearest", coordinate_transformation_mode="half_pixel_symmetric")],
                [array("s", [1, 1, 2, 2])],
                opset=19,
            ),
            "half_pixel_symmetric",
        ),
        (
            model([node("RoiAlign", "xrb")], [array("r", [[0, 0, 4, 4]]), array("b", [0], I64)], opset=16),
            "coordinate_transformation_mode 'half_pixel'",
        ),
        (
            model(
                [
                    node("Shape", "x", ["s"]),
                    node("Mul", "so", ["c"]),
                    node("Slice", ["s", "z", "o4", "z"], ["d"]),
                    node("Reshape", "xd", allowzero=1),
                ],
                [array("o", [1], I64), array("z", [0], I64), array("o4", [4], I64)],
                opset=14,
                shape=("n", 3, 8, 8),
            ),
            None,
        ),
    ],
)
def test_what_has_no_older_form_is_named_or_made_constant(tmp_path, made, why):
    result, out = lowered(tmp_path, made)
    if why is None:  # with a fixed batch, folding makes the shape a constant
        assert result["fits"], result
        return
    assert not result["fits"]
    assert why in result["fix"]["not_mended"][0]
    assert out.opset_import[0].version > 13


def test_the_oldest_opset_that_is_possible_is_taken(tmp_path):
    """One node that needs 16 must not keep the others at 20."""
    made = model(
        [node("GridSample", "xg", ["s"], mode="cubic"), node("Gelu", "s")],
        [array("g", np.zeros((1, 2, 2, 2)))],
        opset=20,
    )
    result, out = lowered(tmp_path, made)
    assert out.opset_import[0].version == 16
    assert "Gelu" not in [n.op_type for n in out.graph.node]
    assert result["fix"]["not_mended"] == ["opset: n_GridSample_s: at opset 13, there is no GridSample"]


def boxes(**how):
    """Two of the image, as 2 by 3 pixels each."""
    stored = [array("r", [[0, 0, 5, 4], [1, 2, 7, 7.5]]), array("b", [0, 0], I64)]
    return model([node("RoiAlign", "xrb", output_height=2, output_width=3, **how)], stored, opset=16)


def scattered(reduction):
    """Into the first row of x."""
    stored = [array("i", [[[[0] * 8]] * 3], I64), array("u", np.full((1, 3, 1, 8), 0.2))]
    return model([node("ScatterElements", "xiu", axis=2, reduction=reduction)], stored, opset=18)


def ending(start, **end):
    """Some sizes of x as numbers."""
    return model([node("Shape", "x", ["s"], start=start, **end), node("Cast", "s", to=TensorProto.FLOAT)], opset=15)


# made, older opset, what stands in its way
ONE_BY_ONE = {
    "boxes by outer edges": (boxes(coordinate_transformation_mode="output_half_pixel"), 13, None),
    "boxes by centres": (boxes(coordinate_transformation_mode="half_pixel"), 13, "no coordinate_transformation_mode"),
    "a window without gaps": (model([node("MaxPool", "x", kernel_shape=[3, 2], dilations=[1, 1])], opset=10), 9, None),
    "a window with gaps": (
        model([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[1, 2])], opset=10),
        9,
        "no 'dilations'",
    ),
    "axes of a sum": (model([node("ReduceSum", "xa", keepdims=0)], [array("a", [-1, 1], I64)]), 11, None),
    "axes of a mean": (model([node("ReduceMean", "xa")], [array("a", [3], I64)], opset=18), 13, None),
    "axes that are computed": (
        model([node("Cast", "x", ["a"], to=TensorProto.INT64), node("ReduceMean", "xa")], opset=18),
        13,
        "ReduceMean wants constant axes",
    ),
    "parts of an unknown length": (
        model([node("Split", "x", "yz", axis=3, num_outputs=2)], opset=18, shape=(1, 3, 8, "w")),
        13,
        "the length of its axis is not known",
    ),
    "parts of no such axis": (
        model([node("Split", "x", "yz", axis=4, num_outputs=2)], opset=18),
        13,
        "the length of its axis is not known",
    ),
    "the last of three parts": (model([node("Split", "x", "aby", axis=-1, num_outputs=3)], opset=18), 13, None),
    "points in a volume": (
        model([node("GridSample", "xg")], [array("g", np.zeros((1, 1, 1, 1, 3)))], opset=20, shape=(1, 2, 4, 4, 4)),
        16,
        "GridSample takes images only",
    ),
    "the largest of what is scattered": (
        scattered("max"),
        16,
        "no reduction 'max'",
    ),
    "the last of what is scattered": (scattered("none"), 13, None),
    "the sum of what is scattered": (scattered("add"), 13, "no 'reduction'"),
    "the last sizes": (ending(-2), 13, None),
    "all sizes but the last": (ending(0, end=-1), 13, None),
    "one size": (ending(2, end=3), 13, None),
    # what came with 18 stays as it is there
    "pads of an axis at 18": (
        model([node("Pad", ["x", "p", "", "a"])], [array("p", [1, 2], I64), array("a", [3], I64)], opset=19),
        18,
        None,
    ),
    "axes of a mean at 18": (model([node("ReduceMean", "xa")], [array("a", [3], I64)], opset=20), 18, None),
    "parts at 18": (model([node("Split", "x", "yz", axis=3, num_outputs=2)], opset=20), 18, None),
    "axes of a Resize at 18": (
        model([node("Resize", ["x", "", "s"], axes=[3], mode="linear")], [array("s", [2])], opset=19),
        18,
        None,
    ),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_operator_at_an_older_opset(name):
    made, opset, why = ONE_BY_ONE[name]
    made.graph.output[0].type.tensor_type.ClearField("shape")
    made = onnx.shape_inference.infer_shapes(made)
    older, stuck = lower(made, opset)
    if why:
        assert len(stuck) == 1
        assert why in stuck[0]
        return
    assert (stuck, older.opset_import[0].version) == ([], opset)
    x = np.random.default_rng(3).normal(size=(1, 3, 8, 8)).astype(np.float32)
    before, after = (run(one.SerializeToString(), {"x": x}) for one in (made, older))
    assert before[0].shape == after[0].shape
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "opset"), [("LayerNormalization", 17), ("RMSNormalization", 23)])
def test_axes_from_the_front_need_the_rank(kind, opset):
    """Nobody knows which axes are behind it, where the sizes of the input are not known."""
    made = model([node(kind, "xs", axis=1)], [array("s", [1.0])], opset=opset, ir=11, shape=None)
    assert lower(made, 16)[1] == [f"n_{kind}: at opset 16, there is no {kind}"]


def test_a_mean_that_is_asked_for_besides_has_no_older_form():
    made = model([node("LayerNormalization", "xs", "ym"), node("Add", "ym", "z")], [array("s", np.ones(8))], opset=17)
    assert lower(made, 16)[1] == ["n_LayerNormalization: at opset 16, there is no LayerNormalization"]


def test_half_precision_stays_half_precision(tmp_path):
    made = model(
        [node("LayerNormalization", "xs", axis=-1)],
        [array("s", np.full(8, 2), np.float16)],
        opset=17,
        kind=TensorProto.FLOAT16,
        output=TensorProto.FLOAT16,
    )
    result, out = lowered(tmp_path, made)
    assert result["fits"], result
    kinds = {tensor.name: tensor.data_type for tensor in out.graph.initializer if tensor.data_type != TensorProto.INT64}
    assert kinds.pop("s") == TensorProto.FLOAT16
    assert list(kinds.values()) == [TensorProto.FLOAT]  # epsilon, which the standard adds in FLOAT
    assert "float32 input with a Cast: x" in result["fix"]["mended"]


HALF = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("kind", "inputs", "stash_type", "opset"),
    [
        ("LayerNormalization", "xsb", 1, 17),
        ("LayerNormalization", "xs", None, 17),
        ("RMSNormalization", "xs", None, 23),
        ("GroupNormalization", "xgh", None, 21),
    ],
)
def test_squares_above_what_a_half_holds_are_computed_in_float(tmp_path, kind, inputs, stash_type, opset):
    """With the types as written: ONNX Runtime's CPU kernels compute halves in float32 and do not see an overflow."""
    attributes = {} if stash_type is None else {"stash_type": stash_type}
    attributes |= {"num_groups": 3} if kind == "GroupNormalization" else {"epsilon": 1e-6}
    weights = [array("s", np.full(8, 2), np.float16), array("b", np.ones(8), np.float16)]
    weights += [array("g", np.full(3, 2), np.float16), array("h", np.ones(3), np.float16)]
    weights = [one for one in weights if one.name in inputs]
    made = model([node(kind, inputs, **attributes)], weights, opset=opset, ir=11, kind=HALF, output=HALF)
    result, out = lowered(tmp_path, made)
    assert result["fits"], result
    x = np.random.default_rng(0).uniform(0, 700, (1, 3, 8, 8)).astype(np.float16).astype(np.float32)
    squares = x if kind == "RMSNormalization" else x - x.mean(-1 if kind[0] == "L" else (2, 3), keepdims=True)
    mean = (squares**2).mean((2, 3) if kind[0] == "G" else -1, keepdims=True)
    expected = 2 * squares / np.sqrt(mean + 1e-6) + (len(inputs) > 2)
    (got,) = ReferenceEvaluator(out).run(None, {"x": x})
    np.testing.assert_allclose(got.astype(np.float32), expected, rtol=3e-3, atol=3e-3)


def test_open_height_and_width_are_fixed_when_they_are_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(model([node("Relu", "x")], shape=("n", 3, "h", "w")).SerializeToString())
    findings = check(tmp_path / "m.onnx", "jetson-nano")["findings"]
    assert "--shape x=N,3,N,N" in findings[0]["mend"]
    with pytest.raises(PreflightError, match="--shape x="):
        fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
    result = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx", None, {"x": (1, 3, 320, 320)})
    assert result["fits"]
    wrong = {"no such input": ("z", (1, 3, 8, 8)), "fixes 3": ("x", (1, 4, 8, 8)), "4 sizes": ("x", (1, 3))}
    for why, (name, shape) in wrong.items():
        with pytest.raises(PreflightError, match=why):
            fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx", None, {name: shape})


def test_a_length_is_not_taken_for_a_batch(tmp_path):
    (tmp_path / "m.onnx").write_bytes(model([node("Relu", "x")], shape=("length", 1, 16)).SerializeToString())
    with pytest.raises(PreflightError, match="--shape x="):
        fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
    (tmp_path / "m.onnx").write_bytes(model([node("Relu", "x")], shape=("batch_size", 16)).SerializeToString())
    assert fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")["fits"]


def test_a_file_of_the_first_ir_is_folded(tmp_path):
    made = model([node("Identity", "w", ["v"]), node("Conv", "xv")], [array("w", np.ones((2, 3, 1, 1)))], ir=3, opset=8)
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (2, 3, 1, 1)))
    result, out = lowered(tmp_path, made)
    assert result["fix"]["not_mended"] == []
    assert [n.op_type for n in out.graph.node] == ["Conv"]


@pytest.mark.parametrize(("kind", "made_kind"), [("Identity", "strings"), ("SequenceConstruct", "sequence")])
def test_what_is_no_tensor_of_numbers_is_one_line(tmp_path, kind, made_kind):
    element = TensorProto.STRING if kind == "Identity" else TensorProto.FLOAT
    output = (
        helper.make_tensor_value_info("y", element, (1,))
        if kind == "Identity"
        else helper.make_tensor_sequence_value_info("y", element, None)
    )
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["y"])], "g", [helper.make_tensor_value_info("x", element, (1,))], [output]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(PreflightError, match=made_kind):
        fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
