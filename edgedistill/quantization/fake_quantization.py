"""Quantization-aware distillation: the student learns to live with INT8, taught by its own float self.

Fake quantization stands in front of each Conv, as the Q/DQ nodes will: activations per tensor with
calibrated ranges that stay fixed, weights per output channel from their present values. Rounding
passes the gradient straight through, clipping stops it. BatchNorm is not folded: it scales whole
output channels, and a scale for each channel takes that up. Its statistics stay as they are, since
those of a batch would add more noise than INT8 does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgedistill.distillation.losses import mse_loss
from edgedistill.training.batches import Batch, normalised
from edgedistill.training.loop import Outputs, Term
from edgedistill_calibration.histogram import Histogram
from edgedistill_calibration.scales import LEVELS, SMALLEST_AMAX, amax_from_histogram
from edgedistill_device.preprocess_spec import Preprocess


class FakeQuantized:
    """`with FakeQuantized(model, amax): ...`: the model computes as if in INT8; after it, in float.

    Args:
        model: changed in place, restored on leaving.
        amax: Conv's name in the model -> largest |x| kept of its input; others stay float.
    """

    def __init__(self, model: nn.Module, amax: dict[str, float]):
        self._convs = {name: convolutions(model)[name] for name in amax}
        self._norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
        self._amax = amax

    def __enter__(self) -> FakeQuantized:
        self._hooks = []
        for norm in self._norms:
            norm.eval()
            # The loop's `model.train()` passes it by.
            norm.train = lambda mode=True, norm=norm: norm  # type: ignore[method-assign,misc]  # of this instance
        for name, conv in self._convs.items():
            scale = self._amax[name] / LEVELS
            self._hooks.append(
                conv.register_forward_pre_hook(lambda _, given, scale=scale: (activation(given[0], scale), *given[1:]))
            )
            parametrize.register_parametrization(conv, "weight", _PerChannel())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for norm in self._norms:
            del norm.train
        for hook in self._hooks:
            hook.remove()
        for conv in self._convs.values():
            parametrize.remove_parametrizations(conv, "weight", leave_parametrized=False)


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: one for name, one in model.named_modules() if isinstance(one, nn.Conv2d)}


def input_ranges(model: nn.Module, batches: Iterable[Tensor], threshold: str, percentile: float) -> dict[str, float]:
    """Conv's name -> largest |x| kept of its input, as `ranges_from_model` takes it from ONNX.

    Args:
        batches: (N, 3, H, W) float32, normalised.
    """
    convs = convolutions(model.eval())
    histograms = {name: Histogram() for name in convs}
    hooks = [
        conv.register_forward_pre_hook(
            lambda _, given, name=name: histograms[name].add(given[0].detach().cpu().contiguous().numpy())
        )
        for name, conv in convs.items()
    ]
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    return {name: amax_from_histogram(one, threshold, percentile) for name, one in histograms.items()}


def activation(values: Tensor, scale: float) -> Tensor:
    """Rounded to INT8 and back, one scale."""
    return torch.fake_quantize_per_tensor_affine(values, scale, 0, -LEVELS, LEVELS)


def own_logits_term(model: nn.Module, spec: Preprocess) -> Term:
    """Squared difference from the logits that the model has now, in float."""
    teacher = copy.deepcopy(model).eval()

    def value(outputs: Outputs, batch: Batch) -> Tensor:
        with torch.no_grad():
            wanted = teacher.to(outputs.logits.device)(normalised(batch.images, spec))
        return mse_loss(outputs.logits, wanted)

    return Term(value, 1.0)


class _PerChannel(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().amax(dim=tuple(range(1, weight.ndim)))
        scale = largest.clamp_min(SMALLEST_AMAX) / LEVELS
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -LEVELS, LEVELS)
