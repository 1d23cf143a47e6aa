"""What a training leaves on the disk, so that a killed one goes on from a step with the same bits."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.core.files import write_bytes
from edgedistill.errors import TrainingError, is_out_of_memory
from edgedistill.records.training import BestEpoch, Epoch, EpochRow, WentBack
from edgedistill.training.autotune import Speed


@dataclass
class State:
    """What a checkpoint holds beside the weights.

    Attributes:
        step: the next one.
        sums: of each term, over the epoch so far.
        history: of the finished epochs.
        lr_scale: of every learning rate; smaller once the training went back.
        went_back: see divergence.py.
        best: the best epoch so far, where its weights are kept.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[EpochRow] = field(default_factory=list)
    lr_scale: float = 1.0
    went_back: WentBack | None = None
    best: BestEpoch | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "history": [epoch.to_json() for epoch in self.history],
            "went_back": self.went_back and self.went_back.to_json(),
            "best": self.best and self.best.to_json(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], row: type[EpochRow] = Epoch) -> State:
        """
        Args:
            row: of the history.

        Raises:
            EdgeDistillError: a record in it is not of this release.
            TypeError: unknown keys.
        """
        state = cls(**values)
        state.history = [row.from_json(epoch, "an epoch of the history") for epoch in values["history"]]
        state.went_back = values["went_back"] and WentBack.from_json(values["went_back"], "went_back")
        state.best = values["best"] and BestEpoch.from_json(values["best"], "best")
        return state


@dataclass(frozen=True)
class Parts:
    """What an optimizer step changes."""

    model: nn.Module
    extra: nn.Module
    optimizer: torch.optim.Optimizer

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "extra": self.extra.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def copied(self) -> dict[str, Any]:
        """The same on the CPU, out of the way of further steps."""
        return copied(self.state())

    def put_back(self, kept: dict[str, Any]) -> None:
        self.model.load_state_dict(kept["model"])
        self.extra.load_state_dict(kept["extra"])
        self.optimizer.load_state_dict(kept["optimizer"])


def save(
    path: Path,
    parts: Parts,
    state: State,
    speed: Speed,
    epoch_start: dict[str, Any],
    best: dict[str, Tensor],
) -> None:
    """
    Args:
        epoch_start: `Parts.copied` of there, where a training that diverges goes back to; empty
            once it has.
        best: the model's weights after `state.best`; empty when none are kept.

    Raises:
        RunFolderError: the disk is full or refuses; the previous checkpoint is intact.
    """
    buffer = io.BytesIO()
    torch.save(
        {**parts.state(), "state": state.to_json(), "speed": [*speed], "epoch_start": epoch_start, "best": best}, buffer
    )
    write_bytes(path, buffer.getvalue())


def load(path: Path, device: torch.device, row: type[EpochRow] = Epoch) -> dict[str, Any]:
    """What `save` wrote; its `state` is a `State` with a history of such rows.

    Raises:
        TrainingError: damaged, or of another version.
    """
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        saved["state"] = State.from_json(saved["state"], row)
        Speed(*saved["speed"])
        for name in ("epoch_start", "best"):
            saved[name] = copied(saved[name])
    except Exception as error:  # torch raises a dozen types here, all mean the same to the user
        if isinstance(error, OSError) or is_out_of_memory(error):
            raise  # nothing is wrong with the file: do not have it removed
        raise misfit(path, error) from None
    return saved


def misfit(path: Path, error: Exception) -> TrainingError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return TrainingError(f"{path} does not fit this training ({reason}); remove it")


def copied(value: Any) -> Any:
    """Nested tensors on the CPU, on memory of their own."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value
