"""deploy: a bundle to a board, to several, or to a fleet."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.board_options import board_options
from edgedistill.cli.run_options import overrides_from_args, run_asked, run_options, run_recipe
from edgedistill.errors import UsageError

if TYPE_CHECKING:
    from edgedistill.deployment.request import Deployment, Source

HELP = "stage: verify and time the bundle on each host; or a bundle to boards, by ssh"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", type=Path, metavar="WHAT", help="RECIPE.toml, a run folder, a bundle folder, or a bundle's archive"
    )
    run_options(parser)
    parser.add_argument(
        "--host", action="append", default=[], dest="hosts", help="a board, any word that ssh accepts; again for more"
    )
    parser.add_argument("--fleet", type=Path, metavar="boards.toml", help="an inventory of boards")
    parser.add_argument("--group", help="only these boards of the fleet")
    parser.add_argument(
        "--until", choices=("build", "verify", "bench", "activate"), help="the last step (default: activate)"
    )
    parser.add_argument("--runs", type=int, help="timed inferences (default: the recipe's, or 200)")
    parser.add_argument("--allow-downgrade", action="store_true", help="let boards take an older serial")
    board_options(parser)
    parser.set_defaults(root=None, python=None)  # the recipe's, if there is one


def run(args: argparse.Namespace) -> int:
    from edgedistill.deployment.request import Deployment, source_of

    asked = Deployment(
        tuple(args.hosts),
        args.fleet,
        args.group,
        args.until,
        args.runs,
        args.allow_downgrade,
        args.root,
        args.python,
        args.ssh_config,
    )
    is_recipe = args.what.suffix == ".toml"
    if not asked.to_boards and not is_recipe:
        raise UsageError(f"{args.what} goes where? Give --host HOST or --fleet boards.toml")
    if not asked.to_boards:
        return _stage(args, asked)
    if is_recipe:
        return _recipe_to_boards(args, asked)
    with source_of(args.what) as source:
        return _to_boards(args, asked, source)


def _stage(args: argparse.Namespace, asked: Deployment) -> int:
    """The recipe's own hosts; an option stands above the recipe."""
    from edgedistill.config.loading import load_recipe

    overrides = [f"deploy.{key}={value}" for key, value in asked.deploy_keys.items()]
    recipe = load_recipe(args.what, [*overrides_from_args(args), *overrides])
    return run_recipe(args, recipe, args.what.stem)


def _recipe_to_boards(args: argparse.Namespace, asked: Deployment) -> int:
    """Its bundle, made first where it is not there."""
    from edgedistill.config.loading import load_recipe
    from edgedistill.deployment.request import source_from_stage

    recipe = load_recipe(args.what, overrides_from_args(args))
    args.stage = "bundle"
    made = run_asked(args, recipe, args.what.stem)
    if isinstance(made, int):
        return made
    return _to_boards(args, asked, source_from_stage(made, recipe))


def _to_boards(args: argparse.Namespace, asked: Deployment, source: Source) -> int:
    from edgedistill.progress.reporter import Talk

    talk = Talk(args.quiet)
    if asked.fleet:
        report, place = asked.through_fleet(source, talk)
        return _to_fleet(args, report.to_json(), place)
    for row in asked.each_host(source, talk):
        found = row.to_json()
        print(json.dumps(found, indent=1) if args.json else summary_line(found))
    return 0


def _to_fleet(args: argparse.Namespace, report: dict[str, Any], place: Path) -> int:
    from edgedistill.deployment.fleet import table_from_fleet
    from edgedistill.records.deployment import FleetRecord

    fleet = FleetRecord.model_validate(report)
    print(json.dumps(report, indent=1) if args.json else table_from_fleet(fleet))
    if not args.json:
        print(f"report: {place / 'fleet.html'}")
    if fleet.stopped:
        print(f"edgedistill deploy: stopped: {fleet.stopped}; the same command goes on", file=sys.stderr)
    return 0 if all(row.state == "done" for row in fleet.boards) else 1


def summary_line(found: dict) -> str:
    """What came of one board, in one line.

    Args:
        found: JSON of a `BoardDeployment`.
    """
    from edgedistill.records.deployment import BoardDeployment

    row = BoardDeployment.model_validate(found)
    parts = [f"{row.host}: {row.model} {row.id}"]
    if row.bench is not None:
        parts.append(f"{row.bench.end_to_end_ms.p50_ms:.2f} ms from the file, p50")
    parts.append(f"{row.executed}, {row.provenance}")
    done = f"until {row.until}, not serving it" if row.activate is None else "serves it now"
    return ", ".join([*parts, done])
