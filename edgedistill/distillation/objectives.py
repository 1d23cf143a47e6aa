"""The parts of a student's loss, put together from the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from edgedistill.config.methods import logit_loss_row
from edgedistill.config.task import CLASSIFICATION, MULTILABEL, REGRESSION, Task
from edgedistill.config.training import DistillConfig
from edgedistill.core.distributed import gathered, mean_tensor_over_ranks
from edgedistill.distillation.label_losses import label_kl_losses, label_set_losses
from edgedistill.distillation.logit_cache import LogitCache
from edgedistill.distillation.losses import LOGIT_LOSSES, label_losses, standardised, why_not_for
from edgedistill.distillation.value_losses import target_term, taught_term, value_losses
from edgedistill.errors import RecipeError
from edgedistill.training.batches import Batch, sent
from edgedistill.training.loop import Outputs, Term


def refuse_loss_without_information(distill: DistillConfig, classes: int) -> None:
    """
    Raises:
        RecipeError: with this many classes the loss says nothing, and why.
    """
    reason = why_not_for(distill.loss, distill.standardise, classes)
    if reason:
        raise RecipeError(f"distill.loss = {distill.loss!r}: {reason}")


def soft_label_loss(
    distill: DistillConfig,
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """The recipe's comparison of student and teacher logits.

    Args:
        student, teacher: (N, C) logits.
        labels: (N,) int64, for the losses that read them.
        weights: (N,) of the images, or None for 1 each.

    Returns:
        () tensor.
    """
    if distill.standardise:
        student, teacher = standardised(student), standardised(teacher)
    return LOGIT_LOSSES[distill.loss](distill, student, teacher, labels, weights)


def logit_terms(
    distill: DistillConfig,
    cache: LogitCache,
    class_weights: Tensor | None,
    device: torch.device,
    task: Task = CLASSIFICATION,
    value_loss: str = "mse",
) -> dict[str, Term]:
    """Soft labels from the cache, and hard labels unless kd_weight is 1.

    Args:
        class_weights: (C,) with which each image weighs in both terms, by its label, or None. In the
            hard one alone they would weigh 1 - kd_weight of the student's loss but all of the
            baseline's, and the two would be trained for different mixes of classes. Of several labels an image
            (K,) of each where it is there, in the hard term alone: the teacher has learnt with them, so that its
            probabilities hold them already.
        task: whose losses these are.
        value_loss: of figures, `mse` or `huber`.

    Images without a label have `pool_temperature` and `pool_kd_weight`, where the recipe sets them.

    Source: Zhang et al. 2021, arXiv:2104.10510 (class weights in the distillation term as well).
    """
    if task.vectors:
        losses = partial(value_losses, loss=value_loss)
        if task.multiple:
            losses = partial(label_kl_losses, temperature=distill.temperature)
        terms = {"kd": taught_term(cache, distill.kd_weight, device, losses)}
        if distill.kd_weight < 1:
            terms["label"] = hard_term(task, class_weights, 1 - distill.kd_weight, device, value_loss=value_loss)
        return terms
    weighed = None if class_weights is None else class_weights.to(device)
    row = logit_loss_row(distill.loss)
    whole = gathered if row.whole_batch else _as_it_is

    def soft(outputs: Outputs, batch: Batch) -> Tensor:
        teacher = sent(cache.logits(batch), device)
        if distill.label_error_fraction is not None:
            teacher = given_labels(teacher, batch, distill.label_error_fraction)
        labels = batch.main_labels
        if row.needs_labels:  # an image of a pool has none
            labels = whole(torch.where(labels >= 0, labels, teacher.argmax(dim=1)))
        weights = None if weighed is None else image_weights(batch, weighed)
        student, teacher = whole(outputs.logits), whole(teacher)
        losses = [
            soft_label_loss(config, student, teacher, labels, None if weights is None else whole(weights))
            for config, weights in _by_label(distill, batch, weights)
        ]
        return torch.stack(losses).sum()

    terms = {"kd": Term(soft, max(distill.kd_weight, pool_kd_weight(distill)))}
    if distill.kd_weight < 1:
        terms["label"] = hard_term(task, class_weights, 1 - distill.kd_weight, device)
    return terms


def given_labels(teacher: Tensor, batch: Batch, label_error_fraction: float) -> Tensor:
    """The teacher's answer about each image, given its label too: p(class | image) x p(label | class), by Bayes' rule.

    A teacher that is wrong about a labelled image, or in doubt, else teaches less than the label says. An image
    without a label keeps the teacher's answer; of a mixed one each label counts by its share.

    Args:
        teacher: (N, C) logits.
        label_error_fraction: of the labels that name another class, any of the C - 1 alike; in (0, 1).

    Returns:
        (N, C) logits, up to a constant of each row.
    """
    classes = teacher.shape[1]
    evidence = math.log((1 - label_error_fraction) * (classes - 1) / label_error_fraction)
    told = torch.zeros_like(teacher)
    for labels, shares in ((batch.labels, batch.shares), (batch.partners, 1 - batch.shares)):
        known = (labels >= 0) * shares.to(teacher.dtype)
        told.scatter_add_(1, labels.clamp_min(0)[:, None], known[:, None])
    return teacher + evidence * told


def pool_kd_weight(distill: DistillConfig) -> float:
    """Of the soft-label term on images without a label."""
    return distill.kd_weight if distill.pool_kd_weight is None else distill.pool_kd_weight


def _by_label(
    distill: DistillConfig, batch: Batch, weights: Tensor | None
) -> list[tuple[DistillConfig, Tensor | None]]:
    """The loss of a batch in one part, or in two where images without a label have a temperature of their own.

    Args:
        weights: (N,) of the images by their class, or None.

    Returns:
        The settings of each part and the (N,) weights of its images, or None. Weights are relative to the larger one of
        `kd_weight` and `pool_kd_weight`; a mixed view takes part by its shares.
    """
    labelled_weight, pool_weight = distill.kd_weight, pool_kd_weight(distill)
    if distill.pool_temperature is None and labelled_weight == pool_weight:
        return [(distill, weights)]
    largest = max(labelled_weight, pool_weight) or 1.0
    pool = unlabelled_shares(batch)
    own = torch.ones_like(pool) if weights is None else weights
    of_labelled, of_pool = own * (1 - pool) * (labelled_weight / largest), own * pool * (pool_weight / largest)
    if distill.pool_temperature is None:
        return [(distill, of_labelled + of_pool)]
    softened = distill.model_copy(update={"temperature": distill.pool_temperature})
    return [(distill, of_labelled), (softened, of_pool)]


def unlabelled_shares(batch: Batch) -> Tensor:
    """(N,) share of each view that comes from images without a label, 0..1."""
    return batch.shares * (batch.labels < 0) + (1 - batch.shares) * (batch.partners < 0)


def image_weights(batch: Batch, class_weights: Tensor) -> Tensor:
    """(N,) weight of each image: its label's, mixed by share; 1, the mean, where there is none."""

    def of(labels: Tensor) -> Tensor:
        return torch.where(labels >= 0, class_weights[labels.clamp_min(0)], 1.0)

    return batch.shares * of(batch.labels) + (1 - batch.shares) * of(batch.partners)


def label_term(class_weights: Tensor | None, weight: float, device: torch.device, smoothing: float = 0.0) -> Term:
    """Cross-entropy against the hard labels: mixed by share, over those images that have one."""
    weighed = None if class_weights is None else class_weights.to(device)

    def label(outputs: Outputs, batch: Batch) -> Tensor:
        own = label_losses(outputs.logits, batch.labels, weighed, smoothing)
        other = label_losses(outputs.logits, batch.partners, weighed, smoothing)
        labelled_shares = batch.shares * (batch.labels >= 0) + (1 - batch.shares) * (batch.partners >= 0)
        total = (batch.shares * own + (1 - batch.shares) * other).sum()
        return total / mean_tensor_over_ranks(labelled_shares.sum()).clamp_min(1.0)

    return Term(label, weight)


HARD_LOSSES: dict[str, Callable[..., Term]] = {
    CLASSIFICATION.name: lambda weights, weight, device, smoothing, _: label_term(weights, weight, device, smoothing),
    REGRESSION.name: lambda _, weight, __, ___, value_loss: target_term(weight, partial(value_losses, loss=value_loss)),
    MULTILABEL.name: lambda weights, weight, device, _, __: target_term(
        weight, partial(label_set_losses, positive_weights=None if weights is None else weights.to(device))
    ),
}
"""Task -> its loss against the labels, of those tasks that labels alone can teach; arguments as of `hard_term`."""


def hard_term(
    task: Task,
    class_weights: Tensor | None,
    weight: float,
    device: torch.device,
    smoothing: float = 0.0,
    value_loss: str = "mse",
) -> Term:
    """The loss of a task against the labels; other arguments as of `label_term`, `value_losses` and `logit_terms`.

    Raises:
        ValueError: labels alone cannot teach this task.
    """
    if task.name not in HARD_LOSSES:
        raise ValueError(
            f"task {task.name!r} has no loss against labels; there is one for: {', '.join(HARD_LOSSES)}; "
            "take task.supervised, or add one to HARD_LOSSES"
        )
    return HARD_LOSSES[task.name](class_weights, weight, device, smoothing, value_loss)


def _as_it_is(values: Tensor) -> Tensor:
    return values
