import itertools

import cv2
import numpy as np
import pytest
import timm
import torch
from torch import nn

from edgedistill.distillation import inversion
from edgedistill.distillation.inversion import InversionSettings, contact_sheet, synthesise_batch
from edgedistill.distillation.spectrum import Start, drawn_coefficients, images_of
from edgedistill.errors import TeacherError, TrainingError
from edgedistill.training.batches import normalised
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess
from end_to_end import draw

KINDS = ("disc", "square", "stripes")
SPEC = Preprocess(32, 32, "area", (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
SETTINGS = InversionSettings(steps=40, batch_size=25)


@pytest.fixture(scope="module")
def teacher():
    """A small ResNet-like network that tells the drawn shapes apart."""
    torch.manual_seed(0)
    layers = []
    for wide, high in ((3, 16), (16, 32), (32, 32)):
        conv = nn.Conv2d(wide, high, 3, stride=2, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(high), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    rng = np.random.default_rng(0)
    labels = np.arange(360) % 3
    drawn = np.stack([draw(KINDS[label], rng, side=32) for label in labels])
    images = normalised(torch.from_numpy(drawn).permute(0, 3, 1, 2), SPEC)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(12):
        for part in torch.randperm(360).split(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[part]), torch.from_numpy(labels)[part]).backward()
            optimizer.step()
    hits = (net.eval()(images).argmax(1).numpy() == labels).mean()
    assert hits > 0.9, f"the teacher of these tests learnt too little: {hits}"
    return net


@pytest.fixture(scope="module")
def made(teacher):
    return synthesise_batch(teacher, SPEC, SETTINGS, 1, KINDS)


def logits_by_the_boards_preprocessing(net, images):
    return np.concatenate([net(torch.from_numpy(to_input(image, SPEC))).detach().numpy() for image in images])


def bn_loss_written_out(net, images):
    """KL of two normal distributions for each channel, layer by layer, in float64 numpy."""
    x = torch.from_numpy(np.concatenate([to_input(image, SPEC) for image in images]))
    losses = []
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            seen = x.detach().double().numpy().transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
            p, q = seen.var(axis=1) + layer.eps, layer.running_var.double().numpy() + layer.eps
            gap = seen.mean(axis=1) - layer.running_mean.double().numpy()
            losses.append(np.mean(np.log(np.sqrt(q / p)) + (p + gap**2) / (2 * q) - 0.5))
        x = layer(x)
    return np.mean(losses)


def test_a_batch_is_uint8_images_of_the_classes_in_turn(made):
    images, labels, report = made
    assert (images.dtype, images.shape) == (np.uint8, (25, 32, 32, 3))
    assert images.min() < 100 < 150 < images.max()
    assert images.flags.c_contiguous
    assert labels.dtype == np.int64
    assert labels.tolist() == [n % 3 for n in range(25, 50)]  # goes on where batch 0 ended
    assert (report["number"], report["images"]) == (1, 25)


def test_the_teacher_names_the_wanted_class_of_the_rounded_images(teacher, made):
    images, labels, report = made
    logits = logits_by_the_boards_preprocessing(teacher, images)
    hits = (logits.argmax(axis=1) == labels).mean()
    assert hits > 0.75
    assert report["wanted_fraction"] == pytest.approx(hits)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (p / p.sum(axis=1, keepdims=True))[np.arange(25), labels].mean()
    assert report["confidence_mean"] == pytest.approx(confidence, abs=1e-5)


def test_the_layers_see_what_they_saw_in_training(teacher, made):
    images, _, report = made
    written_out = bn_loss_written_out(teacher, images)
    assert report["bn_loss_last"] == pytest.approx(written_out, rel=1e-3)
    assert report["bn_loss_last"] < 0.5 * report["bn_loss_first"]


def test_noise_is_further_from_the_training_images(teacher, made):
    images, labels, report = made
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    assert (logits_by_the_boards_preprocessing(teacher, noise).argmax(axis=1) == labels).mean() < 0.7
    assert bn_loss_written_out(teacher, noise) > 2 * report["bn_loss_last"]
    assert report["bn_loss_first"] > 2 * report["bn_loss_last"]  # of the fitted noise that inversion starts from


def test_a_batch_depends_on_seed_and_number_and_on_nothing_before_it(teacher, made):
    few = SETTINGS.model_copy(update={"steps": 3})
    first = synthesise_batch(teacher, SPEC, few, 2, KINDS)[0]
    torch.manual_seed(99)
    torch.rand(7)
    assert (synthesise_batch(teacher, SPEC, few, 2, KINDS)[0] == first).all()
    other_number = synthesise_batch(teacher, SPEC, few, 3, KINDS)[0]
    other_seed = few.model_copy(update={"seed": 1})
    for other in (other_number, synthesise_batch(teacher, SPEC, other_seed, 2, KINDS)[0]):
        assert (other != first).mean() > 0.5


def test_the_teacher_and_the_global_random_state_are_left_alone(teacher):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    random_state = torch.get_rng_state()
    synthesise_batch(teacher, SPEC, SETTINGS.model_copy(update={"steps": 2}), 0, KINDS)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module._forward_pre_hooks for module in teacher.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_total_variation_makes_smoother_images(teacher, made):
    smooth = SETTINGS.model_copy(update={"tv_weight": 300.0})
    images = synthesise_batch(teacher, SPEC, smooth, 1, KINDS)[0]
    roughness = [np.abs(np.diff(x.astype(int), axis=2)).mean() for x in (images, made[0])]
    assert roughness[0] < 0.8 * roughness[1]


def optimised(seen, settings, monkeypatch):
    """Two images (2, 3, 8, 12) before and after `_optimised`, and the learning rates of its steps."""
    rates, generator = [], torch.Generator().manual_seed(0)

    class Noted(torch.optim.Adam):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "Adam", Noted)
    start, coefficients = Start(1.0, 0.3, 1.0), drawn_coefficients(2, (8, 12), generator)
    labels = torch.zeros(2, dtype=torch.int64)
    made = inversion._optimised(coefficients, start, 12, labels, seen, settings, generator)
    return images_of(coefficients, start, 12), images_of(made, start, 12), rates


@pytest.mark.parametrize("flip", [True, False])
def test_steps_look_at_shifted_and_mirrored_images_and_get_smaller(flip, monkeypatch):
    looked_at = []

    def seen(images):
        looked_at.append(images.detach().numpy())
        return torch.stack([images.mean((1, 2, 3)), -images.mean((1, 2, 3))], dim=1), images.mean()

    settings = InversionSettings(steps=60, lr=1e-9, jitter_px=1, flip=flip)
    before, _, rates = optimised(seen, settings, monkeypatch)
    half_cosine = [1e-9 * np.cos(np.pi / 2 * step / 60) ** 2 for step in range(60)]
    assert rates == pytest.approx(half_cosine, rel=1e-9)
    views = {
        (down, right, mirrored): np.roll(before.numpy(), (down, right), (2, 3))[..., :: -1 if mirrored else 1]
        for down, right, mirrored in itertools.product((-1, 0, 1), (-1, 0, 1), (False, True))
    }
    found = [next(way for way, view in views.items() if np.abs(images - view).max() < 1e-3) for images in looked_at]
    assert np.mean(found, axis=0) == pytest.approx([0, 0, 0.5 * flip], abs=0.2)
    assert len({(down, right) for down, right, _ in found}) == 9


@pytest.mark.parametrize(("weights", "brighter"), [({"bn_weight": 0.1}, True), ({"bn_weight": 10.0}, False)])
def test_the_terms_have_their_weights(weights, brighter, monkeypatch):
    """The wanted class is of bright images, the layers want dark ones, about as much."""

    def seen(images):
        light = images.mean((1, 2, 3)) / 255
        return torch.stack([light, -light], dim=1), light.mean()

    before, after, _ = optimised(seen, InversionSettings(steps=5, **weights), monkeypatch)
    assert (after.mean() > before.mean()).item() is brighter


@pytest.mark.parametrize(("name", "has"), [("vit_tiny_patch16_224", "LayerNorm"), ("vgg11", "no normalisation")])
def test_a_teacher_without_batch_norm_is_refused_by_what_it_has(name, has):
    size = {"img_size": 32} if name.startswith("vit") else {}
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=3, **size)
    with pytest.raises(TeacherError, match=f"no BatchNorm .* it has {has}; take a") as refusal:
        synthesise_batch(net, SPEC, SETTINGS, 0, KINDS)
    assert "\n" not in str(refusal.value)


def test_other_classes_are_refused(teacher):
    with pytest.raises(TeacherError, match="gives 3 logits for 2 classes"):
        synthesise_batch(teacher, SPEC, SETTINGS, 0, KINDS[:2])


def test_a_loss_that_is_not_finite_is_refused_and_the_teacher_released(teacher):
    kept = teacher[-1].bias.detach().clone()
    try:
        with torch.no_grad():
            teacher[-1].bias[0] = float("nan")
        with pytest.raises(TrainingError, match=r"not finite at step 0 \(class nan, BatchNorm \d"):
            synthesise_batch(teacher, SPEC, SETTINGS, 0, KINDS)
    finally:
        teacher[-1].bias.data.copy_(kept)
    assert not any(module._forward_pre_hooks for module in teacher.modules())


def test_the_contact_sheet_shows_each_class_in_its_row():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    labels = np.array([2, 0, 1, 0])
    images = np.broadcast_to(colours[labels][:, None, None], (4, 32, 32, 3))
    sheet = cv2.imdecode(np.frombuffer(contact_sheet(images, labels, KINDS), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    height = sheet.shape[0] // 3
    for row, colour in enumerate(colours):
        here = (sheet[row * height : (row + 1) * height] == colour).all(axis=2)
        assert here.sum() == (labels == row).sum() * height * height


@pytest.mark.parametrize("side", [32, 45])
def test_a_start_is_noise_of_its_contrast_chroma_and_slope(side):
    """Measured in the pixels, where contrast is small enough for the sigmoid to be straight."""
    start = Start(contrast=0.2, chroma=0.1, slope=1.5)
    noise = drawn_coefficients(64, side, torch.Generator().manual_seed(0))
    values = images_of(noise, start).double().numpy() / 255
    logits = np.log(values / (1 - values))
    grey = logits.mean(axis=1)
    assert grey.std() == pytest.approx(0.2, rel=0.15)
    assert np.abs(logits - grey[:, None]).std() < 0.2 * 0.1
    power = (np.abs(np.fft.fft2(grey)) ** 2).mean(axis=0)
    octave = power[0, 4] / power[0, 8]  # frequency doubled: power falls by 2 ** (2 * slope)
    assert octave == pytest.approx(8, rel=0.5)
