"""Batches made ahead of the network, by threads of this process or by worker processes: the same batches.

Threads share one interpreter lock, so that a process makes little more views than one core can, whatever the machine
has. Worker processes cost a fork each and memory for their batches. `auto` begins with threads and goes over to
processes when the network was seen to wait for its batches, on a machine with cores enough to pay for the way.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, Protocol, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from edgedistill.core.prefetch import cores, made_ahead
from edgedistill.errors import EdgeDistillError, TrainingError

Job = TypeVar("Job")
Made = TypeVar("Made")
JobIn = TypeVar("JobIn", contravariant=True)
MadeOut = TypeVar("MadeOut", covariant=True)
Workers = Literal["auto"] | int
BATCHES_AHEAD = 4  # made while the network works on the present one
LEAST_CORES = 4  # for `auto` to think of processes: with fewer, threads keep the cores as busy
WARM_UP, TRIAL = 4, 16  # batches: not measured, measured
WAITING_FRACTION = 0.25  # of the trial's time; above it `auto` goes over to processes


class Transport(Protocol[JobIn, MadeOut]):
    """How jobs come to the processes that do them, and what they make comes back."""

    def sent(self, job: JobIn) -> Any:
        """Called in this process, with jobs in their order: what travels there."""

    def make(self, sent: Any) -> Any:
        """Called in a worker process: what travels back."""

    def received(self, made: Any) -> MadeOut:
        """Called in this process, in the order of the jobs."""


def batches_ahead(
    make: Callable[[Job], Made],
    jobs: Iterable[Job],
    workers: Workers,
    transport: Callable[[Job, int], Transport[Job, Made]] | None = None,
) -> Iterator[Made]:
    """`map(make, jobs)` in order.

    Args:
        make: a pure function of its job.
        jobs: taken as they are needed.
        workers: processes; 0: threads of this process; `auto`: as the module's text says.
        transport: (a job, results that may wait) -> how the processes do `make`; None: pickled, as the DataLoader does.

    Raises:
        EdgeDistillError: of `make`; TrainingError: a worker process was ended from outside.
    """
    jobs = iter(jobs)
    if workers == "auto" and cores() >= LEAST_CORES:
        yield from _by_threads_until_one_waits(make, jobs)
        workers = cores()
    elif workers in ("auto", 0):
        yield from made_ahead(make, jobs, BATCHES_AHEAD)
        return
    first = next(jobs, None)
    if first is not None:
        ahead = int(workers) * _prefetch_factor(int(workers))
        way = _Pickled(make) if transport is None else transport(first, ahead)
        yield from _by_processes(way, itertools.chain([first], jobs), int(workers))


def _by_threads_until_one_waits(make: Callable[[Job], Made], jobs: Iterator[Job]) -> Iterator[Made]:
    """Ends early, with jobs left, when the trial shows that threads are too slow."""
    too_slow = False

    def offered() -> Iterator[Job]:
        for job in jobs:
            yield job
            if too_slow:
                return

    batches = made_ahead(make, offered(), BATCHES_AHEAD)
    waited, start = 0.0, time.monotonic()
    for number in itertools.count():
        asked = time.monotonic()
        if number == WARM_UP:
            waited, start = 0.0, asked
        try:
            batch = next(batches)
        except StopIteration:
            return
        waited += time.monotonic() - asked
        yield batch
        if number == WARM_UP + TRIAL - 1:
            too_slow = waited > WAITING_FRACTION * (time.monotonic() - start)


class _Pickled(Generic[Job, Made]):
    """The transport of the DataLoader itself."""

    def __init__(self, make: Callable[[Job], Made]):
        self.make = make

    def sent(self, job: Job) -> Job:
        return job

    def received(self, made: Made) -> Made:
        return made


class _Jobs(Dataset):
    """What each worker process has: how to make a batch. A refusal travels as a value, so that it stays one line."""

    def __init__(self, make: Callable[[Any], Any]):
        self._make = make

    def __getitem__(self, sent: Any) -> Any:
        try:
            return self._make(sent)
        except EdgeDistillError as error:
            return error


def _by_processes(way: Transport[Job, Made], jobs: Iterator[Job], count: int) -> Iterator[Made]:
    """PyTorch's DataLoader: it keeps the order."""
    with warnings.catch_warnings():
        # Python 3.12 warns of locks that other threads hold during a fork: a worker takes none of theirs. PyTorch
        # warns of more workers than cores: whoever writes a number means it.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        batches = iter(_loader(way.make, map(way.sent, jobs), count))
    try:
        for made in batches:
            if isinstance(made, EdgeDistillError):
                raise made
            yield way.received(made)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a process that makes training views was ended from outside ({str(error).splitlines()[0]}); is memory "
            "short, or /dev/shm? --set run.workers=0 makes them in this process"
        ) from None
    finally:
        del batches  # which ends the processes


def _prefetch_factor(count: int) -> int:
    """Batches that each worker may be ahead."""
    return max(2, -(-BATCHES_AHEAD // count))


def _loader(make: Callable[[Any], Any], jobs: Iterator[Any], count: int) -> DataLoader:
    return DataLoader(
        _Jobs(make),
        batch_size=None,
        sampler=jobs,  # any iterable will do, its documentation says
        num_workers=count,
        prefetch_factor=_prefetch_factor(count),
        collate_fn=_as_it_is,
        worker_init_fn=_one_thread,
        multiprocessing_context="fork",  # the images are mapped files, and a fresh process would import PyTorch
        generator=torch.Generator(),  # its draw is not taken from the training's random stream
    )


def _as_it_is(made: Any) -> Any:
    return made


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
