"""check: a pre-flight of one ONNX file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "will the board's TensorRT take this ONNX file?"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--tensorrt",
        metavar="RELEASE",
        help="that of another JetPack: 8.2, 8.5, 8.6, 10.3, 10.16, 11.4 (default: the board's)",
    )
    parser.add_argument(
        "--fix", type=Path, metavar="OUT.onnx", help="write a mended file, proved equal to this one in ONNX Runtime"
    )
    parser.add_argument(
        "--shape",
        type=_shape,
        action="append",
        metavar="INPUT=1,3,H,W",
        help="with --fix: sizes of an input whose dimensions are open",
    )
    parser.add_argument(
        "--compile", action="store_true", help="also parse and build it with a TensorRT of this computer"
    )
    parser.add_argument(
        "--parse", action="store_true", help="also ask the parser of a TensorRT of this computer, without a build"
    )
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=300,
        metavar="N",
        help="stop the compiler after this (default: %(default)s)",
    )
    parser.add_argument(
        "--compile-mib",
        type=int,
        default=4096,
        metavar="N",
        help="stop the compiler at this memory (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not all(size.isdigit() and int(size) > 0 for size in sizes.split(",")):
        raise argparse.ArgumentTypeError(f"expected INPUT=1,3,224,224, got {text!r}")
    return name, tuple(int(size) for size in sizes.split(","))


def run(args: argparse.Namespace) -> int:
    from edgedistill.errors import PreflightError
    from edgedistill.onnx_model.check import check, fix, text_from_check
    from edgedistill.onnx_model.compile_child import PARSES

    if args.shape and not args.fix:
        raise PreflightError("--shape goes with --fix OUT.onnx: it changes the file")
    if args.fix:
        result = fix(args.model, args.target, args.fix, args.tensorrt, dict(args.shape or ()))
    else:
        result = check(args.model, args.target, args.tensorrt)
    if args.compile or args.parse:
        from edgedistill.config.target import load_target
        from edgedistill.onnx_model.backends import backend_of

        limits = args.compile_seconds, args.compile_mib
        backend = backend_of(load_target(args.target))
        result["compile"] = backend.compiled(args.fix or args.model, *limits, not args.compile)
    print(json.dumps(result, indent=1) if args.json else text_from_check(result))
    compiles = "compile" not in result or result["compile"]["verdict"] in ("builds", PARSES)
    return 0 if result["fits"] and compiles else 1
