import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgedistill.errors import QuantizeError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantize.half import fp16_from_onnx
from edgedistill.quantize.qdq import qdq_from_onnx
from edgedistill.quantize.ranges import amax_from_model
from edgedistill.target import load_target


@pytest.fixture
def images(rng):
    return rng.normal(size=(6, 3, 64, 64)).astype(np.float32)


@pytest.fixture(params=["mobilenetv3_small_050", "resnet18", "squeezenet1_1"])
def model(request, tmp_path, images):
    torch.manual_seed(0)
    net = model_from_weights(request.param, "scratch", list("abcdefgh"), will_train=True).eval()
    onnx_from_model(net, images[:2], tmp_path / "m.onnx", {})
    return tmp_path / "m.onnx"


def logits(path, images):
    with OnnxSession(path) as session:
        return session.logits(images)


def snr_db(reference, other):
    return 10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum())


def test_ranges_are_those_of_the_tensors_themselves(model, images):
    """minmax of every activation against ONNX Runtime asked tensor by tensor."""
    amax = amax_from_model(model, (image[np.newaxis] for image in images), "minmax", 99.9)
    assert amax["image"] == pytest.approx(np.abs(images).max())
    proto = onnx.load(str(model))
    name = next(n.output[0] for n in proto.graph.node if n.op_type == "Conv")
    proto.graph.output.append(onnx.ValueInfoProto(name=name))
    onnx.save(proto, str(model.with_name("one.onnx")))
    with OnnxSession(model.with_name("one.onnx"), [name]) as session:
        largest = max(np.abs(session.run(image[np.newaxis])[0]).max() for image in images)
    assert amax[name] == pytest.approx(largest)


def test_int8_stays_close_and_is_what_tensorrt_takes(model, images):
    amax = amax_from_model(model, (image[np.newaxis] for image in images), "mse", 99.9)
    out = model.with_name("q.onnx")
    made = qdq_from_onnx(model, amax, out)
    assert made["weights"] == sum(
        n.op_type in ("Conv", "Gemm") for n in onnx.load(str(model)).graph.node
    )
    assert check_onnx(out, load_target("xavier-nx")) == []
    assert snr_db(logits(model, images), logits(out, images)) > 12
    proto = onnx.load(str(out))
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in values:
            assert values[node.input[1]] == pytest.approx(amax[node.input[0]] / 127)
        elif node.op_type == "QuantizeLinear":
            weight, scale = values[node.input[0]], values[node.input[1]]
            assert weight.dtype == np.float32
            largest = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-8)
            assert scale == pytest.approx(largest / 127, rel=1e-5)
    biases = [
        values[n.input[2]] for n in proto.graph.node if n.op_type == "Conv" and len(n.input) > 2
    ]
    assert all(bias.dtype == np.float32 for bias in biases)


def test_only_the_skip_branch_of_a_residual_add_is_quantized(tmp_path, images):
    torch.manual_seed(0)
    net = model_from_weights("resnet18", "scratch", ["a", "b"], will_train=True).eval()
    onnx_from_model(net, images[:2], tmp_path / "m.onnx", {})
    amax = amax_from_model(tmp_path / "m.onnx", (i[np.newaxis] for i in images), "mse", 99.9)
    qdq_from_onnx(tmp_path / "m.onnx", amax, tmp_path / "q.onnx")
    graph = onnx.load(str(tmp_path / "q.onnx")).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    adds = [
        sorted(makers[name] for name in node.input) for node in graph.node if node.op_type == "Add"
    ]
    assert adds == [["Conv", "DequantizeLinear"]] * 8


def test_fp16_stays_close_and_keeps_float32_at_its_ends(model, images):
    out = model.with_name("h.onnx")
    fp16_from_onnx(model, out)
    assert snr_db(logits(model, images), logits(out, images)) > 40
    assert out.stat().st_size < 0.6 * model.stat().st_size


def test_a_cut_range_clips(model, images):
    """Ranges a hundred times too small must show: the test above could not fail otherwise."""
    amax = amax_from_model(model, (image[np.newaxis] for image in images), "minmax", 99.9)
    qdq_from_onnx(model, {k: v / 100 for k, v in amax.items()}, model.with_name("bad.onnx"))
    assert snr_db(logits(model, images), logits(model.with_name("bad.onnx"), images)) < 6


def test_what_cannot_be_calibrated_is_refused(model, images):
    with pytest.raises(QuantizeError, match="got none"):
        amax_from_model(model, iter(()), "mse", 99.9)
    with pytest.raises(QuantizeError, match="calibration image 0: tensor image: expected finite"):
        amax_from_model(model, iter([images[:1] * np.nan]), "mse", 99.9)
    with pytest.raises(QuantizeError, match="no calibrated range for tensor"):
        qdq_from_onnx(model, {}, model.with_name("q.onnx"))
