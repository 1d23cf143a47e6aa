"""check: a pre-flight of one ONNX file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.screen import show


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--tensorrt",
        metavar="RELEASE",
        help="check for another TensorRT: 8.2, 8.5, 8.6, 10.3, 10.16 or 11.4 (default: the board's)",
    )
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="OUT.onnx",
        help="write a fixed file and prove in ONNX Runtime that it equals this one",
    )
    parser.add_argument(
        "--shape",
        type=_shape,
        action="append",
        metavar="INPUT=1,3,H,W",
        help="with --fix: sizes of an input that has dynamic dimensions",
    )
    parser.add_argument(
        "--compile", action="store_true", help="also parse and build it with the TensorRT on this computer"
    )
    parser.add_argument(
        "--parse", action="store_true", help="also parse it with the TensorRT on this computer, without a build"
    )
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=300,
        metavar="N",
        help="stop the compiler after N seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--compile-mib",
        type=int,
        default=4096,
        metavar="N",
        help="stop the compiler at N MiB of memory (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not all(size.isdigit() and int(size) > 0 for size in sizes.split(",")):
        raise argparse.ArgumentTypeError(f"expected INPUT=1,3,224,224, got {text!r}")
    return name, tuple(int(size) for size in sizes.split(","))


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import check
    from edgedistill.onnx_model.check import text_from_check
    from edgedistill.onnx_model.compile_child import PARSES

    result = check(
        args.model,
        args.target,
        tensorrt=args.tensorrt,
        fix=args.fix,
        shape=dict(args.shape or ()),
        compile=args.compile,
        parse=args.parse,
        compile_seconds=args.compile_seconds,
        compile_mib=args.compile_mib,
    )
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(text_from_check(result))
    compiles = "compile" not in result or result["compile"]["verdict"] in ("builds", PARSES)
    return 0 if result["fits"] and compiles else 1
