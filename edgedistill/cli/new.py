"""new: a recipe from a look at the images."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.cli.screen import show


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train", type=Path, required=True, help="folder per class, folder of splits, CSV, parquet, or .tar shards"
    )
    parser.add_argument("--val", type=Path, help="validation images in the same form, if you have a split already")
    parser.add_argument("--test", type=Path, help="test images in the same form, for the figures in the report")
    parser.add_argument("--unlabelled", type=Path, help="further images without labels")
    parser.add_argument("--path-column", metavar="NAME", help="table: column of image paths")
    parser.add_argument("--label-column", metavar="NAME", help="table: column of class names")
    parser.add_argument("--split-column", metavar="NAME", help='table: column of train, val, test; "" for none')
    parser.add_argument("--group-column", metavar="NAME", help="table: images with the same value stay in one split")
    parser.add_argument("--image-root", metavar="DIR", help="table: folder of the images")
    parser.add_argument("--suffix", metavar=".png", help="table: ending of the files, where the paths lack it")
    parser.add_argument(
        "--leave-out",
        metavar="PATTERN",
        action="append",
        help="leave out images by path or name, like '*_mask.png'; may be repeated",
    )
    parser.add_argument(
        "--same-names",
        choices=("refuse", "keep"),
        help="keep pairs like a.jpg and a.png as images of their own (default: refuse)",
    )
    parser.add_argument(
        "--small-classes",
        choices=("refuse", "drop", "merge"),
        help="what to do with classes below --min-class-images (default: refuse)",
    )
    parser.add_argument("--min-class-images", metavar="N", type=int, help="smallest class that is kept, in images")
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="file to write")


KEYS = (
    "path_column",
    "label_column",
    "split_column",
    "group_column",
    "image_root",
    "suffix",
    "same_names",
    "small_classes",
    "min_class_images",
)


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.runs import new

    keys = {key: getattr(args, key) for key in KEYS} | {"leave_out": args.leave_out and tuple(args.leave_out)}
    places = {name: getattr(args, name) for name in ("val", "test", "unlabelled")}
    inspected = new(args.train, args.recipe, **places, target=args.target, say=show, **keys)
    return 1 if inspected["refused"] else 0
