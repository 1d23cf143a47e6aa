"""rollback: a board serves again what it served before."""

from __future__ import annotations

import argparse
import json

from edgedistill.verbs.board_options import board_from_args
from edgedistill.verbs.board_options import one_host as options  # noqa: F401

HELP = "make a board serve again what it served before"


def run(args: argparse.Namespace) -> int:
    with board_from_args(args) as board:
        found = board.agent("rollback")
    print(json.dumps(found, indent=1) if args.json
          else f"{args.host}: serves {found.get('id')} again; before, it was {found.get('previous')}")  # fmt: skip
    return 0
