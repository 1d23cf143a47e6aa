"""compare: several finished runs on one page and in one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "several runs or boards on one page and in one table"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                       help="run folder, or a report.json")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("compare.html"), metavar="FILE.html",
                       help="where the page goes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    from edgedistill.report.compare_page import html_from_comparison
    from edgedistill.report.comparison import (
        compared,
        load_report,
        load_sweep,
        text_from_comparison,
    )
    from edgedistill.run_folder import write_bytes

    names = _names(args.runs)
    found = compared(
        {name: load_report(path) for name, path in names.items()},
        {name: load_sweep(path) for name, path in names.items()},
    )
    write_bytes(args.out, html_from_comparison(found).encode())
    if args.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(text_from_comparison(found))
        print(f"comparison: {args.out}")
    return 0


def _names(paths: list[Path]) -> dict[str, Path]:
    """A short name for each path: its folder's, with a number where two would be alike."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name if path.is_dir() else path.resolve().stem
        unique, number = name, 2
        while unique in named:
            unique, number = f"{name} ({number})", number + 1
        named[unique] = path
    return named
