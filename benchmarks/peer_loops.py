"""An epoch of training as users of other tools write it: timm, torchdistill, Ultralytics.

Each is a function that makes what an epoch needs and returns that epoch. JPEG files in folders of their class, one
training thread, one worker process that decodes and augments where the tool has one. The packages are the user's to
install, because nothing but this benchmark needs them; Ultralytics is AGPL-3.0.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import timm.data
import timm.task
import torch

KD_WEIGHT, TEMPERATURE = 0.9, 4.0


@dataclass(frozen=True)
class Job:
    """What all loops train: a student of a teacher on folders of JPEG files, at a batch size and a side in pixels."""

    folder: Path
    teacher: str
    student: str
    classes: int
    side_px: int
    batch: int
    crop_scale_min: float


def missing(*packages: str) -> str:
    """What to install for these, or ""."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"pip install {' '.join(absent)}" if absent else ""


def timm_epoch(job: Job) -> Callable[[], None]:
    """`timm.task.LogitDistillationTask` with timm's loader."""
    task = timm.task.LogitDistillationTask(
        timm.create_model(job.student, num_classes=job.classes),
        timm.task.DistillationTeacher(timm.create_model(job.teacher, num_classes=job.classes)),
        distill_loss_weight=KD_WEIGHT,
        task_loss_weight=1 - KD_WEIGHT,
        temperature=TEMPERATURE,
        verbose=False,
    )
    loader = timm.data.create_loader(
        timm.data.create_dataset("", root=str(job.folder)),
        (3, job.side_px, job.side_px),
        job.batch,
        is_training=True,
        scale=(job.crop_scale_min, 1.0),
        color_jitter=0.0,
        num_workers=1,
        use_prefetcher=False,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)

    def epoch() -> None:
        task.train()
        for images, labels in loader:
            optimizer.zero_grad()
            task(images, labels)["loss"].backward()
            optimizer.step()

    return epoch


def torchdistill_epoch(job: Job) -> Callable[[], None]:
    """Its `DistillationBox` with `KDLoss`, as its ImageNet example, on torchvision's folder and transforms.

    Source: torchdistill 1.1, examples/torchvision/image_classification.py and its kd configurations.
    """
    from torchdistill.core.distillation import get_distillation_box
    from torchvision import datasets, transforms

    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    crop = transforms.RandomResizedCrop(job.side_px, (job.crop_scale_min, 1.0))
    steps = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    box = get_distillation_box(
        timm.create_model(job.teacher, num_classes=job.classes),
        timm.create_model(job.student, num_classes=job.classes),
        {"train": datasets.ImageFolder(str(job.folder), transforms.Compose(steps))},
        _torchdistill_config(job.batch),
        torch.device("cpu"),
        None,
        distributed=False,
        lr_factor=1,
    )

    def epoch() -> None:
        box.pre_epoch_process(epoch=0)
        for images, labels, more in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(images, labels, more)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()

    return epoch


def _torchdistill_config(batch: int) -> dict:
    loss = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".",
            "student_module_io": "output",
            "teacher_module_path": ".",
            "teacher_module_io": "output",
            "temperature": TEMPERATURE,
            "alpha": 1 - KD_WEIGHT,
        },
    }
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": torch.utils.data.RandomSampler},
            "kwargs": {"batch_size": batch, "num_workers": 1, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-3}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}},
        },
    }


def ultralytics_epoch(job: Job, spent: Callable[[], tuple[float, float]]) -> Callable[[], tuple[float, float]]:
    """Training of its classifiers, which have no teacher, on torchvision's MobileNetV3-Small under its own head.

    Its trainer sets itself up, trains and validates in one call; what the second of two epochs adds to `spent` between
    its callbacks is the epoch's cost, and is returned.

    Source: ultralytics 8.4, cfg/models/11/yolo11-cls-resnet18.yaml, for a backbone of torchvision.
    """
    home = job.folder.parent
    os.environ["YOLO_CONFIG_DIR"] = str(home)  # read at import: the user's own settings are left alone
    from ultralytics import settings as own_settings
    from ultralytics.models.yolo.classify import ClassificationTrainer

    own_settings.update({"mlflow": False, "sync": False})
    network = home / "mobilenetv3-cls.yaml"
    network.write_text(
        f"nc: {job.classes}\n"
        "backbone:\n  - [-1, 1, TorchVision, [576, mobilenet_v3_small, null, True, 2]]\n"
        "head:\n  - [-1, 1, Classify, [nc]]\n",
        encoding="utf-8",
    )
    data = home / "ultralytics"
    for split in ("train", "val"):
        if not (data / split).exists():
            data.mkdir(exist_ok=True)
            (data / split).symlink_to(job.folder)
    settings = {
        "model": str(network),
        "data": str(data),
        "epochs": 2,
        "imgsz": job.side_px,
        "batch": job.batch,
        "workers": 0,  # what it sets itself on a CPU
        "device": "cpu",
        "pretrained": False,
        "val": False,
        "plots": False,
        "save": False,
        "verbose": False,
        "project": str(home),
        "name": "ultralytics-run",
        "exist_ok": True,
        "scale": 1 - job.crop_scale_min,
        "auto_augment": None,
        "erasing": 0.0,
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        "hsv_v": 0.0,
    }

    def epoch() -> tuple[float, float]:
        trainer, marks = ClassificationTrainer(overrides=dict(settings)), []
        trainer.add_callback("on_train_epoch_start", lambda _: marks.append(spent()))
        trainer.add_callback("on_train_epoch_end", lambda _: marks.append(spent()))
        trainer.train()
        (cpu_start, wall_start), (cpu_end, wall_end) = marks[2:4]
        return cpu_end - cpu_start, wall_end - wall_start

    return epoch
