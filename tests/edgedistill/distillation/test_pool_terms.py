"""Temperature and weight of images without a label, against one image after another."""

import math

import pytest
import torch

from edgedistill.config.training import DistillConfig
from edgedistill.distillation.objectives import logit_terms
from edgedistill.distillation.weighted import pearson
from edgedistill.training.batches import Batch
from edgedistill.training.loop import Outputs

LABELS, PARTNERS, SHARES = [0, -1, 2, -1, -1, 1], [0, -1, 2, -1, 1, -1], [1.0, 1.0, 1.0, 1.0, 0.75, 0.6]
POOL_SHARES = [0.0, 1.0, 0.0, 1.0, 0.75, 0.4]  # of the last two views, each mixed with an image of the other kind
CLASS_WEIGHTS = [0.5, 2.0, 1.25]


class Cache:
    def __init__(self, logits):
        self._logits = logits

    def logits(self, batch):
        return self._logits


def given():
    torch.manual_seed(1)
    batch = Batch(
        torch.zeros(6, 3, 1, 1),
        torch.tensor(LABELS),
        torch.arange(6),
        torch.zeros(6, dtype=torch.int64),
        torch.tensor(PARTNERS),
        torch.tensor(SHARES),
    )
    return 3 * torch.randn(6, 3), 3 * torch.randn(6, 3), batch


def soft_loss(distill, class_weights=None):
    student, teacher, batch = given()
    term = logit_terms(distill, Cache(teacher), class_weights, torch.device("cpu"))["kd"]
    return term.weight * float(term.value(Outputs(student, student), batch))


def softmax(logits, temperature):
    odds = [math.exp(value / temperature) for value in logits]
    return [value / sum(odds) for value in odds]


def by_hand(temperature, weight, pool_temperature, pool_weight, class_weights=None):
    student, teacher, _ = given()
    total = 0.0
    for s, t, pool, label, partner, share in zip(
        student.tolist(), teacher.tolist(), POOL_SHARES, LABELS, PARTNERS, SHARES, strict=True
    ):
        own = 1.0
        if class_weights:
            first, second = (class_weights[n] if n >= 0 else 1.0 for n in (label, partner))
            own = share * first + (1 - share) * second
        for part, T, w in ((1 - pool, temperature, weight), (pool, pool_temperature, pool_weight)):
            p, q = softmax(t, T), softmax(s, T)
            total += own * part * w * T**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(LABELS)


@pytest.mark.parametrize(
    ("keys", "temperature", "weight"),
    [
        ({}, 4.0, 0.9),
        ({"pool_kd_weight": 0.9}, 4.0, 0.9),
        ({"pool_kd_weight": 0.2}, 4.0, 0.2),
        ({"pool_kd_weight": 3.0}, 4.0, 3.0),
        ({"pool_temperature": 1.0}, 1.0, 0.9),
        ({"pool_temperature": 1.5, "pool_kd_weight": 1.0}, 1.5, 1.0),
    ],
)
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_each_image_has_the_temperature_and_weight_of_its_kind(keys, temperature, weight, class_weights):
    weighed = None if class_weights is None else torch.tensor(class_weights)
    found = soft_loss(DistillConfig(temperature=4.0, kd_weight=0.9, **keys), weighed)
    assert found == pytest.approx(by_hand(4.0, 0.9, temperature, weight, class_weights), rel=1e-5)


def test_soft_labels_for_the_pool_alone():
    found = soft_loss(DistillConfig(kd_weight=0.0, temperature=2.0, pool_kd_weight=1.0))
    assert found == pytest.approx(by_hand(2.0, 0.0, 2.0, 1.0), rel=1e-5)


@pytest.mark.parametrize("loss", ["dkd", "dist", "wttm", "mse"])
def test_a_pool_of_weight_0_is_as_absent(loss):
    student, teacher, batch = given()
    distill = DistillConfig(loss=loss, kd_weight=1.0, pool_kd_weight=0.0)
    student.requires_grad_()
    term = logit_terms(distill, Cache(teacher), None, torch.device("cpu"))["kd"]
    (gradient,) = torch.autograd.grad(term.value(Outputs(student, student), batch), student)
    assert (gradient[[1, 3]] == 0).all()
    assert (gradient[[0, 2, 4, 5]] != 0).any(dim=1).all()


def test_a_correlation_in_which_nothing_weighs_is_0_and_has_no_gradient():
    rows = torch.randn(2, 5, requires_grad=True)
    found = pearson(rows, torch.randn(2, 5), torch.zeros(5))
    (gradient,) = torch.autograd.grad(found.sum(), rows)
    assert found.tolist() == [0, 0]
    assert (gradient == 0).all()
