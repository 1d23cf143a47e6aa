"""estimate: speed, power and memory of one network on a board, without the board."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.screen import show


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL.onnx|NAME",
        help="an ONNX file, or the name of a network of timm or torchvision",
    )
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="precision on the board (default: %(default)s)",
    )
    parser.add_argument("--mode", metavar="MODE", help="power mode of the board, like 15W (default: its usual one)")
    parser.add_argument("--image-px", type=_size, metavar="N|HxW", help="input size of a named network (default: 224)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at once (default: %(default)s)")
    parser.add_argument(
        "--classes",
        type=int,
        default=1000,
        metavar="N",
        help="number of classes of a named network (default: %(default)s)",
    )
    parser.add_argument(
        "--learn",
        type=Path,
        metavar="REPORT.json",
        help="first store this measurement of your board, which refines the estimates",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _size(text: str) -> int | tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected 224 or 480x640, got {text!r}")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import estimate
    from edgedistill.prediction.model import Prediction
    from edgedistill.prediction.text import text_from_prediction

    prediction = estimate(
        args.model,
        args.target,
        args.precision,
        image_px=args.image_px,
        classes=args.classes,
        batch=args.batch,
        mode=args.mode,
        learn=args.learn,
    )
    if args.json:
        print(json.dumps(prediction, indent=1))
    else:
        show(text_from_prediction(Prediction.from_dict(prediction)))
    return 0
