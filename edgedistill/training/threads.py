"""How many threads compute fastest here and now: measured at the start, since others may hold some of the cores.

Every operation of a network ends when its last thread does. A thread whose core another program holds too keeps all
others waiting, so fewer threads may be several times as fast.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

ROUNDS = 5  # timed steps of each number of threads, in turn; one before them is not timed
LEAST_GAIN = 1.05  # more threads must be this much faster than fewer to be taken
HOPELESS = 2.0  # times the step of one thread, from which on a number is timed no more: it may take a second
_IMAGES, _WIDTH, _SIDE = 16, 32, 32


def fastest_threads(
    most: int,
    step: Callable[[], None] | None = None,
    set_threads: Callable[[int], None] = torch.set_num_threads,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, str]:
    """Time steps of a small network with `most` threads and with fewer, and set the best number.

    Args:
        most: cores that this process may use.
        step: what is timed; None: forward and backward of blocks like MobileNet's.

    Returns:
        The number that is set now, and one line that says what was measured.
    """
    counts = sorted({most, max(1, most - 1), max(1, most // 2), max(1, most // 4), 1})
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    step = step or _step_of_small_network()
    racing = counts
    for number in range(ROUNDS + 1):
        for count in racing:
            set_threads(count)
            start = clock()
            step()
            if number == 1:
                seconds[count].clear()
            seconds[count].append(clock() - start)
        racing = [count for count in racing if seconds[count][-1] < HOPELESS * seconds[1][-1]]
    medians = {count: statistics.median(samples) for count, samples in seconds.items()}
    choice = counts[0]
    for count in counts[1:]:
        if medians[choice] / medians[count] >= LEAST_GAIN:
            choice = count
    set_threads(choice)
    times = ", ".join(f"{count}: {1e3 * value:.0f} ms" for count, value in medians.items())
    return choice, f"measured a step by threads ({times}): takes {choice} of {most}"


def _step_of_small_network() -> Callable[[], None]:
    with torch.random.fork_rng(devices=[]):
        blocks = [
            layer
            for _ in range(2)
            for layer in (
                nn.Conv2d(_WIDTH, 4 * _WIDTH, 1, bias=False),
                nn.BatchNorm2d(4 * _WIDTH),
                nn.Hardswish(),
                nn.Conv2d(4 * _WIDTH, 4 * _WIDTH, 3, padding=1, groups=4 * _WIDTH, bias=False),
                nn.BatchNorm2d(4 * _WIDTH),
                nn.Hardswish(),
                nn.Conv2d(4 * _WIDTH, _WIDTH, 1, bias=False),
                nn.BatchNorm2d(_WIDTH),
            )
        ]
        network = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        images = torch.randn(_IMAGES, _WIDTH, _SIDE, _SIDE).to(memory_format=torch.channels_last)

    def step() -> None:
        network(images).square().mean().backward()

    return step
