"""bundle: the stage, and the bundle in the form that an updater or a USB stick takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.run_options import overrides_from_args, run_asked, run_options, run_recipe, speaks

FORMATS = ("folder", "archive", "mender", "oci")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run_options(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="also write the signed bundle as a folder, one reproducible file, a Mender "
        "artifact or an OCI image layout",
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="where to (default: beside the run's folders, named after the recipe)"
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.config.loading import load_recipe
    from edgedistill.errors import BundleError

    recipe = load_recipe(args.recipe, overrides_from_args(args))
    name = args.recipe.stem
    if args.format is None and args.out is None:
        return run_recipe(args, recipe, name)
    if recipe.deploy.sign_key is None:
        raise BundleError(
            "what leaves this computer is signed: edgedistill keys new, then "
            '--set deploy.sign_key=NAME or sign_key = "NAME" in [deploy]'
        )
    path = run_asked(args, recipe, name)
    if isinstance(path, int):
        return path
    if speaks():
        _export(args, path.parent / "bundle", name)
    return 0


def _export(args: argparse.Namespace, bundle: Path, name: str) -> None:
    from edgedistill.bundles.formats import FORMATS, export_bundle

    kind = args.format or "folder"
    out = args.out or bundle.parents[1] / (name + FORMATS[kind].suffix)
    made = export_bundle(bundle, kind, out)
    print(json.dumps(made, indent=1) if args.json else made["path"])
