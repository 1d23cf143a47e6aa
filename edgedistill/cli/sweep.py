"""sweep: settings of the student, on one teacher."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.run_options import interrupted, overrides_from_args, recipe_options, run_dir_of, talk_from_args

HELP = "try settings of the student on one cached teacher"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.add_argument(
        "--over",
        nargs="+",
        required=True,
        metavar="section.key=a,b,c",
        help="keys of [distill], student.model or student.weights, and the values to try",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="try N combinations, chosen by TPE, instead of all")
    parser.add_argument("--storage", metavar="URL", help="Optuna storage that several machines share (default: a file)")
    recipe_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.pipeline.sweep import Sweep, text_from_sweep
    from edgedistill.pipeline.sweep_axes import axes_from_text

    run_dir = run_dir_of(args, args.recipe.stem)
    talk = talk_from_args(args)
    sweep = Sweep(args.recipe, overrides_from_args(args), axes_from_text(args.over), run_dir, talk)
    try:
        path = sweep.run(args.storage, args.trials)
    except KeyboardInterrupt:
        return interrupted(args)
    text = path.read_text(encoding="utf-8")
    if args.events != "-":
        print(text if args.json else text_from_sweep(json.loads(text), path.parent))
    return 0
