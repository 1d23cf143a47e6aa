"""quickstart: the whole road, with images that it fetches itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.cli.run_options import overrides_from_args, run_recipe
from edgedistill.cli.run_options import run_options as options  # noqa: F401

HELP = "the whole road on the ELPV solar cells"


def run(args: argparse.Namespace) -> int:
    from edgedistill.config.quickstart import quickstart_recipe

    args.stage = None
    run_dir = args.run_dir or Path("runs/quickstart")
    return run_recipe(args, quickstart_recipe(run_dir, overrides_from_args(args)), "quickstart")
