"""The losses of several labels an image: each label is a question of its own, yes or no."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def label_set_losses(outputs: Tensor, targets: Tensor, positive_weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of each image, mean over the labels.

    Args:
        outputs: (N, K) logits; the gradient flows here.
        targets: (N, K) float in [0, 1], between them of mixed images; NaN where an image has no targets.
        positive_weights: (K,) of each label where it is there, or None for 1 each.

    Returns:
        (N,) float32, nats, >= 0; 0 without a gradient where the target is NaN.

    Raises:
        ValueError: shapes differ.
    """
    _require_equal_shapes(outputs, targets)
    known = ~torch.isnan(targets).any(dim=1)
    wanted = torch.where(known[:, None], targets.detach().float(), 0.0)
    losses = F.binary_cross_entropy_with_logits(outputs.float(), wanted, pos_weight=positive_weights, reduction="none")
    return torch.where(known, losses.mean(dim=1), 0.0)


def label_kl_losses(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) between the Bernoulli distributions of each label, mean over the labels.

    Args:
        student: (N, K) logits; the gradient flows here.
        teacher: (N, K) logits; a constant.
        temperature: T > 0, divides both.

    Returns:
        (N,) float32, nats, >= 0 up to rounding.

    Raises:
        ValueError: shapes differ, or the temperature is not positive.

    Source: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2, for each label by itself as in Yang et al. 2023,
    arXiv:2308.06453, section 3.1 (one binary distillation a label).
    """
    _require_equal_shapes(student, teacher)
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    own, other = student.float() / temperature, teacher.detach().float() / temperature
    kl = torch.sigmoid(other) * (other - own) + F.softplus(own) - F.softplus(other)
    return temperature**2 * kl.mean(dim=1)


def _require_equal_shapes(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs are {tuple(outputs.shape)}, targets {tuple(targets.shape)}; the same labels on both?"
        )
