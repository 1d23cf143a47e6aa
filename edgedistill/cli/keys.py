"""keys: make, list, show and reset the keys that sign bundles."""

from __future__ import annotations

import argparse
import getpass
import json
from pathlib import Path
from typing import Any

from edgedistill.cli.screen import show
from edgedistill.core.text_table import table_lines, terminal_width

DEFAULT = "release"


def options(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="new|add|list|show|reset")
    new = verbs.add_parser("new", help="create a key pair; an existing one is never overwritten")
    new.add_argument("name", nargs="?", default=DEFAULT, metavar="NAME", help="default: %(default)s")
    new.add_argument("--no-passphrase", action="store_true", help="do not encrypt the private key")
    add = verbs.add_parser("add", help="add the public key of a pair that a KMS or a token holds")
    add.add_argument("name", metavar="NAME")
    add.add_argument("pem", type=Path, metavar="PUBLIC.pem")
    every = verbs.add_parser("list", help="list all keys of this user")
    show = verbs.add_parser("show", help="show one key: its id, its files, its public key")
    show.add_argument("name", metavar="NAME")
    reset = verbs.add_parser(
        "reset", help="forget the serials that this key signed on this computer, after a wrong clock"
    )
    reset.add_argument("name", metavar="NAME")
    for verb in (new, add, every, show, reset):
        verb.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.terminal import keys

    if args.what == "list":
        rows = keys("list")
        if args.json:
            print(json.dumps(rows, indent=1))
        elif rows:
            cells = [(row["key_id"], row["name"], row["about"]) for row in rows]
            print("\n".join(table_lines(cells, width=terminal_width(), head=False)))
        else:
            print(f"no key in {_folder()}; make one: edgedistill keys new")
        return 0
    passphrase = _new_passphrase(args) if args.what == "new" else None
    (row,) = keys(args.what, args.name, pem=args.pem if args.what == "add" else None, passphrase=passphrase)
    print(json.dumps(row, indent=1)) if args.json else show(_text(row))
    return 0


def _folder() -> Path:
    from edgedistill.bundles.keys import keys_folder

    return keys_folder()


def _new_passphrase(args: argparse.Namespace) -> str | None:
    from edgedistill.bundles.keys import has_terminal
    from edgedistill.environment.secret_values import PASSPHRASE, passphrase
    from edgedistill.errors import SigningError

    if args.no_passphrase:
        return None
    given = passphrase()
    if given:
        return given
    if not has_terminal():
        raise SigningError(
            f"a passphrase is expected, and there is no terminal to ask for it: set {PASSPHRASE}, or "
            "give --no-passphrase for a key that anyone who reads its file can use"
        )
    first = getpass.getpass("passphrase of the new key (empty: none): ")
    if first and getpass.getpass("once more: ") != first:
        raise SigningError("the two passphrases differ; no key was made")
    return first


def _text(row: dict[str, Any]) -> str:
    return "\n".join(
        [
            f"key      {row['name']}, {row['about']}",
            f"id       {row['key_id']}   (as a line of `revoked` on a board it ends the trust there)",
            f"private  {row['private'] or 'not here: deploy.sign_command signs'}",
            f"public   {row['public']}",
            f'next     [deploy] sign_key = "{row["name"]}", and edgedistill enrol HOST --key {row["name"]}',
            Path(row["public"]).read_text(encoding="ascii").strip(),
        ]
    )
