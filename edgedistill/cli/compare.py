"""compare: several finished runs on one page and in one table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder or report.json")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.html",
        help="also write a page with figures and the trials of sweeps",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.results import compare
    from edgedistill.reporting.comparison import text_from_comparison

    comparison = compare(*args.runs, out=args.out)
    if args.json:
        print(json.dumps(comparison, indent=1, ensure_ascii=False))
    else:
        show(text_from_comparison(comparison, terminal_width()))
        if args.out is not None:
            print(f"comparison: {args.out}")
    return 0
