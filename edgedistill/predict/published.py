"""Measurements that others published: exact matches only, never a guess.

published_fps.csv: one row per measurement of one image at a time in TensorRT on a Jetson Nano or
Orin Nano, as it stands in the source named in that row. Rows that contradict each other are kept.
"""

from __future__ import annotations

import csv
from importlib import resources

_DEVICES = {  # target -> the table's names of it; a name that leaves the board open is not here
    "jetson-nano": {"Jetson Nano 4GB (Maxwell sm_53)"},
    "orin-nano-8gb": {
        "Jetson Orin Nano Super", "Jetson Orin Nano 8GB Super (MAXN)",
        "Jetson Orin Nano 8GB Super (15W)", "Jetson Orin Nano 8GB Super (7W)",
    },
}  # fmt: skip
_ALIASES = {  # our model name -> the table's other names of the same network
    "mobilenetv2_100": {"MobileNetV2", "MobileNetV2 (ONNX zoo)", "mobilenetv2-1.0 (ONNX zoo)"},
    "efficientnet_b0": {"EfficientNet-B0"},
}


def published_rows(target: str, model: str, precision: str, image_px: int) -> list[dict[str, str]]:
    """Rows for exactly this board, network, precision and size; [] when nothing is published.

    Args:
        target: name in edgedistill/targets.
        model: timm or torchvision name, with or without the tag of its weights.
        precision: `fp32`, `fp16` or `int8`, as executed, not as requested.
        image_px: height = width.

    Returns:
        Rows of the table, all values as text: device, model, input_hw, batch, precision, runtime,
        runtime_version, fps, latency_ms ("" where not stated), source.
    """
    path = resources.files("edgedistill.predict") / "published_fps.csv"
    architecture = model.partition(".")[0]
    names = {architecture, *_ALIASES.get(architecture, ())}
    return [
        row
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        if row["device"] in _DEVICES.get(target, ())
        and row["model"] in names
        and row["precision"] == precision.upper()
        and row["input_hw"] == f"{image_px}x{image_px}"
    ]
