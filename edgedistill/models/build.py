"""Models by name, the preprocessing that belongs to each, and their outputs.

timm has no SqueezeNet and no ShuffleNet, so those of torchvision are given timm's shape here.
"""

from __future__ import annotations

import difflib
import warnings
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.squeezenet import SqueezeNet

from edgedistill.errors import RecipeError
from edgedistill.models.families import STUDENT_PREFIXES, TORCHVISION
from edgedistill_device.preprocess_spec import FULL_RANGE, Preprocess, size_of

SQUEEZENETS = {"squeezenet1_0": "1_0", "squeezenet1_1": "1_1"}
SHUFFLENETS = {  # channels after each stage
    "shufflenet_v2_x0_5": [24, 48, 96, 192, 1024],
    "shufflenet_v2_x1_0": [24, 116, 232, 464, 1024],
    "shufflenet_v2_x1_5": [24, 176, 352, 704, 1024],
    "shufflenet_v2_x2_0": [24, 244, 488, 976, 2048],
}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop_pct": 0.875}


class SqueezeNetStudent(SqueezeNet):
    """torchvision's SqueezeNet without the ReLU on its logits.

    The original clips logits at zero. That costs nothing for an argmax over 1000 classes, but
    no soft label below the average can be matched then.
    """

    classifier: nn.Sequential

    def __init__(self, version: str, num_classes: int):
        super().__init__(version=version, num_classes=num_classes or 1)
        self.num_classes = num_classes
        self.classifier[2] = nn.Identity()
        if not num_classes:  # an embedding: the pooled maps themselves
            self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.features(images)
        return torch.flatten(self.classifier(maps), 1), maps.mean(dim=(2, 3))


class ShuffleNetStudent(ShuffleNetV2):
    """torchvision's ShuffleNetV2 with its pooled features at hand."""

    def __init__(self, channels: list[int], num_classes: int):
        super().__init__([4, 8, 4], channels, num_classes=num_classes)

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maxpool(self.conv1(images))
        maps = self.conv5(self.stage4(self.stage3(self.stage2(maps))))
        features = maps.mean(dim=(2, 3))
        return self.fc(features), features


def build_model(name: str, num_classes: int) -> nn.Module:
    """A model with random weights and a head of `num_classes`; 0 gives an embedding without one.

    Raises:
        RecipeError: no such model.
    """
    if name in SQUEEZENETS:
        return SqueezeNetStudent(SQUEEZENETS[name], num_classes)
    if name in SHUFFLENETS:
        return ShuffleNetStudent(SHUFFLENETS[name], num_classes)
    _refuse_unknown(name)
    return timm.create_model(name, pretrained=False, num_classes=num_classes)


@lru_cache(maxsize=8)
def without_values(name: str) -> nn.Module:
    """The network with a head of 2 classes on the meta device, in eval mode: its layers and shapes, in no memory.

    The same module each time: it is asked, and not changed.
    """
    with torch.device("meta"):
        return build_model(name, 2).eval()


def architecture_of(name: str) -> str | None:
    """The name that a network is built under: without a hub's folder and a tag; of an alias the network's own.

    Returns:
        None: no network of timm's or of this module.
    """
    base = name.rpartition("/")[2].partition(".")[0]
    if base in TORCHVISION:
        return base
    if not timm.is_model(base):
        return None
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's, of old names
            built: Any = timm.create_model(base, pretrained=False)
    except (RuntimeError, NotImplementedError):  # it reads values, and there are none on `meta`
        return base
    return built.pretrained_cfg.get("architecture") or base


def refuse_unless_student(name: str) -> None:
    """Students are the families that the project exports, checks and measures.

    Raises:
        RecipeError: another family, or no such model.
    """
    if name in TORCHVISION:
        return
    _refuse_unknown(name)
    if not name.startswith(STUDENT_PREFIXES):
        raise RecipeError(
            f"student.model = {name!r} is not a student family; take a timm MobileNet (V1 to V4), "
            f"EfficientNet-Lite or B0, {' / '.join(SQUEEZENETS)}, or another of `edgedistill students`"
        )


def preprocess_of(
    name: str,
    image_px: int | tuple[int, int],
    resize_px: int,
    interpolation: str,
    fit: str = "crop",
    sixteen_bit: tuple[int, int] = FULL_RANGE,
) -> Preprocess:
    """How images become input: the frame of this run, mean and std of the model's own config.

    With ImageNet's mean and std in place of its own 0.5, tf_efficientnet_lite0 loses ten points
    of top-1 and raises no error.
    """
    own = _own_config(name)
    return Preprocess(
        image_px,
        resize_px,
        interpolation,
        tuple(map(float, own["mean"])),
        tuple(map(float, own["std"])),
        fit,
        sixteen_bit,
    )


def resize_px_of(name: str, image_px: int | tuple[int, int], crop_fraction: float | None, fit: str = "crop") -> int:
    """Short side after the resize, from the recipe's crop fraction or else the model's own; the
    input's own where the whole picture is shown."""
    short = min(size_of(image_px))
    return short if fit != "crop" else round(short / (crop_fraction or _own_config(name)["crop_pct"]))


def head_names(name: str) -> tuple[str, ...]:
    """Parameter prefixes of the classifying layer."""
    if name in SQUEEZENETS:
        return ("classifier.1",)
    if name in SHUFFLENETS:
        return ("fc",)
    heads = _own_config(name)["classifier"]
    return (heads,) if isinstance(heads, str) else tuple(heads)


def outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and the pooled features before the head (N, F), in one forward pass.

    In eval mode the logits are those of `model(images)`.

    Args:
        model: from `build_model`.
        images: (N, 3, H, W) float, normalised for this model.
    """
    network: Any = model  # nn.Module does not declare what follows
    if hasattr(network, "outputs"):
        return network.outputs(images)
    maps = network.forward_features(images)
    features = network.forward_head(maps, pre_logits=True)
    head = single_head(network)
    if head is None:  # how several are combined differs by network: each may read a token or a scale of its own
        return network.forward_head(maps), features
    if isinstance(head, nn.Conv2d):
        return head(features[:, :, None, None]).flatten(1), features
    return head(features), features


def single_head(model: nn.Module) -> nn.Module | None:
    """The module of a timm network that turns pooled features into logits; None where several heads do.

    Several are those of DeiT, LeViT, PiT and EfficientFormer trained by distillation (class and distillation token),
    of CrossViT (one for each scale), and of VOLO, whose auxiliary head reads all patches.
    """
    network: Any = model
    names = getattr(network, "pretrained_cfg", {}).get("classifier", "")
    head = network.get_classifier()
    return head if isinstance(names, str) and isinstance(head, nn.Module) else None


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _own_config(name: str) -> dict:
    if name in TORCHVISION:
        return _IMAGENET
    _refuse_unknown(name)
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise RecipeError(f"timm knows the model {name!r} but has no preprocessing for it; take another")
    return config.to_dict()


def _refuse_unknown(name: str) -> None:
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models() + list(TORCHVISION), n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise RecipeError(f"timm {timm.__version__} has no model {name!r}{meant}")
    names = timm.list_pretrained(f"{base}.*")
    if tag and name not in names:
        raise RecipeError(f"timm has no weights {name!r}; it has: {', '.join(names) or 'none'}")
