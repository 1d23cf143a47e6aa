"""The losses of a regression, and the two terms of every task whose targets are figures: labels and teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgedistill.core.distributed import mean_tensor_over_ranks
from edgedistill.distillation.logit_cache import LogitCache
from edgedistill.training.batches import Batch, sent
from edgedistill.training.loop import Outputs, Term

Losses = Callable[[Tensor, Tensor], Tensor]
"""(outputs (N, K), targets (N, K)) -> (N,) losses, 0 where the target is NaN."""
HUBER_DELTA = 1.0  # standard deviations of the value; beyond it an error counts linearly


def value_losses(outputs: Tensor, targets: Tensor, loss: str) -> Tensor:
    """The loss of each image, mean over the values.

    Args:
        outputs: (N, K) float, standard deviations from the training mean; the gradient flows here.
        targets: (N, K) float, the same; a constant. NaN where there is none.
        loss: `mse`, half the squared error, or `huber`, the same up to HUBER_DELTA and linear from there.

    Returns:
        (N,) float32, >= 0; 0 without a gradient where the target is NaN.

    Raises:
        ValueError: shapes differ.

    Source: Huber 1964, Ann. Math. Stat. 35, 73-101.
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs are {tuple(outputs.shape)}, targets {tuple(targets.shape)}; the same values on both?"
        )
    known = ~torch.isnan(targets).any(dim=1)
    outputs, targets = outputs.float(), torch.where(known[:, None], targets.detach().float(), outputs.detach().float())
    if loss == "huber":
        return F.huber_loss(outputs, targets, reduction="none", delta=HUBER_DELTA).mean(dim=1)
    return 0.5 * F.mse_loss(outputs, targets, reduction="none").mean(dim=1)


def target_term(weight: float, losses: Losses) -> Term:
    """The loss against the labels: over those images that have one, an image mixed with one without left out."""

    def label(outputs: Outputs, batch: Batch) -> Tensor:
        targets = _targets(batch)
        known = (~torch.isnan(targets).any(dim=1)).sum().to(torch.float32)
        total = losses(outputs.logits, targets).sum()
        return total / mean_tensor_over_ranks(known).clamp_min(1.0)

    return Term(label, weight)


def taught_term(cache: LogitCache, weight: float, device: torch.device, losses: Losses) -> Term:
    """The loss against the teacher's outputs for the same view, of every image.

    Source: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2 (matching the outputs before the softmax).
    """

    def taught(outputs: Outputs, batch: Batch) -> Tensor:
        return losses(outputs.logits, sent(cache.logits(batch), device)).mean()

    return Term(taught, weight)


def _targets(batch: Batch) -> Tensor:
    if batch.targets is None:
        raise ValueError("this batch has no figures: its images were listed with classes")
    return batch.targets
