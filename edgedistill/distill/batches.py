"""Training and validation batches: uint8 views, each a pure function of image and seed.

The order of an epoch is a function of (seed, epoch) and a view of (image, view number), so any
step can be made again: that is what resuming and the teacher's cache rest on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from edgedistill.data.augment import TrainingView, validation_view
from edgedistill.data.pixels import PixelCache
from jetson.preprocess import Preprocess

Job = TypeVar("Job")
Made = TypeVar("Made")

AHEAD = 4  # batches made while the network works on the present one


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N,) int64.
        positions: (N,) int64, position of each image among the training images.
        views: (N,) int64, which view of it this is.
    """

    images: Tensor
    labels: Tensor
    positions: Tensor
    views: Tensor


class TrainingSet:
    """The training images, their labels, and how views of them are made."""

    def __init__(
        self,
        pixels: PixelCache,
        rows: np.ndarray,
        labels: np.ndarray,
        sha256s: list[str],
        view: TrainingView,
    ):
        self.pixels, self.rows, self.labels, self.view = pixels, rows, labels, view
        self._seeds = [bytes.fromhex(sha256)[:16] for sha256 in sha256s]

    def __len__(self) -> int:
        return len(self.rows)

    def seed(self, position: int, view: int) -> int:
        """uint32 that makes this view of this image, wherever the image stands in the list."""
        digest = hashlib.blake2b(
            self._seeds[position] + view.to_bytes(4, "little"), digest_size=4
        ).digest()
        return int.from_bytes(digest, "little")

    def batch(self, positions: np.ndarray, views: np.ndarray) -> Batch:
        images = np.stack(
            [
                self.view(self.pixels[int(self.rows[p])], self.seed(int(p), int(v)))
                for p, v in zip(positions, views, strict=True)
            ]
        )
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(self.labels[positions].astype(np.int64)),
            torch.from_numpy(positions.astype(np.int64)),
            torch.from_numpy(views.astype(np.int64)),
        )


@dataclass(frozen=True)
class Order:
    """Which images and views each step sees.

    Attributes:
        images: number of training images.
        batch_size: a set smaller than this is one batch; a rest at an epoch's end is left out.
        seed: of the permutation.
        views: epoch e takes view e modulo views; None gives every epoch a new view.
        sample_weights: (images,) draw with these weights instead of a permutation, or None.
    """

    images: int
    batch_size: int
    seed: int
    views: int | None = None
    sample_weights: np.ndarray | None = None

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.images // self.batch_size)

    def of_epoch(self, epoch: int) -> np.ndarray:
        """(images,) positions."""
        rng = np.random.default_rng((self.seed, epoch))
        if self.sample_weights is None:
            return rng.permutation(self.images)
        weights = self.sample_weights / self.sample_weights.sum()
        return rng.choice(self.images, size=self.images, p=weights)

    def steps(self, first_step: int, last_step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(positions, views) of each step from first_step up to, not including, last_step."""
        epoch, positions = -1, np.empty(0, np.int64)
        for step in range(first_step, last_step):
            now, within = divmod(step, self.steps_per_epoch)
            if now != epoch:
                epoch, positions = now, self.of_epoch(now)
            chosen = positions[within * self.batch_size : (within + 1) * self.batch_size]
            view = epoch if self.views is None else epoch % self.views
            yield chosen, np.full(len(chosen), view)


def made_ahead(make: Callable[[Job], Made], jobs: Iterable[Job]) -> Iterator[Made]:
    """`map(make, jobs)` in order, with the next few made by threads meanwhile."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="views") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(make, job))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def validation_images(
    pixels: PixelCache, rows: np.ndarray, image_px: int, batch_size: int = 64
) -> Iterator[np.ndarray]:
    """(n, H, W, 3) uint8 pieces of the images in `rows`, framed as the board frames them."""
    for start in range(0, len(rows), batch_size):
        piece = rows[start : start + batch_size]
        yield np.stack([validation_view(pixels[int(row)], image_px) for row in piece])


def normalised(images: Tensor, spec: Preprocess) -> Tensor:
    """`jetson.preprocess.to_input` for a batch, in torch; the same operations in the same order.

    Args:
        images: (N, 3, H, W) uint8.

    Returns:
        (N, 3, H, W) float32, channels last in memory.
    """
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float32, device=images.device).view(1, 3, 1, 1)
    scaled = images.to(torch.float32, memory_format=torch.channels_last) / 255
    return (scaled - mean) / std
