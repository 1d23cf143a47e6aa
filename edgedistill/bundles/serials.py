"""Serials of signed bundles rise: a board refuses one below its highest, and a different bundle with the same serial.

A serial is the time in seconds, so that two workstations need no common counter. Beside the key lies
FOLDER/NAME.serials: which serials it signed here, and for which bundle. A clock that was once in 2040
left one there that no later time exceeds: `edgedistill keys reset NAME` forgets them.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgedistill.bundles.keys import KeyInfo
from edgedistill.bundles.signing import has_good_signature
from edgedistill.core.files import locked, write_json
from edgedistill.errors import BundleError
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import NAME, id_of, manifest_from_bytes

VERSION = 1
_SLACK_S = 60  # two bundles of one second, a clock that was set back a little: one more than the last


def numbered(write: Callable[[int], bytes], before: Path, key: KeyInfo | None) -> int:
    """Write a manifest with its next serial, and remember that serial.

    Args:
        write: writes the manifest with a serial, returns its bytes.
        before: the bundle that this one replaces, if it is there: equal content keeps its serial.
        key: what will sign it; None: it stays unsigned, and no board takes it.

    Returns:
        The serial.

    Raises:
        BundleError: it would not rise above what the key signed before, or SOURCE_DATE_EPOCH is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")  # reproducible-builds.org
    if epoch is not None and not epoch.isdecimal():
        raise BundleError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, got {epoch!r}")
    due = int(time.time()) if epoch is None else int(epoch)
    previous = _serial_of(before)
    with _locked(key):
        signed = {} if key is None else _read(record_of(key))
        highest = max(signed or {}, default=-1)
        is_own = previous is not None and key is not None and has_good_signature(before, key)
        if previous is not None and signed is None and is_own:  # it signed before anything was remembered
            highest = previous
        if is_own and (signed is None or previous in signed):
            may_stay = True
        else:  # not one that a wrong clock made and that was forgotten since
            may_stay = previous is not None and previous <= due + _SLACK_S and (is_own or previous > highest)
        if previous is not None and epoch is None and may_stay:
            content = write(previous)
            if content == (before / NAME).read_bytes():
                _remember(key, signed, previous, content)
                return previous
        serial = highest + 1 if epoch is None and due <= highest <= due + _SLACK_S else due
        content = write(serial)
        if serial <= highest and (signed or {}).get(serial) != id_of(content):
            raise BundleError(_refusal(serial, highest, "" if key is None else key.name, epoch))
        _remember(key, signed, serial, content)
        return serial


def forget(key: KeyInfo) -> None:
    """Forget the serials of this key on this computer; boards keep theirs.

    Raises:
        RunFolderError: the record cannot be written.
    """
    with _locked(key):
        _write(key, {})


def record_of(key: KeyInfo) -> Path:
    """The file beside the key; it holds serials and ids of bundles, and no secret."""
    return key.public.with_suffix(".serials")


def _refusal(serial: int, highest: int, key_name: str, epoch: str | None) -> str:
    clock = f"the clock says {_date(serial)}" if epoch is None else f"SOURCE_DATE_EPOCH is {_date(serial)}"
    return (
        f"key {key_name!r} signed serial {highest} ({_date(highest)}), {clock}, and boards take no serial that "
        "does not rise: set the clock or SOURCE_DATE_EPOCH right, or, if that one was wrong, "
        f"`edgedistill keys reset {key_name}` and once `deploy --allow-downgrade`"
    )


def _date(serial: int) -> str:
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return datetime.datetime.fromtimestamp(serial, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"serial {serial}"


def _serial_of(bundle: Path) -> int | None:
    with contextlib.suppress(OSError, ManifestError):  # none, or one of an older version, which has no say
        return manifest_from_bytes((bundle / NAME).read_bytes()).serial
    return None


@contextlib.contextmanager
def _locked(key: KeyInfo | None) -> Iterator[None]:
    """A lock: two runs may sign with one key at once."""
    if key is None:
        yield
        return
    with locked(key.public):
        yield


def _read(path: Path) -> dict[int, str] | None:
    """Serial -> id of what was signed; None where nothing was remembered yet."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {int(serial): str(release) for serial, release in stored["signed"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BundleError(
            f"{path} is damaged, and tells which serials the key signed; if no backup has it: "
            f"edgedistill keys reset {path.stem}"
        ) from None


def _remember(key: KeyInfo | None, signed: dict[int, str] | None, serial: int, content: bytes) -> None:
    """Called before signing: a run that is killed in between must not use the serial twice."""
    ids = {**(signed or {}), serial: id_of(content)}
    if key is not None and ids != signed and os.access(key.public.parent, os.W_OK):  # a mounted secret may not be
        _write(key, ids)


def _write(key: KeyInfo, signed: dict[int, str]) -> None:
    rows = {str(serial): signed[serial] for serial in sorted(signed)}
    write_json(record_of(key), {"version": VERSION, "signed": rows})
