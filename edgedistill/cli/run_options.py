"""What every verb that runs stages has: options, and the run itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width
from edgedistill.errors import UsageError

if TYPE_CHECKING:
    from edgedistill.api.types import Artifact
    from edgedistill.pipeline.plan import Planned


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Of every verb that trains: where, with what, and how loud."""
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="run folder for the artifacts (default: runs/RECIPE)"
    )
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
        help="train baseline and student N times and report the mean gain with its 95 %% interval",
    )
    parser.add_argument(
        "--force", action="append", default=[], metavar="STAGE", help="redo this stage even if it is up to date"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--events", metavar="FILE", help="append progress events as JSON lines to this file; - is stdout"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only results, no progress")


def run_options(parser: argparse.ArgumentParser) -> None:
    """Of `run` and of each stage's own verb."""
    recipe_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, what would be kept and why; do nothing"
    )


def options_from_args(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `recipe_options`, as `edgedistill.api.types.RunOptions` has them.

    Raises:
        UsageError: --json and --events - would share stdout.
        RunFolderError: the events' file cannot be written.
    """
    from edgedistill.core.distributed import speaks
    from edgedistill.progress.events import EventLog

    if args.events == "-" and args.json:
        raise UsageError("--events - and --json both want stdout; name a file: --events events.jsonl")
    names = ("run_dir", "overrides", "seeds", "force", "quiet")
    events = EventLog(args.events) if args.events and speaks() and not getattr(args, "dry_run", False) else None
    return {**{name: getattr(args, name) for name in names}, "events": events}


def run_asked(args: argparse.Namespace, work: Callable[..., Any], *what: Path, **more: Any) -> Any:
    """Call one function of edgedistill.api that runs stages.

    Args:
        work: takes `what`, the options of the command line, and `more`.

    Returns:
        What it returns; after Ctrl-C the exit code.
    """
    try:
        return work(*what, **options_from_args(args), **more)
    except KeyboardInterrupt as stopped:
        if not stopped.args:  # no stage was at work
            raise
        return interrupted(args, f" in stage {stopped}" if str(stopped) else "")


def plan_asked(args: argparse.Namespace, recipe: Path) -> tuple[Planned, ...]:
    """What `--dry-run` shows of `args.stage`, or of every stage."""
    from edgedistill.api.runs import plan

    names = ("run_dir", "overrides", "seeds", "force")
    return plan(recipe, only=args.stage, **{name: getattr(args, name) for name in names})


def print_result(args: argparse.Namespace, made: Any) -> int:
    """Print the artifact, or the plan, that an api function returned; returns the exit code.

    Args:
        made: an Artifact; planned stages; an exit code; anything else was printed already.
    """
    from edgedistill.api.types import Artifact
    from edgedistill.core.distributed import speaks

    if isinstance(made, int):
        return made
    if isinstance(made, tuple):
        _print_plan(args, made)
    elif isinstance(made, Artifact) and speaks() and args.events != "-":
        _print_artifact(made, args.json)
    return 0


def _print_plan(args: argparse.Namespace, planned: tuple[Planned, ...]) -> None:
    from edgedistill.api.options import run_dir_of
    from edgedistill.pipeline.plan import json_from_plan, text_from_plan

    run_dir = run_dir_of(getattr(args, "recipe", None) or getattr(args, "what", "quickstart"), args.run_dir)
    if args.json:
        print(json_from_plan(planned, run_dir))
    else:
        show(text_from_plan(planned, run_dir))


def interrupted(args: argparse.Namespace, where: str = "") -> int:
    """Say how to resume after Ctrl-C; gives the exit code that shells expect of it."""
    print(
        f"edgedistill {args.verb}: stopped{where}; what is finished and the last checkpoint are kept; "
        f"run the same command to resume: {args.command}",
        file=sys.stderr,
    )
    return 130


def _print_artifact(made: Artifact, as_json: bool) -> None:
    if as_json:
        print(made.path.read_text(encoding="utf-8"), end="")
    elif made.stage == "report":
        from edgedistill.reporting.comparison import report_of
        from edgedistill.reporting.summary import summary_table

        print(summary_table(report_of(made.values, str(made.path)), terminal_width()))
        print(f"report: {made.path.with_suffix('.html')}")
    else:
        print(made.path)
