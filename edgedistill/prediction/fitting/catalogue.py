"""`python -m edgedistill.prediction.fitting.catalogue`: count the kernels of students and published networks.

Students at several sizes with few and with many classes, and the networks of the published rows. Weights
are random; only the graph counts. Stored as features.csv, so that these are predicted without PyTorch and ONNX; any
other network is counted when it is asked for.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from pathlib import Path

import torch

from edgedistill.core.files import write_bytes
from edgedistill.errors import EdgeDistillError
from edgedistill.models.families import STUDENTS
from edgedistill.prediction.features import NAMES, STORED, Features, catalogue
from edgedistill.prediction.fitting.published_networks import published_network
from edgedistill.prediction.networks import features_of_module
from edgedistill.prediction.published_rows import used

SIZES = (96, 128, 160, 192, 224, 256, 288)
CLASSES = (10, 1000)


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


def counted(name: str, image_px: int, classes: int) -> Features:
    """
    Raises:
        EdgeDistillError: no such network, or it cannot be counted.
    """
    return features_of_module(published_network(name, classes, image_px), (image_px, image_px), name)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m edgedistill.prediction.fitting.catalogue", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(STORED),
        metavar="FILE",
        help="where the counts go (default: %(default)s in the current folder)",
    )
    parser.add_argument("--missing", action="store_true", help="take what the installed catalogue has; count the rest")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    started, lines = time.monotonic(), io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["network", "image_px", "classes", *NAMES])
    for name, (sizes, numbers) in wanted().items():
        for classes in numbers:
            for image_px in sizes:
                features = catalogue().get((name, image_px), {}).get(classes) if args.missing else None
                try:
                    features = features or counted(name, image_px, classes)
                except EdgeDistillError as error:
                    print(f"{name} at {image_px} px: left out: {error}", file=sys.stderr)
                    continue
                table.writerow([name, image_px, classes, *(round(getattr(features, field)) for field in NAMES)])
        print(f"{name} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    write_bytes(args.output, lines.getvalue().encode())
    print(args.output)


if __name__ == "__main__":
    main()
