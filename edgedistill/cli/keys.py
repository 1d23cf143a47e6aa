"""keys: make, list, show and reset the keys that sign bundles."""

from __future__ import annotations

import argparse
import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedistill.bundles.keys import KeyInfo

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
    from edgedistill.bundles.keys import add_public_key, keys_folder, list_keys, load_key, new_key
    from edgedistill.bundles.serials import forget

    if args.what == "list":
        found = list_keys()
        if args.json:
            print(json.dumps([_values(key) for key in found], indent=1))
        elif found:
            print("\n".join(f"{key.key_id}  {key.name}  {_private(key)}" for key in found))
        else:
            print(f"no key in {keys_folder()}; make one: edgedistill keys new")
        return 0
    if args.what == "new":
        key = new_key(args.name, passphrase=_new_passphrase(args))
    elif args.what == "add":
        key = add_public_key(args.name, args.pem)
    else:
        key = load_key(args.name)
        if args.what == "reset":
            forget(key)
    print(json.dumps(_values(key), indent=1) if args.json else _text(key))
    return 0


def _new_passphrase(args: argparse.Namespace) -> str | None:
    from edgedistill.bundles.keys import has_terminal
    from edgedistill.environment.secret_values import PASSPHRASE, passphrase
    from edgedistill.errors import SigningError

    if args.no_passphrase:
        return None
    known = passphrase()
    if known:
        return known
    if not has_terminal():
        raise SigningError(
            f"a passphrase is expected, and there is no terminal to ask for it: set {PASSPHRASE}, or "
            "give --no-passphrase for a key that whoever reads its file can use"
        )
    first = getpass.getpass("passphrase of the new key (empty: none): ")
    if first and getpass.getpass("once more: ") != first:
        raise SigningError("the two passphrases differ; no key was made")
    return first


def _private(key: KeyInfo) -> str:
    from edgedistill.bundles.keys import is_encrypted

    if key.private is None:
        return "private half elsewhere"
    return "with a passphrase" if is_encrypted(key.private) else "without a passphrase"


def _values(key: KeyInfo) -> dict[str, Any]:
    return {
        **key._asdict(),
        "private": key.private and str(key.private),
        "public": str(key.public),
        "about": _private(key),
    }


def _text(key: KeyInfo) -> str:
    return "\n".join(
        [
            f"key      {key.name}, {_private(key)}",
            f"id       {key.key_id}   (as a line of `revoked` on a board it ends the trust there)",
            f"private  {key.private or 'not here: deploy.sign_command signs'}",
            f"public   {key.public}",
            f'next     [deploy] sign_key = "{key.name}", and edgedistill enrol HOST --key {key.name}',
            key.public.read_text(encoding="ascii").strip(),
        ]
    )
