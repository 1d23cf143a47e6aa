"""Work of threads that keeps its order, with little of it made and not yet taken."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from edgedistill.environment.processors import usable_cores

Job = TypeVar("Job")
Made = TypeVar("Made")
_processes = 1  # that share the cores, this one among them


def cores() -> int:
    """That this process may use: its share where ranks of `torchrun` or helpers work beside it."""
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) // _processes)


def share_cores(processes: int) -> None:
    """From now on this process and others, so many in all, work at the same time."""
    global _processes
    _processes = processes


def made_ahead(make: Callable[[Job], Made], jobs: Iterable[Job], ahead: int) -> Iterator[Made]:
    """`map(make, jobs)` in order; one thread a core makes the next ones meanwhile.

    Args:
        make: called from any thread.
        jobs: taken as they are needed.
        ahead: results that may wait to be taken: they bound the memory.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=max(2, cores()), thread_name_prefix="ahead") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(make, job))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
