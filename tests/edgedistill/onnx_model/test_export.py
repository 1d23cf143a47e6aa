import json
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from timm.layers import Attention

import hand_made
from edgedistill.config.target import load_target
from edgedistill.errors import ExportError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model import export
from edgedistill.onnx_model.export import (
    MAX_RELATIVE_DIFFERENCE,
    Pixels,
    leftovers,
    onnx_from_model,
    spec_of_pixels,
)
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.onnx_model.graph import count
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess, dict_from_preprocess
from hand_made import array, node

pytestmark = pytest.mark.slow

PX = 64


def model_of(name):
    torch.manual_seed(0)
    return model_from_weights(name, "scratch", ["a", "b", "c"], will_train=True).eval()


def smallest():
    """A network for what is about the comparison with the file and not about the exporter."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2)),
        *(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)),
    ).eval()


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

    handles = [
        m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "squeezenet1_1", "tf_efficientnet_lite0", "mobilenetv4_conv_small", "test_resnet"]
)
def test_a_fresh_net_exports_to_what_a_nano_parses(tmp_path, probe, name):
    """Fresh on purpose: equal biases make the exporter hide them behind Identity nodes."""
    model = model_of(name)
    path = tmp_path / "m.onnx"
    proof = onnx_from_model(model, probe, path, {"classes": '["a"]'})
    proto = onnx.load(str(path))
    assert (proto.ir_version, proto.opset_import[0].version) == (7, 13)
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("image", "logits")
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, PX, PX]
    assert not [n for n in proto.graph.node if n.op_type in ("BatchNormalization", "Identity", "Shape")]
    assert {p.key: p.value for p in proto.metadata_props}["classes"] == '["a"]'
    assert proof.top1_agreement_fraction == 1
    assert proof.max_relative_difference < 1e-4
    assert check_onnx(path, load_target("jetson-nano")) == []
    assert count(path)["macs"] == macs_by_hooks(model, torch.from_numpy(probe[:1]))
    assert count(path)["parameters"] <= sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "size"), [("tf_efficientnet_lite0", (80, 80)), ("tf_mobilenetv3_small_075", (72, 100))]
)
def test_same_padding_where_a_side_becomes_odd(tmp_path, rng, name, size):
    """At 80 px a 5x5 Conv of stride 2 is given a side of 5."""
    probe = rng.normal(size=(3, 3, *size)).astype(np.float32)
    onnx_from_model(model_of(name), probe, tmp_path / "m.onnx", {})
    assert not [n for n in onnx.load(str(tmp_path / "m.onnx")).graph.node if n.op_type in ("Pad", "Shape")]


def test_equal_models_give_equal_bytes(tmp_path, probe):
    for name in ("a.onnx", "b.onnx"):
        onnx_from_model(model_of("squeezenet1_1"), probe, tmp_path / name, {"k": "v"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_wrong_export_does_not_survive(tmp_path, probe, monkeypatch):
    """ONNX Runtime that gives another answer: the file must go."""
    honest = OnnxSession.logits
    monkeypatch.setattr(OnnxSession, "logits", lambda self, batch: honest(self, batch) + 0.5)
    with pytest.raises(ExportError, match="differs from PyTorch by .* limit 1e-04"):
        onnx_from_model(smallest(), probe, tmp_path / "m.onnx", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("share", "survives"), [(0.9, True), (1.1, False)])
def test_one_logit_of_one_image_decides_near_the_limit(tmp_path, probe, monkeypatch, share, survives):
    """The largest difference of all, to the largest logit; a mean over them would pass a hundredfold."""
    honest, model = OnnxSession.logits, smallest()
    with torch.no_grad():
        largest = model(torch.from_numpy(probe)).abs().max().item()

    def one_is_off(self, batch):
        logits = honest(self, batch)
        logits[-1, logits[-1].argmax()] += share * MAX_RELATIVE_DIFFERENCE * largest  # stays the top class
        return logits

    monkeypatch.setattr(OnnxSession, "logits", one_is_off)
    if survives:
        proof = onnx_from_model(model, probe, tmp_path / "m.onnx", {})
        assert proof.max_relative_difference == pytest.approx(share * MAX_RELATIVE_DIFFERENCE, rel=0.09)
    else:
        with pytest.raises(ExportError, match="differs from PyTorch by 1.* limit 1e-04"):
            onnx_from_model(model, probe, tmp_path / "m.onnx", {})
    assert (tmp_path / "m.onnx").exists() == survives


@pytest.mark.parametrize(("name", "block"), [("mobileone_s0", "MobileOneBlock"), ("repvgg_a0", "RepVggBlock")])
def test_branches_become_one_conv_a_block(tmp_path, probe, name, block):
    """Several Convs in parallel while training, one on the board; counted on the modules."""
    model = model_of(name)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.9)
    blocks = [m for m in model.modules() if type(m).__name__ == block]
    parameters = sum(p.numel() for p in model.parameters())
    path = tmp_path / "m.onnx"
    proof = onnx_from_model(model, probe, path, {})
    types = Counter(n.op_type for n in onnx.load(str(path)).graph.node)
    assert types["Conv"] == len(blocks)
    assert types["BatchNormalization"] == 0
    assert proof.top1_agreement_fraction == 1
    assert check_onnx(path, load_target("jetson-nano")) == []
    assert count(path)["parameters"] < parameters == sum(p.numel() for p in model.parameters())


def test_fastvit_is_fused_too(tmp_path, probe):
    path = tmp_path / "m.onnx"
    onnx_from_model(model_of("fastvit_t8"), probe, path, {})
    assert not {"BatchNormalization", "Identity"} & {n.op_type for n in onnx.load(str(path)).graph.node}
    assert check_onnx(path, load_target("jetson-nano")) == []


class Attends(torch.nn.Module):
    """Pixels as tokens through timm's attention, built with the fused operator on."""

    def __init__(self):
        super().__init__()
        self.attention = Attention(dim=12, num_heads=2, qkv_bias=True)

    def forward(self, image):
        tokens = torch.nn.functional.pixel_unshuffle(image[:, :, :8, :8], 2).flatten(2).transpose(1, 2)
        return self.attention(tokens).mean(1)


def test_fused_attention_is_off_in_the_export_only(tmp_path, probe):
    """timm asks for it once, when the layer is built; the operator needs opset 14."""
    torch.manual_seed(0)
    model = Attends().eval()
    assert model.attention.fused_attn
    onnx_from_model(model, probe, tmp_path / "m.onnx", {})
    assert model.attention.fused_attn
    assert "Softmax" in {n.op_type for n in onnx.load(str(tmp_path / "m.onnx")).graph.node}
    assert check_onnx(tmp_path / "m.onnx", load_target("jetson-nano")) == []


@pytest.mark.parametrize(
    ("nodes", "initializers", "said"),
    [
        (
            [node("Identity", ["b0"], ["b"]), node("Conv", "xwb")],
            [array("w", np.ones((2, 3, 1, 1))), array("b0", [1, 2])],
            ["Identity stands on the constant b0"],
        ),
        ([node("Shape", "x", ["s"]), node("Reshape", "xs")], [], ["shape arithmetic is left at n_Shape_s"]),
        (
            [node("Conv", "xw", ["c"]), node("BatchNormalization", "cstmv")],
            [array("w", np.ones((2, 3, 1, 1))), *(array(n, [1, 1]) for n in "stmv")],
            ["not folded into the Conv"],
        ),
        (
            [node("BatchNormalization", "xstmv", ["n"]), node("Conv", "nw")],
            [array("w", np.ones((2, 3, 1, 1))), *(array(n, [1, 1, 1]) for n in "stmv")],
            [],
        ),
    ],
)
def test_leftovers_are_named(nodes, initializers, said):
    found = leftovers(hand_made.model(nodes, initializers))
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_an_export_that_did_not_fold_is_refused(tmp_path, probe, monkeypatch):
    monkeypatch.setattr(export, "_folded", lambda proto, name: proto)
    with pytest.raises(ExportError, match="an Identity stands on the constant"):
        onnx_from_model(model_of("squeezenet1_1"), probe, tmp_path / "m.onnx", {})
    assert not list(tmp_path.iterdir())


SPEC = Preprocess(PX, PX, "area", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_normalisation_goes_into_the_graph(tmp_path, rng):
    """The file fed with pixels equals PyTorch fed with what numpy normalises."""
    frames = rng.integers(0, 256, (3, PX, PX, 3), dtype=np.uint8)
    raw = spec_of_pixels(SPEC)
    normalised, pixels = (np.concatenate([to_input(f, spec) for f in frames]) for spec in (SPEC, raw))
    np.testing.assert_allclose(pixels, frames.transpose(0, 3, 1, 2), atol=3e-5)
    model = model_of("mobilenetv3_small_050")
    path = tmp_path / "m.onnx"
    stored = {"preprocess": json.dumps(dict_from_preprocess(raw))}
    proof = onnx_from_model(model, normalised, path, stored, pixels=Pixels(pixels, SPEC))
    assert proof.max_relative_difference < 1e-4
    assert preprocess_from_onnx(path) == raw
    assert check_onnx(path, load_target("jetson-nano")) == []
    assert onnx.load(str(path)).graph.node[0].op_type == "Sub"
    with torch.no_grad(), OnnxSession(path) as session:
        expected = model(torch.from_numpy(normalised)).numpy()
        got = session.logits(frames.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_a_wrong_normalisation_does_not_survive(tmp_path, rng):
    frames = rng.integers(0, 256, (2, PX, PX, 3), dtype=np.uint8)
    normalised = np.concatenate([to_input(f, SPEC) for f in frames])
    pixels = Pixels(normalised, SPEC)  # already normalised: twice is wrong
    with pytest.raises(ExportError, match="differs from PyTorch"):
        onnx_from_model(smallest(), normalised, tmp_path / "m.onnx", {}, pixels=pixels)
    assert not list(tmp_path.iterdir())


def test_a_foreign_file_has_no_preprocessing_of_ours(tmp_path):
    path = hand_made.save(tmp_path / "m.onnx", [node("Relu", "x")])
    with pytest.raises(ExportError, match="no preprocessing that edgedistill wrote"):
        preprocess_from_onnx(path)
