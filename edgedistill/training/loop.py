"""The one training loop: teacher, baseline and student, on one process or under `torchrun`.

Everything a step does is a function of the step number, so a run that was killed goes on from
its last checkpoint and, on a CPU with the same thread count, ends with the same bits. N ranks
take N equal parts of the same batches and follow the trajectory of one process. What happens to
one that diverges is in divergence.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from edgedistill.config.training import TrainingConfig
from edgedistill.core import distributed
from edgedistill.models.build import outputs
from edgedistill.progress.reporter import Talk
from edgedistill.records.training import BestEpoch, Epoch, EpochRow, WentBack
from edgedistill.training import checkpoint
from edgedistill.training.autotune import FIXED, Speed, fastest, speed_of
from edgedistill.training.batches import Batch, Order, TrainingSet, normalised, sent_ahead
from edgedistill.training.checkpoint import Parts, State
from edgedistill.training.compiled import Passes, compiled, compiled_where_it_pays
from edgedistill.training.divergence import OTHERS, go_back, keep_batch, told_alike
from edgedistill.training.schedule import steps_of
from edgedistill.training.sync_batch_norm import synchronise_batch_norms
from edgedistill.training.unread import Unread
from edgedistill_device.preprocess_spec import Preprocess


class Outputs(NamedTuple):
    """What a student says to a batch.

    Attributes:
        logits: (N, C).
        features: (N, F), pooled.
        maps: (N, C_i, H_i, W_i) each, where the student is tapped.
    """

    logits: Tensor
    features: Tensor
    maps: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Term:
    """One named part of the loss.

    Attributes:
        value: (student's outputs, batch) -> () tensor, of this rank's part of the batch, such that
            the mean over ranks is the whole batch's.
        weight: of the value; reached after `warmup_fraction` of the steps, from 0.
    """

    value: Callable[[Outputs, Batch], Tensor]
    weight: float
    warmup_fraction: float = 0.0

    def weight_at(self, step: int, total_steps: int) -> float:
        warmup = self.warmup_fraction * total_steps
        return self.weight * min(1.0, (step + 1) / warmup) if warmup >= 1 else self.weight


class _Network(nn.Module):
    """A model whose forward gives all that the loss asks for: what DDP wants to wrap."""

    def __init__(self, model: nn.Module, read: Callable[[nn.Module, Tensor], Any]):
        super().__init__()
        self.model, self._read = model, read

    def forward(self, images: Tensor) -> Any:
        return self._read(self.model, images)


@dataclass
class Training:
    """One training, resumable.

    Attributes:
        model: trained in place.
        spec: the model's preprocessing.
        images: training images; `order` says which come when.
        terms: name -> Term.
        config: learning rate, seed, and how many steps, see `schedule.steps_of`.
        evaluate: called after each epoch, gives the fields `eval_...` of `Epoch`; the last epoch may be a part of one.
        checkpoint: file to resume from, or None to keep none.
        on_epoch: called with each finished epoch; after a resume with the earlier ones first.
        on_step: called after each step, before its numbers are read; on a GPU it may still be at work.
        extra: modules that are trained along and thrown away (projectors).
        read: (model, images) -> logits, features and perhaps maps, in one forward pass.
        precision: `mixed`, `fp32`, `bf16`, or `auto`: whatever is measured to be fastest here at the start.
        metric: by which the view names the best epoch so far.
        row: of the history, with the fields that `evaluate` gives.
        keep: `last`, or `best`: weights of the epoch with the best `metric`, of equal ones the latest.
        best: epoch and value of that epoch, after `run`; None when the last one is kept.
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
    on_epoch: Callable[[EpochRow], None] = lambda epoch: None
    on_step: Callable[[], None] = lambda: None
    extra: nn.Module = field(default_factory=nn.Identity)
    read: Callable[[nn.Module, Tensor], Any] = outputs
    precision: str = "fp32"
    metric: str = "top1_fraction"
    keep: str = "last"
    row: type[EpochRow] = Epoch
    best: BestEpoch | None = field(default=None, init=False)
    speed: Speed = field(default=FIXED, init=False)
    went_back: WentBack | None = field(default=None, init=False)
    _best_weights: dict[str, Tensor] = field(default_factory=dict, init=False)

    def run(self, talk: Talk, title: str) -> list[EpochRow]:
        """Train to the end; returns the history.

        Raises:
            TrainingError: a loss that is not finite for the second time, or a checkpoint of
                another training.
            RecipeError: a batch that does not divide by the number of ranks.
        """
        own = distributed.share_of(min(self.config.batch_size, self.order.epoch_images))
        self.model.to(self.device)
        self.extra.to(self.device)
        saved = self._saved()
        self.speed = self._speed(saved, talk, title)
        self.model.to(memory_format=self.speed.memory_format)
        per_epoch = self.order.steps_per_epoch
        total = steps_of(self.config, per_epoch)
        network = self._network(saved, total, lambda line: talk.say(f"  {title}: {line}"))
        optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.config.peak_lr, fused=True)
        state = self._resumed(saved, optimizer)
        parts = Parts(self.model, self.extra, optimizer)
        epoch_start = saved["epoch_start"] if saved else parts.copied()
        saved_at = time.monotonic()
        with talk.progress(title, total, state.step, **self._shown(total, state)) as show:
            while state.step < total:
                steps = ((positions[own], views[own]) for positions, views in self.order.steps(state.step, total))
                unread = Unread(self.device, list(self.terms))
                for batch, sent in sent_ahead(self.images.batches(steps), self.device):
                    unread.add(batch, *self._step(network, sent, optimizer, state, total))
                    state.step += 1
                    self.on_step()
                    in_epoch = 1 + (state.step - 1) % per_epoch
                    epoch_ends = in_epoch == per_epoch or state.step == total
                    if not (epoch_ends or unread.is_full):
                        continue
                    wrong = unread.read(state)
                    if wrong is not None:
                        talk.say(f"  {title}: {self._gone_back(*wrong, state)}")
                        parts.put_back(epoch_start)
                        epoch_start = {}
                        break
                    show(state.step, {name: value / in_epoch for name, value in state.sums.items()})
                    if epoch_ends:
                        self._end_epoch(state, in_epoch, optimizer)
                        show.end_epoch(state.history[-1].to_json())
                        ended = state.step == total  # from there nothing goes back
                        epoch_start = {} if state.went_back or ended else parts.copied()
                    if time.monotonic() - saved_at >= self.checkpoint_seconds:
                        self._save(parts, state, epoch_start)
                        saved_at = time.monotonic()
        self.model.eval()
        if state.best is not None:
            self.model.load_state_dict(self._best_weights)
        self.went_back, self.best = state.went_back, state.best
        return state.history

    def _shown(self, total: int, state: State) -> dict[str, Any]:
        """What the view of this training needs beside its steps."""
        return {
            "unit": "step",
            "images_each": min(self.config.batch_size, self.order.epoch_images),
            "epochs": -(-total // self.order.steps_per_epoch),
            "history": [epoch.to_json() for epoch in state.history],
            "metric": self.metric,
        }

    def _network(self, saved: dict[str, Any] | None, steps: int, say: Callable[[str], None]) -> nn.Module:
        """
        Args:
            steps: of the whole training.
        """
        network = _Network(self.model, self.read)
        if distributed.world() > 1:
            synchronise_batch_norms(self.model)
            return nn.parallel.DistributedDataParallel(network)
        if not (self.speed.compiled if saved else self.precision == "auto" and self.read is outputs):
            return network  # another `read` hangs hooks on the model, which would be compiled anew in each step
        passes = Passes(network, self._some_pixels(), self.speed)
        made = compiled(passes, say) if saved else compiled_where_it_pays(passes, steps, say)
        self.speed = self.speed._replace(compiled=made is not None)
        return network if made is None else made[0]

    def _speed(self, saved: dict[str, Any] | None, talk: Talk, title: str) -> Speed:
        """As before an interruption: another number of threads would give other bits."""
        if saved is None:
            return self._fastest(talk, title)._replace(threads=torch.get_num_threads())
        speed = Speed(*saved["speed"])
        if speed.threads:
            torch.set_num_threads(speed.threads)
        return speed._replace(bfloat16=False) if self.precision == "fp32" else speed

    def _fastest(self, talk: Talk, title: str) -> Speed:
        if self.precision != "auto":
            return speed_of(self.precision, self.device)
        pixels = self._some_pixels()
        choice, told = distributed.agreed(lambda: fastest(self.model, self.read, pixels))
        talk.say(f"  {title}: {told}")
        return Speed(*choice)

    def _some_pixels(self) -> Tensor:
        """(N, 3, H, W) float32: a batch to measure on."""
        count = min(self.config.batch_size, len(self.images)) // distributed.world()
        images = self.images.batch(np.arange(count), np.zeros(count, np.int64)).images
        return normalised(images.to(self.device), self.spec)

    def _step(
        self,
        network: nn.Module,
        batch: Batch,
        optimizer: torch.optim.Optimizer,
        state: State,
        total: int,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """One optimizer step, which waits for no number of a GPU.

        Args:
            batch: on the device.

        Returns:
            Each term's value, the loss, and the norm of all gradients, in which one that overflows is not finite.
        """
        # Dropout is a function of these three. Hashed: torch takes 32 bits of a wider seed.
        entropy = np.random.SeedSequence((self.config.seed, state.step, distributed.rank()))
        torch.manual_seed(int(entropy.generate_state(1)[0]))
        lr = lr_at(state.step, total, self.config.warmup_fraction, self.config.peak_lr)
        for group in optimizer.param_groups:
            group["lr"] = lr * state.lr_scale
        network.train()
        pixels = normalised(batch.images, self.spec).to(memory_format=self.speed.memory_format)
        with self.speed.autocast(self.device):
            outputs = Outputs(*network(pixels))
        values = {name: term.value(outputs, batch) for name, term in self.terms.items()}
        loss = sum(
            (self.terms[name].weight_at(state.step, total) * value for name, value in values.items()),
            start=torch.zeros((), device=self.device),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._average_extra_gradients()
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()
        return list(values.values()), loss, norm

    def _average_extra_gradients(self) -> None:
        """Over ranks; DDP does it for the model, projectors stand beside it and are small."""
        if distributed.world() > 1:
            for parameter in self.extra.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= distributed.world()

    def _gone_back(self, wrong: str, batch: Batch, state: State) -> str:
        batch_file = None
        if self.checkpoint is not None and not wrong.startswith(OTHERS):
            batch_file = keep_batch(self.checkpoint.parent, state.step, batch, self.images.sha256s)
        return go_back(state, self.order.steps_per_epoch, *told_alike(wrong, batch_file))

    def _end_epoch(self, state: State, steps: int, optimizer: torch.optim.Optimizer) -> None:
        """
        Args:
            steps: of this epoch.
        """
        epoch = len(state.history) + 1
        means = {name: distributed.mean_over_ranks(value / steps) for name, value in state.sums.items()}
        self.model.eval()
        finished = self.row(
            epoch=epoch,
            train_loss=means.pop("loss"),
            terms=means,
            lr=optimizer.param_groups[0]["lr"],
            **distributed.agreed(lambda: self.evaluate(self.model)),
        )
        state.sums = {}
        state.history.append(finished)
        value = finished.metric(self.metric)
        if self.keep == "best" and (state.best is None or value >= state.best.value):
            state.best = BestEpoch(epoch=epoch, value=value)
            self._best_weights = checkpoint.copied(self.model.state_dict())
        self.on_epoch(finished)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """No weight decay on biases, norms, and what a network names, like position embeddings."""
        return [
            group
            for module in (self.model, self.extra)
            for group in param_groups_weight_decay(
                module, self.config.weight_decay, no_weight_decay_list=getattr(module, "no_weight_decay", tuple)()
            )
        ]

    def _save(self, parts: Parts, state: State, epoch_start: dict[str, Any]) -> None:
        if self.checkpoint is not None and distributed.is_first():
            checkpoint.save(self.checkpoint, parts, state, self.speed, epoch_start, self._best_weights)

    def _saved(self) -> dict[str, Any] | None:
        """The checkpoint, with the networks' weights put in; every rank reads the one file."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        saved = checkpoint.load(self.checkpoint, self.device, self.row)
        try:
            self.model.load_state_dict(saved["model"])
            self.extra.load_state_dict(saved["extra"])
        except (RuntimeError, KeyError) as error:
            raise checkpoint.misfit(self.checkpoint, error) from None
        return saved

    def _resumed(self, saved: dict[str, Any] | None, optimizer: torch.optim.Optimizer) -> State:
        if saved is None or self.checkpoint is None:
            return State()
        try:
            optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise checkpoint.misfit(self.checkpoint, error) from None
        state: State = saved["state"]
        self._best_weights = saved["best"]
        for epoch in state.history:
            self.on_epoch(epoch)
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
