"""Numbers of the latest steps, left on the device and read together: to read one of a GPU is to wait for it."""

from __future__ import annotations

import torch
from torch import Tensor

from edgedistill.training.batches import Batch
from edgedistill.training.checkpoint import State
from edgedistill.training.divergence import first_wrong

STEPS = {"cuda": 16}  # that may be unread; elsewhere each is read when it is done


class Unread:
    """Steps of one epoch that are done, and what they say of themselves.

    Args:
        names: of the loss terms.
    """

    def __init__(self, device: torch.device, names: list[str]):
        self._names, self._most = names, STEPS.get(device.type, 1)
        self._batches: list[Batch] = []
        self._numbers: list[Tensor] = []

    @property
    def is_full(self) -> bool:
        return len(self._batches) >= self._most

    def add(self, batch: Batch, values: list[Tensor], loss: Tensor, gradient_norm: Tensor) -> None:
        """
        Args:
            batch: on the CPU.
            values: () of each term, in the order of the names.
            loss: ().
            gradient_norm: (), of all gradients.
        """
        self._batches.append(batch)
        self._numbers.append(torch.stack([value.detach().float() for value in (*values, loss, gradient_norm)]))

    def read(self, state: State) -> tuple[str, Batch] | None:
        """Add each term's values to the epoch's sums; nothing is unread afterwards.

        Args:
            state: its `step` is the next one; after a step that went wrong, that step.

        Returns:
            None, or what is not finite in the first such step, and its batch.
        """
        rows, batches = torch.stack(self._numbers).tolist(), self._batches
        self._batches, self._numbers = [], []
        wrong = first_wrong([(loss, norm) for *_, loss, norm in rows])
        whole = len(rows) if wrong is None else wrong[0]
        for row in rows[:whole]:
            for name, value in zip((*self._names, "loss"), row, strict=False):
                state.sums[name] = state.sums.get(name, 0.0) + value
        if wrong is None:
            return None
        state.step -= len(rows) - whole
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(self._names, rows[whole], strict=False))
        return f"{wrong[1]} is not finite at step {state.step} ({values})", batches[whole]
