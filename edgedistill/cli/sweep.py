"""sweep: try settings of the student on one teacher."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.cli.run_options import interrupted, options_from_args, recipe_options
from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.add_argument(
        "--over",
        nargs="+",
        required=True,
        metavar="section.key=a,b,c",
        help="keys of [distill], student.model or student.weights, and the values to try",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="try N combinations chosen by TPE instead of all")
    parser.add_argument("--storage", metavar="URL", help="Optuna storage shared by several machines (default: a file)")
    recipe_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.options import run_dir_of
    from edgedistill.api.runs import sweep
    from edgedistill.pipeline.sweep_axes import axes_from_text
    from edgedistill.pipeline.sweep_comparison import text_from_sweep
    from edgedistill.records.layout import SWEEP
    from edgedistill.records.sweep import SweepRecord

    options = options_from_args(args)
    del options["force"]  # every trial that is not trained yet is trained
    try:
        result = sweep(args.recipe, axes_from_text(args.over), trials=args.trials, storage=args.storage, **options)
    except KeyboardInterrupt:
        return interrupted(args)
    folder = run_dir_of(args.recipe, args.run_dir) / "sweep"
    if args.events != "-":
        if args.json:
            print((folder / "sweep.json").read_text(encoding="utf-8"))
        else:
            show(text_from_sweep(SweepRecord.from_json(result, SWEEP), folder, terminal_width()))
    return 0
