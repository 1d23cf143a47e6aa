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
    """For a terminal."""
    agent = found.get("agent")
    version = agent.get("edgedistill") if isinstance(agent, dict) else None
    lines = [f"{host}: {found['board'].get('target')}, {found['board']['backend']}, agent {version}"]
    for name in ("current", "previous"):
        unproven = name == "current" and found.get(name) and not found.get("proven")
        lines.append(f"  {name}: {found.get(name) or 'none'}{' (not proven)' if unproven else ''}")
    for key in ("problem", "warning"):
        texts = found.get(f"{key}s")
        lines += [f"  {key}: {text}" for text in (texts if isinstance(texts, list) else [])]
    for row in found["releases"]:
        verified = f"verified as {row.get('executed')}" if row.get("verified") else "not verified"
        lines.append(f"  {row['id']}  serial {row.get('serial')}  {row.get('model')}, {verified}")
    return "\n".join(lines)
