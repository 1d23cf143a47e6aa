"""A finished cache of a teacher's outputs, as it lies in its folder. No torch: the report reads it too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def image_list_digest(sha256s: Sequence[str]) -> str:
    """SHA-256 of the training images' hashes in their order."""
    return hashlib.sha256("\n".join(sha256s).encode()).hexdigest()


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.npy"


class CachedOutputs:
    """What `logit_cache.write_cache` wrote.

    Attributes:
        views, images: of each image, and how many.
        belongs_to: what the outputs depend on.
    """

    def __init__(self, folder: Path):
        header = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        self.views, self.images = header["views"], header["images"]
        self.feature_width: int = header["features"]
        self.belongs_to: dict[str, Any] = header["belongs_to"]
        self._classes, self._shard_pairs = header["classes"], header["shard_pairs"]
        count = -(-self.views * self.images // self._shard_pairs)
        self._shards = [np.load(folder / shard_name(n), mmap_mode="r", allow_pickle=False) for n in range(count)]

    def shards(self) -> Iterator[np.ndarray]:
        """The records, shard by shard: pair p is view p // images of image p % images."""
        yield from self._shards

    def mean_probabilities(self, views: int) -> np.ndarray:
        """(images, C) float32 of each image over its first `views` views, at temperature 1."""
        total = np.zeros((self.images, self._classes), np.float32)
        for number, shard in enumerate(self._shards):
            start = number * self._shard_pairs
            logits = shard["logits"][: max(0, views * self.images - start)].astype(np.float32)
            positions = (start + np.arange(len(logits))) % self.images
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            np.add.at(total, positions, powers / powers.sum(axis=1, keepdims=True))
        return total / views
