"""students: the table of networks that can be one."""

from __future__ import annotations

import argparse
import json

HELP = "networks that can be students, and who takes them"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument("--refresh", action="store_true", help="export, check and compile them all again; minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.models import students
    from edgedistill.progress.reporter import Talk

    if args.refresh:
        last = students.stored()["seconds"]
        talk = Talk(quiet=False)
        talk.say(f"the last refresh took {last:.0f} s")
        students.refresh(students.stored_path(), talk.say)
    table = students.students(args.target)
    print(json.dumps(table, indent=1) if args.json else students.text_from_students(table))
    return 0
