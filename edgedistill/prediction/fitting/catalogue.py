"""`python -m edgedistill.prediction.fitting.catalogue`: count the kernels of all networks that are known by name.

Students at several sizes with few and with many classes, and the networks of the published rows. Weights
are random; only the graph counts. Stored as features.csv, so that predicting needs neither PyTorch nor ONNX.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import onnx
import torch
import torchvision
from torch import nn

from edgedistill.core.files import write_bytes
from edgedistill.errors import EdgeDistillError
from edgedistill.models.build import build_model
from edgedistill.models.families import STUDENTS
from edgedistill.onnx_model.export import graph_from_model
from edgedistill.prediction.features import NAMES, STORED, Features, features_from_file
from edgedistill.prediction.fitting.yolo import Yolo11, yolov8n_cls
from edgedistill.prediction.published_rows import used

SIZES = (96, 128, 160, 192, 224, 256, 288)
CLASSES = (10, 1000)


def network(name: str, classes: int) -> nn.Module:
    """Random weights, eval mode.

    Raises:
        EdgeDistillError: no such network.
    """
    if name.startswith("yolo11"):
        return Yolo11(name.removeprefix("yolo11")).eval()
    if name == "yolov8n_cls":
        return yolov8n_cls(classes).eval()
    if name.startswith(("vgg", "alexnet")):  # timm writes their head as convolutions
        return getattr(torchvision.models, name)(weights=None, num_classes=classes).eval()
    return build_model(name, classes).eval()


def resized(graph: onnx.ModelProto, image_px: int) -> onnx.ModelProto | None:
    """The same graph for another input size; None where a size stands inside it as a constant."""
    fixed = {"Resize", "MatMul", "Expand", "Slice", "Pad"}
    ranks = {init.name: init.dims[0] for init in graph.graph.initializer if len(init.dims) == 1}
    for node in graph.graph.node:
        if node.op_type in fixed or (node.op_type == "Reshape" and ranks.get(node.input[1], 9) > 2):
            return None
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    del copy.graph.value_info[:]
    for axis in (2, 3):
        copy.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = image_px
    return copy


def counted(graph: onnx.ModelProto) -> Features:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx.save(graph, str(path))
        return features_from_file(path)


def count_network(name: str, sizes: tuple[int, ...], classes: int) -> dict[int, Features]:
    """image_px -> features."""
    model = network(name, classes)

    def exported(image_px: int) -> onnx.ModelProto:
        return graph_from_model(model, torch.zeros(1, 3, image_px, image_px), f"{name} at {image_px} px")

    first = exported(sizes[0])
    features_by_px = {sizes[0]: counted(first)}
    for image_px in sizes[1:]:
        graph = resized(first, image_px)
        features_by_px[image_px] = counted(graph if graph is not None else exported(image_px))
    return features_by_px


def wanted() -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Network -> (sizes, numbers of classes)."""
    students = dict.fromkeys(STUDENTS, (SIZES, CLASSES))
    published: dict[str, set[int]] = {}
    for row in used():
        if row.network not in students or row.image_px not in SIZES:
            published.setdefault(row.network, set()).add(row.image_px)
    return {
        **students,
        **{name: (tuple(sorted(sizes)), CLASSES[1:]) for name, sizes in published.items()},
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m edgedistill.prediction.fitting.catalogue", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(STORED),
        metavar="FILE",
        help="where the counts go (default: %(default)s in the current folder)",
    )
    path = parser.parse_args(words).output
    torch.set_num_threads(1)
    started, lines = time.monotonic(), io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["network", "image_px", "classes", *NAMES])
    for name, (sizes, numbers) in wanted().items():
        for classes in numbers:
            try:
                features_by_px = count_network(name, sizes, classes)
            except EdgeDistillError as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
                continue
            for image_px, features in features_by_px.items():
                values = [round(getattr(features, field)) for field in NAMES]
                table.writerow([name, image_px, classes, *values])
        print(f"{name} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    write_bytes(path, lines.getvalue().encode())
    print(path)


if __name__ == "__main__":
    main()
