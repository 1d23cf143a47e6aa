import numpy as np
import onnx
import pytest
import torch

from edgedistill.errors import ExportError, PreflightError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.graph import count
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.target import load_target

PX = 64


def model_of(name):
    torch.manual_seed(0)
    return model_from_weights(name, "scratch", ["a", "b", "c"], will_train=True).eval()


@pytest.fixture
def probe(rng):
    return rng.normal(size=(3, 3, PX, PX)).astype(np.float32)


def macs_by_hooks(model, image):
    """Multiply-accumulates counted on the modules, without the graph."""
    total = 0

    def hook(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            kernel = module.weight.shape[1:].numel()
            total += output.numel() * kernel
        else:
            total += output.numel() * module.in_features

    handles = [m.register_forward_hook(hook) for m in model.modules()
               if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]  # fmt: skip
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "squeezenet1_1", "tf_efficientnet_lite0",
                                  "mobilenetv4_conv_small", "resnet18"])  # fmt: skip
def test_a_fresh_net_exports_to_what_a_nano_parses(tmp_path, probe, name):
    """Fresh on purpose: equal biases make the exporter hide them behind Identity nodes."""
    model = model_of(name)
    path = tmp_path / "m.onnx"
    proof = onnx_from_model(model, probe, path, {"classes": '["a"]'})
    proto = onnx.load(str(path))
    assert (proto.ir_version, proto.opset_import[0].version) == (7, 13)
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("image", "logits")
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, PX, PX]
    assert not [
        n for n in proto.graph.node if n.op_type in ("BatchNormalization", "Identity", "Shape")
    ]
    assert {p.key: p.value for p in proto.metadata_props}["classes"] == '["a"]'
    assert proof["top1_agreement_fraction"] == 1
    assert proof["max_relative_difference"] < 1e-4
    assert check_onnx(path, load_target("jetson-nano")) == []
    assert count(path)["macs"] == macs_by_hooks(model, torch.from_numpy(probe[:1]))
    assert count(path)["parameters"] <= sum(p.numel() for p in model.parameters())


def test_equal_models_give_equal_bytes(tmp_path, probe):
    for name in ("a.onnx", "b.onnx"):
        onnx_from_model(model_of("squeezenet1_1"), probe, tmp_path / name, {"k": "v"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_wrong_export_does_not_survive(tmp_path, probe, monkeypatch):
    """ONNX Runtime that gives another answer: the file must go."""
    honest = OnnxSession.logits
    monkeypatch.setattr(OnnxSession, "logits", lambda self, batch: honest(self, batch) + 0.5)
    with pytest.raises(ExportError, match="differs from PyTorch by .* limit 1e-04"):
        onnx_from_model(model_of("mobilenetv3_small_050"), probe, tmp_path / "m.onnx", {})
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_onnx(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no")
    with pytest.raises(PreflightError, match="not a readable ONNX model"):
        check_onnx(tmp_path / "m.onnx", load_target("jetson-nano"))
    with pytest.raises(PreflightError, match="no such file"):
        check_onnx(tmp_path / "none.onnx", load_target("jetson-nano"))
