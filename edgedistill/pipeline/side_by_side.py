"""Train at the same time what does not wait for each other: baseline and student, and the seeds of each.

A small network keeps one core busy and gains little from a second one. So helper processes (training_helper.py) take
trainings of the stage at work and of a later one whose inputs are finished, each process with its share of the cores,
while the run's own process walks on from stage to stage. A lock on each training says who has taken it. What a helper
leaves is what an interrupted run leaves: the run's own process loads a finished training, and resumes one of a helper
that failed or was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from edgedistill.config.recipe import Recipe
from edgedistill.core import distributed
from edgedistill.core.files import locked
from edgedistill.core.prefetch import cores, share_cores
from edgedistill.environment.memory import available_memory_bytes, peak_memory_bytes
from edgedistill.environment.own_modules import module_command, module_environment
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.table import Stage, stages_read
from edgedistill.progress.reporter import Talk
from edgedistill.records.layout import TRAINED

HELPED = ("baseline", "distill")  # stages that train the student, once a seed
LEAST_IMAGES = 10_000  # in all trainings; fewer are over before a helper has loaded PyTorch and repaid it
LAST_WORDS_SECONDS = 1.0  # of a helper; a program that it has started may hold its standard output longer
LOOK_SECONDS = 0.05  # between two looks whether a training that is waited for is free


Inputs = dict[str, Any]
Trained = TypeVar("Trained")


@dataclass(frozen=True)
class Job:
    """What a helper is told.

    Attributes:
        run_dir: with a folder `STAGE.partial` for each stage.
        recipe: as JSON.
        stages: whose trainings it takes, in this order, and what each is made from, as `RunFolder.begin` was told.
        processes: that share the cores, it among them.
    """

    run_dir: str
    recipe: dict[str, Any]
    stages: dict[str, Inputs]
    processes: int


class NothingLeft(Exception):
    """In a helper: what is left of the stage is finished, or another process is at work on it."""


def trained_with_helpers(context: StageContext, count: int, train: Callable[[int], Trained]) -> list[Trained]:
    """`[train(0), ..., train(count - 1)]`, without those that another process is training meanwhile.

    Args:
        train: trains, or loads what a process that trained the same has left.

    Raises:
        NothingLeft: in a helper, after its last training.
    """
    if distributed.world() > 1:
        return [train(number) for number in range(count)]
    trained: dict[int, Trained] = {}
    for wait in (False, True):
        for number in range(count):
            if number not in trained:
                with _claimed(context, number, wait) as ours:
                    if ours and _is_left(context, number):
                        trained[number] = train(number)
        if context.helps is not None:
            raise NothingLeft
    return [trained[number] for number in range(count)]


def _is_left(context: StageContext, number: int) -> bool:
    """Whether a training that is claimed is to be done, or loaded, by this process.

    A helper may be slow: what it comes to may be finished, and even the whole stage, whose folder is then renamed. The
    record is looked for first: where there is none, either the run waits for this claim, or the folder is gone.
    """
    if context.helps is None:
        return True
    return not (context.out / TRAINED.format(number)).exists() and context.wanted()


@contextlib.contextmanager
def _claimed(context: StageContext, number: int, wait: bool) -> Iterator[bool]:
    """Whether no other process is at work on a stage's training; none is until the block ends."""
    context.unfinished.mkdir(exist_ok=True)
    lock = context.unfinished / f"training-{number}.lock"
    with contextlib.ExitStack() as stack:
        if wait:
            with context.talk.progress(f"{context.stage}: a helper trains seed {number}", 1):
                while not _locked_now(stack, lock):
                    context.talk.tell_beside()
                    time.sleep(LOOK_SECONDS)
        yield True if wait else stack.enter_context(locked(lock, make=True, wait=False))


def _locked_now(stack: contextlib.ExitStack, lock: Path) -> bool:
    """Whether the lock was free; it is then held until the stack is left."""
    with contextlib.ExitStack() as attempt:
        if not attempt.enter_context(locked(lock, make=True, wait=False)):
            return False
        stack.push(attempt.pop_all())
    return True


def processes_for(recipe: Recipe, trainings: int, images: int) -> int:
    """How many trainings go on at the same time, one in each process; 1: no helper.

    Args:
        trainings: that do not wait for each other.
        images: that they see together.
    """
    from edgedistill.training.fit import computes_on_cpu  # which imports PyTorch

    asked = recipe.run.parallel_trainings
    if asked == 1 or trainings < 2 or not computes_on_cpu(recipe.run):
        return 1
    if asked:
        return min(asked, trainings)
    if images < LEAST_IMAGES or recipe.distill.minutes:  # the minutes are measured of a training with all cores
        return 1
    by_memory = 1 + (available_memory_bytes() or 0) // peak_memory_bytes()  # this process may have trained the teacher
    return max(1, min(cores() // _threads(recipe), trainings, by_memory))


def _threads(recipe: Recipe) -> int:
    """That each training is to have, as its user wants it."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return recipe.run.threads or (int(chosen) if re.fullmatch("[1-9][0-9]*", chosen) else 1)


class Helpers:
    """The helpers of a run. Use as a context manager: leaving it ends them."""

    def __init__(self) -> None:
        self._children: list[Helper] = []
        self._jobs: dict[str, Inputs] = {}
        self._talk = Talk(quiet=True)

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, failure: type | None, *_: object) -> None:
        self._end()
        if failure is None:
            self._talk.tell_beside()

    def before(
        self,
        context: StageContext,
        inputs: Inputs,
        later: Iterable[Stage],
        why: Callable[[Stage], tuple[Inputs, str | None]],
    ) -> None:
        """Called before a stage works: start helpers where they pay, end those of other stages or other inputs.

        Args:
            inputs: of the stage.
            later: stages of the run after it.
            why: a stage's inputs, and why it is to be done; None where it is up to date.
        """
        self._talk = context.talk
        if self._jobs.get(context.stage) != inputs:
            self._end()
            self._talk.tell_beside()
        if context.stage not in HELPED or self._jobs or distributed.world() > 1:
            return
        from edgedistill.pipeline.student import images_seen  # which imports PyTorch

        jobs = {context.stage: inputs, **_ready(context, later, why)}
        trainings = len(jobs) * context.recipe.distill.seeds
        processes = processes_for(context.recipe, trainings, trainings * images_seen(context))
        if processes == 1:
            return
        for name in jobs:
            context.run.begin(name, jobs[name])
        self._jobs = jobs
        share_cores(processes)
        context.talk.say(f"  {processes} trainings at a time, each on {_cores_text(cores())}")
        with contextlib.suppress(OSError):  # no room for another process: what it was to do is done here
            for _ in range(processes - 1):
                self._children.append(_started(context, jobs, processes))

    def _end(self) -> None:
        for helper in self._children:
            helper.end()
        share_cores(1)
        self._children, self._jobs = [], {}


def _ready(
    context: StageContext, later: Iterable[Stage], why: Callable[[Stage], tuple[Inputs, str | None]]
) -> dict[str, Inputs]:
    """Later stages with trainings that read nothing of this stage, nor of one between, and are to be done."""
    unfinished, jobs = {context.stage}, {}
    for stage in later:
        if stage.name in HELPED and unfinished.isdisjoint(stages_read(stage, context.recipe)):
            inputs, reason = why(stage)
            if reason is not None:
                jobs[stage.name] = inputs
        unfinished.add(stage.name)
    return jobs


def _started(context: StageContext, stages: dict[str, Inputs], processes: int) -> Helper:
    child = subprocess.Popen(
        module_command("edgedistill.pipeline.training_helper"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # its standard error stays this process's: what a helper warns of is seen
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is for the run's own process, which ends its helpers
        env=module_environment(),
    )
    job = Job(str(context.run.path), context.recipe.model_dump(mode="json"), stages, processes)
    with contextlib.suppress(BrokenPipeError):  # it failed at once: what it was to do is done here
        stdin = cast(IO[str], child.stdin)
        stdin.write(json.dumps(vars(job)) + "\n")
        stdin.flush()
    return Helper(child, context.talk)


class Helper:
    """A helper at work, which ends when its standard input does: with this process, however that ends."""

    def __init__(self, child: subprocess.Popen[str], talk: Talk):
        self.child = child
        self._relay = threading.Thread(target=_relay, args=(child, talk), daemon=True)
        self._relay.start()

    def end(self) -> None:
        """On return `Talk.tell_beside` tells all that it has told."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self._relay.join(LAST_WORDS_SECONDS)
        with contextlib.suppress(BrokenPipeError):  # of a line that it did not read
            cast(IO[str], self.child.stdin).close()


def _relay(child: subprocess.Popen[str], talk: Talk) -> None:
    """Take what a helper tells of its trainings; the thread of the run tells it on."""
    with cast(IO[str], child.stdout) as lines:
        for line in lines:
            with contextlib.suppress(ValueError):  # it was killed in the middle of a line
                talk.heard_beside(json.loads(line))


def _cores_text(count: int) -> str:
    return "one core" if count == 1 else f"{count} cores"
