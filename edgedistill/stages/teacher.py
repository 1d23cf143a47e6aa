"""Stage `teacher`: fine-tune or probe, and validate on held-out images; gates.py refuses a weak one."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config.task import task_of
from edgedistill.config.training import TeacherConfig
from edgedistill.config.values import size_setting, size_text
from edgedistill.core import distributed
from edgedistill.core.files import write_bytes
from edgedistill.distillation.objectives import hard_term
from edgedistill.distillation.probe import put_head
from edgedistill.distillation.teacher_choice import (
    FOLDS,
    TeacherJob,
    choice_on_folds,
    choice_on_validation,
    features_over,
    head_over,
    line_from_choice,
    prefers_finetuned,
)
from edgedistill.errors import TeacherError
from edgedistill.models.enlarged import enlarge
from edgedistill.models.weights import model_from_weights, noted_size
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.records.artifacts import artifact_kind, network_kind
from edgedistill.records.outputs import RidgeProbe
from edgedistill.records.result import Result
from edgedistill.records.training import Probe, TeacherRecord, TrainedNetwork, Tried
from edgedistill.training.fit import Lesson, Subject, Trained, described, device_of, train_and_save
from edgedistill.training.images import Images
from edgedistill_device.preprocess_spec import size_of


def run(context: StageContext) -> Result:
    images = open_images(context)
    device = device_of(context.recipe.run, context.talk.say)
    trained = train_teacher(context, images, context.recipe.first_teacher, device)
    second = [trained.network.second] if trained.network.second else []
    kind = artifact_kind(TeacherRecord.stage, task_of(context.recipe))
    return Result(kind(**trained.network.given()), (trained.file, *second), trained.cost)


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
    recipe = context.recipe
    task = task_of(recipe).supervised
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
    _enlarge(model, teacher)
    terms = {
        "label": hard_term(task, images.class_weights(), 1.0, device, teacher.label_smoothing, recipe.data.value_loss)
    }
    title = f"{context.out.name.removesuffix('.partial')} {teacher.model}" if number else ""
    lesson = Lesson(images.training, terms)
    subject = Subject(teacher.model, teacher.weights, model, lesson, number, title, task=task)
    if teacher.tries == ("finetune",):
        return train_and_save(images, subject, teacher, None, device, context.out, context.talk)
    job = TeacherJob(images, subject, teacher, device, context.out, context.talk)
    start = time.monotonic()
    probed, tried = distributed.agreed(lambda: _probed(job))
    cost = {"training_seconds": time.monotonic() - start}
    if teacher.tries == ("probe",) or (job.chooses_on_folds and not (tried and prefers_finetuned(tried))):
        return _kept(job, probed, tried, cost)
    return _better(job, probed, tried, cost)


def _enlarge(model: nn.Module, teacher: TeacherConfig) -> None:
    """Let the network see its images as large as the recipe says.

    Raises:
        TeacherError: weights that are taken as they are were trained on another size.
    """
    size = None if teacher.image_px is None else size_of(teacher.image_px)
    noted = noted_size(teacher.weights)
    if teacher.epochs == 0 and noted not in (None, size):
        raise TeacherError(
            f"{teacher.weights} was trained on images enlarged to {size_text(noted)} px, and teacher.epochs = 0 takes "
            f"it as it is: --set {size_setting('teacher.image_px', noted)}"
        )
    if size is not None:
        enlarge(model, size)


def _probed(job: TeacherJob) -> tuple[TrainedNetwork, Tried | None]:
    """Put a logistic head on the network, save it beside, and give what the stage's JSON says of it.

    Where validation images are few, and one way is to be chosen, both are tried on folds.
    """
    images, subject, teacher = job.images, job.subject, job.teacher
    rows, held = images.rows("train"), images.rows("val")
    with distributed.alone():
        features = features_over(job, rows)
        tried = None
        if job.chooses_on_folds:
            both = np.concatenate([features, features_over(job, held)], axis=1)
            tried = choice_on_folds(job, np.concatenate([rows, held]), both)
        head = head_over(job, rows, features)
    put_head(subject.model, subject.name, head)
    scores = {str(l2): loss for l2, loss in head.scores.items()}
    common: dict[str, Any] = {"views": teacher.probe_views, "folds": FOLDS, "l2": head.l2}
    ridge = subject.task.vectors and not subject.task.multiple
    about: Any = RidgeProbe(**common, squared_error_by_l2=scores) if ridge else Probe(**common, log_loss_by_l2=scores)
    kind = "ridge" if ridge else "logistic"
    job.talk.say(f"  {kind} head, L2 {head.l2:g} by the loss on {FOLDS} folds that were left out")
    network = described(images, subject, job.out / job.probe_file, job.device, teacher.seed, 0, 0, [])
    return network_kind(subject.task)(**network.given(), mode="probe", probe=about), tried


def _better(job: TeacherJob, probed: TrainedNetwork, tried: Tried | None, cost: dict[str, Any]) -> Trained:
    """Fine-tune from the head, and keep what was better on folds or else is better on validation images."""
    trained = train_and_save(job.images, job.subject, job.teacher, None, job.device, job.out, job.talk)
    distributed.agreed(lambda: _copy_once(job.out / trained.file, job.out / job.finetuned_file))
    if tried is None:
        tried = distributed.agreed(lambda: choice_on_validation(job))
    if not prefers_finetuned(tried):
        return _kept(job, probed, tried, cost | {"speed": trained.cost["speed"]})
    job.talk.say(f"  {line_from_choice(tried)}")
    network = TrainedNetwork(**trained.network.given(), mode="finetune", probe=probed.probe, tried=tried)
    return replace(trained, network=_with_second(job, network, job.probe_file))


def _kept(job: TeacherJob, probed: TrainedNetwork, tried: Tried | None, cost: dict[str, Any]) -> Trained:
    """The probe as the teacher."""
    if distributed.is_first():
        shutil.copyfile(job.out / job.probe_file, job.out / job.subject.file)
    if tried is None:
        return Trained(probed, job.subject.file, cost)
    job.talk.say(f"  {line_from_choice(tried)}")
    network = TrainedNetwork(**probed.given(), tried=tried)
    return Trained(_with_second(job, network, job.finetuned_file), job.subject.file, cost)


def _with_second(job: TeacherJob, network: TrainedNetwork, file: str) -> TrainedNetwork:
    if not job.teacher.averages:
        return network
    if network.tried is None or network.tried.mean is None:
        job.talk.say("  the student learns from this one alone: the other is worse beyond chance", "note")
        return network
    return TrainedNetwork(**network.given(), second=file)


def _copy_once(source: Path, to: Path) -> None:
    """A killed stage that goes on may find other weights in `source`: the probe's."""
    if not to.exists():
        write_bytes(to, source.read_bytes())
