"""What a student is trained on, as pure functions of logits and features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedistill.config.methods import LOGIT_ROWS, logit_loss_row
from edgedistill.config.training import DistillConfig
from edgedistill.distillation.weighted import mean_kl, mean_of, pearson

_STANDARDISED_PAIR = "standardising needs 3 classes: two logits become ±0.7071, whatever they were"


def why_not_for(loss: str, standardise: bool, classes: int) -> str | None:
    """One line on why this loss teaches nothing at this many classes, or None. Ask before training.

    Raises:
        ValueError: loss is not in `config.methods.LOGIT_ROWS`.
    """
    row = logit_loss_row(loss)
    if standardise and classes < 3:
        return _STANDARDISED_PAIR
    if classes < row.min_classes:
        reason = ": the softmax over one is always 1" if classes == 1 else ""
        other = next((f"; use {other.name}" for other in LOGIT_ROWS if other.min_classes <= classes), "")
        return f"{loss} needs {row.min_classes} or more classes{reason}{other}"
    return None


def note_for(loss: str, classes: int) -> str | None:
    """One line on what this loss turns into at this many classes, or None."""
    return (logit_loss_row(loss).at_two_classes or None) if classes == 2 else None


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Soft-target distillation: T² · KL(teacher ‖ student), mean over the batch.

    Args:
        student_logits: (N, C) float, before softmax; the gradient flows here.
        teacher_logits: (N, C) float; a constant.
        temperature: T > 0, divides both.
        weights: (N,) float of the images, with mean 1 over the training set, or None for 1 each.

    Returns:
        () float32, nats, >= 0.

    Raises:
        ValueError: shapes differ, or temperature is not positive.

    Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2 (T² keeps the gradient's scale).
    """
    _refuse_other_shapes(student_logits, teacher_logits)
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    log_p = F.log_softmax(teacher_logits.detach().float() / temperature, dim=1)
    log_q = F.log_softmax(student_logits.float() / temperature, dim=1)
    return temperature**2 * mean_kl(log_q, log_p, weights)


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Decoupled distillation: T² · (alpha · TCKD + beta · NCKD), mean over the batch.

    TCKD is the KL of (label, not label), NCKD the KL among the other classes. For two classes
    NCKD is 0 whatever the logits, so this is then alpha · `kd_loss`.

    Args:
        student_logits, teacher_logits: (N, C) float, C >= 2; the gradient flows to the student.
        labels: (N,) int64, in 0..C-1.
        temperature: T > 0, divides both.
        alpha, beta: weights of TCKD and NCKD.
        weights: as of `kd_loss`.

    Returns:
        () float32 (float64 from float64), nats, >= 0; finite however far apart the logits are.

    Raises:
        ValueError: shapes differ, C < 2, or temperature is not positive.

    Source: Zhao et al. 2022, arXiv:2203.08679, equation 7.
    """
    student, teacher = _softened(student_logits, teacher_logits, temperature)
    if labels.shape != student.shape[:1] or student.shape[1] < 2:
        raise ValueError(f"logits {tuple(student.shape)}, labels {tuple(labels.shape)}: want (N, C >= 2), (N,)")
    # The softmax sums that a logarithm could meet as 0 are never formed: log-odds instead.
    target_s, others_s = _split_at(labels, student)
    target_t, others_t = _split_at(labels, teacher)
    tckd = mean_kl(target_s, target_t, weights)
    nckd = mean_kl(others_s, others_t, weights)
    return temperature**2 * (alpha * tckd + beta * nckd)


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    inter: float = 1.0,
    intra: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """DIST: T² · (inter · (1 - r over classes) + intra · (1 - r over the batch)), r Pearson's.

    The inter term is a mean over images, the intra term a mean over classes, both on softmax at T.
    A constant row or column counts as r = 0 and has no gradient. Two points always correlate by
    ±1, a sign without a gradient: so for two classes the inter term is left out, and a batch of
    two gives the intra term no gradient. A batch of one has no intra term.

    Args:
        student_logits, teacher_logits: (N, C) float, C >= 2; the gradient flows to the student.
        temperature: T > 0, divides both.
        inter, intra: weights; without effect for C == 2 and for N == 1 respectively.
        weights: as of `kd_loss`; the correlation over the batch is then a weighted one.

    Returns:
        () float32 (float64 from float64), in [0, 2 · T² · (inter + intra)].

    Raises:
        ValueError: shapes differ, temperature is not positive, or neither term is left.

    Source: Huang et al. 2022, arXiv:2205.10536, section 3, and the authors' DIST_KD for T².
    """
    student, teacher = _softened(student_logits, teacher_logits, temperature)
    images, classes = student.shape
    inter = inter if classes > 2 else 0.0
    intra = intra if images > 1 and classes > 1 else 0.0
    if inter == 0 and intra == 0:
        raise ValueError(f"no term left: inter needs 3 classes (got {classes}), intra 2 images (got {images})")
    p, q = F.softmax(student, dim=1), F.softmax(teacher, dim=1)
    over_classes = mean_of(1 - pearson(p, q), weights)
    over_batch = pearson(p.T, q.T, weights).mean()
    return temperature**2 * (inter * over_classes + intra * (1 - over_batch))


def wttm_loss(student_logits: Tensor, teacher_logits: Tensor, power: float, weights: Tensor | None = None) -> Tensor:
    """Weighted transformed teacher matching: sum(p^power) · KL(q ‖ student), mean over the batch.

    p is the teacher's softmax, q = p^power / sum(p^power); the student stays at T = 1.

    Args:
        student_logits, teacher_logits: (N, C) float; the gradient flows to the student.
        power: 1/T, in (0, 1]; at 1 this is `kd_loss` at T = 1.
        weights: as of `kd_loss`.

    Returns:
        () float32 (float64 from float64), nats, >= 0; 0 for student = power · teacher.

    Raises:
        ValueError: shapes differ, or power is outside (0, 1].

    Source: Zheng & Yang 2024, arXiv:2402.11148, section 4.
    """
    student, teacher = _softened(student_logits, teacher_logits, 1.0)
    if not 0 < power <= 1:
        raise ValueError(f"power must be in (0, 1], got {power}; it is 1/T")
    log_powers = power * F.log_softmax(teacher, dim=1)
    log_weight = log_powers.logsumexp(dim=1)
    log_q = log_powers - log_weight[:, None]
    kl = F.kl_div(F.log_softmax(student, dim=1), log_q, reduction="none", log_target=True)
    return mean_of(log_weight.exp() * kl.sum(dim=1), weights)


def mse_loss(student_outputs: Tensor, teacher_outputs: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared difference of logits or regression outputs, over all N · D numbers.

    Args:
        student_outputs, teacher_outputs: (N, D) float; the gradient flows to the student.
        weights: as of `kd_loss`.

    Returns:
        () float32 (float64 from float64), the outputs' unit squared, >= 0.

    Raises:
        ValueError: shapes differ.

    Source: Kim et al. 2021, arXiv:2105.08919 (L_MSE, a mean as in the authors' code).
    """
    student, teacher = _softened(student_outputs, teacher_outputs, 1.0)
    if weights is None:
        return F.mse_loss(student, teacher)
    return mean_of((student - teacher).square().mean(dim=1), weights)


# Name, as in config/methods.py -> (distill, student logits, teacher logits, labels, weights) -> loss.
LOGIT_LOSSES: dict[str, Callable[[DistillConfig, Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "kd": lambda distill, student, teacher, _, weights: kd_loss(student, teacher, distill.temperature, weights),
    "dkd": lambda distill, student, teacher, labels, weights: dkd_loss(
        student, teacher, labels, distill.temperature, beta=distill.dkd_beta, weights=weights
    ),
    "dist": lambda distill, student, teacher, _, weights: dist_loss(
        student, teacher, distill.temperature, weights=weights
    ),
    "wttm": lambda distill, student, teacher, _, weights: wttm_loss(
        student, teacher, 1 / max(1.0, distill.temperature), weights
    ),
    "mse": lambda distill, student, teacher, _, weights: mse_loss(student, teacher, weights),
}


def standardised(logits: Tensor) -> Tensor:
    """Each image's logits minus their mean, over their standard deviation; for both networks.

    Args:
        logits: (N, C) float, C >= 3; the gradient flows through.

    Returns:
        (N, C) float32 (float64 from float64); mean 0 and unbiased std 1 per row, 0 if constant.
        Tune T and the loss weight again: gaps between classes are bounded now.

    Raises:
        ValueError: C < 3.

    Source: Sun et al. 2024, arXiv:2403.01427; unbiased std and 1e-7 as in the authors' code.
    """
    if logits.shape[1] < 3:
        raise ValueError(_STANDARDISED_PAIR)
    std, mean = torch.std_mean(_at_least_float32(logits), dim=1, keepdim=True)
    return (logits - mean) / (std + 1e-7)


def label_losses(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy against the hard labels, image by image.

    Args:
        logits: (N, C) float.
        labels: (N,) int64, in 0..C-1, or -1 for an image that has none.
        class_weights: (C,) float with mean 1, or None: an image weighs by its label, smoothed or not. Not divided by
            afterwards, so that a batch of rare classes does pull harder.
        smoothing: in [0, 1), mass given evenly to all classes.

    Returns:
        (N,) float32, nats, >= 0; 0 where there is no label.
    """
    losses = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing, ignore_index=-1)
    return losses if class_weights is None else losses * class_weights[labels.clamp_min(0)]


def feature_loss(student_features: Tensor, teacher_features: Tensor, projector: nn.Module) -> Tensor:
    """Squared distance between unit-length feature vectors, mean over the batch: 2 - 2 cos.

    Length is left out on purpose: it differs between architectures by orders of magnitude, and a
    feature term that dominates hurts MobileNets.

    Args:
        student_features: (N, F_s) float, pooled; the gradient flows here.
        teacher_features: (N, F_t) float, pooled; a constant.
        projector: maps F_s to F_t; trained with the student and thrown away after it.

    Returns:
        () float32, in [0, 4].

    Source: FitNets, Romero et al. 2015, arXiv:1412.6550, equation 3 (hint and regressor), here on
    pooled, normalised features.
    """
    projected = projector(student_features.float())
    _refuse_other_shapes(projected, teacher_features)
    cosine = F.cosine_similarity(projected, teacher_features.detach().float(), dim=1)
    return (2 - 2 * cosine).mean()


def projector_between(student_width: int, teacher_width: int, seed: int) -> nn.Linear:
    """The regressor of `feature_loss`: one linear layer, initialised from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(student_width, teacher_width)


def _refuse_other_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} disagree; "
            "same class list and teacher on both?"
        )


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    _refuse_other_shapes(student, teacher)
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    teacher = teacher.detach()
    return _at_least_float32(student) / temperature, _at_least_float32(teacher) / temperature


def _split_at(labels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, 2) of label and not label, and (N, C-1) among the other classes."""
    labels = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, columns + (columns >= labels))  # skips the label's column
    log_odds = logits.gather(1, labels) - others.logsumexp(dim=1, keepdim=True)
    return F.logsigmoid(torch.cat([log_odds, -log_odds], dim=1)), F.log_softmax(others, dim=1)
