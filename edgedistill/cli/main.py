"""The command line: parse, call one verb, exit.

stdout is results, stderr is talk. Exit code 0 done, 1 refused in one line, 2 wrong usage, 130
stopped by Ctrl-C, 141 when whoever read the output has ended.
Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import argparse
import os
import select
import shlex
import sys
from pathlib import Path

from edgedistill._version import __version__
from edgedistill.cli import (
    bench,
    bundle,
    check,
    choose,
    compare,
    completion,
    deploy,
    doctor,
    enrol,
    estimate,
    keys,
    new,
    predict,
    quickstart,
    rollback,
    run,
    status,
    students,
    sweep,
)
from edgedistill.cli.run_options import run_options
from edgedistill.core.text import printable, printable_lines
from edgedistill.environment.secret_values import passphrase_taken, without_secrets
from edgedistill.errors import (
    EdgeDistillError,
    RecipeError,
    UsageError,
    WeightsError,
    is_out_of_memory,
)

BEFORE_STAGES = {"quickstart": quickstart, "new": new, "run": run}
# Stages whose verb takes more than a recipe.
STAGE_MODULES = {"bundle": bundle, "deploy": deploy}
AFTER_STAGES = {
    "keys": keys,
    "enrol": enrol,
    "status": status,
    "rollback": rollback,
    "bench": bench,
    "sweep": sweep,
    "compare": compare,
    "check": check,
    "students": students,
    "choose": choose,
    "estimate": estimate,
    "predict": predict,
    "doctor": doctor,
    "completion": completion,
}


def build_parser() -> argparse.ArgumentParser:
    """All verbs and options, without importing torch."""
    from edgedistill.pipeline.table import STAGES

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
    """Run one verb; returns the exit code, 141 when whoever read the output has ended (`| head`)."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, where it can be met, and not when Python ends
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 141  # as a shell shows a tool that SIGPIPE ended


def _run(argv: list[str] | None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    try:
        predict.refuse_old_form(argv)
    except UsageError as error:
        parser.error(str(error))
    args = parser.parse_args(argv)
    args.command = shlex.join(["edgedistill", *without_secrets(argv)])  # for whoever says how to go on
    if hasattr(sys.stdout, "reconfigure"):  # a path may hold bytes that are no UTF-8
        sys.stdout.reconfigure(errors="surrogateescape")
    # PyTorch's OpenMP threads spin while they wait; on a shared machine, or beside our own image
    # threads, that starves whoever holds the work. Read when torch is imported, so set here.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        with passphrase_taken():
            return args.call(args)
    except EdgeDistillError as error:
        from edgedistill.progress.reporter import painted

        said = printable(str(error))
        if isinstance(error, RecipeError | WeightsError):  # faults are told all, a line each
            said = printable_lines(str(error))
        # One write, and print makes several: under torchrun other processes say theirs at the same moment.
        sys.stderr.write(painted(f"edgedistill {args.verb}:", "error") + f" {said}\n")
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        said = printable(str(error).split("\n")[0]) or type(error).__name__
        print(
            f"edgedistill {args.verb}: out of memory ({said}); close programs or set a smaller "
            "batch_size, and run it again to go on from here",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"edgedistill {args.verb}: stopped", file=sys.stderr)
        return 130


def _reader_is_gone() -> bool:
    """Whether whoever read our output has ended, like `head` after ten lines; it is closed then."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                gone = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left goes nowhere
        except (OSError, ValueError, AttributeError):  # no file of the system's
            continue
    return gone
