"""Published networks that neither timm nor torchvision builds as they were measured, for counting kernels only."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from edgedistill.prediction.fitting.yolo import Yolo11, yolov8n_cls
from edgedistill.prediction.networks import network_named

OF_CAFFE = "_caffe"


def published_network(name: str, classes: int, image_px: int) -> nn.Module:
    """Random weights, eval mode.

    Raises:
        RecipeError: no such network.
    """
    if name.startswith("yolo11"):
        return Yolo11(name.removeprefix("yolo11")).eval()
    if name == "yolov8n_cls":
        return yolov8n_cls(classes).eval()
    if name.endswith(OF_CAFFE):
        return _of_caffe(name.removesuffix(OF_CAFFE)).eval()
    return network_named(name, classes, (image_px, image_px))


def _of_caffe(name: str) -> nn.Module:
    """The model files that come with TensorRT's samples; the ResNets stride in the 1x1 convolution (He et al. 2015)."""
    if name == "alexnet":
        return _alexnet()
    if name == "googlenet":
        return _googlenet()
    network = torchvision.models.get_model(name, weights=None)
    for block in network.modules():
        if isinstance(block, torchvision.models.resnet.Bottleneck) and block.conv2.stride == (2, 2):
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    return network


def _one_kernel() -> nn.Module:
    """Where local response normalisation stands: TensorRT has a kernel for it, the exporter a dozen nodes."""
    return nn.Sigmoid()


def _conv(c_in: int, c_out: int, k: int, stride: int = 1, padding: int = 0, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, k, stride, padding, groups=groups), nn.ReLU()]


def _alexnet() -> nn.Module:
    """Krizhevsky et al. 2012, with its two groups."""
    return nn.Sequential(
        *_conv(3, 96, 11, stride=4),
        _one_kernel(),
        nn.MaxPool2d(3, 2),
        *_conv(96, 256, 5, padding=2, groups=2),
        _one_kernel(),
        nn.MaxPool2d(3, 2),
        *_conv(256, 384, 3, padding=1),
        *_conv(384, 384, 3, padding=1, groups=2),
        *_conv(384, 256, 3, padding=1, groups=2),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, 1000),
        nn.Softmax(1),
    )


class _Inception(nn.Module):
    """Szegedy et al. 2014, figure 2b."""

    def __init__(self, c: int, one: int, three_in: int, three: int, five_in: int, five: int, pooled: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*layers)
            for layers in (
                _conv(c, one, 1),
                [*_conv(c, three_in, 1), *_conv(three_in, three, 3, padding=1)],
                [*_conv(c, five_in, 1), *_conv(five_in, five, 5, padding=2)],
                [nn.MaxPool2d(3, 1, 1), *_conv(c, pooled, 1)],
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _googlenet() -> nn.Module:
    """The same, table 1."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *_conv(3, 64, 7, stride=2, padding=3),
        pool(),
        _one_kernel(),
        *_conv(64, 64, 1),
        *_conv(64, 192, 3, padding=1),
        _one_kernel(),
        pool(),
        _Inception(192, 64, 96, 128, 16, 32, 32),
        _Inception(256, 128, 128, 192, 32, 96, 64),
        pool(),
        _Inception(480, 192, 96, 208, 16, 48, 64),
        _Inception(512, 160, 112, 224, 24, 64, 64),
        _Inception(512, 128, 128, 256, 24, 64, 64),
        _Inception(512, 112, 144, 288, 32, 64, 64),
        _Inception(528, 256, 160, 320, 32, 128, 128),
        pool(),
        _Inception(832, 256, 160, 320, 32, 128, 128),
        _Inception(832, 384, 192, 384, 48, 128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1024, 1000),
        nn.Softmax(1),
    )
