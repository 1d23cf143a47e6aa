"""Stage `assist`: further teachers of an ensemble, assistants of a chain, earlier generations.

The last link's cached outputs are what the student is taught by.
"""

from __future__ import annotations

from pathlib import Path

import torch

from edgedistill.distill.assistants import choose_assistants
from edgedistill.distill.logit_cache import LogitCache, average_caches
from edgedistill.distill.terms import logit_terms, refuse_loss_without_information
from edgedistill.images import Images, open_images
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result, sha256_of
from edgedistill.sections import NetConfig
from edgedistill.stages.logits import belongs_to, cache_teacher, teacher_sha256
from edgedistill.stages.teacher import train_teacher
from edgedistill.training_stage import Subject, device_of, new_network, train_and_save


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    if context.recipe.distill.method == "ensemble":
        return _ensemble(context, images, device)
    refuse_loss_without_information(context.recipe.distill, len(images.classes))
    return _chain(context, images, device)


def _ensemble(context: StageContext, images: Images, device: torch.device) -> Result:
    """The further teachers, and the mean of everybody's logits."""
    distill, teacher = context.recipe.distill, context.recipe.teacher
    caches, sha256s = [context.run.folder("logits")], [teacher_sha256(context)]
    links, files = [], []
    for number, net in enumerate(distill.teachers, start=1):
        config = teacher.model_copy(update={"model": net.model, "weights": net.weights})
        trained = train_teacher(context, images, config, device, number)
        weights = context.out / trained.files[0]
        sha256s.append(sha256_of(weights))
        caches.append(_cached(context, images, weights, number, device))
        links.append(_link(trained))
        files += trained.files
    (context.out / "cache").mkdir(exist_ok=True)
    names = average_caches(caches, context.out / "cache", belongs_to(images, sha256s))
    values = {"links": links, "cache": "cache", "belongs_to": sha256s}
    return Result(values, (*files, *(f"cache/{name}" for name in names)))


def _chain(context: StageContext, images: Images, device: torch.device) -> Result:
    """Each link is taught by the one before it."""
    recipe = context.recipe
    distill = recipe.distill
    cache = LogitCache(context.run.folder("logits"), belongs_to(images, teacher_sha256(context)))
    links, files = [], []
    for number, net in enumerate(_nets(context, len(images.classes)), start=1):
        context.talk.say(f"  link {number}: {net.model} from {net.weights}")
        model = new_network(net.model, net.weights, images.classes, distill.seed)
        subject = Subject(net.model, net.weights, model, number, f"assist {net.model}")
        terms = logit_terms(distill, cache, images.balance()[1], device)
        trained = train_and_save(context, images, subject, distill, terms, distill.views, device)
        weights = context.out / trained.files[0]
        folder = _cached(context, images, weights, number, device)
        cache = LogitCache(folder, belongs_to(images, sha256_of(weights)))
        links.append(_link(trained))
        files += trained.files
    names = [f"{folder.name}/{path.name}" for path in sorted(folder.iterdir())]
    values = {"links": links, "cache": folder.name, "belongs_to": sha256_of(weights)}
    return Result(values, (*files, *names))


def _nets(context: StageContext, classes: int) -> tuple[NetConfig, ...]:
    recipe = context.recipe
    if recipe.distill.method == "self":
        student = NetConfig(model=recipe.student.model, weights=recipe.student.weights)
        return (student,) * (recipe.distill.generations - 1)
    if recipe.distill.assistants:
        return recipe.distill.assistants
    return choose_assistants(recipe.teacher.model, recipe.student, classes)


def _cached(
    context: StageContext, images: Images, weights: Path, number: int, device: torch.device
) -> Path:
    folder = context.out / f"cache-{number}"
    folder.mkdir(exist_ok=True)
    if not (folder / "cache.json").exists():
        cache_teacher(context, images, weights, folder, sha256_of(weights), device, False)
    return folder


def _link(trained: Result) -> dict:
    kept = ("model", "weights", "parameters", "epochs", "steps", "validation")
    return {**{key: trained.values[key] for key in kept}, "file": trained.files[0]}
