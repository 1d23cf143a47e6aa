"""The teacher's answer given the label, against Bayes' rule over classes one by one."""

import math

import numpy as np
import pytest
import torch

from edgedistill.config.training import DistillConfig
from edgedistill.distillation.objectives import given_labels, logit_terms
from edgedistill.training.batches import Batch
from edgedistill.training.loop import Outputs

ERROR = 0.03


def batch_of(labels, partners=None, shares=None):
    count = len(labels)
    return Batch(
        torch.zeros(count, 3, 1, 1),
        torch.tensor(labels),
        torch.arange(count),
        torch.zeros(count, dtype=torch.int64),
        torch.tensor(labels if partners is None else partners),
        torch.tensor([1.0] * count if shares is None else shares),
    )


def posterior(probabilities, label):
    """p(class | image, label) of one image: a label is right with 1 - ERROR, else any other class alike."""
    others = len(probabilities) - 1
    joint = [p * (1 - ERROR if c == label else ERROR / others) for c, p in enumerate(probabilities)]
    return [p / sum(joint) for p in joint]


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_it_is_bayes_rule(classes):
    logits = torch.tensor(np.random.default_rng(classes).normal(size=(40, classes)) * 3)
    labels = [row % classes for row in range(40)]
    told = torch.softmax(given_labels(logits, batch_of(labels), ERROR), dim=1)
    before = torch.softmax(logits, dim=1).tolist()
    by_hand = [posterior(row, label) for row, label in zip(before, labels, strict=True)]
    assert torch.allclose(told, torch.tensor(by_hand, dtype=told.dtype), atol=1e-12)


def test_an_image_without_a_label_keeps_the_teachers_answer():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.1]])
    assert torch.equal(given_labels(logits, batch_of([-1, -1]), ERROR), logits)


def test_of_a_mixed_image_each_label_counts_by_its_share():
    logits = torch.zeros(2, 3, dtype=torch.float64)
    told = given_labels(logits, batch_of([0, 2], partners=[1, -1], shares=[0.75, 0.6]), ERROR)
    evidence = math.log((1 - ERROR) * 2 / ERROR)
    expected = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 0.6]], dtype=torch.float64) * evidence
    assert torch.allclose(told, expected, atol=1e-6)


def test_the_student_is_taught_it():
    """At the posterior itself the soft term is 0, at the teacher's own answer it is not."""
    teacher, batch = torch.tensor([[1.0, -2.0], [0.3, 0.2]]), batch_of([1, 0])
    wanted = torch.tensor(
        [
            [math.log(p) for p in posterior(torch.softmax(row, 0).tolist(), label)]
            for row, label in zip(teacher, (1, 0), strict=True)
        ]
    )

    class Cache:
        def logits(self, batch):
            return teacher

    def loss(student, error):
        distill = DistillConfig(kd_weight=1.0, temperature=2.0, label_error_fraction=error)
        term = logit_terms(distill, Cache(), None, torch.device("cpu"))["kd"]
        return float(term.value(Outputs(student, student), batch))

    assert loss(wanted, ERROR) == pytest.approx(0, abs=1e-6)
    assert loss(teacher, ERROR) > 0.1
    assert loss(teacher, None) == pytest.approx(0, abs=1e-6)
