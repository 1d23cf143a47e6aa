"""What a training costs on this computer: its first steps, timed."""

from __future__ import annotations

import time
from typing import Any

from torch import nn

from edgedistill.core import distributed
from edgedistill.progress.reporter import Talk
from edgedistill.training.autotune import finish
from edgedistill.training.loop import Training
from edgedistill.training.schedule import Pace

WARM_UP, MEASURED = 4, 16
FIRST_STEPS = WARM_UP + MEASURED  # the first ones allocate memory, choose kernels and wait for the first views


def measured_pace(training: Training, talk: Talk, title: str) -> Pace:
    """Train for FIRST_STEPS and time all but the WARM_UP ones; validations are timed apart.

    Args:
        training: of FIRST_STEPS, not to be used again.

    Returns:
        The first rank's times, on every rank.
    """
    ends: list[float] = []
    validations: list[tuple[float, float]] = []  # start and seconds
    evaluate = training.evaluate

    def timed(net: nn.Module) -> dict[str, Any]:
        start = time.monotonic()
        figures = evaluate(net)
        validations.append((start, time.monotonic() - start))
        return figures

    def note_end() -> None:
        finish(training.device)
        ends.append(time.monotonic())

    training.evaluate, training.on_step = timed, note_end
    training.run(talk, title)

    def pace() -> list[float]:
        first, last = ends[WARM_UP - 1], ends[-1]
        between = sum(seconds for start, seconds in validations if first <= start < last)
        return [(last - first - between) / MEASURED, sum(seconds for _, seconds in validations) / len(validations)]

    return Pace(*distributed.agreed(pace))
