"""The teacher's outputs for V views of every training image, written once, read by every student.

cache.json          what the outputs belong to: teacher, transform, classes, images; written last
shard-00000.npy     records {seed u4, logits (C,) f2, features (F,) f2 when asked for} of
                    consecutive (view, image) pairs; a shard that exists is whole

Logits, not probabilities, so that temperature and loss stay free to change. Shards are what an
interrupted run keeps and what ranks share out among themselves.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedistill.core import distributed
from edgedistill.core.files import write_bytes, write_json
from edgedistill.distillation.cached_outputs import CachedOutputs, image_list_digest, shard_name
from edgedistill.errors import TrainingError
from edgedistill.training.batches import Batch, TrainingSet
from edgedistill.training.images import Images

BATCH = 64  # images per teacher forward pass
_ANSWERS = ("logits", "features")  # of a teacher, in this order
SHARD = 2048  # (view, image) pairs; what a kill can lose
MEAN_OF = 4096  # pairs, for the mean of the features: off by 1.6 % of a feature's deviation where images are unlike


def write_cache(
    folder: Path,
    images: TrainingSet,
    teacher: Callable[[Tensor], tuple[Tensor, Tensor]],
    views: int,
    belongs_to: dict[str, Any],
    widths: tuple[int, int],
    on_progress: Callable[[int], None],
    with_features: bool,
    shard_pairs: int = SHARD,
) -> list[str]:
    """Run the teacher over every view, or over those that an interrupted call has left.

    Under `torchrun` each rank writes shards of its own; all return when all are written.

    Args:
        folder: kept between calls, on storage that all ranks share.
        images: N training images.
        teacher: (N, 3, H, W) uint8 -> logits (N, C), features (N, F); run without gradient.
        views: V.
        belongs_to: what a reader must present again, JSON-able.
        widths: C and F.
        on_progress: called with the number of finished (view, image) pairs.
        with_features: also keep the pooled features.
        shard_pairs: records in a shard.

    Returns:
        The names of the files, `cache.json` last.
    """
    pairs = views * len(images)
    kind = _record(widths[0], widths[1] if with_features else 0)
    starts = range(0, pairs, shard_pairs)
    names = [shard_name(number) for number in range(len(starts))]
    for number, start in enumerate(starts):
        last = min(start + shard_pairs, pairs)
        if number % distributed.world() == distributed.rank() and not (folder / names[number]).exists():
            records = _records(images, teacher, range(start, last), kind, on_progress)
            _write_shard(folder / names[number], records)
        on_progress(last)
    distributed.wait_for_all()
    if distributed.is_first():
        header = {
            "views": views,
            "images": len(images),
            "classes": widths[0],
            "features": widths[1] if with_features else 0,
            "shard_pairs": shard_pairs,
            "belongs_to": belongs_to,
        }
        write_json(folder / "cache.json", header)
    distributed.wait_for_all()
    return [*names, "cache.json"]


def _records(
    images: TrainingSet,
    teacher: Callable,
    pairs: range,
    kind: np.dtype,
    on_progress: Callable[[int], None],
) -> np.ndarray:
    """The teacher's outputs for some pairs, view by view."""
    count = len(images)
    records = np.empty(len(pairs), kind)
    # On the device, read once: to read is to wait.
    answers: dict[str, list[Tensor]] = {field: [] for field in _ANSWERS if field in (kind.names or ())}
    starts = range(pairs.start, pairs.stop, BATCH)
    pieces = (np.arange(start, min(start + BATCH, pairs.stop)) for start in starts)
    batches = images.batches((piece % count, piece // count) for piece in pieces)
    for start, batch in zip(starts, batches, strict=True):
        with torch.no_grad():
            for field, values in zip(_ANSWERS, teacher(batch.images), strict=True):
                if field in answers:
                    answers[field].append(values)
        place = slice(start - pairs.start, start - pairs.start + len(batch.labels))
        records["seed"][place] = [
            images.seed(int(p), int(v)) for p, v in zip(batch.positions, batch.views, strict=True)
        ]
        on_progress(start + len(batch.labels))
    for field, kept in answers.items():
        records[field] = _as_float16(torch.cat(kept))
    return records


class LogitCache(CachedOutputs):
    """The cached outputs of one teacher, checked against what the student is about to see.

    Args:
        folder: as `write_cache` left it.
        belongs_to: as given to `write_cache`; each differing key is named in the refusal.

    Raises:
        TrainingError: the cache belongs to another teacher, transform, class or image list.
    """

    def __init__(self, folder: Path, belongs_to: dict[str, Any]):
        super().__init__(folder)
        stored = self.belongs_to
        differing = [key for key in belongs_to if stored.get(key) != belongs_to[key]]
        if differing:
            raise TrainingError(
                f"the cached teacher outputs in {folder} belong to another {', '.join(differing)}; "
                "make them again with `edgedistill logits RECIPE --force logits`"
            )

    def logits(self, batch: Batch) -> Tensor:
        """(N, C) float32 for exactly the views in the batch."""
        return self._gathered("logits", batch)

    def features(self, batch: Batch) -> Tensor:
        """(N, F) float32."""
        if not self.feature_width:
            raise ValueError("the recipe asked for no features: the cache holds logits alone")
        return self._gathered("features", batch)

    @cached_property
    def mean_feature(self) -> Tensor:
        """(F,) float32, over at most MEAN_OF pairs of (view, image) that are evenly spread over the cache."""
        count = self.views * self.images
        pairs = np.linspace(0, count - 1, min(count, MEAN_OF)).astype(np.int64)
        return self._of_pairs("features", pairs).mean(dim=0)

    def mean_top_probability(self, temperature: float) -> float:
        """How sure the soft labels are at a temperature, from 1 / classes to 1; first view only."""
        of_first_view = self._shards[: -(-self.images // self._shard_pairs)]
        first = np.concatenate([shard["logits"] for shard in of_first_view])
        logits = torch.from_numpy(first[: self.images].astype(np.float32))
        return float((logits / temperature).softmax(dim=1).amax(dim=1).mean())

    def _gathered(self, field: str, batch: Batch) -> Tensor:
        return self._of_pairs(field, batch.views.numpy() * self.images + batch.positions.numpy())

    def _of_pairs(self, field: str, pairs: np.ndarray) -> Tensor:
        numbers, places = np.divmod(pairs, self._shard_pairs)
        values = np.empty((len(pairs), *self._shards[0].dtype[field].shape), np.float32)
        for number in np.unique(numbers):
            here = numbers == number
            values[here] = self._shards[number][field][places[here]]
        return torch.from_numpy(values)


def average_caches(folders: Sequence[Path], out: Path, belongs_to: dict[str, Any]) -> list[str]:
    """One cache with the mean of several teachers' logits over the same views.

    The mean of logits is the geometric mean of probabilities, up to scale; it leaves the
    temperature free, which a mean of probabilities would not.

    Returns:
        The names of the files in `out`, `cache.json` last.
    """
    members = [LogitCache(folder, {}) for folder in folders]
    header = json.loads((folders[0] / "cache.json").read_text("utf-8"))
    names = []
    for number, shards in enumerate(zip(*(m.shards() for m in members), strict=True)):
        if any(not np.array_equal(shard["seed"], shards[0]["seed"]) for shard in shards[1:]):
            raise TrainingError(f"{folders[0]} and the other caches hold different views; run with --force logits")
        mean = np.empty(len(shards[0]), _record(header["classes"], 0))
        mean["seed"] = shards[0]["seed"]
        mean["logits"] = np.mean([s["logits"].astype(np.float32) for s in shards], axis=0)
        names.append(shard_name(number))
        _write_shard(out / names[-1], mean)
    write_json(out / "cache.json", {**header, "features": 0, "belongs_to": belongs_to})
    return [*names, "cache.json"]


def _record(classes: int, features: int) -> np.dtype:
    fields = [("seed", np.uint32), ("logits", np.float16, (classes,))]
    return np.dtype(fields + [("features", np.float16, (features,))] * bool(features))


def _write_shard(path: Path, records: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, records, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def _as_float16(values: Tensor) -> np.ndarray:
    with np.errstate(over="ignore"):  # refused below, in words
        halved = values.float().cpu().numpy().astype(np.float16)
    if not np.isfinite(halved).all():
        raise TrainingError(
            "the teacher gave outputs that are not finite in float16; its weights are damaged or "
            "its training diverged: validate the teacher, lower teacher.peak_lr"
        )
    return halved


def belongs_to(images: Images, taught: TrainingSet, teacher_sha256: str | list[str]) -> dict[str, Any]:
    """What cached outputs depend on: the teacher's weights and all that the views depend on."""
    return {
        "teacher": teacher_sha256,
        "transform": taught.describe(),
        "class list": images.classes,
        "image list": image_list_digest(taught.sha256s),
    }
