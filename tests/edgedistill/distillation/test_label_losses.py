"""The losses of several labels an image and their logistic head: against loops in numpy, and one label at a time."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from edgedistill.config.task import MULTILABEL
from edgedistill.config.training import DistillConfig
from edgedistill.data.balance import MOST_RATIO, positive_weights
from edgedistill.distillation.label_losses import label_kl_losses, label_set_losses
from edgedistill.distillation.objectives import hard_term, logit_terms
from edgedistill.distillation.probe import head_from_features
from edgedistill.training.batches import Batch
from edgedistill.training.loop import Outputs

CPU = torch.device("cpu")


def chance(logit):
    return 1 / (1 + math.exp(-logit))


def cross_entropy(logit, target, weight):
    return -weight * target * math.log(chance(logit)) - (1 - target) * math.log(1 - chance(logit))


def bernoulli_kl(student, teacher):
    p, q = chance(teacher), chance(student)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 4)) * 2, rng.normal(size=(5, 4)) * 2


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.5, 7.0]])
def test_binary_cross_entropy_is_the_formula(drawn, weights):
    outputs, _ = drawn
    targets = np.array([[0, 1, 1, 0]] * 2 + [[0.3, 0.7, 1, 0]] * 2 + [[0, 0, 0, 0]], float)  # mixed ones, and none
    found = label_set_losses(
        torch.tensor(outputs), torch.tensor(targets), None if weights is None else torch.tensor(weights)
    )
    expected = [
        np.mean([cross_entropy(z, y, w) for z, y, w in zip(*pair, weights or [1.0] * 4, strict=True)])
        for pair in zip(outputs, targets, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_is_the_formula_and_its_slope_the_difference_of_chances(drawn, temperature):
    student, teacher = (torch.tensor(one, requires_grad=True) for one in drawn)
    found = label_kl_losses(student, teacher, temperature)
    expected = [
        temperature**2 * np.mean([bernoulli_kl(s / temperature, t / temperature) for s, t in zip(*pair, strict=True)])
        for pair in zip(*drawn, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    found.sum().backward()
    slope = [
        [temperature * (chance(s / temperature) - chance(t / temperature)) / 4 for s, t in zip(*pair, strict=True)]
        for pair in zip(*drawn, strict=True)
    ]
    np.testing.assert_allclose(student.grad, slope, rtol=1e-4, atol=1e-7)
    assert teacher.grad is None
    assert label_kl_losses(teacher, teacher, temperature).abs().max() < 1e-6


def test_far_apart_logits_stay_numbers():
    far = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    other = torch.tensor([[-1e4, 1e4, 1e4, -1e4]])
    losses = [label_kl_losses(far, other, 1.0), label_set_losses(far, (other > 0).float())]
    assert all(torch.isfinite(one).all() for one in losses)
    sum(one.sum() for one in losses).backward()
    assert torch.isfinite(far.grad).all()


def test_shapes_and_temperatures_that_make_no_sense_are_refused():
    two, three = torch.zeros(1, 2), torch.zeros(1, 3)
    with pytest.raises(ValueError, match="the same labels on both"):
        label_kl_losses(two, three, 1.0)
    with pytest.raises(ValueError, match="the same labels on both"):
        label_set_losses(two, three)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        label_kl_losses(two, two, 0.0)


def batch(targets):
    count, zeros = len(targets), torch.zeros(len(targets), dtype=torch.int64)
    return Batch(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), zeros, zeros, zeros, zeros, torch.ones(count), targets)


class Cache:
    def __init__(self, logits):
        self._logits = logits

    def logits(self, batch):
        return self._logits


def test_the_terms_of_a_student_weigh_labels_and_teacher(drawn):
    outputs, teacher = (torch.tensor(one, dtype=torch.float32) for one in drawn)
    targets = torch.tensor([[0.0, 1, 1, 0]] * 4 + [[math.nan] * 4])  # the last one of a pool
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    terms = logit_terms(DistillConfig(kd_weight=0.3, temperature=2.0), Cache(teacher), weights, CPU, MULTILABEL)
    assert {name: term.weight for name, term in terms.items()} == pytest.approx({"kd": 0.3, "label": 0.7})
    given = Outputs(outputs, None)
    label = terms["label"].value(given, batch(targets))
    assert label.item() == pytest.approx(label_set_losses(outputs, targets, weights)[:4].mean().item())
    assert label.item() != pytest.approx(label_set_losses(outputs, targets)[:4].mean().item())
    taught = terms["kd"].value(given, batch(targets))
    assert taught.item() == pytest.approx(label_kl_losses(outputs, teacher, 2.0).mean().item())
    nothing = hard_term(MULTILABEL, None, 1.0, CPU).value(given, batch(torch.full((5, 4), math.nan)))
    assert nothing.item() == 0


def test_positive_weights_even_out_a_label():
    figures = np.zeros((100, 3))
    figures[:20, 0] = figures[:50, 1] = figures[:1, 2] = 1
    assert positive_weights(figures).tolist() == [4.0, 1.0, MOST_RATIO]


def alone(features, own, l2, positive):
    """Weight and bias of one label, in double precision by torch."""
    x, y = torch.tensor(features), torch.tensor(own)
    scale = features.std(axis=0)
    rms = float(np.sqrt((scale**2).mean()))
    inputs = (x - x.mean(dim=0)) / rms

    def loss(values):
        wanted = torch.tensor(values, requires_grad=True)
        outputs = inputs @ wanted[:-1] + wanted[-1]
        losses = nn.functional.binary_cross_entropy_with_logits(outputs, y, pos_weight=torch.tensor(positive))
        total = losses + 0.5 * l2 * (wanted[:-1] ** 2).sum()
        total.backward()
        return total.item(), wanted.grad.numpy()

    found = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-9})
    return inputs.numpy() @ found.x[:-1] + found.x[-1]


@pytest.mark.parametrize("positive", [None, np.array([1.0, 5.0, 2.0])])
def test_the_head_of_each_label_is_the_one_that_it_has_alone(positive):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(90, 6)) * 3 + 1
    truth = (features @ rng.normal(size=(6, 3)) + rng.normal(size=(90, 3)) > 0.5).astype(float)
    folds = np.arange(90) % 3
    head = head_from_features(features[None].astype(np.float32), truth, folds, np.ones(90), 3, positive)
    assert head.l2 in head.scores
    found = head.logits(features)
    for number in range(3):
        weight = 1.0 if positive is None else positive[number]
        expected = alone(features, truth[:, number], head.l2, weight)
        np.testing.assert_allclose(found[:, number], expected, atol=0.02 * np.abs(expected).max())
