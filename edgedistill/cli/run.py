"""run: every stage in turn."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from edgedistill.cli.run_options import plan_asked, print_result, run_asked, run_options


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.set_defaults(stage=None)
    run_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.runs import run, stage

    if args.dry_run:
        return print_result(args, plan_asked(args, args.recipe))
    work = run if args.stage is None else partial(stage, args.stage)
    return print_result(args, run_asked(args, work, args.recipe))
