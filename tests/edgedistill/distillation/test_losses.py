import numpy as np
import pytest
import torch

from edgedistill.distillation.losses import feature_loss, kd_loss, label_losses, projector_between


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_kd_loss_equals_the_formula_written_out_in_numpy(rng):
    student, teacher = rng.normal(size=(2, 5, 10))
    p, q = softmax(teacher / 4.0), softmax(student / 4.0)
    expected = 16 * (p * (np.log(p) - np.log(q))).sum(axis=1).mean()
    got = kd_loss(torch.tensor(student), torch.tensor(teacher), 4.0).item()
    assert got == pytest.approx(expected, rel=1e-5)


def test_kd_loss_by_hand():
    """Two classes, T = 1: teacher (1/2, 1/2), student (3/4, 1/4): ln(1/2 / sqrt(3/16))."""
    student = torch.tensor([[np.log(3.0), 0.0]])
    assert kd_loss(student, torch.zeros(1, 2), 1.0).item() == pytest.approx(np.log(0.5 / np.sqrt(3 / 16)), rel=1e-6)


def test_kd_loss_is_a_mean_over_images_times_t_squared_and_not_taos_mean_over_all(rng):
    """TAO divides by N · C and leaves T squared out: its loss is smaller by C · T squared."""
    student, teacher = rng.normal(size=(2, 5, 10))
    p, q = softmax(teacher / 4.0), softmax(student / 4.0)
    taos = (p * np.log(p / q)).mean()
    got = kd_loss(torch.tensor(student), torch.tensor(teacher), 4.0).item()
    assert got / taos == pytest.approx(10 * 4.0**2, rel=1e-4)


def test_the_gradient_keeps_its_scale_over_temperature(rng):
    """What T squared is for: at high T the gradient tends to (z_s - z_t) / C, whatever T is."""
    student, teacher = torch.tensor(rng.normal(size=(2, 4, 6)), dtype=torch.float32)
    centred = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    for temperature in (50.0, 200.0):
        logits = student.clone().requires_grad_()
        kd_loss(logits, teacher, temperature).backward()
        assert torch.allclose(logits.grad, centred / 6 / 4, atol=2e-3)


@pytest.mark.parametrize("gap", [120.0, 5000.0])
def test_kd_loss_is_finite_at_extreme_logits(gap):
    student = torch.tensor([[gap, 0.0, -gap]], requires_grad=True)
    loss = kd_loss(student, torch.tensor([[-gap, 0.0, gap]]), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(2 * gap, rel=1e-5), "all the teacher's mass, at -2 gap nats"
    assert student.grad[0].tolist() == pytest.approx([1, 0, -1], abs=1e-6)  # softmax - softmax


def test_kd_loss_refuses_other_class_lists_and_temperatures():
    with pytest.raises(ValueError, match="same class list"):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 4), 1.0)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0.0)


def test_label_losses_equal_the_formula_and_weigh_images(rng):
    logits, labels = rng.normal(size=(6, 3)), np.array([0, 1, 2, 2, 1, 0])
    weights = np.array([0.5, 1.0, 1.5])
    p = softmax(logits)[np.arange(6), labels]
    expected = -np.log(p) * weights[labels]
    got = label_losses(torch.tensor(logits), torch.tensor(labels), torch.tensor(weights, dtype=torch.float32))
    assert got.numpy() == pytest.approx(expected, rel=1e-5)


def test_smoothed_or_not_the_least_loss_of_an_image_names_its_own_class():
    """A class weight says how much an image of the class counts, not how likely the class is."""
    weights = torch.tensor([0.1, 1.9])  # of 95 and 5 images
    for label in (0, 1):
        logits = torch.zeros(1, 2, requires_grad=True)
        label_losses(logits, torch.tensor([label]), weights, 0.1).sum().backward()
        expected = weights[label].item() * (np.array([0.5, 0.5]) - (0.9 * np.eye(2)[label] + 0.05))
        assert logits.grad[0].tolist() == pytest.approx(expected.tolist())
    logits = torch.log(torch.tensor([[0.95, 0.05]])).requires_grad_()
    label_losses(logits, torch.tensor([0]), weights, 0.1).sum().backward()
    assert logits.grad[0].tolist() == pytest.approx([0.0, 0.0], abs=1e-7)


def test_an_image_without_a_label_has_no_label_loss_weighed_and_smoothed_or_not():
    logits = torch.zeros(2, 3, requires_grad=True)
    losses = label_losses(logits, torch.tensor([-1, 2]), torch.tensor([2.0, 0.5, 0.5]), 0.1)
    losses.sum().backward()
    assert losses[0] == 0
    assert not logits.grad[0].any()


def test_an_image_without_a_label_has_no_label_loss(rng):
    logits = torch.tensor(rng.normal(size=(2, 3)), requires_grad=True)
    losses = label_losses(logits, torch.tensor([1, -1]))
    losses.sum().backward()
    assert losses[1] == 0
    row = logits.detach().numpy()[0]
    assert losses[0].item() == pytest.approx(np.log(np.exp(row - row[1]).sum()))
    assert not logits.grad[1].any()


def test_feature_loss_is_zero_only_in_the_same_direction(rng):
    features = torch.tensor(rng.normal(size=(4, 8)), dtype=torch.float32)
    same = torch.nn.Identity()
    assert feature_loss(features, 7 * features, same).item() == pytest.approx(0, abs=1e-6)
    assert feature_loss(features, -features, same).item() == pytest.approx(4, rel=1e-6)
    unit = features / features.norm(dim=1, keepdim=True)
    other = torch.tensor(rng.normal(size=(4, 8)), dtype=torch.float32)
    expected = (unit - other / other.norm(dim=1, keepdim=True)).square().sum(1).mean()
    assert feature_loss(features, other, same).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_projector_depends_on_its_seed_alone():
    torch.manual_seed(1)
    first = projector_between(4, 6, seed=3).weight
    torch.manual_seed(2)
    second = projector_between(4, 6, seed=3).weight
    assert torch.equal(first, second)
    assert not torch.equal(first, projector_between(4, 6, seed=4).weight)
