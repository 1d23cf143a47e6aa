"""estimate: speed and memory of one network on a board, without the board."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="MODEL.onnx|NAME", help="an ONNX file, or the name of a network in the catalogue"
    )
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="precision on the board (default: %(default)s)",
    )
    parser.add_argument("--image-px", type=int, metavar="N", help="input size of a named network (default: 224)")
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


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import estimate
    from edgedistill.prediction.model import Prediction
    from edgedistill.prediction.text import text_from_prediction

    prediction = estimate(
        args.model, args.target, args.precision, image_px=args.image_px, classes=args.classes, learn=args.learn
    )
    print(json.dumps(prediction, indent=1) if args.json else text_from_prediction(Prediction.from_dict(prediction)))
    return 0
