"""Which precision and memory layout train fastest here: measured at the start, not assumed.

bfloat16 doubles a teacher on a CPU with AMX and slows MobileNetV3 down on the same machine, so
neither the processor's name nor the network's tells.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ROUNDS = 3  # timed steps of each candidate, in turn; one before them is not timed
WORTH_IT = 1.05  # a candidate must be this much faster than the fixed choice to be taken
HOPELESS = 3.0  # times the fixed choice's step, from which on a candidate is timed no more: bfloat16 may take 20


class Speed(NamedTuple):
    """How the network computes; weights, losses and the optimizer stay float32."""

    bfloat16: bool
    channels_last: bool
    threads: int = 0  # of PyTorch on a CPU; 0: as many as it has
    compiled: bool = False  # by torch.compile

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager:
        if not self.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "channels first"
        return f"{'bfloat16' if self.bfloat16 else 'float32'}, {layout}{', compiled' if self.compiled else ''}"


FIXED = Speed(bfloat16=False, channels_last=True)  # equal bits whenever the machine is equal
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
CANDIDATES = (FIXED, Speed(False, False), Speed(True, True), Speed(True, False))


def speed_of(precision: str, device: torch.device) -> Speed:
    """What a precision other than `auto` is on a device: `mixed` is bfloat16 where a GPU has hardware for it.

    An older GPU computes in float32: float16 needs its loss scaled, and scaled gradients that overflow would be taken
    for a training that diverges.
    """
    mixed = precision == "mixed" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return FIXED._replace(bfloat16=precision == "bf16" or mixed)


def answering_speed(precision: str, device: torch.device) -> Speed:
    """Of a network that only answers: as in training, and in bfloat16 on a CPU too that has instructions for it.

    Forward passes of eleven networks took 1.3 to 2.3 times less CPU there (docs/experiments.md, 2026-12-03); training
    steps may take more, so these are asked for with `bf16` or measured by `auto`.
    """
    asked = "mixed" if precision == "auto" else precision
    if asked == "mixed" and device.type == "cpu":
        return FIXED._replace(bfloat16=cpu_computes_bfloat16())
    return speed_of(asked, device)


@functools.cache
def cpu_computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether each core has instructions for products of bfloat16: AVX512-BF16, AMX or Arm's BF16.

    Source: Linux, arch/x86/include/asm/cpufeatures.h and arch/arm64/kernel/cpuinfo.c.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    cores = [
        set(line.partition(":")[2].split()) for line in text.splitlines() if line.startswith(("flags", "Features"))
    ]
    return bool(cores) and all(core & _BFLOAT16_FLAGS for core in cores)


def fastest(
    model: nn.Module,
    read: Callable[[nn.Module, Tensor], Any],
    images: Tensor,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Speed, str]:
    """Time training steps of a copy of the model under each candidate.

    Args:
        model: left as it was.
        read: (model, images) -> logits first.
        images: (N, 3, H, W) float32, one real batch on the device of the training.

    Returns:
        The choice, and one line that says what was measured.
    """
    seconds: dict[Speed, list[float]] = {speed: [] for speed in CANDIDATES}
    racing = list(CANDIDATES)
    for number in range(ROUNDS + 1):
        for speed in racing:
            with _random_state_kept():
                taken = _step_seconds(copy.deepcopy(model), read, images, speed, clock)
            if number == 1:
                seconds[speed].clear()  # the first step of all also made the kernels
            seconds[speed].append(taken)
        racing = [speed for speed in racing if seconds[speed][-1] < HOPELESS * seconds[FIXED][-1]]
    medians = {speed: statistics.median(samples) for speed, samples in seconds.items()}
    best = min(medians, key=medians.__getitem__)
    choice = best if medians[FIXED] / medians[best] >= WORTH_IT else FIXED
    rates = "; ".join(f"{speed} {len(images) / value:.0f} images/s" for speed, value in medians.items())
    return choice, f"measured {rates}: takes {choice}"


def _step_seconds(
    model: nn.Module,
    read: Callable[[nn.Module, Tensor], Any],
    images: Tensor,
    speed: Speed,
    clock: Callable[[], float],
) -> float:
    model.train().to(memory_format=speed.memory_format)
    images = images.to(memory_format=speed.memory_format)
    finish(images.device)
    start = clock()
    with speed.autocast(images.device):
        logits = read(model, images)[0]
    logits.float().square().mean().backward()
    finish(images.device)
    return clock() - start


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    with torch.random.fork_rng():
        yield
