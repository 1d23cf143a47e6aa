"""The one training loop: teacher, baseline and student.

Everything a step does is a function of the step number, so a run that was killed goes on from
its last checkpoint and, on a CPU with the same thread count, ends with the same bits.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.distill.batches import Batch, Order, TrainingSet, made_ahead, normalised
from edgedistill.errors import TrainingError
from edgedistill.models.build import outputs
from edgedistill.run_folder import write_bytes
from edgedistill.sections import TrainingConfig
from edgedistill.talk import Talk
from jetson.preprocess import Preprocess


@dataclass(frozen=True)
class Term:
    """One named part of the loss.

    Attributes:
        value: (student logits, student features, batch) -> () tensor.
        weight: of the value; reached after `warmup_fraction` of the steps, from 0.
    """

    value: Callable[[Tensor, Tensor, Batch], Tensor]
    weight: float
    warmup_fraction: float = 0.0

    def weight_at(self, step: int, total_steps: int) -> float:
        warmup = self.warmup_fraction * total_steps
        return self.weight * min(1.0, (step + 1) / warmup) if warmup >= 1 else self.weight


@dataclass
class _State:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of each term, over the epoch so far
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Training:
    """One training, resumable.

    Attributes:
        model: trained in place; kept from its last step, never chosen by a score.
        spec: the model's preprocessing.
        images: training images; `order` says which come when.
        terms: name -> Term.
        config: epochs, learning rate, seed.
        evaluate: called after each epoch, gives JSON-able figures for the history.
        checkpoint: file to resume from, or None to keep none.
        on_epoch: told each row of the history.
        extra: modules that are trained along and thrown away (projectors).
    """

    model: nn.Module
    spec: Preprocess
    images: TrainingSet
    order: Order
    terms: Mapping[str, Term]
    config: TrainingConfig
    evaluate: Callable[[nn.Module], dict[str, Any]]
    device: torch.device
    checkpoint: Path | None = None
    checkpoint_seconds: float = 20.0
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None
    extra: nn.Module = field(default_factory=nn.Identity)

    def run(self, talk: Talk, title: str) -> list[dict[str, Any]]:
        """Train to the end; returns the history, one row an epoch.

        Raises:
            TrainingError: a loss that is not finite, or a checkpoint of another training.
        """
        self.model.to(self.device, memory_format=torch.channels_last)
        self.extra.to(self.device)
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.config.peak_lr)
        per_epoch = self.order.steps_per_epoch
        total = per_epoch * self.config.epochs
        state = self._resume(optimizer, total)
        steps = self.order.steps(state.step, total)
        saved_at = time.monotonic()
        with talk.progress(title, total, state.step) as show:
            for batch in made_ahead(lambda job: self.images.batch(*job), steps):
                self._step(batch, optimizer, state, total)
                state.step += 1
                show(
                    state.step,
                    f"loss {state.sums['loss'] / (1 + (state.step - 1) % per_epoch):.3f}",
                )
                if state.step % per_epoch == 0:
                    self._end_epoch(state, per_epoch, talk, title)
                if time.monotonic() - saved_at >= self.checkpoint_seconds:
                    self._save(optimizer, state)
                    saved_at = time.monotonic()
        self.model.eval()
        return state.history

    def _step(
        self, batch: Batch, optimizer: torch.optim.Optimizer, state: _State, total: int
    ) -> None:
        """One optimizer step; adds each term's value to the epoch's sums."""
        torch.manual_seed((self.config.seed << 32) + state.step)  # dropout: a function of the step
        lr = lr_at(state.step, total, self.config.warmup_fraction, self.config.peak_lr)
        for group in optimizer.param_groups:
            group["lr"] = lr
        batch = Batch(
            batch.images.to(self.device), batch.labels.to(self.device), batch.positions, batch.views
        )
        self.model.train()
        logits, features = outputs(self.model, normalised(batch.images, self.spec))
        values = {name: term.value(logits, features, batch) for name, term in self.terms.items()}
        loss = sum(
            (
                self.terms[name].weight_at(state.step, total) * value
                for name, value in values.items()
            ),
            start=torch.zeros((), device=self.device),
        )
        if not torch.isfinite(loss):
            parts = ", ".join(f"{name} {value.item():.4g}" for name, value in values.items())
            raise TrainingError(
                f"the loss is not finite at step {state.step} ({parts}); lower peak_lr, or look at "
                "the images and labels of that step"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, value in {**values, "loss": loss}.items():
            state.sums[name] = state.sums.get(name, 0.0) + value.item()

    def _end_epoch(self, state: _State, per_epoch: int, talk: Talk, title: str) -> None:
        epoch = state.step // per_epoch
        means = {name: value / per_epoch for name, value in state.sums.items()}
        lr = lr_at(state.step - 1, per_epoch * self.config.epochs,
                   self.config.warmup_fraction, self.config.peak_lr)  # fmt: skip
        self.model.eval()
        row = {"epoch": epoch, "train_loss": means.pop("loss"), "terms": means, "lr": lr,
               **self.evaluate(self.model)}  # fmt: skip
        state.sums = {}
        state.history.append(row)
        self.on_epoch(row)
        terms = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        talk.say(f"  {title} epoch {epoch}/{self.config.epochs}: {terms}, validation top-1 "
                 f"{row['eval_top1_fraction']:.3f}, balanced {row['eval_balanced_accuracy_fraction']:.3f}")  # fmt: skip

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay on matrices and kernels, not on biases and norms."""
        named = [*self.model.parameters(), *self.extra.parameters()]
        decayed = [p for p in named if p.ndim > 1]
        others = [p for p in named if p.ndim <= 1]
        return [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]

    def _save(self, optimizer: torch.optim.Optimizer, state: _State) -> None:
        if self.checkpoint is None:
            return
        buffer = io.BytesIO()
        torch.save(
            {"model": self.model.state_dict(), "extra": self.extra.state_dict(),
             "optimizer": optimizer.state_dict(), "state": vars(state)},
            buffer,
        )  # fmt: skip
        write_bytes(self.checkpoint, buffer.getvalue())

    def _resume(self, optimizer: torch.optim.Optimizer, total: int) -> _State:
        if self.checkpoint is None or not self.checkpoint.exists():
            return _State()
        try:
            saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.extra.load_state_dict(saved["extra"])
            optimizer.load_state_dict(saved["optimizer"])
            state = _State(**saved["state"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{self.checkpoint} does not fit this training ({str(error).splitlines()[0]}); remove it"
            ) from None
        for row in state.history:
            self.on_epoch(row)
        return state


def lr_at(step: int, total_steps: int, warmup_fraction: float, peak_lr: float) -> float:
    """Learning rate of a step: linear rise to `peak_lr`, then a cosine down to 0.

    Args:
        step: 0..total_steps-1.
        warmup_fraction: share of total_steps that rises.
    """
    warmup = round(warmup_fraction * total_steps)
    if step < warmup:
        return peak_lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    return 0.5 * peak_lr * (1 + math.cos(math.pi * progress))
