"""What every verb that goes to boards by ssh has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def board_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", default="edgedistill", help="folder there, relative to the login's home (default: %(default)s)"
    )
    parser.add_argument("--python", default="python3", help="interpreter there (default: %(default)s)")
    ssh_options(parser)


def ssh_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ssh-config", type=Path, metavar="FILE", help="what ssh reads instead of your ~/.ssh/config")


def one_host(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", metavar="HOST", help="any word that `ssh` accepts")
    board_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only results")


def board_from_args(args: argparse.Namespace) -> dict[str, Any]:
    """How to reach a board, as the functions of edgedistill.api.boards take it."""
    names = ("root", "python", "ssh_config", "quiet")
    return {name: getattr(args, name) for name in names if hasattr(args, name)}
