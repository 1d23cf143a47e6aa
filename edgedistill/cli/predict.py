"""predict: speed and memory of one network on a board, without the board."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from edgedistill.errors import RecipeError

HELP = "how fast would this network be on the board?"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx|NAME", help="a file, or a network of the catalogue")
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="asked of the board (default: %(default)s)",
    )
    parser.add_argument("--image-px", type=int, metavar="N", help="input size of a named network (default: 224)")
    parser.add_argument(
        "--classes", type=int, default=1000, metavar="N", help="of a named network (default: %(default)s)"
    )
    parser.add_argument(
        "--learn",
        type=Path,
        metavar="REPORT.json",
        help="first keep your board's own measurement, which refines the model",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.prediction.model import predict
    from edgedistill.prediction.text import text_from_prediction

    model, image_px = args.model, args.image_px
    precision = args.precision
    if args.learn:
        model, image_px, precision = _learned(args)
    elif model is None:
        raise RecipeError("which network? give a file or a name, like mobilenetv3_small_100")
    found = predict(model, args.target, precision, image_px, args.classes)
    print(json.dumps(found.as_dict, indent=1) if args.json else text_from_prediction(found))
    return 0


def _learned(args: argparse.Namespace) -> tuple[str, int | None, str]:
    from edgedistill.prediction.features import features_from_file
    from edgedistill.prediction.model import features_of_name, is_file
    from edgedistill.prediction.user_measurements import learn, measured_from_report
    from edgedistill.progress.reporter import Talk

    measured = measured_from_report(args.learn)
    model = args.model or measured.model
    image_px = args.image_px or measured.image_px
    if is_file(model):
        features = features_from_file(Path(model))
    elif image_px is None:
        raise RecipeError(f"{args.learn} does not say the input's size; give --image-px or the .onnx file")
    else:
        features = features_of_name(model.partition(".")[0], image_px, args.classes)
    count = learn(replace(measured, image_px=image_px), args.target, features)
    Talk().say(
        f"kept {measured.latency_ms:.2f} ms of {measured.model} on {measured.board}; "
        f"{count} measurements of {args.target}"
    )
    return model, image_px, measured.precision
