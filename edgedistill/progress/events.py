"""Events of a run as JSON lines, for scripts: `--events FILE`. docs/events.md is the contract."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from edgedistill.errors import RunFolderError
from edgedistill.progress.reporter import painted

VERSION = 1


class EventLog:
    """Call it with each event: one line, flushed. Bytes of a path that are no UTF-8 are JSON escapes, which read back.

    Args:
        where: a file, which is appended to, also by a run that is resumed, or a pipe that is read; `-` is stdout.

    Raises:
        RunFolderError: the file cannot be written.
    """

    def __init__(self, where: str):
        self._where = where
        try:
            descriptor = os.dup(1) if where == "-" else _opened(where)
            self._file = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            what_helps = "name a file that can be written, or start the program that reads this pipe first"
            raise RunFolderError(f"--events {where}: {error.strerror or error}; {what_helps}") from None

    def __call__(self, event: dict[str, Any]) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:  # a reader that left must not end hours of training
            with contextlib.suppress(OSError):  # what it still holds has nowhere to go
                self._file.close()
            print(
                painted(f"--events {self._where}: {error.strerror or error}; continuing without events", "note"),
                file=sys.stderr,
            )


def _opened(where: str) -> int:
    """A descriptor that appends; a pipe that nobody reads is refused (ENXIO) instead of waited for."""
    descriptor = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor
