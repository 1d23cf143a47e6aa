"""timm's LogitDistillationTask with its loader, as its users write the loop, for comparison with ours."""

from __future__ import annotations

from pathlib import Path

import timm
import timm.data
import timm.task
import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from edgedistill.config.recipe import Recipe
from edgedistill.data.balance import class_weights
from edgedistill.data.prepared import PreparedImages
from edgedistill.models.weights import load_weights
from edgedistill.training.loop import lr_at
from edgedistill.training.schedule import steps_of


def timm_student(recipe: Recipe, images: PreparedImages, folder: Path, teacher_weights: Path) -> nn.Module:
    """The recipe's student, from scratch, under the same teacher in as many steps of as many images.

    Optimizer, schedule, temperature, weights of the two losses and kind of views are the recipe's; the teacher runs in
    every step, and an epoch has new views.

    Args:
        images: of the run, for the balance of the classes.
        folder: the training images, a folder a class.
        teacher_weights: of the run's stage `teacher`.
    """
    distill = recipe.distill
    torch.manual_seed(distill.seed)
    torch.set_num_threads(recipe.run.threads or torch.get_num_threads())
    student = timm.create_model(recipe.student.model, num_classes=len(images.classes))
    task = timm.task.LogitDistillationTask(
        student,
        timm.task.DistillationTeacher(load_weights(teacher_weights)[0]),
        criterion=nn.CrossEntropyLoss(weight=_class_weights(recipe, images)),
        distill_loss_weight=distill.kd_weight,
        task_loss_weight=1 - distill.kd_weight,
        temperature=distill.temperature,
        verbose=False,
    )
    loader = _loader(recipe, folder, student)
    optimizer = torch.optim.AdamW(param_groups_weight_decay(student, distill.weight_decay), fused=True)
    total, step = steps_of(distill, len(loader)), 0
    task.train()
    while step < total:
        for pixels, labels in loader:
            if step == total:
                break
            for group in optimizer.param_groups:
                group["lr"] = lr_at(step, total, distill.warmup_fraction, distill.peak_lr)
            optimizer.zero_grad()
            task(pixels, labels)["loss"].backward()
            optimizer.step()
            step += 1
    return student.eval()


def _loader(recipe: Recipe, folder: Path, student: nn.Module):
    config = timm.data.resolve_model_data_config(student)
    return timm.data.create_loader(
        timm.data.create_dataset("", root=str(folder)),
        (3, *recipe.data.size),
        recipe.distill.batch_size,
        is_training=True,
        mean=config["mean"],
        std=config["std"],
        scale=(recipe.augment.crop_scale_min, 1.0),
        color_jitter=(0.2, 0.2, 0.0),
        color_jitter_prob=0.5,
        num_workers=1,
        use_prefetcher=False,
        persistent_workers=True,
        device=torch.device("cpu"),
    )


def _class_weights(recipe: Recipe, images: PreparedImages) -> torch.Tensor | None:
    if recipe.data.balance != "loss":
        return None
    return torch.tensor(class_weights(images.labels("train"), len(images.classes)), dtype=torch.float32)
