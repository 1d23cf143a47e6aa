"""What the stages that train have in common: images in, a trained model and its history out."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config import Recipe, RunConfig, TrainingConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.balance import class_weights, sample_weights
from edgedistill.data.pixels import PixelCache
from edgedistill.data.table import ImageTable, read_table
from edgedistill.distill.batches import Order, TrainingSet, normalised, validation_images
from edgedistill.distill.logit_cache import image_list_digest
from edgedistill.distill.loop import Term, Training
from edgedistill.history import HistoryWriter
from edgedistill.measure import measures
from edgedistill.models.build import parameter_count, preprocess_of, resize_px_of
from edgedistill.models.weights import save_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from jetson.preprocess import Preprocess, dict_from_preprocess

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Images:
    """The run's images: their table, their decoded pixels, and how training views are made."""

    table: ImageTable
    pixels: PixelCache
    training: TrainingSet
    data: Any  # the recipe's [data]

    @property
    def classes(self) -> list[str]:
        return self.table.classes

    def rows(self, split: str) -> np.ndarray:
        return self.table.rows(split)

    def labels(self, split: str) -> np.ndarray:
        return self.table.labels[self.table.rows(split)]

    def frames(self, split: str):
        """uint8 pieces (n, H, W, 3), framed as on the board."""
        return validation_images(self.pixels, self.rows(split), self.data.image_px)

    def balance(self) -> tuple[np.ndarray | None, torch.Tensor | None]:
        """Weights for drawing images and for the classes' losses, as the recipe asks."""
        labels, count = self.training.labels, len(self.classes)
        drawn = sample_weights(labels) if self.data.balance == "sample" else None
        weighed = class_weights(labels, count) if self.data.balance == "loss" else None
        return drawn, None if weighed is None else torch.tensor(weighed, dtype=torch.float32)

    def belongs_to(self) -> dict[str, Any]:
        """What cached teacher outputs depend on here; the teacher is added by its reader."""
        rows = self.rows("train")
        return {
            "transform": self.training.view.describe(),
            "class list": self.classes,
            "image list": image_list_digest([self.table.sha256[row] for row in rows]),
        }


def open_images(context: StageContext) -> Images:
    recipe = context.recipe
    folder = context.run.folder("data")
    table = read_table(folder)
    pixels = PixelCache(folder)
    rows = table.rows("train")
    view = TrainingView(recipe.data.image_px, recipe.augment, recipe.data.interpolation)
    sha256s = [table.sha256[row] for row in rows]
    training = TrainingSet(pixels, rows, table.labels[rows], sha256s, view)
    return Images(table, pixels, training, recipe.data)


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


def train_and_save(
    context: StageContext,
    images: Images,
    name: str,
    weights: str,
    model: nn.Module,
    config: TrainingConfig,
    terms: Mapping[str, Term],
    views: int | None,
    device: torch.device,
    extra: nn.Module | None = None,
) -> Result:
    """Train, keep the last step's weights, and describe them with validation figures."""
    spec = spec_for(name, context.recipe)
    drawn, _ = images.balance()
    order = Order(len(images.training), config.batch_size, config.seed, views, drawn)

    def validate(net: nn.Module) -> dict[str, Any]:
        found = _validation(net, spec, images, device)
        return {f"eval_{key}": found[key]
                for key in ("loss", "top1_fraction", "balanced_accuracy_fraction")}  # fmt: skip

    history = HistoryWriter(context.out, context.recipe.run.tensorboard)
    training = Training(
        model, spec, images.training, order, terms, config, validate, device,
        checkpoint=context.out / "checkpoint.pt",
        checkpoint_seconds=context.recipe.run.checkpoint_seconds,
        on_epoch=history, extra=extra or nn.Identity(),
    )  # fmt: skip
    start = time.monotonic()
    rows = training.run(context.talk, context.out.name.removesuffix(".partial"))
    seconds = time.monotonic() - start
    history.close()
    about = {"model": name, "classes": images.classes, "preprocess": dict_from_preprocess(spec)}
    save_weights(model, context.out / WEIGHTS, about)
    training.checkpoint.unlink(missing_ok=True)
    values = {
        "model": name,
        "weights": weights,
        "parameters": parameter_count(model),
        "epochs": config.epochs,
        "steps": order.steps_per_epoch * config.epochs,
        "preprocess": dict_from_preprocess(spec),
        "validation": _validation(model, spec, images, device),
        "history": rows,
    }
    seen = values["steps"] * min(config.batch_size, len(images.training))
    return Result(values, (WEIGHTS,), {"training_seconds": seconds,
                                       "images_per_second": seen / max(seconds, 1e-9)})  # fmt: skip


def _validation(
    model: nn.Module, spec: Preprocess, images: Images, device: torch.device
) -> dict[str, Any]:
    logits = logits_of(model, spec, images.frames("val"), device)
    labels = images.labels("val")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    loss = float((log_sum - shifted[np.arange(len(labels)), labels]).mean())
    return {"loss": loss, **measures(logits, labels, images.classes)}


def _keep_big_blocks() -> None:
    """Let glibc keep freed blocks: by default every activation is mapped and faulted in anew."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except OSError:
        pass  # another C library: nothing to gain
