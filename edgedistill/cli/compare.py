"""compare: several finished runs on one page and in one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder or report.json")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="FILE.html",
        help="page to write (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.runs import compare
    from edgedistill.reporting.comparison import text_from_comparison

    comparison = compare(*args.runs, out=args.out)
    if args.json:
        print(json.dumps(comparison, indent=1, ensure_ascii=False))
    else:
        print(text_from_comparison(comparison))
        print(f"comparison: {args.out}")
    return 0
