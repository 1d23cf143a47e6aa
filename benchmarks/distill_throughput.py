"""Images per second of distillation, from one folder of JPEG files, beside other tools' loops in one run.

python benchmarks/distill_throughput.py [--rounds 3] [--teacher resnet50] [--images 256]

(a) this loop, cached teacher; (b) the same without a teacher; (c) the same with the teacher online; (d) timm's
LogitDistillationTask in a plain loop with timm's loader; and where they are installed (pip install torchdistill
ultralytics) (e) torchdistill's DistillationBox with KDLoss, (f) Ultralytics' classifier training, which has no teacher,
on the same student of torchvision's. One training thread, the loops in turn within each round; worker processes are
counted in CPU seconds. "30 epochs" is what these cost in all: decoding the files once and caching 8 views belong
to (a), decoding once to (b) and (c). The views are answered in what `run.precision = "mixed"` is here, which is told;
all training is in float32. Weights are random: speed does not depend on them. The files are noise smoothed to
photo-like size. lightly-train's distillation loads a DINO teacher from its hub, which this benchmark cannot.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from peer_loops import KD_WEIGHT, TEMPERATURE, Job, missing, timm_epoch, torchdistill_epoch, ultralytics_epoch

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
from edgedistill.training.autotune import answering_speed
from edgedistill.training.batches import Order, TrainingSet, normalised
from edgedistill.training.fit import device_of
from edgedistill.training.loop import Outputs, Term, Training
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import resize_short_side

PX, FILE_PX, BATCH, VIEWS, EPOCHS_PAID = 128, (300, 400), 64, 8, 30
STUDENT = "mobilenetv3_small_100"
CLASSES = [str(number) for number in range(10)]
AUGMENT = AugmentConfig(transforms=({"name": "HorizontalFlip", "p": 0.5},))
LOOPS = ("a cached teacher", "b no teacher", "c teacher online", "d timm", "e torchdistill", "f Ultralytics")
NEEDS = {"e torchdistill": "torchdistill", "f Ultralytics": "ultralytics"}


class Cost(NamedTuple):
    """Of this process, its threads and the worker processes that have ended, as all loops' have after an epoch."""

    cpu_seconds: float
    wall_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teacher", default="resnet50", help="any timm model (%(default)s)")
    parser.add_argument("--images", type=int, default=256, help="a multiple of 64 (%(default)s)")
    args = parser.parse_args()
    device_of(RunConfig(device="cpu", threads=1))
    loops = [name for name in LOOPS if name not in NEEDS or not missing(NEEDS[name])]
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder) / "jpegs", args.images)
        bench = Bench(Path(folder), files, args.teacher)
        costs: dict[str, list[Cost]] = {name: [] for name in loops}
        bench.cost_of(LOOPS[1])  # the first epoch of a process pays for what is set up once
        for _ in range(args.rounds):
            for name, samples in costs.items():
                samples.append(bench.cost_of(name))
    print(
        f"{args.teacher} -> {STUDENT}, {PX} px, {args.images} JPEG files of "
        f"{FILE_PX[1]}x{FILE_PX[0]}, 1 thread, {args.rounds} rounds, images per second; views "
        f"answered in {bench.answering}"
    )
    show("CPU-second", args.images, bench, {name: [each.cpu_seconds for each in costs[name]] for name in loops}, 0)
    show("wall-second", args.images, bench, {name: [each.wall_seconds for each in costs[name]] for name in loops}, 1)
    for name in set(LOOPS) - set(loops):
        print(f"{name}: not measured, {missing(NEEDS[name])}")


def show(unit: str, images: int, bench: Bench, seconds: dict[str, list[float]], kind: int) -> None:
    """A table of rates, and the ratio of the first loop to each other one in this run.

    Args:
        kind: which part of a `Cost`.
    """
    decoding, caching = bench.decoding[kind], VIEWS * bench.caching_a_view[kind]
    once = dict(zip(LOOPS, (decoding + caching, decoding, decoding, 0.0, 0.0, 0.0), strict=True))
    medians = {name: statistics.median(samples) for name, samples in seconds.items()}
    paid = {name: EPOCHS_PAID * median + once[name] for name, median in medians.items()}
    own = LOOPS[0]
    print(f"\n{'per ' + unit:<18}{'an epoch':>10}{'range':>18}{'30 epochs':>11}{'a is times':>12}{'30 epochs':>11}")
    for name, median in medians.items():
        spread = f"{images / max(seconds[name]):.1f} to {images / min(seconds[name]):.1f}"
        print(
            f"{name:<18}{images / median:10.1f}{spread:>18}{EPOCHS_PAID * images / paid[name]:11.1f}"
            f"{median / medians[own]:12.2f}{paid[name] / paid[own]:11.2f}"
        )


class Bench:
    """The loops over one set of files, and what the first three pay once."""

    def __init__(self, folder: Path, files: list[Path], teacher: str):
        self.folder, self.count = folder, len(files)
        self.job = Job(folder / "jpegs", teacher, STUDENT, len(CLASSES), PX, BATCH, AUGMENT.crop_scale_min)
        self.decoding = cost_of(lambda: write_pixels(folder, map(decoded, files)))
        view, names = TrainingView(PX, AUGMENT, "area"), [f"{i:064x}" for i in range(self.count)]
        labels = np.array([int(file.parent.name) for file in files])
        self.images = TrainingSet(PixelCache(folder), np.arange(self.count), labels, names, view)
        self.teacher = model_from_weights(teacher, "scratch", CLASSES, True).eval()
        self.teacher.to(memory_format=torch.channels_last)
        self.spec = preprocess_of(teacher, PX, PX, "area")
        widths = (len(CLASSES), self.teacher.num_features)
        self.answering = answering_speed("mixed", torch.device("cpu"))
        self.caching_a_view = cost_of(
            lambda: write_cache(folder, self.images, self.answered, 1, {}, widths, lambda done: None, False)
        )
        self.cache = LogitCache(folder, {})

    def answered(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with self.answering.autocast(torch.device("cpu")):
            return self.online(images)

    def online(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return outputs(self.teacher, normalised(images, self.spec))

    def cost_of(self, loop: str) -> Cost:
        """Of one epoch, without what is set up before it."""
        torch.manual_seed(0)
        if loop == "f Ultralytics":
            return Cost(*ultralytics_epoch(self.job, spent)())
        peers = {"d timm": timm_epoch, "e torchdistill": torchdistill_epoch}
        return cost_of(peers[loop](self.job) if loop in peers else self._own_epoch(loop))

    def _own_epoch(self, loop: str) -> Callable[[], None]:
        terms = {"label": Term(lambda found, b: label_losses(found.logits, b.labels).mean(), 1 - KD_WEIGHT)}
        if loop == "a cached teacher":
            terms["kd"] = Term(self._soft(self.cache.logits), KD_WEIGHT)
        elif loop == "c teacher online":
            terms["kd"] = Term(self._soft(lambda batch: self.online(batch.images)[0]), KD_WEIGHT)
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
            return kd_loss(found.logits, teacher(batch), TEMPERATURE)

        return soft


def cost_of(work: Callable[[], None]) -> Cost:
    before = spent()
    work()
    return Cost(*(after - start for after, start in zip(spent(), before, strict=True)))


def spent() -> Cost:
    """So far."""
    ended = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Cost(sum(each.ru_utime + each.ru_stime for each in ended), time.perf_counter())


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
