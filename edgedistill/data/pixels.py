"""Pixels of the run's images, resized once on disk (`decoded`) or at each access (`files`).

Both are used alike: `len(pixels)`, and `pixels[row]` from any thread is (h, w, 3) uint8 whose short
side is the run's resize_px.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgedistill.data.shards import read_bytes
from edgedistill.errors import DataError
from edgedistill.sections import DataConfig
from jetson.errors import ImageError
from jetson.preprocess import decode_image, resize_short_side

PIXEL_FILES = ("pixels.u8", "pixels.npz")


class PixelWriter:
    """Writes (h, w, 3) uint8 images of any sizes one after another: one flat file, never in memory.

    with PixelWriter(folder) as writer:
        writer.add(image)
    """

    def __init__(self, folder: Path):
        self._folder, self._offset = folder, 0
        self._shapes: list[tuple[int, int, int]] = []

    def __enter__(self) -> PixelWriter:
        self._file = open(self._folder / "pixels.u8", "wb")
        return self

    def add(self, image: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(image).tobytes())
        self._shapes.append((self._offset, *image.shape[:2]))
        self._offset += image.size

    def __exit__(self, failure: type | None, *_: object) -> None:
        self._file.close()
        if failure is None:
            with open(self._folder / "pixels.npz", "wb") as file:
                np.savez(file, shapes=np.array(self._shapes, dtype=np.int64).reshape(-1, 3))


def write_pixels(folder: Path, images: Iterable[np.ndarray]) -> None:
    """All at once what `PixelWriter` writes one by one."""
    with PixelWriter(folder) as writer:
        for image in images:
            writer.add(image)


class PixelCache:
    """`cache[row]` is a view of the mapped file that `PixelWriter` wrote."""

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


class FilePixels:
    """`pixels[row]` decodes and resizes the user's file: nothing is stored, each access costs that.

    Args:
        paths: of files and shard members, a row each.
        resize_px: short side.
        interpolation: of the resize.
    """

    def __init__(self, paths: list[Path], resize_px: int, interpolation: str):
        self._paths, self._resize_px, self._interpolation = paths, resize_px, interpolation

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> np.ndarray:
        path = self._paths[row]
        try:
            image = decode_image(read_bytes(path), path)
        except (OSError, ImageError) as error:
            raise DataError(
                f"{path}: was readable in stage data and is not now ({error}); bring it back, or "
                "run with --force data"
            ) from None
        return resize_short_side(image, self._resize_px, self._interpolation)


def open_pixels(
    folder: Path, paths: list[Path], data: DataConfig, resize_px: int
) -> PixelCache | FilePixels:
    """PixelCache of stage data's `folder`, or FilePixels of `paths`: as data.store says."""
    if data.store == "files":
        return FilePixels(paths, resize_px, data.interpolation)
    return PixelCache(folder)
