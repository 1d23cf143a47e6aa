"""students: the table of networks that can be one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "networks that can be students, and who takes them"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="export, check and compile them all again (minutes), write --output and show it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="what --refresh writes (default: students.json in the current folder)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.errors import RecipeError
    from edgedistill.models.students import STORED, stored, students, text_from_students
    from edgedistill.progress.reporter import Talk

    if args.output and not args.refresh:
        raise RecipeError("--output is what --refresh writes; give both, or leave --output out")
    table = stored()
    if args.refresh:
        from edgedistill.onnx_model import student_table

        path = args.output or Path(STORED)
        talk = Talk(quiet=False)
        talk.say(f"the last refresh took {table['seconds']:.0f} s")
        table = student_table.refresh(path, talk.say)
        talk.say(f"written: {path}")
    shown = students(args.target, table)
    print(json.dumps(shown, indent=1) if args.json else text_from_students(shown))
    return 0
