"""compare: several finished runs on one page and in one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "several runs or boards on one page and in one table"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder, or a report.json")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="FILE.html",
        help="where the page goes (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    from edgedistill.core.files import write_bytes
    from edgedistill.reporting.compare_page import html_from_comparison
    from edgedistill.reporting.comparison import comparison_of, text_from_comparison

    found = comparison_of(args.runs)
    write_bytes(args.out, html_from_comparison(found).encode())
    if args.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(text_from_comparison(found))
        print(f"comparison: {args.out}")
    return 0
