"""Decoded images on disk, resized once: one flat uint8 file, mapped, never held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_pixels(folder: Path, images: Iterable[np.ndarray]) -> None:
    """Write (h, w, 3) uint8 images of any sizes one after another."""
    shapes, offset = [], 0
    with open(folder / "pixels.u8", "wb") as file:
        for image in images:
            file.write(np.ascontiguousarray(image).tobytes())
            shapes.append((offset, *image.shape[:2]))
            offset += image.size
    with open(folder / "pixels.npz", "wb") as file:
        np.savez(file, shapes=np.array(shapes, dtype=np.int64).reshape(-1, 3))


class PixelCache:
    """`cache[row]` is a (h, w, 3) uint8 view of the file, its short side the run's resize_px."""

    def __init__(self, folder: Path):
        with np.load(folder / "pixels.npz", allow_pickle=False) as stored:
            self._shapes = stored["shapes"]
        self._pixels = np.memmap(folder / "pixels.u8", np.uint8, "r")

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, row: int) -> np.ndarray:
        offset, height, width = (int(value) for value in self._shapes[row])
        return np.asarray(self._pixels[offset : offset + height * width * 3]).reshape(
            height, width, 3
        )
