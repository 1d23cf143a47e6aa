"""quickstart: the full pipeline, with images that it fetches itself."""

from __future__ import annotations

import argparse

from edgedistill.cli.run_options import print_result, run_asked
from edgedistill.cli.run_options import run_options as options  # noqa: F401


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.runs import quickstart

    made = run_asked(args, quickstart, dry_run=args.dry_run)
    return print_result(args, made)
