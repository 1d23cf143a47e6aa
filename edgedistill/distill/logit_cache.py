"""The teacher's outputs for V views of every training image, written once, read by every student.

cache.json      what the outputs belong to: teacher, transform, classes, images
seeds.u32       (V, N) uint32, the seed that makes each view again
logits.f16      (V, N, C) float16: logits, so that temperature and loss stay free to change
features.f16    (V, N, F) float16, pooled, when asked for
done.json       while it is being written: how many images are finished
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedistill.distill.batches import Batch, TrainingSet, made_ahead
from edgedistill.errors import TrainingError
from edgedistill.run_folder import write_bytes, write_json

BATCH = 64  # images per teacher forward pass


def image_list_digest(sha256s: Sequence[str]) -> str:
    """SHA-256 of the training images' hashes in their order."""
    return hashlib.sha256("\n".join(sha256s).encode()).hexdigest()


def write_cache(
    folder: Path,
    images: TrainingSet,
    teacher: Callable[[Tensor], tuple[Tensor, Tensor]],
    views: int,
    belongs_to: dict[str, Any],
    widths: tuple[int, int],
    on_progress: Callable[[int], None],
    with_features: bool,
) -> list[str]:
    """Run the teacher over every view, or over those that an interrupted call has left.

    Args:
        folder: kept between calls.
        images: N training images.
        teacher: (N, 3, H, W) uint8 -> logits (N, C), features (N, F); run without gradient.
        views: V.
        belongs_to: what a reader must present again, JSON-able.
        widths: C and F.
        on_progress: called with the number of finished (view, image) pairs.
        with_features: also keep the pooled features.

    Returns:
        The names of the files, `cache.json` last.
    """
    count, (classes, features) = len(images), widths
    fresh = not (folder / "done.json").exists()
    mode = "w+" if fresh else "r+"
    names = ["seeds.u32", "logits.f16"] + ["features.f16"] * with_features
    seeds = _mapped(folder / "seeds.u32", np.uint32, mode, (views, count))
    maps = [_mapped(folder / "logits.f16", np.float16, mode, (views, count, classes))]
    if with_features:
        maps.append(_mapped(folder / "features.f16", np.float16, mode, (views, count, features)))
    done = 0 if fresh else json.loads((folder / "done.json").read_text())["pairs"]

    def batch_of(start: int) -> tuple[int, Batch]:
        pairs = np.arange(start, min(start + BATCH, views * count))
        return start, images.batch(pairs % count, pairs // count)

    for start, batch in made_ahead(batch_of, range(done, views * count, BATCH)):
        position, view = batch.positions.numpy(), batch.views.numpy()
        with torch.no_grad():
            outputs = teacher(batch.images)
        for kept, values in zip(maps, outputs, strict=False):
            kept[view, position] = _as_float16(values)
        seeds[view, position] = [
            images.seed(int(p), int(v)) for p, v in zip(position, view, strict=True)
        ]
        for kept in (seeds, *maps):
            kept.flush()
        done = start + len(position)
        write_json(folder / "done.json", {"pairs": done})
        on_progress(done)
    write_json(
        folder / "cache.json",
        {"views": views, "images": count, "classes": classes,
         "features": features if with_features else 0, "belongs_to": belongs_to},
    )  # fmt: skip
    (folder / "done.json").unlink(missing_ok=True)
    return [*names, "cache.json"]


class LogitCache:
    """The cached outputs of one teacher, checked against what the student is about to see.

    Args:
        folder: as `write_cache` left it.
        belongs_to: as given to `write_cache`; each differing key is named in the refusal.

    Raises:
        TrainingError: the cache belongs to another teacher, transform, class or image list.
    """

    def __init__(self, folder: Path, belongs_to: dict[str, Any]):
        header = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
        stored = header["belongs_to"]
        differing = [key for key in belongs_to if stored.get(key) != belongs_to[key]]
        if differing:
            raise TrainingError(
                f"the cached teacher outputs in {folder} belong to another {', '.join(differing)}; "
                "make them again with `edgedistill logits RECIPE --force logits`"
            )
        self.views, self.images = header["views"], header["images"]
        shape = (self.views, self.images)
        self._logits = np.memmap(
            folder / "logits.f16", np.float16, "r", shape=(*shape, header["classes"])
        )
        self.seeds = np.memmap(folder / "seeds.u32", np.uint32, "r", shape=shape)
        self.feature_width = header["features"]
        self._features = None
        if self.feature_width:
            self._features = np.memmap(
                folder / "features.f16", np.float16, "r", shape=(*shape, self.feature_width)
            )

    def logits(self, batch: Batch) -> Tensor:
        """(N, C) float32 for exactly the views in the batch."""
        return _gather(self._logits, batch)

    def mean_top_probability(self, temperature: float) -> float:
        """How sure the soft labels are at a temperature, from 1 / classes to 1; first view only."""
        logits = torch.from_numpy(self._logits[0].astype(np.float32))
        return float((logits / temperature).softmax(dim=1).amax(dim=1).mean())

    def features(self, batch: Batch) -> Tensor:
        """(N, F) float32."""
        assert self._features is not None, "the recipe asked for no features"
        return _gather(self._features, batch)


def average_caches(folders: Sequence[Path], out: Path, belongs_to: dict[str, Any]) -> list[str]:
    """One cache with the mean of several teachers' logits over the same views.

    The mean of logits is the geometric mean of probabilities, up to scale; it leaves the
    temperature free, which a mean of probabilities would not.

    Returns:
        The names of the files in `out`, `cache.json` last.
    """
    headers = [json.loads((folder / "cache.json").read_text("utf-8")) for folder in folders]
    views, count, classes = (headers[0][key] for key in ("views", "images", "classes"))
    shape = (views, count, classes)
    members = [np.memmap(f / "logits.f16", np.float16, "r", shape=shape) for f in folders]
    seeds = [(folder / "seeds.u32").read_bytes() for folder in folders]
    if any(other != seeds[0] for other in seeds[1:]):
        raise TrainingError(f"{folders[0]} and the other caches hold different views; force logits")
    mean = _mapped(out / "logits.f16", np.float16, "w+", shape)
    for view in range(views):
        mean[view] = np.mean([member[view].astype(np.float32) for member in members], axis=0)
    mean.flush()
    write_bytes(out / "seeds.u32", seeds[0])
    header = {**headers[0], "features": 0, "belongs_to": belongs_to}
    write_json(out / "cache.json", header)
    return ["seeds.u32", "logits.f16", "cache.json"]


def _mapped(path: Path, kind: type, mode: str, shape: tuple[int, ...]) -> np.memmap:
    """A memory map whose blocks exist: a full disk is an error here, not a SIGBUS later."""
    if mode == "w+":
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(kind).itemsize)
    return np.memmap(path, kind, "r+", shape=shape)


def _gather(values: np.ndarray, batch: Batch) -> Tensor:
    return torch.from_numpy(values[batch.views.numpy(), batch.positions.numpy()].astype(np.float32))


def _as_float16(values: Tensor) -> np.ndarray:
    with np.errstate(over="ignore"):  # refused below, in words
        halved = values.float().cpu().numpy().astype(np.float16)
    if not np.isfinite(halved).all():
        raise TrainingError(
            "the teacher gave outputs that are not finite in float16; its weights are damaged or "
            "its training diverged: validate the teacher, lower teacher.peak_lr"
        )
    return halved
