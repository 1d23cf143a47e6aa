"""Every logit loss at its limits: gaps, few classes, constant rows, what changes nothing and what is refused."""

import math

import numpy as np
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
    note_for,
    standardised,
    why_not_for,
    wttm_loss,
)
from logit_losses_in_loops import (
    LOSSES,
    anything,
    dist_oracle,
    double,
    drawn,
    labels_for,
    logits_of,
    probabilities,
    seeds,
    temperatures,
    weights,
)


def dkd_as_others_write_it(student, teacher, labels):
    """TCKD at T = 1 by the logarithm of summed probabilities, as in mdistiller."""
    mask = torch.nn.functional.one_hot(labels, student.shape[1])

    def pair(logits):
        p = torch.softmax(logits, dim=1)
        return torch.stack([(p * mask).sum(1), (p * (1 - mask)).sum(1)], dim=1)

    p, q = pair(teacher), pair(student)
    return (p * (p.log() - q.log())).sum(1).mean()


@pytest.mark.parametrize("gap", [120.0, 5000.0])
def test_dkd_loss_is_finite_where_a_sum_of_probabilities_vanishes(gap):
    """TCKD of a teacher (1, 1, 1)/3 and a student certain of its label is 2/3 · gap - ln 3."""
    teacher, label = torch.zeros(1, 3), torch.tensor([0])
    moderate = torch.tensor([[2.0, 0.0, 0.0]])
    assert dkd_loss(moderate, teacher, label, 1.0).item() == pytest.approx(
        dkd_as_others_write_it(moderate, teacher, label).item(), rel=1e-5
    )
    student = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    assert torch.isinf(dkd_as_others_write_it(student, teacher, label))
    loss = dkd_loss(student, teacher, label, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(2 / 3 * gap - math.log(3), rel=1e-6)
    torch.testing.assert_close(student.grad, torch.tensor([[2.0, -1.0, -1.0]]) / 3)


@pytest.mark.parametrize("gap", [120.0, 5000.0])
def test_certain_and_opposed_networks_have_the_loss_of_the_limit(gap):
    """Softmax is one-hot here: e0, e1, e1 against e2, e2, e0."""
    student = torch.tensor([[gap, 0, -gap], [0, gap, -gap], [-gap, gap, 0]])
    labels = torch.tensor([0, 1, 2])
    # Per image TCKD + 8 · NCKD: 2 + 8 · 1, 2 + 8 · 1 and 1 + 8 · 2 gaps, from e0/e2 and so on.
    limits = {
        "dkd": (lambda s, t: dkd_loss(s, t, labels, 1.0), 34 / 3 * gap),
        "dist": (lambda s, t: dist_loss(s, t, 1.0), 3 / 2 + 7 / 6),
        "wttm": (lambda s, t: wttm_loss(s, t, 0.5), 2 * gap),
        "mse": (mse_loss, 8 / 3 * gap**2),
    }
    for name, (loss_of, limit) in limits.items():
        logits = student.clone().requires_grad_()
        loss = loss_of(logits, -student)
        loss.backward()
        assert loss.item() == pytest.approx(limit, rel=1e-5), name
        assert torch.isfinite(logits.grad).all(), name


@pytest.mark.parametrize("classes", [3, 7, 10, 1000])
def test_dist_loss_of_an_undecided_student_is_finite_and_does_not_pull(classes, rng):
    """A head at zero: rows and columns constant up to rounding, whose direction is noise."""
    teacher = torch.tensor(rng.normal(size=(4, classes)), dtype=torch.float32)
    student = torch.full((4, classes), 0.1, requires_grad=True)
    loss = dist_loss(student, teacher, 2.0, inter=1.0, intra=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(4 * (1.0 + 0.5))
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_dist_loss_counts_a_constant_row_or_column_as_uncorrelated(rng):
    student, teacher = rng.normal(size=(2, 4, 5))
    for undecided in (student, teacher):
        undecided[1] = 0.3  # one image, no class preferred
    for s, t in ((student, rng.normal(size=(4, 5))), (rng.normal(size=(4, 5)), teacher)):
        logits = double(s).requires_grad_()
        loss = dist_loss(logits, double(t), 2.0)
        loss.backward()
        assert loss.item() == pytest.approx(dist_oracle(s, t, 2.0, 1.0, 1.0), rel=1e-9)
        assert logits.grad.abs().max() < 10
    same = np.tile(student[:1], (4, 1))  # every column constant: the intra term is 1
    got = dist_loss(double(same), double(teacher), 2.0, inter=0.0)
    assert got.item() == pytest.approx(4.0)


def test_standardised_constant_rows_become_zero_with_a_finite_gradient():
    logits = torch.full((2, 5), 0.3, requires_grad=True)
    out = standardised(logits)
    assert torch.equal(out, torch.zeros(2, 5))
    (out * torch.arange(5.0)).sum().backward()
    assert torch.isfinite(logits.grad).all()


@anything
@given(seeds, st.integers(1, 6), temperatures, weights, weights)
def test_for_two_classes_dkd_loss_is_kd_loss_times_alpha(seed, images, temperature, alpha, beta):
    student, teacher, labels = drawn(seed, images, 2)
    teacher, labels = double(teacher), torch.tensor(labels)
    by_dkd, by_kd = double(student).requires_grad_(), double(student).requires_grad_()
    dkd = dkd_loss(by_dkd, teacher, labels, temperature, alpha, beta)
    kd = alpha * kd_loss(by_kd, teacher, temperature)
    dkd.backward()
    kd.backward()
    # kd_loss works in float32, and its KL is a difference of terms of order 1.
    assert dkd.item() == pytest.approx(kd.item(), rel=1e-4, abs=1e-6 * temperature**2 * (1 + alpha))
    torch.testing.assert_close(by_dkd.grad, by_kd.grad, rtol=1e-4, atol=1e-5 * (1 + alpha))
    without = dkd_loss(by_dkd, teacher, labels, temperature, alpha, 0.0)
    assert dkd.item() == without.item()


@anything
@given(seeds, st.integers(2, 8), temperatures)
def test_dkd_loss_with_the_weights_of_equation_6_is_kd_loss(seed, classes, temperature):
    """KD = TCKD + (1 - p_label) · NCKD, one image at a time."""
    student, teacher, label = drawn(seed, 1, classes)
    beta = 1 - probabilities(teacher[0], temperature)[label[0]]
    student, teacher = double(student), double(teacher)
    got = dkd_loss(student, teacher, torch.tensor(label), temperature, 1.0, beta).item()
    expected = kd_loss(student, teacher, temperature).item()
    assert got == pytest.approx(expected, rel=1e-4, abs=2e-6 * temperature**2)


def test_for_two_classes_dist_loss_has_no_inter_term(rng):
    student, teacher = double(rng.normal(size=(2, 5, 2)))
    p, q = torch.softmax(student, 1).numpy(), torch.softmax(teacher, 1).numpy()
    signs = [np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)]
    assert np.abs(signs) == pytest.approx(1)  # the reason: nothing but a sign
    alone = dist_loss(student, teacher, 1.0, inter=0.0)
    assert alone.item() == pytest.approx(1 - np.corrcoef(p[:, 0], q[:, 0])[0, 1])
    assert dist_loss(student, teacher, 1.0, inter=50.0).item() == alone.item()


def test_dist_loss_leaves_out_the_term_that_a_batch_cannot_have(rng):
    student, teacher = double(rng.normal(size=(2, 1, 4)))
    with_intra, alone = (dist_loss(student, teacher, 1.0, intra=w).item() for w in (50.0, 0.0))
    assert with_intra == alone > 0
    pair = double(rng.normal(size=(2, 4))).requires_grad_()  # two images: signs, no gradient
    dist_loss(pair, double(rng.normal(size=(2, 4))), 1.0, inter=0.0).backward()
    assert pair.grad.abs().max() < 1e-9
    for shape, zero in (((1, 2), {}), ((1, 4), {"inter": 0.0}), ((5, 2), {"intra": 0.0})):
        with pytest.raises(ValueError, match="no term left"):
            dist_loss(torch.zeros(shape), torch.zeros(shape), 1.0, **zero)


def test_wttm_loss_at_power_one_is_kd_loss_at_temperature_one(rng):
    student, teacher = double(rng.normal(size=(2, 6, 5)))
    assert wttm_loss(student, teacher, 1.0).item() == pytest.approx(kd_loss(student, teacher, 1.0).item(), rel=1e-5)


def test_dist_loss_forgives_a_teacher_mixed_with_the_uniform_distribution(rng):
    """Pearson ignores a·p + b with a > 0 in probabilities; a per image only over classes."""
    p = torch.softmax(double(rng.normal(size=(6, 5))), dim=1)
    student = logits_of(p.tolist())
    evenly = logits_of((0.7 * p + 0.3 / 5).tolist())
    assert dist_loss(student, evenly, 1.0).item() == pytest.approx(0, abs=1e-12)
    share = double(rng.uniform(0.2, 0.9, size=(6, 1)))
    unevenly = logits_of((share * p + (1 - share) / 5).tolist())
    assert dist_loss(student, unevenly, 1.0, intra=0.0).item() == pytest.approx(0, abs=1e-12)
    assert dist_loss(student, unevenly, 1.0, inter=0.0).item() > 1e-3
    # Of logits it forgives only the shift: a stretch bends the probabilities.
    assert dist_loss(student, 3 * student, 1.0).item() > 1e-3


@pytest.mark.parametrize("name", ["kd", "dkd", "dist", "wttm"])
def test_a_shift_of_one_images_logits_changes_nothing(name, rng):
    student, teacher = double(rng.normal(size=(2, 6, 5)))
    shift = double(rng.normal(scale=5, size=(6, 1)))
    expected = LOSSES[name](student, teacher).item()
    assert LOSSES[name](student + shift, teacher - shift).item() == pytest.approx(expected, rel=1e-5)


def test_standardised_ignores_shift_and_positive_stretch_of_each_image(rng):
    logits = double(rng.normal(size=(6, 5)))
    stretch = double(rng.uniform(0.1, 9, size=(6, 1)))
    torch.testing.assert_close(standardised(stretch * logits + 3), standardised(logits), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised(-logits), -standardised(logits))


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_the_order_of_images_and_of_classes_changes_nothing(name, rng):
    student, teacher = double(rng.normal(size=(2, 6, 5)))
    labels = labels_for(student)
    images, classes = torch.tensor(rng.permutation(6)), torch.tensor(rng.permutation(5))

    def loss(s, t, y):
        return (dkd_loss(s, t, y, 2.0) if name == "dkd" else LOSSES[name](s, t)).item()

    expected = pytest.approx(loss(student, teacher, labels), rel=1e-5)
    assert loss(student[images], teacher[images], labels[images]) == expected
    moved = torch.argsort(classes)[labels]  # class c now sits at the place where `classes` has c
    assert loss(student[:, classes], teacher[:, classes], moved) == expected


@pytest.mark.parametrize("name", ["kd", "dkd", "wttm"])
def test_the_mean_is_over_images_and_not_over_classes(name, rng):
    """Twice the batch, or a class that neither network believes in: the same loss (TAO's defect)."""
    student, teacher = double(rng.normal(size=(2, 5, 5)))
    expected = pytest.approx(LOSSES[name](student, teacher).item(), rel=1e-5)
    assert LOSSES[name](student.repeat(2, 1), teacher.repeat(2, 1)).item() == expected
    never = torch.full((5, 1), -1e4).double()
    with_never = (torch.cat([student, never], 1), torch.cat([teacher, never], 1))
    assert LOSSES[name](*with_never).item() == expected


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_every_loss_refuses_another_shape(name):
    for student, teacher in (((2, 3), (2, 4)), ((2, 3), (3, 3)), ((2, 1), (2,))):
        with pytest.raises(ValueError, match="same class list"):
            LOSSES[name](torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperatures_and_powers_that_make_no_sense_are_refused(temperature):
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        dkd_loss(x, x, torch.tensor([0, 1]), temperature)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        dist_loss(x, x, temperature)
    for power in (temperature, 1.01, 4.0):
        with pytest.raises(ValueError, match=r"power must be in \(0, 1\]"):
            wttm_loss(x, x, power)


def test_dkd_loss_refuses_labels_that_do_not_fit():
    x = torch.zeros(2, 3)
    for labels in (torch.zeros(2, 1), torch.zeros(3), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match="want"):
            dkd_loss(x, x, labels.long(), 1.0)
    with pytest.raises(ValueError, match="want"):
        dkd_loss(x[:, :1], x[:, :1], torch.tensor([0, 0]), 1.0)
    for outside in (-1, 3):
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            dkd_loss(x, x, torch.tensor([0, outside]), 1.0)


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_why_not_for_and_standardised_refuse_the_same_numbers_of_classes(name, classes, rng):
    logits = double(rng.normal(size=(3, classes)))
    reason = why_not_for(name, True, classes)
    if classes >= 3:
        assert reason is None
        assert standardised(logits).shape == (3, classes)
        return
    with pytest.raises(ValueError, match="0.7071") as refused:
        standardised(logits)
    assert str(refused.value) == reason
    assert "\n" not in reason


def test_two_standardised_logits_say_only_which_is_larger(rng):
    """The reason for the refusal, by numpy."""
    pairs = rng.normal(scale=5, size=(20, 2))
    z = (pairs - pairs.mean(1, keepdims=True)) / pairs.std(1, ddof=1, keepdims=True)
    assert np.abs(z) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_why_not_for_names_the_losses_that_a_single_output_cannot_train(name, rng):
    assert why_not_for(name, False, 2) is None
    student, teacher = double(rng.normal(size=(2, 4, 1)))
    student.requires_grad_()
    reason = why_not_for(name, False, 1)
    if name == "mse":
        assert reason is None
        assert LOSSES[name](student, teacher).item() > 0
    elif name in ("kd", "wttm"):
        LOSSES[name](student, teacher).backward()
        assert not student.grad.any()
        assert "use mse" in reason
    else:
        with pytest.raises(ValueError, match="want|no term left"):
            LOSSES[name](student, teacher)
        assert "use mse" in reason


def test_note_for_tells_what_is_left_at_two_classes():
    notes = {name: note_for(name, 2) for name in LOGIT_LOSSES}
    assert {name for name, note in notes.items() if note} == {"dkd", "dist"}
    assert "kd scaled by alpha" in notes["dkd"]
    assert "only intra" in notes["dist"]
    assert not any(note_for(name, 3) for name in LOGIT_LOSSES)


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'kld'; there are: kd, dkd, dist, wttm, mse"):
        why_not_for("kld", False, 10)
