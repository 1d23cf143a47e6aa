"""Images per CPU-second of distillation, four loops on one folder of JPEG files, in one run.

python benchmarks/distill_throughput.py [--rounds 3] [--teacher resnet50] [--images 256]

(a) this loop, cached teacher; (b) the same without a teacher; (c) the same with the teacher online;
(d) timm's LogitDistillationTask in a plain loop with timm's loader. One training thread, the loops
in turn within each round; worker processes are counted. The second column is what 30 epochs cost
in all: decoding the files once and caching 8 views belong to (a), decoding once to (b) and (c).
Weights are random: speed does not depend on them. The files are noise smoothed to photo-like size.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import timm
import timm.data
import timm.task
import torch

from edgedistill.config.data import AugmentConfig
from edgedistill.config.deployment import RunConfig
from edgedistill.config.training import TrainingConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.distillation.logit_cache import LogitCache, write_cache
from edgedistill.distillation.losses import kd_loss, label_losses
from edgedistill.models.build import outputs, preprocess_of
from edgedistill.models.weights import model_from_weights
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import Order, TrainingSet, normalised
from edgedistill.training.fit import device_of
from edgedistill.training.loop import Outputs, Term, Training
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import resize_short_side

PX, FILE_PX, BATCH, VIEWS, EPOCHS_PAID = 128, (300, 400), 64, 8, 30
STUDENT = "mobilenetv3_small_100"
CLASSES = [str(number) for number in range(10)]
AUGMENT = AugmentConfig(transforms=({"name": "HorizontalFlip", "p": 0.5},))
LOOPS = ("a cached teacher", "b no teacher", "c teacher online", "d timm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teacher", default="resnet50", help="any timm model (%(default)s)")
    parser.add_argument("--images", type=int, default=256, help="a multiple of 64 (%(default)s)")
    args = parser.parse_args()
    device_of(RunConfig(device="cpu", threads=1))
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder) / "jpegs", args.images)
        bench = Bench(Path(folder), files, args.teacher)
        rates: dict[str, list[float]] = {name: [] for name in LOOPS}
        bench.epoch_of(LOOPS[1])()  # the first epoch of a process pays for what is set up once
        for _ in range(args.rounds):
            for name, samples in rates.items():
                samples.append(args.images / cpu_seconds(bench.epoch_of(name)))
    show(args, rates, bench)


def show(args: argparse.Namespace, rates: dict[str, list[float]], bench: Bench) -> None:
    once = {
        "a cached teacher": bench.decoding + VIEWS * bench.caching_a_view,
        "b no teacher": bench.decoding,
        "c teacher online": bench.decoding,
        "d timm": 0.0,
    }
    medians = {name: statistics.median(samples) for name, samples in rates.items()}
    paid = {
        name: EPOCHS_PAID * args.images / (EPOCHS_PAID * args.images / rate + once[name])
        for name, rate in medians.items()
    }
    print(
        f"{args.teacher} -> {STUDENT}, {PX} px, {args.images} JPEG files of "
        f"{FILE_PX[1]}x{FILE_PX[0]}, 1 thread, {args.rounds} rounds, images per CPU-second"
    )
    print(f"{'loop':<18}{'an epoch':>10}{'range':>18}{'30 epochs, all':>16}{'of d':>8}")
    for name, rate in medians.items():
        spread = f"{min(rates[name]):.1f} to {max(rates[name]):.1f}"
        print(f"{name:<18}{rate:10.1f}{spread:>18}{paid[name]:16.1f}{rate / medians['d timm']:8.2f}")
    a, b, d = (medians[name] for name in (LOOPS[0], LOOPS[1], LOOPS[3]))
    print(
        f"a / b {a / b:.2f}   a / d {a / d:.2f}   with all costs of {EPOCHS_PAID} epochs: "
        f"a / b {paid[LOOPS[0]] / paid[LOOPS[1]]:.2f}   a / d {paid[LOOPS[0]] / paid[LOOPS[3]]:.2f}"
    )


class Bench:
    """The four loops over one set of files, and what the first three pay once."""

    def __init__(self, folder: Path, files: list[Path], teacher: str):
        self.folder, self.count, self.teacher_name = folder, len(files), teacher
        self.decoding = cpu_seconds(lambda: write_pixels(folder, map(decoded, files)))
        view, names = TrainingView(PX, AUGMENT, "area"), [f"{i:064x}" for i in range(self.count)]
        labels = np.array([int(file.parent.name) for file in files])
        self.images = TrainingSet(PixelCache(folder), np.arange(self.count), labels, names, view)
        self.teacher = model_from_weights(teacher, "scratch", CLASSES, True).eval()
        self.teacher.to(memory_format=torch.channels_last)
        self.spec = preprocess_of(teacher, PX, PX, "area")
        widths = (len(CLASSES), self.teacher.num_features)
        self.caching_a_view = cpu_seconds(
            lambda: write_cache(folder, self.images, self.online, 1, {}, widths, lambda done: None, with_features=False)
        )
        self.cache = LogitCache(folder, {})

    def online(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return outputs(self.teacher, normalised(images, self.spec))

    def epoch_of(self, loop: str) -> Callable[[], None]:
        torch.manual_seed(0)
        if loop == "d timm":
            return self._timms()
        terms = {"label": Term(lambda found, b: label_losses(found.logits, b.labels).mean(), 0.1)}
        if loop == "a cached teacher":
            terms["kd"] = Term(self._soft(self.cache.logits), 0.9)
        elif loop == "c teacher online":
            terms["kd"] = Term(self._soft(lambda batch: self.online(batch.images)[0]), 0.9)
        student = model_from_weights(STUDENT, "scratch", CLASSES, True)
        spec = preprocess_of(STUDENT, PX, PX, "area")
        known = {"eval_top1_fraction": 0.0, "eval_balanced_accuracy_fraction": 0.0}
        training = Training(
            student,
            spec,
            self.images,
            Order(self.count, BATCH, seed=0, views=1),
            terms,
            TrainingConfig(epochs=1, batch_size=BATCH),
            lambda net: known,
            torch.device("cpu"),
        )
        return lambda: training.run(Talk(quiet=True), "bench")

    def _soft(self, teacher: Callable) -> Callable:
        def soft(found: Outputs, batch) -> torch.Tensor:
            return kd_loss(found.logits, teacher(batch), 4.0)

        return soft

    def _timms(self) -> Callable[[], None]:
        student = timm.create_model(STUDENT, num_classes=len(CLASSES))
        teacher = timm.create_model(self.teacher_name, num_classes=len(CLASSES))
        task = timm.task.LogitDistillationTask(
            student,
            timm.task.DistillationTeacher(teacher),
            distill_loss_weight=0.9,
            task_loss_weight=0.1,
            temperature=4.0,
            verbose=False,
        )
        loader = timm.data.create_loader(
            timm.data.create_dataset("", root=str(self.folder / "jpegs")),
            (3, PX, PX),
            BATCH,
            is_training=True,
            scale=(AUGMENT.crop_scale_min, 1.0),
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


def cpu_seconds(work: Callable[[], None]) -> float:
    """Of this process, its threads and the worker processes that have ended."""
    before = _spent()
    work()
    return _spent() - before


def _spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def decoded(path: Path) -> np.ndarray:
    return resize_short_side(read_image(path), PX, "area")


def write_jpegs(folder: Path, count: int) -> list[Path]:
    rng, files = np.random.default_rng(0), []
    for number in range(count):
        path = folder / str(number % len(CLASSES)) / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (FILE_PX[0] // 10, FILE_PX[1] // 10, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, FILE_PX[::-1], interpolation=cv2.INTER_CUBIC))
        files.append(path)
    return files


if __name__ == "__main__":
    main()
