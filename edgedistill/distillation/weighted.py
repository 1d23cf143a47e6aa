"""Means and correlations over images that weigh differently in a loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_of(values: Tensor, weights: Tensor | None) -> Tensor:
    """Of (N,) values. Not divided by the weights' sum: a batch of rare classes pulls harder."""
    return values.mean() if weights is None else (weights * values).mean()


def mean_kl(log_q: Tensor, log_p: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return mean_of(F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1), weights)


def pearson(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pearson correlation of each row of `a` with that row of `b`; 0 where either is constant.

    Args:
        weights: of the columns.
    """
    return (_unit_rows(a, weights) * _unit_rows(b, weights)).sum(dim=1)


def _unit_rows(x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Rows minus their mean, at length 1; 0 and without gradient where only rounding is left."""
    if weights is None:
        centred = x - x.mean(dim=1, keepdim=True)
    else:
        shares = weights / weights.mean().clamp_min(torch.finfo(weights.dtype).tiny)  # none may weigh anything
        centred = (x - (x * shares).mean(dim=1, keepdim=True)) * shares.sqrt()
    length = centred.norm(dim=1, keepdim=True)
    rounding = 8 * torch.finfo(x.dtype).eps * x.norm(dim=1, keepdim=True)
    constant = length <= rounding.clamp_min(1e-8)  # 1e-8 is the authors' guard
    return centred.masked_fill(constant, 0) / length.masked_fill(constant, 1)
