"""What INT8 and FP16 cost, and the rescue: on nets small enough to know the answer."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import QuantizeError
from edgedistill.evaluation.intervals import standard_error_points
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline.gates import int8_is_good_enough
from edgedistill.quantization.accuracy import sqnr_db, step_of
from edgedistill.quantization.fp16_range import fp16_findings, largest_of_every_tensor, lines_from_findings
from edgedistill.quantization.mixed_precision import fewest_float_layers, int8_logits, sensitivity
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.records.quantization import QuantizationRecord
from record_factories import record_with

CLASSES = ["a", "b", "c"]


def net(path, weights, pool="GlobalAveragePool"):
    """Convolutions one after the other, a mean over the map, flattened to three logits."""
    nodes, tensors, name = [], [], "image"
    for place, weight in enumerate(weights):
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{place}"))
        nodes.append(helper.make_node("Conv", [name, f"w{place}"], [f"conv{place}"], name=f"conv{place}"))
        name = f"conv{place}"
    nodes += [
        helper.make_node(pool, [name], ["pooled"], name="mean"),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


@pytest.fixture
def images(rng):
    return rng.normal(size=(48, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def fragile(tmp_path, rng, images):
    """Three layers, the middle one with an input channel that drowns the others in one scale."""
    first = np.eye(3)[:, :, None, None] * np.array([300.0, 1.0, 1.0])[:, None, None, None]
    middle = np.eye(3)[:, :, None, None] / np.array([30000.0, 1.0, 1.0])[None, :, None, None]
    last = rng.normal(size=(3, 3, 1, 1))
    return net(tmp_path / "fragile.onnx", [first, middle, last])


def amax_of(path, images):
    return ranges_from_model(path, lambda i: images[i : i + 1], len(images), "minmax").kept


def test_the_layer_that_int8_hurts_is_ranked_first_and_left_in_float(fragile, images):
    amax = amax_of(fragile, images)
    ranked = [row.layer for row in sensitivity(fragile, amax, images[:16])]
    assert ranked[0] == "conv1"
    assert sorted(ranked) == ["conv0", "conv1", "conv2"]
    with OnnxSession(fragile) as session:
        labels = session.logits(images).argmax(axis=1)
    kept, curve = fewest_float_layers(fragile, amax, ranked, (images, labels, CLASSES), 4.2)
    assert kept == ["conv1"]
    assert [step.float_layers for step in curve] == [0, 1]
    assert curve[0].drop_points > 4.2 >= curve[1].drop_points
    found = int8_logits(fragile, amax, images, ["conv1"])
    assert curve[1].drop_points == pytest.approx(100 * (found.argmax(1) != labels).mean())


def test_a_gate_that_nothing_passes_says_so(fragile, images):
    """Labels that INT8 can only get wrong: every k is tried, none is taken."""
    amax = amax_of(fragile, images)
    with OnnxSession(fragile) as session:
        labels = session.logits(images).argmax(axis=1)
    kept, curve = fewest_float_layers(fragile, amax, [], (images, labels, CLASSES), 0.0)
    assert kept is None
    recipe = recipe_from_table({"data": {"train": "x"}, "quantize": {"max_int8_drop_points": 0.5}}, "r")
    gate = {"passed": False, "curve": [step.to_json() for step in curve]}
    fp16 = record_with(QuantizationRecord, {"int8_gate": gate, "executed": "fp16"})
    int8_is_good_enough(recipe, fp16)  # this target executes no INT8: a warning is enough
    with pytest.raises(QuantizeError, match="quantize.max_int8_drop_points allows 0.5; set"):
        int8_is_good_enough(recipe, fp16.model_copy(update={"executed": "int8"}))


def test_a_step_of_the_ladder_by_hand():
    reference = np.array([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]])
    found = np.array([[3.0, 0, 0], [0, 3, 0], [3, 0, 0], [3, 0, 0]])
    step = step_of(found, reference, np.array([0, 1, 2, 0]), CLASSES)
    assert (step.top1_fraction, step.drop_points, step.agreement_fraction) == (
        0.75,
        25,
        0.75,
    )
    assert step.sqnr_db == pytest.approx(10 * np.log10(36 / 18))
    assert step.drop_standard_error_points == pytest.approx(100 * np.sqrt((0.25 - 0.0625) / 4))
    assert sqnr_db(reference, reference) is None


def test_the_standard_error_is_that_of_the_mean_of_the_differences(rng):
    labels = rng.integers(0, 3, 500)
    first, second = (rng.normal(size=(500, 3)) + 2 * np.eye(3)[labels] for _ in range(2))
    difference = (first.argmax(1) == labels).astype(float) - (second.argmax(1) == labels)
    expected = 100 * difference.std() / np.sqrt(500)
    assert standard_error_points(first, second, labels) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("factor", "levels"),
    [
        (1.0, set()),
        (400.0, {("warning", "pooled")}),
        (6000.0, {("warning", "conv1"), ("warning", "pooled")}),
        (1e6, {("error", "conv1"), ("warning", "pooled")}),
    ],
)
def test_the_layer_that_overflows_float16_is_named(tmp_path, images, factor, levels):
    weights = [np.eye(3)[:, :, None, None], factor * np.eye(3)[:, :, None, None], np.eye(3)[:, :, None, None] / factor]
    path = net(tmp_path / "m.onnx", weights[:2] if factor == 400 else weights)
    largest = largest_of_every_tensor(path, lambda i: images[i : i + 1], len(images))
    assert largest["conv1"] == pytest.approx(factor * np.abs(images[:32]).max(), rel=1e-5)
    found = fp16_findings(path, largest)
    wanted = levels if factor == 400 else {one for one in levels if one[1] != "pooled"}
    assert {(row.level, row.tensor) for row in found} == wanted
    if factor == 1e6:
        assert found[0].layer == "Conv conv1"
        assert "keep Conv conv1 in FP32" in found[0].mend
    said = lines_from_findings(found)
    assert any("FP16 OVERFLOW in Conv conv1: |x| reaches" in line for line in said) == (factor == 1e6)
    assert len(said) == (1 if levels and factor != 1e6 else len(wanted))
    assert lines_from_findings(found[:1] * 9)[5:] == (
        ["FP16 OVERFLOW in 4 more tensors: see fp16_findings"] if factor == 1e6 else []
    )


@pytest.mark.parametrize("value", [1e9, np.nan])
def test_a_tensor_that_is_not_finite_in_float_is_refused(tmp_path, value):
    """In one image of six alone; 1e9 becomes infinite behind two layers that multiply by 1e30."""
    path = net(tmp_path / "m.onnx", [1e30 * np.eye(3)[:, :, None, None]] * 2)
    small = np.full((6, 3, 8, 8), 1e-30, np.float32)
    small[4, :, 0, 0] = value
    with pytest.raises(QuantizeError, match="is NaN or infinite in float32; train again"):
        largest_of_every_tensor(path, lambda number: small[number : number + 1], len(small))


def test_the_largest_is_that_of_either_sign_and_of_the_images_looked_at(tmp_path, images):
    path = net(tmp_path / "m.onnx", [np.eye(3)[:, :, None, None]])
    images = images / 10
    images[3, 1, 2, 2], images[7, 0, 0, 0], images[31, 2, 7, 7], images[32, 0, 0, 0] = 5, -4, -8, 99
    found = largest_of_every_tensor(path, lambda number: images[number : number + 1], len(images))
    assert found["image"] == found["conv0"] == 8
    assert largest_of_every_tensor(path, lambda number: images[number : number + 1], 8)["conv0"] == 5
