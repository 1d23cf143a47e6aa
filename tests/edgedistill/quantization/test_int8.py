import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgedistill.config.target import load_target
from edgedistill.errors import QuantizeError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.fp16 import fp16_from_onnx
from edgedistill.quantization.observe import plan_of, shaped
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model

pytestmark = pytest.mark.slow


@pytest.fixture
def images(rng):
    return rng.normal(size=(6, 3, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def export_of(tmp_path_factory):
    """The ONNX file of an untrained network with eight classes, by the network's name; each is exported once."""
    folder, probe = tmp_path_factory.mktemp("exports"), np.zeros((2, 3, 64, 64), np.float32)

    def export(name):
        path = folder / f"{name}.onnx"
        if not path.exists():
            torch.manual_seed(0)
            net = model_from_weights(name, "scratch", list("abcdefgh"), will_train=True).eval()
            onnx_from_model(net, probe, path, {})
        return path

    return export


# timm's test_resnet is a ResNet of four blocks with a thirtieth of resnet18's weights.
@pytest.fixture(params=["mobilenetv3_small_050", "test_resnet", "squeezenet1_1"])
def model(request, tmp_path, export_of):
    """A copy, beside which a test may write."""
    return shutil.copy(export_of(request.param), tmp_path / "m.onnx")


def logits(path, images):
    with OnnxSession(path) as session:
        return session.logits(images)


def kept(path, images, threshold="mse"):
    """{tensor: amax} of these calibration images."""
    return ranges_from_model(path, lambda i: images[i : i + 1], len(images), threshold).kept


def snr_db(reference, other):
    return 10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum())


def test_ranges_are_those_of_the_tensors_themselves(model, images):
    """minmax of every observed tensor, batched, against ONNX Runtime asked image by image."""
    amax = kept(model, images, "minmax")
    plan = plan_of(shaped(model))
    assert amax["image"] == pytest.approx(np.abs(images).max())
    names = list(plan.observed[1:])
    proto = onnx.load(str(model))
    del proto.graph.output[:]
    proto.graph.output.extend([onnx.ValueInfoProto(name=name) for name in names])
    onnx.save(proto, str(model.with_name("all.onnx")))
    with OnnxSession(model.with_name("all.onnx"), names) as session:
        runs = [session.run(image[np.newaxis]) for image in images]
    for place, name in enumerate(names):
        largest = max(np.abs(run[place]).max() for run in runs)
        assert amax[name] == pytest.approx(largest, rel=1e-4, abs=1e-7)
    made = {name for node in proto.graph.node for name in node.output}
    assert set(amax) == made | {"image"}


def test_a_range_that_is_taken_over_loses_nothing(model, images):
    """Clip each tensor that was not looked at to the range that it was given: equal logits."""
    plan, amax = plan_of(shaped(model)), kept(model, images, "minmax")
    proto = onnx.load(str(model))
    clipped = {**plan.same_as, **plan.bounded}
    assert clipped
    for node in list(proto.graph.node):
        for place, name in enumerate(node.output):
            if name in clipped and name != "logits":
                node.output[place] = f"{name}_whole"
                limits = [np.array(sign * amax[name] * (1 + 1e-6), np.float32) for sign in (-1, 1)]
                for side, value in zip(("low", "high"), limits, strict=True):
                    proto.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{side}"))
                clip = onnx.helper.make_node("Clip", [f"{name}_whole", f"{name}_low", f"{name}_high"], [name])
                proto.graph.node.insert(list(proto.graph.node).index(node) + 1, clip)
    onnx.save(proto, str(model.with_name("clipped.onnx")))
    clipped_logits = logits(model.with_name("clipped.onnx"), images)
    assert clipped_logits == pytest.approx(logits(model, images), rel=1e-4, abs=1e-5)


def test_a_calibration_that_was_killed_ends_with_the_same_ranges(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr("edgedistill_calibration.collect.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("edgedistill.quantization.observe.PIECE_BYTES", 1)
    asked = []

    def image(position):
        asked.append(position)
        if position == 4 and len(asked) < 6:
            raise KeyboardInterrupt
        return images[position : position + 1]

    state = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        ranges_from_model(model, image, len(images), "mse", state=state)
    asked_before = len(asked)
    found = ranges_from_model(model, image, len(images), "mse", state=state)
    assert asked[asked_before] > 0
    assert found.kept == kept(model, images)
    assert not state.exists()


@pytest.mark.parametrize("model", ["squeezenet1_1"], indirect=True)
def test_a_state_of_other_images_is_not_gone_on_from(model, images, tmp_path, monkeypatch):
    """As many images of another list: killed after the first five, which must not count."""
    monkeypatch.setattr("edgedistill_calibration.collect.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("edgedistill.quantization.observe.PIECE_BYTES", 1)
    others, state = 9 * images, tmp_path / "state.npz"

    def killed(position):
        if position == 5:
            raise KeyboardInterrupt
        return others[position : position + 1]

    with pytest.raises(KeyboardInterrupt):
        ranges_from_model(model, killed, len(images), "mse", state=state, belongs_to="others")
    assert state.exists()
    found = ranges_from_model(
        model, lambda position: images[position : position + 1], len(images), "mse", state=state, belongs_to="ours"
    )
    assert found.kept == kept(model, images)


def test_int8_stays_close_and_is_what_tensorrt_takes(model, images):
    amax = kept(model, images, "mse")
    out = model.with_name("q.onnx")
    made = qdq_from_onnx(model, amax, out)
    assert made["weights"] == sum(n.op_type == "Conv" for n in onnx.load(str(model)).graph.node)
    assert check_onnx(out, load_target("xavier-nx")) == []
    assert snr_db(logits(model, images), logits(out, images)) > 12
    proto = onnx.load(str(out))
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    joined = {name for n in proto.graph.node if n.op_type == "Concat" for name in n.output}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in values:
            if node.input[0] not in joined:
                assert values[node.input[1]] == pytest.approx(amax[node.input[0]] / 127)
        elif node.op_type == "QuantizeLinear":
            weight, scale = values[node.input[0]], values[node.input[1]]
            assert weight.dtype == np.float32
            largest = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-8)
            assert scale == pytest.approx(largest / 127, rel=1e-5)
    biases = [values[n.input[2]] for n in proto.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert all(bias.dtype == np.float32 for bias in biases)


def test_only_the_skip_branch_of_a_residual_add_is_quantized(tmp_path, images, export_of):
    model = export_of("test_resnet")
    qdq_from_onnx(model, kept(model, images), tmp_path / "q.onnx")
    graph = onnx.load(str(tmp_path / "q.onnx")).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    adds = [sorted(makers[name] for name in node.input) for node in graph.node if node.op_type == "Add"]
    assert adds == [["Conv", "DequantizeLinear"]] * 4  # of four blocks


def test_fp16_stays_close_and_keeps_float32_at_its_ends(model, images):
    out = model.with_name("h.onnx")
    fp16_from_onnx(model, out)
    assert snr_db(logits(model, images), logits(out, images)) > 40
    assert out.stat().st_size < 0.6 * model.stat().st_size


def test_a_cut_range_clips(model, images):
    """Ranges a hundred times too small must show: the test above could not fail otherwise."""
    amax = kept(model, images, "minmax")
    qdq_from_onnx(model, {k: v / 100 for k, v in amax.items()}, model.with_name("bad.onnx"))
    assert snr_db(logits(model, images), logits(model.with_name("bad.onnx"), images)) < 6


def test_what_cannot_be_calibrated_is_refused(model, images):
    with pytest.raises(QuantizeError, match="got none"):
        kept(model, images[:0])
    with pytest.raises(QuantizeError, match="calibration image 0: tensor image: expected finite"):
        kept(model, images[:1] * np.nan)
    with pytest.raises(QuantizeError, match="no calibrated range for tensor"):
        qdq_from_onnx(model, {}, model.with_name("q.onnx"))


def test_int8_weights_are_a_quarter_of_the_bytes_and_the_same_numbers(model, images):
    amax = kept(model, images)
    float_weights, int8_weights = model.with_name("q8.onnx"), model.with_name("q10.onnx")
    qdq_from_onnx(model, amax, float_weights)
    qdq_from_onnx(model, amax, int8_weights, int8_weights=True)
    assert np.array_equal(logits(float_weights, images), logits(int8_weights, images))
    assert int8_weights.stat().st_size < 0.5 * float_weights.stat().st_size
    assert check_onnx(int8_weights, load_target("orin-nano-8gb")) == []
    faults = check_onnx(int8_weights, load_target("xavier-nx"))
    assert {fault.rule for fault in faults} == {"q-dq"}


def test_inputs_of_a_concat_share_one_scale(tmp_path, images, export_of):
    model = export_of("squeezenet1_1")
    graph = onnx.load(str(model)).graph
    amax = {name: 1.0 + place for place, name in enumerate(kept(model, images))}
    qdq_from_onnx(model, amax, tmp_path / "q.onnx")
    scales = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(tmp_path / "q.onnx")).graph.initializer}
    concats = [node for node in graph.node if node.op_type == "Concat"]
    assert len(concats) == 8
    read = [node for node in concats if f"{node.output[0]}_scale" in scales]
    for node in read:
        largest = max(amax[name] for name in (*node.input, *node.output))
        assert scales[f"{node.output[0]}_scale"] == pytest.approx(largest / 127)
    assert read
