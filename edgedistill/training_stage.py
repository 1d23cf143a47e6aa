"""What the stages that train have in common: images in, a trained model and its history out."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config import Recipe
from edgedistill.distill.batches import Order, normalised
from edgedistill.distill.loop import Term, Training
from edgedistill.history import HistoryWriter
from edgedistill.images import Images
from edgedistill.measure import calibration_error, measures
from edgedistill.models.build import parameter_count, preprocess_of, resize_px_of
from edgedistill.models.weights import model_from_weights, save_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result, write_json
from edgedistill.sections import RunConfig, TrainingConfig
from jetson.preprocess import Preprocess, dict_from_preprocess

WEIGHTS = "weights.safetensors"


def spec_for(name: str, recipe: Recipe) -> Preprocess:
    """The run's frame with the mean and std of the named model's own config."""
    data = recipe.data
    resize_px = resize_px_of(recipe.student.model, data.image_px, data.crop_fraction)
    return preprocess_of(name, data.image_px, resize_px, data.interpolation)


def device_of(run: RunConfig) -> torch.device:
    """Choose where to train and how many threads to use; call it once, before any model."""
    if run.threads:
        torch.set_num_threads(run.threads)
    _keep_big_blocks()
    if run.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(run.device)


def logits_of(model: nn.Module, spec: Preprocess, frames, device: torch.device) -> np.ndarray:
    """(N, C) float32 logits of a model in eval mode over uint8 pieces (n, H, W, 3)."""
    model.eval().to(device)
    pieces = []
    with torch.no_grad():
        for images in frames:
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
            pieces.append(model(normalised(batch, spec)).float().cpu().numpy())
    return np.concatenate(pieces)


@dataclass(frozen=True)
class Subject:
    """What is trained: a network, where its weights come from, and the file they go to.

    Attributes:
        name: model.
        weights: source, as in the recipe.
        model: the network itself.
        number: 0 for a stage's first training; the others get their number in every file name.
        title: for progress lines.
        extra: modules trained along and thrown away.
    """

    name: str
    weights: str
    model: nn.Module
    number: int = 0
    title: str = ""
    extra: nn.Module | None = None

    @property
    def file(self) -> str:
        return f"weights-{self.number}.safetensors" if self.number else WEIGHTS


def train_and_save(
    context: StageContext,
    images: Images,
    subject: Subject,
    config: TrainingConfig,
    terms: Mapping[str, Term],
    views: int | None,
    device: torch.device,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Result:
    """Train, keep the last step's weights, and describe them with validation figures.

    A training that an interrupted stage has finished already is not done again.
    """
    record = context.out / f"trained-{subject.number}.json"
    files = (subject.file, record.name)
    if record.exists():
        kept = json.loads(record.read_text(encoding="utf-8"))
        return Result(kept["values"], files, kept["cost"])
    spec = spec_for(subject.name, context.recipe)
    drawn, _ = images.balance()
    order = Order(len(images.training), config.batch_size, config.seed, views, drawn)

    def validate(net: nn.Module) -> dict[str, Any]:
        found = _validation(net, spec, images, device)
        return {f"eval_{key}": found[key]
                for key in ("loss", "top1_fraction", "balanced_accuracy_fraction")}  # fmt: skip

    place = context.out / f"training-{subject.number}" if subject.number else context.out
    place.mkdir(exist_ok=True)
    history = HistoryWriter(place, context.recipe.run.tensorboard)

    def tell(row: dict[str, Any]) -> None:
        history(row)
        on_epoch(row)

    training = Training(
        subject.model, spec, images.training, order, terms, config, validate, device,
        checkpoint=place / "checkpoint.pt",
        checkpoint_seconds=context.recipe.run.checkpoint_seconds,
        on_epoch=tell, extra=subject.extra or nn.Identity(),
    )  # fmt: skip
    start = time.monotonic()
    rows = training.run(context.talk, subject.title or context.out.name.removesuffix(".partial"))
    seconds = time.monotonic() - start
    history.close()
    seen = order.steps_per_epoch * config.epochs * min(config.batch_size, len(images.training))
    cost = {"training_seconds": seconds, "images_per_second": seen / max(seconds, 1e-9)}
    values = _described(context, images, subject, config, order, rows, device)
    write_json(record, {"values": values, "cost": cost})
    training.checkpoint.unlink(missing_ok=True)
    return Result(values, files, cost)


def _described(
    context: StageContext, images: Images, subject: Subject, config: TrainingConfig, order: Order,
    rows: list[dict[str, Any]], device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """Save the weights and give what the stage's JSON says of them."""
    spec = spec_for(subject.name, context.recipe)
    preprocess = dict_from_preprocess(spec)
    about = {"model": subject.name, "classes": images.classes, "preprocess": preprocess}
    save_weights(subject.model, context.out / subject.file, about)
    return {
        "model": subject.name,
        "weights": subject.weights,
        "parameters": parameter_count(subject.model),
        "seed": config.seed,
        "epochs": config.epochs,
        "steps": order.steps_per_epoch * config.epochs,
        "preprocess": preprocess,
        "validation": _validation(subject.model, spec, images, device),
        "history": rows,
    }


def train_student_seeds(
    context: StageContext,
    images: Images,
    device: torch.device,
    taught_by: Callable[[nn.Module, int], tuple[Mapping[str, Term], nn.Module | None]],
) -> Result:
    """The student once for each seed of the recipe; the first one is the stage's own result.

    Args:
        taught_by: (new student, seed) -> terms of its loss, extra modules.

    Returns:
        Values of the first training, and under `seeds` one row for each.
    """
    distill, student = context.recipe.distill, context.recipe.student
    results = []
    for number in range(distill.seeds):
        seed = distill.seed + number
        model = new_network(student.model, student.weights, images.classes, seed)
        terms, extra = taught_by(model, seed)
        title = context.out.name.removesuffix(".partial") + (f" seed {seed}" if number else "")
        subject = Subject(student.model, student.weights, model, number, title, extra)
        config = distill.model_copy(update={"seed": seed})
        results.append(
            train_and_save(context, images, subject, config, terms, distill.views, device)
        )
    rows = [{"seed": result.values["seed"], "weights": result.files[0],
             "validation": result.values["validation"]} for result in results]  # fmt: skip
    files = tuple(name for result in results for name in result.files)
    return Result({**results[0].values, "seeds": rows}, files, results[0].cost)


def new_network(name: str, weights: str, classes: list[str], seed: int) -> nn.Module:
    """A network before training: equal bits for equal seeds, whoever teaches it."""
    torch.manual_seed(seed)
    return model_from_weights(name, weights, classes, will_train=True)


def _validation(
    model: nn.Module, spec: Preprocess, images: Images, device: torch.device
) -> dict[str, Any]:
    logits = logits_of(model, spec, images.frames("val"), device)
    labels = images.labels("val")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    loss = float((log_sum - shifted[np.arange(len(labels)), labels]).mean())
    return {
        "loss": loss,
        "calibration_error": calibration_error(logits, labels),
        **measures(logits, labels, images.classes),
    }


def _keep_big_blocks() -> None:
    """Let glibc keep freed blocks: by default every activation is mapped and faulted in anew."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except OSError:
        pass  # another C library: nothing to gain
