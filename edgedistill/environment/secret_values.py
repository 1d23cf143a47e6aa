"""The two secrets that pass through here, and where they are kept out: the passphrase of a signing key, and
`deploy.sign_command`, which may hold a PIN.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator

PASSPHRASE = "EDGEDISTILL_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
SIGN_COMMAND = "deploy.sign_command"
HIDDEN = "(not shown)"
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")
# The key, or its whole section, which is refused and repeated by the refusal; to the end of the word.
_SIGNING = re.compile(rf"\A(.*?{re.escape(SIGN_COMMAND)}|(?:--set=)?\s*deploy(?=\s*[=:])).*", re.DOTALL)


_taken: list[str] = []


def passphrase() -> str | None:
    """What EDGEDISTILL_KEY_PASSPHRASE says; None when it is not set."""
    return _taken[-1] if _taken else os.environ.get(PASSPHRASE)


@contextlib.contextmanager
def passphrase_taken() -> Iterator[None]:
    """While the block lasts the variable is out of the environment: libraries start programs too, fc-list for one."""
    value = os.environ.pop(PASSPHRASE, None)
    if value is None:
        yield
        return
    _taken.append(value)
    try:
        yield
    finally:
        os.environ[PASSPHRASE] = _taken.pop()


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of every program that is started here: ours, without the passphrase.

    ssh runs what its configuration names, a bundle that came from elsewhere is code, and any program
    may log its environment.

    Args:
        changes: variables that the program needs besides, or with another value.
    """
    return {**{name: value for name, value in os.environ.items() if name != PASSPHRASE}, **changes}


def without_secrets(words: Iterable[str]) -> list[str]:
    """Words of a command line, fit to be shown: without the value of deploy.sign_command, or of its whole section, and
    the password in an address such as `sweep --storage` takes.
    """
    shown = [_SIGNING.sub(rf"\1={HIDDEN}", word) for word in words]
    return [_PASSWORD.sub(rf"\1{HIDDEN}@", word) for word in shown]


def shown_value(key: str, value: object) -> str:
    """A recipe's value as a message may repeat it.

    Args:
        key: `section.key`, `section`, or a place within a key.
    """
    within = f"{key}.".startswith(f"{SIGN_COMMAND}.") or f"{SIGN_COMMAND}.".startswith(f"{key}.")
    return HIDDEN if within else repr(value)
