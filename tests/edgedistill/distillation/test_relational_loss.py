"""rkd_loss: distances and angles among the images of a batch, against the paper written out in loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from edgedistill.distillation.feature_losses import rkd_loss


def huber(a, b):
    gap = abs(a - b)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def rkd_oracle(student, teacher, distance_weight, angle_weight):
    count = range(len(student))
    pairs = list(itertools.permutations(count, 2))

    def distances(x):
        lengths = {(i, j): math.dist(x[i], x[j]) for i, j in pairs}
        mean = math.fsum(lengths.values()) / len(pairs)
        return {pair: length / mean for pair, length in lengths.items()}

    def cosine(x, i, j, k):
        a, b = np.subtract(x[i], x[j]), np.subtract(x[k], x[j])
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    s, t = distances(student), distances(teacher)
    by_distance = math.fsum(huber(s[pair], t[pair]) for pair in pairs) / len(pairs)
    triples = list(itertools.permutations(count, 3))
    by_angle = math.fsum(huber(cosine(student, *x), cosine(teacher, *x)) for x in triples)
    return distance_weight * by_distance + angle_weight * by_angle / len(triples)


@pytest.mark.parametrize(("images", "weights"), [(3, (1, 2)), (5, (1, 0)), (5, (0, 1)), (6, (3, 1))])
def test_rkd_loss_equals_the_paper_in_loops(rng, images, weights):
    student, teacher = rng.normal(size=(images, 4)), 9 * rng.normal(size=(images, 7))
    got = rkd_loss(torch.tensor(student), torch.tensor(teacher), *weights)
    assert got.dtype == torch.float64
    assert got.item() == pytest.approx(rkd_oracle(student, teacher, *weights), rel=1e-9)
    single = rkd_loss(torch.tensor(student).float(), torch.tensor(teacher).float(), *weights)
    assert single.item() == pytest.approx(got.item(), rel=1e-4)


def test_rkd_loss_by_hand():
    """A right isosceles triangle against three points in a row: the corner is between the ends."""
    student, teacher = [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [[-1.0], [0.0], [1.0]]
    distance = rkd_loss(torch.tensor(student), torch.tensor(teacher), 1, 0).item()
    mean = (2 + math.sqrt(2)) / 3
    legs, base = huber(1 / mean, 3 / 4), huber(math.sqrt(2) / mean, 6 / 4)
    assert distance == pytest.approx((2 * legs + base) / 3, rel=1e-5)
    angle = rkd_loss(torch.tensor(student), torch.tensor(teacher), 0, 1).item()
    assert angle == pytest.approx((huber(0, -1) + 2 * huber(math.sqrt(0.5), 1)) / 3, rel=1e-5)


def test_rkd_loss_ignores_scale_shift_and_rotation_in_another_space(rng):
    teacher = torch.tensor(rng.normal(size=(6, 4)))
    turn = torch.linalg.qr(torch.tensor(rng.normal(size=(9, 4)))).Q
    student = 30 * teacher @ turn.T + 5
    assert rkd_loss(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert rkd_loss(teacher.flip(0), teacher).item() > 1e-3


def test_the_gradient_of_rkd_loss_equals_finite_differences_and_spares_the_teacher(rng):
    student = torch.tensor(rng.normal(size=(4, 3))).requires_grad_()
    teacher = torch.tensor(rng.normal(size=(4, 5))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rkd_loss(x, teacher.detach()), (student,))
    rkd_loss(student, teacher).backward()
    assert student.grad.abs().max() > 1e-3
    assert teacher.grad is None


@pytest.mark.parametrize("equal", [2, 5])
def test_rkd_loss_of_coinciding_images_is_finite_and_they_do_not_pull_each_other(rng, equal):
    """Two views with one embedding, or a collapsed student: a root has no slope at 0."""
    student = torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float32)
    student[:equal] = student[0].clone()
    student.requires_grad_()
    loss = rkd_loss(student, torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float32))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 100
    still = rkd_loss(torch.tensor(rng.normal(size=(5, 4))), student.detach())
    assert torch.isfinite(still)


def test_a_collapsed_student_that_differs_by_rounding_alone_counts_as_coinciding(rng):
    noise = 1e-7 * torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float32)
    student = (1 + noise).requires_grad_()
    assert not torch.equal(student[0], student[1])
    rkd_loss(student, torch.tensor(rng.normal(size=(5, 4)), dtype=torch.float32)).backward()
    assert torch.equal(student.grad, torch.zeros(5, 4))


@pytest.mark.parametrize("images", [1, 2])
def test_rkd_loss_says_why_one_or_two_images_have_no_relations(images):
    with pytest.raises(ValueError, match=f"3 images or more, got {images}: one has none"):
        rkd_loss(torch.zeros(images, 4), torch.zeros(images, 4))
    with pytest.raises(ValueError, match=r"must be \(N, D_s\) and \(N, D_t\)"):
        rkd_loss(torch.zeros(4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="4 student and 5 teacher"):
        rkd_loss(torch.zeros(4, 2), torch.zeros(5, 2))


def test_rkd_loss_computes_in_float32_under_autocast(rng):
    student, teacher = torch.tensor(rng.normal(size=(2, 6, 40)), dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        got = rkd_loss(student, teacher)
    assert got.dtype == torch.float32
    assert got.item() == rkd_loss(student.float(), teacher.float()).item()
