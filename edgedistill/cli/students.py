"""students: list student networks and which boards support them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="export, check and compile all of them again, which takes minutes; write and show the table",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file that --refresh writes (default: students.json in the current folder)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import students
    from edgedistill.models.students import text_from_students

    table = students(args.target, refresh=args.refresh, output=args.output)
    if args.json:
        print(json.dumps(table, indent=1))
    else:
        show(text_from_students(table, terminal_width()))
    return 0
