"""Training and validation batches: uint8 views, each a pure function of image and seed.

The order of an epoch is a function of (seed, epoch) and a view of (image, stream, view number), so
any step can be made again: that is what resuming and the teacher's cache rest on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import FilePixels, PixelCache
from edgedistill.training.mixing import Mixing, Plan, mixed
from edgedistill.training.shared_blocks import SharedBlocks
from edgedistill.training.view_workers import Workers, batches_ahead
from edgedistill_device.preprocess_spec import Preprocess

NOT_MIXED = Mixing()
BATCHES_IN_USE = 20  # of a training at most: those that unread.py keeps, one on its way to the device, one at work
Job = tuple[np.ndarray, np.ndarray]  # (positions, views)


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N,) int64; -1 where an image has none.
        positions: (N,) int64, position of each image among the training images; on the CPU.
        views: (N,) int64, which view of it this is; on the CPU.
        partners: (N,) int64, label of the image mixed in; the own label where nothing was.
        shares: (N,) float32, of the own image; 1 where nothing was mixed in.
        targets: (N, K) float32 of tasks whose targets are figures, mixed by share, NaN where an image has none.
    """

    images: Tensor
    labels: Tensor
    positions: Tensor
    views: Tensor
    partners: Tensor
    shares: Tensor
    targets: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(
            sent(self.images, device),
            sent(self.labels, device),
            self.positions,
            self.views,
            sent(self.partners, device),
            sent(self.shares, device),
            None if self.targets is None else sent(self.targets, device),
        )

    @property
    def main_labels(self) -> Tensor:
        """(N,) int64, the label with the larger share: for losses that know only one."""
        return torch.where(self.shares >= 0.5, self.labels, self.partners)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that is not waited for: CUDA takes it from pinned memory while this thread goes on."""
    if not _is_real(device):
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _is_real(device: torch.device) -> bool:
    """Whether it is a GPU, and not one that a test's tensors only say they are on."""
    return device.type == "cuda" and torch.cuda.is_available()


def sent_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    """Each batch and its copy on the device; CUDA copies the next one while the network works on the present one."""
    if device.type != "cuda":
        for batch in batches:
            yield batch, batch.to(device)
        return
    copying = torch.cuda.Stream(device)
    waiting: tuple[Batch, Batch] | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            copy = batch.to(device)
        if waiting is not None:
            yield waiting
        torch.cuda.current_stream(device).wait_stream(copying)
        for values in (copy.images, copy.labels, copy.partners, copy.shares, copy.targets):
            if values is not None:
                values.record_stream(torch.cuda.current_stream(device))
        waiting = batch, copy
    if waiting is not None:
        yield waiting


@dataclass(frozen=True)
class ViewStream:
    """Which of all possible views a network is trained on; two streams share no view.

    A network is surer of views that it was trained on than of fresh ones, so whoever teaches is
    asked about another stream than its own.

    Attributes:
        name: who sees the views.
        seed: of the training; another seed gives other views.
        views_per_seed: view v belongs to seed + v // views_per_seed, as its view v % views_per_seed,
            so that a further training has the views that it would have on its own; None: all
            views belong to `seed`.
    """

    name: str
    seed: int = 0
    views_per_seed: int | None = None

    def view(self, number: int) -> bytes:
        """What tells a view from every other view of the same image."""
        further, within = divmod(number, self.views_per_seed) if self.views_per_seed else (0, number)
        return f"{self.name} {self.seed + further} {within}".encode()


class TrainingSet:
    """Training images, their labels, and how views of them are made.

    Args:
        pixels: `pixels[row]` is a decoded (h, w, 3) uint8 image.
        rows: (N,) of `pixels`.
        labels: (N,) int64; -1 where an image has none.
        sha256s: N hex hashes of the images, which seed their views.
        view: (image, seed) -> (H, W, 3) uint8.
        mixing: what is mixed into a view.
        stream: whose views.
        workers: processes that make views, see `view_workers`.
        targets: (N, K) float32 of tasks whose targets are figures, NaN where an image has none.
    """

    def __init__(
        self,
        pixels: PixelCache | FilePixels,
        rows: np.ndarray,
        labels: np.ndarray,
        sha256s: list[str],
        view: TrainingView,
        mixing: Mixing = NOT_MIXED,
        stream: ViewStream = ViewStream("training"),
        workers: Workers = 0,
        targets: np.ndarray | None = None,
    ):
        self.pixels, self.rows, self.labels, self.view = pixels, rows, labels, view
        self.sha256s, self.mixing, self.stream, self.workers = sha256s, mixing, stream, workers
        self.targets = targets
        self._seeds = [bytes.fromhex(sha256)[:16] for sha256 in sha256s]

    def __len__(self) -> int:
        return len(self.rows)

    def seed(self, position: int, view: int) -> int:
        """uint32 that makes this view of this image, wherever the image stands in the list."""
        digest = hashlib.blake2b(self._seeds[position] + self.stream.view(view), digest_size=4).digest()
        return int.from_bytes(digest, "little")

    def describe(self) -> dict[str, Any]:
        """What the views depend on beside the images."""
        return {
            **self.view.describe(),
            **self.pixels.describe(),
            **self.mixing.describe(),
            "stream": vars(self.stream),
        }

    def batches(self, jobs: Iterable[Job]) -> Iterator[Batch]:
        """`batch(positions, views)` of each pair, in order, made ahead of who takes them."""
        return batches_ahead(self._of_job, jobs, self.workers, self._shared)

    def _of_job(self, job: Job) -> Batch:
        return self.batch(*job)

    def _shared(self, job: Job, ahead: int) -> _Shared:
        """
        Args:
            job: a whole batch.
            ahead: batches that may wait to be taken.
        """
        return _Shared(self, (len(job[0]), *self.view.size, 3), ahead + BATCHES_IN_USE)

    def batch(self, positions: np.ndarray, views: np.ndarray, out: np.ndarray | None = None) -> Batch:
        """
        Args:
            positions: (N,) of the images.
            views: (N,) number of the view of each.
            out: (N, H, W, 3) uint8, where the pixels go; None: new memory.
        """
        made = [self._view(int(p), int(v)) for p, v in zip(positions, views, strict=True)]
        labels = self.labels[positions].astype(np.int64)
        partners = [
            label if plan is None else int(self.labels[plan.partner])
            for label, (_, plan) in zip(labels, made, strict=True)
        ]
        shares = [1.0 if plan is None else plan.share for _, plan in made]
        return Batch(
            torch.from_numpy(np.stack([image for image, _ in made], out=out)).permute(0, 3, 1, 2),
            torch.from_numpy(labels),
            torch.from_numpy(positions.astype(np.int64)),
            torch.from_numpy(views.astype(np.int64)),
            torch.tensor(partners, dtype=torch.int64),
            torch.tensor(shares, dtype=torch.float32),
            self._mixed_targets(positions, [plan for _, plan in made]),
        )

    def _mixed_targets(self, positions: np.ndarray, plans: list[Plan | None]) -> Tensor | None:
        """(N, K) of the mixed images. Source: Zhang et al. 2018, arXiv:1710.09412, equation 1."""
        if self.targets is None:
            return None
        own = self.targets[positions].copy()
        for row, plan in enumerate(plans):
            if plan is not None:
                own[row] = plan.share * own[row] + (1 - plan.share) * self.targets[plan.partner]
        return torch.from_numpy(own)

    def _view(self, position: int, view: int) -> tuple[np.ndarray, Plan | None]:
        seed = self.seed(position, view)
        image = self._unmixed(position, seed)
        plan = self.mixing.plan(seed, len(self), image.shape[:2])
        if plan is None:
            return image, None
        other = self._unmixed(plan.partner, self.seed(plan.partner, view))
        return mixed(image, other, plan), plan

    def _unmixed(self, position: int, seed: int) -> np.ndarray:
        return self.view(self.pixels[int(self.rows[position])], seed)


class _Made(NamedTuple):
    """A `Batch` on its way from the process that made it.

    Attributes:
        images: number of the block that holds them, or a tensor, which brings shared memory of its own.
    """

    images: int | Tensor
    labels: np.ndarray
    positions: np.ndarray
    views: np.ndarray
    partners: np.ndarray
    shares: np.ndarray
    targets: np.ndarray | None


class _Shared:
    """Batches of worker processes: pixels in shared blocks, the rest, a few numbers, pickled with the answer."""

    def __init__(self, training: TrainingSet, shape: tuple[int, ...], blocks: int):
        self._training, self._blocks = training, SharedBlocks(blocks, shape)

    def sent(self, job: Job) -> tuple[Job, int | None]:
        return job, self._blocks.taken()

    def make(self, sent: tuple[Job, int | None]) -> _Made:
        (positions, views), block = sent
        out = None if block is None else self._blocks.block(block, len(positions))
        batch = self._training.batch(positions, views, out)
        targets = None if batch.targets is None else batch.targets.numpy()
        return _Made(
            batch.images if block is None else block,
            batch.labels.numpy(),
            batch.positions.numpy(),
            batch.views.numpy(),
            batch.partners.numpy(),
            batch.shares.numpy(),
            targets,
        )

    def received(self, made: _Made) -> Batch:
        images = made.images
        if not isinstance(images, Tensor):
            images = torch.from_numpy(self._blocks.lent(images, len(made.labels))).permute(0, 3, 1, 2)
        return Batch(
            images,
            torch.from_numpy(made.labels),
            torch.from_numpy(made.positions),
            torch.from_numpy(made.views),
            torch.from_numpy(made.partners),
            torch.from_numpy(made.shares),
            None if made.targets is None else torch.from_numpy(made.targets),
        )


@dataclass(frozen=True)
class Order:
    """Which images and views each step sees.

    Attributes:
        images: number of training images.
        batch_size: a set smaller than this is one batch; a rest at an epoch's end is left out.
        seed: of the permutation.
        views: epoch e takes view e modulo views; None gives every epoch a new view.
        first_view: added to the number of every view.
        sample_weights: (images,) draw with these weights instead of a permutation, or None.
        draws: images an epoch, when it is not each image once: a network that may see fewer images
            than the one it is compared with still takes as many steps.
        chosen: positions of the images that are seen, in as many steps as all; None sees all.
    """

    images: int
    batch_size: int
    seed: int
    views: int | None = None
    sample_weights: np.ndarray | None = None
    draws: int | None = None
    first_view: int = 0
    chosen: np.ndarray | None = None

    @property
    def epoch_images(self) -> int:
        return self.draws or self.images

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.epoch_images // self.batch_size)

    def of_epoch(self, epoch: int) -> np.ndarray:
        """(epoch_images,) positions."""
        rng = np.random.default_rng((self.seed, epoch))
        count = self.epoch_images
        seen = np.arange(self.images) if self.chosen is None else self.chosen
        if self.sample_weights is not None:
            weights = self.sample_weights[seen] / self.sample_weights[seen].sum()
            return seen[rng.choice(len(seen), size=count, p=weights)]
        rounds = [rng.permutation(len(seen)) for _ in range(-(-count // len(seen)))]
        return seen[np.concatenate(rounds)[:count]]

    def steps(self, first_step: int, last_step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(positions, views) of each step from first_step up to, not including, last_step."""
        epoch, positions = -1, np.empty(0, np.int64)
        for step in range(first_step, last_step):
            now, within = divmod(step, self.steps_per_epoch)
            if now != epoch:
                epoch, positions = now, self.of_epoch(now)
            chosen = positions[within * self.batch_size : (within + 1) * self.batch_size]
            view = epoch if self.views is None else epoch % self.views
            yield chosen, np.full(len(chosen), self.first_view + view)


def validation_images(pixels: PixelCache | FilePixels, rows: np.ndarray, batch_size: int = 64) -> Iterator[np.ndarray]:
    """(n, H, W, 3) uint8 pieces of the images in `rows`, framed as the board frames them."""
    for start in range(0, len(rows), batch_size):
        piece = rows[start : start + batch_size]
        yield np.stack([pixels.frame(int(row)) for row in piece])


def normalised(images: Tensor, spec: Preprocess) -> Tensor:
    """`edgedistill_device.preprocess.to_input` for a batch, in torch; the same operations in the same order.

    Args:
        images: (N, 3, H, W) uint8.

    Returns:
        (N, 3, H, W) float32, channels last in memory.
    """
    mean, std = (
        sent(torch.tensor(values, dtype=torch.float32), images.device).view(1, 3, 1, 1)
        for values in (spec.mean, spec.std)
    )
    scaled = images.to(torch.float32, memory_format=torch.channels_last) / 255
    return (scaled - mean) / std
