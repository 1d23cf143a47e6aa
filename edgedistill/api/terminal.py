"""What the terminal verbs `keys` and `completion` do, as Python functions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgedistill.api.types import PathLike

if TYPE_CHECKING:
    from edgedistill.bundles.keys import KeyInfo


def keys(
    action: Literal["new", "add", "list", "show", "reset"] = "list",
    name: str | None = None,
    *,
    pem: PathLike | None = None,
    passphrase: str | None = None,
) -> list[dict[str, Any]]:
    """Make, list and look up the keys that sign bundles: `edgedistill keys`.

    Args:
        action: `new` makes a key pair; `add` takes the public key of a pair that a KMS or a token holds; `reset`
            forgets the serials that this key signed on this computer.
        name: of the key; every action but `list` needs it.
        pem: with `add`, the file of the public key.
        passphrase: with `new`, encrypts the private key; None leaves it unencrypted.

    Returns:
        A row for each key: `name`, `key_id`, `private` and `public` (files; `private` is None where it is held
        elsewhere), `about`. One row, but for `list`.

    Raises:
        SigningError: no such key, one that exists already, or a file that is no public key.
        UsageError: an unknown action, or one without what it needs.
    """
    from edgedistill.bundles.keys import add_public_key, list_keys, load_key, new_key
    from edgedistill.bundles.serials import forget
    from edgedistill.errors import UsageError

    if action == "list":
        return [_row(key) for key in list_keys()]
    if name is None:
        raise UsageError(f"keys: {action!r} needs the name of a key")
    if action == "new":
        return [_row(new_key(name, passphrase=passphrase))]
    if action == "add":
        if pem is None:
            raise UsageError("keys: 'add' needs pem=, the file of the public key")
        return [_row(add_public_key(name, Path(pem)))]
    if action not in ("show", "reset"):
        raise UsageError(f"keys: expected new, add, list, show or reset, got {action!r}")
    key = load_key(name)
    if action == "reset":
        forget(key)
    return [_row(key)]


def _row(key: KeyInfo) -> dict[str, Any]:
    return {
        **key._asdict(),
        "private": key.private and str(key.private),
        "public": str(key.public),
        "about": _private_half(key),
    }


def _private_half(key: KeyInfo) -> str:
    from edgedistill.bundles.keys import is_encrypted

    if key.private is None:
        return "private half elsewhere"
    return "with a passphrase" if is_encrypted(key.private) else "without a passphrase"


def completion(shell: Literal["bash", "zsh", "fish"], parser: argparse.ArgumentParser) -> str:
    """A script by which a shell completes a command: `edgedistill completion`.

    Args:
        parser: of the command; of this package it is `edgedistill.cli.main.build_parser()`. Options that take a
            stage, a board, a file or a folder get those as values in it.

    Returns:
        The script, to be sourced by the shell.

    Raises:
        EdgeDistillError: shtab is not installed.
    """
    from edgedistill.environment.requirements import install_command
    from edgedistill.errors import EdgeDistillError

    try:
        import shtab
    except ImportError:
        raise EdgeDistillError(f"shtab is missing: {install_command('shtab')}") from None
    _complete_values(parser, shtab)
    script: str = shtab.complete(parser, shell)
    return script


def _complete_values(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Files, folders, stages and boards as values of options, in the parser itself."""
    from edgedistill.config.target import target_names
    from edgedistill.pipeline.table import STAGES

    choices = {"force": [stage.name for stage in STAGES], "target": list(target_names())}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _complete_values(verb, shtab)
        elif action.dest in choices:
            action.choices = choices[action.dest]
        elif action.dest in ("run_dir", "annotate"):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # the attribute is shtab's
        elif action.type is Path or action.dest == "events":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # the attribute is shtab's
