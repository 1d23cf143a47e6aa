"""deploy: a bundle to a board, to several, or to a fleet."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.board_options import BOARD_HELP, ssh_options
from edgedistill.cli.run_options import print_result, run_asked, run_options
from edgedistill.cli.screen import show
from edgedistill.core.text_table import terminal_width
from edgedistill_device.benchmark.benchreport import FEWEST_RUNS, MOST_RUNS
from edgedistill_device.engine.execution import TUNE

if TYPE_CHECKING:
    from edgedistill.api.types import FleetReport


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", type=Path, metavar="WHAT", help="RECIPE.toml, a run folder, a bundle folder, or a bundle's archive"
    )
    run_options(parser)
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        dest="hosts",
        metavar="HOST",
        help="SSH host, as in `ssh HOST`; repeat it for more boards",
    )
    parser.add_argument("--fleet", type=Path, metavar="boards.toml", help="deploy to the boards of this inventory")
    parser.add_argument("--group", help="deploy only to this group of the fleet")
    parser.add_argument(
        "--until",
        choices=("build", "verify", "bench", "activate"),
        help="stop after this step (default: the recipe's, or activate)",
    )
    parser.add_argument(
        "--runs",
        type=int,
        help=f"number of timed inferences, {FEWEST_RUNS} to {MOST_RUNS} (default: the recipe's, or 200)",
    )
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="allow a bundle with a lower serial than the board has"
    )
    parser.add_argument(
        "--tune",
        choices=TUNE,
        help="look for the fastest way of running the engine: once an engine (default), again, with engines that are "
        "built otherwise, too (minutes each), or not at all",
    )
    for name, default in (("root", "edgedistill"), ("python", "python3")):  # None: the recipe's, if there is one
        parser.add_argument(f"--{name}", help=f"{BOARD_HELP[name]} (default: the recipe's, or {default})")
    ssh_options(parser)


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import deploy
    from edgedistill.api.types import FleetReport

    names = ("fleet", "group", "until", "runs", "allow_downgrade", "tune", "root", "python", "ssh_config", "dry_run")
    asked = {name: getattr(args, name) for name in names}
    if args.hosts:
        asked |= {"hosts": args.hosts, "on_board": lambda row: print_board(row, args.json)}
    made = run_asked(args, deploy, args.what, **asked)
    if isinstance(made, FleetReport):
        return print_fleet(made, args.json)
    return 0 if isinstance(made, list) else print_result(args, made)


def print_board(row: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(row, indent=1)) if as_json else show(summary_line(row))


def print_fleet(report: FleetReport, as_json: bool) -> int:
    """Print fleet.json or its table; the exit code, 1 unless every board is done."""
    from edgedistill.deployment.fleet import table_from_fleet
    from edgedistill.records.deployment import FleetRecord

    fleet = FleetRecord.model_validate(report)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print(table_from_fleet(fleet, terminal_width()))
        print(f"report: {report.folder / 'fleet.html'}")
    if fleet.stopped:
        print(f"edgedistill deploy: stopped: {fleet.stopped}; run the same command to resume", file=sys.stderr)
    return 0 if all(row.state == "done" for row in fleet.boards) else 1


def summary_line(deployment: dict) -> str:
    """What came of one board, in one line.

    Args:
        deployment: JSON of a `BoardDeployment`.
    """
    from edgedistill.records.deployment import BoardDeployment

    record = BoardDeployment.model_validate(deployment)
    parts = [f"{record.host}: {record.model} {record.id}"]
    if record.bench is not None:
        parts.append(f"{record.bench.end_to_end_ms.p50_ms:.2f} ms from the file, p50")
    parts.append(f"{record.executed}, {record.provenance}")
    done = f"until {record.until}, not serving it" if record.activate is None else "serves it now"
    return ", ".join([*parts, done])
