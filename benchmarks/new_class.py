"""A class that nothing was trained on is added to a bundle's gallery by a few photographs: how well is it found?

python benchmarks/new_class.py BUNDLE RUN CLASS_FOLDER OUT    `--photos 10 --draws 5 --python python3`

BUNDLE is the bundle of RUN, CLASS_FOLDER holds images of the new class, OUT is made. In each draw so many photographs,
drawn by its seed, are added by the verb of the board; the other images of the class and the test images of the run are
classified.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from edgedistill.evaluation.classification import wilson_interval

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("run", type=Path, help="run folder of the bundle, for its test images")
    parser.add_argument("folder", type=Path, help="images of the new class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument(
        "--python", default="python3", help="interpreter with the board's numpy, OpenCV and ONNX Runtime"
    )
    args = parser.parse_args()
    images, known = sorted(args.folder.iterdir()), _test_images(args.run)
    shutil.copytree(args.bundle, args.out, ignore=shutil.ignore_patterns("__pycache__", "work"))
    _board(args, "verify")
    before = _answers(args, [*known, *images])
    print(f"known classes before: {_share(before[path][0] == label for path, label in known.items())}")
    print(f"new class before, answered unknown: {_share(before[path][1] == 'unknown' for path in images)}")
    for seed in range(args.draws):
        photos = random.Random(seed).sample(images, args.photos)
        added = _board(args, "gallery", "add", args.folder.name, *map(str, photos))[-1]
        said = _answers(args, {**dict.fromkeys((p for p in images if p not in photos), ""), **known})
        found = [said[path][0] == args.folder.name for path in images if path not in photos]
        kept = [said[path][0] == label for path, label in known.items()]
        print(
            f"draw {seed}: new class found {_share(found)}; known classes {_share(kept)}; of the photographs "
            f"{added['nearest_own_class']} of {added['class_images']} are nearest to their own class"
        )
        _board(args, "gallery", "remove", args.folder.name)


def _share(right: Iterable[bool]) -> str:
    hits = list(right)
    low, high = wilson_interval(sum(hits), len(hits))
    return f"{sum(hits)} of {len(hits)}, {sum(hits) / len(hits):.1%} (95 % interval {low:.1%} to {high:.1%})"


def _test_images(run: Path) -> dict[Path, str]:
    with open(run / "data" / "images.csv", newline="", encoding="utf-8") as file:
        return {Path(row["path"]): row["label"] for row in csv.DictReader(file) if row["split"] == "test"}


def _answers(args: argparse.Namespace, paths: Iterable[Path]) -> dict[Path, tuple[str, str]]:
    """The class of the nearest enrolled image of each, and what decided the answer: nearest or unknown."""
    lines = _board(args, "classify", "--top", "1", *map(str, paths))[:-1]
    return {Path(line["path"]): (line["top"][0]["class"], line["decided_by"]) for line in lines}


def _board(args: argparse.Namespace, verb: str, *words: str) -> list[dict]:
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("jetson", "calibration"))
    command = [args.python, "-m", "edgedistill_device", verb, "--backend", "onnxruntime", "--bundle", str(args.out)]
    done = subprocess.run(
        [*command, *words], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
