"""new: a recipe from a look at the images."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "look at your images and write a recipe for them"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, required=True, help="folder per class, CSV, parquet, or .tar shards")
    parser.add_argument("--val", type=Path, help="the same, if you have a split already")
    parser.add_argument("--unlabelled", type=Path, help="more images, without labels")
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="file to write")


def run(args: argparse.Namespace) -> int:
    from edgedistill.new import inspect_and_write

    inspect_and_write(args.train, args.val, args.target, args.recipe, print, args.unlabelled)
    print(f"wrote {args.recipe}; next: edgedistill run {args.recipe}")
    return 0
