"""`check --fix`: what it mends, that the result is the same network, and what it leaves alone."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgedistill.cli.main import main
from edgedistill.config.target import load_target
from edgedistill.errors import PreflightError, RunFolderError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model import equivalence
from edgedistill.onnx_model import fix as fixing
from edgedistill.onnx_model.check import check, fix
from hand_made import array, model, node

AXES = array("a", [2, 3], np.int64)
WEIGHT = array("w", np.linspace(-1, 1, 6).reshape(2, 3, 1, 1))
BIG = np.iinfo(np.int64).max


def fixed(tmp_path, made, target="jetson-nano", tensorrt=None):
    """The JSON, and the file's nodes by type."""
    source = tmp_path / "m.onnx"
    source.write_bytes(made.SerializeToString())
    before = source.read_bytes()
    result = fix(source, target, tmp_path / "out.onnx", tensorrt)
    assert source.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".onnx") == ["m.onnx", "out.onnx"]
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]
    out = onnx.load(str(tmp_path / "out.onnx"))
    onnx.checker.check_model(out, full_check=True)
    return result, [n.op_type for n in out.graph.node], out


def as_torch(kind, x):
    f = torch.nn.functional
    return {
        "HardSwish": lambda: f.hardswish(x),
        "Mish": lambda: f.mish(x),
        "Gelu": lambda: f.gelu(x),
        "tanh": lambda: f.gelu(x, approximate="tanh"),
        "LayerNormalization": lambda: f.layer_norm(x, (8, 8), torch.full((8, 8), 2.0), torch.ones(8, 8)),
        "ReduceMean": lambda: x.mean((2, 3), keepdim=True),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("HardSwish", model([node("HardSwish", "x")], opset=14)),
        ("Mish", model([node("Mish", "x")], opset=18)),
        ("Gelu", model([node("Gelu", "x")], opset=20)),
        ("tanh", model([node("Gelu", "x", approximate="tanh")], opset=20)),
        (
            "LayerNormalization",
            model(
                [node("LayerNormalization", "xsb", axis=2)],
                [array("s", np.full((8, 8), 2.0)), array("b", np.ones((8, 8)))],
                opset=17,
            ),
        ),
        ("ReduceMean", model([node("ReduceMean", "xa")], [AXES], opset=18, ir=9)),
    ],
)
def test_a_newer_operator_becomes_older_ones_that_pytorch_agrees_with(tmp_path, kind, made):
    result, _, out = fixed(tmp_path, made)
    assert result["fits"], result["findings"]
    assert out.opset_import[0].version == 13
    assert out.ir_version == 7
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    expected = as_torch(kind, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-5, atol=1e-5)


def test_axes_stay_the_axes_that_they_were(tmp_path):
    """The silent fault: a parser that does not see them reduces over everything."""
    _, types, out = fixed(tmp_path, model([node("ReduceMax", "xa")], [AXES], opset=18, ir=8))
    assert types == ["ReduceMax"]
    assert list(out.graph.node[0].input) == ["x"]
    assert helper.get_attribute_value(out.graph.node[0].attribute[-1]) == [2, 3]
    assert not out.graph.initializer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter announces its end
def test_a_whole_net_of_opset_18_with_an_open_batch(tmp_path):
    torch.manual_seed(0)
    net = model_from_weights("mobilenetv3_small_050", "scratch", ["a", "b"], will_train=True).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.onnx.export(
        net,
        (image,),
        str(tmp_path / "m.onnx"),
        opset_version=18,
        dynamo=False,
        input_names=["image"],
        dynamic_axes={"image": {0: "n"}},
    )
    assert {f["rule"] for f in check(tmp_path / "m.onnx", "jetson-nano")["findings"]} >= {
        "opset",
        "operator",
        "reduce-axes",
        "dynamic-shape",
    }
    result = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert result["fits"]
    assert result["findings"] == []
    assert result["fix"]["not_mended"] == []
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = net(image).numpy()
    np.testing.assert_allclose(
        session.run(None, {"image": image.numpy()})[0], expected, atol=1e-4 * np.abs(expected).max()
    )


def test_identity_and_constant_nodes_become_initializers(tmp_path):
    made = model(
        [node("Identity", ["b0"], ["b"]), node("Constant", (), ["w"], value=WEIGHT), node("Conv", "xwb")],
        [array("b0", [1, 2])],
    )
    result, types, out = fixed(tmp_path, made)
    assert types == ["Conv"]
    assert len(out.graph.initializer) == 2
    assert result["fits"]


def test_weights_of_another_file_are_taken_in(tmp_path):
    made = model([node("Conv", "xw")], [WEIGHT])
    onnx.save(made, str(tmp_path / "big.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert not check(tmp_path / "big.onnx", "jetson-nano")["fits"]
    result = fix(tmp_path / "big.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert result["fits"]
    assert "weights of other files taken in" in result["fix"]["mended"]
    (tmp_path / "w.bin").unlink()
    got = numpy_helper.to_array(onnx.load(str(tmp_path / "out.onnx")).graph.initializer[0])
    assert (got == numpy_helper.to_array(WEIGHT)).all()


def test_int8_constants_become_float_with_the_same_bits_after_q_dq(tmp_path):
    kernel = np.arange(-3, 3, dtype=np.int8).reshape(2, 3, 1, 1) * 40
    many = [array("s", [0.03, 0.07]), array("z", [0, 0], np.int8)]
    bias = [array("b", [900, -1000], np.int32), array("t", 0.01), array("o", 0, np.int32)]
    made = model(
        [node("DequantizeLinear", "wsz", ["d"], axis=0), node("DequantizeLinear", "bto", ["f"]), node("Conv", "xdf")],
        [array("w", kernel, np.int8), *many, *bias],
    )
    result, types, out = fixed(tmp_path, made, "xavier-nx")
    assert result["fits"], result["findings"]
    assert types == ["QuantizeLinear", "DequantizeLinear", "Conv"]
    stored = {t.name: numpy_helper.to_array(t) for t in out.graph.initializer}
    np.testing.assert_array_equal(stored["d/float"], kernel * np.float32([0.03, 0.07]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(stored["f"], [9.0, -10.0], rtol=1e-6)
    assert result["fix"]["proof"]["max_relative_difference"] <= 1e-6


def test_q_dq_pairs_survive_the_folding(tmp_path):
    """A folder that computes through Q and DQ would hand back a float model."""
    scale, zero = [array("s", [0.03, 0.07]), array("p", 0.1)], [array("z", [0, 0], np.int8), array("o", 0, np.int8)]
    chain = [
        node("QuantizeLinear", "wsz", ["q"], axis=0),
        node("DequantizeLinear", "qsz", ["d"], axis=0),
        node("QuantizeLinear", "xpo", ["xq"]),
        node("DequantizeLinear", ["xq", "p", "o"], ["xd"]),
        node("Conv", ["xd", "d"]),
    ]
    result, types, _ = fixed(tmp_path, model(chain, [WEIGHT, *scale, *zero], domain="com.microsoft"), "xavier-nx")
    assert sorted(types) == sorted(n.op_type for n in chain)
    assert result["fix"]["mended"] == ["1 unused operator domains removed"]


def test_functions_slices_and_ir(tmp_path):
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 13)]
    )
    bounds = [array("b", [1], np.int64), array("e", [BIG], np.int64), array("k", [2], np.int64)]
    made = model(
        [helper.make_node("Twice", ["x"], ["t"], domain="own"), node("Slice", "tbek")],
        bounds,
        domain="own",
        functions=[body],
        ir=9,
    )
    result, _, _ = fixed(tmp_path, made)
    assert result["fits"]
    assert result["findings"] == []
    assert result["fix"]["mended"] == [
        "1 functions inlined",
        "1 Slice bounds brought into INT32",
        "1 unused operator domains removed",
        "IR 9 -> 7",
    ]


def test_bounds_of_slices_alone_are_brought_into_32_bits():
    """To the end, to the beginning backwards, and a bound that is added to something besides."""
    bounds = {"one": [1], "end": [BIG], "last": [-1], "begin": [-BIG], "axis": [2], "back": [-1], "both": [BIG]}
    bounds |= {"ones": [1, 1], "ends": [BIG, 4], "axes": [2, 3], "unread": [BIG]}
    made = model(
        [
            node("Slice", ["x", "one", "end", "axis"], ["t"]),
            node("Slice", ["t", "last", "begin", "axis", "back"], ["u"]),
            node("Slice", ["u", "ones", "ends", "axes"], ["w"]),
            node("Slice", ["w", "one", "both", "axis"], ["v"]),
            node("Cast", ["both"], ["f"], to=TensorProto.FLOAT),
            node("Div", "vf"),
        ],
        [array(name, values, np.int64) for name, values in bounds.items()],
    )
    slim, said = fixing._slices(made, load_target("jetson-nano"))
    after = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in slim.graph.initializer}
    assert after == {**bounds, "end": [2**31 - 1], "begin": [-(2**31)], "ends": [2**31 - 1, 4]}
    assert said == "3 Slice bounds brought into INT32"
    assert fixing._slices(slim, load_target("jetson-nano")) == (slim, "")


def test_nodes_are_put_in_order(tmp_path):
    """Sizes that a step asks for follow from the node before: an antialiased Resize becomes matrices."""
    made = model(
        [
            node("Resize", ["r", "", "", "k"], antialias=1, mode="linear"),
            node("Relu", "x", ["r"]),
        ],
        [array("k", [1, 3, 4, 4], np.int64)],
        opset=18,
        ir=8,
    )
    result, kinds, _ = fixed(tmp_path, made)
    assert result["fits"]
    assert kinds == ["Relu", "MatMul", "MatMul"]
    assert "nodes put in the order in which they are computed" in result["fix"]["mended"]


def test_what_cannot_be_mended_is_said_and_exit_is_one(tmp_path, capsys):
    made = model([node("Hardmax", "x", ["m"]), node("HardSwish", ["m"])], opset=14, ir=8)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    words = ["check", str(tmp_path / "m.onnx"), "--fix", str(tmp_path / "out.onnx")]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "mended: opset 14 -> 13" in said
    assert "error: n_Hardmax_m: TensorRT 8.2 has no importer for Hardmax" in said
    assert "does not fit jetson-nano" in said
    assert main([*words, "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["fix"]) == {"file", "mended", "not_mended", "proof"}


def test_an_opset_that_cannot_be_said_before_is_left(tmp_path):
    made = model([node("GridSample", "xg", mode="bicubic")], [array("g", np.zeros((1, 2, 2, 2)))], opset=16, ir=8)
    result, types, out = fixed(tmp_path, made)
    assert not result["fits"]
    assert result["fix"]["not_mended"] == ["opset: n_GridSample: at opset 13, there is no GridSample"]
    assert (types, out.opset_import[0].version) == (["GridSample"], 16)


def refused(tmp_path, made, match, out="out.onnx"):
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(PreflightError, match=match):
        fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / out)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_nothing_is_written_when_nothing_can_be_proved(tmp_path):
    refused(tmp_path, model([node("Relu", "x")], shape=(1, 3, "h", "w")), "fix it with --shape x=N,N,N,N")
    refused(tmp_path, model([node("Odd", "x", domain="own")], domain="own"), "nothing can be proved")
    refused(tmp_path, model([node("Relu", "x")]), "is the original", out="m.onnx")
    refused(tmp_path, model([node("Log", "x")]), "NaN or infinity")
    refused(tmp_path, model([node("Relu", "x")]), "is a folder", out=".")
    with pytest.raises(PreflightError, match="no such file"):
        fix(tmp_path / "none.onnx", "jetson-nano", tmp_path / "out.onnx")


def test_a_disk_that_refuses_the_last_rename_leaves_the_file_of_before(tmp_path, monkeypatch):
    fixed(tmp_path, model([node("Relu", "x")]))
    before, replace = (tmp_path / "out.onnx").read_bytes(), os.replace

    def broken(source, to):
        if to.suffix == ".onnx":
            raise OSError(5, "Input/output error")
        replace(source, to)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(RunFolderError, match=r"cannot write .*out.onnx: Input/output error"):
        fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "out.onnx"]


def test_a_mend_that_changes_the_network_is_thrown_away(tmp_path, monkeypatch):
    def wrong(made, target):
        made.graph.node[0].op_type = "Sigmoid"
        return made, "made it worse"

    monkeypatch.setattr(fixing, "STEPS", (wrong,))
    refused(tmp_path, model([node("Tanh", "x")]), r"differs from the original by .* limit 1e-04; not written")


def test_inputs_of_every_kind_are_drawn_for_the_proof(tmp_path):
    for kind in (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL):
        path = tmp_path / f"{kind}.onnx"
        path.write_bytes(model([node("Cast", "x", to=TensorProto.FLOAT)], kind=kind).SerializeToString())
        assert equivalence.prove_equal(path, path)["max_relative_difference"] == 0
