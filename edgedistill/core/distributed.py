"""Several processes as one training, under `torchrun`; every function is a no-op with one process.

All ranks walk the same stages on one shared run folder. The first rank alone decides, writes and
talks; teacher, cache and student are worked on by all. A loss is the mean over ranks of what each
computes on its equal share of the batch, so gradients are averaged by DistributedDataParallel.
"""

from __future__ import annotations

import datetime
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from edgedistill.errors import RecipeError

Value = TypeVar("Value")
_GROUPS = itertools.count()  # that this process has joined
_alone = False  # inside `alone`
PATIENCE = datetime.timedelta(hours=12)  # the other ranks wait while the first decodes or exports


def world() -> int:
    """Number of processes."""
    return sys.modules["torch.distributed"].get_world_size() if _joined() else 1


def rank() -> int:
    """0 for the process that decides, writes and talks."""
    return sys.modules["torch.distributed"].get_rank() if _joined() else 0


def is_first() -> bool:
    return rank() == 0


def speaks() -> bool:
    """Whether this process prints results: under `torchrun` the first, also outside of `joined`."""
    return os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """Position on this machine: which of its GPUs."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def alone() -> Iterator[None]:
    """For what one rank does while the others wait: in here it is the only process."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the process group that `torchrun` describes in the environment, if it does.

    Args:
        device: `run.device` of the recipe; NCCL for CUDA, gloo for CPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch
    import torch.distributed as distributed

    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank())
    store, number, count = next(distributed.rendezvous("env://", timeout=PATIENCE))
    # A new group must not find the addresses of a dead one: torchrun keeps one store for all.
    attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-{next(_GROUPS)}"
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        timeout=PATIENCE,
        rank=number,
        world_size=count,
        store=distributed.PrefixStore(f"attempt-{attempt}", store),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share_of(batch: int) -> slice:
    """This rank's equal part of a batch.

    Raises:
        RecipeError: the batch does not divide by the number of ranks.
    """
    ranks = world()
    if batch % ranks:
        raise RecipeError(
            f"a batch of {batch} images does not divide by {ranks} processes; take another "
            "batch_size or another --nproc-per-node"
        )
    part = batch // ranks
    return slice(rank() * part, (rank() + 1) * part)


def agreed(decide: Callable[[], Value]) -> Value:
    """The first rank's answer, on every rank; also a barrier. JSON-like values only."""
    if world() == 1:
        return decide()
    import torch.distributed as distributed

    answer: list[Any] = [decide() if is_first() else None]
    distributed.broadcast_object_list(answer, src=0)
    return answer[0]


def all_of(value: Value) -> list[Value]:
    """What each rank has, in their order, on every rank; also a barrier."""
    if world() == 1:
        return [value]
    import torch.distributed as distributed

    values: list[Any] = [None] * world()
    distributed.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    agreed(lambda: None)


def mean_over_ranks(value: float) -> float:
    if world() == 1:
        return value
    import torch
    import torch.distributed as distributed

    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return mean_tensor_over_ranks(torch.tensor(value, dtype=torch.float64, device=device)).item()


def mean_tensor_over_ranks(values: Any) -> Any:
    """The same of a tensor, where it lies: a GPU is not waited for."""
    if world() == 1:
        return values
    import torch.distributed as distributed

    total = values.detach().clone()
    distributed.all_reduce(total)
    return total / world()


def gathered(values: Any) -> Any:
    """The rows of all ranks, for losses that compare the images of a batch with each other.

    The own rows carry a gradient `world()` times as large: each rank has the whole batch's loss,
    and the mean over ranks takes it only from the rank that owns the row.

    Args:
        values: (n, ...) tensor, equal n on all ranks.

    Returns:
        (world * n, ...) tensor.
    """
    if world() == 1:
        return values
    import torch
    import torch.distributed as distributed

    rows = [torch.empty_like(values) for _ in range(world())]
    distributed.all_gather(rows, values.detach().contiguous())
    rows[rank()] = values * world() - (values * (world() - 1)).detach()
    return torch.cat(rows)


def _joined() -> bool:
    """Asked without importing torch: a run that finds all stages up to date needs none."""
    distributed = None if _alone else sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
