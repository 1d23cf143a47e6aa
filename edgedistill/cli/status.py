"""status: which releases a board has, and which one it serves."""

from __future__ import annotations

import argparse
import json

from edgedistill.cli.board_options import board_from_args
from edgedistill.cli.board_options import one_host as options  # noqa: F401


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import status

    found = status(args.host, **board_from_args(args))
    print(json.dumps(found, indent=1) if args.json else text_from_status(found, args.host))
    return 0


def text_from_status(found: dict, host: str) -> str:
    """For a terminal.

    Args:
        found: JSON of a `StatusAnswer`.
    """
    from edgedistill.records.board_answers import StatusAnswer

    status = StatusAnswer.model_validate(found)
    version = status.agent and status.agent.edgedistill
    lines = [f"{host}: {status.board.target}, {status.board.backend}, agent {version}"]
    unproven = " (not proven)" if status.current and not status.proven else ""
    lines += [f"  current: {status.current or 'none'}{unproven}", f"  previous: {status.previous or 'none'}"]
    lines += [f"  problem: {text}" for text in status.problems]
    lines += [f"  warning: {text}" for text in status.warnings]
    for row in status.releases:
        verified = f"verified as {row.executed}" if row.verified else "not verified"
        lines.append(f"  {row.id}  serial {row.serial}  {row.model}, {verified}")
    return "\n".join(lines)
