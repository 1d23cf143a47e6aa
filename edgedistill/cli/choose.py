"""choose: the students that meet a budget on a board, best first."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.errors import RecipeError

HELP = "which student meets the budget on the board?"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp16",
        help="asked of the board (default: %(default)s)",
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second that are wanted")
    parser.add_argument("--memory-mib", type=float, metavar="N", help="memory the process may take")
    parser.add_argument(
        "--image-px", type=int, nargs="+", default=[224], metavar="N", help="input sizes to try (default: 224)"
    )
    parser.add_argument("--classes", type=int, default=1000, metavar="N", help="of the student (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=15, metavar="N", help="of the table (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="accuracy over speed as a picture")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="RECIPE.toml",
        help="write the first into this recipe: student.model and data.image_px",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.prediction.choose import choose
    from edgedistill.prediction.text import text_from_candidates
    from edgedistill.progress.reporter import Talk

    for name in ("fps", "memory_mib", "classes", "rows"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise RecipeError(f"--{name.replace('_', '-')} {value:g}: expected more than 0")
    found = choose(
        args.target,
        args.precision,
        args.fps,
        args.memory_mib,
        tuple(sorted(set(args.image_px), reverse=True)),
        args.classes,
    )
    if args.json:
        print(json.dumps([candidate.as_dict for candidate in found], indent=1))
    else:
        print(text_from_candidates(found, args.fps, args.memory_mib, args.rows))
    talk = Talk()
    if args.plot:
        from edgedistill.prediction.plot import plot_candidates

        shown = plot_candidates(found, args.fps, args.plot)
        talk.say(f"{args.plot} shows {shown} students: those with a published accuracy for such images")
    if found[0].tier == 2:
        raise RecipeError(
            "no student fits this budget; try fewer pixels (--image-px 160 128), fewer FPS or more memory"
        )
    if args.into:
        from edgedistill.config.edit import write_choice

        best = found[0].prediction
        write_choice(args.into, best.model, best.image_px)
        talk.say(f"wrote student.model = {best.model}, data.image_px = {best.image_px} into {args.into}")
    return 0
