"""What every verb that runs stages has: options, and the run itself."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", type=Path, metavar="DIR",
                        help="where artifacts go (default: runs/RECIPE)")  # fmt: skip
    parser.add_argument("--set", dest="overrides", action="append", default=[],
                        metavar="section.key=value", help="override a recipe key")  # fmt: skip
    parser.add_argument("--seeds", type=int, metavar="N",
                        help="train baseline and student N times: mean and spread of the gain")  # fmt: skip
    parser.add_argument("--force", action="append", default=[], metavar="STAGE",
                        help="redo this stage although it is up to date")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only results")


def overrides_from_args(args: argparse.Namespace) -> list[str]:
    """`--set` and its shorthands, as `section.key=value`."""
    return [*args.overrides, *([f"distill.seeds={args.seeds}"] if args.seeds is not None else [])]


def run_asked(args: argparse.Namespace, recipe, name: str) -> Path | None:
    """Run `args.stage`, or every stage: the JSON of the last one; None after a wrong --force."""
    from edgedistill.pipeline import run_stages
    from edgedistill.stages import STAGES
    from edgedistill.talk import Talk

    known = [stage.name for stage in STAGES]
    unknown = [stage for stage in args.force if stage not in known]
    if unknown:
        print(f"edgedistill {args.verb}: --force {unknown[0]}: no such stage; "
              f"there are: {', '.join(known)}", file=sys.stderr)  # fmt: skip
        return None
    run_dir = args.run_dir or Path("runs") / name
    return run_stages(recipe, run_dir, Talk(args.quiet), only=args.stage, force=args.force)


def run_recipe(args: argparse.Namespace, recipe, name: str) -> int:
    """Run what was asked for, and print what came of it."""
    path = run_asked(args, recipe, name)
    if path is None:
        return 2
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return 0
    if args.json:
        print(path.read_text(encoding="utf-8"), end="")
    elif path.stem == "report":
        from edgedistill.report.summary import summary_table

        print(summary_table(json.loads(path.read_text(encoding="utf-8"))))
        print(f"report: {path.with_suffix('.html')}")
    else:
        print(path)
    return 0
