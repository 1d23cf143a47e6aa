"""Training views a second by threads and by worker processes, and what one view costs, in one run.

python benchmarks/views.py [--rounds 3] [--views 6000] [--px 224]

The default augmentation, 317 px pictures as stage `data` keeps them for 224 px, batches of 64 that nobody waits for.
CPU milliseconds are of all processes together. The ratio is that of wall time, 2 workers over 1, and means little
beside other work: the load average is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from edgedistill.config.data import AugmentConfig, DataConfig
from edgedistill.config.recipe import Recipe
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.training.batches import Order, TrainingSet

IMAGES, BATCH, CORES_PROJECTED = 256, 64, 16
WAYS = {"threads": 0, "1 process": 1, "2 processes": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--views", type=int, default=6000)
    parser.add_argument("--px", type=int, default=224)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        training = _training_set(Path(folder), args.px)
        print(f"one view in this thread: {_cpu_ms_of_one(training, args.views // 4):.3f} ms of CPU", flush=True)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for _ in range(args.rounds):
            for name, workers in WAYS.items():
                training.workers = workers
                found[name].append(_timed(training, args.views))
    for name, rounds in found.items():
        per_second, cpu_ms = ([pair[i] for pair in rounds] for i in (0, 1))
        print(
            f"{name:12} {statistics.median(per_second):7.0f} views/s ({min(per_second):.0f} to {max(per_second):.0f})  "
            f"{statistics.median(cpu_ms):.3f} ms of CPU a view"
        )
    one, two = (statistics.median(pair[0] for pair in found[name]) for name in ("1 process", "2 processes"))
    print(f"2 processes over 1: {two / one:.2f}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    print(f"projected, not measured: {CORES_PROJECTED * one:.0f} views/s on {CORES_PROJECTED} such cores")


def _training_set(folder: Path, px: int) -> TrainingSet:
    kept = Recipe(data=DataConfig(train="x", image_px=px)).training_px
    rng = np.random.default_rng(0)
    size = (kept, kept * 4 // 3)
    smooth = [cv2.resize(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), size[::-1]) for _ in range(IMAGES)]
    write_pixels(folder, smooth)
    rows, view = np.arange(IMAGES), TrainingView(px, AugmentConfig(), "area")
    return TrainingSet(PixelCache(folder), rows, rows % 10, [f"{row:064x}" for row in rows], view)


def _cpu_ms_of_one(training: TrainingSet, views: int) -> float:
    """The least of five turns: what other work on the machine adds is not the view's."""
    turns = []
    for turn in range(5):
        start = time.process_time()
        for view in range(views // 5):
            training.batch(np.array([view % IMAGES]), np.array([turn]))
        turns.append((time.process_time() - start) / (views // 5) * 1e3)
    return min(turns)


def _timed(training: TrainingSet, views: int) -> tuple[float, float]:
    """(views per second, CPU milliseconds a view); a first batch starts the workers and is not counted."""
    before, start, count = _cpu_seconds(), 0.0, 0
    for number, batch in enumerate(training.batches(_jobs(views))):
        if number == 0:
            start = time.monotonic()
        else:
            count += len(batch.labels)
    seconds = time.monotonic() - start
    return count / seconds, (_cpu_seconds() - before) / (count + BATCH) * 1e3


def _jobs(views: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return Order(IMAGES, BATCH, seed=0).steps(0, views // BATCH)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
