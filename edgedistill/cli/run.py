"""run: every stage in turn."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.cli.run_options import overrides_from_args, run_options, run_recipe

HELP = "every stage in turn; finished ones are skipped"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.set_defaults(stage=None)
    run_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.config.loading import load_recipe

    return run_recipe(args, load_recipe(args.recipe, overrides_from_args(args)), args.recipe.stem)
