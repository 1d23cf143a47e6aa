"""`torch.compile` of a training's network: tried at the start, taken where the steps to come repay the compiling."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edgedistill.training.autotune import ROUNDS, WORTH_IT, Speed, finish

WORTH_TRYING_S = 600.0  # of steps to come, below which it is not tried: to compile takes a minute and more


@dataclass(frozen=True)
class Passes:
    """Forward and backward passes over one batch, which leave the network as it was.

    Attributes:
        network: gives logits first.
        images: (N, 3, H, W) float32, a real batch on the device of the training.
        speed: how the network computes.
    """

    network: nn.Module
    images: Tensor
    speed: Speed
    clock: Callable[[], float] = time.perf_counter

    def seconds(self, network: nn.Module) -> list[float]:
        """Of one pass, which may make kernels, and of ROUNDS further ones.

        Args:
            network: the network itself, or made of it by `torch.compile`.
        """
        before = copy.deepcopy(self.network.state_dict())
        try:
            with torch.random.fork_rng():
                return [self._pass(network) for _ in range(ROUNDS + 1)]
        finally:
            self.network.load_state_dict(before)
            self.network.zero_grad(set_to_none=True)

    def _pass(self, network: nn.Module) -> float:
        images = self.images.to(memory_format=self.speed.memory_format)
        network.train()
        finish(images.device)
        start = self.clock()
        with self.speed.autocast(images.device):
            logits = network(images)[0]
        logits.float().square().mean().backward()
        finish(images.device)
        return self.clock() - start


def compiled(passes: Passes, say: Callable[[str], None]) -> tuple[nn.Module, list[float]] | None:
    """The network compiled, forward and backward, and `Passes.seconds` of it; None, and a line, where that fails."""
    network = cast(nn.Module, torch.compile(passes.network))
    try:
        return network, passes.seconds(network)
    except Exception as error:  # the compilers behind it raise dozens of types
        say(f"torch.compile failed, trains without it ({' '.join(str(error).split())[:200]})")
        return None


def compiled_where_it_pays(
    passes: Passes, steps: int, say: Callable[[str], None]
) -> tuple[nn.Module, list[float]] | None:
    """As `compiled`, None also where the network is to stay as it is.

    Args:
        steps: to come.
        say: told why, in one line.
    """
    eager = statistics.median(passes.seconds(passes.network)[1:])
    if eager * steps < WORTH_TRYING_S:
        say(f"torch.compile is not tried for {steps} steps of {1e3 * eager:.3g} ms")
        return None
    made = compiled(passes, say)
    if made is None:
        return None
    first, fast = made[1][0], statistics.median(made[1][1:])
    pays = WORTH_IT * (first + fast * steps) <= eager * steps
    rates = f"{len(passes.images) / fast:.0f} images/s, {len(passes.images) / eager:.0f} without"
    say(f"torch.compile took {first:.0f} s, then {rates}: {'taken' if pays else 'not taken'} for {steps} steps")
    return made if pays else None
