"""A network that sees its images enlarged is the plain one on images that were enlarged before."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn.functional import interpolate

from edgedistill.models.build import build_model, outputs
from edgedistill.models.enlarged import enlarge, enlarged_size
from edgedistill.models.weights import load_weights, save_weights
from edgedistill.onnx_model.export import onnx_from_model

ABOUT = {"model": "test_efficientnet", "classes": ["a", "b"], "preprocess": {}}


def plain(name):
    torch.manual_seed(0)
    return build_model(name, 2).eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 40, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def larger(images):
    return interpolate(images, size=(80, 64), mode="bicubic", align_corners=False)


@pytest.mark.parametrize("name", ["test_efficientnet", "resnet10t", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_logits_and_features_are_those_of_larger_images(name, images, larger):
    model = plain(name)
    names = [key for key, _ in model.named_modules()]
    with torch.no_grad():
        wanted = outputs(model, larger)
        as_it_was = model(images)
        enlarge(model, (80, 64))
        found, called = outputs(model, images), model(images)
    for value, expected in zip((*found, called), (*wanted, wanted[0]), strict=True):
        torch.testing.assert_close(value, expected)
    assert not torch.allclose(called, as_it_was)
    assert [key for key, _ in model.named_modules()] == names


def test_a_vision_transformer_of_fixed_size_reads_small_images():
    model = build_model("test_vit", 2).eval()  # for 160 px
    enlarge(model, (160, 160))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_a_copy_is_enlarged_too_and_others_of_its_kind_are_not(images):
    model = plain("resnet10t")
    enlarge(model, (80, 64))
    twin = copy.deepcopy(model)
    torch.nn.init.zeros_(model.fc.weight)
    with torch.no_grad():
        assert enlarged_size(twin) == (80, 64)
        assert not torch.allclose(twin(images), model(images))
    assert enlarged_size(plain("resnet10t")) is None


def test_weights_tell_the_size_and_plain_ones_nothing(tmp_path, images):
    model = plain("test_efficientnet")
    save_weights(model, tmp_path / "plain.safetensors", ABOUT)
    enlarge(model, (80, 64))
    save_weights(model, tmp_path / "enlarged.safetensors", ABOUT)
    found, _ = load_weights(tmp_path / "enlarged.safetensors")
    again, about = load_weights(tmp_path / "plain.safetensors")
    assert about == ABOUT
    with torch.no_grad():
        assert torch.equal(found(images), model(images))
        assert not torch.equal(again(images), model(images))


def test_the_exported_graph_enlarges(tmp_path):
    """As a teacher is exported: its input is the student's, and ONNX Runtime agrees with PyTorch."""
    model = plain("test_efficientnet")
    enlarge(model, (64, 64))
    probe = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    onnx_from_model(model, probe, tmp_path / "m.onnx", {}, for_board=False)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 32, 32]
    assert "Resize" in {node.op_type for node in graph.node}
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {graph.input[0].name: image[None]})[0] for image in probe])
    with torch.no_grad():
        wanted = plain("test_efficientnet")(interpolate(torch.from_numpy(probe), size=(64, 64), mode="bicubic"))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
