"""status: which releases a board has, and which one it serves."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args
from edgedistill.cli.board_options import one_host as options  # noqa: F401
from edgedistill.cli.screen import show


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import status

    result = status(args.host, **board_from_args(args))
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(text_from_status(result, args.host))
    return 0


def text_from_status(result: dict, host: str) -> str:
    """For a terminal.

    Args:
        result: JSON of a `StatusAnswer`.
    """
    from edgedistill.records.board_answers import StatusAnswer

    status = StatusAnswer.model_validate(result)
    version = status.agent and status.agent.edgedistill
    lines = [f"{host}: {status.board.target}, {status.board.backend}, agent {version}"]
    unproven = " (not proven)" if status.current and not status.proven else ""
    lines += [f"  current: {status.current or 'none'}{unproven}", f"  previous: {status.previous or 'none'}"]
    lines += [f"  problem: {text}" for text in status.problems]
    lines += [f"  warning: {text}" for text in status.warnings]
    for release in status.releases:
        verified = f"verified as {release.executed}" if release.verified else "not verified"
        lines.append(f"  {release.id}  serial {release.serial}  {release.model}, {verified}")
    return "\n".join(lines)
