"""How long a training is: steps or epochs, as the recipe says or as fit the images and the time; on how many views."""

from __future__ import annotations

from typing import NamedTuple

from edgedistill.config.training import TrainingConfig

BATCH = 32  # images per optimizer step in a recipe that `edgedistill new` writes
TEACHER_STEPS = 500  # of fine-tuning ImageNet weights: BiT-HyperRule, for sets below 20,000 images
STUDENT_STEPS = 1_000  # that a student needs at least, which may start from scratch
_TEACHER_MOST, _STUDENT_MOST = 10_000, 50_000  # steps, from which many images get fewer epochs
MOST_VIEWS = 30  # of an image; a new view costs a forward pass of the teacher, an old one has been learnt by heart


class Schedule(NamedTuple):
    """Epochs for a training set, at BATCH images a step, and the teacher's cached views of each image."""

    teacher_epochs: int
    student_epochs: int
    views: int


def schedule_for(images: int, pool: int = 0) -> Schedule:
    """Epochs and views for a training set of a size.

    A network learns by steps: an epoch of 36 images is one of them. So few images get more epochs, until
    TEACHER_STEPS and STUDENT_STEPS are reached, and many get fewer, so that nothing is trained for ever.
    Between, a teacher takes 8 passes and a student 2,000 steps, of 10 to 100 passes.

    Args:
        images: that are trained on, without validation and test images.
        pool: images without labels that the student learns from beside them.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3, for the steps of fine-tuning.
    """
    per_epoch = max(1, images // BATCH)
    teacher = max(min(8, _TEACHER_MOST // per_epoch), -(-TEACHER_STEPS // per_epoch))
    per_epoch = max(1, (images + pool) // BATCH)
    usual = min(max(10, -(-2 * STUDENT_STEPS // per_epoch)), 100, max(3, _STUDENT_MOST // per_epoch))
    student = max(usual, -(-STUDENT_STEPS // per_epoch))
    return Schedule(max(1, teacher), student, min(student, MOST_VIEWS))


def steps_of(config: TrainingConfig, steps_per_epoch: int) -> int:
    """Optimizer steps: `config.steps`, or whole epochs that reach `config.epochs` and `config.min_steps`.

    0 epochs stay 0 steps.
    """
    if config.epochs == 0:
        return 0
    if config.steps:
        return config.steps
    return steps_per_epoch * max(config.epochs, -(-config.min_steps // steps_per_epoch))


class Pace(NamedTuple):
    """What a training costs on this computer, in seconds."""

    step_seconds: float
    validation_seconds: float


def seconds_of(steps: int, pace: Pace, steps_per_epoch: int) -> float:
    """Of so many steps, with a validation after each epoch and after a part of one at the end."""
    return steps * pace.step_seconds + -(-steps // steps_per_epoch) * pace.validation_seconds


def steps_within(seconds: float, pace: Pace, steps_per_epoch: int) -> int:
    """Most steps that take at most `seconds`, by `seconds_of`."""
    whole = int(seconds // (steps_per_epoch * pace.step_seconds + pace.validation_seconds))
    left = seconds - whole * (steps_per_epoch * pace.step_seconds + pace.validation_seconds)
    return whole * steps_per_epoch + max(0, int((left - pace.validation_seconds) // pace.step_seconds))
