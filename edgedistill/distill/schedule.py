"""How long a training is: epochs as the recipe says, or more of them for a set of few images."""

from __future__ import annotations

from typing import NamedTuple

from edgedistill.sections import TrainingConfig

BATCH = 32  # images per optimizer step in a recipe that `edgedistill new` writes


class Schedule(NamedTuple):
    """Keys of [teacher] or [distill]."""

    epochs: int
    min_steps: int


def schedules_for(images: int) -> tuple[Schedule, Schedule]:
    """Schedules of teacher and student for a training set of a size, at BATCH images a step.

    A network learns by steps: an epoch of 36 images is one of them. Few images get more epochs, so
    that the teacher, which starts from ImageNet weights, is fine-tuned for 500 steps (BiT-HyperRule
    for sets below 20,000 images) and a student that may start from scratch for 1,000; many images
    get fewer epochs, so that a teacher stops near 10,000 steps and a student near 50,000.

    Args:
        images: that are trained on, without validation and test images.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3, for the steps of fine-tuning.
    """
    per_epoch = max(1, images // BATCH)
    teacher = min(8, max(1, 10_000 // per_epoch))
    student = min(max(10, -(-2_000 // per_epoch)), 100, max(3, 50_000 // per_epoch))
    return Schedule(teacher, 500), Schedule(student, 1_000)


def epochs_of(config: TrainingConfig, steps_per_epoch: int) -> int:
    """Epochs that reach `config.min_steps`, and at least `config.epochs`; 0 epochs stay 0."""
    if config.epochs == 0:
        return 0
    return max(config.epochs, -(-config.min_steps // steps_per_epoch))
