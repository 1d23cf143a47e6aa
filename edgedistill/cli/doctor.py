"""doctor: check the installation on this computer."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.screen import show


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.questions import doctor
    from edgedistill.environment.doctor import text_from_checks

    checks = doctor()
    if args.json:
        print(json.dumps([vars(check) for check in checks], indent=1))
    else:
        show(text_from_checks(checks))
    return 0 if all(check.ok or not check.required for check in checks) else 1
