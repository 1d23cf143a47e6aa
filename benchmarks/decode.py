"""From JPEG files to training views, per CPU-second, in one run: this loader, timm's, torchvision's, simplejpeg.

python benchmarks/decode.py [--rounds 5] [--images 24] [--px 224] [--sizes 500x375 1600x1200 4000x3000]

One thread each, in turn within each round: decode, random crop of half to all of the area, resize, flip. simplejpeg
(libjpeg-turbo at a reduced scale, then this crop) is compared where it is installed, in an environment of one's own.
Files are smooth noise in JPEG of quality 90. What follows the view, and what reads the file from a disk, is left out.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from edgedistill.config.data import AugmentConfig, DataConfig
from edgedistill.config.recipe import Recipe
from edgedistill.data.augment import TrainingView
from edgedistill.data.framing import framing_of
from edgedistill.data.pixels import FilePixels

FLIP = AugmentConfig(transforms=({"name": "HorizontalFlip", "p": 0.5},))
SCALE = (FLIP.crop_scale_min, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--sizes", nargs="+", default=["500x375", "1600x1200", "4000x3000"])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"views per CPU-second, {args.px} px, {args.rounds} rounds, load average {os.getloadavg()[0]:.1f}")
    for size in args.sizes:
        width, height = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            paths = _written(Path(folder), args.images, height, width)
            ways = ways_of(paths, args.px)
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(args.rounds):
                for name, way in ways.items():
                    start = time.thread_time()
                    for number in range(len(paths)):
                        way(number)
                    rates[name].append(len(paths) / (time.thread_time() - start))
        for name, found in rates.items():
            ratios = [ours / other for ours, other in zip(rates["edgedistill"], found, strict=True)]
            print(
                f"{size:>10} {name:12} {statistics.median(found):7.1f} ({min(found):.1f} to {max(found):.1f})"
                f"  edgedistill {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
            )


def ways_of(paths: list[Path], px: int) -> dict[str, Callable[[int], object]]:
    data, view = DataConfig(train="x", image_px=px, store="files"), TrainingView(px, FLIP, "area")
    pixels = FilePixels(paths, framing_of(data, px, Recipe(data=data).training_px))
    timms = create_transform(px, is_training=True, scale=SCALE, color_jitter=0.0, use_prefetcher=True)
    torchvisions = v2.Compose([v2.RandomResizedCrop(px, SCALE, antialias=True), v2.RandomHorizontalFlip()])
    ways: dict[str, Callable[[int], object]] = {
        "edgedistill": lambda n: view(pixels[n], n),
        "timm": lambda n: timms(Image.open(io.BytesIO(paths[n].read_bytes())).convert("RGB")),
        "torchvision": lambda n: torchvisions(
            decode_jpeg(torch.frombuffer(bytearray(paths[n].read_bytes()), dtype=torch.uint8), ImageReadMode.RGB)
        ),
    }
    try:
        import simplejpeg
    except ImportError:
        return ways
    least = Recipe(data=data).training_px
    ways["simplejpeg"] = lambda n: view(
        simplejpeg.decode_jpeg(paths[n].read_bytes(), "RGB", min_height=least, min_width=least), n
    )
    return ways


def _written(folder: Path, count: int, height: int, width: int) -> list[Path]:
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.jpg")
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(paths[-1]), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


if __name__ == "__main__":
    main()
