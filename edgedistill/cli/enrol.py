"""enrol: make a board ours, or bring its agent up to date."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args, one_host
from edgedistill_device.engine.runners import BACKENDS, DEFAULT

HELP = "put agent and public key on a board, or bring them up to date"


def options(parser: argparse.ArgumentParser) -> None:
    one_host(parser)
    parser.add_argument("--target", required=True, help="what board it is, such as jetson-nano")
    parser.add_argument(
        "--key", required=True, metavar="NAME", help="whose signature it takes: `edgedistill keys list`; others stay"
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=DEFAULT,
        help="all but %(default)s are stand-ins without TensorRT, and reports say so",
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.bundles.keys import load_key
    from edgedistill.deployment.enrol import enrol
    from edgedistill.records.board_answers import DoctorAnswer

    key = load_key(args.key)
    with board_from_args(args) as board:
        found = enrol(board, args.target, args.backend, key.name, key.public).to_json()
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{args.host}: enrolled as {args.target}, takes bundles signed by {key.name} ({key.key_id})")
    for check in DoctorAnswer.model_validate(found["doctor"]).checks:
        advice = f"; {check.advice}" if check.advice and not check.ok else ""
        print(f"  {'ok' if check.ok else 'NOT OK':7}{check.name}: {check.found}{advice}")
    return 0
