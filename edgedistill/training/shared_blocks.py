"""Memory that this process and those forked from it share, in blocks that are used again and again.

Memory that is new with each batch costs more than making the batch does: the system fills every page with zeros, and
each process maps it anew.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque

import numpy as np

MOST_BYTES = 1 << 30  # of all blocks


class SharedBlocks:
    """Blocks of equal shape. Make it before the fork.

    Args:
        wanted: how many; fewer where they would take more than MOST_BYTES.
        shape: of each, uint8.
    """

    def __init__(self, wanted: int, shape: tuple[int, ...]):
        size = math.prod(shape)
        count = min(wanted, MOST_BYTES // size)
        self._blocks = [np.frombuffer(mmap.mmap(-1, size), np.uint8).reshape(shape) for _ in range(count)]
        self._free = deque(range(count))

    def taken(self) -> int | None:
        """Number of a block that nobody uses, which is in use from now on; None where there is none."""
        return self._free.popleft() if self._free else None

    def block(self, number: int, rows: int) -> np.ndarray:
        """The first rows of a block, for who fills it."""
        return self._blocks[number][:rows]

    def lent(self, number: int, rows: int) -> np.ndarray:
        """The same, for who reads it; the block is free again when that array, and all that rests on it, is gone."""
        array = self.block(number, rows)
        weakref.finalize(array, self._free.append, number).atexit = False
        return array
