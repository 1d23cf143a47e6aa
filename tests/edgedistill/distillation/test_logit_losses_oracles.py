"""Every logit loss against loops over Python floats, hand-computed numbers, and finite differences."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgedistill.distillation.losses import (
    LOGIT_LOSSES,
    dist_loss,
    dkd_loss,
    kd_loss,
    mse_loss,
    standardised,
    wttm_loss,
)
from logit_losses_in_loops import (
    LOSSES,
    NEW,
    anything,
    dist_oracle,
    dkd_oracle,
    double,
    drawn,
    logits_of,
    seeds,
    temperatures,
    weights,
    wttm_oracle,
)


@anything
@given(seeds, st.integers(1, 6), st.integers(2, 8), temperatures, weights, weights)
def test_dkd_loss_equals_the_paper_in_loops(seed, images, classes, temperature, alpha, beta):
    student, teacher, labels = drawn(seed, images, classes)
    got = dkd_loss(double(student), double(teacher), torch.tensor(labels), temperature, alpha, beta)
    expected = dkd_oracle(student, teacher, labels, temperature, alpha, beta)
    assert got.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@anything
@given(seeds, st.integers(2, 6), st.integers(3, 8), temperatures, weights, weights)
def test_dist_loss_equals_the_paper_in_loops(seed, images, classes, temperature, inter, intra):
    student, teacher, _ = drawn(seed, images, classes)
    inter += 0.1  # both weights at 0 are refused
    got = dist_loss(double(student), double(teacher), temperature, inter, intra)
    expected = dist_oracle(student, teacher, temperature, inter, intra)
    assert got.item() == pytest.approx(expected, rel=1e-7, abs=1e-9)


@anything
@given(seeds, st.integers(1, 6), st.integers(2, 8), st.floats(0.05, 1.0))
def test_wttm_loss_equals_the_paper_in_loops(seed, images, classes, power):
    student, teacher, _ = drawn(seed, images, classes)
    got = wttm_loss(double(student), double(teacher), power)
    assert got.item() == pytest.approx(wttm_oracle(student, teacher, power), rel=1e-9, abs=1e-12)


@anything
@given(seeds, st.integers(1, 6), st.integers(1, 8))
def test_mse_loss_equals_the_sum_of_squares_in_loops(seed, images, width):
    student, teacher, _ = drawn(seed, images, width)
    squares = [(student[i][j] - teacher[i][j]) ** 2 for i in range(images) for j in range(width)]
    got = mse_loss(double(student), double(teacher))
    assert got.item() == pytest.approx(sum(squares) / (images * width), rel=1e-12)


@anything
@given(seeds, st.integers(1, 6), st.integers(3, 8))
def test_standardised_equals_the_statistics_module(seed, images, classes):
    rows, _, _ = drawn(seed, images, classes)
    expected = [[(x - statistics.fmean(row)) / (statistics.stdev(row) + 1e-7) for x in row] for row in rows]
    torch.testing.assert_close(standardised(double(rows)), double(expected))


def test_dkd_loss_by_hand():
    """T = 1, label 0: teacher (1, 1, 1)/3, student (4, 3, 1)/8."""
    student, teacher = logits_of([[4 / 8, 3 / 8, 1 / 8]]), torch.zeros(1, 3).double()
    tckd = math.log(2 / 3) / 3 + 2 * math.log(4 / 3) / 3
    nckd = math.log(2) - math.log(3) / 2  # (1/2, 1/2) from (3/4, 1/4)
    label = torch.tensor([0])
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0), (1.0, 8.0)):
        got = dkd_loss(student, teacher, label, 1.0, alpha, beta).item()
        assert got == pytest.approx(alpha * tckd + beta * nckd, rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_dist_loss_by_hand(temperature):
    """(5, 3, 2)/10 and (2, 3, 5)/10 correlate by -13/14, as classes or as images."""
    student, teacher = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    expected = temperature**2 * 27 / 14
    one_image = dist_loss(logits_of([student], temperature), logits_of([teacher], temperature), temperature)
    assert one_image.item() == pytest.approx(expected, rel=1e-12)
    two_classes = dist_loss(
        logits_of([[p, 1 - p] for p in student], temperature),
        logits_of([[p, 1 - p] for p in teacher], temperature),
        temperature,
    )
    assert two_classes.item() == pytest.approx(expected, rel=1e-12)


def test_wttm_loss_by_hand():
    """Teacher (16, 1)/17 at power 1/2: q = (4, 1)/5, weight 5/sqrt(17); student undecided."""
    got = wttm_loss(torch.zeros(1, 2).double(), logits_of([[16 / 17, 1 / 17]]), 0.5).item()
    divergence = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert got == pytest.approx(5 / math.sqrt(17) * divergence, rel=1e-12)


def test_mse_loss_and_standardised_by_hand():
    assert mse_loss(double([[1, 2], [3, 4]]), double([[1, 0], [0, 4]])).item() == 13 / 4
    expected = double([[-1, 0, 1]])
    torch.testing.assert_close(standardised(double([[5, 7, 9]])), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NEW)
def test_the_gradient_equals_finite_differences_and_spares_the_teacher(name, rng):
    student, teacher = double(rng.normal(size=(2, 4, 5)))
    assert torch.autograd.gradcheck(lambda logits: LOSSES[name](logits, teacher), (student.clone().requires_grad_(),))
    student.requires_grad_()
    teacher.requires_grad_()
    LOSSES[name](student, teacher).backward()
    assert student.grad.abs().max() > 1e-3
    assert teacher.grad is None


def test_the_gradient_through_standardised_equals_finite_differences(rng):
    logits = double(rng.normal(size=(3, 5))).requires_grad_()
    assert torch.autograd.gradcheck(standardised, (logits,))
    teacher = standardised(double(rng.normal(size=(3, 5))))
    kd_loss(standardised(logits), teacher, 2.0).backward()
    assert logits.grad.abs().max() > 1e-3
    # Neither a shift nor a stretch of the logits can change the loss (kd_loss works in float32).
    assert logits.grad.sum(1).abs().max() < 1e-6
    assert (logits.grad * logits.detach()).sum(1).abs().max() < 1e-6


@pytest.mark.parametrize("name", NEW)
def test_float64_is_kept_and_half_types_are_lifted_to_float32(name, rng):
    student, teacher = double(rng.normal(size=(2, 6, 5)))
    assert LOSSES[name](student, teacher).dtype == torch.float64
    for half in (torch.float16, torch.bfloat16):
        s, t = student.to(half), teacher.to(half)
        got = LOSSES[name](s, t)
        assert got.dtype == torch.float32
        assert got.item() == LOSSES[name](s.float(), t.float()).item()
    single = LOSSES[name](student.float(), teacher.float()).item()
    assert single == pytest.approx(LOSSES[name](student, teacher).item(), rel=1e-5)
    assert standardised(student.half()).dtype == torch.float32


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_a_student_that_equals_its_teacher_has_loss_and_gradient_zero(name, rng):
    teacher = double(rng.normal(size=(6, 5)))
    power = 0.4 if name == "wttm" else 1.0  # its student is to equal the teacher at 1/T
    student = (power * teacher).requires_grad_()
    loss = LOSSES[name](student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6
    assert LOSSES[name](teacher.flip(1), teacher).item() > 0.01
