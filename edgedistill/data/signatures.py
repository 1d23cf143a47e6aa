"""Signatures of many images in a file: what is compared is in memory, the rest is not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from edgedistill.data.duplicates import SIDE

NUMBERS = SIDE * SIDE
_BYTES = 4 * NUMBERS


class Signatures:
    """(N, 1024) float32 by `[row]`, `[start:stop]` or `[rows]`, read when asked for; grows by `add`.

    Args:
        path: of the file, made when absent; None: a file without a name, gone with this object.
    """

    def __init__(self, path: Path | None = None):
        self._file = -1
        if path is None:
            self._file, name = tempfile.mkstemp()
            os.unlink(name)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._count = 0

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            first, after, step = rows.indices(self._count)
            if step == 1:
                return self._read(first, max(0, after - first))
            rows = np.arange(first, after, step)
        if not isinstance(rows, np.ndarray):
            return self._read(int(rows), 1)[0]
        found = np.empty((len(rows), NUMBERS), np.float32)
        for place, row in zip(found, rows.tolist(), strict=True):
            os.preadv(self._file, [place.data], row * _BYTES)
        return found

    def _read(self, first: int, count: int) -> np.ndarray:
        content = os.pread(self._file, count * _BYTES, first * _BYTES)
        return np.frombuffer(content, np.float32).reshape(count, NUMBERS)

    def add(self, signature: np.ndarray) -> None:
        os.pwrite(self._file, signature.data, self._count * _BYTES)
        self._count += 1

    def take_stored(self) -> np.ndarray | None:
        """Count the next one of those that the file held when it was opened; None where there is no whole one."""
        content = os.pread(self._file, _BYTES, self._count * _BYTES)
        if len(content) < _BYTES:
            return None
        self._count += 1
        return np.frombuffer(content, np.float32)
