"""The student trained once more for INT8, and whether that is worth keeping."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config.target import wanted_target
from edgedistill.config.task import task_of
from edgedistill.config.training import TrainingConfig
from edgedistill.core.files import remove, write_json
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.exported_file import metadata_from_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.progress.reporter import Talk
from edgedistill.quantization.accuracy import short_step, step_of
from edgedistill.quantization.fake_quantization import FakeQuantized, input_ranges, own_logits_term
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.records.layout import AMAX, INT8, PREPARED
from edgedistill.records.quantization import PrecisionStep, QadRecord
from edgedistill.training.batches import Order
from edgedistill.training.fit import device_of, logits_of, spec_for
from edgedistill.training.images import Images
from edgedistill.training.loop import Term, Training
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess

LR_FRACTION = 0.05  # of distill.peak_lr: the network is trained, it only has to move a little
STEPS_FRACTION = 0.1  # of the student's steps, at most
RANGES_FROM = 64  # calibration images of the fixed ranges during training


@dataclass(frozen=True)
class Inputs:
    """The network's inputs of a split, (3, H, W) float32 each, made again whenever it is iterated."""

    images: Images
    split: str
    spec: Preprocess

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self.images.frames(self.split):
            for frame in piece:
                yield to_input(frame, self.spec)[0]


def trained_for_int8(
    images: Images,
    model: nn.Module,
    image: Callable[[int], np.ndarray],
    count: int,
    steps: int,
    folder: Path,
    talk: Talk,
) -> QadRecord:
    """Train with fake quantization; if its INT8 file is better it takes the place of the one there, with its ranges.

    Args:
        model: the float student; trained in place.
        image: position -> (1, 3, H, W) float32 calibration image.
        count: of them.
        steps: of the optimizer, at most.
        folder: of the stage, with the INT8 file to beat.

    Returns:
        Figures before and after against the float student. `kept`: `is_better` on the validation images.
    """
    recipe, int8 = images.recipe, folder / INT8
    quantize, spec, device = (
        recipe.quantize,
        spec_for(recipe.student.model, recipe),
        device_of(recipe.run),
    )
    labels, task = images.labels("val"), task_of(recipe)
    reference = logits_of(model, spec, images.frames("val"), device)
    inputs = Inputs(images, "val", spec)
    model.cpu()
    batches = (torch.from_numpy(image(number)) for number in range(min(RANGES_FROM, count)))
    amax = input_ranges(model, batches, quantize.threshold, quantize.percentile)
    term = own_logits_term(model, spec)
    with FakeQuantized(model, amax):
        taken = _train(images, model, term, steps, device, folder / "qad.pt", talk)
    trained = folder / "retrained.onnx"
    onnx_from_model(model.cpu(), np.stack(list(islice(inputs, 8))), trained, metadata_from_onnx(int8))
    ranges = ranges_from_model(trained, image, count, quantize.threshold, quantize.percentile)
    challenger = folder / "retrained_int8.onnx"
    qdq_from_onnx(trained, ranges.kept, challenger, int8_weights=wanted_target(recipe.target).int8_weights)
    figures = {}
    for name, path in (("before", int8), ("after", challenger)):
        with OnnxSession(path) as session:
            figures[name] = short_step(step_of(session.logits(inputs), reference, labels, images.classes, task))
    before, after = figures["before"], figures["after"]
    kept = is_better(before, after)
    talk.say(
        f"  quantization-aware distillation: validation top-1 {before.top1_fraction:.3f} -> {after.top1_fraction:.3f}, "
        f"{_noise(before)} -> {_noise(after)}; {'kept' if kept else 'not kept'}"
    )
    if kept:
        challenger.replace(int8)
        trained.replace(folder / PREPARED)
        write_json(folder / AMAX, ranges.kept)
    for path in (trained, challenger):
        path.unlink(missing_ok=True)
    return QadRecord(epochs=quantize.qad_epochs, steps=taken, before=before, after=after, kept=kept)


def is_better(before: PrecisionStep, after: PrecisionStep) -> bool:
    """Closer to the float student's logits, and no fewer images right.

    Some hundred images tell two INT8 files apart by their logits, seldom by how many are right: by that alone a file
    that loses 1.5 points of top-1 on other images was kept (docs/experiments.md, 2026-12-01).
    """
    closer = after.sqnr_db is not None and (before.sqnr_db is None or after.sqnr_db > before.sqnr_db)
    return closer and after.top1_fraction >= before.top1_fraction


def _noise(step: PrecisionStep) -> str:
    return "no SQNR" if step.sqnr_db is None else f"SQNR {step.sqnr_db:.1f} dB"


def most_steps(student_steps: int | None) -> int:
    """Optimizer steps that may be spent, of the student's; no limit where an older release did not count them."""
    return sys.maxsize if student_steps is None else max(1, int(STEPS_FRACTION * student_steps))


def _train(
    images: Images, model: nn.Module, term: Term, most: int, device: torch.device, checkpoint: Path, talk: Talk
) -> int:
    """Train; how many steps."""
    recipe = images.recipe
    distill, spec, task = recipe.distill, spec_for(recipe.student.model, recipe), task_of(recipe)
    order = Order(len(images.training), distill.batch_size, distill.seed, distill.views, images.drawn(images.training))
    config = TrainingConfig(
        epochs=recipe.quantize.qad_epochs,
        steps=min(most, recipe.quantize.qad_epochs * order.steps_per_epoch),
        batch_size=distill.batch_size,
        seed=distill.seed,
        peak_lr=LR_FRACTION * distill.peak_lr,
        weight_decay=distill.weight_decay,
    )

    def validate(net: nn.Module) -> dict[str, Any]:
        logits = logits_of(net, spec, images.frames("val"), device)
        scores = evaluator_of(task).measures(logits, images.labels("val"), images.classes)
        return {f"eval_{name}": scores.metric(name) for name in task.metrics}

    training = Training(
        model,
        spec,
        images.training,
        order,
        {"own": term},
        config,
        validate,
        device,
        checkpoint=checkpoint,
        checkpoint_seconds=recipe.run.checkpoint_seconds,
    )
    training.run(talk, "quantize")
    remove(checkpoint)
    return config.steps
