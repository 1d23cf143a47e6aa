"""report: the stage, and its page served on this computer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgedistill.cli.run import run as run_stage
from edgedistill.cli.run_options import run_dir_of, run_options


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run_options(parser)
    parser.add_argument("--serve", action="store_true", help="then serve the page on 127.0.0.1 until Ctrl-C")
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="of --serve; 0 takes any free one (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    code = run_stage(args)
    if code == 0 and args.serve and not args.dry_run:
        _serve(run_dir_of(args, args.recipe.stem) / "report", args.port)
    return code


def _serve(folder: Path, port: int) -> None:
    from edgedistill.reporting.serve import ADDRESS, server_of

    with server_of(folder, port) as server:
        url = f"http://{ADDRESS}:{server.server_address[1]}/"
        print(f"serving {url} (Ctrl-C ends)", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
