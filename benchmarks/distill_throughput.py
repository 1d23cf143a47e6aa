"""Images per CPU-second of one training loop: no teacher, cached teacher, teacher online.

python benchmarks/distill_throughput.py [--rounds 3]

One process, one thread, the three in turn within each round; the ratios are what travels. JPEG
decoding is left out (all three read the decoded cache), building the cache is shown apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.distill.batches import Order, TrainingSet, normalised
from edgedistill.distill.logit_cache import LogitCache, write_cache
from edgedistill.distill.loop import Term, Training
from edgedistill.distill.losses import kd_loss, label_loss
from edgedistill.models.build import outputs, preprocess_of
from edgedistill.models.weights import model_from_weights
from edgedistill.sections import AugmentConfig, RunConfig, TrainingConfig
from edgedistill.talk import Talk
from edgedistill.training_stage import device_of

PX, IMAGES, VIEWS, EPOCHS = 128, 256, 2, 2
TEACHER, STUDENT = "tf_efficientnet_lite0", "mobilenetv3_small_100"
CLASSES = [str(number) for number in range(10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    device_of(RunConfig(device="cpu", threads=1))
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {"no teacher": [], "cached teacher": [], "teacher online": []}
    with tempfile.TemporaryDirectory() as folder:
        images = training_set(Path(folder), rng)
        teacher = model_from_weights(TEACHER, "scratch", CLASSES, True).eval()
        start = time.process_time()
        cache = cached(Path(folder), images, teacher)
        caching = IMAGES * VIEWS / (time.process_time() - start)
        for _ in range(rounds):
            for name, samples in rates.items():
                samples.append(images_per_cpu_second(images, terms_of(name, cache, teacher)))
    medians = {name: statistics.median(samples) for name, samples in rates.items()}
    print(f"{TEACHER} -> {STUDENT}, {PX} px, 1 thread, {rounds} rounds, images per CPU-second")
    for name, value in medians.items():
        spread = f"{min(rates[name]):.1f} to {max(rates[name]):.1f}"
        print(
            f"{name:<15} {value:8.1f}   ({spread})   {value / medians['no teacher']:.2f} of no teacher"
        )
    print(f"{'caching once':<15} {caching:8.1f}")
    ratio = medians["cached teacher"] / medians["teacher online"]
    print(f"cached / online {ratio:8.2f}")


def training_set(folder: Path, rng: np.random.Generator) -> TrainingSet:
    write_pixels(folder, (rng.integers(0, 256, (PX, PX, 3), dtype=np.uint8) for _ in range(IMAGES)))
    view = TrainingView(PX, AugmentConfig(), "area")
    names = [f"{i:064x}" for i in range(IMAGES)]
    return TrainingSet(PixelCache(folder), np.arange(IMAGES), np.arange(IMAGES) % 10, names, view)


def cached(folder: Path, images: TrainingSet, teacher: torch.nn.Module) -> LogitCache:
    widths = (len(CLASSES), teacher.num_features)
    write_cache(folder, images, lambda x: online(teacher, x), VIEWS, {}, widths,
                lambda done: None, with_features=False)  # fmt: skip
    return LogitCache(folder, {})


def online(teacher: torch.nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return outputs(teacher, normalised(images, preprocess_of(TEACHER, PX, PX, "area")))


def terms_of(name: str, cache: LogitCache, teacher: torch.nn.Module) -> dict[str, Term]:
    label = Term(lambda logits, _, batch: label_loss(logits, batch.labels), 0.1)
    if name == "no teacher":
        return {"label": label}
    if name == "cached teacher":
        return {"label": label, "kd": Term(lambda z, _, b: kd_loss(z, cache.logits(b), 2.0), 0.9)}
    return {"label": label,
            "kd": Term(lambda z, _, b: kd_loss(z, online(teacher, b.images)[0], 2.0), 0.9)}  # fmt: skip


def images_per_cpu_second(images: TrainingSet, terms: dict[str, Term]) -> float:
    torch.manual_seed(0)
    student = model_from_weights(STUDENT, "scratch", CLASSES, True)
    order = Order(IMAGES, 64, seed=0, views=VIEWS)
    figures = {"eval_loss": 0.0, "eval_top1_fraction": 0.0, "eval_balanced_accuracy_fraction": 0.0}
    training = Training(
        student, preprocess_of(STUDENT, PX, PX, "area"), images, order, terms,
        TrainingConfig(epochs=EPOCHS, batch_size=64), lambda net: figures, torch.device("cpu"),
    )  # fmt: skip
    start = time.process_time()
    training.run(Talk(quiet=True), "bench")
    return EPOCHS * order.steps_per_epoch * 64 / (time.process_time() - start)


if __name__ == "__main__":
    main()
