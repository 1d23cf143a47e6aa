"""Options of every verb that connects to boards over SSH."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

BOARD_HELP = {
    "root": "folder on the board, relative to the home folder",
    "python": "Python interpreter on the board",
}


def board_options(parser: argparse.ArgumentParser) -> None:
    for name, default in (("root", "edgedistill"), ("python", "python3")):
        parser.add_argument(f"--{name}", default=default, help=f"{BOARD_HELP[name]} (default: %(default)s)")
    ssh_options(parser)


def ssh_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ssh-config", type=Path, metavar="FILE", help="SSH configuration to use instead of ~/.ssh/config"
    )


def one_host(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", metavar="HOST", help="SSH host, as in `ssh HOST`")
    board_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only results, no progress")


def board_from_args(args: argparse.Namespace) -> dict[str, Any]:
    """How to reach a board, as the functions of edgedistill.api.boards take it."""
    names = ("root", "python", "ssh_config", "quiet")
    return {name: getattr(args, name) for name in names if hasattr(args, name)}
