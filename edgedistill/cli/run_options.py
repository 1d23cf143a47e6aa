"""What every verb that runs stages has: options, and the run itself."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from edgedistill.errors import UsageError


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Of every verb that trains: where, with what, and how loud."""
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where artifacts go (default: runs/RECIPE)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="section.key=value",
        help="override a recipe key",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train baseline and student N times: the mean gain and its 95 %% interval",
    )
    parser.add_argument(
        "--force", action="append", default=[], metavar="STAGE", help="redo this stage although it is up to date"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--events", metavar="FILE", help="add JSON lines about the work to this file; - is stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only results")


def run_options(parser: argparse.ArgumentParser) -> None:
    """Of `run` and of each stage's own verb."""
    recipe_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, what is kept and why, and stop"
    )


def overrides_from_args(args: argparse.Namespace) -> list[str]:
    """`--set` and its shorthands, as `section.key=value`."""
    return [*args.overrides, *([f"distill.seeds={args.seeds}"] if args.seeds is not None else [])]


def command_of(args: argparse.Namespace) -> str:
    """The command that runs all stages of this recipe, as advice repeats it.

    Settings of [deploy] are left out: some are kept out of every artifact, and advice is about training.
    """
    recipe = getattr(args, "recipe", None)
    words = ["edgedistill", "quickstart"] if recipe is None else ["edgedistill", "run", _from_here(recipe)]
    if args.run_dir is not None:
        words += ["--run-dir", _from_here(args.run_dir)]
    if args.seeds is not None:
        words += ["--seeds", str(args.seeds)]
    for override in args.overrides:
        words += ["--set", override] if not override.strip().startswith("deploy.") else []
    return shlex.join(words)


def _from_here(path: Path) -> str:
    """Relative to the working directory where it lies below it: a report need not tell of a computer."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def run_dir_of(args: argparse.Namespace, name: str) -> Path:
    """Where the run of the recipe `name`.toml lies."""
    return args.run_dir or Path("runs") / name


def talk_from_args(args: argparse.Namespace):
    """The voice that the options ask for.

    Raises:
        UsageError: --json and --events - would share stdout.
        RunFolderError: the events' file cannot be written.
    """
    from edgedistill.progress.events import EventLog
    from edgedistill.progress.reporter import Talk

    if args.events == "-" and args.json:
        raise UsageError("--events - and --json both want stdout; name a file: --events events.jsonl")
    return Talk(args.quiet, EventLog(args.events) if args.events and speaks() else None)


def run_asked(args: argparse.Namespace, recipe, name: str) -> Path | int:
    """Run `args.stage`, or every stage: the JSON of the last one, or the exit code where there is
    none, after a dry run or Ctrl-C."""
    from edgedistill.pipeline.runner import plan_run, run_stages

    run_dir = run_dir_of(args, name)
    if args.dry_run:
        from edgedistill.pipeline.plan import json_from_plan, text_from_plan

        planned = plan_run(recipe, run_dir, args.stage, args.force)
        print((json_from_plan if args.json else text_from_plan)(planned, run_dir))
        return 0
    talk = talk_from_args(args)
    try:
        return run_stages(recipe, run_dir, talk, only=args.stage, force=args.force, command=command_of(args))
    except KeyboardInterrupt:
        return interrupted(args, f" in stage {talk.stage}" if talk.stage else "")


def run_recipe(args: argparse.Namespace, recipe, name: str) -> int:
    """Run what was asked for, and print what came of it."""
    path = run_asked(args, recipe, name)
    if isinstance(path, int):
        return path
    if speaks() and args.events != "-":
        _print_result(path, args.json)
    return 0


def interrupted(args: argparse.Namespace, where: str = "") -> int:
    """Say how to go on after Ctrl-C; gives the exit code that shells expect of it."""
    print(
        f"edgedistill {args.verb}: stopped{where}; what is finished and the last checkpoint are kept; "
        f"go on with: {args.command}",
        file=sys.stderr,
    )
    return 130


def _print_result(path: Path, as_json: bool) -> None:
    if as_json:
        print(path.read_text(encoding="utf-8"), end="")
    elif path.stem == "report":
        from edgedistill.core.files import read_json
        from edgedistill.reporting.summary import summary_table

        print(summary_table(read_json(path)))
        print(f"report: {path.with_suffix('.html')}")
    else:
        print(path)


def speaks() -> bool:
    """Under torchrun the first process speaks for all."""
    return os.environ.get("RANK", "0") == "0"
