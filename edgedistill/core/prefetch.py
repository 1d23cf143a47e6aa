"""Work of threads that keeps its order, with little of it made and not yet taken."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")


def made_ahead(make: Callable[[Job], Made], jobs: Iterable[Job], ahead: int) -> Iterator[Made]:
    """`map(make, jobs)` in order; one thread a core makes the next ones meanwhile.

    Args:
        make: called from any thread.
        jobs: taken as they are needed.
        ahead: results that may wait to be taken: they bound the memory.
    """
    waiting: deque[Future[Made]] = deque()
    threads = max(2, os.cpu_count() or 2)
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ahead") as pool:
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
