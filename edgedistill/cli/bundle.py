"""bundle: the stage, and the bundle in the form that an updater or a USB stick takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.run_options import plan_asked, print_result, run_asked, run_options
from edgedistill.core.distributed import speaks

FORMATS = ("folder", "archive", "mender", "oci")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run_options(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="also export the signed bundle as a folder, one reproducible file, a Mender "
        "artifact or an OCI image layout",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="file or folder to write (default: in the run folder, named after the recipe)",
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.runs import bundle

    if args.dry_run:
        return print_result(args, plan_asked(args, args.recipe))
    made = run_asked(args, bundle, args.recipe, format=args.format, out=args.out)
    if isinstance(made, dict) and speaks():
        print(json.dumps(made, indent=1) if args.json else made["path"])
    return print_result(args, made)
