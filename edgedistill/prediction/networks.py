"""The cost of any timm or torchvision network by its name, from a graph that is made on the fly without weights."""

from __future__ import annotations

import difflib
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from edgedistill.errors import ExportError, RecipeError
from edgedistill.models.build import build_model
from edgedistill.models.families import TORCHVISION
from edgedistill.onnx_model.structure import structure_of
from edgedistill.prediction.features import Features, features_of_kernels
from edgedistill.prediction.kernels import kernels_from_model

# timm has networks of these names and writes the head of fully connected layers as convolutions.
_OF_TORCHVISION = ("vgg", "alexnet")
_SLOW_TO_INITIALISE = ("googlenet", "inception_v3", "vgg")


def network_named(name: str, classes: int, image_px: tuple[int, int]) -> nn.Module:
    """A network with random weights, in eval mode.

    Args:
        name: of timm or torchvision; one that both have is timm's.
        image_px: (height, width), for networks that are built for one size.

    Raises:
        RecipeError: neither has it.
    """
    known = torchvision.models.list_models(torchvision.models)
    if name in known and (name.startswith(_OF_TORCHVISION) or not (timm.is_model(name) or name in TORCHVISION)):
        extra = {"init_weights": False} if name.startswith(_SLOW_TO_INITIALISE) else {}
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **extra).eval()
    if not timm.is_model(name) and name not in TORCHVISION:
        near = difflib.get_close_matches(name, sorted({*timm.list_models(), *known}), n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else "; any other network: export it and give the file"
        raise RecipeError(f"neither timm {timm.__version__} nor torchvision has a network {name!r}{meant}")
    if name not in TORCHVISION and timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        return timm.create_model(name, pretrained=False, num_classes=classes, img_size=image_px).eval()
    return build_model(name, classes).eval()


def features_of_module(model: nn.Module, image_px: tuple[int, int], name: str) -> Features:
    """Of one image.

    Args:
        model: in eval mode; it is of no use afterwards.

    Raises:
        RecipeError: it cannot be run at this size.
        ExportError, PreflightError: its graph cannot be written or counted.
    """
    _give_pools_a_form(model)
    try:
        graph = structure_of(model, torch.zeros(1, 3, *image_px))
    except ExportError as error:
        raise RecipeError(f"{name} at {image_px[0]}x{image_px[1]} px: {error}") from None
    return features_of_kernels(kernels_from_model(graph, Path(name)))


class _Pool(nn.Module):
    """Adaptive pooling, which ONNX lacks where its output does not divide its input: a resize moves as much."""

    def __init__(self, pool: nn.AdaptiveAvgPool2d, height: int, width: int):
        super().__init__()
        self.pool, self.size = pool, (height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-2] % self.size[0] == 0 and x.shape[-1] % self.size[1] == 0:
            return self.pool(x)
        return nn.functional.interpolate(x, self.size)


def _give_pools_a_form(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.AdaptiveAvgPool2d:
                size = child.output_size
                height, width = (size, size) if isinstance(size, int) else size or (None, None)
                if height and width and (height, width) != (1, 1):  # None: as the input's
                    setattr(parent, name, _Pool(child, height, width))


def features_on_the_fly(name: str, image_px: tuple[int, int], classes: int) -> Features:
    """
    Raises:
        RecipeError: no such network, or not at this size.
        PreflightError: an operator that computes and is not counted.
    """
    try:
        model = network_named(name, classes, image_px)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot be built for {image_px[0]}x{image_px[1]} px: {error}") from None
    return features_of_module(model, image_px, name)
