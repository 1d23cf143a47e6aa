"""rollback: return a board to its previous release."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args, one_host
from edgedistill.cli.screen import show


def options(parser: argparse.ArgumentParser) -> None:
    one_host(parser)
    parser.add_argument(
        "--leave", metavar="ID", help="roll back only if this release is current, so that repeating the command is safe"
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import rollback
    from edgedistill.records.board_answers import RollbackAnswer

    result = rollback(args.host, leave=args.leave, **board_from_args(args))
    answer = RollbackAnswer.model_validate(result)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(f"{args.host}: serves {answer.id} again; before, it was {answer.previous}")
    return 0
