"""What a student is trained on, as pure functions of logits and features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Soft-target distillation: T² · KL(teacher ‖ student), mean over the batch.

    Args:
        student_logits: (N, C) float, before softmax; the gradient flows here.
        teacher_logits: (N, C) float; a constant.
        temperature: T > 0, divides both.

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
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def label_loss(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy against the hard labels, mean over the batch.

    Args:
        logits: (N, C) float.
        labels: (N,) int64, in 0..C-1.
        class_weights: (C,) float with mean 1, or None. The mean is over images, not over
            weights, so that a batch of rare classes does pull harder.
        smoothing: in [0, 1), mass given evenly to all classes.

    Returns:
        () float32, nats, >= 0.
    """
    losses = F.cross_entropy(
        logits.float(), labels, weight=class_weights, reduction="none", label_smoothing=smoothing
    )
    return losses.mean()


def feature_loss(
    student_features: Tensor, teacher_features: Tensor, projector: nn.Module
) -> Tensor:
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
