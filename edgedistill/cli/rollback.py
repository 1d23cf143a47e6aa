"""rollback: a board serves again what it served before."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args, one_host

HELP = "make a board serve again what it served before"


def options(parser: argparse.ArgumentParser) -> None:
    one_host(parser)
    parser.add_argument(
        "--leave", metavar="ID", help="only if it serves this one: said twice, it does not go forth again"
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import rollback

    found = rollback(args.host, leave=args.leave, **board_from_args(args))
    print(
        json.dumps(found, indent=1)
        if args.json
        else f"{args.host}: serves {found.get('id')} again; before, it was {found.get('previous')}"
    )
    return 0
