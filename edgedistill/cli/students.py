"""students: list student networks and which boards support them."""

from __future__ import annotations

import argparse
import json


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--refresh", action="store_true", help="export, check and compile all of them again, which takes minutes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import students
    from edgedistill.models.students import text_from_students

    table = students(args.target, refresh=args.refresh)
    print(json.dumps(table, indent=1) if args.json else text_from_students(table))
    return 0
