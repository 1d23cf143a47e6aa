"""report: the results of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.cli.run_options import plan_asked, print_result, run_asked, run_options


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe",
        type=Path,
        metavar="RECIPE.toml|RUN",
        help="recipe, whose report is made again where it is not up to date; or run folder, whose report is shown",
    )
    run_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.results import report

    if args.dry_run:
        return print_result(args, plan_asked(args, args.recipe))
    return print_result(args, run_asked(args, report, args.recipe))
