"""The command line: parse, call one verb, exit.

stdout is results, stderr is talk. Exit code 0 done, 1 refused in one line, 2 wrong usage.
Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from edgedistill import __version__
from edgedistill.errors import EdgeDistillError
from edgedistill.verbs import (
    bench,
    bundle,
    check,
    deploy,
    doctor,
    enrol,
    keys,
    new,
    quickstart,
    rollback,
    run,
    status,
    students,
    sweep,
)
from edgedistill.verbs.recipe_run import run_options

BEFORE_STAGES = {"quickstart": quickstart, "new": new, "run": run}
STAGE_MODULES = {"bundle": bundle, "deploy": deploy}  # stages whose verb takes more than a recipe
AFTER_STAGES = {"keys": keys, "enrol": enrol, "status": status, "rollback": rollback, "bench": bench,
                "sweep": sweep, "check": check, "students": students, "doctor": doctor}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """All verbs and options, without importing torch."""
    from edgedistill.stages import STAGES

    parser = argparse.ArgumentParser(
        prog="edgedistill",
        description="From a folder of images to a distilled student on a Jetson.",
    )
    parser.add_argument("--version", action="version", version=f"edgedistill {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add(verbs, BEFORE_STAGES)
    for stage in STAGES:
        verb = verbs.add_parser(stage.name, help=f"stage: {stage.help}")
        module = STAGE_MODULES.get(stage.name)
        if module is None:
            verb.add_argument("recipe", type=Path, metavar="RECIPE.toml")
            run_options(verb)
        else:
            module.options(verb)
        verb.set_defaults(call=(module or run).run, stage=stage.name)
    _add(verbs, AFTER_STAGES)
    return parser


def _add(verbs: argparse._SubParsersAction, modules: dict) -> None:
    for name, module in modules.items():
        verb = verbs.add_parser(name, help=module.HELP)
        module.options(verb)
        verb.set_defaults(call=module.run)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = build_parser().parse_args(argv)
    # PyTorch's OpenMP threads spin while they wait; on a shared machine, or beside our own image
    # threads, that starves whoever holds the work. Read when torch is imported, so set here.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return args.call(args)
    except EdgeDistillError as error:
        print(f"edgedistill {args.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"edgedistill {args.verb}: stopped; run it again to go on from here", file=sys.stderr)
        return 1
