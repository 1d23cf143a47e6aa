"""FP16 typed into the file: against PyTorch's own half precision, on nets that overflow, and with the real builder."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgedistill.config.deployment import TargetConfig
from edgedistill.config.target import load_target, wanted_target
from edgedistill.errors import QuantizeError, RecipeError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model.compile import compiler_here
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization import typed as typing_
from edgedistill.quantization.files import logits_of_file, precision_files
from edgedistill.quantization.fp16 import fp16_from_onnx, logits_in_fp16
from edgedistill.quantization.half import SMALLEST, float32_layers, half_model, types_of
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.quantization.typed import (
    FirstOf,
    Proof,
    line_from_typed,
    overflowing_layers,
    typed_fp16,
    typed_int8,
)
from edgedistill.records.layout import FP16, INT8, TYPED_INT8
from edgedistill.records.quantization import TypedFile
from optional_tools import lacking

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
IMAGES = 6


def random_images():
    return np.random.default_rng(0).normal(size=(IMAGES, 3, 64, 64)).astype(np.float32)


@pytest.fixture
def images():
    return random_images()


def chain(path, factors, nodes=(), opset=13):
    """1x1 Convs of three channels that multiply by `factors`, then `nodes` on `x`, or a mean and a Flatten."""
    made, tensors, name = [], [], "image"
    for place, factor in enumerate(factors):
        weight = (np.eye(3, dtype=np.float32) * factor).reshape(3, 3, 1, 1)
        tensors.append(numpy_helper.from_array(weight, f"w{place}"))
        made.append(helper.make_node("Conv", [name, f"w{place}"], [f"conv{place}"], name=f"conv{place}"))
        name = f"conv{place}"
    made += nodes or [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def small(rng, count=4):
    """(count, 3, 8, 8) images of which one channel is clearly the brightest."""
    found = rng.uniform(0.5, 1.0, size=(count, 3, 8, 8)).astype(np.float32)
    found[np.arange(count), np.arange(count) % 3] *= 2
    return found


def ranges_of(path, images):
    return ranges_from_model(path, lambda i: images[i : i + 1], len(images), "minmax")


@pytest.fixture(scope="module", params=["mobilenetv3_small_050", "resnet10t", "squeezenet1_1"])
def exported(request, tmp_path_factory):
    """(network, its ONNX file)."""
    torch.manual_seed(0)
    net = model_from_weights(request.param, "scratch", list("abcdefgh"), will_train=True).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    path = tmp_path_factory.mktemp(request.param) / "m.onnx"
    onnx_from_model(net, random_images()[:2], path, {"kept": "yes"})
    return net, path


@pytest.mark.slow
def test_the_file_computes_what_pytorchs_half_precision_does(exported, tmp_path, images):
    """Another implementation of the same rounding: both lie as far from float, and close to each other."""
    net, path = exported
    fp16_from_onnx(path, tmp_path / "h.onnx")
    model = onnx.load(tmp_path / "h.onnx")
    assert float32_layers(model) == []
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [1, 1]
    assert {entry.key: entry.value for entry in model.metadata_props}["kept"] == "yes"
    assert (tmp_path / "h.onnx").stat().st_size < 0.55 * path.stat().st_size
    found = logits_in_fp16(tmp_path / "h.onnx", images)
    with OnnxSession(path) as session:
        reference = session.logits(images)
    with torch.no_grad():
        half = copy.deepcopy(net).half()(torch.from_numpy(images).half()).float().numpy()
    largest = np.abs(reference).max()
    off, off_half = np.abs(found - reference).max() / largest, np.abs(half - reference).max() / largest
    assert 1e-5 < off < 1e-2
    assert off < 4 * off_half
    assert np.abs(found - half).max() / largest < 4 * off_half


def test_a_value_beyond_fp16_is_infinite_where_onnxruntime_itself_hides_it(tmp_path, rng):
    path = chain(tmp_path / "m.onnx", (1e5, 1e-5))
    fp16_from_onnx(chain(path, (5e4, 1e-4)), tmp_path / "h.onnx")
    images = small(rng) * 3
    with OnnxSession(tmp_path / "h.onnx") as session:
        assert np.isfinite(session.logits(images)).all()
    assert not np.isfinite(logits_in_fp16(tmp_path / "h.onnx", images)).all()


def test_between_two_layers_that_stay_float32_nothing_is_cast(tmp_path, rng):
    """The value of 1e5 goes from one to the other as it is."""
    path, images = chain(tmp_path / "m.onnx", (5e4, 1e-4, 1.0)), small(rng) * 3
    fp16_from_onnx(path, tmp_path / "h.onnx", {"conv0", "conv1"})
    model = onnx.load(tmp_path / "h.onnx")
    assert float32_layers(model) == ["conv0", "conv1"]
    assert [node.op_type for node in model.graph.node] == [
        *("Conv", "Conv", "Cast", "Conv", "GlobalAveragePool", "Flatten", "Cast")
    ]
    with OnnxSession(path) as session:
        reference = session.logits(images)
    assert logits_in_fp16(tmp_path / "h.onnx", images) == pytest.approx(reference, rel=2e-3)


def test_constants_that_fp16_does_not_hold_stay_float32(tmp_path):
    """A weight above 65504 and an epsilon below 6e-8; a weight that both types need is there twice."""
    lone = [
        helper.make_node("Add", ["conv0", "epsilon"], ["x"]),
        helper.make_node("Mul", ["x", "scale"], ["y"]),
        helper.make_node("Mul", ["y", "scale"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    path = chain(tmp_path / "m.onnx", (1e5,))
    model = onnx.load(path)
    del model.graph.node[1:]
    model.graph.node.extend(lone)
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("epsilon", 1e-12), ("scale", 0.1))]
    )
    made = half_model(model, {"y"})
    assert float32_layers(made) == ["conv0", "x", "y"]
    types = [types_of(made)[name] for name in ("w0", "epsilon", "scale")]
    assert types == [TensorProto.FLOAT] * 3
    assert sorted(t.data_type for t in made.graph.initializer if t.name.startswith("scale")) == [1, 10]


def test_a_scale_below_fp16s_steps_keeps_its_weights(tmp_path, rng):
    """Channels of 1e-5 and of nothing: scales of 8e-8 and 1e-10, where FP16 has steps of 6e-8."""
    path, images = tmp_path / "m.onnx", small(rng)
    model = onnx.load(chain(path, (1.0,)))
    weight = rng.uniform(-1, 1, size=(3, 3, 1, 1)).astype(np.float32) * np.float32([1, 1e-5, 0]).reshape(3, 1, 1, 1)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w0"))
    onnx.save(model, path)
    for int8_weights in (True, False):
        qdq_from_onnx(path, ranges_of(path, images).kept, tmp_path / "q.onnx", int8_weights=int8_weights)
        fp16_from_onnx(tmp_path / "q.onnx", tmp_path / "qh.onnx")
        made = onnx.load(tmp_path / "qh.onnx")
        scales = [numpy_helper.to_array(t) for t in made.graph.initializer if t.name.endswith("_scale")]
        assert all(scale.dtype == np.float16 and (scale >= SMALLEST).all() for scale in scales)
        assert float32_layers(made) == []
        with OnnxSession(tmp_path / "q.onnx") as session:
            reference = session.logits(images)
        error = np.abs(logits_in_fp16(tmp_path / "qh.onnx", images) - reference)
        assert (error.max(axis=0) <= np.array([0.02, 5e-7, 0])).all(), "the small one, too"


def test_what_fp16_cannot_hold_stays_float32_and_the_proof_says_how_close_it_is(tmp_path, rng):
    path, images = chain(tmp_path / "m.onnx", (5e4, 1e-4)), small(rng) * 3
    made = typed_fp16(Proof(path, images), ranges_of(path, images).largest, tmp_path / "h.onnx")
    assert (made.passed, made.why, made.images, made.other_class) == (True, "", len(images), 0)
    assert made.float32_layers == ["conv0", "conv1"]
    assert 0 < made.max_relative_logit_difference < made.limit == 1e-2
    assert made.file_bytes == (tmp_path / "h.onnx").stat().st_size
    assert line_from_typed(made).endswith("on 4 images, 2 layers stay float32")


def test_a_sum_beyond_fp16_stays_float32(tmp_path, rng):
    """64 values of up to 3000 sum up to more than 65504 although each is small."""
    path, images = chain(tmp_path / "m.onnx", (1500.0,)), small(rng)
    made = typed_fp16(Proof(path, images), ranges_of(path, images).largest, tmp_path / "h.onnx")
    assert made.float32_layers == ["mean"]
    assert made.passed


@pytest.mark.parametrize("quantized", [False, True])
def test_a_layer_that_makes_or_reads_more_than_half_of_what_fp16_holds_stays_float32(tmp_path, rng, quantized):
    """65504 halved is 32752; behind the mean of 64 pixels, 65504 divided by 64 is 1023.5."""
    path = chain(tmp_path / "m.onnx", (1.0, 1.0, 1.0))
    largest = {"image": 1.0, "conv0": 32753.0, "conv1": 32751.0, "conv2": 1023.0, "mean": 1023.0, "logits": 1023.0}
    if quantized:
        qdq_from_onnx(path, largest, tmp_path / "q.onnx")
        path = tmp_path / "q.onnx"
    kept = {"conv0", "conv0_q", "conv0_dq", "conv1"} if quantized else {"conv0", "conv1"}
    assert overflowing_layers(path, largest) == kept
    assert overflowing_layers(path, {**largest, "conv2": 1024.0}) == kept | {"mean"}
    assert overflowing_layers(path, {**largest, "conv0": 32751.0}) == set()


@pytest.mark.parametrize(
    ("typed", "int8"),
    [([], INT8), ([("int8", False), ("fp16", True)], INT8), ([("fp16", False), ("int8", True)], TYPED_INT8)],
)
def test_a_typed_int8_file_serves_where_its_proof_held(typed, int8):
    rows = [TypedFile(precision=precision, passed=passed, why="", limit=0.01) for precision, passed in typed]
    found = precision_files(Path("s.onnx"), Path("quantize"), rows)
    assert found == {"fp32": Path("s.onnx"), "fp16": Path("quantize") / FP16, "int8": Path("quantize") / int8}


@pytest.mark.parametrize(("name", "rounds"), [(FP16, True), (TYPED_INT8, True), (INT8, False), ("student.onnx", False)])
def test_files_with_typed_tensors_are_run_with_their_roundings(tmp_path, rng, name, rounds):
    fp16_from_onnx(chain(tmp_path / "m.onnx", (5e4, 1e-4)), tmp_path / name)
    assert np.isfinite(logits_of_file(tmp_path / name, small(rng) * 3)).all() != rounds


def test_the_delicate_layers_are_a_second_attempt(tmp_path, rng):
    """Variance of values near 300: their squares are 9e4, and calibration is told of smaller ones."""
    nodes = [
        helper.make_node("Pow", ["conv0", "two"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean"], axes=[2, 3]),
        helper.make_node("Sqrt", ["mean"], ["root"]),
        helper.make_node("Flatten", ["root"], ["logits"]),
    ]
    path, images = tmp_path / "m.onnx", small(rng)
    model = onnx.load(chain(path, (300.0,)))
    del model.graph.node[1:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    onnx.save(model, path)
    proof = Proof(path, images)
    made = typed_fp16(proof, {}, tmp_path / "h.onnx")
    assert made.passed, made.why
    assert made.float32_layers == ["square", "mean", "root"]


def test_a_file_that_fails_its_proof_says_why(tmp_path, rng):
    path, images = chain(tmp_path / "m.onnx", (5e4, 1e-4)), small(rng) * 3
    proof = Proof(path, images)
    made = typed_fp16(proof, {}, tmp_path / "h.onnx")  # calibration saw nothing of it, and no layer is delicate
    assert (made.passed, made.why) == (False, "a logit is NaN or infinite in FP16")
    assert made.max_relative_logit_difference is None
    assert line_from_typed(made).startswith(
        "the FP16 file for a TensorRT without precision flags is not shipped, FP16 is"
    )
    proof.logits = proof.logits[:, ::-1].copy()
    made = typed_fp16(proof, ranges_of(path, images).largest, tmp_path / "h.onnx")
    assert "logits differ from float by" in made.why


def test_another_class_fails_unless_the_two_logits_are_one_number_in_fp16(tmp_path, rng):
    path, images = chain(tmp_path / "m.onnx", (1.0,)), small(rng, 3)
    proof = Proof(path, images)
    proof.logits = np.float32([[10, 9.995, 0], [10, 9.9, 0], [1, 0, 0]])
    swapped = proof.logits[:, [1, 0, 2]]
    found = proof.difference(swapped)
    assert (found.ties, found.other_class) == (1, 2)
    assert found.agreement_fraction == 0
    assert "2 images get another class than with float" in typing_._beyond(found, 1.0, 0)


def test_the_int8_file_answers_to_the_limits_of_the_file_that_it_was_made_from(tmp_path, rng, monkeypatch):
    """Ranges a tenth too small clip; more clipping, another class and a drop beyond the gate fail."""
    path, images = chain(tmp_path / "m.onnx", (1.0,)), small(rng, 8)
    found = ranges_of(path, images)
    qdq_from_onnx(path, {name: 0.9 * value for name, value in found.kept.items()}, tmp_path / "q.onnx")
    proof = Proof(path, images, np.arange(8) % 3)
    with OnnxSession(tmp_path / "q.onnx") as session:
        source = session.logits(images)
    apart = np.abs(source - proof.logits).max() / proof.logits.max()

    def made(outputs, **gate):
        monkeypatch.setattr(typing_, "logits_in_fp16", lambda file, images: outputs)
        return typed_int8(proof, tmp_path / "q.onnx", found.largest, tmp_path / "qh.onnx", **gate)

    same = made(source)
    assert (same.passed, same.why) == (True, "")
    assert (same.source_relative_logit_difference, same.source_other_class) == (pytest.approx(apart), 0)
    assert same.limit == pytest.approx(max(1e-2, 1.25 * apart))
    assert f"({apart:.2g} with FP32 around it)" in line_from_typed(same)

    assert "logits differ from float by" in made(proof.logits + 1.3 * (source - proof.logits)).why
    close = source.copy()
    close[0, 1] = close[0].max() * 1.0001  # of another class by less than any limit of the difference
    monkeypatch.setattr(typing_, "INT8_FACTOR", 1e3)
    assert made(close).why == "1 image gets another class than with float, at most 0 may"
    monkeypatch.setattr(typing_, "INT8_CLASSES", 0.5)
    assert made(close).passed
    assert made(close, max_drop_points=12.6).passed
    assert made(close, max_drop_points=12.4).why == "top-1 falls by 12.5 points on validation images, limit 12.4"


@pytest.mark.slow
def test_int8_with_fp16_around_it(exported, tmp_path, images):
    """It has the rules of TensorRT 11 on its side, and lies near the INT8 file that it was made from."""
    _, path = exported
    found = ranges_of(path, images)
    qdq_from_onnx(path, found.kept, tmp_path / "q.onnx", int8_weights=True)
    made = typed_int8(Proof(path, images), tmp_path / "q.onnx", found.largest, tmp_path / "qh.onnx")
    assert made.passed, made.why
    assert made.float32_layers == []
    assert made.file_bytes < (tmp_path / "q.onnx").stat().st_size
    target = load_target("orin-nano-8gb", "11.4")
    assert check_onnx(tmp_path / "qh.onnx", target) == []
    model = onnx.load(tmp_path / "qh.onnx")
    types = types_of(model)
    kinds = {node.op_type: types[node.output[0]] for node in model.graph.node}
    assert (kinds["Conv"], kinds["DequantizeLinear"], kinds["QuantizeLinear"]) == (10, 10, TensorProto.INT8)


def test_a_graph_within_a_graph_is_refused(tmp_path):
    inner = helper.make_graph([], "then", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])])
    node = helper.make_node("If", ["c"], ["logits"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    with pytest.raises(QuantizeError, match="has a graph of its own"):
        half_model(model)


def test_the_images_of_a_proof_come_from_one_split_after_the_other():
    first = FirstOf(5, [1, 2, 3], [4, 5, 6])
    assert list(first) == list(first) == [1, 2, 3, 4, 5]


def test_a_recipe_names_the_tensorrt_of_another_jetpack():
    def target(**values):
        return wanted_target(TargetConfig(**values))

    assert (target(device="agx-orin").typed, target(device="agx-orin", tensorrt="11.4").typed) == (
        False,
        True,
    )
    with pytest.raises(RecipeError, match="TensorRT '12' is not known"):
        target(device="orin-nano-8gb", tensorrt="12")
    with pytest.raises(
        RecipeError, match="no JetPack brings it to Jetson Orin Nano 8GB; it can have: 8.5, 8.6, 10.3, 10.16"
    ):
        target(device="orin-nano-8gb", tensorrt="11.4")
    with pytest.raises(RecipeError, match="this computer .* has no TensorRT; leave it out"):
        target(device="local", tensorrt="11.4")


@pytest.mark.slow
@pytest.mark.parametrize(
    "student", ["lcnet_035", "mobilenetv2_035", "repvgg_a0", "shufflenet_v2_x0_5", "squeezenet1_1"]
)
def test_tensorrt_for_rtx_builds_the_typed_files(student, monkeypatch):
    """Families of other operators each; all students: `python benchmarks/typed_students.py`."""
    if compiler_here() is None:
        lacking("tensorrt or tensorrt_rtx", "pip install -e '.[compile]'")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import typed_students

    rows = list(typed_students.rows_of(student, image_px=64))
    assert [(row["precision"], row["verdict"]) for row in rows] == [("fp16", "builds"), ("int8", "builds")]
    assert rows[0]["share"] < 0.8
    assert rows[1]["share"] < 0.5
