"""Images as Fourier coefficients of a falling spectrum: coloured noise, and what is made of it.

Source: Olah et al. 2017, "Feature Visualization", doi:10.23915/distill.00007, preconditioning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgedistill_device.preprocess_spec import size_of

# Rows R, G, B; columns luminance and two chroma axes of natural images. The article's library, Lucid.
_AXES = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))


class Start(NamedTuple):
    """The noise that images start from; its scales stay those of an optimiser's steps."""

    contrast: float  # standard deviation of the luminance, before the sigmoid
    chroma: float  # of the colour axes, as a share of the luminance's
    slope: float  # amplitude falls as frequency to the power -slope


def drawn_coefficients(count: int, image_px: int | tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 3, H, W // 2 + 1, 2) float32, standard normal: real and imaginary.

    Args:
        image_px: side of the images, or their (H, W).
    """
    height, width = size_of(image_px)
    return torch.randn(count, 3, height, width // 2 + 1, 2, generator=generator)


def images_of(coefficients: Tensor, start: Start, width: int | None = None) -> Tensor:
    """(N, 3, H, W) float32 RGB in 0..255, differentiable.

    Args:
        coefficients: as from `drawn_coefficients`; the gradient flows here.
        start: scales of the coefficients.
        width: W; that of a square when None.
    """
    height = coefficients.shape[2]
    width = width or height
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    frequency = (rows**2 + columns**2).sqrt().clamp_min(1 / max(height, width))
    amplitude = frequency**-start.slope
    amplitude = amplitude / (2 * amplitude.square().mean()).sqrt()  # pixels of about unit variance
    half = amplitude[:, : width // 2 + 1]
    waves = torch.fft.irfft2(torch.view_as_complex(coefficients) * half, (height, width), norm="ortho")
    axes = torch.tensor(_AXES) / torch.tensor(_AXES)[:, 0].mean()
    scales = start.contrast * torch.tensor([1.0, start.chroma, start.chroma])
    return 255 * torch.einsum("nchw,rc->nrhw", waves, axes * scales).sigmoid()


def rounded(coefficients: Tensor, start: Start, width: int | None = None) -> Tensor:
    """(N, 3, H, W) uint8 RGB: `images_of`, as it can be stored."""
    return images_of(coefficients, start, width).round().to(torch.uint8)
