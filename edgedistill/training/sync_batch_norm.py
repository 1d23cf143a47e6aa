"""Batch norm over the batch of all ranks, so that N processes train like one.

torch's SyncBatchNorm needs a GPU. This one works wherever `torch.distributed` does, on the very
modules of a model: their class is exchanged, their weights, names and eval mode stay.
"""

from __future__ import annotations

import torch
import torch.distributed as distributed
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from edgedistill.core.distributed import world


def synchronise_batch_norms(model: nn.Module) -> None:
    """Exchange every BatchNorm2d of a model, in place; for more than one process."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _RankNorm
        elif isinstance(module, BatchNormAct2d):
            module.__class__ = _RankNormAct


class _RankNorm(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return _normalised(self, input) if self.training else super().forward(input)


class _RankNormAct(BatchNormAct2d):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return self.act(self.drop(_normalised(self, x)))


def _normalised(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Mean and variance over all ranks' images and places; two passes, as variance wants."""
    values = x.float()
    count = values.numel() // values.shape[1] * world()
    mean = _Sum.apply(values.sum(dim=(0, 2, 3))) / count
    centred = values - mean.view(1, -1, 1, 1)
    variance = _Sum.apply(centred.square().sum(dim=(0, 2, 3))) / count
    seen, running_mean, running_var = norm.num_batches_tracked, norm.running_mean, norm.running_var
    if seen is None or running_mean is None or running_var is None or norm.momentum is None:
        raise ValueError("expected a batch norm that keeps running statistics with a momentum, got one without")
    with torch.no_grad():
        seen += 1
        running_mean.lerp_(mean, norm.momentum)
        running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return (centred * scale.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over ranks; the gradient is summed as well."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total
