"""choose: the students that meet a budget on a board, best first."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width
from edgedistill.errors import RecipeError


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="precision on the board (default: %(default)s)",
    )
    parser.add_argument("--fps", type=float, metavar="N", help="required frames per second")
    parser.add_argument("--memory-mib", type=float, metavar="N", help="memory limit of the process, MiB")
    parser.add_argument(
        "--camera",
        action="store_true",
        help="the frames come at --fps: name the power mode of least energy that holds the rate",
    )
    parser.add_argument("--mode", metavar="MODE", help="power mode of the board, like 15W (default: its usual one)")
    parser.add_argument(
        "--image-px", type=int, nargs="+", default=[224], metavar="N", help="input sizes to try (default: 224)"
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="number of the student's classes (default: those of the images of --into, else 1000)",
    )
    parser.add_argument(
        "--rows", type=int, default=15, metavar="N", help="rows of the table to print (default: %(default)s)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw accuracy against speed")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="RECIPE.toml",
        help="write the best student into this recipe: student.model and data.image_px",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import choose
    from edgedistill.prediction.choose import Budget, Candidate
    from edgedistill.prediction.text import text_from_candidates

    if args.rows <= 0:
        raise RecipeError(f"--rows {args.rows}: expected more than 0")
    rows = choose(
        args.target,
        args.precision,
        fps=args.fps,
        memory_mib=args.memory_mib,
        camera=args.camera,
        mode=args.mode,
        sizes=args.image_px,
        classes=args.classes,
        plot=args.plot,
        into=args.into,
    )
    candidates = [Candidate.from_dict(row) for row in rows]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        budget = Budget(args.fps, args.memory_mib, args.camera)
        show(text_from_candidates(candidates, budget, args.rows, terminal_width()))
    if candidates[0].tier == 2:
        raise RecipeError(
            "no student fits this budget; try fewer pixels (--image-px 160 128), fewer FPS or more memory"
        )
    return 0
