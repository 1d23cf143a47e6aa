"""The command line: parse, call one verb, exit.

Results go to stdout, messages to stderr. Exit code 0 done, 1 refused in one line, 2 wrong usage, 130
stopped by Ctrl-C, 141 when the reader of the output has ended.
Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import select
import shlex
import sys
from collections.abc import Container, Iterator
from typing import TextIO

from edgedistill._version import __version__
from edgedistill.cli.verbs import VERBS, GroupedHelp, add_verb, unknown_verb
from edgedistill.core.text import printable, printable_lines
from edgedistill.environment.secret_values import passphrase_taken, without_secrets
from edgedistill.errors import (
    EdgeDistillError,
    RecipeError,
    UsageError,
    WeightsError,
    is_out_of_memory,
)

MODULES = frozenset(
    (
        "quickstart",
        "new",
        "run",
        "doctor",
        "completion",
        "bundle",
        "deploy",
        "report",
        "sweep",
        "predict",
        "compare",
        "check",
        "students",
        "published",
        "choose",
        "estimate",
        "enrol",
        "status",
        "rollback",
        "bench",
        "keys",
    )
)  # verbs with a module of their own; the others are stages, which `run` runs one at a time


def build_parser(with_options: Container[str] = VERBS) -> argparse.ArgumentParser:
    """All verbs, without importing torch.

    Args:
        with_options: verbs whose module is imported, and whose options are added. One process parses one verb.
    """
    from edgedistill.pipeline.table import STAGES

    parser = argparse.ArgumentParser(
        prog="edgedistill",
        description="From a folder of images to a distilled student on a Jetson.",
        epilog="`edgedistill VERB --help` shows a verb's options, an example and its page of the documentation.",
        formatter_class=GroupedHelp,
    )
    parser.add_argument("--version", action="version", version=f"edgedistill {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", title="verbs")
    stages = {stage.name for stage in STAGES}
    for name in VERBS:
        verb = add_verb(verbs, name)
        if name in with_options:
            module = importlib.import_module(f"edgedistill.cli.{name if name in MODULES else 'run'}")
            module.options(verb)
            verb.set_defaults(call=module.run)
        if name in stages:
            verb.set_defaults(stage=name)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code, 141 when the reader of the output has ended (`| head`)."""
    argv = sys.argv[1:] if argv is None else argv
    with _closed_streams_open():
        return _coded(argv)


def _coded(argv: list[str]) -> int:
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, where it can be met, and not when Python ends
    except (OSError, UnicodeError) as error:  # no stage knew better: a full disk, a folder that is gone, a strange name
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 141  # as a shell shows a tool that SIGPIPE ended
        _drop_output()
        words = ["edgedistill", *(argv[:1] if argv[:1] and argv[0] in VERBS else ())]
        sys.stderr.write(f"{' '.join(words)}: {_line_from_system(error)}\n")
        return 1


def _run(argv: list[str]) -> int:
    args = _parsed(argv)
    args.command = shlex.join(["edgedistill", *without_secrets(argv)])  # for messages on how to resume
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

        message = printable(str(error))
        if isinstance(error, RecipeError | WeightsError):  # faults are told all, a line each
            message = printable_lines(str(error))
        # One write, and print makes several: under torchrun other processes say theirs at the same moment.
        sys.stderr.write(painted(f"edgedistill {args.verb}:", "error") + f" {message}\n")
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = printable(str(error).split("\n")[0]) or type(error).__name__
        print(
            f"edgedistill {args.verb}: out of memory ({message}); close programs or set a smaller "
            "batch_size, and run it again to resume",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"edgedistill {args.verb}: stopped", file=sys.stderr)
        return 130


def _parsed(argv: list[str]) -> argparse.Namespace:
    """The options; wrong usage ends with exit code 2."""
    parser = build_parser(_verbs_in(argv))
    if argv and argv[0] not in VERBS and not argv[0].startswith("-"):
        parser.error(printable(unknown_verb(argv[0])))
    if argv[:1] == ["predict"]:
        from edgedistill.cli.predict import refuse_old_form

        try:
            refuse_old_form(argv)
        except UsageError as error:
            parser.error(str(error))
    return parser.parse_args(argv)


def _verbs_in(argv: list[str]) -> Container[str]:
    """Verbs whose options are needed to parse these words: one, or none for the help of all."""
    if argv and argv[0] in {*VERBS, "-h", "--help", "--version"}:
        return argv[:1]
    return VERBS


def _line_from_system(error: OSError | UnicodeError) -> str:
    """What the operating system refused, and of which file."""
    if isinstance(error, UnicodeError):
        return printable(f"{error}; expected text in UTF-8")
    words = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return printable(f"cannot read or write: {words}")
    return printable(f"{os.fsdecode(error.filename)}: {words}" if isinstance(error.filename, str | bytes) else words)


@contextlib.contextmanager
def _closed_streams_open() -> Iterator[None]:
    """Streams that were closed before we started (`>&-`) are None: what is written to them goes nowhere."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    with contextlib.ExitStack() as files:
        for name in closed:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, files.enter_context(open(os.devnull, mode, encoding="utf-8")))
        try:
            yield
        finally:
            for name in closed:
                setattr(sys, name, None)


def _drop_output() -> None:
    """What stdout still holds is not tried again when Python ends, where it would be a second message."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Whatever else is written to it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _reader_is_gone() -> bool:
    """Whether the reader of our output has ended, like `head` after ten lines; stdout is closed then."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                gone = True
                _discard(stream)
        except (OSError, ValueError, AttributeError):  # no file of the system's
            continue
    return gone
