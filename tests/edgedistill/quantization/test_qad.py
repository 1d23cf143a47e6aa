"""Fake quantization in PyTorch against the Q/DQ file in ONNX Runtime: two ways to the same numbers."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgedistill.config.loading import load_recipe, recipe_from_table
from edgedistill.models.weights import load_weights, model_from_weights
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.exported_file import metadata_from_onnx, preprocess_from_onnx
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.progress.reporter import Talk
from edgedistill.quantization import qad
from edgedistill.quantization.accuracy import sqnr_db, step_of
from edgedistill.quantization.fake_quantization import (
    FakeQuantized,
    activation,
    convolutions,
    input_ranges,
    own_logits_term,
)
from edgedistill.quantization.mixed_precision import int8_logits
from edgedistill.quantization.qad import most_steps
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.records.quantization import PrecisionStep
from edgedistill.training.loop import Outputs
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess

pytestmark = pytest.mark.slow


@pytest.fixture
def images(rng):
    return rng.normal(size=(6, 3, 64, 64)).astype(np.float32)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return model_from_weights("mobilenetv3_small_050", "scratch", list("abcd"), will_train=True).eval()


def logits(net, images):
    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()


def test_it_computes_what_the_int8_file_computes_and_leaves_no_trace(net, images, tmp_path):
    reference = logits(net, images)
    onnx_from_model(net, images[:2], tmp_path / "m.onnx", {})
    kept = ranges_from_model(tmp_path / "m.onnx", lambda i: images[i : i + 1], 6, "minmax").kept
    amax = input_ranges(net, [torch.from_numpy(images)], "minmax", 100)
    assert amax["conv_stem"] == pytest.approx(kept["image"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with FakeQuantized(net, amax):
        faked = logits(net, images)
    file = int8_logits(tmp_path / "m.onnx", kept, images)
    assert sqnr_db(reference, faked) == pytest.approx(sqnr_db(reference, file), abs=3)
    assert sqnr_db(file, faked) > sqnr_db(reference, file)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert np.array_equal(logits(net, images), reference)


def test_rounding_passes_the_gradient_and_clipping_stops_it():
    values = torch.tensor([0.4, -2.6, 200.0, -130.0], requires_grad=True)
    rounded = activation(values, 1.0)
    rounded.sum().backward()
    assert rounded.tolist() == [0, -3, 127, -127]
    assert values.grad.tolist() == [1, 1, 0, 0]


def test_weights_are_rounded_for_each_output_channel(net, images):
    conv = convolutions(net)["conv_stem"]
    weight = conv.weight.detach().clone()
    with FakeQuantized(net, {"conv_stem": 3.0}):
        rounded = conv.weight.detach().clone()
    steps = rounded / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert not torch.equal(weight, rounded)
    assert isinstance(conv.weight, torch.nn.Parameter)


def test_training_for_int8_leaves_the_norms_statistics_alone(net, images):
    before = {name: value.clone() for name, value in net.named_buffers()}
    with FakeQuantized(net, {"conv_stem": 3.0}):
        net.train()
        assert net.conv_stem.training
        net(torch.from_numpy(images))
    assert all(torch.equal(before[name], value) for name, value in net.named_buffers())
    assert net.train().bn1.training


def test_it_learns_from_its_own_float_logits_of_before(rng):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(12, 4))
    net.train()
    weight, bias = (value.detach().double().numpy().copy() for value in net[3].parameters())
    term = own_logits_term(net, Preprocess(2, 2, "bilinear", mean, std))
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(3)
    pixels = rng.integers(0, 256, (5, 3, 2, 2), dtype=np.uint8)
    column = (1, 3, 1, 1)
    inputs = (pixels / 255 - np.reshape(mean, column)) / np.reshape(std, column) / np.sqrt(1 + 1e-5)
    wanted, said = inputs.reshape(5, 12) @ weight.T + bias, rng.normal(size=(5, 4))
    outputs = Outputs(torch.from_numpy(said).requires_grad_(), torch.empty(0))
    loss = term.value(outputs, SimpleNamespace(images=torch.from_numpy(pixels)))
    assert term.weight_at(0, 100) == 1
    assert loss.item() == pytest.approx(np.square(said - wanted).mean(), rel=1e-5)
    loss.backward()
    assert outputs.logits.grad.numpy() == pytest.approx((said - wanted) / 10, rel=1e-4)
    assert all(value.grad is None for value in net.parameters())


@pytest.mark.parametrize(("most", "steps"), [(7, 7), (10**9, 12)])
def test_it_is_trained_gently_and_no_longer_than_allowed(most, steps, monkeypatch, tmp_path):
    """A twentieth of distill's rate, three epochs of 35 images in eights; else what distill has."""
    recipe = recipe_from_table(
        {
            "data": {"train": "x"},
            "distill": {"peak_lr": 0.02, "weight_decay": 0.3, "batch_size": 8, "seed": 5, "views": 2, "epochs": 99},
            "quantize": {"qad_epochs": 3},
        },
        "made up",
    )
    labels = np.array([0, 1, 1, 0])
    images = SimpleNamespace(
        recipe=recipe,
        training=range(35),
        classes=["a", "b"],
        drawn=lambda chosen: np.ones(len(chosen)),
        frames=lambda split: split,
        labels={"val": labels}.__getitem__,
    )
    said = {"val": np.eye(2)[[0, 1, 0, 0]]}
    monkeypatch.setattr(qad, "logits_of", lambda net, spec, frames, device: said[frames])
    ran = []

    class Recorded:
        def __init__(self, model, spec, pixels, order, terms, config, validate, device, **of_checkpoint):
            assert (config.peak_lr, config.weight_decay, config.steps) == (pytest.approx(0.001), 0.3, steps)
            assert (config.epochs, config.batch_size, config.seed) == (3, 8, 5)
            assert (order.images, order.batch_size, order.seed, order.views) == (35, 8, 5, 2)
            assert order.sample_weights.sum() == 35
            assert (model, pixels, terms, device) == ("model", images.training, {"own": "term"}, "device")
            assert validate(model)["eval_top1_fraction"] == 0.75
            self.checkpoint = of_checkpoint["checkpoint"]

        def run(self, talk, name):
            self.checkpoint.write_bytes(b"so far")
            ran.append(name)

    monkeypatch.setattr(qad, "Training", Recorded)
    taken = qad._train(images, "model", "term", most, "device", tmp_path / "qad.pt", Talk(quiet=True))
    assert (taken, ran, list(tmp_path.iterdir())) == (steps, ["quantize"], [])


def test_what_takes_the_place_of_a_worse_file_is_described_as_that_one(finished_run, tmp_path, monkeypatch):
    """The student of this set is too poor to lose anything, so that the file before is said to be worse."""
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    recipe = load_recipe(finished_run / "r.toml", ["quantize.qad_epochs=1"])
    folder, float_file = tmp_path / "r" / "quantize", tmp_path / "r" / "export" / "student.onnx"
    images = open_images(StageContext("quantize", recipe, RunFolder(tmp_path / "r"), folder, Talk(quiet=True)))
    model, _ = load_weights(tmp_path / "r" / "distill" / "weights.safetensors")
    spec, ranges_before = preprocess_from_onnx(float_file), (folder / "amax.json").read_bytes()
    found = iter([0.0, 99.0])
    monkeypatch.setattr(qad, "step_of", lambda *words: step_of(*words).model_copy(update={"sqnr_db": next(found)}))
    made = qad.trained_for_int8(
        images, model, lambda row: to_input(images.pixels.frame(row), spec), 16, 1, folder, Talk(quiet=True)
    )
    assert (made.kept, made.steps) == (True, 1)
    for name in ("student_int8.onnx", "student_int8_weights.onnx"):
        assert metadata_from_onnx(folder / name) == metadata_from_onnx(float_file)
    assert (folder / "amax.json").read_bytes() != ranges_before


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ((0.77, 22.0), (0.78, 21.4), False),
        ((0.91, 20.0), (0.93, 21.6), True),
        ((0.91, 20.0), (0.91, 20.1), True),
        ((0.91, 20.0), (0.91, 20.0), False),
        ((0.91, 20.0), (0.90, 25.0), False),
        ((0.10, None), (0.91, 20.0), True),
        ((0.91, 20.0), (0.92, None), False),
    ],
)
def test_what_is_kept_is_closer_to_float_and_has_no_fewer_right(before, after, kept):
    first, second = (
        PrecisionStep(
            top1_fraction=top1, drop_points=0, drop_standard_error_points=0, agreement_fraction=1, sqnr_db=sqnr
        )
        for top1, sqnr in (before, after)
    )
    assert qad.is_better(first, second) is kept


def test_it_may_take_a_tenth_of_the_students_steps():
    assert [most_steps(steps) for steps in (1000, 19, 0)] == [100, 1, 1]
    assert most_steps(None) > 10**9
