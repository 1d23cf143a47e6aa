"""Stage `assist`: further teachers of an ensemble, assistants of a chain, earlier generations.

The last link's cached outputs are what the student is taught by.
"""

from __future__ import annotations

from pathlib import Path

import torch

from edgedistill.config.task import task_of
from edgedistill.config.training import NetConfig
from edgedistill.core import distributed
from edgedistill.core.files import sha256_of
from edgedistill.distillation.logit_cache import LogitCache, average_caches, belongs_to
from edgedistill.distillation.objectives import logit_terms, refuse_loss_without_information
from edgedistill.models.assistants import choose_assistants
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images, taught_images
from edgedistill.pipeline.teacher_cache import Teachers, cache_teacher, teacher_key
from edgedistill.records.result import Result
from edgedistill.records.training import AssistRecord, Link
from edgedistill.stages.teacher import train_teacher
from edgedistill.training.autotune import answering_speed
from edgedistill.training.batches import TrainingSet
from edgedistill.training.fit import Lesson, Subject, Trained, device_of, new_network, train_and_save
from edgedistill.training.images import Images


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    if context.recipe.distill.method == "ensemble":
        return _ensemble(context, images, device)
    refuse_loss_without_information(context.recipe.distill, len(images.classes))
    return _chain(context, images, device)


def _ensemble(context: StageContext, images: Images, device: torch.device) -> Result:
    """The further teachers, and the mean of everybody's logits."""
    distill, teacher = context.recipe.distill, context.recipe.teacher
    caches, first = [context.run.folder("logits")], teacher_key(context)
    sha256s = [first] if isinstance(first, str) else first
    links, files = [], []
    for number, net in enumerate(distill.teachers, start=1):
        config = teacher.model_copy(update={"model": net.model, "weights": net.weights, "classes": net.classes})
        trained = train_teacher(context, images, config, device, number)
        weights = context.out / trained.file
        sha256s.append(sha256_of(weights))
        caches.append(_cached(context, taught_images(context, images), images, weights, number, device))
        links.append(_link(trained))
        files.append(trained.file)
    (context.out / "cache").mkdir(exist_ok=True)
    owner = belongs_to(images, taught_images(context, images), sha256s)
    names = distributed.agreed(lambda: average_caches(caches, context.out / "cache", owner))
    record = AssistRecord(links=links, cache="cache", belongs_to=sha256s)
    return Result(record, (*files, *(f"cache/{name}" for name in names)), trained.cost)


def _chain(context: StageContext, images: Images, device: torch.device) -> Result:
    """Each link is taught by the one before it."""
    recipe = context.recipe
    distill = recipe.distill
    taught = taught_images(context, images)
    owner = belongs_to(images, taught, teacher_key(context))
    cache = LogitCache(context.run.folder("logits"), owner)
    task = task_of(recipe).supervised
    links, files = [], []
    for number, net in enumerate(_nets(context, len(images.classes)), start=1):
        context.talk.say(f"  link {number}: {net.model} from {net.weights}")
        model = new_network(net, images.classes, distill.seed, task, context.talk.say)
        lesson = Lesson(taught, logit_terms(distill, cache, images.class_weights(), device, task))
        subject = Subject(net.model, net.weights, model, lesson, number, f"assist {net.model}", task=task)
        trained = train_and_save(images, subject, distill, distill.views, device, context.out, context.talk)
        weights = context.out / trained.file
        taught = taught_images(context, images, number)  # not the views that it was taught on
        folder = _cached(context, taught, images, weights, number, device)
        cache = LogitCache(folder, belongs_to(images, taught, sha256_of(weights)))
        links.append(_link(trained))
        files.append(trained.file)
    shards = sorted(f"{folder.name}/{path.name}" for path in folder.glob("shard-*.npy"))
    return Result(
        AssistRecord(links=links, cache=folder.name, belongs_to=sha256_of(weights)),
        (*files, *shards, f"{folder.name}/cache.json"),
        trained.cost,
    )


def _nets(context: StageContext, classes: int) -> tuple[NetConfig, ...]:
    recipe = context.recipe
    if recipe.distill.method == "self":
        student = NetConfig(model=recipe.student.model, weights=recipe.student.weights, classes=recipe.student.classes)
        return (student,) * (recipe.distill.generations - 1)
    if recipe.distill.assistants:
        return recipe.distill.assistants
    return choose_assistants(recipe.teacher.model, recipe.student, classes)


def _cached(
    context: StageContext,
    taught: TrainingSet,
    images: Images,
    weights: Path,
    number: int,
    device: torch.device,
) -> Path:
    folder = context.out / f"cache-{number}"
    folder.mkdir(exist_ok=True)
    if not distributed.agreed((folder / "cache.json").exists):
        owner = belongs_to(images, taught, sha256_of(weights))
        flips = context.recipe.distill.method == "ensemble" and context.recipe.teacher.tta == "flip"
        speed = answering_speed(context.recipe.run.precision, device)
        cache_teacher(context, taught, Teachers([weights], context.recipe, device, flips, speed), folder, owner, False)
    return folder


def _link(trained: Trained) -> Link:
    fields = ("model", "weights", "parameters", "epochs", "steps", "validation")
    return Link(**{key: getattr(trained.network, key) for key in fields}, file=trained.file)
