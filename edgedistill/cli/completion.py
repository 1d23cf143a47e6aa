"""completion: what TAB offers, as a script for the shell. Nothing of Python runs at TAB."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedistill.errors import EdgeDistillError

SHELLS = ("bash", "zsh", "fish")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    from edgedistill.cli.main import build_parser

    try:
        import shtab
    except ImportError:
        raise EdgeDistillError("shtab is missing: pip install 'edgedistill[completion]'") from None
    parser = build_parser()
    _say_what_values_are(parser, shtab)
    print(shtab.complete(parser, args.shell))
    return 0


def _say_what_values_are(parser: argparse.ArgumentParser, shtab) -> None:
    """Files, folders, stages and boards, for this copy of the parser alone."""
    from edgedistill.config.target import target_names
    from edgedistill.pipeline.table import STAGES

    choices = {"force": [stage.name for stage in STAGES], "target": list(target_names())}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _say_what_values_are(verb, shtab)
        elif action.dest in choices:
            action.choices = choices[action.dest]
        elif action.dest in ("run_dir", "annotate"):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # the attribute is shtab's
        elif action.type is Path or action.dest == "events":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # the attribute is shtab's
