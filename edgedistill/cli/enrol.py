"""enrol: install the agent on a board, or update it."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args, one_host
from edgedistill.cli.screen import show
from edgedistill_device.engine.runners import BACKENDS, DEFAULT


def options(parser: argparse.ArgumentParser) -> None:
    one_host(parser)
    parser.add_argument("--target", required=True, help="kind of board, such as jetson-nano")
    parser.add_argument(
        "--key",
        required=True,
        metavar="NAME",
        help="signing key to trust, from `edgedistill keys list`; keys that the board trusts already stay",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=DEFAULT,
        help="runtime (default: %(default)s); all others are stand-ins without TensorRT, and reports say so",
    )


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import enrol
    from edgedistill.records.board_answers import DoctorAnswer

    enrolled = enrol(args.host, target=args.target, key=args.key, backend=args.backend, **board_from_args(args))
    if args.json:
        print(json.dumps(enrolled, indent=1))
        return 0
    show(f"{args.host}: enrolled as {args.target}, takes bundles signed by {enrolled['key']} ({enrolled['key_id']})")
    for check in DoctorAnswer.model_validate(enrolled["doctor"]).checks:
        advice = f"; {check.advice}" if check.advice and not check.ok else ""
        show(f"  {'ok' if check.ok else 'NOT OK':7}{check.name}: {check.found}{advice}")
    return 0
