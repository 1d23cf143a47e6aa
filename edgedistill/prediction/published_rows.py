"""Measurements that others published: what the table says, which rows the model is fitted to, and why not the others.

published_fps.csv: one row per measurement in TensorRT, as it stands in the source named in that row; rows that
contradict each other are kept. Each has a grade: A, raw figures of a tool with clocks and version stated; B, an
author's table whose method is stated; C, clocks, precision or method in doubt; D, an address that was not kept. A row
is used for the fit when the board, the precision that the hardware computed in, the input's size and the network are
known, the network can be built here, and the figure is TensorRT's own time and not a whole application's.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edgedistill.config.target import Precision, targets
from edgedistill.prediction.latency import hardware

METHODS = (
    "torch2trt/blob/master/benchmarks/JETSON_NANO",
    "BENCHMARKS_NANO",
    "jetson_xavier.md",
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
    "netspresso",
    "onnxsim",
    "inference_results_v1.0",
    "inference_results_v1.1",
    "paddlepaddle",
    "mmdeploy",
    "ICASSP23",
)
# The time is that of a framework's call around TensorRT, not of TensorRT's own.
CALLS = {
    "torch2trt/blob/master/benchmarks/JETSON_NANO",
    "BENCHMARKS_NANO",
    "jetson_xavier.md",
    "kentaroy47",
    "ultralytics",
    "mmdeploy",
}
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
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "resnet50-v1.5": "resnet50",
    **{f"{name} (caffe)": f"{name}_caffe" for name in ("alexnet", "googlenet", "resnet50", "resnet101", "resnet152")},
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
            "vgg19",
            "vgg19_bn",
            "resnet34",
            "densenet161",
            "efficientvit_b1",
            "efficientvit_b2",
            "efficientvit_b3",
            "mixnet_m",
            "mixnet_l",
            "mnasnet0_75",
            "mnasnet1_0",
            "mnasnet1_3",
            "shufflenet_v2_x0_5",
            "shufflenet_v2_x1_0",
            "shufflenet_v2_x1_5",
            "resnext50_32x4d",
            "seresnet50",
        )
    },
}
_FAMILIES = {
    **{
        name: name
        for name in (
            "resnet",
            "vgg",
            "densenet",
            "efficientvit",
            "efficientformer",
            "coatnet",
            "convnext",
            "yolo",
            "mobilenet",
            "mnasnet",
            "mixnet",
            "shufflenet",
            "alexnet",
        )
    },
}
_TRANSFORMERS = ("DeiT", "Swin", "DINO", "vit_", "mobilevit")
OTHER_HEAD = "3 classes"  # in brackets after a name


@dataclass(frozen=True)
class Row:
    """One measurement that is used.

    Attributes:
        mode: power mode, the board's usual one where the row names none.
        mode_stated: whether it does.
        network, image_px: as in the catalogue.
        latency_ms: of a batch, as published, or 1000 * batch / FPS.
        watts: of the board meanwhile; None where not measured.
        method: who measured; all rows of one method share what its way of measuring adds.
        grade: A to D.
        old: of TensorRT before 7.
        source: as in the table.
    """

    target: str
    mode: str
    mode_stated: bool
    precision: Precision
    network: str
    image_px: int
    batch: int
    latency_ms: float
    watts: float | None
    method: str
    grade: str
    old: bool
    source: str

    @property
    def family(self) -> str:
        """Networks of one design; left out together, they show how far the model carries."""
        return next((family for prefix, family in _FAMILIES.items() if self.network.startswith(prefix)), self.network)


@cache
def boards() -> dict[str, tuple[str, str]]:
    """The table's name of a board -> target and power mode, "" where the name leaves it open."""
    return {
        name: (target.name, mode)
        for target in targets().values()
        if target.published
        for name, mode in target.published.names.items()
    }


@cache
def published() -> tuple[dict[str, str], ...]:
    """The whole table, values as text; not to be changed."""
    path = resources.files("edgedistill.prediction") / "published_fps.csv"
    return tuple(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def used(table: Iterable[dict[str, str]] | None = None) -> list[Row]:
    """The rows to fit, in the table's order.

    Args:
        table: instead of `published()`.
    """
    return [row_of(row) for row in (published() if table is None else table) if not reason(row)]


def left_out() -> Iterator[tuple[dict[str, str], str]]:
    """(row, why) of the others."""
    return ((row, why) for row in published() if (why := reason(row)))


def network_of(row: dict[str, str]) -> str | None:
    """Our name of the network in a row; None for one that cannot be built here."""
    return NETWORKS.get(row["model"].removesuffix(f" ({OTHER_HEAD})"))


def reason(row: dict[str, str]) -> str:
    """Why a row is not used, "" when it is."""
    known, model, precision = boards().get(row["device"]), row["model"], row["precision"].lower()
    if known is None:
        return "clocks of the board are not known, or it is not the GPU that computes"
    if precision == "not stated":
        return "precision not stated"
    if precision not in hardware()[known[0]].macs_per_cycle:
        return "precision: not one of the model, or INT8 asked of hardware without it"
    if "issues/294" in row["source"] and "zoo" not in model:
        return "timed through a Python backend, three times the same network run by TensorRT alone"
    if model.startswith(_TRANSFORMERS):
        return "a transformer: TensorRT fuses attention in ways that are not counted here"
    if "second model" in model or "compression" in model:
        return "the network's structure is not stated"
    if row["runtime"] == "TF-TRT" or row["runtime_version"].startswith("3."):
        return "TensorRT 3, or TensorFlow around it"
    return "" if network_of(row) else "a detector, or a network that cannot be built here"


def row_of(row: dict[str, str]) -> Row:
    """
    Args:
        row: one that `reason` has nothing against.
    """
    target, mode = boards()[row["device"]]
    network, batch = network_of(row), int(row["batch"])
    if network is None:
        raise ValueError(f"{row['model']} is no network that can be built here")
    precision: Precision = row["precision"].lower()  # type: ignore[assignment]  # `reason` compared it
    return Row(
        target,
        mode or hardware()[target].usual_mode,
        bool(mode),
        precision,
        network,
        int(row["input_hw"].partition("x")[0]),
        batch,
        float(row["latency_ms"]) if row["latency_ms"] else 1000 * batch / float(row["fps"]),
        float(row["watts"]) if row["watts"] else None,
        next((name for name in METHODS if name in row["source"]), "other"),
        row["grade"],
        "2019" in row["runtime_version"] or "2019" in row["source"],
        row["source"],
    )
