"""Files that are whole or not there: written beside, synced, renamed; and their hashes and locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgedistill.core.text import printable_values
from edgedistill.errors import RunFolderError


def write_json(path: Path, value: Any) -> None:
    """Write beside and rename, so that the file is whole whenever it exists."""
    write_bytes(path, encoded(json.dumps(value, indent=1, ensure_ascii=False) + "\n"))


def read_json(path: Path) -> Any:
    """JSON that may come from elsewhere and is shown on a page or a terminal: every text in it is made printable.

    Raises:
        OSError, ValueError, RecursionError: unreadable, no JSON, nested too deep, or text that is no UTF-8.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be on no page
    return printable_values(value)


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename. Of two processes that write one file, the last one's stays.

    Raises:
        RunFolderError: the disk is full or refuses; the previous file is intact.
    """
    with as_run_folder_error(f"cannot write {path}"), whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` to write to; it takes that name when the block ends without an error.

    Raises:
        OSError: the disk is full or refuses; the previous file is intact.
    """
    beside = _beside(path)
    with _one_writer_in(path.parent):
        try:
            with open(beside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what made the write fail may make this fail too
                beside.unlink()
            raise


def remove(path: Path) -> None:
    """Remove a file that was written whole, if it is there, and what a kill left beside it.

    Raises:
        OSError: the disk refuses.
    """
    for place in (path, _beside(path)):
        place.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


@contextlib.contextmanager
def locked(path: Path, make: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file or a folder for the block, and say whether it is ours; a kill frees it.

    Args:
        make: the file when it is not there.
        wait: for who holds it; without it the block runs all the same, and is told so.

    Raises:
        RunFolderError: it is not there, or its disk has no locks.
    """
    with contextlib.ExitStack() as stack:
        with as_run_folder_error(f"cannot lock {path}"):
            handle = os.open(path, os.O_RDWR | os.O_CREAT if make else os.O_RDONLY, 0o666)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = True
            except BlockingIOError:
                ours = False
        yield ours


@contextlib.contextmanager
def _one_writer_in(folder: Path) -> Iterator[None]:
    """Others wait, as all write beside under one name; nothing is left of this lock. Not every disk has it."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(RunFolderError):
            stack.enter_context(locked(folder))
        yield


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_bytes(content: bytes) -> str:
    """Hex SHA-256 of what is in memory."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def as_run_folder_error(what: str) -> Iterator[None]:
    """What the system refuses, in one line that begins with `what`."""
    try:
        yield
    except OSError as error:
        cure = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        raise RunFolderError(f"{what}: {error.strerror or error}{cure}") from error


def encoded(text: str) -> bytes:
    """UTF-8; bytes of a file name that are no UTF-8 become JSON's own escape, which reads back."""
    return text.encode("utf-8", "backslashreplace")
