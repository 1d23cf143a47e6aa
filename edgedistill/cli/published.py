"""published: what others measured on a board, each figure with its source and grade."""

from __future__ import annotations

import argparse
import csv
import json
import sys

from edgedistill.cli.screen import show

_COLUMNS = ("model", "input_hw", "batch", "precision", "mode", "latency_ms", "fps", "watts", "grade", "source")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="jetson-nano", help="the board (default: %(default)s)")
    parser.add_argument("--model", default="", metavar="NAME", help="only networks whose name contains this")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print every column as CSV")
    form.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import published
    from edgedistill.core.text_table import terminal_width

    rows = published(args.target, args.model)
    if args.json:
        print(json.dumps(rows, indent=1))
    elif args.csv:
        table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    else:
        show(text_from_published(rows, terminal_width()))
    return 0


def text_from_published(rows: list[dict[str, str]], width: int | None = None) -> str:
    """The main columns of the rows, and what the grades mean.

    Args:
        rows: at least one.
        width: columns of the terminal, None: any.
    """
    from edgedistill.core.text_table import table_lines

    lines = table_lines([_COLUMNS, *(tuple(row[name] for name in _COLUMNS) for row in rows)], (2, 5, 6, 7), width)
    grades = (
        f"{len(rows)} measurements that others published. Grade A: raw figures of a tool, clocks and version "
        "stated; B: an author's table, method stated; C: clocks, precision or method in doubt; D: no address kept"
    )
    return "\n".join([*lines, grades])
