"""Stage `teacher`: fine-tune or probe, and validate on held-out images; gates.py refuses a weak one."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from edgedistill.config.task import task_of
from edgedistill.config.training import TeacherConfig
from edgedistill.core import distributed
from edgedistill.data.folds import folds_of
from edgedistill.distillation.objectives import hard_term
from edgedistill.distillation.probe import features_of, head_from_features, put_head
from edgedistill.models.weights import model_from_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.records.result import Result
from edgedistill.records.training import Probe, TeacherRecord, TrainedNetwork, Tried
from edgedistill.training.fit import Lesson, Subject, Trained, described, device_of, spec_for, train_and_save
from edgedistill.training.images import Images

FOLDS = 3  # that choose the strength of the probe's L2
FEWEST_VALIDATION_IMAGES = 100  # on fewer, two accuracies differ by ten points by chance


def run(context: StageContext) -> Result:
    images = open_images(context)
    device = device_of(context.recipe.run)
    trained = train_teacher(context, images, context.recipe.first_teacher, device)
    return Result(TeacherRecord(**trained.network.given()), (trained.file,), trained.cost)


def train_teacher(
    context: StageContext,
    images: Images,
    teacher: TeacherConfig,
    device: torch.device,
    number: int = 0,
) -> Trained:
    """Make one teacher as `teacher.mode` says; `number` tells the further ones of an ensemble apart.

    Where the probe is tried, its network has `mode` and `probe`, and `tried` where there are two ways.
    """
    task = task_of(context.recipe.student).supervised
    torch.manual_seed(teacher.seed)  # the new head's weights
    model = model_from_weights(
        teacher.model,
        teacher.weights,
        images.classes,
        teacher.learns_head,
        task,
        class_names=teacher.classes,
        say=context.talk.say,
    )
    terms = {"label": hard_term(task, images.class_weights(), 1.0, device, teacher.label_smoothing)}
    title = f"{context.out.name.removesuffix('.partial')} {teacher.model}" if number else ""
    lesson = Lesson(images.training, terms)
    subject = Subject(teacher.model, teacher.weights, model, lesson, number, title, task=task)
    if teacher.tries == ("finetune",):
        return train_and_save(images, subject, teacher, None, device, context.out, context.talk)
    start = time.monotonic()
    probed = distributed.agreed(lambda: _probed(context, images, subject, teacher, device))
    cost = {"training_seconds": time.monotonic() - start}
    validation_images = len(images.labels("val"))
    if teacher.tries == ("probe",):
        return _kept(context, subject, probed, cost)
    if validation_images < FEWEST_VALIDATION_IMAGES:
        context.talk.say(
            f"  kept the probe: {validation_images} validation images, fewer than "
            f"{FEWEST_VALIDATION_IMAGES}, do not tell whether fine-tuning is better"
        )
        return _kept(context, subject, probed, cost)
    metric = context.recipe.data.metric
    trained = train_and_save(images, subject, teacher, None, device, context.out, context.talk)
    tried = Tried(probe=probed.validation.metric(metric), finetune=trained.network.validation.metric(metric))
    context.talk.say(f"  on the validation images: probe {tried.probe:.1%}, fine-tuned {tried.finetune:.1%}")
    if tried.finetune > tried.probe:
        network = TrainedNetwork(**trained.network.given(), mode="finetune", probe=probed.probe, tried=tried)
        return replace(trained, network=network)
    return _kept(context, subject, TrainedNetwork(**probed.given(), tried=tried), cost)


def _probed(
    context: StageContext, images: Images, subject: Subject, teacher: TeacherConfig, device: torch.device
) -> TrainedNetwork:
    """Put a logistic head on the network, save it beside, and give what the stage's JSON says of it."""
    training, rows = images.training, images.rows("train")
    spec = spec_for(subject.name, context.recipe)
    subject.model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks this pair of arguments
    title = f"features of {subject.name}"
    total = (1 + teacher.probe_views) * len(rows)
    with distributed.alone(), context.talk.progress(title, total, images_each=1) as show:
        features = features_of(subject.model, spec, training, images.frames("train"), teacher.probe_views, device, show)
    head = head_from_features(
        features,
        training.labels,
        folds_of(training.labels, images.table.groups[rows], FOLDS),
        _image_weights(images),
        len(images.classes),
    )
    put_head(subject.model, subject.name, head)
    about = Probe(
        views=teacher.probe_views,
        folds=FOLDS,
        l2=head.l2,
        log_loss_by_l2={str(l2): loss for l2, loss in head.scores.items()},
    )
    context.talk.say(f"  logistic head, L2 {head.l2:g} by the loss on {FOLDS} folds that were left out")
    network = described(images, subject, context.out / _file(subject), device, teacher.seed, 0, 0, [])
    return TrainedNetwork(**network.given(), mode="probe", probe=about)


def _image_weights(images: Images) -> np.ndarray:
    """(N,) of the training images in the probe's loss, by class as the recipe asks; their mean is 1."""
    labels, by_class = images.training.labels, images.class_weights()
    weights = images.drawn(images.training) if by_class is None else by_class.numpy()[labels]
    return np.ones(len(labels)) if weights is None else weights / weights.mean()


def _file(subject: Subject) -> str:
    return f"probe-{subject.number}.safetensors"


def _kept(context: StageContext, subject: Subject, probed: TrainedNetwork, cost: dict[str, Any]) -> Trained:
    """The probe as the teacher."""
    if distributed.is_first():
        shutil.copyfile(context.out / _file(subject), context.out / subject.file)
    return Trained(probed, subject.file, cost)
