"""A training whose loss or gradient stops being a number: the batch is kept, it goes back once, then stops.

It goes back to where the epoch began, which is a function of the step and not of the clock, and on
with a smaller learning rate: with the same one it would only do the same again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgedistill.core import distributed
from edgedistill.core.files import write_bytes
from edgedistill.errors import TrainingError
from edgedistill.records.training import WentBack
from edgedistill.training.batches import Batch
from edgedistill.training.checkpoint import State

LR_AFTER = 0.1  # of the learning rate, for the rest of a training that went back
OTHERS = "loss of another process"


def first_wrong(steps: Sequence[tuple[float, float]]) -> tuple[int, str] | None:
    """The first of some steps with a number that is not finite on any rank.

    Gradients are means over ranks, so one rank's loss spoils them on all: OTHERS says that it was not
    this one's.

    Args:
        steps: loss of this rank's part of the batch, and norm of all gradients, of each.

    Returns:
        Its place, and `loss` (under torchrun: of which process), `gradient` or OTHERS; None when all are finite.
    """
    own = next((place for place, numbers in enumerate(steps) if not all(map(math.isfinite, numbers))), None)
    if distributed.mean_over_ranks(float(own is None)) == 1:
        return None
    place = min(place for place in distributed.all_of(own) if place is not None)
    return place, _blamed(*steps[place])


def _blamed(loss: float, gradient_norm: float) -> str:
    own_loss = "loss" if distributed.world() == 1 else f"loss of process {distributed.rank()}"
    numbers = ((own_loss, loss), ("gradient", gradient_norm))
    wrong = next((name for name, number in numbers if not math.isfinite(number)), None)
    by_rank = distributed.all_of(wrong)
    spoiled = wrong != own_loss and any(name not in (None, "gradient") for name in by_rank)
    return OTHERS if wrong is None or spoiled else wrong


def keep_batch(folder: Path, step: int, batch: Batch, sha256s: Sequence[str]) -> Path:
    """Write what a step saw, for a person to look at.

    Args:
        folder: of the training.
        step: names the file.
        batch: that step's part on this rank.
        sha256s: of all training images.

    Returns:
        An .npz: images (n, H, W, 3) uint8 as the network got them before normalising; labels,
        partners, shares as in `Batch`; positions and views (n,); sha256 (n,) of the image files.
    """
    content = io.BytesIO()
    np.savez(
        content,
        images=batch.images.permute(0, 2, 3, 1).cpu().numpy(),
        labels=batch.labels.cpu().numpy(),
        partners=batch.partners.cpu().numpy(),
        shares=batch.shares.cpu().numpy(),
        positions=batch.positions.numpy(),
        views=batch.views.numpy(),
        sha256=np.array([sha256s[position] for position in batch.positions.tolist()]),
    )
    rank = f"-rank{distributed.rank()}" if distributed.rank() else ""
    path = folder / f"bad_batch-{step}{rank}.npz"
    write_bytes(path, content.getvalue())
    return path


def told_alike(wrong: str, batch_file: Path | None) -> tuple[str, list[Path]]:
    """The words of the first rank that is to blame, and the batches of all that are; equal on all ranks.

    Args:
        wrong: what is not finite here, and where; begins with OTHERS where nothing is.
        batch_file: the batch here, if it was.
    """
    by_rank = distributed.all_of((wrong, batch_file))
    words = [reason for reason, _ in by_rank if not reason.startswith(OTHERS)]
    return words[0], [path for _, path in by_rank if path]


def go_back(state: State, steps_per_epoch: int, wrong: str, batch_files: Sequence[Path]) -> str:
    """Set `state` to where the epoch began; the caller puts the weights of there back.

    Args:
        wrong: what is not finite, and where.
        batch_files: the batch, if it was: one part of each rank that is to blame.

    Returns:
        One line for a person.

    Raises:
        TrainingError: it went back before.
    """
    look = f"its batch is in {' and '.join(map(str, batch_files))}" if batch_files else "its batch was not kept"
    if state.went_back is not None:
        raise TrainingError(
            f"the {wrong} again, with {LR_AFTER:g} of the learning rate since step "
            f"{state.went_back.to_step}; lower peak_lr, or correct images and labels: {look}"
        )
    first = state.step - state.step % steps_per_epoch
    state.went_back = WentBack(
        from_step=state.step,
        to_step=first,
        why=wrong,
        batch=", ".join(path.name for path in batch_files) or None,
        lr_scale=LR_AFTER,
    )
    state.lr_scale, state.step, state.sums = LR_AFTER, first, {}
    return f"the {wrong}; {look}; back to step {first}, once, and on with {LR_AFTER:g} of the learning rate"
