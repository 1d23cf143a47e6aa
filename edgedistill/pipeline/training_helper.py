"""A helper: train what another process of the same run does not, until nothing is left (see side_by_side.py).

Read a `Job` from standard input, one line of JSON. Write events to standard output, a line of JSON each. End when
standard input ends.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.core.prefetch import share_cores
from edgedistill.errors import EdgeDistillError
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.side_by_side import Job, NothingLeft
from edgedistill.progress.reporter import Talk


def main(tell: Callable[[dict[str, Any]], None]) -> None:
    """
    Args:
        tell: called with each event of a training.
    """
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    share_cores(job.processes)
    recipe, run = Recipe.model_validate(job.recipe), RunFolder(Path(job.run_dir), lock=False)
    trainings = Talk(quiet=True, tell=tell)
    for name in job.stages:
        module = importlib.import_module(f"edgedistill.stages.{name}")
        wanted = functools.partial(run.is_begun, name, job.stages[name])
        out = run.path / f"{name}.partial"
        context = StageContext(name, recipe, run, out, Talk(quiet=True), helps=trainings, wanted=wanted)
        # What a training refuses, the run's own process meets too, and says; a folder that is gone was finished there.
        with trainings.working_on(name, name), contextlib.suppress(NothingLeft, EdgeDistillError, FileNotFoundError):
            module.run(context)


def _teller() -> Callable[[dict[str, Any]], None]:
    """Writes events to standard output; what a library prints goes to standard error from now on."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", closefd=False)
    os.dup2(2, 1)

    def tell(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=events, flush=True)

    return tell


def _end_with_the_run() -> None:
    while os.read(0, 1):  # not sys.stdin: Python cannot end while a thread waits in its buffer
        pass
    os._exit(1)


if __name__ == "__main__":
    main(_teller())
