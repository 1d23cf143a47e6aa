"""The student trained once more for INT8, and whether that is worth keeping."""

from __future__ import annotations

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
from edgedistill.core.files import remove
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.progress.reporter import Talk
from edgedistill.quantization.accuracy import short_step, step_of
from edgedistill.quantization.fake_quantization import FakeQuantized, input_ranges, own_logits_term
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.records.quantization import QadRecord
from edgedistill.training.batches import Order
from edgedistill.training.fit import device_of, logits_of, spec_for
from edgedistill.training.images import Images
from edgedistill.training.loop import Training
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess

LR_FRACTION = 0.05  # of distill.peak_lr: the network is trained, it only has to move a little
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
    int8: Path,
    talk: Talk,
) -> QadRecord:
    """Train with fake quantization; put its INT8 file in the place of `int8` if it is better.

    Args:
        model: the float student; trained in place.
        image: position -> (1, 3, H, W) float32 calibration image.
        count: of them.
        int8: the INT8 file to beat; what is made meanwhile stands beside it.

    Returns:
        Figures before and after against the float student. `kept`: more of the validation images right than
        before, which is asked of them alone.
    """
    recipe, folder = images.recipe, int8.parent
    quantize, spec, device = (
        recipe.quantize,
        spec_for(recipe.student.model, recipe),
        device_of(recipe.run),
    )
    labels, task = images.labels("val"), task_of(recipe.student)
    reference = logits_of(model, spec, images.frames("val"), device)
    inputs = Inputs(images, "val", spec)
    model.cpu()
    batches = (torch.from_numpy(image(number)) for number in range(min(RANGES_FROM, count)))
    amax = input_ranges(model, batches, quantize.threshold, quantize.percentile)
    term = own_logits_term(model, spec)
    with FakeQuantized(model, amax):
        _train(images, model, term, device, folder / "qad.pt", talk)
    trained = folder / "retrained.onnx"
    onnx_from_model(model.cpu(), np.stack(list(islice(inputs, 8))), trained, {})
    ranges = ranges_from_model(trained, image, count, quantize.threshold, quantize.percentile)
    challenger = folder / "retrained_int8.onnx"
    qdq_from_onnx(trained, ranges.kept, challenger, int8_weights=wanted_target(recipe.target).int8_weights)
    steps = {}
    for name, path in (("before", int8), ("after", challenger)):
        with OnnxSession(path) as session:
            steps[name] = short_step(step_of(session.logits(inputs), reference, labels, images.classes, task))
    before, after = steps["before"], steps["after"]
    is_better = after.top1_fraction > before.top1_fraction
    talk.say(
        f"  quantization-aware distillation: validation top-1 {before.top1_fraction:.3f} "
        f"-> {after.top1_fraction:.3f}, {'kept' if is_better else 'not kept'}"
    )
    if is_better:
        challenger.replace(int8)
    for path in (trained, challenger):
        path.unlink(missing_ok=True)
    return QadRecord(epochs=quantize.qad_epochs, before=before, after=after, kept=is_better)


def _train(images: Images, model: nn.Module, term, device, checkpoint: Path, talk: Talk) -> None:
    recipe = images.recipe
    distill, spec, task = recipe.distill, spec_for(recipe.student.model, recipe), task_of(recipe.student)
    config = TrainingConfig(
        epochs=recipe.quantize.qad_epochs,
        batch_size=distill.batch_size,
        seed=distill.seed,
        peak_lr=LR_FRACTION * distill.peak_lr,
        weight_decay=distill.weight_decay,
    )
    order = Order(len(images.training), config.batch_size, config.seed, distill.views, images.drawn(images.training))

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
