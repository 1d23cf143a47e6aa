"""Measurements that others published: what the table says, which rows the model is fitted to, and why not the others.

published_fps.csv: one row per measurement of one image at a time in TensorRT, as it stands in the source
named in that row; rows that contradict each other are kept. A row is used for the fit when the board, the
precision that the hardware computed in, the input's size and the network are known, the network can be
built here, and the figure is TensorRT's own time for one image and not a whole application's.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edgedistill.config.target import targets
from edgedistill.prediction.latency import hardware

_METHODS = (
    "torch2trt",
    "kentaroy47",
    "NobuoTsukamoto",
    "onnx-tensorrt",
    "efficientvit",
    "zainmk",
    "ultralytics",
    "hcbf",
    "TFM",
    "MobileNet v2 on Jetson Nano",
    "hokwangchoi",
)
NETWORKS = {  # the table's name -> ours
    "mobilenetv2-1.0 (ONNX zoo)": "mobilenetv2_100",
    "MobileNetV2 (ONNX zoo)": "mobilenetv2_100",
    "MobileNetV2": "mobilenetv2_100",
    "mobilenetv2-7": "mobilenetv2_100",
    "ShuffleNetV2-x1.0": "shufflenet_v2_x1_0",
    "EfficientNet-B0": "efficientnet_b0",
    "RepViT-M1.0": "repvit_m1_0",
    "EfficientFormer-L1": "efficientformer_l1",
    "EfficientViT-B1": "efficientvit_b1",
    "EfficientViT-B2": "efficientvit_b2",
    "EfficientViT-B3": "efficientvit_b3",
    "CoAtNet-0": "coatnet_0_224",
    "CoAtNet-1": "coatnet_1_224",
    "CoAtNet-2": "coatnet_2_224",
    "ConvNeXt-T": "convnext_tiny",
    "ConvNeXt-S": "convnext_small",
    "ConvNeXt-B": "convnext_base",
    "yolov8n-cls": "yolov8n_cls",
    "efficientformer_l1": "efficientformer_l1",
    "efficientformer_l3": "efficientformer_l3",
    "MobileNetV2-1.4x": "mobilenetv2_140",
    "MobileNetV3-Large": "mobilenetv3_large_100",
    "ResNet50": "resnet50",
    "DeiT-Tiny": "deit_tiny_patch16_224",
    "Swin-B": "swin_base_patch4_window7_224",
    **{f"YOLO11{size}": f"yolo11{size}" for size in "nsmlx"},
    **{
        name: name
        for name in (
            "alexnet",
            "squeezenet1_1",
            "resnet18",
            "resnet50",
            "resnet101",
            "resnet152",
            "densenet121",
            "densenet169",
            "densenet201",
            "vgg11",
            "vgg16",
            "vgg11_bn",
            "vgg13_bn",
            "vgg16_bn",
        )
    },
}
_FAMILIES = ("resnet", "vgg", "densenet", "efficientvit", "coatnet", "convnext", "yolo11")
_TRANSFORMERS = ("DeiT", "Swin", "DINO")


@dataclass(frozen=True)
class Row:
    """One measurement that is used.

    Attributes:
        network, image_px: as in the catalogue.
        latency_ms: as published, or 1000 / FPS.
        method: who measured; all rows of one method share what its way of measuring adds.
        source: as in the table.
    """

    target: str
    precision: str
    network: str
    image_px: int
    latency_ms: float
    method: str
    source: str

    @property
    def in_python(self) -> bool:
        """Whether the time is that of a framework's call around TensorRT, not of TensorRT's own."""
        return self.method == "ultralytics"

    @property
    def family(self) -> str:
        """Networks of one design; left out together, they show how far the model carries."""
        return next((f for f in _FAMILIES if self.network.startswith(f)), self.network)


@cache
def boards() -> dict[str, str]:
    """The table's name of a board, in the mode that the model is for -> target."""
    return {name: target.name for target in targets().values() if target.published for name in target.published.names}


@cache
def slower_modes() -> dict[str, tuple[str, str]]:
    """The table's name of a board in another mode -> target and the mode."""
    return {
        name: (target.name, mode)
        for target in targets().values()
        if target.published
        for name, mode in target.published.slower_modes.items()
    }


def published() -> list[dict[str, str]]:
    """The whole table, values as text."""
    path = resources.files("edgedistill.prediction") / "published_fps.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def used() -> list[Row]:
    """The rows to fit, in the table's order."""
    return [_row(row) for row in published() if not reason(row)]


def left_out() -> Iterator[tuple[dict[str, str], str]]:
    """(row, why) of the others."""
    return ((row, why) for row in published() if (why := reason(row)))


def reason(row: dict[str, str]) -> str:
    """Why a row is not used, "" when it is."""
    target, model, precision = boards().get(row["device"]), row["model"], row["precision"].lower()
    if target is None:
        return "power mode or clocks of the board are not those of the model (MAXN)"
    if precision == "not stated":
        return "precision not stated"
    if precision not in hardware()[target].peak_gmacs_per_s:
        return "precision: not one of the model, or INT8 asked of hardware without it"
    if "issues/294" in row["source"] and "zoo" not in model:
        return "timed through a Python backend, three times the same network run by TensorRT alone"
    if model.startswith(_TRANSFORMERS):
        return "a transformer: TensorRT fuses attention in ways that are not counted here"
    if "second model" in model or "compression" in model:
        return "the network's structure is not stated"
    if model not in NETWORKS:
        return "a detector, or a network that cannot be built here"
    return ""


def _row(row: dict[str, str]) -> Row:
    target = boards()[row["device"]]
    latency_ms = float(row["latency_ms"]) if row["latency_ms"] else 1000 / float(row["fps"])
    method = next((name for name in _METHODS if name in row["source"]), "other")
    return Row(
        target,
        row["precision"].lower(),
        NETWORKS[row["model"]],
        int(row["input_hw"].partition("x")[0]),
        latency_ms,
        method,
        row["source"],
    )
