"""Networks that see their images enlarged: a teacher at the size of its own training, above a student of fewer pixels.

A network trained on ImageNet finds less in small images than in the same ones enlarged, because objects are not of the
size that its filters have learnt (Touvron et al. 2019, arXiv:1906.06423). The logits are cached, so that the student's
own steps cost what they did.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate


def enlarge(model: nn.Module, size: tuple[int, int]) -> None:
    """Let the network resize what it is given before it looks, bicubically; in place.

    The names of its modules and tensors stay: as torch.nn.utils.parametrize does, the object gets a class of its own
    that is derived from what it was.

    Args:
        model: from `build_model`.
        size: (height, width), pixels.
    """
    kind: Any = type(model)
    enlarging = _OwnOutputs if hasattr(model, "outputs") else _TimmFeatures
    model.__class__ = type(f"Enlarging{kind.__name__}", (enlarging, kind), {"enlarged_size": size})


def enlarged_size(model: object) -> tuple[int, int] | None:
    """(height, width) in pixels that the network sees its images at; None where it sees them as they come."""
    return getattr(model, "enlarged_size", None)


class _TimmFeatures:
    """Of timm: `forward` and `build.outputs` both read the images through `forward_features`."""

    def forward_features(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        network: Any = super()
        return network.forward_features(_resized(images, enlarged_size(self)), *args, **kwargs)


class _OwnOutputs:
    """Of build.py: `forward` and `outputs` each read the images."""

    def forward(self, images: Tensor) -> Tensor:
        network: Any = super()
        return network.forward(_resized(images, enlarged_size(self)))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        network: Any = super()
        return network.outputs(_resized(images, enlarged_size(self)))


def _resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    return (
        images
        if size in (None, images.shape[-2:])
        else interpolate(images, size=size, mode="bicubic", align_corners=False)
    )
