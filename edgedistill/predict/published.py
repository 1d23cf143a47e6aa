"""Measurements that others published: exact matches only, never a guess.

published_fps.csv: rows with batch 1 and TensorRT, as they stand in their sources, which are named
row by row. Rows that contradict each other are all kept.
"""

from __future__ import annotations

import csv
from importlib import resources

_DEVICES = {  # target -> how the table's device column begins
    "jetson-nano": ("Jetson Nano",),
    "orin-nano-8gb": ("Jetson Orin Nano",),
}
_ALIASES = {  # our model name -> names in the table
    "squeezenet1_1": ("squeezenet1_1",),
    "mobilenetv2_100": ("MobileNetV2", "mobilenetv2-1.0 (ONNX zoo)", "mobilenetv2-7"),
    "mobilenetv2_140": ("MobileNetV2-1.4x",),
    "mobilenetv3_large_100": ("MobileNetV3-Large",),
    "efficientnet_b0": ("EfficientNet-B0",),
    "resnet18": ("resnet18", "ResNet-18"),
    "resnet50": ("resnet50", "ResNet50"),
}


def published_rows(target: str, model: str, precision: str, image_px: int) -> list[dict[str, str]]:
    """Rows for exactly this board, network, precision and size; [] when nothing is published.

    Args:
        target: name in targets/.
        model: timm or torchvision name.
        precision: `fp32`, `fp16` or `int8`.
        image_px: height = width.
    """
    text = (resources.files("edgedistill.predict") / "published_fps.csv").read_text(encoding="utf-8")
    names, devices = _ALIASES.get(model, (model,)), _DEVICES.get(target, ())
    return [
        row
        for row in csv.DictReader(text.splitlines())
        if row["device"].startswith(devices or "\0")
        and row["model"] in names
        and row["precision"] == precision.upper()
        and row["input_hw"] == f"{image_px}x{image_px}"
    ]
