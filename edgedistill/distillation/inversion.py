"""Training images made from the teacher alone, for when its own images are gone.

A teacher with BatchNorm remembers what each of its layers saw: images are optimised until the
layers see that again and the teacher names the wanted class. No student and no data are involved.

Source: DeepInversion, Yin et al. 2020, arXiv:1912.08795, sections 3.1 and 3.2. Unlike there, a
layer's statistics are compared by a divergence without scale, and the optimiser works on Fourier
coefficients of a falling spectrum (Olah et al. 2017, doi:10.23915/distill.00007), because a CPU has
tens of steps, not thousands.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from edgedistill.config.base import Section
from edgedistill.distillation.spectrum import Start, drawn_coefficients, images_of, rounded
from edgedistill.errors import TeacherError, TrainingError
from edgedistill.models.build import without_values
from edgedistill.training.batches import normalised
from edgedistill_device.preprocess_spec import Preprocess

# What a start is chosen from, see `Start`.
_CONTRASTS, _CHROMAS, _SLOPES = (0.25, 0.5, 1.0, 2.0), (0.1, 0.3, 1.0), (0.5, 1.0, 1.5)
_PROBES = 24  # noise images that a start is judged by


class InversionSettings(Section):
    """How images are made from the teacher."""

    steps: Annotated[int, Field(ge=1)] = 50
    """optimiser steps of each batch"""
    batch_size: Annotated[int, Field(ge=2)] = 120
    """images made together; their statistics are compared with the teacher's, so not a few"""
    lr: Annotated[float, Field(gt=0)] = 0.1
    """Adam's, in standard deviations of a Fourier coefficient; falls as a cosine"""
    bn_weight: Annotated[float, Field(ge=0)] = 12.0
    """of the BatchNorm term, beside 1 for the wanted class"""
    tv_weight: Annotated[float, Field(ge=0)] = 0.0
    """of the total variation, mean over neighbouring values in 0..1"""
    jitter_px: Annotated[int, Field(ge=0)] = 4
    """each step looks at images shifted by up to this, around the edge"""
    flip: bool = True
    """half of the steps look at mirrored images; off where left and right differ"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the starting noise, shifts and flips"""


def synthesise_batch(
    teacher: nn.Module,
    spec: Preprocess,
    settings: InversionSettings,
    number: int,
    classes: Sequence[str],
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """One batch of images that the teacher takes for training images of the wanted classes.

    On a CPU with the same thread count a pure function of its arguments, the teacher's weights and
    statistics included, whatever batches came before. The teacher is left as it was found, but in eval mode.

    Args:
        teacher: from `build_model`, with its trained BatchNorm statistics.
        spec: the teacher's preprocessing; images come out as its frames.
        settings: how long and how hard.
        number: of the batch, from 0. Wanted classes go round from batch to batch.
        classes: C names in logit order.

    Returns:
        Images (n, H, W, 3) uint8 RGB; wanted labels (n,) int64; and a report. Of the rounded
        images: `wanted_fraction` that the teacher gives its wanted class, `confidence_mean` of
        that class, `bn_loss_last`. Of the starting noise, rounded too: `bn_loss_first`. Then
        `number`, `images`, `start` and `seconds`.

    Raises:
        TeacherError: no BatchNorm with statistics, or logits for other classes.
        TrainingError: the loss is not finite.
    """
    began = time.monotonic()
    wanted = _wanted_labels(settings, number, len(classes))
    generator = _generator(settings, number)
    with _observed(teacher, spec, len(classes)) as seen:
        start = _best_start(seen, spec.size)
        coefficients = drawn_coefficients(len(wanted), spec.size, generator)
        width = spec.size[1]
        first = _judged(rounded(coefficients, start, width), wanted, seen)
        made = _optimised(coefficients, start, width, torch.from_numpy(wanted), seen, settings, generator)
        images = rounded(made, start, width)
        last = _judged(images, wanted, seen)
    report = {
        "number": number,
        "images": len(wanted),
        "start": start._asdict(),
        "wanted_fraction": last["wanted_fraction"],
        "confidence_mean": last["confidence_mean"],
        "bn_loss_first": first["bn_loss"],
        "bn_loss_last": last["bn_loss"],
        "seconds": time.monotonic() - began,
    }
    return _as_frames(images), wanted, report


def contact_sheet(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> bytes:
    """A PNG with one row for each class, its name before its first images.

    Args:
        images: (n, H, W, 3) uint8 RGB.
        labels: (n,) int64.
        classes: names in label order.
    """
    columns, shown_px, name_px = 10, 96, 150
    sheet = np.full((len(classes) * shown_px, name_px + columns * shown_px, 3), 255, np.uint8)
    for row, name in enumerate(classes):
        top = row * shown_px
        place = (6, top + shown_px // 2)
        cv2.putText(sheet, name[:20], place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        for column, image in enumerate(images[labels == row][:columns]):
            left = name_px + column * shown_px
            shown = cv2.resize(image, (shown_px, shown_px), interpolation=cv2.INTER_NEAREST)
            sheet[top : top + shown_px, left : left + shown_px] = shown[:, :, ::-1]
    return cv2.imencode(".png", sheet)[1].tobytes()


# (N, 3, H, W) uint8 or float in 0..255 -> logits (N, C), BatchNorm loss ()
_Seen = Callable[[Tensor], tuple[Tensor, Tensor]]


def refuse_without_batch_norm(name: str) -> None:
    """Of a teacher that is not trained yet, by its model name.

    Raises:
        TeacherError: as of `synthesise_batch`.
    """
    _batch_norms(without_values(name))


def _batch_norms(teacher: nn.Module) -> list[_BatchNorm]:
    """
    Raises:
        TeacherError: it has none with statistics.
    """
    norms = [m for m in teacher.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        others = sorted({type(m).__name__ for m in teacher.modules() if "Norm" in type(m).__name__})
        raise TeacherError(
            f"{type(teacher).__name__} has no BatchNorm with statistics to invert, it has "
            f"{', '.join(others) or 'no normalisation'}; take a teacher with BatchNorm, such as a "
            "ResNet or an EfficientNet"
        )
    return norms


@contextmanager
def _observed(teacher: nn.Module, spec: Preprocess, classes: int) -> Iterator[_Seen]:
    """The teacher in eval mode with its layers' inputs compared; no gradient for its weights."""
    norms = _batch_norms(teacher)
    device = next(teacher.parameters()).device
    distances: list[Tensor] = []

    def seen(images: Tensor) -> tuple[Tensor, Tensor]:
        distances.clear()
        logits = teacher(normalised(images.to(device), spec)).float()
        return logits.cpu(), torch.stack(distances).mean().cpu()

    def compared(norm: _BatchNorm) -> RemovableHandle:
        return norm.register_forward_pre_hook(lambda _, inputs: distances.append(_bn_distance(norm, inputs[0])))

    trainable = [p for p in teacher.parameters() if p.requires_grad]
    handles = [compared(norm) for norm in norms]
    teacher.eval().requires_grad_(False)
    try:
        with torch.no_grad():
            probe, _ = seen(torch.zeros(2, 3, *spec.size))
        if probe.shape != (2, classes):
            raise TeacherError(
                f"the teacher gives {probe.shape[1]} logits for {classes} classes; name the "
                "classes that it was trained on"
            )
        yield seen
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_()


def _bn_distance(norm: _BatchNorm, x: Tensor) -> Tensor:
    """KL(batch || running) of two normal distributions, mean over the channels, >= 0, nats."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    variance, mean = torch.var_mean(x.float(), axes, correction=0)
    expected = norm.get_buffer("running_var") + norm.eps
    ratio = (variance + norm.eps) / expected
    return 0.5 * (ratio - 1 - ratio.log() + (mean - norm.get_buffer("running_mean")) ** 2 / expected).mean()


def _best_start(seen: _Seen, size: tuple[int, int]) -> Start:
    """The noise whose statistics come nearest to the teacher's, of a small grid."""
    generator = torch.Generator().manual_seed(0)
    coefficients = drawn_coefficients(_PROBES, size, generator)
    starts = [Start(*values) for values in itertools.product(_CONTRASTS, _CHROMAS, _SLOPES)]
    with torch.no_grad():
        return min(starts, key=lambda start: float(seen(rounded(coefficients, start, size[1]))[1]))


def _optimised(
    coefficients: Tensor,
    start: Start,
    width: int,
    labels: Tensor,
    seen: _Seen,
    settings: InversionSettings,
    generator: torch.Generator,
) -> Tensor:
    """The coefficients after `settings.steps` steps."""
    coefficients = coefficients.clone().requires_grad_()
    optimizer = torch.optim.Adam([coefficients], betas=(0.9, 0.99))
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        images = images_of(coefficients, start, width)
        reach, drawn = settings.jitter_px, torch.rand(3, generator=generator).tolist()
        shifts = [int(share * (2 * reach + 1)) - reach for share in drawn[:2]]
        looked_at = torch.roll(images, shifts, (2, 3))
        if settings.flip and drawn[2] < 0.5:
            looked_at = looked_at.flip(3)
        logits, bn = seen(looked_at)
        wanted = F.cross_entropy(logits, labels)
        variation = _total_variation(images)
        loss = wanted + settings.bn_weight * bn + settings.tv_weight * variation
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the inversion's loss is not finite at step {step} (class {wanted.item():.4g}, "
                f"BatchNorm {bn.item():.4g}); lower lr, or look for damaged teacher weights"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return coefficients.detach()


def _total_variation(images: Tensor) -> Tensor:
    down, right = images.diff(dim=2).abs().mean(), images.diff(dim=3).abs().mean()
    return (down + right) / 255


def _judged(images: Tensor, wanted: np.ndarray, seen: _Seen) -> dict[str, float]:
    """What the teacher says of finished images (N, 3, H, W) uint8."""
    with torch.no_grad():
        logits, bn = seen(images)
    labels = torch.from_numpy(wanted)
    confidence = logits.softmax(dim=1).gather(1, labels[:, None])
    return {
        "wanted_fraction": float((logits.argmax(dim=1) == labels).float().mean()),
        "confidence_mean": float(confidence.mean()),
        "bn_loss": float(bn),
    }


def _wanted_labels(settings: InversionSettings, number: int, classes: int) -> np.ndarray:
    """(batch_size,) int64; over all batches no class is ahead of another by more than one."""
    first = number * settings.batch_size
    return np.arange(first, first + settings.batch_size, dtype=np.int64) % classes


def _generator(settings: InversionSettings, number: int) -> torch.Generator:
    # hashed together: of a wider seed torch's CPU generator uses the low 32 bits only
    state = np.random.SeedSequence((settings.seed, number)).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def _as_frames(images: Tensor) -> np.ndarray:
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
