"""CPU and memory of `new` and `data` on many small JPEG files, and what is left to do after a kill, in one run.

python benchmarks/large_set.py [--images 100000] [--classes 2000] [--folder /dev/shm]

Files of 160 x 120 px, smooth noise, each another picture. Every command is a process of its own; CPU seconds are user
and system of all its threads. The last row kills `data` half way and runs it again. Read ratios on a busy machine:
the load average is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIZE, MIB = (120, 160), 1 << 20
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
SCRATCH = ("--set", "teacher.weights=scratch", "--set", "student.weights=scratch")
READ = "readings.jsonl"  # of a run that is under way, a line an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, help="where the files are made; memory is best (default: as tempfile)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        place = Path(folder)
        write_files(place / "images", args.images, args.classes)
        recipe, runs = place / "large.toml", place / "runs"
        print(f"{args.images} files, {args.classes} classes, load average {os.getloadavg()[0]:.1f}", flush=True)
        print(f"{'command':<28}{'CPU s':>8}{'ms an image':>13}{'peak MiB':>10}{'wall s':>8}", flush=True)
        timed("new", ["new", "--train", str(place / "images"), str(recipe)], args.images)
        data = ["data", str(recipe), "--run-dir", str(runs), *SCRATCH]
        timed("data", data, args.images)
        again = [*data, "--force", "data"]
        half = runs / "data.partial" / "unfinished" / READ
        timed("data, killed half way", again, args.images, lambda: lines_in(half) > args.images // 2)
        timed("data, after the kill", again, args.images)


def write_files(folder: Path, images: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"c{number:05d}").mkdir(parents=True)
    for number in range(images):
        coarse = rng.integers(0, 256, (SIZE[0] // 10, SIZE[1] // 10, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"c{number % classes:05d}" / f"{number:06d}.jpg"), picture)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def timed(name: str, words: list[str], images: int, kill_when=None) -> None:
    """Print what one command took, to its end or until it is killed."""
    start = time.monotonic()
    command = [sys.executable, "-m", "edgedistill", *words]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, env={**os.environ, **ONE_THREAD}, stdout=said, stderr=said)
        while kill_when is not None and not kill_when() and child.poll() is None:
            time.sleep(0.5)
        if kill_when is not None:
            child.send_signal(signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, -signal.SIGKILL):
            said.seek(0)
            sys.exit(said.read().decode())
    spent = usage.ru_utime + usage.ru_stime
    print(
        f"{name:<28}{spent:8.1f}{1e3 * spent / images:13.2f}{usage.ru_maxrss * 1024 / MIB:10.0f}"
        f"{time.monotonic() - start:8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
