"""Write files atomically (write beside, sync, rename), and hash and lock them."""

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
    """Write JSON to a file beside and rename it, so that the file is complete whenever it exists."""
    write_bytes(path, encoded(json.dumps(value, indent=1, ensure_ascii=False) + "\n"))


def read_json(path: Path) -> Any:
    """Read JSON that may come from elsewhere and is shown on a page or a terminal; make every text printable.

    Raises:
        OSError, ValueError, RecursionError: unreadable, not JSON, nested too deep, or not UTF-8.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    json.dumps(value, ensure_ascii=False).encode()  # refuses half a surrogate pair, which no page can hold
    return printable_values(value)


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename. If two processes write one file, the later one wins.

    Raises:
        RunFolderError: the disk is full or refuses; the previous file is intact.
    """
    with as_run_folder_error(f"cannot write {path}"), whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path` for writing; rename it to `path` when the block ends without an error.

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
            with contextlib.suppress(OSError):  # the cause of the failed write may make this fail too
                beside.unlink()
            raise


def remove(path: Path) -> None:
    """Remove a file if it exists, and the file that a killed write left beside it.

    Raises:
        OSError: the disk refuses.
    """
    for place in (path, _beside(path)):
        place.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


@contextlib.contextmanager
def locked(path: Path, make: bool = False, wait: bool = True) -> Iterator[bool]:
    """Lock a file or a folder for the block; yield whether the lock was obtained. A kill frees it.

    Args:
        make: create the file if it does not exist.
        wait: for the holder of the lock; if False the block runs anyway, with False.

    Raises:
        RunFolderError: the path does not exist, or its disk does not support locks.
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
    """Serialise writers, which share one name for the file beside; skipped on a disk without locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(RunFolderError):
            stack.enter_context(locked(folder))
        yield


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def line_of_state(name: str, path: Path) -> bytes:
    """Name, size and time of a file, to tell by a digest of such lines whether any of many has changed.

    Raises:
        OSError: it is not there.
    """
    stat = path.stat()
    return f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape")


def sha256_of_bytes(content: bytes) -> str:
    """Return the hex SHA-256 of bytes in memory."""
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def as_run_folder_error(what: str) -> Iterator[None]:
    """Turn an OSError into a RunFolderError of one line that begins with `what`."""
    try:
        yield
    except OSError as error:
        cure = "; free some space and run again" if error.errno == errno.ENOSPC else ""
        raise RunFolderError(f"{what}: {error.strerror or error}{cure}") from error


def encoded(text: str) -> bytes:
    """Encode as UTF-8; lone surrogates (of file names that are not UTF-8) become JSON escapes, which read back."""
    return text.encode("utf-8", "backslashreplace")
