"""completion: print a script by which a shell completes commands. Nothing of Python runs at TAB."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.terminal import completion
    from edgedistill.cli.main import build_parser

    print(completion(args.shell, build_parser()))
    return 0
