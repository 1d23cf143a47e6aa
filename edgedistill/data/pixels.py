"""Pixels of the run's images, resized once on disk (`decoded`) or at each access (`files`).

Both are used alike, from any thread: `len(pixels)`; `pixels[row]`, (h, w, 3) uint8 that training
crops are cut from; `pixels.frame(row)`, (H, W, 3) uint8 as the board frames it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.data.framing import Framing, Kept, KeptBefore, framing_of
from edgedistill.data.shards import read_bytes
from edgedistill.errors import DataError
from edgedistill_device.decode import decode_image, jpeg_frame
from edgedistill_device.errors import ImageError
from edgedistill_device.preprocess import centre_crop

Size = Callable[[tuple[int, int]], tuple[int, int]]  # of a picture (height, width) -> another one of it
PIXEL_FILES = ("pixels.u8", "pixels.npz")
LITTLE_LARGER = (
    2.0  # times the sides of what would be kept: the crop shrinks it further, so that nothing is resized twice
)
FRAME_FILE = "frames.u8"  # the board's frames, where they are not the middle of the pixels


class PixelWriter:
    """Writes (h, w, 3) uint8 images of any sizes one after another: flat files, never in memory.

    with PixelWriter(folder) as writer:
        writer.add(Kept(image, None))

    Images that an interrupted run wrote come first, as `KeptBefore`; what lies in the files behind them is cut off.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._shapes: list[tuple[int, int, int]] = []

    def __enter__(self) -> PixelWriter:
        self._pixels = _Appended(self._folder / PIXEL_FILES[0])
        self._frames = _Appended(self._folder / FRAME_FILE)
        return self

    def add(self, kept: Kept | KeptBefore) -> None:
        """On return an ended process loses nothing of it."""
        if isinstance(kept, KeptBefore):
            self._shapes.append((self._pixels.end, kept.height, kept.width))
            self._pixels.step_over(kept.height * kept.width * 3)
            if kept.frame is not None:
                self._frames.step_over(kept.frame[0] * kept.frame[1] * 3)
            return
        self._shapes.append((self._pixels.end, *kept.pixels.shape[:2]))
        self._pixels.append(kept.pixels)
        if kept.frame is not None:
            self._frames.append(kept.frame)

    def __exit__(self, failure: type | None, *_: object) -> None:
        self._pixels.close()
        self._frames.close()
        if failure is None:
            if not self._frames.end:
                (self._folder / FRAME_FILE).unlink()
            with open(self._folder / PIXEL_FILES[1], "wb") as file:
                np.savez(file, shapes=np.array(self._shapes, dtype=np.int64).reshape(-1, 3))


class _Appended:
    """A file that grows from what was stepped over; `end` is where it does."""

    def __init__(self, path: Path):
        self._path, self.end = path, 0
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")

    def step_over(self, count: int) -> None:
        self.end += count
        if os.fstat(self._file.fileno()).st_size < self.end:
            raise DataError(f"{self._path}: shorter than an interrupted run left it; remove its folder and run again")

    def append(self, image: np.ndarray) -> None:
        self._cut()
        content = np.ascontiguousarray(image).tobytes()
        self._file.write(content)
        self._file.flush()
        self.end += len(content)

    def _cut(self) -> None:
        if self._file.tell() != self.end:
            self._file.seek(self.end)
            self._file.truncate()

    def close(self) -> None:
        self._file.truncate(self.end)
        self._file.close()


def write_pixels(folder: Path, images: Iterable[np.ndarray]) -> None:
    """All at once what `PixelWriter` writes one by one; the board's frames are their middles."""
    with PixelWriter(folder) as writer:
        for image in images:
            writer.add(Kept(image, None))


class PixelCache:
    """`cache[row]` is a view of the mapped file that `PixelWriter` wrote.

    Args:
        folder: where it wrote.
        size: (height, width) of the board's frames; None where none is asked for.
    """

    def __init__(self, folder: Path, size: tuple[int, int] | None = None):
        with np.load(folder / "pixels.npz", allow_pickle=False) as stored:
            self._shapes = stored["shapes"]
        self._pixels, self._size = np.memmap(folder / "pixels.u8", np.uint8, "r"), size
        self._frames = None
        if size is not None and (folder / FRAME_FILE).exists():
            frames = np.memmap(folder / FRAME_FILE, np.uint8, "r")
            self._frames = frames.reshape(len(self._shapes), *size, 3)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, row: int) -> np.ndarray:
        offset, height, width = (int(value) for value in self._shapes[row])
        return np.asarray(self._pixels[offset : offset + height * width * 3]).reshape(height, width, 3)

    def describe(self) -> dict[str, Any]:
        """What training views depend on beside the files: nothing."""
        return {}

    def frame(self, row: int) -> np.ndarray:
        if self._frames is not None:
            return np.asarray(self._frames[row])
        return centre_crop(self[row], self._size)


class FilePixels:
    """`pixels[row]` decodes and resizes the user's file: nothing is stored, each access costs that.

    For training a JPEG file is decoded at a half, a quarter or an eighth of its sides where that is no less than would
    be kept, and what is little larger than that is left to the crop's own resize. The board's frames come from the
    whole picture.

    Args:
        paths: of files and shard members, a row each.
        framing: how.
    """

    def __init__(self, paths: list[Path], framing: Framing):
        self._paths, self._framing = paths, framing

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> np.ndarray:
        content = self._content(row)
        image = self._decoded(row, content, self._framing.training_size)
        wanted = self._framing.training_size(image.shape[:2])
        is_near = all(side <= had <= LITTLE_LARGER * side for had, side in zip(image.shape, wanted, strict=False))
        if is_near and jpeg_frame(content) is not None:
            return image
        return self._framing.for_training(image)

    def frame(self, row: int) -> np.ndarray:
        return self._framing.frame(self._decoded(row, self._content(row)))

    def describe(self) -> dict[str, Any]:
        """What training views depend on beside the files."""
        return {"jpeg": "decoded and resized no more than needed"}

    def _content(self, row: int) -> bytes:
        try:
            return read_bytes(self._paths[row])
        except OSError as error:
            raise self._gone(row, error) from None

    def _decoded(self, row: int, content: bytes, least: Size | None = None) -> np.ndarray:
        try:
            return decode_image(content, self._paths[row], self._framing.sixteen_bit, least)
        except ImageError as error:
            raise self._gone(row, error) from None

    def _gone(self, row: int, error: Exception) -> DataError:
        return DataError(
            f"{self._paths[row]}: was readable in stage data and is not now ({error}); bring it back, or run with "
            "--force data"
        )


def open_pixels(
    folder: Path, paths: list[Path], data: DataConfig, resize_px: int, training_px: int | None = None
) -> PixelCache | FilePixels:
    """PixelCache of stage data's `folder`, or FilePixels of `paths`: as data.store says; the other
    arguments as for `prepare`."""
    if data.store == "files":
        return FilePixels(paths, framing_of(data, resize_px, training_px))
    return PixelCache(folder, data.size)
