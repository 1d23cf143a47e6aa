"""deploy: a bundle to a board, to several, or to a fleet."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import BundleError, UsageError
from edgedistill.verbs.board_options import board_options, bundle_in
from edgedistill.verbs.recipe_run import overrides_from_args, run_asked, run_options, run_recipe

if TYPE_CHECKING:
    from edgedistill.device.deploy import SignedBundle, Wanted
    from edgedistill.sections import DeployConfig
    from edgedistill.talk import Talk

HELP = "stage: verify and time the bundle on each host; or a bundle to boards, by ssh"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", type=Path, metavar="WHAT",
                        help="RECIPE.toml, a run folder, a bundle folder, or a bundle's archive")  # fmt: skip
    run_options(parser)
    parser.add_argument("--host", action="append", default=[], dest="hosts",
                        help="a board, any word that ssh accepts; again for more")  # fmt: skip
    parser.add_argument("--fleet", type=Path, metavar="boards.toml", help="an inventory of boards")
    parser.add_argument("--group", help="only these boards of the fleet")
    parser.add_argument("--until", choices=("build", "verify", "bench", "activate"),
                        help="the last step (default: activate)")  # fmt: skip
    parser.add_argument("--runs", type=int, help="timed inferences (default: the recipe's, or 200)")
    parser.add_argument("--allow-downgrade", action="store_true", help="let boards take an older serial")
    board_options(parser)
    parser.set_defaults(root=None, python=None)  # the recipe's, if there is one


def run(args: argparse.Namespace) -> int:
    if args.hosts and args.fleet:
        raise UsageError("--host and --fleet: one of them")
    if args.group and not args.fleet:
        raise UsageError("--group needs --fleet")
    if args.fleet and (args.root or args.python):
        raise UsageError("--root and --python of a fleet's boards stand in its file")
    to_boards, is_recipe = bool(args.hosts or args.fleet), args.what.suffix == ".toml"
    if not to_boards:
        if is_recipe:
            return _stage(args)
        raise UsageError(f"{args.what} goes where? Give --host HOST or --fleet boards.toml")
    if is_recipe:
        return _recipe_to_boards(args)
    with ExitStack() as stack:
        return _to_boards(args, *_bundle_and_reports(args.what, stack))


def _stage(args: argparse.Namespace) -> int:
    """The recipe's own hosts; an option stands above the recipe."""
    from edgedistill.config import load_recipe

    if args.allow_downgrade:
        raise UsageError("--allow-downgrade is for --host and --fleet")
    config = args.ssh_config and args.ssh_config.absolute()
    given = {"until": args.until, "bench_runs": args.runs, "root": args.root, "python": args.python,
             "ssh_config": config}  # fmt: skip
    overrides = [f"deploy.{key}={value}" for key, value in given.items() if value is not None]
    recipe = load_recipe(args.what, [*overrides_from_args(args), *overrides])
    return run_recipe(args, recipe, args.what.stem)


def _recipe_to_boards(args: argparse.Namespace) -> int:
    """Its bundle, made first where it is not there."""
    from edgedistill.config import load_recipe

    recipe = load_recipe(args.what, overrides_from_args(args))
    args.stage = "bundle"
    made = run_asked(args, recipe, args.what.stem)
    if isinstance(made, int):
        return made
    return _to_boards(args, made.parent / "bundle", made.parents[1] / "deployments", recipe.deploy)


def _bundle_and_reports(what: Path, stack: ExitStack) -> tuple[Path, Path, DeployConfig]:
    """The bundle's folder; where to keep what boards say; settings."""
    from edgedistill.sections import DeployConfig

    found = bundle_in(what)
    if found is not None:
        return found, Path("deployments") if found == what else what / "deployments", DeployConfig()
    if what.is_file():
        import tempfile

        from edgedistill.device.archive import unpack_archive

        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgedistill-")))
        return unpack_archive(what, place), Path("deployments"), DeployConfig()
    raise BundleError(f"{what}: expected a RECIPE.toml, a run folder with a bundle, a bundle folder, or an archive")


def _to_boards(args: argparse.Namespace, folder: Path, reports: Path, settings: DeployConfig) -> int:
    from edgedistill.device.deploy import Wanted, deploy, signed_bundle
    from edgedistill.device.remote import Board
    from edgedistill.device.ssh import Connection
    from edgedistill.talk import Talk

    bundle, talk = signed_bundle(folder), Talk(args.quiet)
    wanted = Wanted(args.until or "activate", args.runs or settings.bench_runs, args.allow_downgrade)
    config = args.ssh_config or (settings.ssh_config and Path(settings.ssh_config))
    if args.fleet:
        return _to_fleet(args, bundle, wanted, reports, talk, config)
    for host in args.hosts:
        with Connection(host, config) as machine:
            board = Board(machine, args.root or settings.root, args.python or settings.python, talk.say)
            found = deploy(board, bundle, wanted, reports / f"{host}.json", talk)
        print(json.dumps(found, indent=1) if args.json else summary_line(found))
    return 0


def _to_fleet(args: argparse.Namespace, bundle: SignedBundle, wanted: Wanted, reports: Path, talk: Talk,
              config: Path | None) -> int:  # fmt: skip
    from edgedistill.device.fleet import roll_out, table_from_fleet
    from edgedistill.device.inventory import load_fleet

    fleet = load_fleet(args.fleet, args.group)
    place = reports / (fleet.name if args.group is None else f"{fleet.name}-{args.group}")
    report = roll_out(fleet, bundle, wanted, place, talk, config)
    print(json.dumps(report, indent=1) if args.json else table_from_fleet(report))
    if not args.json:
        print(f"report: {place / 'fleet.html'}")
    if report["stopped"]:
        print(f"edgedistill deploy: stopped: {report['stopped']}; the same command goes on", file=sys.stderr)
    return 0 if all(row["state"] == "done" for row in report["boards"]) else 1


def summary_line(found: dict) -> str:
    """What came of one board, in one line."""
    parts = [f"{found['host']}: {found['model']} {found['id']}"]
    if "bench" in found:
        parts.append(f"{found['bench']['end_to_end_ms']['p50_ms']:.2f} ms from the file, p50")
    parts.append(f"{found['executed']}, {found['provenance']}")
    done = "serves it now" if "activate" in found else f"until {found['until']}, not serving it"
    return ", ".join([*parts, done])
