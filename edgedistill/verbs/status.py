"""status: what a board serves, and what it has."""

from __future__ import annotations

import argparse
import json

from edgedistill.verbs.board_options import board_from_args
from edgedistill.verbs.board_options import one_host as options  # noqa: F401

HELP = "what a board serves, and what it has"


def run(args: argparse.Namespace) -> int:
    with board_from_args(args) as board:
        found = board.agent("status")
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    pinned, agent = found.get("board") or {}, found.get("agent") or {}
    print(f"{args.host}: {pinned.get('target')}, {pinned.get('backend')}, agent {agent.get('version')}")
    for name in ("current", "previous"):
        unproven = name == "current" and found.get(name) and not found.get("proven")
        print(f"  {name}: {found.get(name) or 'none'}{' (not proven yet)' if unproven else ''}")
    for row in found.get("releases", []):
        verified = f"verified as {row['executed']}" if row["verified"] else "not verified"
        print(f"  {row['id']}  serial {row['serial']}  {row['model']}, {verified}, {row['bytes'] / 1e6:.1f} MB")
    return 0
