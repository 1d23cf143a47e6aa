"""Probe or fine-tuned network: which of two teachers to keep, by labelled images that neither has learnt from.

The validation images decide where they are many. Where they are few, parts of the training and validation images are
left out in turn, and both teachers are made without them. The fine-tuned network is kept only where the 95 % interval
of the paired difference lies above zero: a tie goes to the probe, whose soft labels are the better calibrated ones.

Source: Kohavi 1995, IJCAI, 1137-1143 (stratified cross-validation to choose a model).
"""

from __future__ import annotations

import copy
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgedistill.config.training import TeacherConfig
from edgedistill.core.files import remove, write_bytes, write_json
from edgedistill.data.folds import folds_of
from edgedistill.distillation.probe import LogisticHead, features_of, head_from_features, put_head
from edgedistill.distillation.value_probe import ridge_from_features
from edgedistill.evaluation.classification import measures
from edgedistill.evaluation.intervals import difference_interval
from edgedistill.models.weights import load_weights
from edgedistill.progress.reporter import Talk
from edgedistill.records.evaluation import METRICS
from edgedistill.records.training import Tried
from edgedistill.training.batches import TrainingSet, validation_images
from edgedistill.training.fit import CHECKPOINT, Subject, logits_of, spec_for, training_of
from edgedistill.training.images import Images
from edgedistill.training.loop import Training
from edgedistill.training.pace import FIRST_STEPS, measured_pace
from edgedistill.training.schedule import seconds_of, steps_of

FOLDS = 3  # that choose the strength of the probe's L2, and between the teachers
FEWEST_VALIDATION_IMAGES = 100  # on fewer, two accuracies differ by ten points by chance


@dataclass(frozen=True)
class TeacherJob:
    """A teacher to make.

    Attributes:
        images: of the run.
        subject: the network with the weights that it starts from, and what it is fine-tuned on.
        teacher: its section of the recipe.
        device: where.
        out: folder for files.
        talk: where lines and progress go.
    """

    images: Images
    subject: Subject
    teacher: TeacherConfig
    device: torch.device
    out: Path
    talk: Talk

    @property
    def chooses_on_folds(self) -> bool:
        """Whether one of two teachers is kept, and validation images are too few to say which."""
        return self.teacher.mode == "auto" and len(self.images.labels("val")) < FEWEST_VALIDATION_IMAGES

    @property
    def probe_file(self) -> str:
        """Weights of the network with the logistic head, in `out`."""
        return f"probe-{self.subject.number}.safetensors"

    @property
    def finetuned_file(self) -> str:
        """Weights of the fine-tuned network, where there is a choice."""
        return f"finetuned-{self.subject.number}.safetensors"


def features_over(job: TeacherJob, rows: np.ndarray) -> np.ndarray:
    """(1 + probe_views, N, F) float32 pooled features of the network as it is over N labelled images."""
    subject, views = job.subject, job.teacher.probe_views
    subject.model.eval().to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks this pair of arguments
    taught, frames = job.images.as_taught(rows), validation_images(job.images.pixels, rows)
    spec = spec_for(subject.name, job.images.recipe)
    with job.talk.progress(f"features of {subject.name}", (1 + views) * len(rows), unit="view", images_each=1) as show:
        return features_of(subject.model, spec, taught, frames, views, job.device, show)


def head_over(job: TeacherJob, rows: np.ndarray, features: np.ndarray) -> LogisticHead:
    """The logistic head for N labelled images, by their features; of figures a ridge head."""
    taught = job.images.as_taught(rows)
    folds = folds_of(taught.labels, job.images.table.groups[rows], FOLDS)
    weights, classes = _image_weights(job.images, taught), len(job.images.classes)
    if taught.targets is None:
        return head_from_features(features, taught.labels, folds, weights, classes)
    if not job.subject.task.multiple:
        return ridge_from_features(features, taught.targets, folds, weights)
    positive = job.images.class_weights()
    return head_from_features(
        features, taught.targets, folds, weights, classes, None if positive is None else positive.numpy()
    )


def compared(
    probe: np.ndarray, finetuned: np.ndarray, labels: np.ndarray, classes: list[str], metric: str, folds: int | None
) -> Tried:
    """Both teachers on images that neither has learnt from.

    Args:
        probe, finetuned: (N, C) logits.
        labels: (N,) int.
        classes: C names.
        metric: of the recipe.
        folds: that the images come from, None of the validation images.
    """
    return Tried(
        probe=measures(probe, labels, classes).metric(metric),
        finetune=measures(finetuned, labels, classes).metric(metric),
        images=len(labels),
        interval=[*difference_interval(finetuned, probe, labels, metric)],
        folds=folds,
    )


def prefers_finetuned(tried: Tried) -> bool:
    return tried.interval is not None and tried.interval[0] > 0


def _one_is_worse(tried: Tried) -> bool:
    low, high = tried.interval or (0.0, 0.0)
    return low > 0 or high < 0


def line_from_choice(tried: Tried) -> str:
    """One line for people."""
    low, high = tried.interval or (0.0, 0.0)
    where = f"images of {tried.folds} fold(s) that were left out" if tried.folds else "validation images"
    kept = "the fine-tuned network" if prefers_finetuned(tried) else "the probe"
    mean = "" if tried.mean is None else f", of their mean, which teaches, {tried.mean:.1%}"
    return (
        f"on {tried.images} {where}: probe {tried.probe:.1%}, fine-tuned {tried.finetune:.1%}{mean}, the difference is "
        f"{100 * (tried.finetune - tried.probe):+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f}); "
        f"kept {kept}{' as the first' if mean else ''}{'' if _one_is_worse(tried) else ', since that holds zero'}"
    )


def choice_on_validation(job: TeacherJob) -> Tried:
    """Of the two weights files in `job.out`; with their mean where the student is to learn from that.

    Where one of them is worse beyond chance there is no mean: the logits of a fine-tuning that went wrong may outweigh
    the other's.
    """
    images, spec = job.images, spec_for(job.subject.name, job.images.recipe)
    probe, finetuned = (
        logits_of(load_weights(job.out / file)[0], spec, images.frames("val"), job.device)
        for file in (job.probe_file, job.finetuned_file)
    )
    labels, metric = images.labels("val"), images.recipe.data.metric
    tried = compared(probe, finetuned, labels, images.classes, metric, folds=None)
    if not job.teacher.averages or _one_is_worse(tried):
        return tried
    mean = measures((probe + finetuned) / 2, labels, images.classes).metric(metric)
    return Tried(**tried.given(), mean=mean)


def choice_on_folds(job: TeacherJob, rows: np.ndarray, features: np.ndarray) -> Tried | None:
    """Both teachers made without a fold of the images, for as many of FOLDS as `teacher.choice_minutes` allows.

    Args:
        rows: (N,) labelled images.
        features: theirs, as of `features_over`.

    Returns:
        None where not one fold is affordable; then it was said why.
    """
    table = job.images.table
    fold_of = folds_of(table.labels[rows], table.groups[rows], FOLDS)
    folds = [_Fold(job, rows, features, fold_of == number, int(number)) for number in np.unique(fold_of)]
    count = _affordable(job, folds)
    if count == 0:
        return None
    answers = [fold.answers() for fold in folds[:count]]
    probe, finetuned, labels = (np.concatenate([answer[name] for answer in answers]) for name in _ANSWERS)
    return compared(probe, finetuned, labels, job.images.classes, job.images.recipe.data.metric, folds=count)


_ANSWERS = ("probe", "finetuned", "labels")


@dataclass(frozen=True)
class _Fold:
    """Images that are left out, and both teachers made from the others.

    Attributes:
        rows: (N,) labelled images.
        features: (V, N, F).
        left_out: (N,) bool.
        number: of the fold.
    """

    job: TeacherJob
    rows: np.ndarray
    features: np.ndarray
    left_out: np.ndarray
    number: int

    @property
    def title(self) -> str:
        return f"fold {self.number + 1} of {self.job.subject.name}"

    def answers(self) -> dict[str, np.ndarray]:
        """`probe` and `finetuned`: (n, C) logits for the n images left out; `labels`: (n,). Kept over a kill."""
        place = self.job.out / f"fold-{self.job.subject.number}-{self.number}"
        path = place.with_suffix(".npz")
        if not path.exists():
            place.mkdir(exist_ok=True)
            head = self.head()
            training = self.training(head, self.job.teacher)
            training.checkpoint = place / CHECKPOINT
            training.run(self.job.talk, self.title)
            content = io.BytesIO()
            probe, labels = head.logits(self.features[0][self.left_out]), self._labels()
            np.savez(content, probe=probe, finetuned=self._logits(training.model), labels=labels)
            write_bytes(path, content.getvalue())
        remove(place / CHECKPOINT)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in _ANSWERS}

    def head(self) -> LogisticHead:
        return head_over(self.job, self.rows[~self.left_out], self.features[:, ~self.left_out])

    def training(self, head: LogisticHead, config: TeacherConfig) -> Training:
        """Fine-tuning from that head; its validation images are those left out, which choose nothing."""
        job = self.job
        model = copy.deepcopy(job.subject.model)
        put_head(model, job.subject.name, head)
        lesson = replace(job.subject.lesson, images=job.images.as_taught(self.rows[~self.left_out]))
        subject = replace(job.subject, model=model, lesson=lesson)
        training = training_of(job.images, subject, config, None, job.device)
        training.keep, training.evaluate = "last", self._evaluated
        return training

    def _evaluated(self, model: nn.Module) -> dict[str, Any]:
        figures = measures(self._logits(model), self._labels(), self.job.images.classes)
        return {f"eval_{name}": figures.metric(name) for name in METRICS}

    def _logits(self, model: nn.Module) -> np.ndarray:
        images = self.job.images
        frames = validation_images(images.pixels, self.rows[self.left_out])
        return logits_of(model, spec_for(self.job.subject.name, images.recipe), frames, self.job.device)

    def _labels(self) -> np.ndarray:
        return self.job.images.table.labels[self.rows[self.left_out]]


def _affordable(job: TeacherJob, folds: list[_Fold]) -> int:
    """How many folds can be fine-tuned on in the recipe's time; what prevents more is said."""
    minutes, validation_images = job.teacher.choice_minutes, len(job.images.labels("val"))
    few = f"{validation_images} validation images do not tell whether fine-tuning is better"
    if minutes == 0:
        job.talk.say(f"  kept the probe: {few}, and teacher.choice_minutes = 0")
        return 0
    seconds = _seconds_of(job, folds[0])
    count = min(len(folds), int(60 * minutes // seconds))
    if count < len(folds):
        kept = "kept the probe: " if count == 0 else ""
        job.talk.say(
            f"  {kept}{few}; on images left out it would take {seconds:.0f} s for each of {len(folds)} folds, "
            f"teacher.choice_minutes = {minutes:g} allows {count}"
        )
    return count


def _seconds_of(job: TeacherJob, fold: _Fold) -> float:
    """Of fine-tuning without one fold, by its first steps here; measured once, also over a kill."""
    path = job.out / f"fold-{job.subject.number}.json"
    if not path.exists():
        training = fold.training(fold.head(), job.teacher.model_copy(update={"steps": FIRST_STEPS}))
        pace = measured_pace(training, job.talk, f"first steps of {fold.title}")
        steps = steps_of(job.teacher, training.order.steps_per_epoch)
        write_json(path, {"seconds": seconds_of(steps, pace, training.order.steps_per_epoch)})
    return json.loads(path.read_text(encoding="utf-8"))["seconds"]


def _image_weights(images: Images, taught: TrainingSet) -> np.ndarray:
    """(N,) of the images in the probe's loss, by class as the recipe asks; their mean is 1."""
    by_class = images.class_weights() if taught.targets is None else None
    weights = images.drawn(taught) if by_class is None else by_class.numpy()[taught.labels]
    return np.ones(len(taught)) if weights is None else weights / weights.mean()
