"""The parts of a student's loss, put together from the recipe."""

from __future__ import annotations

import torch
from torch import Tensor

from edgedistill.distill.batches import Batch
from edgedistill.distill.logit_cache import LogitCache
from edgedistill.distill.loop import Outputs, Term
from edgedistill.distill.losses import (
    dist_loss,
    dkd_loss,
    kd_loss,
    label_losses,
    mse_loss,
    standardised,
    why_not_for,
    wttm_loss,
)
from edgedistill.errors import RecipeError
from edgedistill.ranks import gathered, mean_over_ranks
from edgedistill.sections import DistillConfig


def refuse_loss_without_information(distill: DistillConfig, classes: int) -> None:
    """
    Raises:
        RecipeError: with this many classes the loss says nothing, and why.
    """
    reason = why_not_for(distill.loss, distill.standardise, classes)
    if reason:
        raise RecipeError(f"distill.loss = {distill.loss!r}: {reason}")


def soft_label_loss(
    distill: DistillConfig, student: Tensor, teacher: Tensor, labels: Tensor
) -> Tensor:
    """The recipe's comparison of student and teacher logits.

    Args:
        student, teacher: (N, C) logits.
        labels: (N,) int64, for dkd.

    Returns:
        () tensor.
    """
    temperature = distill.temperature
    if distill.standardise:
        student, teacher = standardised(student), standardised(teacher)
    if distill.loss == "dkd":
        return dkd_loss(student, teacher, labels, temperature, beta=distill.dkd_beta)
    if distill.loss == "dist":
        return dist_loss(student, teacher, temperature)
    if distill.loss == "wttm":
        return wttm_loss(student, teacher, 1 / max(1.0, temperature))
    if distill.loss == "mse":
        return mse_loss(student, teacher)
    return kd_loss(student, teacher, temperature)


def logit_terms(
    distill: DistillConfig,
    cache: LogitCache,
    class_weights: Tensor | None,
    device: torch.device,
) -> dict[str, Term]:
    """Soft labels from the cache, and hard labels unless kd_weight is 1."""
    # DIST correlates over the batch, so it must see the whole of it.
    whole = gathered if distill.loss == "dist" else _as_it_is

    def soft(found: Outputs, batch: Batch) -> Tensor:
        teacher = cache.logits(batch).to(device)
        labels = batch.main_labels
        labels = torch.where(labels >= 0, labels, teacher.argmax(dim=1))  # for dkd, of a pool
        return soft_label_loss(distill, whole(found.logits), whole(teacher), labels)

    terms = {"kd": Term(soft, distill.kd_weight)}
    if distill.kd_weight < 1:
        terms["label"] = label_term(class_weights, 1 - distill.kd_weight, device)
    return terms


def label_term(
    class_weights: Tensor | None, weight: float, device: torch.device, smoothing: float = 0.0
) -> Term:
    """Cross-entropy against the hard labels: mixed by share, over those images that have one."""
    weighed = None if class_weights is None else class_weights.to(device)

    def label(found: Outputs, batch: Batch) -> Tensor:
        own = label_losses(found.logits, batch.labels, weighed, smoothing)
        other = label_losses(found.logits, batch.partners, weighed, smoothing)
        known = batch.shares * (batch.labels >= 0) + (1 - batch.shares) * (batch.partners >= 0)
        total = (batch.shares * own + (1 - batch.shares) * other).sum()
        return total / max(mean_over_ranks(known.sum().item()), 1.0)

    return Term(label, weight)


def _as_it_is(values: Tensor) -> Tensor:
    return values
