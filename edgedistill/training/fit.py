"""What the stages that train have in common: images in, a trained model and its history out."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config.deployment import RunConfig
from edgedistill.config.recipe import Recipe
from edgedistill.config.task import CLASSIFICATION, Task, weights_note
from edgedistill.config.training import NetConfig, StudentConfig, TrainingConfig
from edgedistill.core import distributed
from edgedistill.core.files import remove, write_json
from edgedistill.core.prefetch import cores
from edgedistill.errors import TrainingError
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.models.build import outputs, parameter_count, preprocess_of, resize_px_of
from edgedistill.models.weights import model_from_weights, save_weights
from edgedistill.progress.reporter import Talk
from edgedistill.records.artifacts import epoch_kind, network_kind
from edgedistill.records.evaluation import ValidationFigures
from edgedistill.records.layout import TRAINED, WEIGHTS
from edgedistill.records.outputs import OutputValidation
from edgedistill.records.training import BestEpoch, EpochRow, TrainedNetwork, WentBack
from edgedistill.training.batches import Order, TrainingSet, normalised, sent
from edgedistill.training.history import HistoryWriter
from edgedistill.training.images import Images
from edgedistill.training.loop import Term, Training
from edgedistill.training.schedule import steps_of
from edgedistill.training.threads import fastest_threads
from edgedistill_device.preprocess_spec import Preprocess, dict_from_preprocess

CHECKPOINT = "checkpoint.pt"


def spec_for(name: str, recipe: Recipe) -> Preprocess:
    """The run's frame with the mean and std of the named model's own config."""
    data = recipe.data
    resize_px = resize_px_of(recipe.student.model, data.image_px, data.crop_fraction, data.fit)
    return preprocess_of(name, data.image_px, resize_px, data.interpolation, data.fit, data.sixteen_bit_range)


def device_of(run: RunConfig, say: Callable[[str], None] = lambda line: None) -> torch.device:
    """Choose where to train and how many threads to use; call it before any model.

    Args:
        say: told when fewer threads than cores are taken.
    """
    _keep_big_blocks()
    on_cpu = computes_on_cpu(run)
    if run.threads:
        torch.set_num_threads(run.threads)
    elif on_cpu and "OMP_NUM_THREADS" not in os.environ:  # whoever sets it has chosen; torchrun does
        count, told = fastest_threads(cores())
        if count < cores():
            say(f"  {told}")
    return torch.device("cpu") if on_cpu else torch.device("cuda", distributed.local_rank())


def computes_on_cpu(run: RunConfig) -> bool:
    """Whether `run.device` comes to a CPU on this computer."""
    return run.device == "cpu" or (run.device == "auto" and not torch.cuda.is_available())


def logits_of(model: nn.Module, spec: Preprocess, frames, device: torch.device) -> np.ndarray:
    """(N, C) float32 outputs of a model in eval mode over uint8 pieces (n, H, W, 3): logits, or
    the embedding of a network without classes. Computed in float32, whatever the training's precision."""
    return _over_pieces(model, model, spec, frames, device)


def pooled_of(model: nn.Module, spec: Preprocess, frames, device: torch.device) -> np.ndarray:
    """(N, F) float32 pooled features of a model in eval mode, as `logits_of`."""
    return _over_pieces(model, lambda batch: outputs(model, batch)[1], spec, frames, device)


def _over_pieces(
    model: nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    spec: Preprocess,
    frames,
    device: torch.device,
) -> np.ndarray:
    model.eval().to(device)
    pieces = []
    with torch.no_grad():
        for images in frames:
            batch = sent(torch.from_numpy(images).permute(0, 3, 1, 2), device)
            pieces.append(forward(normalised(batch, spec)).float())
    return torch.cat(pieces).cpu().numpy()  # read once: to read each piece of a GPU is to wait for it


@dataclass(frozen=True)
class Lesson:
    """What a network is trained on and against.

    Attributes:
        images: training set.
        terms: name -> part of the loss.
        draws: images an epoch, None for each once.
        extra: modules that are trained along and thrown away.
        read: gives the network's outputs, as `Training.read`.
        chosen: positions of the images that are learnt from; None for all.
    """

    images: TrainingSet
    terms: Mapping[str, Term]
    draws: int | None = None
    extra: nn.Module | None = None
    read: Callable[[nn.Module, torch.Tensor], Any] = outputs
    chosen: np.ndarray | None = None


@dataclass(frozen=True)
class Subject:
    """What is trained: a network, where its weights come from, and the file they go to.

    Attributes:
        name: model.
        weights: source, as in the recipe.
        model: the network itself.
        lesson: what it is trained on and against.
        number: 0 for a stage's first training; the others get their number in every file name.
        title: for progress lines.
        first_view: of its stream that it sees.
        task: what it is trained to do.
    """

    name: str
    weights: str
    model: nn.Module
    lesson: Lesson
    number: int = 0
    title: str = ""
    first_view: int = 0
    task: Task = CLASSIFICATION

    @property
    def file(self) -> str:
        return f"weights-{self.number}.safetensors" if self.number else WEIGHTS


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        network: what the stage's JSON says of it.
        file: its weights, in the stage's folder.
        cost: seconds and rates.
    """

    network: TrainedNetwork
    file: str
    cost: dict[str, Any]


def train_and_save(
    images: Images,
    subject: Subject,
    config: TrainingConfig,
    views: int | None,
    device: torch.device,
    out: Path,
    talk: Talk,
    on_epoch: Callable[[EpochRow], None] = lambda epoch: None,
) -> Trained:
    """Train, keep the weights that `distill.keep` asks for, and describe them with validation figures.

    A training that an interrupted stage has finished already is not done again. Under `torchrun`
    all ranks train, the first one writes, and all get the same result.

    Args:
        views: of each image that are seen again and again; None for a new one each epoch.
        out: the stage's folder.
        on_epoch: called with each finished epoch.
    """
    record = out / TRAINED.format(subject.number)
    place = out / f"training-{subject.number}" if subject.number else out
    if not distributed.agreed(record.exists):
        _train(images, subject, config, views, device, record, place, talk, on_epoch)
    if distributed.is_first():  # here: a kill may come between the record and this
        remove(place / CHECKPOINT)
    stored = distributed.agreed(lambda: json.loads(record.read_text(encoding="utf-8")))
    network = network_kind(subject.task).from_json(stored["values"], str(record))
    return Trained(network, subject.file, stored["cost"])  # not measured again: the file holds times


def _train(
    images: Images,
    subject: Subject,
    config: TrainingConfig,
    views: int | None,
    device: torch.device,
    record: Path,
    place: Path,
    talk: Talk,
    on_epoch: Callable[[EpochRow], None],
) -> None:
    """Leaves the weights beside `record` and, last, that; checkpoint and history in `place`.

    Raises:
        FileNotFoundError: the stage's folder is gone: another process finished it. It is not made anew.
    """
    if subject.number:
        place.mkdir(exist_ok=True)
    elif not place.is_dir():
        raise FileNotFoundError(place)
    title = subject.title or record.parent.name.removesuffix(".partial")
    history = HistoryWriter(place, title, images.recipe, talk.say) if distributed.is_first() else None

    def tell(epoch: EpochRow) -> None:
        if history is not None:
            history(epoch)
        on_epoch(epoch)

    training = training_of(images, subject, config, views, device)
    training.checkpoint, training.on_epoch = place / CHECKPOINT, tell
    start = time.monotonic()
    epochs = training.run(talk, title)
    seconds = time.monotonic() - start
    if history is None:
        return
    history.close()
    steps = steps_of(config, training.order.steps_per_epoch)
    network = described(
        images, subject, record.with_name(subject.file), device, config.seed, len(epochs), steps, epochs
    )
    network = network_kind(subject.task)(**network.given(), **_events(training))
    seen = steps * min(config.batch_size, training.order.epoch_images)
    write_json(record, {"values": network.to_json(), "cost": _cost(seconds, seen, training)})


def training_of(
    images: Images, subject: Subject, config: TrainingConfig, views: int | None, device: torch.device
) -> Training:
    """The training of `subject` before its first step, validated on the validation images; it keeps no checkpoint.

    Args:
        views: as of `train_and_save`.
    """
    recipe, lesson = images.recipe, subject.lesson
    spec = spec_for(subject.name, recipe)
    drawn = images.drawn(lesson.images)
    order = Order(
        len(lesson.images),
        config.batch_size,
        config.seed,
        views,
        drawn,
        lesson.draws,
        subject.first_view,
        lesson.chosen,
    )

    def validate(net: nn.Module) -> dict[str, Any]:
        outputs = _outputs(net, spec, images, device)
        figures = evaluator_of(subject.task, images.values).epoch(outputs, images.targets("val"), images.classes)
        return {f"eval_{name}": figure for name, figure in figures.items()}

    return Training(
        subject.model,
        spec,
        lesson.images,
        order,
        lesson.terms,
        config,
        validate,
        device,
        checkpoint_seconds=recipe.run.checkpoint_seconds,
        extra=lesson.extra or nn.Identity(),
        read=lesson.read,
        precision=recipe.run.precision,
        metric=recipe.data.metric,
        keep=recipe.distill.keep,
        row=epoch_kind(subject.task),
    )


def _events(training: Training) -> dict[str, Any]:
    """What happened in this training and not in every one."""
    events: dict[str, WentBack | BestEpoch] = {}
    if training.went_back is not None:
        events["went_back"] = training.went_back
    if training.best is not None:
        events["best"] = training.best
    return events


def _cost(seconds: float, images: int, training: Training) -> dict[str, Any]:
    return {
        "training_seconds": seconds,
        "images_per_second": images / max(seconds, 1e-9),
        "processes": distributed.world(),
        "speed": str(training.speed),
    }


def described(
    images: Images,
    subject: Subject,
    file: Path,
    device: torch.device,
    seed: int,
    epochs: int,
    steps: int,
    history: list[EpochRow],
) -> TrainedNetwork:
    """Save the weights as `file` and give what the stage's JSON says of them."""
    spec = spec_for(subject.name, images.recipe)
    preprocess = dict_from_preprocess(spec)
    about = {"model": subject.name, "classes": images.classes, "preprocess": preprocess, **weights_note(subject.task)}
    save_weights(subject.model, file, about)
    kind: Any = network_kind(subject.task)
    return kind(
        model=subject.name,
        weights=subject.weights,
        parameters=parameter_count(subject.model),
        training_images=len(subject.lesson.images if subject.lesson.chosen is None else subject.lesson.chosen),
        class_weights=images.named_class_weights(),
        preprocess=preprocess,
        validation=_validation(subject.model, subject.task, spec, images, device),
        seed=seed,
        epochs=epochs,
        steps=steps,
        history=history,
    )


def new_network(
    net: StudentConfig | NetConfig,
    classes: list[str],
    seed: int,
    task: Task = CLASSIFICATION,
    say: Callable[[str], None] = lambda line: None,
) -> nn.Module:
    """A network before training: equal bits for equal seeds, with or without a teacher."""
    torch.manual_seed(seed)
    return model_from_weights(
        net.model,
        net.weights,
        classes,
        will_train=True,
        task=task,
        class_names=net.classes,
        section="student",
        say=say,
    )


def _validation(
    model: nn.Module, task: Task, spec: Preprocess, images: Images, device: torch.device
) -> ValidationFigures | OutputValidation:
    """On validation images, as the task measures them."""
    outputs = _outputs(model, spec, images, device)
    return evaluator_of(task, images.values).validation(outputs, images.targets("val"), images.classes)


def _outputs(model: nn.Module, spec: Preprocess, images: Images, device: torch.device) -> np.ndarray:
    """Of the validation images.

    Raises:
        TrainingError: outputs that are not finite.
    """
    outputs = logits_of(model, spec, images.frames("val"), device)
    if not np.isfinite(outputs).all():
        raise TrainingError("the outputs on validation images are not finite; lower peak_lr, or take other weights")
    return outputs


def _keep_big_blocks() -> None:
    """Let glibc keep freed blocks: by default every activation is mapped and faulted in again."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except OSError:
        pass  # another C library: nothing to gain
